//! What a seed decides before anything happens: who takes part, how fast everything is, and what may go wrong. Each run
//! leaves some faults out altogether, because one that happens all the time hides what the others would find.

use zkd::config::{ServerRole, ServerSpec};
use zkd::ids::Sid;
use zkd::zab::Ensemble;

use super::schedule::{Us, ms};

/// Faults, by how often they are chosen.
#[derive(Clone, Debug)]
pub(crate) struct FaultWeights {
    pub(crate) kill: u32,
    pub(crate) power_off: u32,
    pub(crate) stop: u32,
    pub(crate) pause: u32,
    pub(crate) partition: u32,
    pub(crate) cut: u32,
    pub(crate) slow: u32,
    pub(crate) clock: u32,
    pub(crate) stall: u32,
    pub(crate) full: u32,
    pub(crate) failed_flush: u32,
    pub(crate) fuse: u32,
    pub(crate) crash_amid_outputs: u32,
    pub(crate) client: u32,
    pub(crate) all_down: u32,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) voters: usize,
    pub(crate) observers: usize,
    /// Servers that are outside of the ensemble when it begins.
    pub(crate) spares: usize,
    /// Clients change who is in the ensemble.
    pub(crate) reconfigures: bool,
    /// A reconfiguration must leave two voters.
    pub(crate) standalone_enabled: bool,
    pub(crate) clients: usize,
    pub(crate) ensemble: Ensemble,
    pub(crate) tick_ms: u64,
    pub(crate) init_limit: u32,
    pub(crate) sync_limit: u32,
    pub(crate) finalize_ms: u64,
    pub(crate) history_txns: usize,
    pub(crate) sync_from_log: bool,
    pub(crate) force_snapshot: bool,
    pub(crate) leader_serves: bool,
    /// Observers keep a log of their own.
    pub(crate) observer_writes: bool,
    /// Observers learn from followers.
    pub(crate) observer_masters: bool,
    pub(crate) snapshot_txns: u64,
    /// Mean time through the network.
    pub(crate) latency: Us,
    /// Mean time of a flush.
    pub(crate) flush: Us,
    /// Mean time between two requests of a client.
    pub(crate) think: Us,
    /// Log files grow ahead, with zeros.
    pub(crate) padded: bool,
    /// Until when things go wrong.
    pub(crate) faults_until: Us,
    /// Mean time between two faults.
    pub(crate) fault_every: Us,
    /// Mean time of a fault, and of a server that is down.
    pub(crate) fault_lasts: Us,
    pub(crate) weights: FaultWeights,
    /// Of a hundred faults that hit one server, how many look for the leader.
    pub(crate) aim_at_leader: u32,
}

impl Plan {
    /// Draws a plan.
    pub(crate) fn draw(random: &mut fastrand::Rng, seed: u64) -> Self {
        // Whether members change is drawn beside the rest, so that the others' stories stay as they were.
        let mut beside = fastrand::Rng::with_seed(!seed);
        let reconfigures = beside.u32(0..5) < 2;
        let observer_masters = fastrand::Rng::with_seed(seed ^ MASTERS).u32(0..3) > 0;
        let voters = *pick(random, &[3, 3, 3, 3, 3, 5, 5, 5, 7]);
        let observers = *pick(random, &[0, 0, 0, 1, 1, 2]);
        let tick_ms = *pick(random, &[50, 100, 200]);
        let mut weight = |chance: u32, most: u32| if random.u32(0..100) < chance { random.u32(1..=most) } else { 0 };
        let weights = FaultWeights {
            kill: weight(70, 6),
            power_off: weight(80, 8),
            stop: weight(30, 3),
            pause: weight(50, 4),
            partition: weight(70, 8),
            cut: weight(60, 6),
            slow: weight(30, 3),
            clock: weight(30, 2),
            stall: weight(40, 4),
            full: weight(20, 2),
            failed_flush: weight(25, 2),
            fuse: weight(50, 6),
            crash_amid_outputs: weight(50, 6),
            client: weight(60, 4),
            all_down: weight(15, 1),
        };
        Self {
            voters,
            observers,
            spares: if reconfigures { beside.usize(0..=2) } else { 0 },
            reconfigures,
            standalone_enabled: beside.bool(),
            clients: random.usize(2..=4),
            ensemble: ensemble(voters, observers),
            tick_ms,
            init_limit: random.u32(5..=10),
            sync_limit: random.u32(3..=6),
            finalize_ms: *pick(random, &[10, 50, 200]),
            history_txns: *pick(random, &[3, 10, 50, 500]),
            sync_from_log: random.u32(0..4) > 0,
            force_snapshot: random.u32(0..10) == 0,
            leader_serves: random.u32(0..8) > 0,
            observer_writes: random.u32(0..4) > 0,
            observer_masters,
            snapshot_txns: *pick(random, &[8, 30, 100, 10_000]),
            latency: *pick(random, &[100, 500, 2000, 8000]),
            flush: *pick(random, &[50, 500, 2000, 10_000]),
            think: *pick(random, &[10, 30, 80]) * 1000,
            padded: random.bool(),
            faults_until: ms(tick_ms * random.u64(30..120)),
            fault_every: ms(tick_ms * random.u64(2..12)),
            fault_lasts: ms(tick_ms * random.u64(2..15)),
            weights,
            aim_at_leader: *pick(random, &[20, 50, 80]),
        }
    }

    pub(crate) const fn servers(&self) -> usize {
        self.voters + self.observers + self.spares
    }

    /// The members that a server begins with. One that is outside knows the others, and itself beside them.
    pub(crate) fn members_of(&self, node: usize) -> Ensemble {
        if node < self.voters + self.observers {
            return self.ensemble.clone();
        }
        let role = if node.is_multiple_of(2) { ServerRole::Participant } else { ServerRole::Observer };
        let others = self.ensemble.servers().map(|(_, server)| server.clone());
        Ensemble::new(0, others.chain([server(node, role, 2000)]))
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} voters, {} observers{}, {} outside, {} clients, tick {} ms, window {} txns, snapshot every {}, network {} us, flush {} us",
            self.voters,
            self.observers,
            if self.observer_masters { " with masters" } else { "" },
            self.spares,
            self.clients,
            self.tick_ms,
            self.history_txns,
            self.snapshot_txns,
            self.latency,
            self.flush
        )
    }
}

/// Draws observer masters beside the rest as well.
const MASTERS: u64 = 0x6d61_7374_6572_7300;

/// A server's number.
pub(crate) fn sid(node: usize) -> Sid {
    Sid(u8::try_from(node + 1).expect("a small ensemble"))
}

/// A server's machine.
pub(crate) fn node(sid: Sid) -> usize {
    usize::from(sid.0) - 1
}

/// One of several.
pub(crate) fn pick<'a, T>(random: &mut fastrand::Rng, of: &'a [T]) -> &'a T {
    &of[random.usize(0..of.len())]
}

/// A server's line. Its quorum port is near `port`.
pub(crate) fn server(node: usize, role: ServerRole, port: usize) -> ServerSpec {
    let line = format!("127.0.0.1:{}:{}:{role};{}", port + node, 3000 + node, 4000 + node);
    ServerSpec::parse(sid(node).0, &line).expect("a server's line")
}

fn ensemble(voters: usize, observers: usize) -> Ensemble {
    let role = |node| if node < voters { ServerRole::Participant } else { ServerRole::Observer };
    Ensemble::new(0, (0..voters + observers).map(|node| server(node, role(node), 2000)))
}
