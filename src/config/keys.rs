//! The keys: how each is spelled, what it may hold, and where it goes.

use std::ops::RangeInclusive;

use super::{Config, ConfigError, NoteLevel, Setting, SnapshotCompression};

/// What a value should have been.
struct Expected(String);

type Apply = fn(&mut Config, &str) -> Result<(), Expected>;

/// Every key that has an effect, without the prefix `zookeeper.` that system properties have: both spellings count.
const KEYS: &[(&str, Apply)] = &[
    ("dataDir", |c, v| path(v).map(|v| c.data_dir = v)),
    ("dataLogDir", |c, v| path(v).map(|v| c.data_log_dir = Some(v))),
    ("clientPort", |c, v| number(v, 0..=65_535).map(|v| c.client_port = Some(v))),
    ("clientPortAddress", |c, v| address(v).map(|v| c.client_address = v)),
    ("clientPortListenBacklog", |c, v| number(v, ANY).map(|v| c.listen_backlog = v)),
    ("tickTime", |c, v| number(v, POSITIVE).map(|v| c.tick_ms = v)),
    ("minSessionTimeout", |c, v| number(v, ANY).map(|v: i32| c.session_timeout_min_ms = (v >= 0).then_some(v))),
    ("maxSessionTimeout", |c, v| number(v, ANY).map(|v: i32| c.session_timeout_max_ms = (v >= 0).then_some(v))),
    ("maxClientCnxns", |c, v| number(v, NATURAL).map(|v| c.connections_per_address_max = v)),
    ("maxCnxns", |c, v| number(v, NATURAL).map(|v| c.connections_max = v)),
    ("jute.maxbuffer", |c, v| number(v, 1..=I32_MAX).map(|v| c.frame_bytes_max = v)),
    ("jute.maxbuffer.extrasize", |c, v| number(v, NATURAL).map(|v| c.frame_extra_bytes = Some(v))),
    ("globalOutstandingLimit", |c, v| number(v, POSITIVE).map(|v| c.outstanding_max = v)),
    ("largeRequestMaxBytes", |c, v| number(v, POSITIVE).map(|v| c.large_request_bytes_max = v)),
    ("largeRequestThreshold", |c, v| limit(v, 1).map(|v| c.large_request_threshold = v.map(|v| v as usize))),
    ("nio.sessionlessCnxnTimeout", |c, v| number(v, POSITIVE).map(|v| c.sessionless_ms = v)),
    ("clientTcpKeepAlive", |c, v| flag(v).map(|v| c.client_keep_alive = v)),
    ("snapCount", |c, v| number(v, POSITIVE).map(|v: u64| c.snapshot_txns = v.max(2))),
    ("snapSizeLimitInKb", |c, v| limit(v, 1024).map(|v| c.snapshot_bytes = v.unwrap_or(0))),
    ("txnLogSizeLimitInKb", |c, v| limit(v, 1024).map(|v| c.log_bytes_max = v)),
    ("preAllocSize", |c, v| limit(v, 1024).map(|v| c.log_preallocation_bytes = v.unwrap_or(0))),
    ("forceSync", |c, v| flag(v).map(|v| c.force_sync = v)),
    ("fsync.warningthresholdms", |c, v| number(v, NATURAL).map(|v| c.fsync_warning_ms = v)),
    ("snapshot.compression.method", |c, v| compression(v).map(|v| c.snapshot_compression = v)),
    ("snapshot.trust.empty", |c, v| flag(v).map(|v| c.trust_empty_snapshot = v)),
    ("datadir.autocreate", |c, v| flag(v).map(|v| c.data_dir_autocreate = v)),
    ("db.autocreate", |c, v| flag(v).map(|v| c.database_autocreate = v)),
    ("digest.enabled", |c, v| flag(v).map(|v| c.digest = v)),
    ("serializeLastProcessedZxid.enabled", |c, v| flag(v).map(|v| c.snapshot_last_zxid = v)),
    ("autopurge.snapRetainCount", |c, v| number(v, ANY).map(|v: i64| c.purge_keep = v.max(3) as usize)),
    ("autopurge.purgeInterval", |c, v| number(v, ANY).map(|v: i64| c.purge_hours = v.max(0) as u64)),
    ("extendedTypesEnabled", |c, v| flag(v).map(|v| c.extended_types = v)),
    ("enforceQuota", |c, v| flag(v).map(|v| c.enforce_quota = v)),
    ("skipACL", |c, v| flag(v).map(|v| c.skip_acl = v)),
    ("znode.container.checkIntervalMs", |c, v| number(v, POSITIVE).map(|v| c.container_check_ms = v)),
    ("znode.container.maxPerMinute", |c, v| number(v, POSITIVE).map(|v| c.container_per_minute_max = v)),
    ("znode.container.maxNeverUsedIntervalMs", |c, v| number(v, NATURAL).map(|v| c.container_never_used_ms = v)),
    ("DigestAuthenticationProvider.enabled", |c, v| flag(v).map(|v| c.digest_auth = v)),
    ("DigestAuthenticationProvider.digestAlg", |c, v| algorithm(v).map(|v| c.digest_algorithm = v)),
    ("DigestAuthenticationProvider.superDigest", |c, v| {
        c.super_digest = Some(v.to_owned());
        Ok(())
    }),
    ("enforce.auth.enabled", |c, v| flag(v).map(|v| c.enforce_auth = v)),
    ("enforce.auth.schemes", |c, v| {
        c.enforce_auth_schemes = list(v);
        Ok(())
    }),
    ("4lw.commands.whitelist", |c, v| {
        c.words = list(v);
        Ok(())
    }),
    ("reconfigEnabled", |c, v| native_flag(v).map(|v| c.reconfig = v)),
    ("standaloneEnabled", |c, v| native_flag(v).map(|v| c.standalone = v)),
    ("initLimit", |c, v| number(v, POSITIVE).map(|v| c.init_limit = Some(v))),
    ("syncLimit", |c, v| number(v, POSITIVE).map(|v| c.sync_limit = Some(v))),
    ("electionAlg", |_, v| if v == "3" { Ok(()) } else { expected("3, fast leader election") }),
];

