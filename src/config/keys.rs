//! The keys: how each is spelled, what it may hold, and where it goes.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::admin::is_prometheus;
use super::hash::algorithm;
use super::quorum::{COMMITTED_LOG_MIN, ELECTION_BIND_TRIES, LOG_SYNC_FACTOR};
use super::{Config, ConfigError, NoteLevel, ServerRole, Setting, SnapshotCompression};

/// What a value should have been.
pub(super) struct Expected(pub(super) String);

type Apply = fn(&mut Config, &str) -> Result<(), Expected>;

type GiveUp = fn(&mut Config);

/// Every key that has an effect, without the prefix `zookeeper.` that system properties have: both spellings count.
const KEYS: &[(&str, Apply)] = &[
    ("dataDir", |c, v| path(v).map(|v| c.data_dir = v)),
    ("dataLogDir", |c, v| path(v).map(|v| c.data_log_dir = Some(v))),
    ("clientPort", |c, v| number(v, 0..=65_535).map(|v| c.client_port = Some(v))),
    ("clientPortAddress", |c, v| host(v).map(|v| c.client_host = v)),
    ("clientPortListenBacklog", |c, v| number(v, ANY).map(|v| c.listen_backlog = v)),
    ("tickTime", |c, v| number(v, POSITIVE).map(|v| c.tick_ms = v)),
    ("minSessionTimeout", |c, v| number(v, ANY).map(|v: i32| c.session_timeout_min_ms = (v >= 0).then_some(v))),
    ("maxSessionTimeout", |c, v| number(v, ANY).map(|v: i32| c.session_timeout_max_ms = (v >= 0).then_some(v))),
    ("maxClientCnxns", |c, v| positive(v).map(|v| c.connections_per_address_max = v.unwrap_or(0))),
    ("maxCnxns", |c, v| positive(v).map(|v| c.connections_max = v.unwrap_or(0))),
    ("jute.maxbuffer", |c, v| number(v, 1..=I32_MAX).map(|v| c.frame_bytes_max = v)),
    ("jute.maxbuffer.extrasize", |c, v| number(v, NATURAL).map(|v| c.frame_extra_bytes = Some(v))),
    ("globalOutstandingLimit", |c, v| number(v, POSITIVE).map(|v| c.outstanding_max = v)),
    ("largeRequestMaxBytes", |c, v| number(v, POSITIVE).map(|v| c.large_request_bytes_max = v)),
    ("largeRequestThreshold", |c, v| limit(v, 1).map(|v| c.large_request_threshold = v.map(|v| v as usize))),
    ("nio.numSelectorThreads", |c, v| number(v, 1..=1024).map(|v| c.client_threads = Some(v))),
    ("nio.sessionlessCnxnTimeout", |c, v| number(v, POSITIVE).map(|v| c.sessionless_ms = v)),
    ("netty.server.outstandingHandshake.limit", |c, v| limit(v, 1).map(|v| c.handshakes_max = v)),
    ("clientTcpKeepAlive", |c, v| flag(v).map(|v| c.client_keep_alive = v)),
    ("connection_throttle_tokens", |c, v| number(v, NATURAL).map(|v| c.throttle.tokens = v)),
    ("connection_throttle_fill_time", |c, v| number(v, POSITIVE).map(|v| c.throttle.fill_ms = v)),
    ("connection_throttle_fill_count", |c, v| number(v, NATURAL).map(|v| c.throttle.fill_count = v)),
    ("connection_throttle_freeze_time", |c, v| number(v, -1..=I32_MAX).map(|v: i64| c.throttle.freeze_ms = natural(v))),
    ("connection_throttle_drop_increase", |c, v| part(v).map(|v| c.throttle.drop_increase = v)),
    ("connection_throttle_drop_decrease", |c, v| part(v).map(|v| c.throttle.drop_decrease = v)),
    ("connection_throttle_decrease_ratio", |c, v| part(v).map(|v| c.throttle.decrease_ratio = v)),
    ("connection_throttle_weight_enabled", |c, v| flag(v).map(|v| c.throttle.weighted = v)),
    ("connection_throttle_global_session_weight", |c, v| number(v, ANY).map(|v| c.throttle.global_weight = v)),
    ("connection_throttle_local_session_weight", |c, v| number(v, ANY).map(|v| c.throttle.local_weight = v)),
    ("connection_throttle_renew_session_weight", |c, v| number(v, ANY).map(|v| c.throttle.renew_weight = v)),
    ("request_throttle_max_requests", |c, v| number(v, ANY).map(|v| c.throttle.requests_max = v)),
    ("request_throttle_stall_time", |c, v| number(v, POSITIVE).map(|v| c.throttle.stall_ms = v)),
    ("request_throttle_drop_stale", |c, v| flag(v).map(|v| c.throttle.drop_stale = v)),
    ("request_stale_connection_check", |c, v| flag(v).map(|v| c.throttle.stale_connection = v)),
    ("request_stale_latency_check", |c, v| flag(v).map(|v| c.throttle.stale_latency = v)),
    ("throttled_op_wait_time", |c, v| positive(v).map(|v| c.throttle.op_wait_max_ms = v)),
    ("flushDelay", |c, v| number(v, NATURAL).map(|v| c.flush_delay_ms = v)),
    ("maxWriteQueuePollTime", |c, v| number(v, NATURAL).map(|v| c.flush_poll_ms = Some(v))),
    ("maxBatchSize", |c, v| positive(v).map(|v| c.flush_txns_max = v)),
    ("closeSessionTxn.enabled", |c, v| flag(v).map(|v| c.close_session_txn = v)),
    ("enableEagerACLCheck", |c, v| flag(v).map(|v| c.eager_acl_check = v)),
    ("snapCount", |c, v| number(v, ANY).map(|v: i64| c.snapshot_txns = v.max(2).unsigned_abs())),
    ("snapSizeLimitInKb", |c, v| limit(v, 1024).map(|v| c.snapshot_bytes = v.unwrap_or(0))),
    ("txnLogSizeLimitInKb", |c, v| limit(v, 1024).map(|v| c.log_bytes_max = v)),
    ("preAllocSize", |c, v| limit(v, 1024).map(|v| c.log_preallocation_bytes = v.unwrap_or(0))),
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
    ("emulate353TTLNodes", |c, v| flag(v).map(|v| c.emulate_353 = v)),
    ("enforceQuota", |c, v| flag(v).map(|v| c.enforce_quota = v)),
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
    ("ensembleAuthName", |c, v| {
        c.ensemble_names = Some(list(v));
        Ok(())
    }),
    ("4lw.commands.whitelist", |c, v| {
        c.words = list(v);
        Ok(())
    }),
    ("audit.enable", |c, v| flag(v).map(|v| c.audit = v)),
    ("audit.impl.class", |_, v| if v.is_empty() || v == AUDIT_LOGGER { Ok(()) } else { expected(AUDIT) }),
    ("admin.enableServer", |c, v| flag(v).map(|v| c.admin.enabled = v)),
    ("admin.serverAddress", |c, v| host(v).map(|v| c.admin.host = v)),
    ("admin.serverPort", |c, v| number(v, 0..=65_535).map(|v| c.admin.port = v)),
    ("admin.commandURL", |c, v| url(v).map(|v| c.admin.command_url = v)),
    ("admin.idleTimeout", |c, v| number(v, POSITIVE).map(|v| c.admin.idle_ms = v)),
    ("admin.portUnification", |c, v| flag(v).map(|v| c.admin.takes_tls = v)),
    ("admin.forceHttps", |c, v| flag(v).map(|v| c.admin.only_tls = v)),
    ("admin.needClientAuth", |c, v| flag(v).map(|v| c.admin.needs_certificates = v)),
    ("admin.snapshot.enabled", |c, v| flag(v).map(|v| c.admin.snapshot = v)),
    ("admin.restore.enabled", |c, v| flag(v).map(|v| c.admin.restore = v)),
    ("admin.rateLimiterIntervalInMS", |c, v| number(v, NATURAL).map(|v| c.admin.interval_ms = v)),
    ("metricsProvider.className", |c, v| provider(v).map(|v| c.prometheus.enabled = v)),
    ("metricsProvider.httpHost", |c, v| host(v).map(|v| c.prometheus.host = v)),
    ("metricsProvider.httpPort", |c, v| number(v, 0..=65_535).map(|v| c.prometheus.port = v)),
    ("metricsProvider.exportJvmInfo", |c, v| flag(v).map(|v| c.prometheus.process = v)),
    ("reconfigEnabled", |c, v| flag(v).map(|v| c.reconfig = v)),
    ("standaloneEnabled", |c, v| flag(v).map(|v| c.standalone = v)),
    ("dynamicConfigFile", |c, v| file(v).map(|v| c.dynamic_file = Some(v))),
    ("initLimit", |c, v| number(v, POSITIVE).map(|v| c.quorum.init_limit = Some(v))),
    ("syncLimit", |c, v| number(v, POSITIVE).map(|v| c.quorum.sync_limit = Some(v))),
    ("connectToLearnerMasterLimit", |c, v| positive(v).map(|v| c.quorum.connect_limit = v)),
    ("leaderConnectDelayDuringRetryMs", |c, v| number(v, NATURAL).map(|v| c.quorum.connect_retry_ms = v)),
    ("electionAlg", |_, v| if v == "3" { Ok(()) } else { expected(ELECTION) }),
    ("peerType", |c, v| role(v).map(|v| c.quorum.peer_role = Some(v))),
    ("quorumListenOnAllIPs", |c, v| flag(v).map(|v| c.quorum.listen_on_all = v)),
    ("electionPortBindRetry", |c, v| tries(v).map(|v| c.quorum.election_bind_tries = v)),
    ("cnxTimeout", |c, v| number(v, POSITIVE).map(|v| c.quorum.election_connect_ms = v)),
    ("quorumCnxnTimeoutMs", |c, v| positive(v).map(|v| c.quorum.election_greeting_ms = v)),
    ("fastleader.minNotificationInterval", |c, v| number(v, POSITIVE).map(|v| c.quorum.notification_min_ms = v)),
    ("fastleader.maxNotificationInterval", |c, v| number(v, POSITIVE).map(|v| c.quorum.notification_max_ms = v)),
    ("leader.maxTimeToWaitForEpoch", epoch_wait),
    ("maxTimeToWaitForEpoch", epoch_wait),
    ("leader.maxConcurrentSnapSyncs", snap_syncs),
    ("maxConcurrentSnapSyncs", snap_syncs),
    ("leader.maxConcurrentDiffSyncs", diff_syncs),
    ("maxConcurrentDiffSyncs", diff_syncs),
    ("tcpKeepAlive", |c, v| flag(v).map(|v| c.quorum.keep_alive = v)),
    ("commitLogCount", |c, v| number(v, ANY).map(|v: i64| c.quorum.committed_log_max = committed_log(v))),
    ("snapshotSizeFactor", |c, v| factor(v).map(|v| c.quorum.log_sync_factor = v)),
    ("forceSnapshotSync", |c, v| flag(v).map(|v| c.quorum.force_snapshot_sync = v)),
    ("syncEnabled", |c, v| flag(v).map(|v| c.quorum.observer_writes = v)),
    ("observer.syncEnabled", |c, v| flag(v).map(|v| c.quorum.observer_writes = v)),
    ("observer.reconnectDelayMs", |c, v| number(v, NATURAL).map(|v| c.quorum.observer_reconnect_ms = v)),
    ("observer.election.DelayMs", |c, v| number(v, NATURAL).map(|v| c.quorum.observer_election_ms = v)),
    ("observerMasterPort", |c, v| port(v).map(|v| c.quorum.observer_master_port = v)),
    ("localSessionsEnabled", |c, v| flag(v).map(|v| c.quorum.local_sessions = v)),
    ("localSessionsUpgradingEnabled", |c, v| flag(v).map(|v| c.quorum.local_sessions_upgrade = v)),
    ("multiAddress.enabled", |c, v| flag(v).map(|v| c.quorum.multi_address = v)),
    ("oraclePath", |c, v| {
        c.quorum.oracle = !v.is_empty();
        Ok(())
    }),
    ("readonlymode.enabled", |c, v| flag(v).map(|v| c.quorum.read_only_mode = v)),
];

