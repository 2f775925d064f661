//! `mntr`, `srst`: everything that is counted, read once and told in three forms: lines, JSON and Prometheus's text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::VERSION;
use super::json::{Fields, Json, field};
use super::prometheus;
use super::status::proposal_bytes;
use super::view::View;
use crate::metrics::{Advanced, Basic, Counter, Namespace, Summary, java_text, rounded};
use crate::peer::{LearnerStanding, Mode, Report, Standing};

pub(super) fn mntr(view: &View) -> String {
    let mut out = String::new();
    for (name, value) in monitor(view) {
        let _ = match value {
            Json::Real(value) => writeln!(out, "zk_{name}\t{}", java_text(value)),
            Json::Int(value) => writeln!(out, "zk_{name}\t{value}"),
            Json::Text(value) => writeln!(out, "zk_{name}\t{value}"),
            Json::Null | Json::Bool(_) | Json::List(_) | Json::Object(_) => Ok(()),
        };
    }
    out
}

/// The same names without `zk_`, in the same order. As in the reference, names and values are Prometheus's if that is
/// the provider (ME-13).
pub(super) fn monitor(view: &View) -> Fields {
    let reading = Reading::take(view);
    let mut fields = reading.head;
    if view.facts.prometheus.is_some() {
        fields.extend(prometheus::samples(view, &reading.gauges, &reading.sets));
        return fields;
    }
    fields.extend(reading.gauges.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let by_key = |set: SetGauge| (format!("{}_{}", set.key, set.name), set.value);
    fields.extend(reading.sets.into_iter().map(by_key));
    for &counter in Counter::ALL {
        fields.push(field(counter.name(), view.metrics.counter(counter)));
    }
    let namespaces = view.metrics.namespaces().all();
    fields.extend(quotas_exceeded(&namespaces).into_iter().map(by_key));
    for &basic in Basic::ALL {
        put_summary(&mut fields, basic.name(), view.metrics.basic(basic));
    }
    for &advanced in Advanced::ALL {
        let summary = view.metrics.advanced(advanced);
        put_summary(&mut fields, advanced.name(), summary);
        let [p50, p95, p99, p999] = summary.at([0.5, 0.95, 0.99, 0.999]);
        for (prefix, value) in [("p50", p50), ("p95", p95), ("p99", p99), ("p999", p999)] {
            fields.push((format!("{prefix}_{}", advanced.name()), value.into()));
        }
    }
    for (name, summaries) in namespace_summaries(&namespaces) {
        summaries.iter().for_each(|(key, summary)| put_summary(&mut fields, &format!("{key}_{name}"), summary));
    }
    fields
}

/// Prometheus's text.
pub(super) fn scrape(view: &View, wanted: &[String]) -> String {
    let reading = Reading::take(view);
    prometheus::text(view, &reading.gauges, &reading.sets, wanted)
}

/// A gauge; `None` where there is nothing to be measured.
pub(super) type Gauge = (&'static str, Option<Json>);

/// A gauge, or a count, of one namespace.
pub(super) struct SetGauge {
    pub(super) name: &'static str,
    pub(super) key: String,
    pub(super) value: Json,
}

/// What is measured only when somebody asks. What has been counted is in the metrics.
struct Reading {
    head: Fields,
    gauges: Vec<Gauge>,
    sets: Vec<SetGauge>,
}

impl Reading {
    fn take(view: &View) -> Self {
        collect(view);
        let standing = Arc::clone(&view.standing.read());
        let report = view.inspect.report();
        let mut gauges = gauges(view, &report);
        put_quorum(view, &standing, &report, &mut gauges);
        Self { head: head(&standing), gauges, sets: quotas(view) }
    }
}

pub(super) fn srst(view: &View) -> String {
    reset(view);
    view.inspect.reset();
    "Server stats reset.\n".to_owned()
}

/// All counts begin anew, but for those of proposals.
pub(super) fn reset(view: &View) {
    // Prometheus's counters only grow.
    let forgets = view.facts.prometheus.is_none();
    if forgets {
        view.metrics.reset();
    }
    view.statistics.reset();
    if !forgets {
        return;
    }
    for counter in [
        &view.statistics.throttled_ops,
        &view.connections.rejected,
        &view.connections.sessionless_expired,
        &view.connections.bytes_received,
        &view.statistics.large_requests_rejected,
    ] {
        counter.store(0, Relaxed);
    }
}

fn head(standing: &Standing) -> Fields {
    let mut head = vec![field("version", VERSION), field("server_state", standing.mode.name())];
    if let Some(state) = peer_state(standing.mode) {
        head.push(field("peer_state", state));
    }
    if standing.mode == Mode::Observer
        && let Some(leader) = standing.leader
    {
        head.push(field("observer_master_id", i64::from(leader.0)));
    }
    head
}

const fn peer_state(mode: Mode) -> Option<&'static str> {
    match mode {
        Mode::Leader => Some("leading - broadcast"),
        Mode::Follower => Some("following - broadcast"),
        Mode::Observer => Some("observing - broadcast"),
        Mode::Standalone | Mode::Looking | Mode::ReadOnly => None,
    }
}

/// What members of an ensemble add.
fn put_quorum(view: &View, standing: &Standing, report: &Report, gauges: &mut Vec<Gauge>) {
    let Some(membership) = &standing.membership else { return };
    if standing.mode == Mode::ReadOnly {
        return;
    }
    let mut put = |name, value: usize| gauges.push((name, Some(value.into())));
    put("quorum_size", membership.committed.voters().count());
    let synced = |wanted: fn(&LearnerStanding) -> bool| {
        standing.learners.iter().filter(|learner| learner.synced && wanted(learner)).count()
    };
    if standing.mode == Mode::Follower {
        let has_observers = view.facts.ensemble.as_ref().is_some_and(|ensemble| ensemble.observer_masters);
        let observers = synced(|learner| learner.observer);
        gauges.push(("synced_observers", has_observers.then(|| observers.into())));
    }
    if standing.mode != Mode::Leader {
        return;
    }
    let mut put = |name, value: usize| gauges.push((name, Some(value.into())));
    put("learners", standing.learners.len());
    put("synced_followers", synced(|learner| !learner.observer));
    put("synced_non_voting_followers", synced(|learner| !learner.observer && !learner.voter));
    put("synced_observers", synced(|learner| learner.observer));
    put("pending_syncs", report.pending_syncs);
    let uptime_ms = view.clock.now().steady_ms.saturating_sub(standing.since_ms);
    gauges.push(("leader_uptime", Some(uptime_ms.into())));
    let [last, min, max] = proposal_bytes(report);
    for (name, bytes) in [("last_proposal_size", last), ("min_proposal_size", min), ("max_proposal_size", max)] {
        gauges.push((name, Some(bytes.into())));
    }
}

/// Requests taken and not yet answered.
pub(super) fn outstanding(view: &View) -> i64 {
    view.statistics.outstanding.load(Relaxed).max(0)
}

/// Takes over what other places count.
fn collect(view: &View) {
    let counted = [
        (Counter::connection_rejected, view.connections.rejected.load(Relaxed)),
        (Counter::sessionless_connections_expired, view.connections.sessionless_expired.load(Relaxed)),
        (Counter::bytes_received_count, view.connections.bytes_received.load(Relaxed)),
        (Counter::throttled_ops, view.statistics.throttled_ops.load(Relaxed)),
        (Counter::large_requests_rejected, view.statistics.large_requests_rejected.load(Relaxed)),
        (Counter::digest_mismatches_count, view.database.read().digests().mismatches),
    ];
    counted.iter().for_each(|(counter, value)| view.metrics.set(*counter, *value));
}

fn gauges(view: &View, report: &Report) -> Vec<Gauge> {
    let (statistics, latency) = (&view.statistics, view.statistics.latency());
    let (last, min, max) = statistics.response_bytes();
    let (znodes, ephemerals, bytes, sessions, watches) = {
        let database = view.database.read();
        let tree = database.tree();
        let watches = database.with_watches(crate::watch::Watches::len);
        (tree.len(), tree.num_ephemerals(), tree.approximate_bytes(), database.sessions().len(), watches)
    };
    let rows: [(&'static str, Json); 24] = [
        ("ephemerals_count", ephemerals.into()),
        ("num_alive_connections", view.connections.len().into()),
        ("avg_latency", Json::Real(rounded(latency.mean_ms))),
        ("outstanding_requests", outstanding(view).into()),
        ("znode_count", (znodes + 1).into()),
        ("global_sessions", sessions.into()),
        ("non_mtls_remote_conn_count", view.connections.plain_remote.load(Relaxed).into()),
        ("last_client_response_size", last.into()),
        ("packets_sent", statistics.packets_sent().into()),
        ("packets_received", statistics.packets_received().into()),
        ("max_client_response_size", max.into()),
        ("connection_drop_probability", Json::Real(rounded(view.throttles.drop_chance()))),
        ("watch_count", watches.into()),
        ("auth_failed_count", statistics.auth_failed.load(Relaxed).into()),
        ("min_latency", latency.min_ms.into()),
        ("max_file_descriptor_count", descriptors_max().into()),
        ("approximate_data_size", bytes.into()),
        ("open_file_descriptor_count", descriptors().into()),
        ("local_sessions", report.local_sessions.into()),
        ("uptime", uptime_ms(view).into()),
        ("max_latency", latency.max_ms.into()),
        ("outstanding_tls_handshake", view.connections.handshakes.load(Relaxed).into()),
        ("min_client_response_size", min.into()),
        ("non_mtls_local_conn_count", view.connections.plain_local.load(Relaxed).into()),
    ];
    rows.map(|(name, value)| (name, Some(value))).into()
}

/// How long the server has run, ms; of a member how long it has had its role.
pub(super) fn uptime_ms(view: &View) -> u64 {
    let began_ms = view.facts.started_ms.max(view.standing.read().since_ms);
    view.clock.now().steady_ms.saturating_sub(began_ms)
}

/// Limits and usage of all quotas below each child of the root (NO-22).
fn quotas(view: &View) -> Vec<SetGauge> {
    let mut namespaces = BTreeMap::<String, [i64; 4]>::new();
    let database = view.database.read();
    for (path, limits, usage) in database.tree().quotas() {
        let namespace = path.split('/').nth(1).unwrap_or_default();
        let hard_or_soft = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
        let of_one = [
            hard_or_soft(limits.count_hard, limits.count),
            hard_or_soft(limits.bytes_hard, limits.bytes),
            usage.count,
            usage.bytes,
        ];
        let sums = namespaces.entry(namespace.to_owned()).or_default();
        sums.iter_mut().zip(of_one).for_each(|(sum, value)| *sum = sum.wrapping_add(value));
    }
    let names = [
        "quota_count_limit_per_namespace",
        "quota_bytes_limit_per_namespace",
        "quota_count_usage_per_namespace",
        "quota_bytes_usage_per_namespace",
    ];
    let rows = |(key, sums): (String, [i64; 4])| {
        names.into_iter().zip(sums).map(move |(name, sum)| SetGauge { name, key: key.clone(), value: sum.into() })
    };
    namespaces.into_iter().flat_map(rows).collect()
}

/// Summaries under one name, each with the namespace that it is of.
pub(super) type SummarySet<'a> = (&'static str, Vec<(&'a str, &'a Summary)>);

/// Bytes of reads and writes by namespace; one appears with its first sample.
pub(super) fn namespace_summaries(namespaces: &[Arc<Namespace>]) -> [SummarySet<'_>; 2] {
    let set = |of: fn(&Namespace) -> &Summary| {
        let all = namespaces.iter().map(|namespace| (namespace.name(), of(namespace)));
        all.filter(|(_, summary)| summary.count() > 0).collect()
    };
    [("read_per_namespace", set(Namespace::read)), ("write_per_namespace", set(Namespace::written))]
}

/// Writes that a hard quota has refused, by namespace, likewise.
pub(super) fn quotas_exceeded(namespaces: &[Arc<Namespace>]) -> Vec<SetGauge> {
    let all = namespaces.iter().filter(|namespace| namespace.quota_exceeded() > 0);
    let one = |namespace: &Arc<Namespace>| SetGauge {
        name: "quota_exceeded_error_per_namespace",
        key: namespace.name().to_owned(),
        value: namespace.quota_exceeded().into(),
    };
    all.map(one).collect()
}

fn put_summary(fields: &mut Fields, name: &str, summary: &Summary) {
    fields.push((format!("avg_{name}"), Json::Real(rounded(summary.mean()))));
    let rows = [("min", summary.min()), ("max", summary.max()), ("cnt", summary.count()), ("sum", summary.sum())];
    fields.extend(rows.map(|(prefix, value)| (format!("{prefix}_{name}"), value.into())));
}

/// Open file descriptors.
pub(super) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// How many there may be.
pub(super) fn descriptors_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}
