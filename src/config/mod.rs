//! Configuration: zoo.cfg as operators know it, the same as TOML, and overrides from the command line.
//!
//! Text comes in, a [`Config`] goes out; files are read elsewhere. A key that nobody knows is a warning that names it; a
//! value that makes no sense is an error with file, line, key, value and what was expected (BE-25).

mod admin;
mod dynamic;
mod hash;
mod identity;
mod jaas;
mod keys;
mod members;
mod properties;
mod quorum;
mod sasl;
mod servers;
mod survey;
mod throttle;
mod tls;
mod tomlfile;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use admin::{AdminConfig, PrometheusConfig};
pub use dynamic::{dynamic_file, point_at};
pub use hash::DigestAlgorithm;
pub use identity::{MyIdError, parse_myid};
pub use members::Members;
pub use properties::parse_properties;
pub use quorum::QuorumConfig;
pub use sasl::{Credentials, QuorumSaslConfig, SaslConfig, Users};
pub use servers::{ClientAddress, ServerAddress, ServerRole, ServerSpec};
pub use survey::Verdict;
pub use throttle::{SessionWeights, ThrottleConfig};
pub use tls::{CIPHER_SUITES, ClientAuth, NamedFile, Secret, StoreConfig, StoreType, TlsConfig, TlsSide, TlsVersion};

use self::dynamic::DYNAMIC_FILE;
use crate::ids::Sid;

/// How snapshots are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SnapshotCompression {
    /// Not at all.
    #[default]
    None,
    /// `gz`.
    Gz,
    /// `snappy`.
    Snappy,
}

