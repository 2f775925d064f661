//! What goes wrong: one thing at a time, drawn from the plan's weights, at times that chance chooses.

use super::network::Kind;
use super::plan::pick;
use super::schedule::{Event, Mending, Us, ms};
use super::server::Death;
use super::world::{Phase, World};

/// What can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Kill,
    PowerOff,
    Stop,
    Pause,
    Partition,
    Cut,
    Slow,
    Clock,
    Stall,
    Full,
    FailedFlush,
    Fuse,
    CrashAmidOutputs,
    Client,
    AllDown,
}

impl World {
    /// The next fault, and the one after it.
    pub(crate) fn fault(&mut self) {
        if self.phase != Phase::Faults {
            return;
        }
        let pause = self.random.u64(0..self.plan.fault_every * 2);
        self.schedule.at(self.now + pause + 1, Event::Fault);
        let Some(fault) = self.draw_fault() else { return };
        self.trace(|_| format!("-- {fault:?}"));
        self.note(99, fault as u64);
        match fault {
            Fault::Kill => self.kill(Death::Kill),
            Fault::PowerOff => self.kill(Death::PowerCut),
            Fault::Stop => self.stop(),
            Fault::Pause => self.pause(),
            Fault::Partition => self.partition(),
            Fault::Cut => self.cut_something(),
            Fault::Slow => self.slow_down(),
            Fault::Clock => {
                let node = self.victim();
                self.servers[node].wall_offset_ms += self.random.i64(-100_000..100_000);
            }
            Fault::Stall => {
                let node = self.victim();
                self.servers[node].stalled = true;
                self.mend_later(Mending::Stall(node));
            }
            Fault::Full => {
                let node = self.victim();
                self.servers[node].disk.set_full(true);
                self.mend_later(Mending::Full(node));
            }
            Fault::FailedFlush => {
                let node = self.victim();
                self.servers[node].fails_flush = self.servers[node].process.is_some();
            }
            Fault::Fuse => {
                let node = self.victim();
                self.servers[node].disk.set_fuse(Some(self.random.u32(0..30)));
            }
            Fault::CrashAmidOutputs => {
                let node = self.victim();
                self.servers[node].dies_behind = Some(self.random.u32(0..60));
            }
            Fault::Client => {
                let client = self.random.usize(0..self.clients.len());
                self.client_dies(client);
            }
            Fault::AllDown => {
                for node in 0..self.servers.len() {
                    if self.servers[node].process.is_some() {
                        self.die(node, Death::PowerCut);
                    }
                }
            }
        }
    }

    fn draw_fault(&mut self) -> Option<Fault> {
        let weights = &self.plan.weights;
        let table = [
            (weights.kill, Fault::Kill),
            (weights.power_off, Fault::PowerOff),
            (weights.stop, Fault::Stop),
            (weights.pause, Fault::Pause),
            (weights.partition, Fault::Partition),
            (weights.cut, Fault::Cut),
            (weights.slow, Fault::Slow),
            (weights.clock, Fault::Clock),
            (weights.stall, Fault::Stall),
            (weights.full, Fault::Full),
            (weights.failed_flush, Fault::FailedFlush),
            (weights.fuse, Fault::Fuse),
            (weights.crash_amid_outputs, Fault::CrashAmidOutputs),
            (weights.client, Fault::Client),
            (weights.all_down, Fault::AllDown),
        ];
        let total: u32 = table.iter().map(|(weight, _)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut at = self.random.u32(0..total);
        table.into_iter().find_map(|(weight, fault)| {
            let hit = at < weight;
            at = at.saturating_sub(weight);
            hit.then_some(fault)
        })
    }

    fn lasts(&mut self) -> Us {
        self.random.u64(ms(1)..self.plan.fault_lasts.max(ms(2)) * 2)
    }

    fn mend_later(&mut self, mending: Mending) {
        let at = self.now + self.lasts();
        self.schedule.at(at, Event::Mend(mending));
    }

    /// Somebody; the leader more often than others.
    fn victim(&mut self) -> usize {
        let leader = self.oracle.leaders.newest().map(|(_, node)| node);
        match leader {
            Some(leader) if self.random.u32(0..100) < self.plan.aim_at_leader => leader,
            Some(_) | None => self.random.usize(0..self.servers.len()),
        }
    }

    fn kill(&mut self, death: Death) {
        let node = self.victim();
        if self.servers[node].process.is_some() {
            self.die(node, death);
        }
    }

    fn stop(&mut self) {
        let node = self.victim();
        if self.servers[node].process.is_some() && !self.servers[node].paused {
            self.trace(|world| format!("{} is told to stop", world.name(node)));
            self.process(node).stopping = true;
            self.give(node, zkd::peer::Input::Stop);
        }
    }

    fn pause(&mut self) {
        let node = self.victim();
        if self.servers[node].process.is_some() && !self.servers[node].paused {
            self.trace(|world| format!("{} pauses", world.name(node)));
            self.servers[node].paused = true;
            let at = self.now + self.lasts();
            self.schedule.at(at, Event::Resume { node });
        }
    }

    fn partition(&mut self) {
        let nodes = self.servers.len() + self.clients.len();
        let servers = self.servers.len();
        match self.random.u32(0..5) {
            // Two sides.
            0 | 1 => {
                let sides: Vec<bool> = (0..nodes).map(|_| self.random.bool()).collect();
                self.block(|from, to| sides[from] != sides[to]);
            }
            // One server alone, perhaps in one direction only.
            2 => {
                let (node, way) = (self.victim(), self.random.u32(0..3));
                self.block(|from, to| (from == node && way != 1) || (to == node && way != 2));
            }
            // Two sides, and one server that reaches both.
            3 => {
                let bridge = self.random.usize(0..servers);
                let sides: Vec<bool> = (0..nodes).map(|_| self.random.bool()).collect();
                self.block(|from, to| from != bridge && to != bridge && sides[from] != sides[to]);
            }
            // Single links, in single directions.
            _ => {
                let bad: Vec<(usize, usize)> =
                    (0..3).map(|_| (self.random.usize(0..servers), self.random.usize(0..nodes))).collect();
                self.block(|from, to| bad.contains(&(from, to)));
            }
        }
        self.mend_later(Mending::Partition);
    }

    fn block(&mut self, is_blocked: impl Fn(usize, usize) -> bool) {
        let nodes = self.servers.len() + self.clients.len();
        for from in 0..nodes {
            for to in (0..nodes).filter(|to| *to != from && is_blocked(from, *to)) {
                self.network.block(from, to);
            }
        }
    }

    fn cut_something(&mut self) {
        let open = |(id, conn): (usize, &super::network::Conn)| {
            (conn.ends[0].open && conn.ends[1].open).then_some((id, conn.kind == Kind::Client))
        };
        let conns: Vec<_> = self.network.conns.iter().enumerate().filter_map(open).collect();
        if !conns.is_empty() {
            let (conn, _) = *pick(&mut self.random, &conns);
            self.trace(|_| format!("connection {conn} breaks"));
            self.cut(conn);
        }
    }

    fn slow_down(&mut self) {
        let nodes = self.servers.len() + self.clients.len();
        let node = self.victim();
        for other in 0..nodes {
            let by = self.random.u64(0..ms(self.plan.tick_ms * 2));
            if self.random.bool() {
                self.network.slow_down(node, other, by);
            }
            if self.random.bool() {
                self.network.slow_down(other, node, by);
            }
        }
        self.mend_later(Mending::Slow);
    }
}
