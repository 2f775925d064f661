//! Bringing learners to the leader's history: what each is sent before it may serve (zab.md 4).

use std::sync::Arc;

use super::super::Output;
use super::super::core::{Core, WalkFor};
use super::super::learners::{Learners, Stage};
use super::super::rules::EnsembleRules;
use super::{Leading, Phase};
use crate::ids::{LinkId, Zxid};
use crate::zab::{Behind, Logged, Packet, Plan, plan};

/// Learners that are being synchronised at this time. What is in memory is sent at once and does not count.
struct Concurrent {
    /// They get the database, or wait for it.
    databases: usize,
    /// The log on disk is read for them.
    logs: usize,
}

impl Concurrent {
    fn count(learners: &Learners, is_walking: bool) -> Self {
        Self {
            databases: learners.values().filter(|learner| learner.queued).count() + usize::from(is_walking),
            logs: learners.values().filter(|learner| matches!(learner.stage, Stage::Reading(..))).count(),
        }
    }

    const fn is_full_for(&self, plan: &Plan, rules: &EnsembleRules) -> bool {
        match plan {
            Plan::Snap => self.databases >= rules.snap_syncs_max,
            Plan::Log { .. } => self.logs >= rules.diff_syncs_max,
            Plan::Diff { .. } | Plan::Trunc { .. } => false,
        }
    }
}

impl Leading {
    /// Synchronises whoever waits for it, as far as that is possible now.
    pub(super) fn synchronise_waiting(&mut self, core: &mut Core) {
        if self.reign.as_ref().is_none_or(|reign| reign.phase < Phase::Synchronising) {
            return;
        }
        for link in self.links(|learner| matches!(learner.stage, Stage::Waiting(_))) {
            self.synchronise(core, link);
        }
    }

    fn synchronise(&mut self, core: &mut Core, link: LinkId) {
        // What is proposed already is sent as such to those who are there already.
        self.broadcast(core);
        let Some(reign) = &mut self.reign else { return };
        let at_once = Concurrent::count(&reign.learners, core.walks_for_learner());
        let Some(learner) = reign.learners.get_mut(&link) else { return };
        let Stage::Waiting(zxid) = learner.stage else { return };
        let last = core.database.read().last_zxid();
        let behind = Behind { zxid, is_zkd: learner.is_zkd() };
        let rules = core.ensemble();
        let mut plan = plan(&core.history, last, behind, rules.force_snapshot);
        if matches!(plan, Plan::Log { .. }) && !rules.sync_from_log {
            plan = Plan::Snap;
        }
        // Nothing is won without the followers: only observers come again later.
        if learner.is_observer() && !learner.queued && at_once.is_full_for(&plan, rules) {
            self.close(core, link, "as many others are being synchronised as may be at once (EN-16)");
            return;
        }
        tracing::info!(learner = ?learner.sid, has = %zxid, last = %last, ?plan, "synchronising a learner");
        match plan {
            Plan::Diff { from, to } => {
                learner.send(&Packet::Diff(to));
                learner.send_committed(core.history.behind(from));
                self.complete(core, link);
            }
            Plan::Trunc { to } => {
                learner.send(&Packet::Trunc(to));
                learner.send_committed(core.history.behind(to));
                self.complete(core, link);
            }
            Plan::Log { from, until } => {
                learner.stage = Stage::Reading(from, until);
                core.history.hold();
                core.output(Output::ReadLog(link, from, until));
            }
            Plan::Snap => {
                let database = Arc::clone(&core.database);
                // Apache would find its newer txns in its log again after a restart: they must not be newer than the
                // snapshot it writes (ARCHITECTURE.md, "Forgetting"). The beginning of an epoch would say too much:
                // whoever has that has all that was before it.
                let has_more = !learner.is_zkd() && zxid > last;
                if has_more && zxid.counter() == 0 && reign.phase < Phase::Serving {
                    return;
                }
                let start = core.begin_walk(&mut database.write(), WalkFor::Learner(link));
                // While the tree is walked for somebody else, this one goes on waiting.
                learner.queued = start.is_none();
                let Some(mut start) = start else { return };
                if has_more {
                    start.zxid = zxid;
                }
                let out = std::mem::take(&mut learner.out);
                if !out.is_empty() {
                    core.output(Output::ToLearner(link, out));
                }
                core.output(Output::DatabaseToLearner(link, start));
                self.complete(core, link);
            }
        }
    }

    pub(in crate::peer) fn log_read(&mut self, core: &mut Core, link: LinkId, txns: Option<Vec<Logged>>) {
        let Some(reign) = &mut self.reign else { return };
        let Some(learner) = reign.learners.get_mut(&link) else { return };
        let Stage::Reading(from, until) = learner.stage else { return };
        // The window is bounded in bytes whoever needs it.
        let is_kept = core.history.bounds().is_none_or(|(min, _)| min <= until);
        let Some(txns) = txns.filter(|_| is_kept) else {
            core.history.release();
            // The log does not lead there: the whole database does.
            learner.stage = Stage::Waiting(Zxid(-1));
            self.synchronise(core, link);
            return;
        };
        let read = txns.last().map_or(from, |(zxid, _)| *zxid);
        let last = core.history.bounds().map_or(read, |(_, max)| max);
        learner.send(&Packet::Diff(last));
        learner.send_committed(txns.iter());
        learner.send_committed(core.history.behind(read));
        // Not before the rest was taken from the window.
        core.history.release();
        self.complete(core, link);
    }

    /// NEWLEADER, and behind it all that is not committed yet (zab.md 12.1).
    fn complete(&mut self, core: &Core, link: LinkId) {
        let Some(reign) = &mut self.reign else { return };
        let zxid = reign.zxid();
        let Some(learner) = reign.learners.get_mut(&link) else { return };
        // Before the epoch begins it is part of its history what is proposed. Later that comes as a txn.
        let membership = core.membership();
        let members = if reign.phase < Phase::Serving { membership.newest() } else { &membership.committed };
        learner.send(&Packet::NewLeader { zxid, config: Some(members.text().into()) });
        for (zxid, txn) in core.in_flight.txns() {
            let committed = zxid <= core.committed;
            if learner.is_observer() {
                if committed {
                    learner.send(&Packet::Inform { zxid, txn: txn.clone() });
                }
                continue;
            }
            learner.send(&Packet::Proposal { zxid, txn: txn.clone() });
            if committed {
                learner.send(&Packet::Commit(zxid));
            }
        }
        learner.given = core.database.read().last_zxid();
        learner.stage = Stage::Syncing;
    }

    /// A walk has ended, this leader's or another's.
    pub(in crate::peer) fn walk_ended(&mut self, core: &mut Core, whom: WalkFor, whole: bool) {
        if let (WalkFor::Learner(link), false) = (whom, whole) {
            self.close(core, link, "the database could not be sent");
        }
        self.synchronise_waiting(core);
    }
}
