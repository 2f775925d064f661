//! Leading: alone at once; in an ensemble once a quorum has promised the epoch and has its history (zab.md 3, 4, 6, 7).

mod committing;

use std::collections::{BTreeSet, VecDeque};
use std::task::Waker;

use super::core::{Core, Leave, Outcome, WalkFor, refuse_all};
use super::learners::{Heir, Learner, Learners, Stage, earlier_connection, heir, sid_of, standing, too_new};
use super::serving::Serving;
use super::standing::{Mode, Standing};
use super::synchronising::{LearnersEpoch, Rejected, log_read, synchronise_waiting};
use super::{Door, Output};
use crate::ids::{Epoch, LinkId, Now, Sid, Zxid};
use crate::metrics::Counter;
use crate::pipeline::WriteRequest;
use crate::proto::OpCode;
use crate::storage::epochs::EpochFile;
use crate::zab::{Acks, Candidacy, EpochAgreement, LearnerInfo, Logged, PROTOCOL_VERSION, Packet};

/// The role of the one who orders writes.
#[derive(Debug)]
pub(super) struct Leading {
    /// Set once writes are taken.
    pub(super) serving: Option<Serving>,
    /// The others; `None` for a server alone.
    reign: Option<Reign>,
}

/// How far a leader has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// Until a quorum has told its accepted epoch.
    Epoch,
    /// Until the new epoch is on this server's disk as accepted.
    Promising,
    /// Until a quorum has accepted the new one, and nobody of it knows more than the leader.
    Histories,
    /// Until the new epoch is on this server's disk as joined.
    Joining,
    /// Until a quorum has the leader's history.
    Synchronising,
    /// Broadcast.
    Serving,
}

/// What a leader knows of its ensemble.
#[derive(Debug)]
struct Reign {
    phase: Phase,
    phase_until_ms: u64,
    agreement: EpochAgreement,
    /// The new epoch, once it is agreed.
    epoch: Epoch,
    /// What it was elected for.
    own: Candidacy,
    /// Who has accepted the epoch without knowing more.
    compared: BTreeSet<Sid>,
    /// Who has the history.
    joined: BTreeSet<Sid>,
    acks: Acks,
    learners: Learners,
    /// Proposals up to here have been sent.
    broadcast: Zxid,
    /// Syncs of learners' clients, each behind the txn that was proposed last when it came.
    syncs: VecDeque<(Zxid, LinkId)>,
    ping_at_ms: u64,
    check_at_ms: u64,
    /// When it was elected, and once it serves, when it began to.
    since_ms: u64,
    /// Set once everybody knows that it leaves.
    left: bool,
    /// Set once another one is to lead by a reconfiguration: this one commits nothing more. Until when it waits for the
    /// others to leave.
    deposed: Option<Deposed>,
}

/// Another one is to lead.
#[derive(Clone, Copy, Debug)]
struct Deposed {
    /// Who it is, if this leader could tell.
    heir: Option<Sid>,
    until_ms: u64,
}

impl Reign {
    /// The epoch's zxid before its first txn.
    const fn zxid(&self) -> Zxid {
        Zxid::new(self.epoch, 0)
    }

    fn learners_epoch(&self) -> LearnersEpoch {
        LearnersEpoch { zxid: self.zxid(), has_begun: self.phase >= Phase::Serving }
    }
}

impl Leading {
    /// A server without others.
    pub(super) fn alone(core: &mut Core, now: Now) -> Result<Self, Leave> {
        let last = core.last_logged;
        core.committed = last;
        let serving = Serving::begin(core, now, last)?;
        core.stand(Standing { mode: Mode::Standalone, serves: true, since: last, ..Standing::default() });
        Ok(Self { serving: Some(serving), reign: None })
    }

    /// A server that was elected, or inherits; a quorum has to come within `patience_ms`.
    pub(super) fn elected(core: &mut Core, now: Now, patience_ms: u64) -> Result<Self, Leave> {
        core.output(Output::Listen(Some(Door::Leader)));
        let me = core.me();
        let reign = Reign {
            phase: Phase::Epoch,
            phase_until_ms: now.steady_ms + patience_ms,
            agreement: EpochAgreement::new(me, least_epoch(core)),
            epoch: 0,
            own: Candidacy { zxid: core.last_zxid(), epoch: core.epochs.current },
            compared: BTreeSet::from([me]),
            joined: BTreeSet::new(),
            acks: Acks::default(),
            learners: Learners::new(),
            broadcast: core.last_logged,
            syncs: VecDeque::new(),
            ping_at_ms: now.steady_ms + core.rules.tick_ms / 2,
            check_at_ms: now.steady_ms + core.rules.tick_ms,
            since_ms: now.steady_ms,
            left: false,
            deposed: None,
        };
        let mut leading = Self { serving: None, reign: Some(reign) };
        leading.try_agree(core)?;
        Ok(leading)
    }

