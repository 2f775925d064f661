//! At most one server is ever established as the leader of an epoch, later leaders have later epochs, and each begins
//! with all that was ever committed (Zab, DSN 2011, sections 3 and 4: "primary order", "primary integrity"; the
//! properties that PO atomic broadcast needs for recovery).

use std::collections::BTreeMap;

use zkd::ids::{Epoch, Zxid};

use super::lineage::Lineage;

/// Who was established when.
#[derive(Default)]
pub(crate) struct Leaders {
    by_epoch: BTreeMap<Epoch, usize>,
}

impl Leaders {
    /// Whether a server leads this epoch.
    pub(super) fn leads(&self, node: usize, epoch: Epoch) -> bool {
        self.by_epoch.get(&epoch) == Some(&node)
    }

    /// The newest epoch, and who leads it.
    pub(crate) fn newest(&self) -> Option<(Epoch, usize)> {
        self.by_epoch.last_key_value().map(|(epoch, node)| (*epoch, *node))
    }

    /// A server says that it leads. True when that is new.
    pub(super) fn established(&mut self, node: usize, epoch: Epoch, is_told_before: bool) -> bool {
        if is_told_before {
            assert!(self.leads(node, epoch), "[one leader] another server leads epoch {epoch} all of a sudden");
            return false;
        }
        let before = self.by_epoch.insert(epoch, node);
        assert!(before.is_none(), "[one leader] epoch {epoch} was led before");
        let newest = self.by_epoch.last_key_value().map(|(epoch, _)| *epoch);
        assert_eq!(newest, Some(epoch), "[one leader] epoch {epoch} begins behind a later one");
        true
    }

    /// What a leader begins with holds all that was committed.
    pub(super) fn has_all(lineage: &Lineage, epoch: Epoch, last: Zxid, committed: Zxid) {
        assert!(
            lineage.holds(last, committed),
            "[primary integrity] epoch {epoch} begins behind {last} and without {committed}, which was committed"
        );
    }
}
