//! What the running server needs of its configuration.

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::admin::{AdminRules, user_name};
use crate::auth::sasl::{Nonces, SaslRules, SaslUsers};
use crate::auth::{AuthRules, EnsembleNames};
use crate::config::{ClientAddress, Config, ServerRole, SnapshotCompression, TlsConfig};
use crate::disk::{FlushRules, LogOptions};
use crate::ids::Sid;
use crate::net::{
    ConnectionLimits, ConnectionThrottleRules, ElectionNet, Passwords, QuorumNet, RequestThrottleRules, Security,
    ServerSasl,
};
use crate::peer::{EnsembleRules, ReaperRules, SnapshotRules};
use crate::pipeline::{EarlyRules, LargeRequestRules, ReceiveRules};
use crate::session::Negotiation;
use crate::storage::compression::Compression;
use crate::storage::recovery::RecoveryOptions;
use crate::tree::{TreeOptions, TtlMarks};
use crate::zab::{ElectionRules, Ensemble, EnsembleError, Membership};

/// Everything a server is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients connect; a member of an ensemble may have no clients.
    pub client_address: Option<ClientAddress>,
    /// Where clients connect with TLS.
    pub secure_address: Option<ClientAddress>,
    /// What TLS is made with.
    pub tls: TlsConfig,
    /// `clientPortListenBacklog`, -1 for the system's own.
    pub backlog: i32,
    /// `zookeeper.nio.numSelectorThreads`: threads that carry connections; `None`: half of the cores.
    pub client_threads: Option<usize>,
    /// `dataDir`.
    pub data_dir: PathBuf,
    /// `dataLogDir`.
    pub data_log_dir: PathBuf,
    /// `zookeeper.datadir.autocreate`.
    pub autocreate: bool,
    /// `tickTime`, ms.
    pub tick_ms: u64,
    /// `minSessionTimeout`, `maxSessionTimeout`.
    pub negotiation: Negotiation,
    /// Bounds of connections.
    pub limits: ConnectionLimits,
    /// How many clients may ask for sessions.
    pub connection_throttle: ConnectionThrottleRules,
    /// How many requests may be in process.
    pub request_throttle: RequestThrottleRules,
    /// Who may do what.
    pub auth: AuthRules,
    /// `zookeeper.extendedTypesEnabled`.
    pub extended_types: bool,
    /// The same, and `zookeeper.emulate353TTLNodes`.
    pub ttl_marks: TtlMarks,
    /// `zookeeper.enforceQuota`.
    pub enforce_quota: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `zookeeper.digest.enabled`.
    pub digest: bool,
    /// `zookeeper.closeSessionTxn.enabled`.
    pub close_session_txn: bool,
    /// When to write snapshots.
    pub snapshots: SnapshotRules,
    /// `zookeeper.snapshot.compression.method`.
    pub compression: Compression,
    /// `zookeeper.serializeLastProcessedZxid.enabled`.
    pub snapshot_last_zxid: bool,
    /// How the log is written.
    pub log: LogOptions,
    /// How the database is recovered.
    pub recovery: RecoveryOptions,
    /// When containers and TTL znodes are removed.
    pub reaper: ReaperRules,
    /// `autopurge.purgeInterval`; `None` is off.
    pub purge_interval: Option<Duration>,
    /// `autopurge.snapRetainCount`.
    pub purge_keep: usize,
    /// `4lw.commands.whitelist`.
    pub words: Vec<String>,
    /// `audit.enable`: who runs this server, if there is an audit log.
    pub audit: Option<String>,
    /// The admin server, if there is one.
    pub admin: Option<AdminRules>,
    /// Where Prometheus finds metrics, if it looks for them.
    pub metrics: Option<MetricsSettings>,
    /// The configuration as it was read, without secrets.
    pub configuration: String,
    /// The settings that the reference takes for system properties, without secrets.
    pub properties: Vec<(String, String)>,
    /// The ensemble that this server belongs to; `None` for a server alone.
    pub ensemble: Option<EnsembleSettings>,
}

/// `metricsProvider.*`, with the class of Prometheus.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    /// Where, `host:port`.
    pub place: String,
    /// `metricsProvider.exportJvmInfo`.
    pub process: bool,
}

/// What a member of an ensemble is started with.
#[derive(Clone, Debug)]
pub struct EnsembleSettings {
    /// `myid`.
    pub me: Sid,
    /// What its machine must know.
    pub rules: EnsembleRules,
    /// `snapshotSizeFactor`; nothing when learners get nothing from the log.
    pub log_sync_factor: f64,
    /// `quorumListenOnAllIPs`.
    pub listen_on_all: bool,
    /// `observerMasterPort`.
    pub master_port: Option<u16>,
    /// The configuration, if who the members are is to be written down in it and beside it: with `reconfigEnabled`.
    pub member_file: Option<PathBuf>,
    /// Whether the configuration itself names the members, and not a dynamic file.
    pub names_members: bool,
    /// How it connects for elections.
    pub election: ElectionNet,
    /// How it connects as leader and learner.
    pub quorum: QuorumNet,
}

