//! The simulated world: machines, network, clients and what may go wrong, moved on by one event at a time.

use std::rc::Rc;

use zkd::ids::Now;

use super::client::Client;
use super::invariants::Oracle;
use super::network::{ConnId, Kind, Network};
use super::plan::{Plan, sid};
use super::schedule::{Event, Mending, Purpose, Schedule, Us};
use super::server::{Process, Server};

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    /// Things go wrong.
    Faults,
    /// Nothing goes wrong any more: all must become well.
    Calm,
    /// Clients have stopped: all must become the same.
    Quiet,
    /// All is over.
    Over,
}

/// Everything.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Us,
    pub(crate) random: fastrand::Rng,
    pub(crate) schedule: Schedule,
    pub(crate) network: Network,
    pub(crate) servers: Vec<Server>,
    pub(crate) clients: Vec<Client>,
    pub(crate) oracle: Oracle,
    pub(crate) phase: Phase,
    pub(crate) phase_since: Us,
    pub(crate) events: u64,
    /// A sum over all that has happened.
    pub(crate) fingerprint: u64,
    tracing: bool,
}

/// The wall clock when a run begins, ms since the Unix epoch.
const WALL_MS: i64 = 1_700_000_000_000;

/// More events than this, and something goes in circles.
const EVENTS_MAX: u64 = 3_000_000;

impl World {
    pub(crate) fn new(seed: u64, tracing: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = Plan::draw(&mut random, seed);
        let servers: Vec<_> = (0..plan.servers()).map(|node| Server::new(node, plan.members_of(node))).collect();
        let clients: Vec<_> = (0..plan.clients).map(|number| Client::new(plan.servers() + number)).collect();
        let oracle = Oracle::new(&plan);
        Self {
            now: 0,
            random,
            schedule: Schedule::default(),
            network: Network::new(plan.servers() + plan.clients),
            servers,
            clients,
            oracle,
            phase: Phase::Faults,
            phase_since: 0,
            events: 0,
            fingerprint: seed,
            tracing,
            plan,
        }
    }

    /// Runs to the end. Panics when an invariant is broken.
    pub(crate) fn run(&mut self) {
        self.trace(|world| world.plan.line());
        for node in 0..self.plan.servers() {
            let at = self.random.u64(0..50_000);
            self.schedule.at(at, Event::Start { node });
        }
        for client in 0..self.plan.clients {
            self.schedule.at(self.random.u64(0..200_000), Event::Client { client });
        }
        self.schedule.at(self.plan.fault_every, Event::Fault);
        self.schedule.at(self.plan.faults_until, Event::Check);
        while self.phase != Phase::Over {
            let Some((at, event)) = self.schedule.pop() else { panic!("[liveness] nothing happens any more") };
            self.now = at;
            self.events += 1;
            assert!(self.events < EVENTS_MAX, "[liveness] {EVENTS_MAX} events, and no end");
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { conn, from_end, piece } => self.deliver(conn, from_end, piece),
            Event::Release { conn, from_end } => self.release(conn, from_end),
            Event::Broken { conn, end } => self.give_up(conn, end),
            Event::Dialled { from, boot, to, purpose } => self.dialled(from, boot, to, purpose),
            Event::DialFailed { from, boot, to, purpose } => {
                if self.boot_of(from) == boot {
                    self.dial_failed(from, to, purpose);
                }
            }
            Event::Step { node, boot } if self.runs(node, boot) => self.step(node),
            Event::LogFlushed { node, boot } if self.runs(node, boot) => self.log_flushed(node),
            Event::LogRetry { node, boot } if self.runs(node, boot) => self.log_retry(node),
            Event::SnapshotStep { node, boot, walk } if self.runs(node, boot) => self.snapshot_step(node, walk),
            Event::DatabaseStep { node, boot, link } if self.runs(node, boot) => self.database_step(node, link),
            Event::LogRead { node, boot, link, from, until } if self.runs(node, boot) => {
                self.log_read(node, link, from, until);
            }
            Event::Notify { node, boot, to } if self.runs(node, boot) => self.notify_now(node, to),
            Event::Step { .. }
            | Event::LogFlushed { .. }
            | Event::LogRetry { .. }
            | Event::SnapshotStep { .. }
            | Event::DatabaseStep { .. }
            | Event::LogRead { .. }
            | Event::Notify { .. } => {}
            Event::Client { client } => self.client_turn(client),
            Event::Start { node } => self.start(node),
            Event::Resume { node } => self.resume(node),
            Event::Mend(Mending::Partition) => self.heal(),
            Event::Mend(Mending::Slow) => self.network.speed_up(),
            Event::Mend(Mending::Stall(node)) => self.servers[node].stalled = false,
            Event::Mend(Mending::Full(node)) => self.servers[node].disk.set_full(false),
            Event::Fault => self.fault(),
            Event::Check => self.check(),
        }
    }

