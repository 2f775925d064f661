//! Bringing learners to a server's history: what each is sent before it may serve (zab.md 4). A leader does so with all
//! that follow it, a follower with observers that learn from it.

use std::sync::Arc;

use super::Output;
use super::core::{Core, WalkFor};
use super::learners::{Learner, Learners, Stage};
use super::rules::EnsembleRules;
use crate::ids::{LinkId, Zxid};
use crate::metrics::Counter;
use crate::zab::{Behind, Logged, Packet, Plan, plan};

/// The epoch that learners are brought into.
#[derive(Clone, Copy, Debug)]
pub(super) struct LearnersEpoch {
    /// Its zxid before its first txn.
    pub(super) zxid: Zxid,
    /// Whether it has begun: all that was before is committed.
    pub(super) has_begun: bool,
}

/// A learner that has to go, and why.
pub(super) type Rejected = (LinkId, &'static str);

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

/// Whether a learner has what is not applied here yet. An Apache server cannot forget that, and would take this tree for one
/// that holds it: once it does, a DIFF is enough.
fn is_in_flight(zxid: Zxid, applied: Zxid, epoch: LearnersEpoch) -> bool {
    zxid > applied && zxid.epoch() == epoch.zxid.epoch()
}

/// Whether somebody waits for what is applied now.
pub(super) fn waits_for(learners: &Learners, applied: Zxid, epoch: LearnersEpoch) -> bool {
    let waits = |learner: &Learner| {
        let Stage::Waiting(zxid) = learner.stage else { return false };
        !learner.queued && zxid.epoch() == epoch.zxid.epoch() && zxid <= applied
    };
    learners.values().any(waits)
}

/// Whether an Apache server has more than this one. It cannot forget that (ARCHITECTURE.md, "Forgetting").
fn has_more(learner: &Learner, zxid: Zxid, last: Zxid) -> bool {
    !learner.is_zkd() && zxid > last
}

/// Whether those who have come are no quorum without this voter, and without others who have more.
fn is_needed(learners: &Learners, core: &Core, link: LinkId, last: Zxid) -> bool {
    let may_join = |(other, learner): &(&LinkId, &Learner)| {
        **other != link && !matches!(learner.stage, Stage::Waiting(zxid) if has_more(learner, zxid, last))
    };
    let others = || learners.iter().filter(may_join).filter_map(|(_, other)| other.follower());
    let votes = learners.get(&link).and_then(Learner::follower).is_some_and(|sid| core.quorums().is_voter(sid));
    votes && !core.quorums().is_quorum(|sid| sid == core.me() || others().any(|other| other == sid))
}

/// Synchronises whoever waits for it, as far as that is possible now: those first who may be needed. What is committed, or
/// proposed, has been sent as such to those who are there already.
pub(super) fn synchronise_waiting(learners: &mut Learners, core: &mut Core, epoch: LearnersEpoch) -> Vec<Rejected> {
    let waits = |(_, learner): &(&LinkId, &Learner)| matches!(learner.stage, Stage::Waiting(_));
    let waiting = learners.iter().filter(waits);
    let mut waiting: Vec<_> = waiting.map(|(link, learner)| (learner.is_observer(), *link)).collect();
    waiting.sort_unstable();
    waiting.into_iter().filter_map(|(_, link)| synchronise(learners, core, link, epoch)).collect()
}

fn synchronise(learners: &mut Learners, core: &mut Core, link: LinkId, epoch: LearnersEpoch) -> Option<Rejected> {
    let at_once = Concurrent::count(learners, core.walks_for_learner());
    let learner = learners.get(&link)?;
    let Stage::Waiting(zxid) = learner.stage else { return None };
    let applied = core.database.read().last_zxid();
    // A follower's tree does not say so before the first txn of the epoch.
    let last = if epoch.has_begun { applied.max(epoch.zxid) } else { applied };
    if !learner.is_zkd() && epoch.has_begun && is_in_flight(zxid, last, epoch) {
        return None;
    }
    let behind = Behind { zxid, is_zkd: learner.is_zkd() };
    let rules = core.ensemble();
    let mut plan = plan(&core.history, last, behind, rules.force_snapshot);
    if matches!(plan, Plan::Log { .. }) && !rules.sync_from_log {
        plan = Plan::Snap;
    }
    // Nothing is won without the followers: only observers come again later.
    if learner.is_observer() && !learner.queued && at_once.is_full_for(&plan, rules) {
        return Some((link, "as many others are being synchronised as may be at once (EN-16)"));
    }
    // Once the epoch has begun, who has more gets the tree under its zxid. Before, that would say too much: whoever has the
    // beginning of an epoch has all that was before it. So the learner's own has to do, if nothing begins without it.
    let has_more = matches!(plan, Plan::Snap) && has_more(learner, zxid, last);
    if has_more && !epoch.has_begun && (zxid.counter() == 0 || !is_needed(learners, core, link, last)) {
        return None;
    }
    let learner = learners.get_mut(&link)?;
    tracing::info!(learner = ?learner.sid, has = %zxid, last = %last, ?plan, "synchronising a learner");
    match plan {
        Plan::Diff { from, to } => {
            learner.send(&Packet::Diff(to));
            learner.send_committed(core.history.behind(from));
            complete(learner, core, epoch, Counter::diff_count);
        }
        Plan::Trunc { to } => {
            learner.send(&Packet::Trunc(to));
            learner.send_committed(core.history.behind(to));
            complete(learner, core, epoch, Counter::diff_count);
        }
        Plan::Log { from, until } => {
            learner.stage = Stage::Reading(from, until);
            core.history.hold();
            core.output(Output::ReadLog(link, from, until));
        }
        Plan::Snap => {
            let database = Arc::clone(&core.database);
            // Apache would find its newer txns in its log again after a restart: they must not be newer than the
            // snapshot it writes.
            let start = core.begin_walk(&mut database.write(), WalkFor::Learner(link));
            // While the tree is walked for somebody else, this one goes on waiting.
            learner.queued = start.is_none();
            let mut start = start?;
            start.zxid = if has_more { zxid } else { last };
            let out = std::mem::take(&mut learner.out);
            if !out.is_empty() {
                core.output(Output::ToLearner(link, out));
            }
            core.output(Output::DatabaseToLearner(link, start));
            complete(learner, core, epoch, Counter::snap_count);
        }
    }
    None
}

/// The log on disk was read for a learner.
pub(super) fn log_read(
    learners: &mut Learners,
    core: &mut Core,
    link: LinkId,
    txns: Option<Vec<Logged>>,
    epoch: LearnersEpoch,
) -> Option<Rejected> {
    let learner = learners.get_mut(&link)?;
    let Stage::Reading(from, until) = learner.stage else { return None };
    // The window is bounded in bytes whoever needs it.
    let is_kept = core.history.bounds().is_none_or(|(min, _)| min <= until);
    let Some(txns) = txns.filter(|_| is_kept) else {
        core.history.release();
        // The log does not lead there: the whole database does.
        learner.stage = Stage::Waiting(Zxid(-1));
        return synchronise(learners, core, link, epoch);
    };
    let read = txns.last().map_or(from, |(zxid, _)| *zxid);
    let last = core.history.bounds().map_or(read, |(_, max)| max);
    learner.send(&Packet::Diff(last));
    learner.send_committed(txns.iter());
    learner.send_committed(core.history.behind(read));
    // Not before the rest was taken from the window.
    core.history.release();
    complete(learner, core, epoch, Counter::diff_count);
    None
}

/// NEWLEADER, and behind it all that is not committed yet (zab.md 12.1).
fn complete(learner: &mut Learner, core: &Core, epoch: LearnersEpoch, kind: Counter) {
    core.rules.metrics.count(kind, 1);
    // Before the epoch begins it is part of its history what is proposed. Later that comes as a txn.
    let membership = core.membership();
    let members = if epoch.has_begun { &membership.committed } else { membership.newest() };
    learner.send(&Packet::NewLeader { zxid: epoch.zxid, config: Some(members.text().into()) });
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
