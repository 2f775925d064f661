//! What is committed is on the stable storage of a quorum, and what a disk once had for good is there after any crash
//! (Zab, DSN 2011, section 4; zab.md 5 and 6; ZOOKEEPER-3911, -4646, -4785).

use zkd::ids::Zxid;
use zkd::zab::Ensemble;

use super::super::plan::node;
use super::lineage::Lineage;

/// What each server's log holds, and what of it no crash can take.
pub(crate) struct Durability {
    /// The end of each log, flushed or not.
    pub(super) logged: Vec<Zxid>,
    pub(super) durable: Vec<Zxid>,
    /// Where a log is being cut to, or whose database takes its place.
    cutting: Vec<Option<Zxid>>,
}

impl Durability {
    pub(super) fn new(servers: usize) -> Self {
        let zero = vec![Zxid::ZERO; servers];
        Self { logged: zero.clone(), durable: zero, cutting: vec![None; servers] }
    }

    /// A server has come back with a log that ends with `zxid`.
    pub(super) fn recovered(&mut self, lineage: &Lineage, node: usize, zxid: Zxid) {
        let durable = self.durable[node];
        let cut = self.cutting[node].take();
        assert!(
            lineage.holds(zxid, durable) || cut.is_some_and(|cut| lineage.holds(zxid, cut)),
            "[durability] server {} comes back with {zxid}, and {durable} was flushed",
            node + 1
        );
        (self.logged[node], self.durable[node]) = (zxid, zxid);
    }

    /// A flush has returned.
    pub(super) fn flushed(&mut self, node: usize, zxid: Zxid) {
        self.durable[node] = self.durable[node].max(zxid);
    }

    /// The log is about to be cut: whatever is above may go.
    pub(super) fn cutting(&mut self, node: usize, zxid: Zxid) {
        self.cutting[node] = Some(zxid);
    }

    /// The log has been cut.
    pub(super) fn cut(&mut self, lineage: &Lineage, node: usize, zxid: Zxid) {
        assert!(
            lineage.holds(self.logged[node], zxid),
            "[durability] server {} is cut to {zxid}, and its log with {} does not lead there",
            node + 1,
            self.logged[node]
        );
        self.cutting[node] = None;
        (self.logged[node], self.durable[node]) = (zxid, zxid);
    }

    /// A leader's database takes the place of a server's own: what it had may go once that is on disk.
    pub(super) fn installed(&mut self, node: usize, zxid: Zxid) {
        self.logged[node] = zxid;
        self.cutting[node] = Some(zxid);
    }

    /// A snapshot of the state behind `zxid` is on disk.
    pub(super) fn snapshot(&mut self, lineage: &Lineage, node: usize, zxid: Zxid) {
        let is_installed = self.cutting[node].take_if(|cut| *cut == zxid).is_some();
        if is_installed || !lineage.holds(self.durable[node], zxid) {
            self.durable[node] = zxid;
        }
    }

    /// Something is committed: a quorum of the voters has it for good, in each configuration that counts.
    pub(super) fn committed(&self, lineage: &Lineage, name: &str, zxid: Zxid, members: &[Ensemble]) {
        for members in members {
            assert!(
                members.is_quorum(|sid| lineage.holds(self.durable[node(sid)], zxid)),
                "[durability] {name} commits {zxid}, which no quorum of {} has flushed: {:?}",
                members.text().replace('\n', " "),
                self.durable
            );
        }
    }
}
