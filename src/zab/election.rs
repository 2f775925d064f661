//! Fast leader election (election.md 4, 5): whom this server votes for, and when that is settled.
//!
//! Votes decide nothing about the data: whoever is elected still has to win a quorum's promise for a new epoch. So this
//! may be quick where the reference is patient: once every voter has voted, or the silent ones cannot be reached, there
//! is nothing to wait for, unless somebody has told of members to be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ensemble::Ensemble;
use super::notification::{NO_SERVER, NOTIFICATION_VERSION, Notification, PeerState, Vote};
use crate::ids::{Epoch, Now, Sid, Zxid};

/// How long elections wait.
#[derive(Clone, Copy, Debug)]
pub struct ElectionRules {
    /// `zookeeper.fastleader.minNotificationInterval`, ms: a vote without an answer is sent again after this, ...
    pub resend_min_ms: u64,
    /// ... then after twice of it, up to `zookeeper.fastleader.maxNotificationInterval`, ms.
    pub resend_max_ms: u64,
    /// How long a settled vote waits for a better one, ms.
    pub finalize_ms: u64,
}

impl Default for ElectionRules {
    /// As Apache's.
    fn default() -> Self {
        Self { resend_min_ms: 200, resend_max_ms: 60_000, finalize_ms: 200 }
    }
}

/// What a server brings to an election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidacy {
    /// The last txn in its log, committed or not; -1 when its database is lost.
    pub zxid: Zxid,
    /// The epoch that it has joined.
    pub epoch: Epoch,
}

/// Who counts: the configuration in force, and the one that is to follow it.
#[derive(Clone, Copy, Debug)]
pub struct Quorums<'a> {
    /// The one in force.
    pub committed: &'a Ensemble,
    /// One that is proposed and not committed, if there is one.
    pub proposed: Option<&'a Ensemble>,
    /// One that others have seen proposed: its voters may lead, if those who count say so.
    pub rumoured: Option<&'a Ensemble>,
}

impl Quorums<'_> {
    /// Whether a server votes in either.
    #[must_use]
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.committed.is_voter(sid) || self.proposed.is_some_and(|proposed| proposed.is_voter(sid))
    }

    /// Whether a server may be voted for.
    #[must_use]
    pub fn may_lead(&self, sid: Sid) -> bool {
        self.is_voter(sid) || self.rumoured.is_some_and(|rumoured| rumoured.is_voter(sid))
    }

    /// Whether these servers are a quorum in both.
    #[must_use]
    pub fn is_quorum(&self, is_in: impl Fn(Sid) -> bool + Copy) -> bool {
        self.committed.is_quorum(is_in) && self.proposed.is_none_or(|proposed| proposed.is_quorum(is_in))
    }

    /// All voters of either.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<Sid> {
        self.committed.voters().chain(self.proposed.into_iter().flat_map(Ensemble::voters)).collect()
    }
}

/// What another server has said.
#[derive(Clone, Copy, Debug)]
struct Heard {
    vote: Vote,
    state: PeerState,
}

/// One search for a leader.
#[derive(Debug)]
struct Search {
    own: Candidacy,
    proposal: Vote,
    /// Votes of this round.
    votes: BTreeMap<Sid, Heard>,
    /// What servers say that follow or lead, of any round.
    settled: BTreeMap<Sid, Heard>,
    /// The votes that were answered by themselves.
    answered: BTreeMap<Sid, Vote>,
    resend_after_ms: u64,
    resend_at_ms: u64,
    /// Set while a quorum agrees: when that is final.
    final_at_ms: Option<u64>,
}

/// The election of one server, from its start to its end.
#[derive(Debug)]
pub struct Election {
    me: Sid,
    rules: ElectionRules,
    /// The logical clock: only in memory, one up with each search.
    round: i64,
    search: Option<Search>,
    /// What is told to those who look while this server does not.
    standing: Option<(PeerState, Vote)>,
    /// Who had voted like this server when it settled.
    backers: BTreeSet<Sid>,
    unreachable: BTreeSet<Sid>,
    outbox: VecDeque<(Sid, Notification)>,
}

impl Election {
    /// A server that is not looking yet.
    #[must_use]
    pub const fn new(me: Sid, rules: ElectionRules) -> Self {
        Self {
            me,
            rules,
            round: 0,
            search: None,
            standing: None,
            backers: BTreeSet::new(),
            unreachable: BTreeSet::new(),
            outbox: VecDeque::new(),
        }
    }

    /// The logical clock.
    #[must_use]
    pub const fn round(&self) -> i64 {
        self.round
    }

    /// The next message to send.
    pub fn poll_send(&mut self) -> Option<(Sid, Notification)> {
        self.outbox.pop_front()
    }