/// Settings that would have to be obeyed and are not yet: refused when they switch something on.
const REFUSED: &[(&str, &str)] = &[
    ("secureClientPort", ""),
    ("sslQuorum", "false"),
    ("quorum.auth.enableSasl", "false"),
    ("sessionRequireClientSASLAuth", "false"),
    ("portUnification", "false"),
    ("client.portUnification", "false"),
];

/// Keys of the reference that mean nothing here: its threads, its caches, its Java; or that only an ensemble uses.
/// A dot or star at the end stands for all that begin so.
const NOT_APPLICABLE: &[&str] = &[
    "admin.*",
    "advancedFlowControlEnabled",
    "allowSaslFailedClients",
    "audit.*",
    "authProvider.*",
    "bitHashCacheSize",
    "client.*",
    "closeSessionTxn.enabled",
    "cnxTimeout",
    "commitLogCount",
    "commitProcessor.*",
    "connectToLearnerMasterLimit",
    "connectionFreezeTime",
    "connectionMaxTokens",
    "connection_throttle_*",
    "controllerPort",
    "dynamicConfigFile",
    "electionPortBindRetry",
    "emulate353TTLNodes",
    "enableEagerACLCheck",
    "ensembleAuthName",
    "fastleader.*",
    "fips-mode",
    "flushDelay",
    "follower.*",
    "forceSnapshotSync",
    "intBufferStartingSizeBytes",
    "IPAuthenticationProvider.*",
    "jmx.*",
    "jvm.*",
    "kerberos.*",
    "kinit",
    "leader.*",
    "leaderConnectDelayDuringRetryMs",
    "leaderServes",
    "learner.*",
    "letAnySaslUserDoX",
    "localSessions*",
    "maxBatchSize",
    "maxGetChildrenResponseCacheSize",
    "maxInProcessingDeadWatchers",
    "maxResponseCacheSize",
    "maxWriteQueuePollTime",
    "messageTracker.*",
    "metricsProvider.*",
    "multiAddress.*",
    "netty.*",
    "nio.*",
    "observer*",
    "oraclePath",
    "pathStats.*",
    "peerType",
    "quorum.*",
    "quorumCnxnTimeoutMs",
    "quorumListenOnAllIPs",
    "readonlymode.enabled",
    "requestThrottle*",
    "request_*",
    "requireKerberosConfig",
    "sasl.*",
    "SASLAuthenticationProvider.*",
    "secureClientPortAddress",
    "security.*",
    "server.principal",
    "server.realm",
    "serverCnxnFactory",
    "snapshotSizeFactor",
    "ssl.*",
    "sslQuorumReloadCertFiles",
    "superUser*",
    "syncEnabled",
    "tcpKeepAlive",
    "throttled*",
    "watch*",
    "X509AuthenticationProvider.*",
];

