//! A server: what it keeps, the role that it is in, and the election that gives it the next one.

use std::sync::Arc;
use std::task::Waker;

use super::core::{Core, Leave, Outcome, WalkFor, refuse_all};
use super::following::Following;
use super::leading::Leading;
use super::local::LocalSessions;
use super::reading::Reading;
use super::rules::PeerRules;
use super::standing::{ExpirySets, Mode, Report, Standing};
use super::{Beginning, Input, Machine, Output};
use crate::ids::{Now, Sid, Zxid};
use crate::pipeline::{Lane, LoadDatabase, WriteRequest};
use crate::session::Sessions;
use crate::storage::epochs::EpochFile;
use crate::zab::{Candidacy, Election, Ensemble, Notification, PeerState, Quorums, Vote};

/// One server.
#[derive(Debug)]
pub struct Peer {
    pub(super) core: Core,
    /// `None` for a server alone.
    pub(super) election: Option<Election>,
    pub(super) role: Role,
    stop_by_ms: Option<u64>,
    /// A database that takes the place of this server's once nothing is in flight.
    pub(super) brought: Option<Box<LoadDatabase>>,
    /// How many have.
    pub(super) restored: u64,
}

/// What a server is doing.
#[derive(Debug)]
pub(super) enum Role {
    /// A role has ended: what it logged has to become durable before the next one begins (ZOOKEEPER-4712). Not before
    /// the time given; and then the heir leads, if there is one.
    WindingUp { not_before_ms: u64, heir: Option<Sid> },
    /// It looks for a leader. Once that has lasted, it may serve those that only read.
    Looking { read_only_at_ms: Option<u64>, reading: Option<Box<Reading>> },
    /// It leads.
    Leading(Box<Leading>),
    /// It follows.
    Following(Box<Following>),
}

/// How long a server that was told to stop waits for what is in flight, ms.
const FAREWELL_MS: u64 = 2000;
/// How long an heir waits for those who were told to follow it, ticks.
const HEIR_PATIENCE_TICKS: u32 = 1;
/// How long a server looks for a leader before it serves those that only read, ms; a tick if that is longer (EN-35).
const READ_ONLY_AFTER_MS: u64 = 2000;

impl Peer {
    /// A server over a database that was recovered.
    #[must_use]
    pub fn new(rules: PeerRules, beginning: Beginning, now: Now) -> Self {
        let election = rules.ensemble.as_ref().map(|ensemble| Election::new(rules.sid, ensemble.election));
        let core = Core::new(rules, beginning, now);
        let mut peer = Self {
            core,
            election,
            role: Role::WindingUp { not_before_ms: now.steady_ms, heir: None },
            stop_by_ms: None,
            brought: None,
            restored: 0,
        };
        if peer.election.is_some() {
            peer.core.stand(Standing { mode: Mode::Looking, ..Standing::default() });
            peer.look(now, &mut Vec::new());
        } else {
            match Leading::alone(&mut peer.core, now) {
                Ok(leading) => peer.role = Role::Leading(Box::new(leading)),
                Err(leave) => peer.core.send(Output::Fail(leave.reason)),
            }
        }
        peer
    }

    /// The sessions and when they are due, on the server that tracks them.
    #[must_use]
    pub fn sessions(&self) -> Option<&Sessions> {
        match &self.role {
            Role::Leading(leading) => leading.serving.as_ref().map(|serving| &serving.sessions),
            Role::WindingUp { .. } | Role::Looking { .. } | Role::Following(_) => None,
        }
    }