/// Keys of which the reference compares the value with one word, letter by letter: anything else means the opposite. What
/// they give up is dear, so nothing else may be taken for that word here either.
const ONE_WORD: &[(&str, &str, GiveUp)] = &[
    ("forceSync", "no", |c| c.force_sync = false),
    ("leaderServes", "no", |c| c.quorum.leader_serves = false),
    ("skipACL", "yes", |c| c.skip_acl = true),
];

/// Keys as the reference's documentation spells them, though nobody reads them so; and the key that is read.
const MISSPELT: &[(&str, &str)] = &[
    ("connectionMaxTokens", "connection_throttle_tokens"),
    ("connectionTokenFillTime", "connection_throttle_fill_time"),
    ("connectionTokenFillCount", "connection_throttle_fill_count"),
    ("connectionFreezeTime", "connection_throttle_freeze_time"),
    ("connectionDropIncrease", "connection_throttle_drop_increase"),
    ("connectionDropDecrease", "connection_throttle_drop_decrease"),
    ("connectionDecreaseRatio", "connection_throttle_decrease_ratio"),
    ("requestThrottleLimit", "request_throttle_max_requests"),
    ("requestThrottleStallTime", "request_throttle_stall_time"),
    ("requestThrottleDropStale", "request_throttle_drop_stale"),
    ("requestStaleLatencyCheck", "request_stale_latency_check"),
    ("requestStaleConnectionCheck", "request_stale_connection_check"),
    ("throttledOpWaitTime", "throttled_op_wait_time"),
];

