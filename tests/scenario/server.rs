//! A server's machine and the process on it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::RwLock;
use zkd::auth::AuthRules;
use zkd::config::ServerSpec;
use zkd::ids::{Epoch, Sid, Zxid};
use zkd::peer::{
    Beginning, Door, EnsembleRules, Input, Loading, Machine, Mode, Peer, PeerRules, ReaperRules, SnapshotRules,
    SnapshotStart,
};
use zkd::pipeline::{PrepareRules, ServerStatistics, SharedDatabase};
use zkd::session::Negotiation;
use zkd::storage::epochs::{Epochs, open_epochs};
use zkd::storage::recovery::{Origin, RecoveryOptions, consume_marker, recover};
use zkd::zab::{ElectionRules, Ensemble, Membership};

use super::client::ServerLane;
use super::disk::SimDisk;
use super::history::{self, TREE};
use super::log::SimLog;
use super::world::{Event, Node, World};

/// What a story sets before it begins.
pub(crate) struct Settings {
    pub(crate) members: BTreeMap<Node, &'static str>,
    pub(crate) groups: Vec<(u64, Vec<Sid>)>,
    pub(crate) weights: Vec<(Sid, u64)>,
    /// `zookeeper.commitLogCount`.
    pub(crate) history_txns: usize,
    /// `snapCount`.
    pub(crate) snapshot_txns: u64,
    /// `leader.maxConcurrentSnapSyncs` and `leader.maxConcurrentDiffSyncs`.
    pub(crate) syncs_max: usize,
    pub(crate) epoch_wait_ms: Option<u64>,
    pub(crate) leader_serves: bool,
    pub(crate) local_sessions: bool,
    pub(crate) read_only_mode: bool,
    /// `observerMasterPort` is set everywhere.
    pub(crate) observer_masters: bool,
    /// `zookeeper.db.autocreate`.
    pub(crate) autocreate: bool,
    /// A server alone.
    pub(crate) alone: bool,
    pub(crate) reconfig_enabled: bool,
    pub(crate) standalone_enabled: bool,
    /// Servers that are not members when the story begins; each knows the members, and itself beside them.
    pub(crate) outside: BTreeMap<Node, &'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            members: BTreeMap::new(),
            groups: Vec::new(),
            weights: Vec::new(),
            history_txns: 500,
            snapshot_txns: 100_000,
            syncs_max: 10,
            epoch_wait_ms: None,
            leader_serves: true,
            local_sessions: false,
            read_only_mode: false,
            observer_masters: false,
            autocreate: true,
            alone: false,
            reconfig_enabled: false,
            standalone_enabled: true,
            outside: BTreeMap::new(),
        }
    }
}

/// A tick of every server, ms.
pub(crate) const TICK_MS: u64 = 500;

/// A machine.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) disk: Rc<SimDisk>,
    pub(crate) process: Option<Process>,
    pub(crate) boot: u32,
    /// What its files say of the members, once they have changed.
    pub(crate) members: Option<Membership>,
    /// Work on the disk that does not come to its end before the story lets it: `flush`, `snapshot`.
    pub(crate) held: BTreeSet<String>,
    /// The machine dies before or behind this work on its disk.
    pub(crate) crash: Option<(bool, String)>,
}

/// What a story tells of a server's role.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Looking,
    Leading,
    Following,
    Observing,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Looking => "LOOKING",
            Self::Leading => "LEADING",
            Self::Following => "FOLLOWING",
            Self::Observing => "OBSERVING",
        }
    }
}

/// A server's process.
pub(crate) struct Process {
    pub(crate) peer: Peer,
    pub(crate) database: SharedDatabase,
    pub(crate) log: SimLog,
    pub(crate) flush_waits: bool,
    pub(crate) snapshot_waits: Option<SnapshotStart>,
    pub(crate) serves: bool,
    /// What it said last that it is, and in which epoch.
    pub(crate) stands: (Mode, Epoch),
    pub(crate) listens: Option<Door>,
    pub(crate) stopping: bool,
    pub(crate) role: Role,
    pub(crate) leader: Option<usize>,
    pub(crate) lanes: BTreeMap<(char, u32), ServerLane>,
    pub(crate) statistics: Arc<ServerStatistics>,
    tick_at_ms: u64,
}

