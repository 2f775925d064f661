//! At most one server is ever established as the leader of an epoch, and it begins with all that was ever committed
//! (Zab, DSN 2011, sections 3 and 4: "primary order" and "primary integrity").

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
        true
    }

    /// What a leader begins with holds all that was committed. One that learns late that it was established, when a later
    /// epoch has begun already, began with something that is in that epoch's beginning.
    pub(super) fn has_all(&self, lineage: &Lineage, epoch: Epoch, last: Zxid, committed: Zxid) {
        match self.by_epoch.range(epoch + 1..).next().and_then(|(later, _)| lineage.base(*later)) {
            None => assert!(
                lineage.holds(last, committed),
                "[primary integrity] epoch {epoch} begins behind {last} and without {committed}, which was committed"
            ),
            Some(base) => assert!(
                lineage.holds(base, last),
                "[primary integrity] epoch {epoch} begins behind {last}, and a later one behind {base}, without that"
            ),
        }
    }
}
