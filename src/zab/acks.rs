//! Which proposals a quorum has made durable (zab.md 7).

use std::collections::BTreeMap;

use super::{Membership, Quorums};
use crate::ids::{Sid, Zxid};

/// How far each voter's log is known to be durable. An ACK stands for its txn and all before it.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    durable: BTreeMap<Sid, Zxid>,
}

impl Acks {
    /// Notes an ACK. Old ones change nothing.
    pub fn note(&mut self, sid: Sid, zxid: Zxid) {
        let known = self.durable.entry(sid).or_insert(zxid);
        *known = zxid.max(*known);
    }

    /// A voter is gone: what it has acknowledged counts again only once it says so again.
    pub fn forget(&mut self, sid: Sid) {
        self.durable.remove(&sid);
    }

    /// The highest zxid that is durable on a quorum, of each configuration that it needs. Where those that a
    /// reconfiguration proposes have no quorum yet, that is the txn before it.
    #[must_use]
    pub fn committed(&self, membership: &Membership) -> Option<Zxid> {
        let Some(reconfig) = membership.pending() else { return self.durable_on(membership.quorums()) };
        let before = Zxid(reconfig.0 - 1);
        let with = self.durable_on(membership.quorums_of(reconfig)).filter(|upto| *upto >= reconfig);
        with.or_else(|| self.durable_on(membership.quorums_of(before)).map(|upto| upto.min(before)))
    }

    fn durable_on(&self, quorums: Quorums<'_>) -> Option<Zxid> {
        let is_durable = |zxid: Zxid| quorums.is_quorum(|sid| self.durable.get(&sid).is_some_and(|upto| *upto >= zxid));
        self.durable.values().copied().filter(|zxid| is_durable(*zxid)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerSpec;
    use crate::zab::Ensemble;

    fn ensemble(version: i64, ids: &[u8]) -> Ensemble {
        Ensemble::new(version, ids.iter().filter_map(|id| ServerSpec::parse(*id, "h:1:2")))
    }

    #[test]
    fn a_txn_is_committed_once_a_quorum_has_it_and_all_before_it() {
        let ensemble = ensemble(0, &[1, 2, 3, 4, 5]);
        let membership = Membership::settled(ensemble);
        let mut acks = Acks::default();
        acks.note(Sid(1), Zxid(9));
        acks.note(Sid(2), Zxid(7));
        assert_eq!(acks.committed(&membership), None);
        acks.note(Sid(3), Zxid(4));
        assert_eq!(acks.committed(&membership), Some(Zxid(4)));
        acks.note(Sid(4), Zxid(8));
        assert_eq!(acks.committed(&membership), Some(Zxid(7)));
        acks.note(Sid(4), Zxid(2));
        assert_eq!(acks.committed(&membership), Some(Zxid(7)));
        acks.forget(Sid(1));
        assert_eq!(acks.committed(&membership), Some(Zxid(4)));
    }

    #[test]
    fn from_a_reconfiguration_on_two_quorums_have_to_have_it() {
        let mut membership = Membership::settled(ensemble(0, &[1, 2, 3]));
        membership.propose(ensemble(5, &[3, 4, 5]));
        let mut acks = Acks::default();
        for (sid, zxid) in [(1, 9), (2, 8), (4, 3)] {
            acks.note(Sid(sid), Zxid(zxid));
        }
        assert_eq!(acks.committed(&membership), Some(Zxid(4)), "what was proposed before needs the old one alone");
        acks.note(Sid(5), Zxid(7));
        assert_eq!(acks.committed(&membership), Some(Zxid(4)), "one of three is no quorum");
        acks.note(Sid(4), Zxid(6));
        assert_eq!(acks.committed(&membership), Some(Zxid(6)));
        membership.commit(Zxid(6));
        acks.note(Sid(3), Zxid(7));
        assert_eq!(acks.committed(&membership), Some(Zxid(7)), "and then the new one alone");
    }
}
