//! Whatever one server commits, all commit, in one order (Zab, DSN 2011, section 3: "agreement" and "total order").

use zkd::ids::Zxid;

use super::lineage::Lineage;

/// The one sequence of committed txns: its end.
#[derive(Default)]
pub(crate) struct Agreement {
    pub(crate) committed: Zxid,
}

impl Agreement {
    /// A server has committed everything up to `zxid`. Returns what nobody had committed before.
    pub(super) fn commits(&mut self, lineage: &Lineage, name: &str, zxid: Zxid) -> Vec<Zxid> {
        if lineage.holds(self.committed, zxid) {
            return Vec::new();
        }
        assert!(
            lineage.holds(zxid, self.committed),
            "[agreement] {name} commits {zxid}, and {} was committed before: neither follows on the other",
            self.committed
        );
        let new = lineage.between(self.committed, zxid);
        self.committed = zxid;
        new
    }
}
