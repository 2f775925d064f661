//! How a leader gets its epoch: a quorum promises to accept no older one (zab.md 3).

use std::collections::BTreeSet;

use super::election::Quorums;
use crate::ids::{Epoch, Sid};

/// Collects the epochs that servers have accepted, until a quorum has told; then the new epoch is above all of them.
#[derive(Clone, Debug)]
pub struct EpochAgreement {
    highest: Epoch,
    told: BTreeSet<Sid>,
    agreed: Option<Epoch>,
}

impl EpochAgreement {
    /// Begins with the leader's own accepted epoch.
    #[must_use]
    pub fn new(me: Sid, accepted: Epoch) -> Self {
        Self { highest: accepted, told: BTreeSet::from([me]), agreed: None }
    }

    /// A server tells its accepted epoch. Those that do not vote raise the epoch and do not count; those that come later
    /// change nothing.
    pub fn tell(&mut self, sid: Option<Sid>, accepted: Epoch) {
        if self.agreed.is_none() {
            self.highest = self.highest.max(accepted);
            self.told.extend(sid);
        }
    }

    /// The new epoch, once a quorum has told. `None` also when there is no epoch above all of them.
    pub fn agree(&mut self, quorums: Quorums<'_>) -> Option<Epoch> {
        if self.agreed.is_none() && quorums.is_quorum(|sid| self.told.contains(&sid)) {
            self.agreed = self.highest.checked_add(1);
        }
        self.agreed
    }
}