    /// When [`Election::tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let search = self.search.as_ref()?;
        Some(search.final_at_ms.map_or(search.resend_at_ms, |at| at.min(search.resend_at_ms)))
    }

    /// Neither looks nor follows nor leads: says nothing to anybody.
    pub fn rest(&mut self) {
        (self.search, self.standing) = (None, None);
    }

    /// Starts to look for a leader. Returns it at once if this server is enough.
    pub fn look(&mut self, now: Now, own: Candidacy, quorums: Quorums<'_>) -> Option<Vote> {
        self.round = self.round.saturating_add(1);
        self.standing = None;
        let proposal = self.initial(own, quorums);
        let resend_after_ms = self.rules.resend_min_ms;
        self.search = Some(Search {
            own,
            proposal,
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            answered: BTreeMap::new(),
            resend_after_ms,
            resend_at_ms: now.steady_ms + resend_after_ms,
            final_at_ms: None,
        });
        self.propose(now, quorums)
    }

    /// The vote that a server starts with: itself, if it may lead.
    fn initial(&self, own: Candidacy, quorums: Quorums<'_>) -> Vote {
        let round = self.round;
        if quorums.committed.is_voter(self.me) || self.stands_in(quorums) && self.round % 2 == 0 {
            Vote { leader: self.me.0.into(), zxid: own.zxid, round, epoch: own.epoch.into() }
        } else if quorums.committed.is_observer(self.me) {
            Vote { leader: NO_SERVER, zxid: Zxid(NO_SERVER), round, epoch: NO_SERVER }
        } else {
            Vote { leader: NO_SERVER, zxid: own.zxid, round, epoch: own.epoch.into() }
        }
    }

    /// Whether this server is to vote, and does not yet. It may be the only one that has all that the voters in force and
    /// those to be have, and then nobody else can lead; but those who do not know of the reconfiguration would not elect it.
    /// So it names itself in every other round.
    fn stands_in(&self, quorums: Quorums<'_>) -> bool {
        let members = quorums.committed;
        quorums.is_voter(self.me) && !members.is_voter(self.me) && !members.is_observer(self.me)
    }

    /// The search is over: this is what is told to those who ask from now on.
    pub fn settle(&mut self, state: PeerState, vote: Vote) {
        let votes = self.search.take().into_iter().flat_map(|search| search.votes);
        self.backers = votes.filter(|(_, heard)| heard.vote == vote).map(|(sid, _)| sid).collect();
        self.standing = Some((state, vote));
    }

    /// Whether a server had a part in this one's last election, which a leader depends on.
    #[must_use]
    pub fn is_backed_by(&self, sid: Sid) -> bool {
        self.standing.is_some() && self.backers.contains(&sid)
    }

    /// The epoch that was elected for has begun (election.md 5.6).
    pub fn joined(&mut self, epoch: Epoch) {
        if let Some((_, vote)) = &mut self.standing {
            vote.epoch = epoch.into();
        }
    }

    /// A server can be reached now, or cannot. Returns the leader if nothing is left to wait for.
    pub fn reachable(&mut self, now: Now, sid: Sid, reachable: bool, quorums: Quorums<'_>) -> Option<Vote> {
        if !reachable {
            self.unreachable.insert(sid);
            return self.check_quorum(now, quorums);
        }
        if self.unreachable.remove(&sid)
            && let Some(search) = &self.search
        {
            let message = notification(quorums, PeerState::Looking, search.proposal);
            self.outbox.push_back((sid, message));
        }
        None
    }

    /// Time has passed. Returns the leader once it is settled.
    pub fn tick(&mut self, now: Now, quorums: Quorums<'_>) -> Option<Vote> {
        let search = self.search.as_mut()?;
        if search.final_at_ms.is_some_and(|at| at <= now.steady_ms) {
            return Some(search.proposal);
        }
        if search.resend_at_ms <= now.steady_ms {
            search.resend_after_ms = (search.resend_after_ms * 2).min(self.rules.resend_max_ms);
            search.resend_at_ms = now.steady_ms + search.resend_after_ms;
            if search.final_at_ms.is_none()
                && search.resend_after_ms > 2 * self.rules.resend_min_ms
                && self.stands_in(quorums)
            {
                return self.begin_round(now, quorums);
            }
            self.send_all(quorums);
        }
        None
    }

    /// Nothing comes of this round.
    fn begin_round(&mut self, now: Now, quorums: Quorums<'_>) -> Option<Vote> {
        self.round = self.round.saturating_add(1);
        let own = self.search.as_ref()?.own;
        let initial = self.initial(own, quorums);
        let search = self.search.as_mut()?;
        search.votes.clear();
        search.proposal = initial;
        self.propose(now, quorums)
    }

    /// A message from another server. Returns the leader once it is settled.
    pub fn receive(&mut self, now: Now, from: Sid, heard: &Notification, quorums: Quorums<'_>) -> Option<Vote> {
        if from == self.me {
            return None;
        }
        self.unreachable.remove(&from);
        if heard.vote.round > ROUND_MAX {
            tracing::warn!(?from, round = heard.vote.round, "ignoring a vote of a round that nobody can have come to");
            return None;
        }
        if !quorums.is_voter(from) {
            // One that is settled would answer a search, and both would go on answering each other.
            if heard.state == PeerState::Looking {
                self.answer_outsider(from, quorums);
            }
            return None;
        }
        if self.search.is_none() {
            if let (PeerState::Looking, Some((state, vote))) = (heard.state, self.standing) {
                let message = notification(quorums, state, vote);
                self.outbox.push_back((from, message));
            }
            return None;
        }
        match heard.state {
            PeerState::Looking => self.hear_looking(now, from, heard.vote, quorums),
            PeerState::Following | PeerState::Leading => self.hear_settled(now, from, heard, quorums),
            PeerState::Observing => None,
        }
    }

    /// Observers, and servers that join or were removed, are told how things stand whatever they vote.
    fn answer_outsider(&mut self, from: Sid, quorums: Quorums<'_>) {
        let message = match (&self.search, self.standing) {
            (Some(search), _) => notification(quorums, PeerState::Looking, search.proposal),
            (None, Some((state, vote))) => notification(quorums, state, Vote { round: self.round, ..vote }),
            (None, None) => return,
        };
        self.outbox.push_back((from, message));
    }

    fn hear_looking(&mut self, now: Now, from: Sid, vote: Vote, quorums: Quorums<'_>) -> Option<Vote> {
        let search = self.search.as_mut()?;
        // It may come back to a vote, and have to be told again.
        search.answered.retain(|sid, answered| *sid != from || *answered == vote);
        if vote.round < self.round {
            // It is behind: it moves up when it hears of this round.
            self.answer(from, vote, quorums);
            return None;
        }
        // Whom only the configuration to be lets vote names nobody until it hears of somebody. Its round counts all the same:
        // others who wait for its vote would wait for ever in an older one. And it has voted: nobody waits for it to settle.
        let names_somebody = names_voter(vote, quorums);
        if search.own.zxid == Zxid(-1) || vote.zxid == Zxid(-1) {
            return None;
        }
        let heard = Heard { vote, state: PeerState::Looking };
        if !names_somebody && vote.round == self.round {
            search.votes.entry(from).or_insert(heard);
            return self.check_quorum(now, quorums);
        }
        if vote.round > self.round {
            self.round = vote.round;
            search.votes.clear();
            let own = search.own;
            let initial = self.initial(own, quorums);
            let better = names_somebody && beats(vote, initial, quorums);
            let search = self.search.as_mut()?;
            search.proposal = if better { vote } else { initial };
            // A round has its time: several who stand in would cut each other's short.
            search.resend_at_ms = now.steady_ms + search.resend_after_ms;
            if names_somebody {
                search.votes.insert(from, heard);
            }
            return self.propose(now, quorums);
        }
        search.votes.insert(from, heard);
        if beats(vote, search.proposal, quorums) {
            search.proposal = vote;
            return self.propose(now, quorums);
        }
        if beats(search.proposal, vote, quorums) {
            // It may have come to this round when all had voted, or still have followed when this server did: votes are sent
            // again much later.
            self.answer(from, vote, quorums);
        }
        self.check_quorum(now, quorums)
    }

    /// Tells somebody who looks, and knows less, the proposal; once for each vote. Whoever takes this server for none of the
    /// voters would answer with the same vote, and both would go on for ever.
    fn answer(&mut self, from: Sid, vote: Vote, quorums: Quorums<'_>) {
        let Some(search) = &mut self.search else { return };
        if quorums.is_voter(self.me) && search.answered.insert(from, vote) != Some(vote) {
            let message = notification(quorums, PeerState::Looking, search.proposal);
            self.outbox.push_back((from, message));
        }
    }

    /// Tells everybody the proposal, this server first.
    fn propose(&mut self, now: Now, quorums: Quorums<'_>) -> Option<Vote> {
        let search = self.search.as_mut()?;
        search.final_at_ms = None;
        search.proposal.round = self.round;
        if quorums.is_voter(self.me) {
            search.votes.insert(self.me, Heard { vote: search.proposal, state: PeerState::Looking });
        }
        self.send_all(quorums);
        self.check_quorum(now, quorums)
    }

    fn send_all(&mut self, quorums: Quorums<'_>) {
        let Some(search) = &self.search else { return };
        let message = notification(quorums, PeerState::Looking, search.proposal);
        for sid in quorums.voters().into_iter().filter(|sid| *sid != self.me) {
            self.outbox.push_back((sid, message.clone()));
        }
    }

    /// Whether a quorum agrees with the proposal; and whether it is settled already.
    fn check_quorum(&mut self, now: Now, quorums: Quorums<'_>) -> Option<Vote> {
        let search = self.search.as_mut()?;
        if search.own.zxid == Zxid(-1) {
            return None;
        }
        let proposal = search.proposal;
        let agrees = |sid: Sid| search.votes.get(&sid).is_some_and(|heard| heard.vote == proposal);
        if !quorums.is_quorum(agrees) {
            search.final_at_ms = None;
            return None;
        }
        let silent = |sid: &Sid| !search.votes.contains_key(sid) && !self.unreachable.contains(sid);
        // Those who have seen more than this server may need one more vote than it does, and still change their minds.
        if quorums.rumoured.is_none() && !quorums.voters().iter().any(silent) {
            return Some(proposal);
        }
        search.final_at_ms.get_or_insert(now.steady_ms + self.rules.finalize_ms);
        None
    }

    fn hear_settled(&mut self, now: Now, from: Sid, heard: &Notification, quorums: Quorums<'_>) -> Option<Vote> {
        if !names_voter(heard.vote, quorums) {
            return None;
        }
        let (vote, entry) = (heard.vote, Heard { vote: heard.vote, state: heard.state });
        let (me, round) = (self.me, self.round);
        // Whom to follow those in force decide alone: the leader counts whom it needs. One that is proposed here may be
        // unknown to them, and forgotten.
        let in_force = quorums.committed;
        let search = self.search.as_mut()?;
        search.answered.remove(&from);
        if vote.round == round {
            search.votes.insert(from, entry);
            let agrees = |sid: Sid| {
                search.votes.get(&sid).is_some_and(|other| match other.state {
                    PeerState::Looking => other.vote == vote,
                    _ => other.vote.leader == vote.leader,
                })
            };
            if in_force.is_quorum(agrees) && is_alive(me, round, vote, &search.votes) {
                return Some(vote);
            }
        }
        search.settled.insert(from, entry);
        let agrees = |sid: Sid| {
            search
                .settled
                .get(&sid)
                .is_some_and(|other| other.vote.leader == vote.leader && other.vote.epoch == vote.epoch)
        };
        if in_force.is_quorum(agrees) && is_alive(me, round, vote, &search.settled) {
            self.round = vote.round;
            return Some(vote);
        }
        // Who has settled for somebody else does not agree any more.
        self.check_quorum(now, quorums)
    }
}