/// Settings that this server cannot be run with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A member of an ensemble that the ensemble does not know.
    #[error("no server line names this server, whose myid is {0}")]
    NotAMember(u8),
    /// A member of an ensemble that does not know itself.
    #[error("an ensemble needs a myid file")]
    NoMyId,
    /// Servers, groups and weights that make no ensemble.
    #[error(transparent)]
    Members(#[from] EnsembleError),
    /// A server alone, and no port.
    #[error("neither clientPort nor secureClientPort is set")]
    NoClientPort,
    /// The system draws nothing for the challenges of SASL.
    #[error("the system has no random numbers: {0}")]
    Chance(String),
}

impl Settings {
    /// What a configuration says.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn from_config(config: &Config) -> Result<Self, SettingsError> {
        let host = config.client_host.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        let client_address = config.client_port.map(|port| ClientAddress { host, port });
        let secure_host = config.tls.client_host.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        let secure_address = config.tls.client_port.map(|port| ClientAddress { host: secure_host, port });
        if client_address.is_none() && secure_address.is_none() && !config.is_distributed() {
            return Err(SettingsError::NoClientPort);
        }
        let (min_ms, max_ms) = config.session_timeouts_ms();
        Ok(Self {
            client_address,
            secure_address,
            tls: config.tls.clone(),
            backlog: config.listen_backlog,
            client_threads: config.client_threads,
            data_dir: config.data_dir.clone(),
            data_log_dir: config.data_log_dir.clone().unwrap_or_else(|| config.data_dir.clone()),
            autocreate: config.data_dir_autocreate,
            tick_ms: config.tick_ms,
            negotiation: Negotiation { min_ms, max_ms },
            limits: limits(config),
            connection_throttle: connection_throttle(config),
            request_throttle: RequestThrottleRules {
                requests_max: config.throttle.requests_max,
                stall: Duration::from_millis(config.throttle.stall_ms),
                drop_stale: config.throttle.drop_stale,
                stale_connection: config.throttle.stale_connection,
                stale_latency: config.throttle.stale_latency,
            },
            auth: auth(config)?,
            extended_types: config.extended_types,
            ttl_marks: match (config.extended_types, config.emulate_353) {
                (false, _) => TtlMarks::None,
                (true, false) => TtlMarks::TopByte,
                (true, true) => TtlMarks::TopBit,
            },
            enforce_quota: config.enforce_quota,
            reconfig_enabled: config.reconfig,
            digest: config.digest,
            close_session_txn: config.close_session_txn,
            snapshots: SnapshotRules { txns: config.snapshot_txns, bytes: config.snapshot_bytes },
            compression: match config.snapshot_compression {
                SnapshotCompression::None => Compression::Plain,
                SnapshotCompression::Gz => Compression::Gz,
                SnapshotCompression::Snappy => Compression::Snappy,
            },
            snapshot_last_zxid: config.snapshot_last_zxid,
            log: LogOptions {
                prealloc_bytes: config.log_preallocation_bytes,
                force_sync: config.force_sync,
                fsync_warning_ms: config.fsync_warning_ms,
                size_limit_bytes: config.log_bytes_max,
                flush: FlushRules {
                    delay: Duration::from_millis(config.flush_delay_ms),
                    poll: Duration::from_millis(config.flush_poll_ms.unwrap_or(config.flush_delay_ms / 3)),
                    txns_max: config.flush_txns_max,
                },
            },
            recovery: RecoveryOptions {
                autocreate: config.database_autocreate,
                trust_empty_snapshot: config.trust_empty_snapshot,
                body_bytes_max: body_bytes_max(config),
            },
            reaper: ReaperRules {
                interval_ms: config.container_check_ms,
                per_minute_max: config.container_per_minute_max,
                never_used_ms: config.container_never_used_ms,
            },
            purge_interval: (config.purge_hours > 0).then(|| Duration::from_secs(config.purge_hours * 3600)),
            purge_keep: config.purge_keep,
            words: words(config),
            audit: config.audit.then(user_name),
            admin: config.admin.enabled.then(|| admin(config)),
            metrics: config.prometheus.enabled.then(|| MetricsSettings {
                place: place(config.prometheus.host.as_ref(), config.prometheus.port),
                process: config.prometheus.process,
            }),
            configuration: config.shown_text.clone(),
            properties: config.properties.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            ensemble: config.is_distributed().then(|| ensemble(config)).transpose()?,
        })
    }
}