/// `authProvider.N` names a class of Java. The reference's own are known by what they do; others cannot be run.
const AUTH_PROVIDERS: &str = "org.apache.zookeeper.server.auth.";

/// Keys of the reference that mean nothing here: its threads, its caches, its Java, its clients. A star at the end stands for
/// all that begin so.
const NOT_APPLICABLE: &[&str] = &[
    "admin.httpVersion",
    "advancedFlowControlEnabled",
    "bitHashCacheSize",
    "client.secure",
    "clientCnxnSocket",
    "commitProcessor.*",
    "controllerPort",
    "disableAutoWatchReset",
    "follower.nodelay",
    "follower.skipLearnerRequestToNextProcessor",
    "forward_learner_requests_to_commit_processor_disabled",
    "hostProvider.*",
    "intBufferStartingSizeBytes",
    "IPAuthenticationProvider.*",
    "jmx.*",
    "jvm.*",
    "leader.ackLoggingFrequency",
    "leader.closeSocketAsync",
    "leader.nodelay",
    "learner.asyncSending",
    "learner.closeSocketAsync",
    "maxGetChildrenResponseCacheSize",
    "maxInProcessingDeadWatchers",
    "maxResponseCacheSize",
    "messageTracker.*",
    "metricsProvider.*",
    "multiAddress.reachabilityCheckEnabled",
    "multiAddress.reachabilityCheckTimeoutMs",
    "netty.*",
    "nio.directBufferBytes",
    "nio.numWorkerThreads",
    "nio.shutdownTimeout",
    "observerMaster.sizeLimit",
    "outstandingHandshake.limit",
    "pathStats.*",
    "quorum.cnxn.threads.size",
    "request.timeout",
    "request_throttler.shutdownTimeout",
    "sasl.client*",
    "serverCnxnFactory",
    "shuffleDnsResponse",
    "test.allowDiscontinuousProposals",
    "testingonly.initialZxid",
    "watchManagerName",
    "watcherClean*",
];

