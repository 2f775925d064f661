//! Broadcast, as one who follows has it: what is proposed is logged and acknowledged, what is committed is passed on and
//! applied (zab.md 7, 8).

use std::task::Waker;

use bytes::Bytes;

use super::super::core::{Core, Leave, Outcome, observe_age};
use super::observers::Observers;
use super::{Following, Stage, own};
use crate::ids::{Now, SessionId, Zxid};
use crate::metrics::{Advanced, Counter};
use crate::pipeline::{Origin, Synced};
use crate::storage::Durable;
use crate::storage::log_files::follows;
use crate::zab::Packet;

/// What a leader reads of sessions in one packet: 12 bytes each, and no more than two mebibytes.
const PONG_SESSIONS_MAX: usize = 100_000;

impl Following {
    pub(super) fn log(&mut self, core: &mut Core, zxid: Zxid, txn: Bytes) {
        core.log(zxid, txn, Origin::Nobody);
        self.pending.push_back(zxid);
        if !self.observer {
            self.unacknowledged.push_back(zxid);
        }
    }

    /// A packet while all is well.
    pub(super) fn packet(&mut self, core: &mut Core, now: Now, packet: Packet, wake: &mut Vec<Waker>) -> Outcome {
        match packet {
            Packet::Proposal { zxid, txn } => {
                core.rules.metrics.count(Counter::learner_proposal_received_count, 1);
                observe_age(&core.rules.metrics, &[Advanced::proposal_latency], now, &txn);
                self.expect(core, zxid)?;
                self.check(core, &txn, zxid)?;
                self.log(core, zxid, own(&txn));
            }
            Packet::Commit(zxid) => {
                core.rules.metrics.count(Counter::learner_commit_received_count, 1);
                self.commit(core, zxid)?;
            }
            Packet::CommitAndActivate { zxid, designated } => {
                self.commit(core, zxid)?;
                self.pass_on(core, Some((zxid, designated)));
                self.apply(core, now, wake);
                self.stay(core, designated)?;
            }
            Packet::Inform { zxid, txn } => {
                core.rules.metrics.count(Counter::learner_commit_received_count, 1);
                self.inform(core, zxid, &txn)?;
            }
            Packet::InformAndActivate { zxid, designated, txn } => {
                self.inform(core, zxid, &txn)?;
                self.apply(core, now, wake);
                self.stay(core, designated)?;
            }
            Packet::Ping(zxid) => {
                let mut sessions = self.clients.heard(core, now, wake);
                sessions.extend(self.observers.iter_mut().flat_map(Observers::heard));
                while sessions.len() > PONG_SESSIONS_MAX {
                    let some = sessions.split_off(sessions.len() - PONG_SESSIONS_MAX);
                    self.send(&Packet::Pong { zxid, sessions: some });
                }
                self.send(&Packet::Pong { zxid, sessions });
            }
            Packet::Sync => {
                // What was committed before is seen by the one who asked.
                self.apply(core, now, wake);
                self.synced(core, now, wake)?;
            }
            Packet::Revalidated { session, valid } => self.revalidated(core, now, session, valid, wake),
            Packet::HandOver(heir) => return Err(Leave::to(heir, "the leader leaves, and hands over to")),
            other => tracing::debug!(?other, "ignored"),
        }
        Ok(())
    }

    fn synced(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) -> Outcome {
        let synced = core.forwarded.synced(&core.database.read(), now, wake);
        match (synced, &mut self.observers) {
            (Synced::Relayed(link), Some(observers)) => observers.synced(link),
            (Synced::OutOfTurn, _) => {
                let oldest = core.forwarded.oldest();
                return Err(Leave::because(format!("the leader answers a sync out of its turn: {oldest} is older")));
            }
            (Synced::Answered | Synced::Relayed(_), _) => {}
        }
        Ok(())
    }

    fn revalidated(&mut self, core: &mut Core, now: Now, session: SessionId, valid: bool, wake: &mut Vec<Waker>) {
        let observer = self.clients.revalidated(core, now, session, valid, wake);
        match (&mut self.observers, observer) {
            (Some(observers), Some(link)) => observers.revalidated(link, session, valid),
            (Some(observers), None) if !valid => observers.session_is_gone(session),
            (Some(_) | None, _) => {}
        }
    }

    /// Those who learn from this server are told what is committed, before it is applied.
    fn pass_on(&mut self, core: &Core, activates: Option<(Zxid, i64)>) {
        if let Some(observers) = &mut self.observers {
            observers.pass_on(core, activates);
        }
    }

    fn commit(&mut self, core: &mut Core, zxid: Zxid) -> Outcome {
        match self.pending.front() {
            Some(first) if *first == zxid => {
                self.pending.pop_front();
                core.commit(zxid);
            }
            Some(first) => {
                return Err(Leave::because(format!("the leader commits {zxid}, and {first} is the next one")));
            }
            None => tracing::warn!(%zxid, "the leader commits what it has not proposed"),
        }
        Ok(())
    }

    fn inform(&mut self, core: &mut Core, zxid: Zxid, txn: &Bytes) -> Outcome {
        self.expect(core, zxid)?;
        self.check(core, txn, zxid)?;
        core.log(zxid, own(txn), Origin::Nobody);
        core.commit(zxid);
        Ok(())
    }

    fn expect(&self, core: &Core, zxid: Zxid) -> Outcome {
        if zxid <= core.last_logged {
            return Err(Leave::because(format!("the leader proposes {zxid} behind {}", core.last_logged)));
        }
        if !follows(core.last_logged.max(Zxid::new(self.epoch, 0)), zxid) {
            return Err(Leave::because(format!("the leader proposes {zxid} right behind {}", core.last_logged)));
        }
        Ok(())
    }

    /// The log is durable up to `core.durable`: says so, each txn for itself, since Apache's leaders count so.
    pub(in crate::peer) fn durable(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) {
        self.acknowledge(core.durable);
        self.record(core, now, wake);
    }

    fn acknowledge(&mut self, durable: Durable) {
        while let Some(zxid) = self.unacknowledged.pop_front_if(|zxid| *zxid <= durable.zxid()) {
            self.send(&Packet::Ack(zxid));
        }
    }

    /// Applies what is committed, and answers.
    pub(in crate::peer) fn apply(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) {
        if self.stage != Stage::Serving {
            return;
        }
        self.pass_on(core, None);
        let latencies = [Advanced::propagation_latency, Advanced::commit_propagation_latency];
        let applied = core.apply(now, core.committed, &latencies, wake);
        self.clients.ended(core, &applied.ended, wake);
        if let Some(observers) = &mut self.observers {
            observers.applied(core, &applied.ended);
        }
    }
}