    /// What reports tell of it beside its [`Standing`].
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            local_sessions: self.local_sessions().map_or(0, |local| local.sessions().len()),
            proposal_bytes: self.core.proposal_bytes,
            pending_syncs: match &self.role {
                Role::Leading(leading) => leading.pending_syncs(),
                Role::Following(_) | Role::WindingUp { .. } | Role::Looking { .. } => 0,
            },
        }
    }

    /// Its sessions by when they are due.
    #[must_use]
    pub fn expiry_sets(&self) -> ExpirySets {
        ExpirySets {
            tracked: self.sessions().map(Sessions::expiry_sets),
            local: self.local_sessions().map(|local| local.sessions().expiry_sets()),
        }
    }

    fn local_sessions(&self) -> Option<&LocalSessions> {
        match &self.role {
            Role::Leading(leading) => leading.serving.as_ref()?.local.as_ref(),
            Role::Following(following) => following.clients.local(),
            Role::Looking { reading, .. } => reading.as_ref().map(|reading| &reading.local),
            Role::WindingUp { .. } => None,
        }
    }

    /// `srst`: the sizes of proposals begin anew.
    pub const fn reset_report(&mut self) {
        self.core.proposal_bytes = None;
    }

    /// The last txn that is known to be committed.
    #[must_use]
    pub const fn committed(&self) -> Zxid {
        self.core.committed
    }

    /// Whether all that can be done of what was taken is done. A log without room holds the rest, which nobody was
    /// promised.
    #[must_use]
    pub fn is_idle(&self, now: Now) -> bool {
        let is_done = match &self.role {
            Role::Leading(leading) if leading.is_serving() => self.core.in_flight.is_empty() && leading.has_left(),
            Role::Leading(_) | Role::Following(_) | Role::WindingUp { .. } | Role::Looking { .. } => true,
        };
        is_done || self.core.disk_full || self.stop_by_ms.is_some_and(|at| now.steady_ms >= at)
    }

    fn dispatch(&mut self, now: Now, input: Input, wake: &mut Vec<Waker>) -> Outcome {
        match input {
            Input::Connect(lane, greeting) => match &mut self.role {
                Role::Leading(leading) if leading.takes_clients(&self.core) => {
                    if let Some(serving) = &mut leading.serving {
                        serving.connect(&mut self.core, now, &lane, &greeting, wake)?;
                    }
                }
                Role::Following(following) => following.connect(&mut self.core, now, &lane, &greeting, wake),
                Role::Looking { reading: Some(reading), .. } => {
                    reading.connect(&mut self.core, now, &lane, &greeting, wake);
                }
                Role::WindingUp { .. } | Role::Looking { .. } | Role::Leading(_) => wake.extend(lane.lock().cut()),
            },
            Input::Writes(requests) => self.writes(now, requests, wake)?,
            Input::Disconnected(connection) => {
                if let Some(lane) = self.core.lanes.remove(connection) {
                    self.disconnected(&lane);
                }
            }
            Input::Durable(durable) => {
                self.core.durable = self.core.durable.max(durable);
                match &mut self.role {
                    Role::Leading(leading) => leading.durable(&mut self.core, now),
                    Role::Following(following) => following.durable(&mut self.core, now, wake),
                    Role::WindingUp { .. } | Role::Looking { .. } => {}
                }
            }
            Input::DiskFull(full) => self.disk_full(full)?,
            Input::WalkEnded(number, whole) => match (&mut self.role, self.core.end_walk(number)) {
                (Role::Leading(leading), Some(whom)) => leading.walk_ended(&mut self.core, whom, whole),
                (Role::Following(following), Some(whom)) => following.walk_ended(&mut self.core, whom, whole),
                (_, _) => {}
            },
            Input::SnapshotWritten(number, durable) => {
                self.core.snapshot_written(number, durable);
                match &mut self.role {
                    Role::Leading(leading) => leading.walk_ended(&mut self.core, WalkFor::File, true),
                    Role::Following(following) => following.snapshot_written(&mut self.core, now, wake)?,
                    Role::WindingUp { .. } | Role::Looking { .. } => {}
                }
            }
            Input::RollWanted => self.core.output(Output::RollLog),
            Input::EpochWritten(file, epoch) => {
                self.core.disk_work_done();
                match file {
                    EpochFile::Accepted => self.core.epochs.accepted = epoch,
                    EpochFile::Current => self.core.epochs.current = epoch,
                }
                match &mut self.role {
                    Role::Leading(leading) => leading.epoch_written(&mut self.core, now, file)?,
                    Role::Following(following) => following.epoch_written(&mut self.core, now, file, epoch),
                    Role::WindingUp { .. } | Role::Looking { .. } => {}
                }
            }
            Input::LearnerConnected(link) => match &mut self.role {
                Role::Leading(leading) => leading.connected(&mut self.core, now, link),
                Role::Following(following) => following.learner_connected(&mut self.core, now, link),
                Role::WindingUp { .. } | Role::Looking { .. } => self.core.send(Output::CloseLearner(link)),
            },
            Input::FromLearner(link, packets) => match &mut self.role {
                Role::Leading(leading) => leading.packets(&mut self.core, now, link, packets, wake)?,
                Role::Following(following) => following.learner_packets(&mut self.core, now, link, packets, wake),
                Role::WindingUp { .. } | Role::Looking { .. } => {}
            },
            Input::LearnerTakes(link) => match &mut self.role {
                Role::Leading(leading) => leading.learner_takes(&self.core, now, link),
                Role::Following(following) => following.learner_takes(now, link),
                Role::WindingUp { .. } | Role::Looking { .. } => {}
            },
            Input::LearnerGone(link) => match &mut self.role {
                Role::Leading(leading) => leading.gone(&mut self.core, link),
                Role::Following(following) => following.learner_gone(&mut self.core, link),
                Role::WindingUp { .. } | Role::Looking { .. } => {}
            },
            Input::LogRead(link, txns) => match &mut self.role {
                Role::Leading(leading) => leading.log_read(&mut self.core, link, txns),
                Role::Following(following) => following.log_read(&mut self.core, link, txns),
                Role::WindingUp { .. } | Role::Looking { .. } => {}
            },
            Input::LeaderConnected(link) => {
                if let Role::Following(following) = &mut self.role {
                    following.leader_connected(&self.core, now, link);
                }
            }
            Input::FromLeader(link, arrivals) => {
                if let Role::Following(following) = &mut self.role {
                    following.arrivals(&mut self.core, now, link, arrivals, wake)?;
                }
            }
            Input::LeaderGone(link) => {
                if let Role::Following(following) = &mut self.role {
                    following.leader_gone(&mut self.core, now, link)?;
                }
            }
            Input::Truncated(restored) => {
                self.core.disk_work_done();
                let is_cut = restored.is_some();
                if let Some(restored) = restored {
                    self.core.cut_back(now, *restored);
                }
                if let Role::Following(following) = &mut self.role {
                    following.truncated(&mut self.core, now, is_cut, wake)?;
                }
            }
            Input::Notified(from, notification) => {
                self.learn_members(now, from, &notification, wake)?;
                self.note_search(now, from, notification.state)?;
                self.elect(now, wake, |election, quorums| election.receive(now, from, &notification, quorums))?;
            }
            Input::Reachable(sid, reachable) => {
                self.elect(now, wake, |election, quorums| election.reachable(now, sid, reachable, quorums))?;
            }
            Input::Restore(load) => self.restore(load)?,
            Input::Tick => self.tick(now, wake)?,
            Input::Stop => {
                self.core.stopping = true;
                self.stop_by_ms = Some(now.steady_ms + FAREWELL_MS);
            }
        }
        Ok(())
    }

    fn writes(&mut self, now: Now, requests: Vec<WriteRequest>, wake: &mut Vec<Waker>) -> Outcome {
        match &mut self.role {
            Role::Leading(leading) => leading.writes(&mut self.core, now, requests, wake),
            Role::Following(following) => {
                following.writes(&mut self.core, now, requests, wake);
                Ok(())
            }
            Role::Looking { reading: Some(reading), .. } => {
                reading.writes(&mut self.core, now, requests, wake);
                Ok(())
            }
            Role::WindingUp { .. } | Role::Looking { .. } => refuse_all(&requests, wake),
        }
    }

    fn disconnected(&mut self, lane: &Arc<Lane>) {
        let session = lane.lock().session();
        match &mut self.role {
            Role::Leading(leading) => {
                if let Some(serving) = &mut leading.serving {
                    serving.disconnected(session, lane.id);
                }
            }
            Role::Following(following) => following.clients.disconnected(session, lane.id),
            Role::Looking { reading, .. } => {
                if let Some(reading) = reading {
                    reading.disconnected(session, lane.id);
                }
            }
            Role::WindingUp { .. } => {}
        }
    }

    /// A server alone waits for space. A member of an ensemble lets others go on: it cannot log, so it counts for
    /// nothing.
    fn disk_full(&mut self, full: bool) -> Outcome {
        self.core.disk_full = full;
        if full && self.election.is_some() && matches!(self.role, Role::Leading(_) | Role::Following(_)) {
            return Err(Leave::because("the log has no room"));
        }
        Ok(())
    }

    fn tick(&mut self, now: Now, wake: &mut Vec<Waker>) -> Outcome {
        self.elect(now, wake, |election, quorums| election.tick(now, quorums))?;
        match &mut self.role {
            Role::Leading(leading) => leading.tick(&mut self.core, now, wake),
            Role::Following(following) => following.tick(&mut self.core, now, wake),
            Role::Looking { read_only_at_ms, reading } => {
                if let Some(reading) = reading {
                    reading.local.expire(&mut self.core, now, wake);
                } else if read_only_at_ms.is_some_and(|at| at <= now.steady_ms) {
                    *reading = Some(Box::new(Reading::begin(&mut self.core, now)));
                }
                Ok(())
            }
            Role::WindingUp { .. } => Ok(()),
        }
    }

    /// Lets the election take a step, and takes the role that comes of it.
    fn elect(
        &mut self,
        now: Now,
        wake: &mut Vec<Waker>,
        step: impl FnOnce(&mut Election, Quorums<'_>) -> Option<Vote>,
    ) -> Outcome {
        let Some(election) = &mut self.election else { return Ok(()) };
        let vote = step(election, self.core.quorums());
        self.notify();
        match vote {
            Some(vote) if matches!(self.role, Role::Looking { .. }) => {
                self.core.output(Output::Elected);
                let patience_ms = self.core.ticks_ms(self.core.ensemble().init_limit);
                self.take_role(now, vote, patience_ms, wake)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Who looks for a leader takes the members that others say are in force, if they are newer, and looks anew among
    /// those (election.md 6); and hears of those that are proposed.
    fn learn_members(&mut self, now: Now, from: Sid, heard: &Notification, wake: &mut Vec<Waker>) -> Outcome {
        let Role::Looking { .. } = self.role else { return Ok(()) };
        if !self.core.reconfigures() {
            return Ok(());
        }
        // A text that is none is no reason not to hear the vote.
        let parse = |text: &bytes::Bytes| Ensemble::parse(&String::from_utf8_lossy(text)).ok();
        let Some(members) = heard.config.as_ref().and_then(parse) else { return Ok(()) };
        let version = members.version();
        let is_news = self.core.adopt_members(now, members);
        if let Some(proposed) = heard.proposed.as_ref().and_then(parse) {
            self.core.hear_of_members(from, version, proposed);
        }
        if !is_news {
            return Ok(());
        }
        if self.core.has_unlogged {
            return Err(Leave::because("this server is to vote, and has kept no log so far"));
        }
        let own = self.candidacy();
        self.elect(now, wake, |election, quorums| election.look(now, own, quorums))
    }

    /// One that voted for this leader looks for another (EN-18).
    fn note_search(&mut self, now: Now, from: Sid, state: PeerState) -> Outcome {
        match (&self.role, &self.election) {
            (Role::Leading(leading), Some(election)) if state == PeerState::Looking && election.is_backed_by(from) => {
                leading.deserted(&self.core, now, from)
            }
            _ => Ok(()),
        }
    }

    /// What this server brings to an election.
    fn candidacy(&self) -> Candidacy {
        Candidacy { zxid: self.core.last_zxid(), epoch: self.core.epochs.current }
    }

    fn notify(&mut self) {
        let Some(election) = &mut self.election else { return };
        while let Some((sid, notification)) = election.poll_send() {
            self.core.send(Output::Notify(sid, notification));
        }
    }

    fn take_role(&mut self, now: Now, vote: Vote, patience_ms: u64, wake: &mut Vec<Waker>) -> Outcome {
        if let Role::Looking { reading: Some(_), .. } = self.role {
            self.core.cut_clients(wake);
            self.core.stand(Standing { mode: Mode::Looking, ..Standing::default() });
        }
        let Some(election) = &mut self.election else { return Ok(()) };
        let Ok(leader) = u8::try_from(vote.leader).map(Sid) else { return Ok(()) };
        if leader == self.core.me() {
            tracing::info!(zxid = %vote.zxid, round = vote.round, "elected");
            election.settle(PeerState::Leading, vote);
            self.role = Role::Leading(Box::new(Leading::elected(&mut self.core, now, patience_ms)?));
        } else {
            tracing::info!(?leader, zxid = %vote.zxid, round = vote.round, "another server was elected");
            let observes = self.core.observes();
            election.settle(if observes { PeerState::Observing } else { PeerState::Following }, vote);
            self.role = Role::Following(Box::new(Following::begin(&mut self.core, now, leader)));
        }
        Ok(())
    }

    /// The role has ended.
    fn wind_up(&mut self, now: Now, leave: Leave, wake: &mut Vec<Waker>) {
        let Leave { reason, heir } = leave;
        match self.election {
            Some(_) => tracing::warn!(reason, "leaving the ensemble's service"),
            None => tracing::warn!(reason, "clients are not served"),
        }
        let mut not_before_ms = now.steady_ms;
        match &mut self.role {
            Role::Leading(_) if self.election.is_none() => {}
            Role::Leading(_) => self.core.output(Output::Listen(None)),
            Role::Following(following) => {
                following.leave(&mut self.core);
                if self.core.observes() && heir.is_none() {
                    let chance_ms = self.core.random.u64(0..self.core.ensemble().observer_delay_ms.max(1));
                    not_before_ms += self.core.ensemble().observer_reconnect_ms + chance_ms;
                }
            }
            Role::WindingUp { .. } | Role::Looking { .. } => {}
        }
        self.role = Role::WindingUp { not_before_ms, heir };
        self.core.history.release_all();
        self.core.cut_clients(wake);
        if let Some(election) = &mut self.election {
            election.rest();
        }
        self.core.stand(Standing { mode: Mode::Looking, ..Standing::default() });
    }

    /// Looks for a leader once the last role's log is durable: everything in it counts for the vote (election.md 4).
    fn try_look(&mut self, now: Now, wake: &mut Vec<Waker>) {
        let Role::WindingUp { not_before_ms, heir } = self.role else { return };
        self.core.write_unlogged(now, wake);
        if !self.core.is_settled() || now.steady_ms < not_before_ms {
            return;
        }
        let last = self.core.last_logged;
        let _nobody_is_connected = self.core.apply(now, last, &[], wake);
        match heir {
            Some(heir) => self.inherit(now, heir, wake),
            None => self.look(now, wake),
        }
    }

    /// The last leader has named the next one: no election is needed.
    fn inherit(&mut self, now: Now, heir: Sid, wake: &mut Vec<Waker>) {
        let Some(election) = &self.election else { return };
        let (leader, round) = (heir.0.into(), election.round());
        let vote = Vote { leader, zxid: self.core.last_zxid(), round, epoch: self.core.epochs.current.into() };
        // Those who were told of it come at once.
        let patience_ms = self.core.ticks_ms(HEIR_PATIENCE_TICKS);
        if let Err(leave) = self.take_role(now, vote, patience_ms, wake) {
            self.wind_up(now, leave, wake);
        }
    }

    fn look(&mut self, now: Now, wake: &mut Vec<Waker>) {
        let patience_ms = self.core.rules.tick_ms.max(READ_ONLY_AFTER_MS);
        let read_only_at_ms = self.core.ensemble().read_only_mode.then_some(now.steady_ms + patience_ms);
        self.role = Role::Looking { read_only_at_ms, reading: None };
        self.core.output(Output::Looking);
        let own = self.candidacy();
        if let Err(leave) = self.elect(now, wake, |election, quorums| election.look(now, own, quorums)) {
            // A server that is a quorum by itself, and cannot lead: nothing else would help.
            self.core.send(Output::Fail(leave.reason));
        }
    }

    /// Does what is due behind every input.
    fn settle(&mut self, now: Now, wake: &mut Vec<Waker>) {
        match &mut self.role {
            Role::Leading(leading) => {
                leading.apply(&mut self.core, now, wake);
                if self.core.stopping {
                    leading.hand_over(&self.core);
                }
                leading.flush(&mut self.core);
            }
            Role::Following(following) => {
                following.apply(&mut self.core, now, wake);
                following.flush(&mut self.core);
            }
            Role::WindingUp { .. } if self.election.is_none() => self.try_restore(now, wake),
            Role::WindingUp { .. } => self.try_look(now, wake),
            Role::Looking { .. } => {}
        }
        let epoch = match &self.role {
            Role::Leading(leading) => leading.epoch(),
            Role::Following(following) => following.epoch(),
            Role::WindingUp { .. } | Role::Looking { .. } => None,
        };
        if let (Some(epoch), Some(election)) = (epoch, &mut self.election) {
            election.joined(epoch);
        }
    }
}

impl Machine for Peer {
    fn handle(&mut self, now: Now, input: Input, wake: &mut Vec<Waker>) {
        if let Err(leave) = self.dispatch(now, input, wake) {
            if self.election.is_some() || self.brought.is_some() {
                self.wind_up(now, leave, wake);
            } else {
                self.core.send(Output::Fail(leave.reason));
            }
        }
        self.settle(now, wake);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.core.poll_output()
    }

    fn next_deadline(&self) -> Option<u64> {
        let election = self.election.as_ref().and_then(Election::next_deadline);
        let role = match &self.role {
            Role::Leading(leading) => leading.next_deadline(&self.core),
            Role::Following(following) => Some(following.next_deadline(&self.core)),
            Role::WindingUp { not_before_ms, .. } => {
                Some(*not_before_ms).filter(|_| self.election.is_some() && self.core.is_settled())
            }
            Role::Looking { read_only_at_ms, reading: None } => *read_only_at_ms,
            Role::Looking { reading: Some(reading), .. } => reading.local.next_deadline(),
        };
        election.into_iter().chain(role).chain(self.stop_by_ms).min()
    }
}
