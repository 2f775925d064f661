//! When the next snapshot is due.

use super::rules::SnapshotRules;

/// Counts towards the next snapshot. Part of each limit is chance, so that servers do not write theirs together.
#[derive(Debug)]
pub(super) struct SnapshotClock {
    rules: SnapshotRules,
    random: fastrand::Rng,
    txns: u64,
    bytes: u64,
    txns_limit: u64,
    bytes_limit: u64,
}

impl SnapshotClock {
    pub(super) fn new(rules: SnapshotRules, replayed_txns: u64, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let mut clock = Self { rules, random, txns: 0, bytes: 0, txns_limit: 0, bytes_limit: 0 };
        clock.begun();
        clock.txns = replayed_txns;
        clock
    }

    pub(super) fn begun(&mut self) {
        (self.txns, self.bytes) = (0, 0);
        let mut limit = |whole: u64| whole / 2 + self.random.u64(0..(whole / 2).max(1));
        (self.txns_limit, self.bytes_limit) = (limit(self.rules.txns), limit(self.rules.bytes));
    }

    pub(super) const fn logged(&mut self, bytes: u64) {
        self.txns += 1;
        self.bytes += bytes;
    }

    pub(super) const fn is_due(&self) -> bool {
        self.txns > self.txns_limit || (self.rules.bytes > 0 && self.bytes > self.bytes_limit)
    }
}
