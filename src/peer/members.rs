//! Who is in the ensemble while that changes (zab.md 11). The log is right, the files follow it: members are proposed when
//! their txn is about to be logged, and in force once it is known to be committed.

use super::Output;
use super::core::{Core, Leave};
use super::standing::Mode;
use crate::config::{ServerAddress, ServerSpec};
use crate::ids::{Now, Sid, Zxid};
use crate::path::CONFIG;
use crate::zab::{Ensemble, Membership, Quorums, reconfiguration};

impl Core {
    /// Who is in the ensemble. Only members of one ask.
    pub(super) fn membership(&self) -> &Membership {
        match &self.membership {
            Some(membership) => membership,
            None => unreachable!("a server alone is in no ensemble"),
        }
    }

    /// The members in force.
    pub(super) fn members(&self) -> &Ensemble {
        &self.membership().committed
    }

    /// What needs a quorum needs one of these.
    pub(super) fn quorums(&self) -> Quorums<'_> {
        self.membership().quorums()
    }

    /// Whether this server is one of the ensemble that does not vote.
    pub(super) fn observes(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.committed.is_observer(self.me()))
    }

    /// `reconfigEnabled`: whether members may change.
    pub(super) fn reconfigures(&self) -> bool {
        self.rules.prepare.reconfig_enabled && self.membership.is_some()
    }

    /// The members that the tree tells of: those of the last reconfiguration in the log, committed or not.
    fn members_in_tree(&self) -> Option<Ensemble> {
        let database = self.database.read();
        let znode = database.tree().find(CONFIG)?;
        let text = std::str::from_utf8(znode.data()?).ok()?;
        // Whoever may write there may write anything; what established members is the txn that wrote them.
        Ensemble::parse(text).ok().filter(|members| members.version() == znode.stored_stat().mzxid)
    }

    /// At the start.
    pub(super) fn recover_members(&mut self, now: Now) {
        let (last, history, reconfigures) = (self.last_logged, self.members_in_tree(), self.reconfigures());
        let Some(membership) = &mut self.membership else { return };
        if !reconfigures {
            membership.proposed = None;
        } else if membership.recover(last, history) {
            self.members_changed();
        }
        self.publish_members(now);
    }

    /// Another database has taken the place of this server's.
    pub(super) fn reload_members(&mut self, now: Now) {
        self.rewrite_members(self.members_in_tree());
        self.publish_members(now);
    }

    /// The history that this server has now has come to these members; what it knew beside them is void.
    pub(super) fn rewrite_members(&mut self, history: Option<Ensemble>) {
        if self.reconfigures() && self.membership.as_mut().is_some_and(|membership| membership.rewrite(history)) {
            self.members_changed();
        }
    }

    /// A txn is about to be logged. If it proposes members, they count from here on.
    pub(super) fn note_members(&mut self, txn: &[u8]) {
        if self.reconfigures()
            && let Ok(Some(members)) = reconfiguration(txn)
        {
            self.propose_members(members);
        }
    }

    /// Members are proposed; those known already, or older ones, change nothing.
    pub(super) fn propose_members(&mut self, members: Ensemble) {
        if self.reconfigures() && self.membership.as_mut().is_some_and(|membership| membership.propose(members)) {
            self.members_changed();
        }
    }

    /// Everything up to here is committed, and so are the members that were proposed by then.
    pub(super) fn commit(&mut self, upto: Zxid) {
        self.committed = self.committed.max(upto);
        let kept_log = self.keeps_log();
        if self.membership.as_mut().is_some_and(|membership| membership.commit(upto)) {
            self.members_in_force(kept_log);
        }
    }

    /// Other servers say that these members are in force. True: this server did not know (election.md 6).
    pub(super) fn adopt_members(&mut self, now: Now, members: Ensemble) -> bool {
        let kept_log = self.keeps_log();
        let is_news =
            self.reconfigures() && self.membership.as_mut().is_some_and(|membership| membership.adopt(members));
        if is_news {
            self.members_in_force(kept_log);
            self.publish_members(now);
        }
        is_news
    }

    /// Another server has these in its log as proposed, and knows of a version in force. One that has a vote, and knows of the
    /// same one, is heard.
    pub(super) fn hear_of_members(&mut self, from: Sid, in_force: i64, proposed: Ensemble) {
        let Some(membership) = &mut self.membership else { return };
        let counts = membership.committed.is_voter(from) && membership.committed.version() == in_force;
        if counts && membership.hear_of(proposed) {
            tracing::info!(from = from.0, "other members are proposed elsewhere");
            self.members_changed();
        }
    }

    /// This server serves.
    pub(super) fn forget_rumours(&mut self) {
        if self.membership.as_mut().is_some_and(Membership::forget_rumours) {
            self.members_changed();
        }
    }

    fn members_in_force(&mut self, kept_log: bool) {
        self.has_unlogged |= !kept_log && self.wants_log();
        tracing::info!(version = %self.members().zxid(), "these members are in force: {}", one_line(self.members()));
        self.members_changed();
    }

    fn members_changed(&mut self) {
        if let Some(membership) = self.membership.clone() {
            self.output(Output::Members(Box::new(membership)));
            if self.standing.mode != Mode::Looking && self.standing.membership.is_some() {
                self.stand(self.standing.clone());
            }
        }
    }

    /// Clients find the members in force in `/zookeeper/config`. A reconfiguration in the log puts them there itself;
    /// what the ensemble began with, and what was heard from others, is in no log.
    pub(super) fn publish_members(&mut self, now: Now) {
        let Some(membership) = &self.membership else { return };
        let (text, version) = (membership.committed.text(), membership.committed.version());
        let mut database = self.database.write();
        let known = database.tree().find(CONFIG).map_or(0, |znode| znode.stored_stat().mzxid);
        if !self.rules.prepare.reconfig_enabled || version == 0 || known < version {
            database.publish_config(&text, version, now.wall_ms);
        }
    }

    /// Whether a server that leads may go on when these are in force: it has to vote, and to be where it was, if it was
    /// anywhere (zab.md 11).
    pub(super) fn stays_leader(&self, leader: Sid, next: &Ensemble) -> bool {
        let place = |server: &ServerSpec| {
            let at = |address: &ServerAddress| (address.host.clone(), address.quorum_port);
            server.addresses.iter().map(at).collect::<Vec<_>>()
        };
        let was = self.members().server(leader).map(place);
        next.is_voter(leader) && was.is_none_or(|was| next.server(leader).map(place) == Some(was))
    }

    /// Going on with other quorums than the rest would be wrong: the operator has to know.
    pub(super) fn refuse_members(&mut self) -> Leave {
        let reason = "the ensemble has other members than this server's configuration names; correct the server lines, or \
                      set reconfigEnabled=true as on the other servers";
        self.send(Output::Fail(reason.to_owned()));
        Leave::because(reason)
    }
}

fn one_line(members: &Ensemble) -> String {
    members.servers().map(|(sid, server)| format!("{}={server}", sid.0)).collect::<Vec<_>>().join(" ")
}
