//! The admin server and the provider of metrics; and what the reference takes for system properties.

use super::{Config, Place, Setting};

/// The keys of the admin server. Defaults are the reference's (CF-28, CF-29, CF-32).
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
        let Place::Line(_, number) = &setting.place else { return };
        if !setting.is_secret() {
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
