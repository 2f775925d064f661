//! `srvr`, `stat`, `conf`, `dirs`, `hash`.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::VERSION;
use super::connections::short_line;
use super::view::{EnsembleFacts, View, directory_bytes};
use crate::config::ServerAddress;
use crate::metrics::java_double;
use crate::peer::{Mode, Report};
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
    let (statistics, latency) = (&view.statistics, view.statistics.latency_ms());
    let (zxid, znodes) = {
        let database = view.database.read();
        (database.last_zxid(), database.tree().len())
    };
    let mean = java_double(latency.mean());
    let _ = writeln!(out, "Latency min/avg/max: {}/{mean}/{}", latency.min(), latency.max());
    let _ = writeln!(out, "Received: {}", statistics.packets_received());
    let _ = writeln!(out, "Sent: {}", statistics.packets_sent());
    let _ = writeln!(out, "Connections: {}", view.connections.len());
    let _ = writeln!(out, "Outstanding: {}", super::monitor::outstanding(view));
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
        "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={snapshots}\ndataLogDir={}\ndataLogSize={logs}\n\
         tickTime={}\nmaxClientCnxns={}\nminSessionTimeout={min_ms}\nmaxSessionTimeout={max_ms}\n\
         clientPortListenBacklog={}\nserverId={me}\n",
        view.client_port.load(Relaxed),
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

pub(super) fn hash(view: &View) -> String {
    let database = view.database.read();
    let line = |sample: crate::pipeline::DigestSample| format!("{:x}: {}\n", sample.zxid.0, sample.digest as i64);
    database.digests().samples().map(line).collect()
}
