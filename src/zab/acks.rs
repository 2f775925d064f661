//! Which proposals a quorum has made durable (zab.md 7).

use std::collections::BTreeMap;

use super::election::Quorums;
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

    /// The highest zxid that is durable on a quorum.
    #[must_use]
    pub fn committed(&self, quorums: Quorums<'_>) -> Option<Zxid> {
        let is_durable = |zxid: Zxid| quorums.is_quorum(|sid| self.durable.get(&sid).is_some_and(|upto| *upto >= zxid));
        self.durable.values().copied().filter(|zxid| is_durable(*zxid)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerSpec;
    use crate::zab::Ensemble;

    fn ensemble(servers: u8) -> Ensemble {
        Ensemble::new(0, (1..=servers).filter_map(|id| ServerSpec::parse(id, "h:1:2")))
    }

    #[test]
    fn a_txn_is_committed_once_a_quorum_has_it_and_all_before_it() {
        let ensemble = ensemble(5);
        let quorums = Quorums { committed: &ensemble, proposed: None };
        let mut acks = Acks::default();
        acks.note(Sid(1), Zxid(9));
        acks.note(Sid(2), Zxid(7));
        assert_eq!(acks.committed(quorums), None);
        acks.note(Sid(3), Zxid(4));
        assert_eq!(acks.committed(quorums), Some(Zxid(4)));
        acks.note(Sid(4), Zxid(8));
        assert_eq!(acks.committed(quorums), Some(Zxid(7)));
        acks.note(Sid(4), Zxid(2));
        assert_eq!(acks.committed(quorums), Some(Zxid(7)));
        acks.forget(Sid(1));
        assert_eq!(acks.committed(quorums), Some(Zxid(4)));
    }

    #[test]
    fn who_does_not_vote_does_not_count() {
        let ensemble = ensemble(3);
        let smaller = Ensemble::new(1, ServerSpec::parse(1, "h:1:2"));
        let mut acks = Acks::default();
        acks.note(Sid(2), Zxid(3));
        acks.note(Sid(3), Zxid(3));
        let quorums = Quorums { committed: &ensemble, proposed: Some(&smaller) };
        assert_eq!(acks.committed(quorums), None, "the next configuration has a quorum of its own");
        acks.note(Sid(1), Zxid(2));
        assert_eq!(acks.committed(quorums), Some(Zxid(2)));
    }
}