/// Everything that can be set, and what the files say about this server. Each field names its key; defaults are the reference's (features.md, group CF).
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `dataDir`.
    pub data_dir: PathBuf,
    /// `dataLogDir`; `None` is `dataDir`.
    pub data_log_dir: Option<PathBuf>,
    /// `clientPort`.
    pub client_port: Option<u16>,
    /// `clientPortAddress`, a name or an address; `None` is all addresses.
    pub client_host: Option<String>,
    /// `clientPortListenBacklog`; -1 is the system's own.
    pub listen_backlog: i32,
    /// `zookeeper.nio.numSelectorThreads`: threads that carry connections; `None`: half of the cores. One alone also does
    /// all else but the log.
    pub client_threads: Option<usize>,
    /// `tickTime`, ms.
    pub tick_ms: u64,
    /// `minSessionTimeout`, ms; `None` is two ticks.
    pub session_timeout_min_ms: Option<i32>,
    /// `maxSessionTimeout`, ms; `None` is twenty ticks.
    pub session_timeout_max_ms: Option<i32>,
    /// `maxClientCnxns`; 0 is no limit.
    pub connections_per_address_max: usize,
    /// `maxCnxns`; 0 is no limit.
    pub connections_max: usize,
    /// `jute.maxbuffer`, bytes.
    pub frame_bytes_max: usize,
    /// `zookeeper.jute.maxbuffer.extrasize`, bytes; `None` is as much as `jute.maxbuffer`.
    pub frame_extra_bytes: Option<usize>,
    /// `globalOutstandingLimit`.
    pub outstanding_max: i64,
    /// `largeRequestMaxBytes`.
    pub large_request_bytes_max: usize,
    /// `largeRequestThreshold`, bytes; `None` is off.
    pub large_request_threshold: Option<usize>,
    /// `nio.sessionlessCnxnTimeout`, ms.
    pub sessionless_ms: u64,
    /// `netty.server.outstandingHandshake.limit`; `None` is off.
    pub handshakes_max: Option<u64>,
    /// `clientTcpKeepAlive`.
    pub client_keep_alive: bool,
    /// What holds clients back.
    pub throttle: ThrottleConfig,
    /// `flushDelay`, ms; 0 is none.
    pub flush_delay_ms: u64,
    /// `maxWriteQueuePollTime`, ms; `None` is a third of `flushDelay`.
    pub flush_poll_ms: Option<u64>,
    /// `maxBatchSize`; `None` is no limit.
    pub flush_txns_max: Option<usize>,
    /// `closeSessionTxn.enabled`.
    pub close_session_txn: bool,
    /// `enableEagerACLCheck`.
    pub eager_acl_check: bool,
    /// `snapCount`.
    pub snapshot_txns: u64,
    /// `snapSizeLimitInKb`, in bytes; 0 is off.
    pub snapshot_bytes: u64,
    /// `txnLogSizeLimitInKb`, in bytes; `None` is off.
    pub log_bytes_max: Option<u64>,
    /// `preAllocSize`, in bytes.
    pub log_preallocation_bytes: u64,
    /// `forceSync`.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`.
    pub fsync_warning_ms: u64,
    /// `snapshot.compression.method`.
    pub snapshot_compression: SnapshotCompression,
    /// `snapshot.trust.empty`.
    pub trust_empty_snapshot: bool,
    /// `datadir.autocreate`.
    pub data_dir_autocreate: bool,
    /// `db.autocreate`.
    pub database_autocreate: bool,
    /// `digest.enabled`.
    pub digest: bool,
    /// `serializeLastProcessedZxid.enabled`.
    pub snapshot_last_zxid: bool,
    /// `autopurge.snapRetainCount`, at least 3.
    pub purge_keep: usize,
    /// `autopurge.purgeInterval`, hours; 0 is off.
    pub purge_hours: u64,
    /// `extendedTypesEnabled`.
    pub extended_types: bool,
    /// `emulate353TTLNodes`; without `extendedTypesEnabled` it has no effect.
    pub emulate_353: bool,
    /// `enforceQuota`.
    pub enforce_quota: bool,
    /// `skipACL`.
    pub skip_acl: bool,
    /// `znode.container.checkIntervalMs`.
    pub container_check_ms: u64,
    /// `znode.container.maxPerMinute`.
    pub container_per_minute_max: u64,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 is never.
    pub container_never_used_ms: i64,
    /// `DigestAuthenticationProvider.enabled`.
    pub digest_auth: bool,
    /// `DigestAuthenticationProvider.digestAlg`, a name that Java knows.
    pub digest_algorithm: DigestAlgorithm,
    /// `DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<String>,
    /// `enforce.auth.enabled`.
    pub enforce_auth: bool,
    /// `enforce.auth.schemes`.
    pub enforce_auth_schemes: Vec<String>,
    /// `ensembleAuthName`: what clients may call this ensemble; `None` is anything.
    pub ensemble_names: Option<Vec<String>>,
    /// Whether `authProvider.N` names the provider of the scheme ensemble.
    pub ensemble_auth: bool,
    /// What is about TLS.
    pub tls: TlsConfig,
    /// What is about SASL.
    pub sasl: SaslConfig,
    /// `4lw.commands.whitelist`; `*` is all.
    pub words: Vec<String>,
    /// `audit.enable`.
    pub audit: bool,
    /// The admin server.
    pub admin: AdminConfig,
    /// Where Prometheus finds metrics.
    pub prometheus: PrometheusConfig,
    /// `reconfigEnabled`.
    pub reconfig: bool,
    /// `standaloneEnabled`.
    pub standalone: bool,
    /// What only an ensemble uses.
    pub quorum: QuorumConfig,
    /// `dynamicConfigFile`: where `members` stand instead; see [`Config::merge_dynamic`].
    pub dynamic_file: Option<PathBuf>,
    /// `server.N`, `group.G`, `weight.N`.
    pub members: Members,
    /// What was proposed and is not known to be in force; see [`Config::merge_proposed`].
    pub proposed: Option<Members>,
    /// Which of them this server is; see [`Config::identify`].
    pub my_id: Option<Sid>,
    /// The file that all this stands in, if the server may write down in it who the members are.
    pub file: Option<PathBuf>,
    /// What the caller should log.
    pub notes: Vec<Note>,
    /// The text as it was loaded; empty for the embedded defaults.
    pub text: String,
    /// The same without secrets, for whoever asks.
    pub shown_text: String,
    /// The settings that are system properties to the reference, by their names there, without secrets.
    pub properties: BTreeMap<String, String>,
}