    /// Whether the epoch has begun.
    pub(super) fn is_serving(&self) -> bool {
        self.serving.is_some()
    }

    /// The epoch that it leads, once it serves.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.reign.as_ref().filter(|reign| reign.phase == Phase::Serving).map(|reign| reign.epoch)
    }

    /// Whether nobody depends on this leader any more.
    pub(super) fn has_left(&self) -> bool {
        self.reign.as_ref().is_none_or(|reign| reign.left)
    }

    /// Leaves in good order: once nothing is in flight, the learners are told whom to follow now. Those that are no zkds
    /// find out by an election.
    pub(super) fn hand_over(&mut self, core: &Core) {
        let Some(reign) = self.reign.as_mut().filter(|reign| reign.phase == Phase::Serving && !reign.left) else {
            return;
        };
        if !core.in_flight.is_empty() || reign.deposed.is_some() {
            return;
        }
        let last = Some(core.last_logged).filter(|last| last.epoch() == reign.epoch);
        match heir(&reign.learners, core.members(), core.me(), last) {
            Heir::Is(heir) => {
                tracing::info!(?heir, "leaving: handing over");
                let told = reign.learners.values_mut().filter(|learner| learner.is_zkd() && learner.is_serving());
                told.for_each(|learner| learner.send(&Packet::HandOver(heir)));
                reign.left = true;
            }
            Heir::NotYet => {}
            Heir::Nobody => reign.left = true,
        }
    }

    /// Whether clients are taken.
    pub(super) fn takes_clients(&self, core: &Core) -> bool {
        self.takes_writes() && core.rules.ensemble.as_ref().is_none_or(|ensemble| ensemble.leader_serves)
    }

    pub(super) fn connected(&mut self, core: &mut Core, now: Now, link: LinkId) {
        match &mut self.reign {
            Some(reign) => {
                reign.learners.insert(link, Learner::new(now.steady_ms));
            }
            None => core.output(Output::CloseLearner(link)),
        }
    }

    /// A learner's connection is gone.
    pub(super) fn gone(&mut self, core: &mut Core, link: LinkId) {
        let Some(reign) = &mut self.reign else { return };
        let Some(learner) = reign.learners.remove(&link) else { return };
        if let Stage::Reading(..) = learner.stage {
            core.history.release();
        }
        if let Some(sid) = learner.sid
            && !reign.learners.values().any(|other| other.sid == Some(sid) && other.stage >= Stage::Synced)
        {
            reign.acks.forget(sid);
        }
        if reign.deposed.is_some() {
            // It may have been the last one that had to hear of it.
            reign.check_at_ms = 0;
        }
        self.stand(core);
        // Others may be needed now.
        self.synchronise_waiting(core);
    }

    fn close(&mut self, core: &mut Core, link: LinkId, reason: &str) {
        if let Some(learner) = self.reign.as_ref().and_then(|reign| reign.learners.get(&link)) {
            tracing::warn!(learner = ?learner.sid, reason, "closing a learner's connection");
            core.output(Output::CloseLearner(link));
            self.gone(core, link);
        }
    }

    pub(super) fn packets(
        &mut self,
        core: &mut Core,
        now: Now,
        link: LinkId,
        packets: Vec<Packet>,
        wake: &mut Vec<Waker>,
    ) -> Outcome {
        for packet in packets {
            let Some(learner) = self.reign.as_mut().and_then(|reign| reign.learners.get_mut(&link)) else {
                return Ok(());
            };
            learner.heard_ms = now.steady_ms;
            self.packet(core, now, link, packet, wake)?;
        }
        Ok(())
    }

    fn packet(&mut self, core: &mut Core, now: Now, link: LinkId, packet: Packet, wake: &mut Vec<Waker>) -> Outcome {
        let Some(reign) = &mut self.reign else { return Ok(()) };
        let Some(learner) = reign.learners.get_mut(&link) else { return Ok(()) };
        match (learner.stage, packet) {
            (Stage::Connected, Packet::LearnerInfo(info)) => self.greet(core, link, info)?,
            (Stage::Invited, Packet::AckEpoch { zxid, epoch }) => self.compare(core, link, zxid, epoch)?,
            (stage, Packet::Ack(zxid)) if stage >= Stage::Syncing => self.ack(core, now, link, zxid)?,
            (stage, packet) if stage >= Stage::Synced => self.ordinary(core, now, link, packet, wake)?,
            (_, packet) => {
                let reason = format!("it sent {packet:?} out of turn");
                self.close(core, link, &reason);
            }
        }
        Ok(())
    }

    /// What learners send while all is well.
    fn ordinary(&mut self, core: &mut Core, now: Now, link: LinkId, packet: Packet, wake: &mut Vec<Waker>) -> Outcome {
        match packet {
            Packet::Request(_) if core.stopping || !self.takes_writes() => {}
            Packet::Request(request) if request.op == OpCode::SYNC => self.sync(core, link),
            Packet::Request(request) => {
                let followers = self.followers(core, now, request.op == OpCode::RECONFIG);
                if let Some(serving) = &mut self.serving {
                    serving.learner_request(core, now, link, &request, &followers)?;
                }
            }
            Packet::Pong { sessions, .. } => {
                if let Some(serving) = &self.serving {
                    serving.touch(now, &sessions);
                }
            }
            Packet::Revalidate { session, timeout_ms } => {
                let Some(serving) = &mut self.serving else { return Ok(()) };
                core.rules.metrics.count(Counter::revalidate_count, 1);
                let valid = serving.revalidate(core, now, link, (session, timeout_ms), wake);
                self.send(link, &Packet::Revalidated { session, valid });
            }
            // Unknown kinds are ignored once the handshake is over (zab.md 1).
            other => tracing::debug!(?link, ?other, "ignored"),
        }
        Ok(())
    }

    /// A learner takes what it is synchronised with; if a quorum waits for that, it has time.
    pub(super) fn learner_takes(&mut self, core: &Core, now: Now, link: LinkId) {
        let Some(reign) = &mut self.reign else { return };
        let Some(learner) = reign.learners.get_mut(&link).filter(|learner| learner.stage < Stage::Synced) else {
            return;
        };
        learner.heard_ms = now.steady_ms;
        if learner.follower().is_some_and(|sid| core.quorums().is_voter(sid)) {
            reign.phase_until_ms = now.steady_ms + core.ticks_ms(core.ensemble().init_limit);
        }
    }

    fn send(&mut self, link: LinkId, packet: &Packet) {
        if let Some(learner) = self.reign.as_mut().and_then(|reign| reign.learners.get_mut(&link)) {
            learner.send(packet);
        }
    }

    /// FOLLOWERINFO or OBSERVERINFO.
    fn greet(&mut self, core: &mut Core, link: LinkId, info: LearnerInfo) -> Outcome {
        if let Some(reason) = too_new(info, core) {
            self.close(core, link, &reason);
            return Ok(());
        }
        let sid = sid_of(info);
        let earlier = self.reign.as_ref().and_then(|reign| earlier_connection(&reign.learners, link, sid));
        if let Some(earlier) = earlier {
            self.close(core, earlier, "the same server has connected again");
        }
        let Some(reign) = &mut self.reign else { return Ok(()) };
        let Some(learner) = reign.learners.get_mut(&link) else { return Ok(()) };
        (learner.info, learner.sid, learner.stage) = (Some(info), sid, Stage::Told);
        let voter = learner.follower().is_some_and(|sid| core.quorums().is_voter(sid));
        tracing::info!(learner = ?sid, observer = info.observer, voter, "a learner has come");
        if reign.phase > Phase::Epoch && voter && info.epoch > reign.epoch {
            // It promised that to somebody who never came to lead, and could follow nobody before the next election.
            core.promised = info.epoch;
            let (sid, epoch) = (sid.map_or(0, |sid| sid.0), info.epoch);
            return Err(Leave::because(format!("server {sid} has promised epoch {epoch}, above this one's")));
        }
        if reign.phase >= Phase::Histories {
            self.invite(link);
            return Ok(());
        }
        reign.agreement.tell(learner.follower(), info.epoch);
        self.try_agree(core)
    }

    /// One that voted for this leader looks again: it was too late for it, or has lost it.
    pub(super) fn deserted(&self, core: &Core, now: Now, sid: Sid) -> Outcome {
        let (Some(reign), Some(wait_ms)) = (&self.reign, core.ensemble().epoch_wait_ms) else { return Ok(()) };
        if reign.phase == Phase::Epoch && now.steady_ms.saturating_sub(reign.since_ms) > wait_ms {
            return Err(Leave::because(format!("server {} voted for this one, and looks again", sid.0)));
        }
        Ok(())
    }

    fn try_agree(&mut self, core: &mut Core) -> Outcome {
        let Some(reign) = &mut self.reign else { return Ok(()) };
        if reign.phase > Phase::Epoch {
            return Ok(());
        }
        if let Some(epoch) = reign.agreement.agree(core.quorums()) {
            reign.epoch = epoch;
            reign.phase = Phase::Promising;
            establish(core, reign.zxid());
            core.disk_work(Output::WriteEpoch(EpochFile::Accepted, epoch));
        }
        Ok(())
    }

    /// LEADERINFO.
    fn invite(&mut self, link: LinkId) {
        let Some(reign) = &mut self.reign else { return };
        let zxid = reign.zxid();
        if let Some(learner) = reign.learners.get_mut(&link) {
            learner.send(&Packet::LeaderInfo { zxid, protocol: PROTOCOL_VERSION });
            learner.stage = Stage::Invited;
        }
    }

    pub(super) fn epoch_written(&mut self, core: &mut Core, now: Now, file: EpochFile) -> Outcome {
        let Some(reign) = &mut self.reign else { return Ok(()) };
        reign.phase_until_ms = now.steady_ms + core.ticks_ms(core.ensemble().init_limit);
        match file {
            EpochFile::Accepted => {
                reign.phase = Phase::Histories;
                for link in self.links(|learner| learner.stage == Stage::Told) {
                    self.invite(link);
                }
                self.try_compare(core)
            }
            EpochFile::Current => {
                reign.phase = Phase::Synchronising;
                reign.joined.insert(core.me());
                self.synchronise_waiting(core);
                self.try_begin(core, now)
            }
        }
    }

    fn links(&self, wanted: impl Fn(&Learner) -> bool) -> Vec<LinkId> {
        let learners = self.reign.iter().flat_map(|reign| &reign.learners);
        learners.filter(|(_, learner)| wanted(learner)).map(|(link, _)| *link).collect()
    }

    /// ACKEPOCH: nobody may follow who knows more than the leader; those that come late were outvoted.
    fn compare(&mut self, core: &mut Core, link: LinkId, zxid: Zxid, epoch: Epoch) -> Outcome {
        let Some(reign) = &mut self.reign else { return Ok(()) };
        let Some(learner) = reign.learners.get_mut(&link) else { return Ok(()) };
        learner.stage = Stage::Waiting(zxid);
        if reign.phase > Phase::Histories {
            self.synchronise_waiting(core);
            return Ok(());
        }
        if epoch == -1 {
            return Ok(());
        }
        if (epoch, zxid) > (reign.own.epoch, reign.own.zxid) {
            self.close(core, link, "it knows more than this leader");
            return Ok(());
        }
        if zxid != Zxid(-1)
            && let Some(sid) = learner.follower()
        {
            reign.compared.insert(sid);
        }
        self.try_compare(core)
    }

    fn try_compare(&mut self, core: &mut Core) -> Outcome {
        let Some(reign) = &mut self.reign else { return Ok(()) };
        if reign.phase == Phase::Histories && core.quorums().is_quorum(|sid| reign.compared.contains(&sid)) {
            reign.phase = Phase::Joining;
            core.disk_work(Output::WriteEpoch(EpochFile::Current, reign.epoch));
        }
        Ok(())
    }

    /// Synchronises whoever waits for it, as far as that is possible now.
    fn synchronise_waiting(&mut self, core: &mut Core) {
        self.broadcast(core);
        let Some(reign) = self.reign.as_mut().filter(|reign| reign.phase >= Phase::Synchronising) else { return };
        let epoch = reign.learners_epoch();
        let rejected = synchronise_waiting(&mut reign.learners, core, epoch);
        self.reject(core, rejected);
    }

    fn reject(&mut self, core: &mut Core, rejected: impl IntoIterator<Item = Rejected>) {
        for (link, reason) in rejected {
            self.close(core, link, reason);
        }
    }

    /// The log on disk was read for a learner.
    pub(super) fn log_read(&mut self, core: &mut Core, link: LinkId, txns: Option<Vec<Logged>>) {
        self.broadcast(core);
        let Some(reign) = &mut self.reign else { return };
        let epoch = reign.learners_epoch();
        let rejected = log_read(&mut reign.learners, core, link, txns, epoch);
        self.reject(core, rejected);
    }

    /// A walk has ended, this leader's or another's.
    pub(super) fn walk_ended(&mut self, core: &mut Core, whom: WalkFor, whole: bool) {
        if let (WalkFor::Learner(link), false) = (whom, whole) {
            self.close(core, link, "the database could not be sent");
        }
        self.synchronise_waiting(core);
    }

    fn let_serve(&mut self, now: Now, link: LinkId) {
        if let Some(learner) = self.reign.as_mut().and_then(|reign| reign.learners.get_mut(&link)) {
            learner.let_serve(now);
        }
    }

    /// Begins the epoch once a quorum has the history.
    fn try_begin(&mut self, core: &mut Core, now: Now) -> Outcome {
        let Some(reign) = &mut self.reign else { return Ok(()) };
        if reign.phase != Phase::Synchronising || !core.quorums().is_quorum(|sid| reign.joined.contains(&sid)) {
            return Ok(());
        }
        reign.phase = Phase::Serving;
        reign.since_ms = now.steady_ms;
        let zxid = reign.zxid();
        reign.check_at_ms = now.steady_ms + core.rules.tick_ms;
        core.database.write().begin_epoch(zxid);
        reign.broadcast = zxid;
        tracing::info!(epoch = reign.epoch, "leading");
        if !core.membership().proposed.as_ref().is_none_or(|next| core.stays_leader(core.me(), next)) {
            // The last leader's reconfiguration is completed, and it is without this one: the others see that at UPTODATE,
            // and hold an election.
            reign.deposed = Some(Deposed { heir: None, until_ms: now.steady_ms + core.leave_patience_ms() });
        }
        core.commit(zxid);
        core.publish_members(now);
        let serving = Serving::begin(core, now, zxid)?;
        self.serving = Some(serving);
        for link in self.links(|learner| learner.stage == Stage::Synced) {
            self.let_serve(now, link);
        }
        self.stand(core);
        self.synchronise_waiting(core);
        Ok(())
    }

    fn stand(&self, core: &mut Core) {
        let Some(reign) = self.reign.as_ref().filter(|reign| reign.phase == Phase::Serving) else { return };
        core.stand(Standing {
            mode: Mode::Leader,
            serves: self.takes_clients(core),
            epoch: reign.epoch,
            leader: Some(core.me()),
            learners: standing(&reign.learners, &core.quorums()),
            since: reign.zxid(),
            since_ms: reign.since_ms,
            ..Standing::default()
        });
    }

    pub(super) fn tick(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) -> Outcome {
        if let Some(serving) = &mut self.serving {
            serving.tick(core, now, wake)?;
        }
        let Some(reign) = &mut self.reign else { return Ok(()) };
        if reign.phase < Phase::Serving && now.steady_ms >= reign.phase_until_ms {
            return Err(Leave::because(format!("no quorum came in time ({:?})", reign.phase)));
        }
        if now.steady_ms >= reign.ping_at_ms {
            reign.ping_at_ms = now.steady_ms + core.rules.tick_ms / 2;
            self.ping(core, now);
        }
        self.check(core, now)
    }

    fn ping(&mut self, core: &mut Core, now: Now) {
        let (first_ms, patience_ms) = core.patience_ms();
        let Some(reign) = &mut self.reign else { return };
        let last = core.last_logged.max(reign.zxid());
        let mut late = Vec::new();
        for (link, learner) in &mut reign.learners {
            if let Some(reason) = learner.late(now.steady_ms, patience_ms, first_ms) {
                late.push((*link, reason));
            }
            learner.note_debt(now.steady_ms, Some(core.last_logged).filter(|last| last.epoch() == reign.epoch));
            if learner.is_forwarded_to() {
                learner.send(&Packet::Ping(last));
            }
        }
        for (link, reason) in late {
            self.close(core, link, reason);
        }
    }

    /// A leader without a quorum steps down (EN-14); so does one that another one follows, once they have gone there.
    fn check(&mut self, core: &Core, now: Now) -> Outcome {
        let is_due = |reign: &&mut Reign| now.steady_ms >= reign.check_at_ms || reign.deposed.is_some();
        let serves = |reign: &&mut Reign| reign.phase == Phase::Serving;
        let Some(reign) = self.reign.as_mut().filter(serves).filter(is_due) else { return Ok(()) };
        reign.check_at_ms = now.steady_ms + core.rules.tick_ms;
        let deposed = reign.deposed;
        let synced = self.followers(core, now, true);
        let has_quorum = core.quorums().is_quorum(|sid| sid == core.me() || synced.contains(&sid));
        match deposed {
            Some(Deposed { heir: Some(heir), until_ms }) if !has_quorum || now.steady_ms >= until_ms => {
                Err(Leave::to(heir, "by a reconfiguration the leader is"))
            }
            Some(Deposed { until_ms, .. }) if !has_quorum || now.steady_ms >= until_ms => {
                Err(Leave::because("by a reconfiguration this server does not lead"))
            }
            None if !has_quorum => Err(Leave::because(format!("no quorum follows any more, only {synced:?}"))),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes of this server's clients.
    pub(super) fn writes(
        &mut self,
        core: &mut Core,
        now: Now,
        requests: Vec<WriteRequest>,
        wake: &mut Vec<Waker>,
    ) -> Outcome {
        let reconfigures = requests.iter().any(|request| request.op == OpCode::RECONFIG);
        let followers = self.followers(core, now, reconfigures);
        let takes_writes = self.takes_writes();
        match self.serving.as_mut().filter(|_| takes_writes) {
            Some(serving) => serving.writes(core, now, requests, &followers, wake),
            None => refuse_all(&requests, wake),
        }
    }

    /// Whether what is prepared can still be committed.
    fn takes_writes(&self) -> bool {
        self.is_serving() && self.reign.as_ref().is_none_or(|reign| reign.deposed.is_none())
    }

    /// The servers that follow this one and have its history, if somebody `wants` to know. An observer that has not heard yet
    /// that it is one does not count: it will come back as what it is.
    fn followers(&self, core: &Core, now: Now, wants: bool) -> BTreeSet<Sid> {
        let Some(reign) = self.reign.as_ref().filter(|_| wants) else { return BTreeSet::new() };
        let patience_ms = core.ticks_ms(core.ensemble().sync_limit);
        let alive = |learner: &&Learner| {
            learner.stage >= Stage::Synced && now.steady_ms.saturating_sub(learner.heard_ms) <= patience_ms
        };
        let followers = reign.learners.values().filter(alive).filter_map(Learner::follower);
        followers.filter(|sid| !core.members().is_observer(*sid)).collect()
    }

    /// Hands over what is to be sent.
    pub(super) fn flush(&mut self, core: &mut Core) {
        self.broadcast(core);
        let Some(reign) = &mut self.reign else { return };
        for (link, learner) in reign.learners.iter_mut().filter(|(_, learner)| !learner.out.is_empty()) {
            let out = std::mem::take(&mut learner.out);
            core.send(Output::ToLearner(*link, out));
        }
    }

    /// When [`Leading::tick`] is due.
    pub(super) fn next_deadline(&self, core: &Core) -> Option<u64> {
        // Nothing expires that cannot be logged.
        let serving = self.serving.as_ref().filter(|_| !core.disk_full && !core.stopping).map(Serving::next_deadline);
        let reign = self.reign.as_ref().map(|reign| {
            let phase = if reign.phase < Phase::Serving { reign.phase_until_ms } else { reign.check_at_ms };
            let left = reign.deposed.map_or(u64::MAX, |deposed| deposed.until_ms);
            phase.min(reign.ping_at_ms).min(left)
        });
        serving.into_iter().chain(reign).min()
    }
}

/// The epoch that a new one has to be above: the newest that was promised, and that of the members in force. The next ones
/// have the zxid of a txn as their version, which has to be newer.
fn least_epoch(core: &Core) -> Epoch {
    core.epochs.accepted.max(core.promised).max(core.membership().newest().zxid().epoch())
}

/// The configuration that an ensemble began with gets the first leader's epoch for its version, so that it is newer than
/// that of whoever joins later (EN-31).
fn establish(core: &mut Core, epoch: Zxid) {
    let membership = core.membership();
    if membership.committed.version() == 0 && membership.proposed.is_none() {
        let mut members = membership.committed.clone();
        members.set_version(epoch.0);
        core.propose_members(members);
    }
}
