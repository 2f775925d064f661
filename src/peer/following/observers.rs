//! An observer master: a follower from which observers learn what they would learn from the leader (zab.md 13).
//!
//! It tells them what the leader has committed, and promises nothing: whatever has to be decided goes up to the leader,
//! and the answer comes back down in its place among the commits.

use std::collections::BTreeMap;

use super::super::core::{Core, WalkFor};
use super::super::learners::{Learner, Learners, Stage, earlier_connection, sid_of, standing, too_new};
use super::super::standing::Standing;
use super::super::synchronising::{LearnersEpoch, Rejected, log_read, synchronise_waiting};
use super::super::{Door, Output};
use crate::ids::{LinkId, Now, SessionId, Zxid};
use crate::jute::JuteWrite;
use crate::metrics::Counter;
use crate::proto::OpCode;
use crate::zab::{LearnerInfo, LearnerRequest, Logged, PROTOCOL_VERSION, Packet};

/// The observers that learn from this server.
#[derive(Debug)]
pub(super) struct Observers {
    epoch: LearnersEpoch,
    learners: Learners,
    /// The last txn that was passed on.
    passed: Zxid,
    ping_at_ms: u64,
    /// Sessions that observers have heard of since the leader was told, with their timeouts, ms.
    heard: BTreeMap<SessionId, i32>,
    /// Through which observer each session has come last, from the moment on that its client wants it there; `None`: it has
    /// come to this server since.
    ///
    /// To the leader all of them are this server's, and only this server can tell that a session has moved from one to the
    /// other (CL-58).
    holders: BTreeMap<SessionId, Option<LinkId>>,
}

impl Observers {
    /// Lets observers in.
    pub(super) fn begin(core: &mut Core, now: Now, epoch: Zxid) -> Self {
        core.output(Output::Listen(Some(Door::Master)));
        Self {
            epoch: LearnersEpoch { zxid: epoch, has_begun: true },
            learners: Learners::new(),
            passed: Zxid::ZERO,
            ping_at_ms: now.steady_ms,
            heard: BTreeMap::new(),
            holders: BTreeMap::new(),
        }
    }

    /// Sends all of them away.
    pub(super) fn leave(core: &mut Core) {
        core.output(Output::Listen(None));
    }

    pub(super) fn connected(&mut self, now: Now, link: LinkId) {
        self.learners.insert(link, Learner::new(now.steady_ms));
    }

    /// An observer takes the database that it is sent.
    pub(super) fn learner_takes(&mut self, now: Now, link: LinkId) {
        if let Some(learner) = self.learners.get_mut(&link).filter(|learner| learner.stage < Stage::Synced) {
            learner.heard_ms = now.steady_ms;
        }
    }

    /// An observer's connection is gone.
    pub(super) fn gone(&mut self, core: &mut Core, link: LinkId) {
        let Some(learner) = self.learners.remove(&link) else { return };
        if let Stage::Reading(..) = learner.stage {
            core.history.release();
        }
        self.stand(core);
    }

    fn close(&mut self, core: &mut Core, link: LinkId, reason: &str) {
        if let Some(learner) = self.learners.get(&link) {
            tracing::warn!(observer = ?learner.sid, reason, "closing an observer's connection");
            core.output(Output::CloseLearner(link));
            self.gone(core, link);
        }
    }

    fn reject(&mut self, core: &mut Core, rejected: impl IntoIterator<Item = Rejected>) {
        for (link, reason) in rejected {
            self.close(core, link, reason);
        }
    }

    fn stand(&self, core: &mut Core) {
        let learners = standing(&self.learners, &core.quorums());
        core.stand(Standing { learners, ..core.standing.clone() });
    }

