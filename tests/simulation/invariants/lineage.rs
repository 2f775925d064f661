//! Integrity: one zxid is one txn, made by the one leader of its epoch (Zab, DSN 2011, section 3: "integrity").
//!
//! Then the logs of all servers are paths in one tree, and the last zxid of a log tells all that is before it. The other
//! invariants stand on that.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use zkd::ids::{Epoch, Zxid};

/// All txns that were ever in a log, and what came before each.
#[derive(Default)]
pub(crate) struct Lineage {
    bodies: HashMap<Zxid, Bytes>,
    /// The last txn before each epoch.
    bases: BTreeMap<Epoch, Zxid>,
}

impl Lineage {
    /// An epoch begins behind `last`.
    pub(super) fn begin(&mut self, epoch: Epoch, last: Zxid) {
        self.bases.insert(epoch, last);
    }

    /// The txn that a zxid stands for: the beginning of an epoch is the last txn before it.
    pub(crate) fn canonical(&self, zxid: Zxid) -> Zxid {
        if zxid.counter() != 0 || zxid == Zxid::ZERO {
            return zxid;
        }
        match self.bases.get(&zxid.epoch()) {
            Some(base) => *base,
            None => panic!("[integrity] {zxid} is the beginning of an epoch that never began"),
        }
    }

    /// The last txn before an epoch, once that has begun.
    pub(super) fn base(&self, epoch: Epoch) -> Option<Zxid> {
        self.bases.get(&epoch).copied()
    }

    /// What comes before a txn.
    fn before(&self, zxid: Zxid) -> Zxid {
        if zxid.counter() > 1 {
            return Zxid(zxid.0 - 1);
        }
        match self.bases.get(&zxid.epoch()) {
            Some(base) => *base,
            None => panic!("[integrity] {zxid} is of an epoch that never began"),
        }
    }

    /// Whether a log that ends with `later` holds `earlier`.
    pub(crate) fn holds(&self, mut later: Zxid, earlier: Zxid) -> bool {
        while later > earlier {
            if later.epoch() == earlier.epoch() {
                return true;
            }
            later = self.before(Zxid::new(later.epoch(), 1));
        }
        later == earlier
    }

    /// The txns behind `from` up to `to`, oldest first.
    pub(super) fn between(&self, from: Zxid, to: Zxid) -> Vec<Zxid> {
        let mut txns = Vec::new();
        let mut at = to;
        while at > from {
            txns.push(at);
            at = self.before(at);
        }
        assert_eq!(at, from, "[agreement] {to} does not follow on {from}");
        txns.reverse();
        txns
    }

    /// A txn is proposed. `leads` tells whether that server leads the txn's epoch.
    pub(super) fn proposed(&mut self, name: &str, leads: bool, zxid: Zxid, body: &Bytes) {
        match self.bodies.get(&zxid) {
            Some(known) => assert!(known == body, "[integrity] {name} has another {zxid} than was proposed"),
            None => {
                assert!(leads, "[integrity] {name} has {zxid}, which its leader has not");
                self.bodies.insert(zxid, body.clone());
            }
        }
    }

    /// A txn comes into a log behind `last`.
    pub(super) fn appended(&mut self, name: &str, leads: bool, last: Zxid, zxid: Zxid, body: &Bytes) {
        let before = self.before(zxid);
        assert_eq!(before, last, "[total order] {name} appends {zxid} behind {last}");
        self.proposed(name, leads, zxid, body);
    }

    /// A txn's record.
    pub(super) fn body(&self, zxid: Zxid) -> Bytes {
        self.bodies[&zxid].clone()
    }
}