/// How loud a [`Note`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoteLevel {
    /// Nothing to do.
    Info,
    /// Somebody should look.
    Warning,
}

/// Something worth a line in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// How loud.
    pub level: NoteLevel,
    /// What it says.
    pub text: String,
}

/// Where a setting stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A line of a file.
    Line(String, usize),
    /// An option of the command line.
    CommandLine,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// Why a configuration is refused. The server exits with code 2 (CF-01).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value that makes no sense.
    #[error("{place}: {key}={value}: expected {expected}")]
    Value {
        /// Where it stands.
        place: Place,
        /// The key as written.
        key: String,
        /// The value as written; hidden if it is a secret.
        value: String,
        /// What would make sense.
        expected: String,
    },
    /// A file that is not in its own syntax.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// Settings that do not go together.
    #[error("{file}: {reason}")]
    Together {
        /// The file.
        file: String,
        /// What does not go together.
        reason: String,
    },
}

/// One key and its value, and where they stand.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Setting {
    place: Place,
    key: String,
    value: String,
}

impl Setting {
    /// The key without the prefix that system properties have: both spellings mean the same.
    fn name(&self) -> &str {
        self.key.strip_prefix("zookeeper.").unwrap_or(&self.key)
    }

    /// This setting makes no sense.
    fn refuse(&self, expected: String) -> ConfigError {
        let value = if self.is_secret() { "(hidden)".to_owned() } else { self.value.clone() };
        ConfigError::Value { place: self.place.clone(), key: self.key.clone(), value, expected }
    }

    fn is_secret(&self) -> bool {
        let key = self.key.to_ascii_lowercase();
        key.ends_with("password") || key.ends_with("superdigest")
    }
}

/// Whether a file of this name is TOML.
fn is_toml(file: &str) -> bool {
    file.ends_with(".toml")
}

impl Config {
    /// The defaults for a server that is started without any file: port 2181, `./zkd-data`.
    #[must_use]
    pub fn embedded() -> Self {
        Self { tick_ms: 2000, client_port: Some(2181), data_dir: "zkd-data".into(), ..Self::bare() }
    }

