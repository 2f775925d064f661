//! Members change by txns of the one sequence, and what is committed needs a quorum of each configuration that counts at
//! that txn: of the old and the new one for the change itself, of the new one behind it (zab.md 11; Shraer, Reed, Malkhi,
//! Junqueira: "Dynamic Reconfiguration of Primary/Backup Clusters", USENIX ATC 2012, section 3).

use zkd::ids::Zxid;
use zkd::zab::{Ensemble, reconfiguration};

use super::lineage::Lineage;

/// Who is in the ensemble.
pub(crate) struct Members {
    /// What the last committed change has made of it.
    pub(crate) in_force: Ensemble,
}

impl Members {
    pub(super) fn new(begin: Ensemble) -> Self {
        Self { in_force: begin }
    }

    /// What a txn changes.
    fn change(lineage: &Lineage, zxid: Zxid) -> Option<Ensemble> {
        reconfiguration(&lineage.body(zxid)).expect("a reconfiguration to something")
    }

    /// Whose quorums have to have a history up to `last`, of which `committed` was known to be committed.
    pub(super) fn of(&self, lineage: &Lineage, committed: Zxid, last: Zxid) -> Vec<Ensemble> {
        let mut changes: Vec<_> = vec![self.in_force.clone()];
        if lineage.holds(last, committed) {
            let behind = lineage.between(committed, last);
            changes.extend(behind.into_iter().rev().find_map(|zxid| Self::change(lineage, zxid)));
        }
        changes
    }

    /// A txn is committed: whose quorums have to have it. Behind a change others count.
    pub(super) fn committed(&mut self, lineage: &Lineage, zxid: Zxid) -> Vec<Ensemble> {
        let before = self.in_force.clone();
        match Self::change(lineage, zxid) {
            Some(next) => {
                self.in_force = next.clone();
                vec![before, next]
            }
            None => vec![before],
        }
    }
}
