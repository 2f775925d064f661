//! Following, with a vote or without: finding the leader, getting its history, then logging, acknowledging and applying
//! what it says (zab.md 3, 5, 7, 8, 13).

mod committing;
mod dialling;
mod observers;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use self::dialling::Dialling;
use self::observers::Observers;
use super::Output;
use super::clients::Clients;
use super::core::{Core, Leave, Outcome, WalkFor, drop_request};
use super::standing::{Mode, Standing};
use crate::ids::{Epoch, LinkId, Now, Sid, Zxid};
use crate::pipeline::{Greeting, Lane, LoadDatabase, Origin, WriteRequest};
use crate::storage::epochs::EpochFile;
use crate::storage::log_files::follows;
use crate::zab::{Arrival, Ensemble, LearnerInfo, Logged, Packet, reconfiguration};

/// The role of a server that follows another.
#[derive(Debug)]
pub(super) struct Following {
    /// Who was elected.
    leader: Sid,
    observer: bool,
    /// The way to whom it learns from: the leader, or an observer master, which stands in for it and is called so as well.
    dialling: Dialling,
    link: LinkId,
    stage: Stage,
    /// When the leader was last heard of.
    heard_ms: u64,
    /// The leader's epoch.
    epoch: Epoch,
    /// What has arrived and cannot be handled yet.
    inbox: VecDeque<Arrival>,
    /// What is to be sent.
    out: Vec<u8>,
    /// Ask for the whole database: what the leader sent does not fit this one's.
    wants_database: bool,
    sync: Sync,
    /// Proposals logged and not yet committed.
    pending: VecDeque<Zxid>,
    /// Proposals logged and not yet acknowledged.
    unacknowledged: VecDeque<Zxid>,
    /// This server's clients.
    pub(super) clients: Clients,
    /// Those who learn from this server, while it serves and may be an observer master.
    observers: Option<Observers>,
}

/// How far a learner has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    /// Until the leader is reached.
    Dialling,
    /// Until it tells the epoch.
    Greeted,
    /// Until the epoch is on disk as accepted.
    Accepting,
    /// Until it says how it will synchronise.
    Accepted,
    /// Until the log is cut.
    Truncating,
    /// Until NEWLEADER.
    Synchronising,
    /// Until all of the leader's history is on disk.
    Recording,
    /// Until the epoch is on disk as joined.
    Joining,
    /// Until UPTODATE.
    Joined,
    /// Serving.
    Serving,
}

/// What the leader has sent before it let this server serve.
#[derive(Debug, Default)]
struct Sync {
    /// Proposals, not logged yet.
    proposals: VecDeque<Logged>,
    /// The last one that is committed.
    committed: Zxid,
    /// The last one that was when NEWLEADER came: what is behind it can wait.
    history: Zxid,
    /// The last one that came.
    last: Zxid,
    /// The database that came holds everything up to here.
    database: Option<Zxid>,
    /// Who leads from the last reconfiguration on that was committed meanwhile.
    designated: Option<i64>,
}

impl Following {
    /// Begins to follow.
    pub(super) fn begin(core: &mut Core, now: Now, leader: Sid) -> Self {
        let mut dialling = Dialling::begin(core, now, leader);
        Self {
            leader,
            observer: core.observes(),
            link: dialling.dial(core),
            dialling,
            stage: Stage::Dialling,
            heard_ms: now.steady_ms,
            epoch: 0,
            inbox: VecDeque::new(),
            out: Vec::new(),
            wants_database: false,
            sync: Sync::default(),
            pending: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            clients: Clients::new(core),
            observers: None,
        }
    }