    /// Reads `text`, which stands in `file`: TOML if the name ends in `.toml`, else zoo.cfg. Then `overrides`, pairs of
    /// key and value, each as in the file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn parse(file: &str, text: &str, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let settings = survey::settings(file, text)?;
        let shown_text = if is_toml(file) { admin::as_lines(&settings) } else { text.to_owned() };
        let mut config = Self { text: text.to_owned(), shown_text, data_dir: PathBuf::new(), ..Self::bare() };
        config.apply(settings)?;
        config.override_with(overrides)?;
        config.check(file)?;
        Ok(config)
    }

    /// The embedded defaults with `overrides`.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn parse_embedded(overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut config = Self::embedded();
        config.override_with(overrides)?;
        config.check("embedded defaults")?;
        Ok(config)
    }

    /// Takes the members from the text of the dynamic file, which is called `file`. Whoever parses a configuration that
    /// has a `dynamic_file` must do this before the rest of it is used.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn merge_dynamic(&mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        self.members = Members::parse_dynamic(file, text)?;
        self.check_members(file)
    }

    /// Takes the members that were proposed last from the text of such a file. Those that are in force already are no news.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn merge_proposed(&mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        let proposed = Members::parse(file, text)?;
        self.proposed = (proposed.version > self.members.version).then_some(proposed);
        Ok(())
    }

    /// All this stands in `file`, an absolute path. Members that the command line names, `overrides`, cannot be written down
    /// there.
    pub fn stands_in(&mut self, file: PathBuf, overrides: &[(String, String)]) {
        let names_members = |(key, _): &(String, String)| Members::is_about(key.trim_start_matches("zookeeper."));
        if !overrides.iter().any(names_members) {
            self.file = Some(file);
        } else if self.reconfig && self.is_distributed() {
            let text = "the command line names servers: other members are forgotten when this server stops";
            self.note(NoteLevel::Warning, format!("{}: {text}", file.display()));
        }
    }

    /// The client's view of session timeouts: smallest and largest, ms.
    #[must_use]
    pub fn session_timeouts_ms(&self) -> (i32, i32) {
        let ticks = |count: u64| i32::try_from(self.tick_ms.saturating_mul(count)).unwrap_or(i32::MAX);
        (
            self.session_timeout_min_ms.unwrap_or_else(|| ticks(2)),
            self.session_timeout_max_ms.unwrap_or_else(|| ticks(20)),
        )
    }

    fn bare() -> Self {
        Self {
            data_dir: PathBuf::new(),
            data_log_dir: None,
            client_port: None,
            client_host: None,
            listen_backlog: -1,
            client_threads: None,
            tick_ms: 3000,
            session_timeout_min_ms: None,
            session_timeout_max_ms: None,
            connections_per_address_max: 60,
            connections_max: 0,
            frame_bytes_max: 0xfffff,
            frame_extra_bytes: None,
            outstanding_max: 1000,
            large_request_bytes_max: 100 << 20,
            large_request_threshold: None,
            sessionless_ms: 10_000,
            handshakes_max: None,
            client_keep_alive: false,
            throttle: ThrottleConfig::default(),
            flush_delay_ms: 0,
            flush_poll_ms: None,
            flush_txns_max: Some(1000),
            close_session_txn: true,
            eager_acl_check: false,
            snapshot_txns: 100_000,
            snapshot_bytes: 4 << 30,
            log_bytes_max: None,
            log_preallocation_bytes: 64 << 20,
            force_sync: true,
            fsync_warning_ms: 1000,
            snapshot_compression: SnapshotCompression::None,
            trust_empty_snapshot: false,
            data_dir_autocreate: true,
            database_autocreate: true,
            digest: true,
            snapshot_last_zxid: true,
            purge_keep: 3,
            purge_hours: 0,
            extended_types: false,
            emulate_353: false,
            enforce_quota: false,
            skip_acl: false,
            container_check_ms: 60_000,
            container_per_minute_max: 10_000,
            container_never_used_ms: 0,
            digest_auth: true,
            digest_algorithm: DigestAlgorithm::default(),
            super_digest: None,
            enforce_auth: false,
            enforce_auth_schemes: Vec::new(),
            ensemble_names: None,
            ensemble_auth: false,
            tls: TlsConfig::default(),
            sasl: SaslConfig::default(),
            words: vec!["srvr".to_owned()],
            audit: false,
            admin: AdminConfig::default(),
            prometheus: PrometheusConfig::default(),
            reconfig: false,
            standalone: true,
            quorum: QuorumConfig::default(),
            dynamic_file: None,
            members: Members::default(),
            proposed: None,
            my_id: None,
            file: None,
            notes: Vec::new(),
            text: String::new(),
            shown_text: String::new(),
            properties: BTreeMap::new(),
        }
    }

    fn override_with(&mut self, overrides: &[(String, String)]) -> Result<(), ConfigError> {
        let setting = |(key, value): &(String, String)| Setting {
            place: Place::CommandLine,
            key: key.clone(),
            value: value.clone(),
        };
        self.apply(overrides.iter().map(setting).collect())
    }

    /// Of a key that comes twice, the last one counts.
    fn apply(&mut self, settings: Vec<Setting>) -> Result<(), ConfigError> {
        let has_dynamic = self.dynamic_file.is_some() || settings.iter().any(|setting| setting.name() == DYNAMIC_FILE);
        if let Some(setting) = settings.iter().find(|setting| has_dynamic && Members::is_about(setting.name())) {
            return Err(setting.refuse(format!("it in the file that {DYNAMIC_FILE} names, and not here")));
        }
        for (at, setting) in settings.iter().enumerate() {
            self.hide_secret(setting);
            if settings[at + 1..].iter().any(|later| later.key == setting.key) {
                continue;
            }
            keys::apply(self, setting)?;
            self.note_property(setting);
        }
        Ok(())
    }

    fn check(&mut self, file: &str) -> Result<(), ConfigError> {
        let fail = |reason: &str| Err(ConfigError::Together { file: file.to_owned(), reason: reason.to_owned() });
        if self.data_dir.as_os_str().is_empty() {
            return fail("dataDir is not set");
        }
        if self.client_host.is_some() && self.client_port.is_none() {
            return fail("clientPortAddress is set but clientPort is not");
        }
        if let Err(reason) = self.tls.check().and_then(|()| self.admin.check(&self.tls.quorum_side)) {
            return fail(&reason);
        }
        if self.tls.leaves_names_unchecked() {
            let text = "fips-mode is on, as by default: the names in other servers' certificates are not looked at";
            self.note(NoteLevel::Warning, format!("{file}: {text}; fips-mode=false has them checked"));
        }
        let (min, max) = self.session_timeouts_ms();
        if min > max {
            return fail(&format!("minSessionTimeout {min} is greater than maxSessionTimeout {max}"));
        }
        if let Err(reason) = self.check_sasl(file) {
            return fail(&reason);
        }
        match &self.dynamic_file {
            None => self.check_members(file),
            Some(_) if self.members.is_empty() => Ok(()),
            Some(_) => fail("server, group and weight lines must be in the dynamicConfigFile alone"),
        }
    }

    /// EN-03, EN-11, EN-12.
    fn check_members(&mut self, file: &str) -> Result<(), ConfigError> {
        let fail = |reason: &str| Err(ConfigError::Together { file: file.to_owned(), reason: reason.to_owned() });
        let (participants, observers) =
            (self.members.count(ServerRole::Participant), self.members.count(ServerRole::Observer));
        if participants == 0 && !self.standalone {
            return fail("standaloneEnabled is false but no server line names a participant");
        }
        if observers > 0 && !self.is_distributed() {
            return fail("observers need an ensemble: two participants, or one and standaloneEnabled=false");
        }
        if self.is_distributed() && self.quorum.init_limit.is_none() {
            return fail("an ensemble needs initLimit");
        }
        if self.is_distributed() && self.quorum.sync_limit.is_none() {
            return fail("an ensemble needs syncLimit");
        }
        if let Some(server) = self.members.servers.values().find(|server| server.addresses.len() > 1)
            && !self.quorum.multi_address
        {
            let id = server.id;
            return fail(&format!("server.{id} has several addresses: they need multiAddress.enabled=true"));
        }
        match participants {
            2 if self.quorum.oracle => {
                return fail(
                    "zkd asks no oracle: leave oraclePath out and add a third participant, or both must be there",
                );
            }
            _ if self.quorum.oracle => {
                let text = "oraclePath has no effect: only ensembles of two participants ask an oracle";
                self.note(NoteLevel::Info, format!("{file}: {text}"));
            }
            _ => {}
        }
        match participants {
            1 if self.standalone => {
                self.note(NoteLevel::Info, format!("{file}: one server line: this server runs standalone"));
            }
            2 => {
                let text = "with two participants both must be there; it takes three to do without one";
                self.note(NoteLevel::Warning, format!("{file}: {text}"));
            }
            even if even > 0 && even.is_multiple_of(2) => {
                let text = format!("{even} participants can miss no more of them than {} could", even - 1);
                self.note(NoteLevel::Warning, format!("{file}: {text}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether several servers vote, or one that shall grow.
    #[must_use]
    pub fn is_distributed(&self) -> bool {
        !self.standalone || self.members.count(ServerRole::Participant) > 1
    }

    fn note(&mut self, level: NoteLevel, text: String) {
        if !self.notes.iter().any(|note| note.text == text) {
            self.notes.push(Note { level, text });
        }
    }
}

#[cfg(test)]
mod tests;