    /// Whether this very process still runs.
    pub(crate) fn runs(&self, node: usize, boot: u32) -> bool {
        self.servers[node].process.as_ref().is_some_and(|process| process.boot == boot)
    }

    /// The number of the process on a machine. Clients have one for ever.
    pub(crate) fn boot_of(&self, node: usize) -> u32 {
        self.servers.get(node).map_or(0, |server| server.boots)
    }

    pub(crate) fn is_powered(&self, node: usize) -> bool {
        self.servers.get(node).is_none_or(|server| server.powered)
    }

    /// Whether somebody takes this kind of connection.
    pub(crate) fn accepts(&self, node: usize, purpose: Purpose) -> bool {
        let process = self.servers.get(node).and_then(|server| server.process.as_ref());
        process.is_some_and(|process| match purpose {
            Purpose::Follow(_, _, door) => process.listens == Some(door),
            Purpose::Election => true,
            Purpose::Client => !process.stopping,
        })
    }

    /// What time it is on a machine.
    pub(crate) fn clock(&self, node: usize) -> Now {
        let steady_ms = self.now / 1000;
        let offset = self.servers.get(node).map_or(0, |server| server.wall_offset_ms);
        Now { steady_ms: steady_ms + 1000, wall_ms: WALL_MS + steady_ms.cast_signed() + offset }
    }

    pub(crate) fn process(&mut self, node: usize) -> &mut Process {
        self.servers[node].process.as_mut().expect("a process that runs")
    }

    /// Both ends of a new connection are told.
    pub(crate) fn connected(&mut self, conn: ConnId, purpose: Purpose) {
        self.trace(|world| {
            let ends = &world.network.conns[conn].ends;
            format!("connection {conn} from {} to {} ({purpose:?})", world.name(ends[0].node), world.name(ends[1].node))
        });
        match self.network.conns[conn].kind {
            Kind::Election => self.election_connected(conn),
            Kind::Quorum(..) => self.quorum_connected(conn),
            Kind::Client => self.client_connected(conn),
        }
    }

    /// Bytes have come to one end.
    pub(crate) fn received(&mut self, conn: ConnId, end: usize, bytes: &[u8]) {
        self.note(conn as u64 * 2 + end as u64, u64::from(simd(bytes)));
        match self.network.conns[conn].kind {
            Kind::Election => self.election_bytes(conn, end, bytes),
            Kind::Quorum(..) => self.quorum_bytes(conn, end, bytes),
            Kind::Client if end == 0 => self.client_bytes(conn, bytes),
            Kind::Client => self.lane_bytes(conn, bytes),
        }
    }

    /// One end has learnt that its connection is gone.
    pub(crate) fn lost(&mut self, conn: ConnId, end: usize) {
        match self.network.conns[conn].kind {
            Kind::Election => self.election_lost(conn, end),
            Kind::Quorum(..) => self.quorum_lost(conn, end),
            Kind::Client if end == 0 => self.client_lost(conn),
            Kind::Client => self.lane_lost(conn),
        }
    }

    pub(crate) fn dial_failed(&mut self, from: usize, to: usize, purpose: Purpose) {
        match purpose {
            Purpose::Election => self.election_refused(from, to),
            Purpose::Follow(link, ..) => self.leader_refused(from, link),
            Purpose::Client => self.client_refused(from),
        }
    }

    /// Adds to the sum over all that has happened.
    pub(crate) fn note(&mut self, what: u64, value: u64) {
        let mixed = (self.fingerprint ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        self.fingerprint = (mixed ^ value ^ self.now).wrapping_mul(0xff51_afd7_ed55_8ccd);
    }

    pub(crate) fn name(&self, node: usize) -> String {
        if node < self.servers.len() {
            format!("S{}", sid(node).0)
        } else {
            format!("C{}", node - self.servers.len() + 1)
        }
    }

    /// Tells what happens, if somebody wants to know.
    #[expect(clippy::print_stdout, reason = "a trace is for people")]
    pub(crate) fn trace(&self, line: impl FnOnce(&Self) -> String) {
        if self.tracing {
            println!("{:>9.3} {}", self.now as f64 / 1e6, line(self));
        }
    }

    /// Whether somebody reads along.
    pub(crate) fn is_traced(&self) -> bool {
        self.tracing
    }

    pub(crate) fn enter(&mut self, phase: Phase) {
        self.trace(|_| format!("== {phase:?}"));
        (self.phase, self.phase_since) = (phase, self.now);
    }

    /// A machine's disk, to be used beside everything else.
    pub(crate) fn disk(&self, node: usize) -> Rc<super::disk::SimDisk> {
        Rc::clone(&self.servers[node].disk)
    }
}

fn simd(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