    /// What an observer sends. What the leader has to hear of is put into `up`; returned are the sessions that the observer's
    /// clients want back, with their timeouts, ms.
    pub(super) fn packets(
        &mut self,
        core: &mut Core,
        now: Now,
        link: LinkId,
        packets: Vec<Packet>,
        up: &mut Vec<u8>,
    ) -> Vec<(SessionId, i32)> {
        let mut wanted = Vec::new();
        for packet in packets {
            let Some(learner) = self.learners.get_mut(&link) else { break };
            learner.heard_ms = now.steady_ms;
            match (learner.stage, packet) {
                (Stage::Connected, Packet::LearnerInfo(info)) => self.greet(core, link, info),
                (Stage::Invited, Packet::AckEpoch { zxid, .. }) => {
                    learner.stage =
                        if zxid.epoch() == self.epoch.zxid.epoch() { Stage::Ahead(zxid) } else { Stage::Waiting(zxid) };
                    self.synchronise(core);
                }
                (Stage::Syncing, Packet::Ack(zxid)) if zxid == self.epoch.zxid => {
                    learner.send(&Packet::UpToDate);
                    learner.stage = Stage::Serving;
                    tracing::info!(observer = ?learner.sid, "an observer is synchronised");
                    self.stand(core);
                }
                (Stage::Serving, Packet::Revalidate { session, timeout_ms }) => {
                    core.rules.metrics.count(Counter::revalidate_count, 1);
                    // Its client is there now, and what it has asked elsewhere comes too late.
                    self.holders.insert(session, Some(link));
                    wanted.push((session, timeout_ms));
                }
                (Stage::Serving, packet) => self.ordinary(core, link, packet, up),
                (_, packet) => {
                    let reason = format!("it sent {packet:?} out of turn");
                    self.close(core, link, &reason);
                }
            }
        }
        wanted
    }

    /// OBSERVERINFO: the epoch is the leader's, and has begun.
    fn greet(&mut self, core: &mut Core, link: LinkId, info: LearnerInfo) {
        if !info.observer {
            self.close(core, link, "it is no observer, and only the leader has followers");
            return;
        }
        if let Some(reason) = too_new(info, core) {
            self.close(core, link, &reason);
            return;
        }
        let sid = sid_of(info);
        if let Some(earlier) = earlier_connection(&self.learners, link, sid) {
            self.close(core, earlier, "the same server has connected again");
        }
        let Some(learner) = self.learners.get_mut(&link) else { return };
        tracing::info!(observer = ?sid, "an observer has come");
        (learner.info, learner.sid, learner.stage) = (Some(info), sid, Stage::Invited);
        learner.send(&Packet::LeaderInfo { zxid: self.epoch.zxid, protocol: PROTOCOL_VERSION });
    }

    /// Synchronises whoever waits for it, as far as that is possible now.
    fn synchronise(&mut self, core: &mut Core) {
        // The leader may have committed here what it has committed there, and this server has not heard of it yet.
        let last = core.database.read().last_zxid().max(self.epoch.zxid);
        for learner in self.learners.values_mut() {
            if let Stage::Ahead(zxid) = learner.stage
                && zxid <= last
            {
                learner.stage = Stage::Waiting(zxid);
            }
        }
        self.pass_on(core, None);
        let rejected = synchronise_waiting(&mut self.learners, core, self.epoch);
        self.reject(core, rejected);
    }

    /// Something was applied.
    pub(super) fn applied(&mut self, core: &mut Core, ended: &[SessionId]) {
        ended.iter().for_each(|session| self.session_is_gone(*session));
        if self.learners.values().any(|learner| matches!(learner.stage, Stage::Ahead(_))) {
            self.synchronise(core);
        }
    }

    /// The log on disk was read for an observer.
    pub(super) fn log_read(&mut self, core: &mut Core, link: LinkId, txns: Option<Vec<Logged>>) {
        self.pass_on(core, None);
        let rejected = log_read(&mut self.learners, core, link, txns, self.epoch);
        self.reject(core, rejected);
    }

    /// A walk has ended, an observer's or another's.
    pub(super) fn walk_ended(&mut self, core: &mut Core, whom: WalkFor, whole: bool) {
        if let (WalkFor::Learner(link), false) = (whom, whole) {
            self.close(core, link, "the database could not be sent");
        }
        self.synchronise(core);
    }

    /// What an observer sends while all is well.
    fn ordinary(&mut self, core: &mut Core, link: LinkId, packet: Packet, up: &mut Vec<u8>) {
        match packet {
            Packet::Request(_) if core.stopping => {}
            Packet::Request(request) => self.forward(core, link, request, up),
            Packet::Pong { sessions, .. } => {
                let database = core.database.read();
                let known = |(session, _): &(SessionId, i32)| database.sessions().contains_key(session);
                self.heard.extend(sessions.into_iter().filter(known));
            }
            other => tracing::debug!(?link, ?other, "ignored"),
        }
    }

