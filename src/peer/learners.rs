//! A learner as its leader sees it: how far it has come, and what is on its way to it.

use std::collections::BTreeMap;

use super::core::Core;
use super::standing::LearnerStanding;
use crate::ids::{Epoch, LinkId, Now, Sid, Zxid};
use crate::zab::{Ensemble, LearnerInfo, Logged, Packet, Quorums};

/// How far a learner has come (zab.md 3, 4, 6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    /// It has connected.
    Connected,
    /// It has told its accepted epoch.
    Told,
    /// It was told the new epoch.
    Invited,
    /// It has accepted the epoch, and may have more of it than the follower that it came to: it has this txn.
    Ahead(Zxid),
    /// It has accepted the epoch, and waits to be synchronised from this txn on.
    Waiting(Zxid),
    /// The log on disk is being read for it, from the first txn to the second, which was the oldest in memory.
    Reading(Zxid, Zxid),
    /// NEWLEADER is on its way.
    Syncing,
    /// It has the history of this epoch.
    Synced,
    /// It was told to serve.
    Serving,
}

/// One learner.
#[derive(Debug)]
pub(super) struct Learner {
    pub(super) stage: Stage,
    pub(super) info: Option<LearnerInfo>,
    /// Its number, if it is one that a server can have.
    pub(super) sid: Option<Sid>,
    /// When it was last heard of.
    pub(super) heard_ms: u64,
    /// The last txn that it has acknowledged.
    pub(super) acked: Zxid,
    /// The last committed txn that it was given before NEWLEADER.
    pub(super) given: Zxid,
    /// A proposal that it has not acknowledged, and since when that is so.
    pub(super) owes: Option<(Zxid, u64)>,
    /// Whether it waits until the tree can be walked for it.
    pub(super) queued: bool,
    /// What is to be sent.
    pub(super) out: Vec<u8>,
    /// Commits that are to be sent behind UPTODATE: if it does not come that far within initLimit, it is given up.
    held: Vec<u8>,
}

impl Learner {
    pub(super) const fn new(now_ms: u64) -> Self {
        Self {
            stage: Stage::Connected,
            info: None,
            sid: None,
            heard_ms: now_ms,
            acked: Zxid::ZERO,
            given: Zxid::ZERO,
            owes: None,
            queued: false,
            out: Vec::new(),
            held: Vec::new(),
        }
    }

    pub(super) fn is_observer(&self) -> bool {
        self.info.is_some_and(|info| info.observer)
    }

    /// Its number, if it acknowledges what is proposed. Whether that counts is for the quorums to say.
    pub(super) fn follower(&self) -> Option<Sid> {
        self.sid.filter(|_| !self.is_observer())
    }

    pub(super) fn is_zkd(&self) -> bool {
        self.info.is_some_and(|info| info.is_zkd)
    }

    pub(super) fn is_serving(&self) -> bool {
        self.stage == Stage::Serving
    }

    /// Whether proposals and commits are sent to it.
    pub(super) fn is_forwarded_to(&self) -> bool {
        self.stage >= Stage::Syncing
    }

    pub(super) fn send(&mut self, packet: &Packet) {
        packet.encode(&mut self.out);
    }

    /// Tells a follower of a commit.
    ///
    /// Between NEWLEADER and UPTODATE an Apache server compares COMMITANDACTIVATE with the first txn that it has got since
    /// then, and goes on with the old members if that is another one. So from there on it hears of commits behind UPTODATE.
    pub(super) fn send_commit(&mut self, commit: &Packet) {
        let activates = matches!(commit, Packet::CommitAndActivate { .. });
        if !self.is_zkd() && !self.is_serving() && (activates || !self.held.is_empty()) {
            commit.encode(&mut self.held);
        } else {
            self.send(commit);
        }
    }

    /// Tells it to serve.
    pub(super) fn let_serve(&mut self, now: Now) {
        self.send(&Packet::UpToDate);
        self.out.append(&mut self.held);
        self.stage = Stage::Serving;
        self.heard_ms = now.steady_ms;
    }

    /// The last txn that it is known to have, or to need no ACK for: what was committed before NEWLEADER gets none.
    fn has(&self) -> Zxid {
        self.acked.max(self.given)
    }