fn admin(config: &Config) -> AdminRules {
    let admin = &config.admin;
    AdminRules {
        place: place(admin.host.as_ref(), admin.port),
        command_url: admin.command_url.clone(),
        idle: Duration::from_millis(admin.idle_ms),
        takes_tls: admin.takes_tls,
        only_tls: admin.only_tls,
        needs_certificates: admin.needs_certificates,
        snapshot: admin.snapshot,
        restore: admin.restore,
        interval_ms: admin.interval_ms,
        snapshot_last_zxid: config.snapshot_last_zxid,
    }
}

/// Where to listen; all addresses without a host.
fn place(host: Option<&String>, port: u16) -> String {
    let host = host.cloned().unwrap_or_else(|| "0.0.0.0".to_owned());
    ClientAddress { host, port }.listen()
}

fn ensemble(config: &Config) -> Result<EnsembleSettings, SettingsError> {
    let (quorum, ticks_ms) = (&config.quorum, |ticks: u32| config.tick_ms.saturating_mul(ticks.into()));
    let me = config.my_id.ok_or(SettingsError::NoMyId)?;
    let ensemble = Ensemble::from_config(config)?;
    if ensemble.server(me).is_none() {
        return Err(SettingsError::NotAMember(me.0));
    }
    let proposed = config.proposed.clone().map(Ensemble::from_members).transpose()?;
    let (init_limit, sync_limit) = (quorum.init_limit.unwrap_or(10), quorum.sync_limit.unwrap_or(5));
    let connect_limit = quorum.connect_limit.unwrap_or(0);
    let sasl = server_sasl(config)?;
    Ok(EnsembleSettings {
        me,
        log_sync_factor: quorum.log_sync_factor.unwrap_or(0.0),
        listen_on_all: quorum.listen_on_all,
        master_port: quorum.observer_master_port,
        member_file: config.file.clone().filter(|_| config.reconfig),
        names_members: config.dynamic_file.is_none(),
        election: ElectionNet {
            connect: Duration::from_millis(quorum.election_connect_ms),
            hello: Duration::from_millis(quorum.election_greeting_ms.unwrap_or_else(|| ticks_ms(sync_limit))),
            bind_tries: quorum.election_bind_tries,
            keep_alive: quorum.keep_alive,
            security: Security::default(),
            sasl: sasl.clone(),
        },
        quorum: QuorumNet {
            connect: Duration::from_millis(ticks_ms(if connect_limit > 0 { connect_limit } else { init_limit })),
            field_bytes_max: body_bytes_max(config),
            tree: TreeOptions::default(),
            keep_alive: quorum.keep_alive,
            security: Security::default(),
            sasl,
        },
        rules: EnsembleRules {
            membership: Membership { committed: ensemble, proposed, rumoured: None },
            standalone_enabled: config.standalone,
            several_addresses: config.quorum.multi_address,
            init_limit,
            sync_limit,
            connect_limit,
            epoch_wait_ms: quorum.epoch_wait_ms,
            election: ElectionRules {
                resend_min_ms: quorum.notification_min_ms,
                resend_max_ms: quorum.notification_max_ms,
                ..ElectionRules::default()
            },
            leader_serves: quorum.leader_serves,
            history_txns: quorum.committed_log_max,
            force_snapshot: quorum.force_snapshot_sync,
            snap_syncs_max: quorum.snap_syncs_max,
            diff_syncs_max: quorum.diff_syncs_max,
            sync_from_log: quorum.log_sync_factor.is_some(),
            local_sessions: quorum.local_sessions,
            local_sessions_upgrade: quorum.local_sessions_upgrade,
            read_only_mode: quorum.read_only_mode,
            connect_retry_ms: quorum.connect_retry_ms,
            observer_writes: quorum.observer_writes,
            observer_reconnect_ms: quorum.observer_reconnect_ms,
            observer_masters: quorum.observer_master_port.is_some(),
            observer_delay_ms: quorum.observer_election_ms,
        },
    })
}

/// Four-letter words that are answered: a client that finds a read-only server asks `isro` (CF-27).
fn words(config: &Config) -> Vec<String> {
    let isro = config.quorum.read_only_mode.then(|| "isro".to_owned());
    config.words.iter().cloned().chain(isro).collect()
}

/// The longest field of a record between servers, and in the log, bytes.
fn body_bytes_max(config: &Config) -> usize {
    config.frame_bytes_max.saturating_add(config.frame_extra_bytes.unwrap_or(config.frame_bytes_max).max(1024))
}