/// Keys that are about Kerberos.
const KERBEROS: &[&str] = &[
    "kerberos.*",
    "kinit",
    "quorum.auth.kerberos.*",
    "requireKerberosConfig",
    "security.auth_to_local",
    "server.principal",
    "server.realm",
];

/// Puts one setting where it belongs.
pub(super) fn apply(config: &mut Config, setting: &Setting) -> Result<(), ConfigError> {
    let key = setting.name();
    let value = setting.value.as_str();
    let refuse = |Expected(expected): Expected| setting.refuse(expected);
    if let Some(result) = super::tls::apply(config, setting).or_else(|| super::sasl::apply(config, setting)) {
        return result;
    }
    if let Some((_, apply)) = KEYS.iter().find(|(name, _)| *name == key) {
        return apply(config, value).map_err(refuse);
    }
    if let Some((_, word, give_up)) = ONE_WORD.iter().find(|(name, ..)| *name == key) {
        if value == *word {
            give_up(config);
        } else if !["yes", "no"].contains(&value) {
            let text = format!("{}: {}={value}: only {word} counts, so this is the same", setting.place, setting.key);
            config.note(NoteLevel::Warning, format!("{text} as leaving it out"));
        }
        return Ok(());
    }
    if let Some(result) = config.members.set(key, value) {
        return result.map_err(|expected| setting.refuse(expected));
    }
    if key.starts_with("authProvider.") {
        return auth_provider(config, setting).map_err(refuse);
    }
    if let Some((_, right)) = MISSPELT.iter().find(|(name, _)| *name == key) {
        let text = format!("{}: {} is not read by anybody; the key is {right}", setting.place, setting.key);
        config.note(NoteLevel::Warning, text);
        return Ok(());
    }
    if KERBEROS.iter().any(|pattern| matches(pattern, key)) {
        let text = format!("{}: {} has no effect: zkd does not have Kerberos", setting.place, setting.key);
        config.note(NoteLevel::Warning, text);
        return Ok(());
    }
    if NOT_APPLICABLE.iter().any(|pattern| matches(pattern, key)) {
        config.note(NoteLevel::Info, format!("{}: {} has no effect here", setting.place, setting.key));
        return Ok(());
    }
    let hint = nearest(key).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    config.note(NoteLevel::Warning, format!("{}: unknown key {}{hint}", setting.place, setting.key));
    Ok(())
}

