//! A server's machine and the process on it: how it starts, takes one input after the other, and dies.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::RwLock;
use zkd::auth::AuthRules;
use zkd::ids::{LinkId, Sid, Zxid};
use zkd::peer::{
    Beginning, Door, EnsembleRules, Input, Loading, Machine, Peer, PeerRules, ReaperRules, SnapshotRules, SnapshotStart,
};
use zkd::pipeline::{LaneState, PrepareRules, ServerStatistics, SharedDatabase};
use zkd::session::Negotiation;
use zkd::storage::Durable;
use zkd::storage::epochs::{Epochs, open_epochs};
use zkd::storage::recovery::{Origin, RecoveryOptions, consume_marker, recover};
use zkd::tree::{TreeOptions, TtlMarks};
use zkd::zab::{ElectionRules, Ensemble, LeaderStream, LearnerStream, Logged, Membership};

use super::disk::SimDisk;
use super::election::ElectionPeer;
use super::lanes::ServerLane;
use super::log::SimLog;
use super::network::ConnId;
use super::plan::{Plan, sid};
use super::rim::{Piece, SnapshotJob, write_snapshot_file};
use super::schedule::{Event, ms};
use super::world::World;

/// A machine for a server.
pub(crate) struct Server {
    pub(crate) node: usize,
    /// What its files say of the members, and what they said before the last change.
    pub(crate) members: Membership,
    pub(crate) members_before: Membership,
    pub(crate) disk: Rc<SimDisk>,
    pub(crate) process: Option<Box<Process>>,
    /// The number of its last process.
    pub(crate) boots: u32,
    pub(crate) powered: bool,
    pub(crate) paused: bool,
    pub(crate) stalled: bool,
    pub(crate) wall_offset_ms: i64,
    /// The next flush fails.
    pub(crate) fails_flush: bool,
    /// The process dies behind so many outputs.
    pub(crate) dies_behind: Option<u32>,
    /// Somebody starts it again.
    pub(crate) starting: bool,
}

/// A connection to a learner.
pub(crate) struct LearnerLink {
    pub(crate) conn: ConnId,
    pub(crate) stream: LeaderStream,
    pub(crate) buffer: BytesMut,
    pub(crate) out: VecDeque<Piece>,
    /// The database that is being sent.
    pub(crate) walk: Option<SnapshotStart>,
}

/// The connection to the leader.
pub(crate) struct LeaderLink {
    pub(crate) link: LinkId,
    pub(crate) conn: Option<ConnId>,
    pub(crate) stream: LearnerStream,
    pub(crate) buffer: BytesMut,
}

/// A server's process.
pub(crate) struct Process {
    pub(crate) boot: u32,
    pub(crate) peer: Peer,
    pub(crate) database: SharedDatabase,
    pub(crate) inbox: VecDeque<Input>,
    /// A look into the inbox is planned.
    stepping: bool,
    /// For when a tick is planned, ms.
    tick_at_ms: u64,
    pub(crate) log: SimLog,
    pub(crate) log_full: bool,
    pub(crate) serves: bool,
    pub(crate) listens: Option<Door>,
    pub(crate) stopping: bool,
    pub(crate) learners: BTreeMap<LinkId, LearnerLink>,
    pub(crate) next_link: u64,
    pub(crate) leader: Option<LeaderLink>,
    pub(crate) election: BTreeMap<Sid, ElectionPeer>,
    pub(crate) lanes: BTreeMap<ConnId, ServerLane>,
    pub(crate) statistics: Arc<ServerStatistics>,
    pub(crate) snapshots: Vec<SnapshotJob>,
    /// A database that has come and is not on disk yet.
    pub(crate) installing: Option<Zxid>,
    pub(crate) tree: TreeOptions,
}

/// How a process dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Death {
    /// The process alone: the system closes its sockets and keeps what it wrote.
    Kill,
    /// The whole machine: nobody is told, and what was not flushed is lost.
    PowerCut,
}