    /// Why it is given up, if it is (zab.md 2).
    pub(super) fn late(&self, now_ms: u64, patience_ms: u64, first_ms: u64) -> Option<&'static str> {
        let silence_max_ms = match self.stage {
            Stage::Serving => patience_ms,
            // It has nothing to say until the epoch begins.
            Stage::Synced => u64::MAX,
            _ => first_ms,
        };
        if now_ms.saturating_sub(self.heard_ms) > silence_max_ms {
            return Some("it is silent");
        }
        let (owed, since_ms) = self.owes?;
        let is_late = self.has() < owed && now_ms.saturating_sub(since_ms) > patience_ms;
        is_late.then_some("it does not acknowledge what was proposed")
    }

    /// Notes that it owes an ACK for `last`, the last proposal of this epoch, unless it owes an older one.
    pub(super) fn note_debt(&mut self, now_ms: u64, last: Option<Zxid>) {
        if self.owes.is_some_and(|(owed, _)| self.has() < owed) {
            return;
        }
        let acknowledges = self.stage >= Stage::Synced && !self.is_observer();
        self.owes = last.filter(|last| acknowledges && *last > self.has()).map(|last| (last, now_ms));
    }

    /// Committed txns, each with its COMMIT.
    pub(super) fn send_committed<'a>(&mut self, txns: impl Iterator<Item = &'a Logged>) {
        for (zxid, txn) in txns {
            self.send(&Packet::Proposal { zxid: *zxid, txn: txn.clone() });
            self.send(&Packet::Commit(*zxid));
        }
    }
}

/// All learners.
pub(super) type Learners = BTreeMap<LinkId, Learner>;

/// A learner's number, if it is one that a server can have.
pub(super) fn sid_of(info: LearnerInfo) -> Option<Sid> {
    info.sid.and_then(|sid| u8::try_from(sid).ok()).map(Sid)
}

/// Why a learner knows too much to be let in, if it does. Behind the last epoch there is nobody to follow: believed, it would
/// keep this server from leading ever again.
pub(super) fn too_new(info: LearnerInfo, core: &Core) -> Option<String> {
    if info.epoch == Epoch::MAX {
        return Some(format!("it has promised the last epoch that there is, {}", info.epoch));
    }
    let config_version = core.membership().newest().version();
    let is_newer = info.config_version > config_version;
    is_newer.then(|| format!("its configuration {:x} is newer than {config_version:x}", info.config_version))
}

/// The connection that a learner has left, when it connects again.
pub(super) fn earlier_connection(learners: &Learners, link: LinkId, sid: Option<Sid>) -> Option<LinkId> {
    sid?;
    learners.iter().find_map(|(other, learner)| (*other != link && learner.sid == sid).then_some(*other))
}

pub(super) fn standing(learners: &Learners, quorums: &Quorums<'_>) -> Vec<LearnerStanding> {
    let seen = |learner: &Learner| LearnerStanding {
        sid: learner.sid,
        voter: learner.follower().is_some_and(|sid| quorums.is_voter(sid)),
        observer: learner.is_observer(),
        synced: learner.stage >= Stage::Synced,
    };
    learners.values().filter(|learner| learner.info.is_some()).map(seen).collect()
}

/// Who can take over from a leader that leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heir {
    /// This one: a quorum without the leader is there to follow it, and it has all of the history.
    Is(Sid),
    /// Somebody who has not all of it yet.
    NotYet,
    /// There must be an election.
    Nobody,
}

/// Looks for an heir among the zkds: others would not understand, and would not follow either, so that the zkds must be a
/// quorum. `last` is the last txn of this epoch, if there was one.
pub(super) fn heir(learners: &Learners, ensemble: &Ensemble, me: Sid, last: Option<Zxid>) -> Heir {
    let serving = || learners.values().filter(|learner| learner.is_serving() && learner.is_zkd());
    if !ensemble.is_quorum(|sid| sid != me && serving().any(|learner| learner.sid == Some(sid))) {
        return Heir::Nobody;
    }
    let may_lead = |learner: &Learner| learner.follower().filter(|sid| can_lead(ensemble, *sid));
    let has_all = |learner: &Learner| last.is_none_or(|last| learner.acked >= last);
    match serving().filter_map(|learner| Some((has_all(learner), may_lead(learner)?))).max() {
        Some((true, heir)) => Heir::Is(heir),
        Some((false, _)) => Heir::NotYet,
        None => Heir::Nobody,
    }
}

fn can_lead(ensemble: &Ensemble, sid: Sid) -> bool {
    ensemble.is_voter(sid) && ensemble.weight(sid) > 0
}

/// Who is to lead by a reconfiguration that is without this leader: of those that have it, who has acknowledged the most.
pub(super) fn designated(learners: &Learners, next: &Ensemble, me: Sid) -> Option<Sid> {
    let follows = |learner: &&Learner| learner.stage >= Stage::Synced && learner.acked >= next.zxid();
    let heirs = learners.values().filter(follows).filter_map(|learner| Some((learner.acked, learner.follower()?)));
    heirs.filter(|(_, sid)| *sid != me && can_lead(next, *sid)).max().map(|(_, sid)| sid)
}
