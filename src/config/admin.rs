//! The admin server and the provider of metrics; and what the reference takes for system properties.

use super::{Config, Place, Setting, TlsSide, is_toml};

/// The keys of the admin server. Defaults are the reference's (CF-28, CF-29, CF-31, CF-32).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminConfig {
    /// `admin.enableServer`.
    pub enabled: bool,
    /// `admin.serverAddress`, a name or an address; `None` is all addresses.
    pub host: Option<String>,
    /// `admin.serverPort`; 0 is any.
    pub port: u16,
    /// `admin.commandURL`, without a slash at its end.
    pub command_url: String,
    /// `admin.idleTimeout`, ms.
    pub idle_ms: u64,
    /// `admin.snapshot.enabled`.
    pub snapshot: bool,
    /// `admin.restore.enabled`.
    pub restore: bool,
    /// `admin.rateLimiterIntervalInMS`.
    pub interval_ms: u64,
    /// `admin.portUnification`: it takes TLS as well.
    pub takes_tls: bool,
    /// `admin.forceHttps`: it takes nothing else.
    pub only_tls: bool,
    /// `admin.needClientAuth`: whoever comes with TLS has to show a certificate.
    pub needs_certificates: bool,
}

impl AdminConfig {
    /// Whether there is TLS, with the stores of `ssl.quorum.*`.
    #[must_use]
    pub const fn has_tls(&self) -> bool {
        self.enabled && (self.takes_tls || self.only_tls)
    }

    /// What its TLS lacks.
    pub(super) fn check(&self, stores: &TlsSide) -> Result<(), String> {
        if !self.has_tls() {
            return Ok(());
        }
        let why = if self.only_tls { "admin.forceHttps" } else { "admin.portUnification" };
        stores.check(why, "ssl.quorum.", self.needs_certificates)
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            host: None,
            port: 8080,
            command_url: "/commands".to_owned(),
            idle_ms: 30_000,
            snapshot: true,
            restore: true,
            interval_ms: 300_000,
            takes_tls: false,
            only_tls: false,
            needs_certificates: false,
        }
    }
}

/// `metricsProvider.*`: where Prometheus finds metrics (CF-23).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrometheusConfig {
    /// Whether `metricsProvider.className` is Prometheus's.
    pub enabled: bool,
    /// `metricsProvider.httpHost`, a name or an address; `None` is all addresses.
    pub host: Option<String>,
    /// `metricsProvider.httpPort`; 0 is any.
    pub port: u16,
    /// `metricsProvider.exportJvmInfo`: what there is to tell of the process.
    pub process: bool,
}

impl Default for PrometheusConfig {
    fn default() -> Self {
        Self { enabled: false, host: None, port: 7000, process: true }
    }
}

/// Whether a class of the reference that provides metrics is Prometheus's; `None` for classes that nobody knows.
pub(super) fn is_prometheus(class: &str) -> Option<bool> {
    match class {
        "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider" => Some(true),
        "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"
        | "org.apache.zookeeper.metrics.impl.NullMetricsProvider" => Some(false),
        _ => None,
    }
}

/// Keys that the reference's parser knows by itself. All others become system properties.
const PARSED: [&str; 33] = [
    "autopurge.purgeInterval",
    "autopurge.snapRetainCount",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "connectToLearnerMasterLimit",
    "dataDir",
    "dataLogDir",
    "dynamicConfigFile",
    "electionAlg",
    "initLimit",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "maxClientCnxns",
    "maxSessionTimeout",
    "minSessionTimeout",
    "multiAddress.enabled",
    "multiAddress.reachabilityCheckEnabled",
    "multiAddress.reachabilityCheckTimeoutMs",
    "observerMasterPort",
    "oraclePath",
    "peerType",
    "portUnification",
    "quorumListenOnAllIPs",
    "reconfigEnabled",
    "secureClientPort",
    "secureClientPortAddress",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
    "standaloneEnabled",
    "syncEnabled",
    "syncLimit",
    "tickTime",
];
/// The beginnings of others.
const PARSED_PREFIXES: [&str; 7] =
    ["jvm.pause.", "metricsProvider.", "quorum.auth.", "quorum.cnxn.", "server.", "group", "weight"];

/// What stands in place of a secret.
const HIDDEN: &str = "(hidden)";