/// What is said with every vote: the configuration in force, and the one that is to follow it.
fn notification(quorums: Quorums<'_>, state: PeerState, vote: Vote) -> Notification {
    let text = |ensemble: &Ensemble| ensemble.text().into();
    let (config, proposed) = (Some(text(quorums.committed)), quorums.proposed.map(text));
    Notification { state, vote, version: NOTIFICATION_VERSION, config, proposed }
}

/// Rounds above this are nonsense: the next one must fit as well.
const ROUND_MAX: i64 = i64::MAX >> 1;

/// Whether somebody votes for a server that may be voted for.
fn names_voter(vote: Vote, quorums: Quorums<'_>) -> bool {
    u8::try_from(vote.leader).is_ok_and(|sid| quorums.may_lead(Sid(sid)))
}

/// The order of votes (EN-05): a server of weight 0 never leads. One that is only to be a voter needs more history than those
/// in force, who may not know of it.
fn beats(new: Vote, current: Vote, quorums: Quorums<'_>) -> bool {
    let known = || [Some(quorums.committed), quorums.proposed, quorums.rumoured].into_iter().flatten();
    let weight_of = |sid| known().find(|members| members.is_voter(sid)).map_or(0, |members| members.weight(sid));
    let weight = u8::try_from(new.leader).map_or(0, |sid| weight_of(Sid(sid)));
    let in_force = |vote: Vote| u8::try_from(vote.leader).is_ok_and(|sid| quorums.committed.is_voter(Sid(sid)));
    let rank = |vote: Vote| (vote.epoch, vote.zxid, in_force(vote), vote.leader);
    weight != 0 && rank(new) > rank(current)
}

/// Nobody follows a dead leader on hearsay: the leader itself must have said that it leads.
fn is_alive(me: Sid, round: i64, vote: Vote, heard: &BTreeMap<Sid, Heard>) -> bool {
    if vote.leader == i64::from(me.0) {
        return vote.round == round;
    }
    let leader = u8::try_from(vote.leader).ok().and_then(|sid| heard.get(&Sid(sid)));
    leader.is_some_and(|leader| leader.state == PeerState::Leading)
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