impl Server {
    pub(crate) fn new(node: usize, members: Ensemble) -> Self {
        let members = Membership::settled(members);
        Self {
            node,
            members_before: members.clone(),
            members,
            disk: Rc::default(),
            process: None,
            boots: 0,
            powered: true,
            paused: false,
            stalled: false,
            wall_offset_ms: 0,
            fails_flush: false,
            dies_behind: None,
            starting: true,
        }
    }
}

fn rules(plan: &Plan, node: usize, members: Membership, auth: &Arc<AuthRules>, seed: u64) -> PeerRules {
    let tick = i32::try_from(plan.tick_ms).expect("a short tick");
    PeerRules {
        sid: sid(node),
        tick_ms: plan.tick_ms,
        negotiation: Negotiation { min_ms: tick * 2, max_ms: tick * 20 },
        prepare: PrepareRules {
            auth: Arc::clone(auth),
            extended_types: false,
            enforce_quota: false,
            namespaces: Arc::default(),
            reconfig_enabled: plan.reconfigures,
            digest: true,
            close_session_txn: true,
            record_bytes_max: RecoveryOptions::default().body_bytes_max,
            epoch_rolls_over: false,
        },
        metrics: Arc::default(),
        snapshots: SnapshotRules { txns: plan.snapshot_txns, bytes: 0 },
        reaper: ReaperRules { interval_ms: 60_000, per_minute_max: 10_000, never_used_ms: 0 },
        seed,
        ensemble: Some(EnsembleRules {
            membership: members,
            standalone_enabled: plan.standalone_enabled,
            several_addresses: false,
            init_limit: plan.init_limit,
            sync_limit: plan.sync_limit,
            connect_limit: 0,
            epoch_wait_ms: seed.is_multiple_of(8).then_some(100),
            election: ElectionRules { resend_min_ms: 200, resend_max_ms: 2000, finalize_ms: plan.finalize_ms },
            leader_serves: plan.leader_serves,
            history_txns: plan.history_txns,
            force_snapshot: plan.force_snapshot,
            snap_syncs_max: 2,
            diff_syncs_max: 2,
            sync_from_log: plan.sync_from_log,
            connect_retry_ms: 100,
            observer_writes: plan.observer_writes,
            observer_reconnect_ms: 0,
            observer_masters: plan.observer_masters,
            observer_delay_ms: 200,
            local_sessions: false,
            local_sessions_upgrade: false,
            read_only_mode: false,
        }),
    }
}

/// What a server finds on its disk.
struct Found {
    database: SharedDatabase,
    history: Vec<Logged>,
    durable: Durable,
    replayed: u64,
    epochs: Epochs,
}

/// As `node::server` does it.
fn load(disk: &SimDisk, tree: TreeOptions, history_txns: usize, auth: &Arc<AuthRules>) -> Result<Found, String> {
    let mut loading = Loading::new(tree, history_txns);
    let recovered = recover(disk, &RecoveryOptions::default(), &mut loading).map_err(|error| error.to_string())?;
    let (database, history) = loading.finish(Arc::clone(auth));
    let database: SharedDatabase = Arc::new(RwLock::new(database));
    if recovered.origin == Origin::New {
        let mut head = Vec::new();
        let walk = database.write().begin_snapshot(&mut head).ok_or("another snapshot is being written")?;
        let digest = database.read().snapshot_digest();
        let mut body = head.clone();
        while let zkd::tree::Walked::More = database.read().continue_snapshot(walk, 1 << 16, &mut body) {}
        let start = SnapshotStart { walk, zxid: Zxid::ZERO, digest, head: Vec::new() };
        write_snapshot_file(disk, &start, &body).map_err(|error| error.to_string())?;
        database.write().end_snapshot(walk);
        consume_marker(disk).map_err(|error| error.to_string())?;
    }
    let epochs = open_epochs(disk, recovered.last_zxid).map_err(|error| error.to_string())?;
    Ok(Found { database, history, durable: recovered.durable, replayed: recovered.replayed, epochs })
}