/// Puts one setting where it belongs.
pub(super) fn apply(config: &mut Config, setting: &Setting) -> Result<(), ConfigError> {
    let key = setting.key.strip_prefix("zookeeper.").unwrap_or(&setting.key);
    let value = setting.value.as_str();
    let refuse = |Expected(expected): Expected| ConfigError::Value {
        place: setting.place.clone(),
        key: setting.key.clone(),
        value: if is_secret(key) { "(hidden)".to_owned() } else { value.to_owned() },
        expected,
    };
    if let Some((_, apply)) = KEYS.iter().find(|(name, _)| *name == key) {
        return apply(config, value).map_err(refuse);
    }
    if let Some(result) = config.members.set(key, value) {
        return result.map_err(|expected| setting.refuse(expected));
    }
    if let Some((_, off)) = REFUSED.iter().find(|(name, _)| *name == key) {
        return if value.eq_ignore_ascii_case(off) {
            Ok(())
        } else {
            Err(refuse(Expected("it to be off: zkd does not have TLS and SASL yet".to_owned())))
        };
    }
    if NOT_APPLICABLE.iter().any(|pattern| matches(pattern, key)) {
        config.note(NoteLevel::Info, format!("{}: {} has no effect here", setting.place, setting.key));
        return Ok(());
    }
    let hint = nearest(key).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    config.note(NoteLevel::Warning, format!("{}: unknown key {}{hint}", setting.place, setting.key));
    Ok(())
}

fn matches(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == pattern,
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("password") || key.ends_with("superdigest")
}

const I32_MAX: i64 = i32::MAX as i64;
const ANY: RangeInclusive<i64> = i32::MIN as i64..=I32_MAX;
const NATURAL: RangeInclusive<i64> = 0..=I32_MAX;
const POSITIVE: RangeInclusive<i64> = 1..=I32_MAX;

fn expected<T>(what: &str) -> Result<T, Expected> {
    Err(Expected(what.to_owned()))
}

fn number<T: TryFrom<i64>>(text: &str, range: RangeInclusive<i64>) -> Result<T, Expected> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    match number.and_then(|number| T::try_from(number).ok()) {
        Some(number) => Ok(number),
        None => Err(Expected(format!("a whole number from {} to {}", range.start(), range.end()))),
    }
}

/// A number of `unit`s; zero and below is no limit.
fn limit(text: &str, unit: u64) -> Result<Option<u64>, Expected> {
    let number: i64 = number(text, i64::MIN / 2048..=i64::MAX / 2048)?;
    Ok(u64::try_from(number).ok().filter(|number| *number > 0).map(|number| number * unit))
}

/// A flag of zoo.cfg itself.
fn native_flag(text: &str) -> Result<bool, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => expected("true or false"),
    }
}

/// A flag that is a system property: some are written yes and no.
fn flag(text: &str) -> Result<bool, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => expected("true or false, or yes or no"),
    }
}

fn path(text: &str) -> Result<std::path::PathBuf, Expected> {
    if text.is_empty() { expected("a directory") } else { Ok(text.into()) }
}

fn address(text: &str) -> Result<Option<std::net::IpAddr>, Expected> {
    match text {
        "localhost" => Ok(Some([127, 0, 0, 1].into())),
        text => match text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
            Ok(address) => Ok((!address.is_unspecified()).then_some(address)),
            Err(_) => expected("an address of this host"),
        },
    }
}

fn compression(text: &str) -> Result<SnapshotCompression, Expected> {
    match text {
        "" => Ok(SnapshotCompression::None),
        "gz" => Ok(SnapshotCompression::Gz),
        "snappy" => Ok(SnapshotCompression::Snappy),
        _ => expected("gz, snappy, or nothing"),
    }
}

fn algorithm(text: &str) -> Result<String, Expected> {
    const KNOWN: [&str; 6] = ["SHA1", "SHA-1", "SHA", "SHA-256", "SHA-512", "MD5"];
    match KNOWN.iter().find(|name| name.eq_ignore_ascii_case(text)) {
        Some(name) => Ok((*name).to_owned()),
        None => expected("SHA1, SHA-256, SHA-512 or MD5"),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// The known key that differs least, if it differs by no more than two letters.
fn nearest(key: &str) -> Option<&'static str> {
    let known = KEYS.iter().map(|(name, _)| *name);
    known.map(|name| (distance(key, name), name)).filter(|(distance, _)| *distance <= 2).min().map(|(_, name)| name)
}

/// Letters to change, add or drop to make one text of the other; case counts for nothing.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) =
        (a.to_lowercase().chars().take(64).collect(), b.to_lowercase().chars().take(64).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

/// For tests: how many keys there are.
#[cfg(test)]
pub(super) const COUNT: usize = KEYS.len();

/// For tests: a key's name.
#[cfg(test)]
pub(super) fn name(at: usize) -> &'static str {
    KEYS[at].0
}
