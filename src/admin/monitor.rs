//! `mntr`, `srst`: everything that is counted.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::VERSION;
use super::status::proposal_bytes;
use super::view::View;
use crate::metrics::{Advanced, Basic, Counter, Summary, java_double};
use crate::peer::{LearnerStanding, Mode, Report, Standing};

pub(super) fn mntr(view: &View) -> String {
    collect(view);
    let mut out = String::new();
    put(&mut out, "version", VERSION);
    let standing = Arc::clone(&view.standing.read());
    put(&mut out, "server_state", standing.mode.name());
    if let Some(state) = peer_state(standing.mode) {
        put(&mut out, "peer_state", state);
    }
    let report = view.inspect.report();
    put_gauges(view, &report, &mut out);
    put_quorum(view, &standing, &report, &mut out);
    put_quotas(view, &mut out);
    for &counter in Counter::ALL {
        put(&mut out, counter.name(), view.metrics.counter(counter));
    }
    for &basic in Basic::ALL {
        put_summary(&mut out, basic.name(), view.metrics.basic(basic));
    }
    for &advanced in Advanced::ALL {
        let percentiles = view.metrics.advanced(advanced);
        put_summary(&mut out, advanced.name(), &percentiles.summary);
        let [p50, p95, p99, p999] = percentiles.at([0.5, 0.95, 0.99, 0.999]);
        for (prefix, value) in [("p50", p50), ("p95", p95), ("p99", p99), ("p999", p999)] {
            put(&mut out, &format!("{prefix}_{}", advanced.name()), value);
        }
    }
    out
}

pub(super) fn srst(view: &View) -> String {
    view.statistics.reset();
    view.metrics.reset();
    view.inspect.reset();
    for counter in [
        &view.statistics.throttled_ops,
        &view.connections.rejected,
        &view.connections.sessionless_expired,
        &view.connections.bytes_received,
    ] {
        counter.store(0, Relaxed);
    }
    "Server stats reset.\n".to_owned()
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
fn put_quorum(view: &View, standing: &Standing, report: &Report, out: &mut String) {
    let Some(membership) = &standing.membership else { return };
    if standing.mode == Mode::ReadOnly {
        return;
    }
    put(out, "quorum_size", membership.committed.voters().count());
    if standing.mode == Mode::Observer
        && let Some(leader) = standing.leader
    {
        put(out, "observer_master_id", leader.0);
    }
    if standing.mode != Mode::Leader {
        return;
    }
    let synced = |wanted: fn(&LearnerStanding) -> bool| {
        standing.learners.iter().filter(|learner| learner.synced && wanted(learner)).count()
    };
    put(out, "learners", standing.learners.len());
    put(out, "synced_followers", synced(|learner| !learner.observer));
    put(out, "synced_non_voting_followers", synced(|learner| !learner.observer && !learner.voter));
    put(out, "synced_observers", synced(|learner| learner.observer));
    put(out, "pending_syncs", report.pending_syncs);
    put(out, "leader_uptime", view.clock.now().steady_ms.saturating_sub(standing.since_ms));
    let [last, min, max] = proposal_bytes(report);
    for (name, bytes) in [("last_proposal_size", last), ("min_proposal_size", min), ("max_proposal_size", max)] {
        put(out, name, bytes);
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

fn put_gauges(view: &View, report: &Report, out: &mut String) {
    let (statistics, latency) = (&view.statistics, view.statistics.latency_ms());
    let (last, min, max) = statistics.response_bytes();
    let (znodes, ephemerals, bytes, sessions, watches) = {
        let database = view.database.read();
        let tree = database.tree();
        let watches = database.with_watches(crate::watch::Watches::len);
        (tree.len(), tree.num_ephemerals(), tree.approximate_bytes(), database.sessions().len(), watches)
    };
    put(out, "ephemerals_count", ephemerals);
    put(out, "num_alive_connections", view.connections.len());
    put(out, "avg_latency", java_double(latency.mean()));
    put(out, "outstanding_requests", outstanding(view));
    put(out, "znode_count", znodes + 1);
    put(out, "global_sessions", sessions);
    put(out, "non_mtls_remote_conn_count", 0);
    put(out, "last_client_response_size", last);
    put(out, "packets_sent", statistics.packets_sent());
    put(out, "packets_received", statistics.packets_received());
    put(out, "max_client_response_size", max);
    put(out, "connection_drop_probability", java_double(view.throttles.drop_chance()));
    put(out, "watch_count", watches);
    put(out, "auth_failed_count", statistics.auth_failed.load(Relaxed));
    put(out, "min_latency", latency.min());
    put(out, "max_file_descriptor_count", descriptors_max());
    put(out, "approximate_data_size", bytes);
    put(out, "open_file_descriptor_count", std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count));
    put(out, "local_sessions", report.local_sessions);
    put(out, "uptime", view.clock.now().steady_ms.saturating_sub(view.facts.started_ms));
    put(out, "max_latency", latency.max());
    put(out, "outstanding_tls_handshake", 0);
    put(out, "min_client_response_size", min);
    put(out, "non_mtls_local_conn_count", 0);
}

/// Limits and usage by the first component of the quota's path (NO-22).
fn put_quotas(view: &View, out: &mut String) {
    let database = view.database.read();
    for (path, limits, usage) in database.tree().quotas() {
        let namespace = path.split('/').nth(1).unwrap_or_default();
        let hard_or_soft = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
        let rows = [
            ("count_limit", hard_or_soft(limits.count_hard, limits.count)),
            ("bytes_limit", hard_or_soft(limits.bytes_hard, limits.bytes)),
            ("count_usage", usage.count),
            ("bytes_usage", usage.bytes),
        ];
        for (what, value) in rows {
            put(out, &format!("{namespace}_quota_{what}_per_namespace"), value);
        }
    }
}

fn put_summary(out: &mut String, name: &str, summary: &Summary) {
    put(out, &format!("avg_{name}"), java_double(summary.mean()));
    put(out, &format!("min_{name}"), summary.min());
    put(out, &format!("max_{name}"), summary.max());
    put(out, &format!("cnt_{name}"), summary.count());
    put(out, &format!("sum_{name}"), summary.sum());
}

fn put(out: &mut String, name: &str, value: impl Display) {
    let _ = writeln!(out, "zk_{name}\t{value}");
}

fn descriptors_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}