    /// A request of an observer's client goes to the leader.
    fn forward(&mut self, core: &mut Core, link: LinkId, request: LearnerRequest, up: &mut Vec<u8>) {
        let request = match request.op {
            OpCode::SYNC => {
                core.forwarded.push_relayed(link);
                request
            }
            // Who has had it may still end it.
            op if op != OpCode::CLOSE_SESSION && self.has_moved(core, request.session, link) => hopeless(request),
            _ => request,
        };
        Packet::Request(request).encode(up);
    }

    /// Whether a session has come through somebody else since. The first one to write has it.
    fn has_moved(&mut self, core: &Core, session: SessionId, link: LinkId) -> bool {
        let is_known = core.database.read().sessions().contains_key(&session);
        is_known && *self.holders.entry(session).or_insert(Some(link)) != Some(link)
    }

    /// A session's client is at this server now.
    pub(super) fn session_is_here(&mut self, session: SessionId) {
        if !self.learners.is_empty() {
            self.holders.insert(session, None);
        }
    }

    /// There is no such session any more.
    pub(super) fn session_is_gone(&mut self, session: SessionId) {
        self.holders.remove(&session);
    }

    /// The leader says whether a session may go on at an observer.
    pub(super) fn revalidated(&mut self, link: LinkId, session: SessionId, valid: bool) {
        if !valid {
            self.session_is_gone(session);
        }
        self.send(link, &Packet::Revalidated { session, valid });
    }

    /// The leader has answered an observer's sync.
    pub(super) fn synced(&mut self, link: LinkId) {
        self.send(link, &Packet::Sync);
    }

    fn send(&mut self, link: LinkId, packet: &Packet) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.send(packet);
        }
    }

    /// The sessions that observers have heard of since the last time.
    pub(super) fn heard(&mut self) -> BTreeMap<SessionId, i32> {
        std::mem::take(&mut self.heard)
    }

    /// Tells observers what is newly committed, before it is applied. `activates` is a reconfiguration among it, and who
    /// leads from then on.
    pub(super) fn pass_on(&mut self, core: &Core, activates: Option<(Zxid, i64)>) {
        let (passed, committed) = (self.passed, core.committed);
        if self.learners.is_empty() || committed <= passed {
            return;
        }
        let txns = core.in_flight.txns().skip_while(|(zxid, _)| *zxid <= passed);
        for (zxid, txn) in txns.take_while(|(zxid, _)| *zxid <= committed) {
            let txn = txn.clone();
            let packet = match activates {
                Some((reconfig, designated)) if reconfig == zxid => Packet::InformAndActivate { zxid, designated, txn },
                Some(_) | None => Packet::Inform { zxid, txn },
            };
            let told = self.learners.values_mut().filter(|learner| learner.is_forwarded_to());
            told.for_each(|learner| learner.send(&packet));
            self.passed = zxid;
        }
    }

    pub(super) fn tick(&mut self, core: &mut Core, now: Now) {
        if now.steady_ms < self.ping_at_ms {
            return;
        }
        self.ping_at_ms = now.steady_ms + core.rules.tick_ms / 2;
        let (first_ms, patience_ms) = core.patience_ms();
        let mut late = Vec::new();
        for (link, learner) in &mut self.learners {
            late.extend(learner.late(now.steady_ms, patience_ms, first_ms).map(|reason| (*link, reason)));
            if learner.is_forwarded_to() {
                learner.send(&Packet::Ping(self.passed));
            }
        }
        self.reject(core, late);
    }

    /// When [`Observers::tick`] is due.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        (!self.learners.is_empty()).then_some(self.ping_at_ms)
    }

    /// Hands over what is to be sent.
    pub(super) fn flush(&mut self, core: &mut Core) {
        for (link, learner) in self.learners.iter_mut().filter(|(_, learner)| !learner.out.is_empty()) {
            core.send(Output::ToLearner(*link, std::mem::take(&mut learner.out)));
        }
    }
}

/// The request of a client that has moved on must not be carried out, and yet the leader has to make a txn of it: the
/// observer waits for one. So it asks for what nobody may do.
fn hopeless(request: LearnerRequest) -> LearnerRequest {
    let mut body = Vec::new();
    body.ustring("/");
    body.int(-1);
    LearnerRequest { op: OpCode::DELETE, body: body.into(), ..request }
}
