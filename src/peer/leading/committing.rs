//! Broadcast: what is proposed goes to all, and what a quorum has made durable is committed (zab.md 7).

use std::task::Waker;

use bytes::Bytes;

use super::super::core::{Core, Outcome};
use super::super::learners::{Stage, designated};
use super::super::synchronising::waits_for;
use super::{Deposed, Leading, Phase};
use crate::ids::{LinkId, Now, Zxid};
use crate::metrics::{Advanced, Counter};
use crate::zab::Packet;

/// How old a txn is when it is applied; what is committed is applied at once.
const ALONE: &[Advanced] = &[Advanced::propagation_latency];
const BY_QUORUM: &[Advanced] = &[Advanced::propagation_latency, Advanced::quorum_ack_latency];

impl Leading {
    /// Own log durable.
    pub(in crate::peer) fn durable(&mut self, core: &mut Core, now: Now) {
        let me = core.me();
        match &mut self.reign {
            // A quorum of one.
            None => core.commit(core.durable.zxid()),
            Some(reign) => {
                reign.acks.note(me, core.durable.zxid());
                self.commit(core, now);
            }
        }
    }

    pub(super) fn ack(&mut self, core: &mut Core, now: Now, link: LinkId, zxid: Zxid) -> Outcome {
        let Some(reign) = &mut self.reign else { return Ok(()) };
        let epoch_zxid = reign.zxid();
        let Some(learner) = reign.learners.get_mut(&link) else { return Ok(()) };
        if zxid == epoch_zxid {
            if learner.stage > Stage::Syncing {
                return Ok(());
            }
            learner.stage = Stage::Synced;
            if learner.is_zkd() {
                // Others may say so before it is on their disks (zab.md 12).
                learner.acked = learner.acked.max(learner.given);
            }
            tracing::info!(learner = ?learner.sid, "a learner is synchronised");
            if let Some(sid) = learner.follower() {
                reign.joined.insert(sid);
                if learner.acked > Zxid::ZERO {
                    reign.acks.note(sid, learner.acked);
                }
            }
            if self.is_serving() {
                self.let_serve(now, link);
                self.stand(core);
                self.commit(core, now);
                return Ok(());
            }
            return self.try_begin(core, now);
        }
        if zxid.epoch() != epoch_zxid.epoch() || zxid > core.last_logged {
            return Ok(());
        }
        learner.acked = learner.acked.max(zxid);
        if let Some(sid) = learner.follower().filter(|_| learner.stage >= Stage::Synced) {
            reign.acks.note(sid, learner.acked);
            self.commit(core, now);
        }
        Ok(())
    }

    /// Sends what was proposed since the last time.
    pub(super) fn broadcast(&mut self, core: &Core) {
        let Some(reign) = &mut self.reign else { return };
        if core.last_logged <= reign.broadcast {
            return;
        }
        let (from, mut count) = (reign.broadcast, 0);
        for (zxid, txn) in core.in_flight.txns().filter(|(zxid, _)| *zxid > from) {
            count += 1;
            let packet = Packet::Proposal { zxid, txn: txn.clone() };
            for learner in reign.learners.values_mut().filter(|learner| learner.is_forwarded_to()) {
                if !learner.is_observer() {
                    learner.send(&packet);
                }
            }
        }
        core.rules.metrics.count(Counter::proposal_count, count);
        reign.broadcast = core.last_logged;
    }

    /// Commits what a quorum has made durable; where members change, quorums are others behind that.
    pub(super) fn commit(&mut self, core: &mut Core, now: Now) {
        self.broadcast(core);
        while let Some(reign) =
            self.reign.as_mut().filter(|reign| reign.phase == Phase::Serving && reign.deposed.is_none())
            && let Some(upto) = reign.acks.committed(core.membership()).filter(|upto| *upto > core.committed)
        {
            match core.membership().pending().filter(|reconfig| *reconfig <= upto) {
                Some(reconfig) => {
                    let before = Zxid(reconfig.0 - 1);
                    self.commit_plain(core, before);
                    self.activate(core, now, reconfig);
                }
                None => self.commit_plain(core, upto),
            }
        }
    }

