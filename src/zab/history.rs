//! The last committed txns, in memory: what a learner that was away for a moment is brought up to date from
//! (zab.md 4). And the decision what a learner is sent.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::Zxid;

/// A txn as it is logged: its zxid and its record.
pub type Logged = (Zxid, Bytes);

/// The window of committed txns that are kept.
#[derive(Debug)]
pub struct History {
    txns: VecDeque<Logged>,
    txns_max: usize,
    bytes: usize,
    /// For how many readers of the log on disk nothing may go meanwhile.
    holds: usize,
}

/// Above this the oldest go, whatever `commitLogCount` says.
const BYTES_MAX: usize = 64 << 20;

impl History {
    /// An empty window for `txns_max` txns (`zookeeper.commitLogCount`).
    #[must_use]
    pub fn new(txns_max: usize) -> Self {
        Self { txns: VecDeque::new(), txns_max, bytes: 0, holds: 0 }
    }

    /// Puts the next txn in.
    pub fn push(&mut self, zxid: Zxid, body: Bytes) {
        self.bytes += body.len();
        self.txns.push_back((zxid, body));
        self.trim();
    }

    fn trim(&mut self) {
        while self.bytes > BYTES_MAX || (self.holds == 0 && self.txns.len() > self.txns_max) {
            match self.txns.pop_front() {
                Some((_, body)) => self.bytes -= body.len(),
                None => return,
            }
        }
    }

    /// Somebody reads older txns from disk, and will go on with those that are here now: they stay.
    pub fn hold(&mut self) {
        self.holds += 1;
    }

    /// It has come to its end.
    pub fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
        self.trim();
    }

    /// Nobody reads any more.
    pub fn release_all(&mut self) {
        self.holds = 0;
        self.trim();
    }

    /// Forgets everything: what comes next does not follow on what was.
    pub fn clear(&mut self) {
        self.txns.clear();
        self.bytes = 0;
    }

    /// The oldest and the newest zxid; `None` when the window is empty.
    #[must_use]
    pub fn bounds(&self) -> Option<(Zxid, Zxid)> {
        Some((self.txns.front()?.0, self.txns.back()?.0))
    }

    /// The txns behind `zxid`, oldest first.
    pub fn behind(&self, zxid: Zxid) -> impl Iterator<Item = &Logged> {
        self.txns.range(self.txns.partition_point(|(of, _)| *of <= zxid)..)
    }

    fn position(&self, zxid: Zxid) -> Result<usize, usize> {
        self.txns.binary_search_by_key(&zxid, |(of, _)| *of)
    }
}

/// Who asks to be synchronised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Behind {
    /// The last txn in its log.
    pub zxid: Zxid,
    /// Whether it is a zkd: others forget wrongly when they are told to forget (storage.md 6).
    pub is_zkd: bool,
}

/// What a learner is sent first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// The txns behind `from`, up to `to`; all are in the window.
    Diff {
        /// What the learner has.
        from: Zxid,
        /// What it will have.
        to: Zxid,
    },
    /// Forget what is behind `to`; then the txns behind `to` from the window.
    Trunc {
        /// What both have.
        to: Zxid,
    },
    /// The whole database.
    Snap,
    /// The txns behind `from` are older than the window: try the log on disk, else the whole database.
    Log {
        /// What the learner has.
        from: Zxid,
        /// The oldest in the window.
        until: Zxid,
    },
}

/// Decides what a learner is sent, by the table of zab.md 4; `last` is the leader's last txn, or the beginning of its
/// epoch. Where the table leads others astray it says [`Plan::Snap`], which is always right (zab.md 12.1).
#[must_use]
pub fn plan(history: &History, last: Zxid, learner: Behind, force_snapshot: bool) -> Plan {
    let p = learner.zxid;
    if force_snapshot || p == Zxid(-1) {
        return Plan::Snap;
    }
    if p == last {
        return Plan::Diff { from: p, to: p };
    }
    if p == Zxid::ZERO {
        // It has nothing: the log, even if it is all there, is longer than the database.
        return Plan::Snap;
    }
    let (min, max) = history.bounds().unwrap_or((last, last));
    if history.bounds().is_none() && p < last {
        // Nothing is in the window, and so the last txn has to come from the log as well.
        return last.next().map_or(Plan::Snap, |until| Plan::Log { from: p, until });
    }
    if p > max {
        if p.counter() == 0 {
            // It has seen the beginning of an epoch that this leader has not.
            return Plan::Snap;
        }
        return forget(max, p, learner);
    }
    if p < min {
        return Plan::Log { from: p, until: min };
    }
    match history.position(p) {
        Ok(_) => Plan::Diff { from: p, to: max },
        Err(_) if p.counter() == 0 => Plan::Diff { from: p, to: max },
        Err(at) => {
            let before = at.checked_sub(1).and_then(|at| history.txns.get(at)).map(|(zxid, _)| *zxid);
            before.map_or(Plan::Snap, |before| forget(before, p, learner))
        }
    }
}

/// TRUNC only within one epoch, never to its very beginning, and only to a learner that does it right.
fn forget(to: Zxid, p: Zxid, learner: Behind) -> Plan {
    if learner.is_zkd && to.epoch() == p.epoch() && to.counter() != 0 { Plan::Trunc { to } } else { Plan::Snap }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