fn auth_provider(config: &mut Config, setting: &Setting) -> Result<(), Expected> {
    match setting.value.strip_prefix(AUTH_PROVIDERS) {
        Some("DigestAuthenticationProvider" | "IPAuthenticationProvider") => {}
        Some("X509AuthenticationProvider") => config.tls.x509_provider = true,
        Some("SASLAuthenticationProvider") => config.sasl.provider = true,
        Some("EnsembleAuthenticationProvider") => config.ensemble_auth = true,
        _ => {
            return expected(
                "a provider that zkd has: digest, ip, x509, sasl, ensemble; it does not run classes of Java",
            );
        }
    }
    Ok(())
}

fn matches(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == pattern,
    }
}

const AUDIT_LOGGER: &str = "org.apache.zookeeper.audit.Slf4jAuditLogger";
const AUDIT: &str = "the reference's own Slf4jAuditLogger, or nothing: zkd does not run classes of Java";
const ELECTION: &str = "3, fast leader election: there is no other since ZooKeeper 3.5, so leave the line out";

const I32_MAX: i64 = i32::MAX as i64;
const ANY: RangeInclusive<i64> = i32::MIN as i64..=I32_MAX;
const NATURAL: RangeInclusive<i64> = 0..=I32_MAX;
const POSITIVE: RangeInclusive<i64> = 1..=I32_MAX;

pub(super) fn expected<T>(what: &str) -> Result<T, Expected> {
    Err(Expected(what.to_owned()))
}

/// Whole numbers, also in base 16 as Java's options are often written: `-Djute.maxbuffer=0x9fffff`.
pub(super) fn number<T: TryFrom<i64>>(text: &str, range: RangeInclusive<i64>) -> Result<T, Expected> {
    let digits = ["0x", "0X", "#"].into_iter().find_map(|start| text.strip_prefix(start));
    let number = match digits {
        // Java takes no sign behind the prefix.
        Some(digits) => u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')).map(i64::from),
        None => text.parse().ok(),
    };
    let number = number.filter(|number| range.contains(number));
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

/// A number above zero; zero and below is what holds without it.
fn positive<T: TryFrom<i64>>(text: &str) -> Result<Option<T>, Expected> {
    let number: i64 = number(text, ANY)?;
    Ok(T::try_from(number).ok().filter(|_| number > 0))
}

fn natural(number: i64) -> Option<u64> {
    u64::try_from(number).ok()
}

/// A part of a whole.
fn part(text: &str) -> Result<f64, Expected> {
    match text.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        Ok(_) | Err(_) => expected("a number from 0 to 1"),
    }
}