    fn commit_plain(&mut self, core: &mut Core, upto: Zxid) {
        self.tell_committed(core, upto, |zxid, txn| (Packet::Commit(zxid), Packet::Inform { zxid, txn }));
        core.commit(upto.max(core.committed));
    }

    /// Members change: everybody is told who leads from now on. If that is another one, the others leave this leader, and
    /// then it goes as well; what is behind is the next one's to commit.
    fn activate(&mut self, core: &mut Core, now: Now, reconfig: Zxid) {
        let (Some(reign), me) = (&mut self.reign, core.me()) else { return };
        let Some(next) = &core.membership().proposed else { return };
        let mut leader = me;
        if !core.stays_leader(me, next) {
            let heir = designated(&reign.learners, next, me);
            leader = heir.unwrap_or(me);
            tracing::warn!(?heir, "this leader is not to lead by the reconfiguration");
            reign.deposed = Some(Deposed { heir, until_ms: now.steady_ms + core.leave_patience_ms() });
        }
        let designated = leader.0.into();
        self.tell_committed(core, reconfig, |zxid, txn| {
            let commit = Packet::CommitAndActivate { zxid, designated };
            (commit, Packet::InformAndActivate { zxid, designated, txn })
        });
        // What learners are told goes out at the end of the step, behind what this has written on disk.
        core.commit(reconfig);
        self.stand(core);
    }

    /// Tells learners what is newly committed: followers that it is, observers what it is.
    fn tell_committed(&mut self, core: &Core, upto: Zxid, packets: impl Fn(Zxid, Bytes) -> (Packet, Packet)) {
        let Some(reign) = &mut self.reign else { return };
        let newly = |zxid: Zxid| zxid > core.committed && zxid <= upto;
        let mut count = 0;
        for (zxid, txn) in core.in_flight.txns().filter(|(zxid, _)| newly(*zxid)) {
            count += 1;
            let (commit, inform) = packets(zxid, txn.clone());
            for learner in reign.learners.values_mut().filter(|learner| learner.is_forwarded_to()) {
                if learner.is_observer() {
                    learner.send(&inform);
                } else {
                    learner.send_commit(&commit);
                }
            }
            // Between this txn and the next: a learner matches what comes back to what it has sent, in order.
            while let Some((_, link)) = reign.syncs.pop_front_if(|(behind, _)| *behind <= zxid) {
                if let Some(learner) = reign.learners.get_mut(&link) {
                    learner.send(&Packet::Sync);
                }
            }
        }
        core.rules.metrics.count(Counter::commit_count, count);
    }

    /// A learner's client wants to see what has been proposed so far: at once, if all of it is committed.
    pub(super) fn sync(&mut self, core: &Core, link: LinkId) {
        match &mut self.reign {
            Some(reign) if core.last_logged > core.committed => reign.syncs.push_back((core.last_logged, link)),
            Some(_) | None => self.send(link, &Packet::Sync),
        }
    }

    /// How many of them wait.
    pub(in crate::peer) fn pending_syncs(&self) -> usize {
        self.reign.as_ref().map_or(0, |reign| reign.syncs.len())
    }

    /// Applies what is committed, and answers.
    pub(in crate::peer) fn apply(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) {
        let Some(serving) = &mut self.serving else { return };
        let latencies = if self.reign.is_some() { BY_QUORUM } else { ALONE };
        let applied = core.apply(now, core.committed, latencies, wake);
        let last = core.database.read().last_zxid();
        serving.applied(last);
        serving.ended(core, &applied.ended, wake);
        if self.reign.as_ref().is_some_and(|reign| waits_for(&reign.learners, last, reign.learners_epoch())) {
            self.synchronise_waiting(core);
        }
    }
}