    /// The epoch that it follows in, once it serves.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        (self.stage == Stage::Serving).then_some(self.epoch)
    }

    /// Leaves the role.
    pub(super) fn leave(&self, core: &mut Core) {
        core.send(Output::CloseLeader(self.link));
        if self.observers.is_some() {
            Observers::leave(core);
        }
    }

    pub(super) fn leader_connected(&mut self, core: &Core, now: Now, link: LinkId) {
        if link == self.link && self.stage == Stage::Dialling {
            self.heard_ms = now.steady_ms;
            self.stage = Stage::Greeted;
            let version = core.members().version();
            let info = LearnerInfo::of_zkd(core.me(), self.observer, core.epochs.accepted, version);
            self.send(&Packet::LearnerInfo(info));
        }
    }

    pub(super) fn leader_gone(&mut self, core: &mut Core, now: Now, link: LinkId) -> Outcome {
        if link != self.link {
            return Ok(());
        }
        if self.stage != Stage::Dialling {
            return Err(Leave::because("the connection to the leader is gone"));
        }
        if let Some(link) = self.dialling.failed(core, now)? {
            self.link = link;
        }
        Ok(())
    }

    fn send(&mut self, packet: &Packet) {
        packet.encode(&mut self.out);
    }

    /// Begins again with this leader, and asks for its whole database.
    fn ask_for_database(&mut self, core: &mut Core, now: Now, reason: &str) -> Outcome {
        if self.wants_database {
            return Err(Leave::because(format!("the whole database was asked for, and yet {reason}")));
        }
        tracing::warn!(leader = ?self.leader, reason, "asking the leader for its whole database");
        core.send(Output::CloseLeader(self.link));
        self.wants_database = true;
        (self.sync, self.inbox, self.out) = (Sync::default(), VecDeque::new(), Vec::new());
        self.stage = Stage::Dialling;
        self.link = self.dialling.again(core, now);
        Ok(())
    }

    pub(super) fn arrivals(
        &mut self,
        core: &mut Core,
        now: Now,
        link: LinkId,
        arrivals: Vec<Arrival>,
        wake: &mut Vec<Waker>,
    ) -> Outcome {
        if link != self.link {
            return Ok(());
        }
        self.heard_ms = now.steady_ms;
        self.inbox.extend(arrivals);
        self.pump(core, now, wake)
    }

    /// Handles what has arrived, as far as that is possible now.
    fn pump(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) -> Outcome {
        while self.stage != Stage::Truncating
            && let Some(arrival) = self.inbox.pop_front()
        {
            if core.is_writing_file() && changes_disk(&arrival) {
                self.inbox.push_front(arrival);
                return Ok(());
            }
            match arrival {
                Arrival::Database(load) => self.take_database(core, now, *load),
                Arrival::Packet(packet) if self.stage == Stage::Serving => self.packet(core, now, packet, wake)?,
                Arrival::Packet(packet) => self.handshake(core, now, packet, wake)?,
            }
        }
        Ok(())
    }

    /// A snapshot file is there, or will not be.
    pub(super) fn snapshot_written(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) -> Outcome {
        self.record(core, now, wake);
        self.walk_ended(core, WalkFor::File, true);
        self.pump(core, now, wake)
    }

    /// A walk has ended.
    pub(super) fn walk_ended(&mut self, core: &mut Core, whom: WalkFor, whole: bool) {
        if let Some(observers) = &mut self.observers {
            observers.walk_ended(core, whom, whole);
        }
    }

    /// The log on disk was read for an observer that learns from this server.
    pub(super) fn log_read(&mut self, core: &mut Core, link: LinkId, txns: Option<Vec<Logged>>) {
        if let Some(observers) = &mut self.observers {
            observers.log_read(core, link, txns);
        }
    }

    /// Somebody wants to learn from this server.
    pub(super) fn learner_connected(&mut self, core: &mut Core, now: Now, link: LinkId) {
        match &mut self.observers {
            Some(observers) => observers.connected(now, link),
            None => core.send(Output::CloseLearner(link)),
        }
    }

    /// What they send.
    pub(super) fn learner_packets(
        &mut self,
        core: &mut Core,
        now: Now,
        link: LinkId,
        packets: Vec<Packet>,
        wake: &mut Vec<Waker>,
    ) {
        let Some(observers) = &mut self.observers else { return };
        for (session, timeout_ms) in observers.packets(core, now, link, packets, &mut self.out) {
            self.clients.observer_asks(core, link, (session, timeout_ms), &mut self.out, wake);
        }
    }

    /// One of them takes the database that it is sent.
    pub(super) fn learner_takes(&mut self, now: Now, link: LinkId) {
        if let Some(observers) = &mut self.observers {
            observers.learner_takes(now, link);
        }
    }

    /// The connection of one of them is gone.
    pub(super) fn learner_gone(&mut self, core: &mut Core, link: LinkId) {
        if let Some(observers) = &mut self.observers {
            observers.gone(core, link);
        }
    }

    fn handshake(&mut self, core: &mut Core, now: Now, packet: Packet, wake: &mut Vec<Waker>) -> Outcome {
        match (self.stage, packet) {
            (Stage::Greeted, Packet::LeaderInfo { zxid, .. }) => self.accept_epoch(core, zxid.epoch()),
            (Stage::Accepted, Packet::Diff(_)) => {
                if self.wants_database {
                    return Err(Leave::because("the leader has no database to send"));
                }
                self.sync.last = core.last_zxid().max(Zxid::ZERO);
                self.stage = Stage::Synchronising;
                Ok(())
            }
            (Stage::Accepted, Packet::Snap(zxid)) => {
                self.sync.last = zxid;
                self.stage = Stage::Synchronising;
                Ok(())
            }
            (Stage::Accepted, Packet::Trunc(zxid)) => self.truncate(core, now, zxid),
            (Stage::Synchronising | Stage::Recording | Stage::Joining | Stage::Joined, packet) => {
                self.synchronise(core, now, packet, wake)
            }
            (stage, packet) => Err(Leave::because(format!("the leader sent {packet:?} while {stage:?}"))),
        }
    }

    /// LEADERINFO: promise to follow nobody older.
    fn accept_epoch(&mut self, core: &mut Core, epoch: Epoch) -> Outcome {
        self.epoch = epoch;
        let accepted = core.epochs.accepted;
        if epoch < accepted {
            return Err(Leave::because(format!("the leader's epoch {epoch} is older than the accepted {accepted}")));
        }
        if epoch == accepted {
            self.acknowledge_epoch(core, -1);
        } else {
            self.stage = Stage::Accepting;
            core.disk_work(Output::WriteEpoch(EpochFile::Accepted, epoch));
        }
        Ok(())
    }

    fn acknowledge_epoch(&mut self, core: &Core, joined: Epoch) {
        // Who asks with zxid 0 gets everything (zab.md 4).
        let zxid = if self.wants_database { Zxid::ZERO } else { core.last_zxid() };
        self.send(&Packet::AckEpoch { zxid, epoch: joined });
        self.stage = Stage::Accepted;
    }

    pub(super) fn epoch_written(&mut self, core: &mut Core, now: Now, file: EpochFile, epoch: Epoch) {
        if epoch != self.epoch {
            return;
        }
        match (self.stage, file) {
            (Stage::Accepting, EpochFile::Accepted) => self.acknowledge_epoch(core, core.epochs.current),
            (Stage::Joining, EpochFile::Current) => self.join(core, now),
            (_, _) => {}
        }
    }

    /// TRUNC: the leader has less than this server. What is known to be committed is never forgotten (zab.md 12.2).
    fn truncate(&mut self, core: &mut Core, now: Now, zxid: Zxid) -> Outcome {
        if zxid < core.committed {
            let reason = format!("it wants {zxid} to be the last txn, and {} is committed", core.committed);
            return self.ask_for_database(core, now, &reason);
        }
        self.sync.last = zxid;
        self.stage = Stage::Truncating;
        core.disk_work(Output::Truncate(zxid));
        Ok(())
    }

    /// The log was cut, and the database is what is left; or that could not be.
    pub(super) fn truncated(&mut self, core: &mut Core, now: Now, restored: bool, wake: &mut Vec<Waker>) -> Outcome {
        if self.stage != Stage::Truncating {
            return Ok(());
        }
        if !restored {
            return self.ask_for_database(core, now, "this log cannot be cut where the leader says");
        }
        self.stage = Stage::Synchronising;
        self.pump(core, now, wake)
    }

    /// The database behind SNAP: it takes this one's place, and is on disk before anything is built on it.
    fn take_database(&mut self, core: &mut Core, now: Now, load: LoadDatabase) {
        self.sync.database = Some(load.last_zxid());
        core.take_over(now, load);
        tracing::info!(zxid = %core.last_logged, "the leader's whole database has arrived");
    }

    /// What comes between the first packet of the synchronisation and UPTODATE.
    fn synchronise(&mut self, core: &mut Core, now: Now, packet: Packet, wake: &mut Vec<Waker>) -> Outcome {
        match packet {
            Packet::Proposal { zxid, txn } => self.queue(core, now, zxid, txn),
            Packet::Inform { zxid, txn } => {
                self.sync.committed = self.sync.committed.max(zxid);
                self.queue(core, now, zxid, txn)
            }
            Packet::InformAndActivate { zxid, designated, txn } => {
                self.sync.committed = self.sync.committed.max(zxid);
                self.sync.designated = Some(designated);
                self.queue(core, now, zxid, txn)
            }
            Packet::Commit(zxid) | Packet::CommitAndActivate { zxid, .. } => {
                if zxid > self.sync.last {
                    return Err(Leave::because(format!("the leader commits {zxid}, which it has not proposed")));
                }
                if let Packet::CommitAndActivate { designated, .. } = packet {
                    self.sync.designated = Some(designated);
                }
                self.sync.committed = self.sync.committed.max(zxid);
                Ok(())
            }
            Packet::NewLeader { zxid, config } if self.stage == Stage::Synchronising => {
                if zxid != Zxid::new(self.epoch, 0) {
                    return Err(Leave::because(format!("NEWLEADER says {zxid}, and the epoch is {}", self.epoch)));
                }
                self.take_members(core, config.as_deref())?;
                self.sync.history = self.sync.committed;
                self.stage = Stage::Recording;
                self.record(core, now, wake);
                Ok(())
            }
            Packet::UpToDate if self.stage == Stage::Joined => self.serve(core, now),
            // Not before UPTODATE (zab.md 4.1).
            Packet::Ping(_) => Ok(()),
            packet => Err(Leave::because(format!("the leader sent {packet:?} while {:?}", self.stage))),
        }
    }

    fn queue(&mut self, core: &mut Core, now: Now, zxid: Zxid, txn: Bytes) -> Outcome {
        if self.sync.database.is_some_and(|has| zxid <= has) {
            return Ok(());
        }
        if !follows(self.sync.last, zxid) {
            let reason = format!("{zxid} came behind {}: something is missing between them", self.sync.last);
            return self.ask_for_database(core, now, &reason);
        }
        self.check(core, &txn, zxid)?;
        self.sync.last = zxid;
        self.sync.proposals.push_back((zxid, own(&txn)));
        Ok(())
    }

    /// A txn that does not decode must not get into the log (zab.md 12.2), and a reconfiguration not if this server could
    /// not count the quorums that it makes.
    fn check(&self, core: &mut Core, txn: &[u8], zxid: Zxid) -> Outcome {
        match crate::txn::Entry::decode(txn) {
            Ok(entry) if entry.header.zxid == zxid => {}
            Ok(entry) => return Err(Leave::because(format!("txn {zxid} says that it is {}", entry.header.zxid))),
            Err(error) => return Err(Leave::because(format!("txn {zxid} does not decode: {error}"))),
        }
        match reconfiguration(txn) {
            Ok(Some(members)) if !core.reconfigures() && !members.same_quorums(core.members()) => {
                Err(core.refuse_members())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(Leave::because(format!("txn {zxid} is a reconfiguration to no configuration: {error}"))),
        }
    }

    /// The leader's newest configuration, which this epoch begins with: what this server knew of others is void, like the
    /// rest of a history that the leader does not have. One that comes as a txn later is taken then.
    /// Without `reconfigEnabled` it must count the same quorums as this server's: else both could be right, and differ.
    fn take_members(&self, core: &mut Core, config: Option<&[u8]>) -> Outcome {
        let Some(config) = config.filter(|config| !config.is_empty()) else { return Ok(()) };
        match Ensemble::parse(&String::from_utf8_lossy(config)) {
            Ok(members) if core.reconfigures() => {
                let begins_with = self.sync.last.max(Zxid::new(self.epoch, 0));
                core.rewrite_members(Some(members).filter(|members| members.zxid() <= begins_with));
                Ok(())
            }
            Ok(members) if members.same_quorums(core.members()) => Ok(()),
            Err(error) if core.reconfigures() => {
                Err(Leave::because(format!("the leader's configuration is none: {error}")))
            }
            Ok(_) | Err(_) => Err(core.refuse_members()),
        }
    }

    /// NEWLEADER has come: first the leader's history is durable here, then the epoch, then that is acknowledged. The
    /// order is what keeps committed txns (ZOOKEEPER-4643, -4646, -3911).
    fn record(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) {
        if self.stage != Stage::Recording || core.is_installing() {
            return;
        }
        let committed = self.sync.history;
        while let Some((zxid, txn)) = self.sync.proposals.pop_front_if(|(zxid, _)| *zxid <= committed) {
            core.log(zxid, txn, Origin::Nobody);
        }
        let _nobody_is_connected = core.apply(now, committed, &[], wake);
        if !core.holds_all() {
            return;
        }
        self.stage = Stage::Joining;
        core.disk_work(Output::WriteEpoch(EpochFile::Current, self.epoch));
    }

    /// The ACK of NEWLEADER is a promise that a crash must not break.
    fn join(&mut self, core: &Core, now: Now) {
        assert!(core.holds_all(), "acking an epoch over an unflushed log: {:?}, {}", core.durable, core.last_logged);
        self.stage = Stage::Joined;
        self.heard_ms = now.steady_ms;
        self.send(&Packet::Ack(Zxid::new(self.epoch, 0)));
    }

    /// UPTODATE: what the epoch began with is committed, its members among it.
    fn serve(&mut self, core: &mut Core, now: Now) -> Outcome {
        self.send(&Packet::Ack(Zxid::new(self.epoch, 0)));
        self.stage = Stage::Serving;
        tracing::info!(leader = ?self.leader, epoch = self.epoch, observer = self.observer, "following");
        let began_with = core.last_logged.max(Zxid::new(self.epoch, 0));
        let is_led_on = core.membership().proposed.as_ref().is_none_or(|next| core.stays_leader(self.leader, next));
        core.commit(began_with);
        core.publish_members(now);
        for (zxid, txn) in std::mem::take(&mut self.sync.proposals) {
            self.log(core, zxid, txn);
            // Members are in force before the next ones are proposed.
            core.commit(zxid.min(self.sync.committed));
        }
        core.commit(self.sync.committed);
        let committed = core.committed;
        self.pending.retain(|zxid| *zxid > committed);
        core.stand(Standing {
            mode: if self.observer { Mode::Observer } else { Mode::Follower },
            serves: true,
            epoch: self.epoch,
            leader: Some(self.dialling.whom()),
            since: core.last_logged,
            since_ms: now.steady_ms,
            ..Standing::default()
        });
        if core.ensemble().observer_masters && !self.observer {
            self.observers = Some(Observers::begin(core, now, Zxid::new(self.epoch, 0)));
        }
        match self.sync.designated {
            Some(designated) => self.stay(core, designated),
            None if is_led_on && self.observer == core.observes() => Ok(()),
            None => Err(Leave::because("the leader's configuration gives it, or this server, another role")),
        }
    }

    /// Members have changed. Who leads from now on may be another one, and this server may have another role: then it
    /// leaves, and goes to its new leader without an election (election.md 10).
    fn stay(&self, core: &Core, designated: i64) -> Outcome {
        if designated == i64::from(self.leader.0) && self.observer == core.observes() || !core.reconfigures() {
            return Ok(());
        }
        match u8::try_from(designated) {
            Ok(heir) => Err(Leave::to(Sid(heir), "a reconfiguration has changed roles; the leader is")),
            Err(_) => Err(Leave::because(format!("a reconfiguration names {designated} as the leader"))),
        }
    }

    pub(super) fn connect(
        &mut self,
        core: &mut Core,
        now: Now,
        lane: &Arc<Lane>,
        greeting: &Greeting,
        wake: &mut Vec<Waker>,
    ) {
        if core.stopping || self.stage != Stage::Serving {
            wake.extend(lane.lock().cut());
            return;
        }
        let asks = self.clients.connect(core, now, lane, greeting, &mut self.out, wake);
        if let (true, Some(observers)) = (asks, &mut self.observers) {
            observers.session_is_here(greeting.session);
        }
    }

    pub(super) fn writes(&mut self, core: &mut Core, now: Now, requests: Vec<WriteRequest>, wake: &mut Vec<Waker>) {
        if core.stopping || self.stage != Stage::Serving {
            requests.iter().for_each(|request| drop_request(&request.lane, wake));
            return;
        }
        for request in requests {
            self.clients.write(core, now, request, &mut self.out, wake);
        }
    }

    pub(super) fn tick(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) -> Outcome {
        self.clients.tick(core, now, wake);
        if self.stage == Stage::Dialling
            && let Some(link) = self.dialling.tick(core, now)?
        {
            self.link = link;
        }
        if let Some(observers) = &mut self.observers {
            observers.tick(core, now);
        }
        if now.steady_ms >= self.silence_until_ms(core) {
            return Err(Leave::because("the leader is silent"));
        }
        Ok(())
    }

    /// Until when the leader may be silent.
    fn silence_until_ms(&self, core: &Core) -> u64 {
        if self.stage == Stage::Dialling {
            // That has an end of its own.
            return u64::MAX;
        }
        let rules = core.ensemble();
        let ticks = if self.stage < Stage::Joined { rules.init_limit } else { rules.sync_limit };
        self.heard_ms + core.ticks_ms(ticks)
    }

    /// When [`Following::tick`] is due.
    pub(super) fn next_deadline(&self, core: &Core) -> u64 {
        let dialling = (self.stage == Stage::Dialling).then(|| self.dialling.next_deadline());
        let observers = self.observers.as_ref().and_then(Observers::next_deadline);
        let deadlines = [Some(self.silence_until_ms(core)), dialling, observers, self.clients.next_deadline()];
        deadlines.into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// Hands over what is to be sent.
    pub(super) fn flush(&mut self, core: &mut Core) {
        if !self.out.is_empty() {
            core.send(Output::ToLeader(self.link, std::mem::take(&mut self.out)));
        }
        if let Some(observers) = &mut self.observers {
            observers.flush(core);
        }
    }
}

/// Whether handling this cuts or replaces what is on disk.
const fn changes_disk(arrival: &Arrival) -> bool {
    matches!(arrival, Arrival::Database(_) | Arrival::Packet(Packet::Trunc(_)))
}

/// A copy that does not keep the whole piece of the stream in memory in which the txn came.
fn own(txn: &Bytes) -> Bytes {
    Bytes::copy_from_slice(txn)
}