impl World {
    fn ensemble(&self, node: Node) -> Ensemble {
        let itself = self.settings.outside.get(&node).map(|role| (node, *role));
        let members = self.settings.members.iter().map(|(node, role)| (*node, *role));
        let servers = members.chain(itself).map(|(node, role)| {
            ServerSpec::parse(node, &format!("h{node}:2888:3888:{role};2181")).expect("a server's line")
        });
        let ensemble = Ensemble::new(0, servers);
        if self.settings.groups.is_empty() {
            return ensemble;
        }
        let grouped = ensemble.with_groups(self.settings.groups.clone(), self.settings.weights.clone());
        grouped.expect("groups that are in order")
    }

    /// What a server's files say of the members.
    pub(crate) fn members(&self, node: Node) -> Membership {
        let written = self.servers.get(&node).and_then(|server| server.members.clone());
        written.unwrap_or_else(|| Membership::settled(self.ensemble(node)))
    }

    fn rules(&self, node: Node, auth: &Arc<AuthRules>) -> PeerRules {
        let settings = &self.settings;
        PeerRules {
            sid: Sid(node),
            tick_ms: TICK_MS,
            negotiation: Negotiation { min_ms: 1000, max_ms: 10_000 },
            prepare: PrepareRules {
                auth: Arc::clone(auth),
                extended_types: false,
                enforce_quota: false,
                namespaces: Arc::default(),
                reconfig_enabled: settings.reconfig_enabled,
                digest: true,
                close_session_txn: true,
                record_bytes_max: RecoveryOptions::default().body_bytes_max,
                epoch_rolls_over: settings.alone,
            },
            metrics: Arc::default(),
            snapshots: SnapshotRules { txns: settings.snapshot_txns, bytes: 0 },
            reaper: ReaperRules { interval_ms: 60_000, per_minute_max: 10_000, never_used_ms: 0 },
            seed: node.into(),
            ensemble: (!settings.alone).then(|| EnsembleRules {
                membership: self.members(node),
                standalone_enabled: settings.standalone_enabled,
                several_addresses: false,
                init_limit: 10,
                sync_limit: 5,
                connect_limit: 0,
                epoch_wait_ms: settings.epoch_wait_ms,
                election: ElectionRules { resend_min_ms: 200, resend_max_ms: 2000, finalize_ms: 200 },
                leader_serves: settings.leader_serves,
                history_txns: settings.history_txns,
                force_snapshot: false,
                snap_syncs_max: settings.syncs_max,
                diff_syncs_max: settings.syncs_max,
                sync_from_log: true,
                local_sessions: settings.local_sessions,
                local_sessions_upgrade: settings.local_sessions,
                read_only_mode: settings.read_only_mode,
                connect_retry_ms: 100,
                observer_writes: true,
                observer_reconnect_ms: 0,
                observer_masters: settings.observer_masters,
                observer_delay_ms: 1,
            }),
        }
    }

    pub(crate) fn process(&mut self, node: Node) -> &mut Process {
        let server = self.servers.get_mut(&node).expect("a server of this story");
        server.process.as_mut().expect("a process that runs")
    }

    pub(crate) fn disk(&self, node: Node) -> Rc<SimDisk> {
        Rc::clone(&self.servers[&node].disk)
    }