fn limits(config: &Config) -> ConnectionLimits {
    ConnectionLimits {
        frame_bytes_max: config.frame_bytes_max,
        per_address_max: config.connections_per_address_max,
        total_max: config.connections_max,
        outstanding_max: outstanding_max(config),
        receive: ReceiveRules {
            large: LargeRequestRules {
                threshold: config.large_request_threshold,
                bytes_max: config.large_request_bytes_max,
            },
            early: EarlyRules {
                op_wait_max_ms: config.throttle.op_wait_max_ms,
                // A server alone does not look twice.
                check_acls: config.eager_acl_check && config.is_distributed(),
            },
        },
        sessionless_ms: config.sessionless_ms,
        handshakes_max: config.handshakes_max.unwrap_or(u64::MAX),
        keep_alive: config.client_keep_alive,
    }
}

fn connection_throttle(config: &Config) -> ConnectionThrottleRules {
    let (throttle, weights) = (&config.throttle, config.throttle.weights());
    let local = config.is_distributed() && config.quorum.local_sessions;
    ConnectionThrottleRules {
        tokens_max: throttle.tokens.saturating_mul(weights.global),
        fill_count: throttle.fill_count.saturating_mul(weights.global),
        fill_ms: throttle.fill_ms,
        freeze_ms: throttle.freeze_ms,
        drop_increase: throttle.drop_increase,
        drop_decrease: throttle.drop_decrease,
        decrease_ratio: throttle.decrease_ratio,
        new_session_weight: if local { weights.local } else { weights.global },
        renewed_session_weight: weights.renew,
    }
}

/// Of many voters each takes its share, and so does an observer (CF-35).
fn outstanding_max(config: &Config) -> i64 {
    let voters = i64::try_from(config.members.count(ServerRole::Participant)).unwrap_or(i64::MAX);
    if config.is_distributed() && voters > 2 {
        (config.outstanding_max / (voters - 1)).max(1)
    } else {
        config.outstanding_max
    }
}

fn auth(config: &Config) -> Result<AuthRules, SettingsError> {
    Ok(AuthRules {
        skip_acl: config.skip_acl,
        digest_enabled: config.digest_auth,
        digest_algorithm: config.digest_algorithm,
        super_digest: config.super_digest.as_deref().map(Into::into),
        x509_enabled: config.tls.knows_x509(),
        x509_super: config.tls.x509_super.as_deref().map(Into::into),
        sasl: sasl(config)?,
        ensemble: config.ensemble_auth.then(|| ensemble_names(config)),
        enforced_schemes: config.enforced_schemes().into_iter().map(Into::into).collect(),
    })
}

fn ensemble_names(config: &Config) -> EnsembleNames {
    let names = |names: &Vec<String>| names.iter().map(|name| name.as_str().into()).collect();
    EnsembleNames(config.ensemble_names.as_ref().map(names))
}

fn sasl(config: &Config) -> Result<SaslRules, SettingsError> {
    let sasl = &config.sasl;
    let known = |users| nonces().map(|nonces| SaslUsers { users, nonces });
    Ok(SaslRules {
        users: sasl.users.clone().map(known).transpose()?,
        provider: sasl.provider,
        super_users: sasl.super_users.values().map(|user| user.as_str().into()).collect(),
        anybody: sasl.anybody.as_deref().map(Into::into),
        allow_failed: sasl.allow_failed,
    })
}

/// What servers ask each other for.
fn server_sasl(config: &Config) -> Result<ServerSasl, SettingsError> {
    let quorum = &config.sasl.quorum;
    if !quorum.enabled {
        return Ok(ServerSasl::default());
    }
    Ok(ServerSasl::new(Passwords {
        users: quorum.users.clone(),
        required: quorum.server_required,
        own: quorum.own.clone().filter(|_| quorum.learner_required),
        nonces: nonces()?,
    }))
}

/// Nonces that nobody can know, from a secret that the system draws.
fn nonces() -> Result<Nonces, SettingsError> {
    let mut secret = [0; 32];
    let mut drawn = 0;
    while drawn < secret.len() {
        drawn += retry_on_intr(|| getrandom(&mut secret[drawn..], GetRandomFlags::empty()))
            .map_err(|error| SettingsError::Chance(error.to_string()))?;
    }
    Ok(Nonces::new(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_process_are_shared_among_voters() {
        let limit = |members: &str| {
            let text = format!("dataDir=/d\nglobalOutstandingLimit=100\ninitLimit=5\nsyncLimit=2\n{members}");
            outstanding_max(&Config::parse("zoo.cfg", &text, &[]).expect("good"))
        };
        let voters = |count| (1..=count).map(|id| format!("server.{id}=a:1:2\n")).collect::<String>();
        assert_eq!([limit(""), limit(&voters(2)), limit(&voters(3)), limit(&voters(5))], [100, 100, 50, 25]);
        let observed = voters(3) + "server.4=b:1:2:observer\nserver.5=c:1:2:observer";
        assert_eq!(limit(&observed), 50, "observers take no share away");
    }
}