/// Settings of a TOML file as they would stand in zoo.cfg: there a value may go over several lines, or share one with others.
pub(super) fn as_lines(settings: &[Setting]) -> String {
    let line =
        |setting: &Setting| format!("{}={}\n", setting.key, if setting.is_secret() { HIDDEN } else { &setting.value });
    settings.iter().map(line).collect()
}

impl Config {
    /// Remembers a setting that is a system property to the reference.
    pub(super) fn note_property(&mut self, setting: &Setting) {
        let name = setting.name();
        if PARSED.contains(&name) || PARSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return;
        }
        let value = if setting.is_secret() { HIDDEN } else { &setting.value };
        self.properties.insert(format!("zookeeper.{name}"), value.to_owned());
    }

    /// Takes a secret out of the text that operators can ask for, with the lines that it goes on in.
    pub(super) fn hide_secret(&mut self, setting: &Setting) {
        let Place::Line(file, number) = &setting.place else { return };
        if !setting.is_secret() || is_toml(file) {
            return;
        }
        let mut lines: Vec<String> = self.shown_text.split_inclusive('\n').map(str::to_owned).collect();
        let mut goes_on = true;
        for (at, line) in lines.iter_mut().enumerate().skip(number.saturating_sub(1)) {
            if !goes_on {
                break;
            }
            let end = if line.ends_with('\n') { "\n" } else { "" };
            goes_on = line.trim_end().ends_with('\\');
            let shown = if at + 1 == *number { format!("{}={HIDDEN}", setting.key) } else { String::new() };
            *line = format!("{shown}{end}");
        }
        self.shown_text = lines.concat();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_to_nobody() {
        let text = "dataDir=/d\nssl.keyStore.password=ab\\\n  cd\nclientPort=1\nsnapCount=7\n\
                    DigestAuthenticationProvider.superDigest=super:x";
        let config = Config::parse("zoo.cfg", text, &[]).expect("good");
        let shown = "dataDir=/d\nssl.keyStore.password=(hidden)\n\nclientPort=1\nsnapCount=7\n\
                     DigestAuthenticationProvider.superDigest=(hidden)";
        assert_eq!(config.shown_text, shown);
        let properties: Vec<_> =
            config.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("zookeeper.DigestAuthenticationProvider.superDigest", "(hidden)"),
            ("zookeeper.snapCount", "7"),
            ("zookeeper.ssl.keyStore.password", "(hidden)"),
        ];
        assert_eq!(properties, expected);
        let text = "dataDir = \"/d\"\nssl.keyStore = { password = [\n\"ab\",\n\"cd\"] }\n";
        let config = Config::parse("zkd.toml", text, &[]).expect("good");
        assert_eq!(config.shown_text, "dataDir=/d\nssl.keyStore.password=(hidden)\n");
    }

    #[test]
    fn tls_of_the_admin_server_needs_stores() {
        let set = |text: &str| {
            let text = format!("dataDir=/d\nadmin.needClientAuth=true\n{text}");
            Config::parse("z", &text, &[]).map_err(|error| error.to_string())
        };
        assert!(!set("").expect("http").admin.has_tls(), "there is no TLS that could need certificates");
        let why = set("admin.forceHttps=true").unwrap_err();
        assert!(why.starts_with("z: admin.forceHttps needs ssl.quorum.keyStore.location"), "{why}");
        let key = "ssl.quorum.keyStore.location=/k.pem\nadmin.portUnification=true\n";
        let why = set(key).unwrap_err();
        assert!(why.starts_with("z: admin.portUnification needs ssl.quorum.trustStore.location"), "{why}");
        assert!(set(&format!("{key}admin.needClientAuth=false")).expect("nobody is asked").admin.has_tls());
        assert!(set(&format!("{key}ssl.quorum.trustStore.location=/t.pem")).is_ok());
        assert!(set("admin.forceHttps=true\nadmin.enableServer=false").is_ok());
    }

    #[test]
    fn classes_of_the_reference_are_known() {
        let set = |class: &str| Config::parse("z", &format!("dataDir=/d\nmetricsProvider.className={class}"), &[]);
        let prometheus = set("org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider").expect("known");
        assert!(prometheus.prometheus.enabled && prometheus.prometheus.port == 7000);
        assert!(!set("org.apache.zookeeper.metrics.impl.DefaultMetricsProvider").expect("known").prometheus.enabled);
        assert!(set("org.nosuch.Provider").is_err());
    }
}
