//! The members of an ensemble as one server knows them: while a reconfiguration is under way there are two sets of them,
//! and whatever needs a quorum needs one of each (zab.md 11).

use super::{Ensemble, Quorums};
use crate::config::ServerSpec;
use crate::ids::{Sid, Zxid};

/// Who the members are, and who they will be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership {
    /// Those in force.
    pub committed: Ensemble,
    /// Those of a reconfiguration that this server has seen and does not know to be committed.
    pub proposed: Option<Ensemble>,
    /// Those that a voter in force has in its log as proposed, and this server has not. They decide nothing here; but one of
    /// them may be the only server that can lead, and then this one has to know where it is.
    pub rumoured: Option<Ensemble>,
}

impl Membership {
    /// Members whom no reconfiguration is about to change.
    #[must_use]
    pub const fn settled(committed: Ensemble) -> Self {
        Self { committed, proposed: None, rumoured: None }
    }

    /// What a quorum is, for whatever is no txn: votes, epochs, who follows.
    #[must_use]
    pub fn quorums(&self) -> Quorums<'_> {
        let rumoured = self.rumoured.as_ref().filter(|rumoured| rumoured.version() > self.newest().version());
        Quorums { committed: &self.committed, proposed: self.proposed.as_ref(), rumoured }
    }

    /// What a quorum is for this txn: from a reconfiguration on, itself included, one of both. Once that is committed,
    /// those in force are enough again: whoever leads next must have it in its log, and so knows whom to ask.
    #[must_use]
    pub fn quorums_of(&self, txn: Zxid) -> Quorums<'_> {
        let proposed = self.proposed.as_ref().filter(|proposed| proposed.zxid() <= txn);
        Quorums { committed: &self.committed, proposed, rumoured: None }
    }

    /// The txn that proposes the members to be, if there are such.
    #[must_use]
    pub fn pending(&self) -> Option<Zxid> {
        self.proposed.as_ref().map(Ensemble::zxid)
    }

    /// The newest members that this server has seen.
    #[must_use]
    pub fn newest(&self) -> &Ensemble {
        self.proposed.as_ref().unwrap_or(&self.committed)
    }

    /// Members are proposed. False: these are known, or older ones.
    pub fn propose(&mut self, members: Ensemble) -> bool {
        let is_news = members.version() > self.newest().version();
        if is_news {
            self.proposed = Some(members);
        }
        is_news
    }

    /// A voter in force, who knows of the same members in force, has these in its log. True: that is news.
    pub fn hear_of(&mut self, members: Ensemble) -> bool {
        let is_newer = |known: &Ensemble| members.version() > known.version();
        let is_news =
            self.proposed.is_none() && is_newer(&self.committed) && self.rumoured.as_ref().is_none_or(is_newer);
        if is_news {
            self.rumoured = Some(members);
        }
        is_news
    }

    /// This server serves: it knows all that it has to know. True: it had heard of more.
    pub fn forget_rumours(&mut self) -> bool {
        self.rumoured.take().is_some()
    }

    /// Everything up to this txn is committed. True: members are among it.
    pub fn commit(&mut self, upto: Zxid) -> bool {
        let members = self.proposed.take_if(|proposed| proposed.zxid() <= upto);
        members.is_some_and(|members| {
            self.committed = members;
            true
        })
    }

    /// Other servers say that these are in force. True: this server did not know.
    pub fn adopt(&mut self, members: Ensemble) -> bool {
        let is_news = members.version() > self.committed.version();
        if is_news {
            self.proposed.take_if(|proposed| proposed.version() <= members.version());
            self.committed = members;
        }
        is_news
    }

    /// A history takes the place of this server's, and these are the members that it has come to, committed or not: no
    /// others are proposed. True: that changes something.
    pub fn rewrite(&mut self, history: Option<Ensemble>) -> bool {
        let history = history.filter(|members| members.version() > self.committed.version());
        let is_news = self.proposed != history;
        self.proposed = history;
        is_news
    }

    /// At the start: the files may lag behind the log, and be ahead of it, and the log is right. `last` is its last txn,
    /// `history` as above. True: that changes something.
    pub fn recover(&mut self, last: Zxid, history: Option<Ensemble>) -> bool {
        let before = self.proposed.clone();
        // Nobody was told that this server has what is not in its log. What begins with an epoch never is in any.
        self.proposed.take_if(|proposed| proposed.zxid().counter() != 0 && proposed.zxid() > last);
        self.proposed.take_if(|proposed| proposed.version() <= self.committed.version());
        if let Some(history) = history {
            self.propose(history);
        }
        self.proposed != before
    }

    /// One server; where both know it, as it will be.
    #[must_use]
    pub fn server(&self, sid: Sid) -> Option<&ServerSpec> {
        self.proposed.as_ref().and_then(|proposed| proposed.server(sid)).or_else(|| self.committed.server(sid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(version: i64, ids: &[u8]) -> Ensemble {
        Ensemble::new(version, ids.iter().filter_map(|id| ServerSpec::parse(*id, "h:1:2")))
    }

    fn pending() -> Membership {
        Membership { proposed: Some(members(9, &[3, 4, 5])), ..Membership::settled(members(5, &[1, 2, 3])) }
    }

    #[test]
    fn a_txn_needs_both_from_the_proposal_on_and_until_that_is_committed() {
        let mut membership = pending();
        let has = |membership: &Membership, zxid, ids: &[u8]| {
            membership.quorums_of(Zxid(zxid)).is_quorum(|sid| ids.contains(&sid.0))
        };
        assert!(has(&membership, 8, &[1, 2]) && !has(&membership, 8, &[4, 5]));
        assert!(!has(&membership, 9, &[1, 2]) && !has(&membership, 9, &[4, 5]) && has(&membership, 10, &[1, 2, 4, 5]));
        assert!(!membership.commit(Zxid(8)) && membership.commit(Zxid(12)));
        assert!(has(&membership, 11, &[4, 5]) && !has(&membership, 11, &[1, 2, 3]));
        assert_eq!(membership.pending(), None);
    }

    #[test]
    fn older_members_change_nothing() {
        let mut membership = pending();
        assert!(!membership.propose(members(9, &[1])) && !membership.adopt(members(5, &[1])));
        assert!(membership.adopt(members(7, &[1])) && membership.pending() == Some(Zxid(9)));
        assert!(membership.adopt(members(9, &[3, 4, 5])) && membership.pending().is_none());
    }

    #[test]
    fn what_is_rumoured_decides_nothing() {
        let mut behind = Membership::settled(members(5, &[1, 2, 3]));
        assert!(!behind.hear_of(members(5, &[1])) && behind.hear_of(members(9, &[3, 4, 5])));
        assert!(!behind.hear_of(members(9, &[3, 4, 5])), "that is known");
        let quorums = behind.quorums();
        assert!(quorums.is_quorum(|sid| sid.0 < 3) && !quorums.is_voter(Sid(4)) && quorums.may_lead(Sid(4)));
        let mut adopted = behind.clone();
        assert!(adopted.adopt(members(9, &[3, 4, 5])) && adopted.quorums().rumoured.is_none(), "no rumour any more");
        assert_eq!((behind.pending(), behind.forget_rumours(), behind.forget_rumours()), (None, true, false));
        assert!(!pending().hear_of(members(11, &[1])), "the own log is to be believed");
    }

    #[test]
    fn the_log_tells_what_is_proposed() {
        let mut behind = Membership::settled(members(5, &[1, 2, 3]));
        assert!(behind.recover(Zxid(10), Some(members(9, &[3, 4, 5]))), "the file was lost");
        assert_eq!(behind, pending());
        assert!(!behind.recover(Zxid(10), Some(members(9, &[3, 4, 5]))));
        assert!(behind.recover(Zxid(8), Some(members(5, &[1, 2, 3]))), "the file was first");
        assert_eq!(behind.pending(), None);
        let mut cut = pending();
        assert!(cut.rewrite(Some(members(5, &[1, 2, 3]))) && cut.pending().is_none());
        assert!(cut.rewrite(Some(members(9, &[3, 4, 5]))) && cut == pending());
    }
}