    /// Starts a server, as `node::server` does.
    pub(crate) fn start(&mut self, node: Node) -> Result<(), String> {
        let disk = self.disk(node);
        let auth = Arc::new(AuthRules { skip_acl: self.settings.reconfig_enabled, ..AuthRules::default() });
        let mut loading = Loading::new(TREE, self.settings.history_txns);
        let options = RecoveryOptions { autocreate: self.settings.autocreate, ..RecoveryOptions::default() };
        let recovered = recover(&*disk, &options, &mut loading).map_err(|error| error.to_string())?;
        let (mut database, history) = loading.finish(Arc::clone(&auth));
        if recovered.origin == Origin::New {
            let digest = database.snapshot_digest();
            let body = history::walk(&mut database);
            let start = SnapshotStart { walk: 0, zxid: Zxid::ZERO, digest, head: Vec::new() };
            history::write_snapshot_file(&disk, &start, &body).map_err(|error| error.to_string())?;
            consume_marker(&*disk).map_err(|error| error.to_string())?;
        }
        let epochs = match self.settings.alone {
            true => Epochs::default(),
            false => open_epochs(&*disk, recovered.last_zxid).map_err(|error| error.to_string())?,
        };
        let database: SharedDatabase = Arc::new(RwLock::new(database));
        let beginning = Beginning {
            database: Arc::clone(&database),
            history,
            durable: recovered.durable,
            replayed_txns: recovered.replayed,
            epochs,
        };
        let peer = Peer::new(self.rules(node, &auth), beginning, self.clock());
        let server = self.servers.get_mut(&node).expect("a server of this story");
        server.boot += 1;
        server.process = Some(Process {
            peer,
            database,
            log: SimLog::new(false),
            flush_waits: false,
            snapshot_waits: None,
            serves: false,
            stands: (Mode::Looking, 0),
            listens: None,
            stopping: false,
            role: Role::Looking,
            leader: None,
            lanes: BTreeMap::new(),
            statistics: Arc::default(),
            tick_at_ms: 0,
        });
        self.settle(node);
        Ok(())
    }

    /// Puts something into a server's inbox.
    pub(crate) fn give(&mut self, node: Node, input: Input) {
        if let Some(boot) = self.servers.get(&node).map(|server| server.boot) {
            self.after(0, Event::Input(node, boot, input));
        }
    }

    pub(crate) fn handle(&mut self, node: Node, input: Input) {
        let now = self.clock();
        self.process(node).peer.handle(now, input, &mut Vec::new());
        self.settle(node);
    }

    pub(crate) fn tick(&mut self, node: Node) {
        let now = self.clock();
        let process = self.process(node);
        process.tick_at_ms = 0;
        if process.peer.next_deadline().is_some_and(|at| at <= now.steady_ms) {
            process.peer.handle(now, Input::Tick, &mut Vec::new());
        }
        self.settle(node);
    }

    /// Carries out what a server wants, and plans its next turn.
    fn settle(&mut self, node: Node) {
        let boot = self.servers[&node].boot;
        self.tell_warnings(node);
        while let Some(output) = self.process(node).peer.poll_output() {
            self.carry_out(node, output);
            if self.servers[&node].process.is_none() || self.servers[&node].boot != boot {
                return;
            }
        }
        self.serve_lanes(node);
        let now = self.clock();
        let process = self.process(node);
        if process.stopping && process.peer.is_idle(now) {
            let disk = self.disk(node);
            self.process(node).log.close(&disk).expect("a disk that works");
            self.end(node);
            self.tell(format!("{node} has stopped"));
            return;
        }
        let process = self.process(node);
        if let Some(at) = process.peer.next_deadline().filter(|at| *at != process.tick_at_ms) {
            process.tick_at_ms = at;
            self.after(at.saturating_sub(now.steady_ms).max(1), Event::Tick(node, boot));
        }
    }

    /// The process ends; the system closes its sockets.
    pub(crate) fn end(&mut self, node: Node) {
        let server = self.servers.get_mut(&node).expect("a server of this story");
        let Some(process) = server.process.take() else { return };
        server.boot += 1;
        server.crash = None;
        server.disk.process_ended();
        self.leave_network(node);
        for (name, connection) in process.lanes.into_keys() {
            self.client_lost(name, connection);
        }
    }

    /// The machine loses its power, and its disk what was not flushed.
    pub(crate) fn crash(&mut self, node: Node) {
        self.end(node);
        self.servers[&node].disk.lose_unflushed();
    }
}