impl World {
    /// Starts a server's process.
    pub(crate) fn start(&mut self, node: usize) {
        if self.servers[node].process.is_some() {
            return;
        }
        let seed = self.random.u64(..);
        let auth = Arc::new(AuthRules { skip_acl: self.plan.reconfigures, ..AuthRules::default() });
        let tree = TreeOptions { hash_seed: seed, ttl_marks: TtlMarks::None, digest: true };
        let server = &mut self.servers[node];
        (server.powered, server.paused, server.starting) = (true, false, false);
        server.boots += 1;
        let (boot, disk) = (server.boots, Rc::clone(&server.disk));
        let found = match load(&disk, tree, self.plan.history_txns, &auth) {
            Ok(found) => found,
            Err(_) if disk.is_dead() => {
                self.trace(|world| format!("{} dies while it starts", world.name(node)));
                self.die(node, Death::PowerCut);
                return;
            }
            Err(error) => panic!("[recovery] {} does not start: {error}", self.name(node)),
        };
        self.trace(|world| {
            format!("{} starts, last txn {}, epochs {:?}", world.name(node), found.durable.zxid(), found.epochs)
        });
        self.oracle.started(node, found.durable.zxid(), found.epochs);
        let beginning = Beginning {
            database: Arc::clone(&found.database),
            history: found.history,
            durable: found.durable,
            replayed_txns: found.replayed,
            epochs: found.epochs,
        };
        let now = self.clock(node);
        let members = self.servers[node].members.clone();
        let peer = Peer::new(rules(&self.plan, node, members, &auth, seed), beginning, now);
        self.servers[node].process = Some(Box::new(Process {
            boot,
            peer,
            database: found.database,
            inbox: VecDeque::new(),
            stepping: false,
            tick_at_ms: 0,
            log: SimLog::new(self.plan.padded),
            log_full: false,
            serves: false,
            listens: None,
            stopping: false,
            learners: BTreeMap::new(),
            next_link: 0,
            leader: None,
            election: BTreeMap::new(),
            lanes: BTreeMap::new(),
            statistics: Arc::default(),
            snapshots: Vec::new(),
            installing: None,
            tree,
        }));
        self.settle(node);
    }

    /// Puts something into a server's inbox.
    pub(crate) fn give(&mut self, node: usize, input: Input) {
        let process = self.process(node);
        match (process.inbox.back_mut(), input) {
            (Some(Input::Writes(writes)), Input::Writes(more)) => writes.extend(more),
            (_, input) => process.inbox.push_back(input),
        }
        self.plan_step(node);
    }

    fn plan_step(&mut self, node: usize) {
        let (paused, boot) = (self.servers[node].paused, self.boot_of(node));
        if paused || std::mem::replace(&mut self.process(node).stepping, true) {
            return;
        }
        let at = self.now + self.random.u64(1..=80);
        self.schedule.at(at, Event::Step { node, boot });
    }

    /// The owner's loop goes round once, as in `node::owner`: some inputs, then what comes of them.
    pub(crate) fn step(&mut self, node: usize) {
        self.process(node).stepping = false;
        if self.servers[node].paused {
            return;
        }
        let most = if self.random.u32(0..4) == 0 { self.random.usize(1..4) } else { 1024 };
        let now = self.clock(node);
        let mut wake = Vec::new();
        let tracing = self.is_traced();
        for _ in 0..most {
            let Some(input) = self.process(node).inbox.pop_front() else { break };
            if tracing {
                self.trace_input(node, &input);
            }
            self.process(node).peer.handle(now, input, &mut wake);
        }
        let process = self.process(node);
        if process.peer.next_deadline().is_some_and(|at| at <= now.steady_ms) {
            process.peer.handle(now, Input::Tick, &mut wake);
        }
        self.note(node as u64, now.steady_ms);
        self.settle(node);
    }