fn port(text: &str) -> Result<Option<u16>, Expected> {
    let port: i64 = number(text, -1..=65_535)?;
    Ok(u16::try_from(port).ok().filter(|port| *port > 0))
}

/// A flag. The reference takes what is neither for false without a word where it is a system property, yes among it.
pub(super) fn flag(text: &str) -> Result<bool, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => expected("true or false"),
    }
}

fn path(text: &str) -> Result<std::path::PathBuf, Expected> {
    if text.is_empty() { expected("a directory") } else { Ok(text.into()) }
}

pub(super) fn file(text: &str) -> Result<std::path::PathBuf, Expected> {
    if text.is_empty() { expected("a file") } else { Ok(text.into()) }
}

/// Where to listen: a name or an address of this host; `None` is all of its addresses.
pub(super) fn host(text: &str) -> Result<Option<String>, Expected> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let is_name = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok((!address.is_unspecified()).then(|| address.to_string())),
        Err(_) if bare == "localhost" => Ok(Some("127.0.0.1".to_owned())),
        Err(_) if is_name => Ok(Some(bare.to_owned())),
        Err(_) => expected("a name or an address of this host"),
    }
}

/// Where commands are: a path, without a slash at its end.
fn url(text: &str) -> Result<String, Expected> {
    let url = text.trim_end_matches('/');
    if text.starts_with('/') && !url.contains(['?', '#', ' ', '"', '<']) {
        Ok(url.to_owned())
    } else {
        expected("a path like /commands")
    }
}

fn provider(class: &str) -> Result<bool, Expected> {
    match is_prometheus(class) {
        Some(is_prometheus) => Ok(is_prometheus),
        None => expected("a class that zkd stands in for: the reference's own provider, or Prometheus's"),
    }
}

fn role(text: &str) -> Result<ServerRole, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "participant" => Ok(ServerRole::Participant),
        "observer" => Ok(ServerRole::Observer),
        _ => expected("participant or observer"),
    }
}

/// As in the reference, attempts below zero are as many as if nothing was said.
fn tries(text: &str) -> Result<Option<u32>, Expected> {
    let tries: i64 = number(text, ANY)?;
    Ok(u32::try_from(tries).map_or(Some(ELECTION_BIND_TRIES), |tries| (tries > 0).then_some(tries)))
}

fn committed_log(count: i64) -> usize {
    usize::try_from(count).map_or(COMMITTED_LOG_MIN, |count| count.max(COMMITTED_LOG_MIN))
}

/// As in the reference, a factor above 1 is the usual one, and one below 0 is none.
fn factor(text: &str) -> Result<Option<f64>, Expected> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 1.0 => Ok(Some(LOG_SYNC_FACTOR)),
        Ok(factor) if factor >= 0.0 => Ok(Some(factor)),
        Ok(factor) if factor < 0.0 => Ok(None),
        _ => expected("a part of a snapshot's size from 0 to 1, or -1 for none"),
    }
}

fn epoch_wait(config: &mut Config, value: &str) -> Result<(), Expected> {
    let wait_ms: i64 = number(value, ANY)?;
    config.quorum.epoch_wait_ms = u64::try_from(wait_ms).ok();
    Ok(())
}

fn snap_syncs(config: &mut Config, value: &str) -> Result<(), Expected> {
    number(value, POSITIVE).map(|max| config.quorum.snap_syncs_max = max)
}

fn diff_syncs(config: &mut Config, value: &str) -> Result<(), Expected> {
    number(value, POSITIVE).map(|max| config.quorum.diff_syncs_max = max)
}

fn compression(text: &str) -> Result<SnapshotCompression, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "" => Ok(SnapshotCompression::None),
        "gz" => Ok(SnapshotCompression::Gz),
        "snappy" => Ok(SnapshotCompression::Snappy),
        _ => expected("gz, snappy, or nothing"),
    }
}

pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// The known key that differs least, if it differs by no more than two letters.
fn nearest(key: &str) -> Option<&'static str> {
    let known = KEYS.iter().map(|(name, _)| *name).chain(ONE_WORD.iter().map(|(name, ..)| *name));
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
