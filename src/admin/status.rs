//! `srvr`, `stat`, `conf`, `dirs`, `hash`, and the same as JSON.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

use super::VERSION;
use super::connections::{self, short_line};
use super::json::{Fields, Json, field};
use super::monitor::{outstanding, uptime_ms};
use super::view::{EnsembleFacts, View, directory_bytes};
use crate::config::ServerAddress;
use crate::ids::Zxid;
use crate::metrics::{java_double, rounded};
use crate::peer::{Mode, Report};
use crate::storage::snapshot_files::SnapshotFile;
use crate::txn::TxnDigest;
use crate::zab::Ensemble;

pub(super) fn srvr(view: &View) -> String {
    let mut out = format!("Zookeeper version: {VERSION}\n");
    put_read_only(view, &mut out);
    put_status(view, &mut out);
    out
}

pub(super) fn stat(view: &View) -> String {
    let mut out = format!("Zookeeper version: {VERSION}\n");
    put_read_only(view, &mut out);
    out.push_str("Clients:\n");
    for lane in view.connections.all() {
        let _ = writeln!(out, "{})", short_line(&lane.info()));
    }
    out.push('\n');
    put_status(view, &mut out);
    out
}

fn put_read_only(view: &View, out: &mut String) {
    if view.mode() == Mode::ReadOnly {
        out.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
}

fn put_status(view: &View, out: &mut String) {
    let (statistics, latency) = (&view.statistics, view.statistics.latency());
    let (zxid, znodes) = {
        let database = view.database.read();
        (database.last_zxid(), database.tree().len())
    };
    let mean = java_double(latency.mean_ms);
    let _ = writeln!(out, "Latency min/avg/max: {}/{mean}/{}", latency.min_ms, latency.max_ms);
    let _ = writeln!(out, "Received: {}", statistics.packets_received());
    let _ = writeln!(out, "Sent: {}", statistics.packets_sent());
    let _ = writeln!(out, "Connections: {}", view.connections.len());
    let _ = writeln!(out, "Outstanding: {}", outstanding(view));
    let _ = writeln!(out, "Zxid: {zxid}");
    let mode = view.mode();
    let _ = writeln!(out, "Mode: {}", mode.name());
    // The reference counts the root under both of its names.
    let _ = writeln!(out, "Node count: {}", znodes + 1);
    if mode == Mode::Leader {
        let [last, min, max] = proposal_bytes(&view.inspect.report());
        let _ = writeln!(out, "Proposal sizes last/min/max: {last}/{min}/{max}");
    }
}

/// `server_stats`.
pub(super) fn server_stats(view: &View) -> Fields {
    let mode = view.mode();
    let (zxid, znodes) = {
        let database = view.database.read();
        (database.last_zxid(), database.tree().len())
    };
    let (last, min, max) = view.statistics.response_bytes();
    let mut fields = vec![
        field("version", VERSION),
        field("read_only", mode == Mode::ReadOnly),
        field("server_stats", statistics(view, mode, zxid)),
        field("client_response", buffer_sizes([last, min, max])),
    ];
    if mode == Mode::Leader {
        fields.push(field("proposal_stats", buffer_sizes(proposal_bytes(&view.inspect.report()))));
    }
    fields.push(field("node_count", znodes + 1));
    fields
}

/// `stats`.
pub(super) fn stats(view: &View) -> Fields {
    let mut fields = server_stats(view);
    fields.extend(connections::fields(view, false));
    fields
}

fn statistics(view: &View, mode: Mode, zxid: Zxid) -> Fields {
    let (statistics, latency) = (&view.statistics, view.statistics.latency());
    let (last, min, max) = statistics.response_bytes();
    vec![
        field("packets_sent", statistics.packets_sent()),
        field("packets_received", statistics.packets_received()),
        field("fsync_threshold_exceed_count", statistics.slow_flushes.load(Relaxed)),
        field("client_response_stats", buffer_sizes([last, min, max])),
        field("data_dir_size", directory_bytes(&view.facts.snapshot_dir)),
        field("log_dir_size", directory_bytes(&view.facts.log_dir)),
        field("provider_null", false),
        field("last_processed_zxid", zxid.0),
        field("outstanding_requests", outstanding(view)),
        field("server_state", mode.name()),
        field("avg_latency", Json::Real(rounded(latency.mean_ms))),
        field("max_latency", latency.max_ms),
        field("min_latency", latency.min_ms),
        field("num_alive_client_connections", view.connections.len()),
        field("uptime", uptime_ms(view)),
        field("auth_failed_count", statistics.auth_failed.load(Relaxed)),
        field("non_mtlsremote_conn_count", view.connections.plain_remote.load(Relaxed)),
        field("non_mtlslocal_conn_count", view.connections.plain_local.load(Relaxed)),
    ]
}

fn buffer_sizes([last, min, max]: [i64; 3]) -> Fields {
    vec![field("last_buffer_size", last), field("min_buffer_size", min), field("max_buffer_size", max)]
}

/// `configuration`. Unlike `conf` it has nothing of the ensemble.
pub(super) fn configuration(view: &View) -> Fields {
    let facts = &view.facts;
    let (min_ms, max_ms) = facts.session_timeouts_ms;
    vec![
        field("client_port", view.client_port.load(Relaxed)),
        field("data_dir", facts.snapshot_dir.display().to_string()),
        field("data_log_dir", facts.log_dir.display().to_string()),
        field("tick_time", facts.tick_ms),
        field("max_client_cnxns", facts.connections_per_address_max),
        field("min_session_timeout", min_ms),
        field("max_session_timeout", max_ms),
        field("server_id", i64::from(facts.ensemble.as_ref().map_or(0, |ensemble| ensemble.me.0))),
        field("client_port_listen_backlog", facts.backlog),
    ]
}

/// The last, the smallest and the largest; -1 before the first.
pub(super) fn proposal_bytes(report: &Report) -> [i64; 3] {
    let known = report.proposal_bytes.map(|(last, min, max)| [last, min, max].map(|bytes| bytes as i64));
    known.unwrap_or([-1; 3])
}

pub(super) fn conf(view: &View) -> String {
    let facts = &view.facts;
    let (min_ms, max_ms) = facts.session_timeouts_ms;
    let (snapshots, logs) = (directory_bytes(&facts.snapshot_dir), directory_bytes(&facts.log_dir));
    let me = facts.ensemble.as_ref().map_or(0, |ensemble| ensemble.me.0);
    let mut out = format!(
        "clientPort={}\nsecureClientPort={}\ndataDir={}\ndataDirSize={snapshots}\ndataLogDir={}\ndataLogSize={logs}\n\
         tickTime={}\nmaxClientCnxns={}\nminSessionTimeout={min_ms}\nmaxSessionTimeout={max_ms}\n\
         clientPortListenBacklog={}\nserverId={me}\n",
        view.client_port.load(Relaxed),
        facts.secure_client_port,
        facts.snapshot_dir.display(),
        facts.log_dir.display(),
        facts.tick_ms,
        facts.connections_per_address_max,
        facts.backlog,
    );
    let standing = view.standing.read();
    if let (Some(ensemble), Some(membership)) = (&facts.ensemble, &standing.membership) {
        put_ensemble(ensemble, &membership.committed, &mut out);
        if standing.mode != Mode::ReadOnly {
            let _ = write!(out, "membership: \n{}", membership.committed);
        }
    }
    out
}

/// What members of an ensemble add.
fn put_ensemble(facts: &EnsembleFacts, members: &Ensemble, out: &mut String) {
    let own = members.server(facts.me);
    let ports = |port: fn(&ServerAddress) -> u16| {
        let ports = own.iter().flat_map(|own| &own.addresses).map(|address| port(address).to_string());
        ports.collect::<Vec<_>>().join("|")
    };
    let observes = u8::from(members.is_observer(facts.me));
    let _ = write!(
        out,
        "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={observes}\n",
        facts.init_limit,
        facts.sync_limit,
        ports(|own| own.election_port),
        ports(|own| own.quorum_port),
    );
}

pub(super) fn dirs(view: &View) -> String {
    let (snapshots, logs) = (directory_bytes(&view.facts.snapshot_dir), directory_bytes(&view.facts.log_dir));
    format!("datadir_size: {snapshots}\nlogdir_size: {logs}\n")
}

/// The same as JSON.
pub(super) fn directories(view: &View) -> Fields {
    let (snapshots, logs) = (directory_bytes(&view.facts.snapshot_dir), directory_bytes(&view.facts.log_dir));
    vec![field("datadir_size", snapshots), field("logdir_size", logs)]
}

/// `last_snapshot`: the newest file, as it is on disk; the time in seconds.
pub(super) fn last_snapshot(view: &View) -> Fields {
    let newest = newest_snapshot(&view.facts.snapshot_dir);
    let zxid = newest.map_or(-1, |(zxid, _)| zxid.0);
    vec![field("zxid", format!("{zxid:x}")), field("timestamp", newest.map_or(-1, |(_, seconds)| seconds))]
}

fn newest_snapshot(dir: &Path) -> Option<(Zxid, i64)> {
    let files = std::fs::read_dir(dir).ok()?.flatten();
    let snapshots = files.filter_map(|entry| Some((SnapshotFile::parse(entry.file_name().to_str()?)?.zxid, entry)));
    let (zxid, entry) = snapshots.max_by_key(|(zxid, _)| *zxid)?;
    let written = entry.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((zxid, i64::try_from(written.as_secs()).ok()?))
}

/// The digests of the past as JSON.
pub(super) fn digests(view: &View) -> Fields {
    let database = view.database.read();
    let object = |sample: crate::pipeline::DigestSample| {
        Json::Object(vec![
            field("zxid", sample.zxid.0),
            field("digest", sample.digest as i64),
            field("digest_version", i64::from(TxnDigest::VERSION)),
        ])
    };
    vec![field("digests", database.digests().samples().map(object).collect::<Json>())]
}

pub(super) fn hash(view: &View) -> String {
    let database = view.database.read();
    let line = |sample: crate::pipeline::DigestSample| format!("{:x}: {}\n", sample.zxid.0, sample.digest as i64);
    database.digests().samples().map(line).collect()
}