    /// Carries out what a server wants, looks whether all is right, and plans its next turn.
    fn settle(&mut self, node: usize) {
        let boot = self.boot_of(node);
        loop {
            let Some(output) = self.process(node).peer.poll_output() else { break };
            if let Some(left) = &mut self.servers[node].dies_behind {
                if *left == 0 {
                    self.trace(|world| format!("{} dies before {output:?}", world.name(node)));
                    let death = if self.random.bool() { Death::Kill } else { Death::PowerCut };
                    self.die(node, death);
                    return;
                }
                *left -= 1;
            }
            self.carry_out(node, output);
            if !self.runs(node, boot) {
                return;
            }
        }
        self.observe(node);
        self.serve_lanes(node);
        let now = self.clock(node);
        let process = self.process(node);
        if process.stopping && process.peer.is_idle(now) {
            self.stopped(node);
            return;
        }
        let process = self.process(node);
        if !process.inbox.is_empty() {
            self.plan_step(node);
            return;
        }
        if let Some(at) = process.peer.next_deadline().filter(|at| *at != process.tick_at_ms) {
            process.tick_at_ms = at;
            let in_ms = at.saturating_sub(now.steady_ms);
            let at = (self.now / 1000 + in_ms) * 1000;
            self.schedule.at(at.max(self.now + 1), Event::Step { node, boot });
        }
    }

    /// What the oracle can see of a server.
    fn observe(&mut self, node: usize) {
        let process = self.servers[node].process.as_ref().expect("a process that runs");
        let database = process.database.read();
        self.oracle.observe(node, process.peer.committed(), &database);
    }

    /// The process ends.
    pub(crate) fn die(&mut self, node: usize, death: Death) {
        self.trace(|world| format!("{} dies ({death:?})", world.name(node)));
        let boot = self.boot_of(node);
        for (conn, end) in self.network.ends_of(node, boot) {
            match death {
                Death::Kill => self.hang_up(conn, end),
                Death::PowerCut => self.network.conns[conn].ends[end].open = false,
            }
        }
        let server = &mut self.servers[node];
        server.process = None;
        (server.dies_behind, server.fails_flush, server.paused) = (None, false, false);
        match death {
            Death::Kill => server.disk.process_ended(),
            Death::PowerCut => {
                server.powered = false;
                // News may not be on disk yet. That something was taken back is, before the log goes on without it.
                let is_news = server.members.newest().version() > server.members_before.newest().version();
                if is_news && self.random.u32(0..4) == 0 {
                    server.members = server.members_before.clone();
                }
                server.disk.power_cut(&mut self.random);
            }
        }
        // A number that nobody has yet: what was meant for this process finds nobody.
        server.boots += 1;
        self.restart_later(node);
    }

    /// Starts a server again after a while.
    pub(crate) fn restart_later(&mut self, node: usize) {
        if std::mem::replace(&mut self.servers[node].starting, true) {
            return;
        }
        let calm = self.phase > super::world::Phase::Faults;
        let wait = if calm { ms(50) } else { self.random.u64(ms(1)..self.plan.fault_lasts.max(ms(2)) * 2) };
        self.schedule.at(self.now + wait, Event::Start { node });
    }

    /// A process that was told to stop has come to its end.
    fn stopped(&mut self, node: usize) {
        let disk = self.disk(node);
        let closed = self.process(node).log.close(&disk);
        if let Ok(Some(zxid)) = closed {
            self.oracle.durable(node, zxid);
        }
        self.die(node, Death::Kill);
    }

    /// A paused server goes on.
    pub(crate) fn resume(&mut self, node: usize) {
        if !std::mem::replace(&mut self.servers[node].paused, false) || self.servers[node].process.is_none() {
            return;
        }
        self.trace(|world| format!("{} goes on", world.name(node)));
        let process = self.process(node);
        process.stepping = false;
        process.tick_at_ms = 0;
        self.plan_step(node);
    }
}

/// Where a lane stands.
pub(crate) fn is_closing(state: &LaneState) -> bool {
    state.phase() == zkd::pipeline::LanePhase::Closing
}
