//! What a server keeps whatever its role: the database, the log's end, its clients, what is in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use bytes::Bytes;

use super::clock::SnapshotClock;
use super::local::LocalSessions;
use super::rules::{EnsembleRules, PeerRules};
use super::standing::{Mode, Standing};
use super::{Beginning, Output, Record, Restored, SnapshotStart};
use crate::ids::{ConnectionId, Epoch, LinkId, Now, SessionId, Sid, Zxid};
use crate::metrics::{Advanced, Metrics};
use crate::numbered::NumberedTable;
use crate::pipeline::{
    Applied, Database, Forwarded, InFlight, Lane, LoadDatabase, Origin, SharedDatabase, Work, WriteRequest,
};
use crate::proto::ErrorCode;
use crate::session::Heartbeat;
use crate::storage::Durable;
use crate::storage::epochs::Epochs;
use crate::txn::TxnHeader;
use crate::zab::{History, Logged, Membership};

/// Why a role ends.
#[derive(Debug)]
pub(super) struct Leave {
    /// What the operator is told.
    pub(super) reason: String,
    /// Who leads from now on, if that is settled without an election.
    pub(super) heir: Option<Sid>,
}

impl Leave {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), heir: None }
    }

    pub(super) fn to(heir: Sid, reason: &str) -> Self {
        Self { reason: format!("{reason} server {}", heir.0), heir: Some(heir) }
    }
}

/// How a role's step went.
pub(super) type Outcome = Result<(), Leave>;

/// For whom the tree is being walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WalkFor {
    /// A snapshot file.
    File,
    /// A learner.
    Learner(LinkId),
}

/// A leader's database that is being written to disk.
#[derive(Debug)]
struct Installing {
    walk: u64,
    /// What the log held before.
    logged_before: Zxid,
}

/// What a server keeps whatever its role.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) rules: PeerRules,
    pub(super) database: SharedDatabase,
    pub(super) lanes: NumberedTable<Arc<Lane>>,
    pub(super) in_flight: InFlight,
    pub(super) forwarded: Forwarded,
    /// Who is in the ensemble; `None` for a server alone.
    pub(super) membership: Option<Membership>,
    pub(super) history: History,
    pub(super) epochs: Epochs,
    /// The last txn in the log, or on its way there. -1: the database is lost.
    pub(super) last_logged: Zxid,
    /// The log is on stable storage up to here.
    pub(super) durable: Durable,
    /// The last txn that is known to be committed.
    pub(super) committed: Zxid,
    /// The newest epoch that a voter has promised while this server led with an older one.
    pub(super) promised: Epoch,
    /// An observer that kept no log is to vote: what it has goes to disk before that.
    pub(super) has_unlogged: bool,
    pub(super) snapshots: SnapshotClock,
    walk: Option<(u64, WalkFor)>,
    installing: Option<Installing>,
    /// Epoch files being written and logs being cut: nothing new begins before that is done.
    disk_work: usize,
    next_session: SessionId,
    next_link: u64,
    pub(super) random: fastrand::Rng,
    /// Sizes of what was proposed: the last, the smallest, the largest.
    pub(super) proposal_bytes: Option<(usize, usize, usize)>,
    pub(super) disk_full: bool,
    pub(super) stopping: bool,
    /// What was said last of this server's role.
    pub(super) standing: Standing,
    append: Vec<Logged>,
    outputs: VecDeque<Output>,
}

impl Core {
    pub(super) fn new(rules: PeerRules, beginning: Beginning, now: Now) -> Self {
        let Beginning { database, history: txns, durable, replayed_txns, epochs } = beginning;
        let mut history = History::new(rules.ensemble.as_ref().map_or(0, |ensemble| ensemble.history_txns));
        txns.into_iter().for_each(|(zxid, body)| history.push(zxid, body));
        let mut core = Self {
            next_session: SessionId::first(rules.sid, now.wall_ms.unsigned_abs()),
            snapshots: SnapshotClock::new(rules.snapshots, replayed_txns, rules.seed),
            membership: rules.ensemble.as_ref().map(|ensemble| ensemble.membership.clone()),
            random: fastrand::Rng::with_seed(rules.seed),
            rules,
            database,
            lanes: NumberedTable::default(),
            in_flight: InFlight::default(),
            forwarded: Forwarded::default(),
            history,
            epochs,
            last_logged: durable.zxid(),
            durable,
            committed: Zxid::ZERO,
            has_unlogged: false,
            promised: 0,
            walk: None,
            installing: None,
            disk_work: 0,
            next_link: 0,
            proposal_bytes: None,
            disk_full: false,
            stopping: false,
            standing: Standing::default(),
            append: Vec::new(),
            outputs: VecDeque::new(),
        };
        core.recover_members(now);
        core
    }

    pub(super) const fn me(&self) -> Sid {
        self.rules.sid
    }

    /// The ensemble's rules. Only members of one ask.
    pub(super) fn ensemble(&self) -> &EnsembleRules {
        match &self.rules.ensemble {
            Some(ensemble) => ensemble,
            None => unreachable!("a server alone has no quorum to ask about"),
        }
    }

    /// Sessions that only this server will know, if it has such.
    pub(super) fn local_sessions(&self) -> Option<LocalSessions> {
        let wanted = self.rules.ensemble.as_ref().is_some_and(|ensemble| ensemble.local_sessions);
        wanted.then(|| LocalSessions::new(self, false))
    }

    /// How long a leader that is not to lead any more waits for the others to leave, ms.
    pub(super) fn leave_patience_ms(&self) -> u64 {
        self.ticks_ms(self.ensemble().sync_limit)
    }

    pub(super) fn ticks_ms(&self, ticks: u32) -> u64 {
        self.rules.tick_ms * u64::from(ticks)
    }

    /// How long a learner may be silent until it is synchronised, and from then on, ms (zab.md 2).
    pub(super) fn patience_ms(&self) -> (u64, u64) {
        let rules = self.ensemble();
        (self.ticks_ms(rules.init_limit), self.ticks_ms(rules.sync_limit))
    }

    /// The last txn of this server's history, for votes: what is logged, or the epoch that has begun.
    pub(super) fn last_zxid(&self) -> Zxid {
        if self.last_logged == Zxid(-1) {
            self.last_logged
        } else {
            self.last_logged.max(self.database.read().last_zxid())
        }
    }

    /// Something that has no place in the order of the log.
    pub(super) fn send(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn output(&mut self, output: Output) {
        // A file is ended, cut or written behind what was appended before.
        self.flush();
        self.outputs.push_back(output);
    }

    fn flush(&mut self) {
        if !self.append.is_empty() {
            self.outputs.push_back(Output::Append(std::mem::take(&mut self.append)));
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.flush();
        }
        self.outputs.pop_front()
    }

    /// Says what is to be reported of this server's role.
    pub(super) fn stand(&mut self, standing: Standing) {
        if standing.epoch > 0 {
            self.forget_rumours();
        }
        self.standing = Standing { membership: self.membership.clone(), ..standing };
        self.outputs.push_back(Output::Standing(Arc::new(self.standing.clone())));
    }

    pub(super) fn new_link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }

    /// The next id for a session of a client of this server.
    pub(super) fn new_session(&mut self, is_taken: impl Fn(SessionId) -> bool) -> SessionId {
        let database = Arc::clone(&self.database);
        let database = database.read();
        while is_taken(self.next_session) || database.sessions().contains_key(&self.next_session) {
            self.next_session = self.next_session.next();
        }
        let session = self.next_session;
        self.next_session = session.next();
        session
    }

    /// Logs the next txn; it is applied once it is committed.
    pub(super) fn log(&mut self, zxid: Zxid, body: Record, origin: Origin) {
        self.note_members(&body);
        self.snapshots.logged(body.len() as u64);
        self.last_logged = zxid;
        let (bytes, known) = (body.len(), self.proposal_bytes);
        self.proposal_bytes =
            Some(known.map_or((bytes, bytes, bytes), |(_, min, max)| (bytes, min.min(bytes), max.max(bytes))));
        if self.keeps_log() {
            self.append.push((zxid, body.clone()));
        }
        self.in_flight.push(Work::Txn { zxid, body, origin });
    }

    /// Whether txns and snapshots go to disk: an observer may do without (EN-23).
    pub(super) fn keeps_log(&self) -> bool {
        self.wants_log() && !self.has_unlogged
    }

    /// Whether they should.
    pub(super) fn wants_log(&self) -> bool {
        self.rules.ensemble.as_ref().is_none_or(|rules| rules.observer_writes || !self.observes())
    }

    /// A server that kept no log and is to vote from now on writes down what it has, once no older file is being written.
    pub(super) fn write_unlogged(&mut self, now: Now, wake: &mut Vec<Waker>) {
        self.has_unlogged &= self.wants_log();
        if self.has_unlogged && self.walk.is_none() {
            let _nobody_is_connected = self.apply(now, self.last_logged, &[], wake);
            let database = Arc::clone(&self.database);
            let walk = self.begin_file(&mut database.write());
            self.installing = walk.map(|walk| Installing { walk, logged_before: self.durable.zxid() });
            self.has_unlogged = self.installing.is_none();
        }
    }

    /// Applies everything in flight up to `upto`, and begins a snapshot when one is due. How old each txn is by then is
    /// told as `latencies`.
    pub(super) fn apply(&mut self, now: Now, upto: Zxid, latencies: &[Advanced], wake: &mut Vec<Waker>) -> Applied {
        if !self.in_flight.is_ready(upto) {
            return Applied::default();
        }
        let (keeps, keeps_log) = (self.rules.ensemble.is_some(), self.keeps_log());
        let database = Arc::clone(&self.database);
        let mut database = database.write();
        let history = &mut self.history;
        let metrics = &self.rules.metrics;
        let keep = |zxid, body: Bytes| {
            observe_age(metrics, latencies, now, &body);
            if keeps {
                history.push(zxid, body);
            }
        };
        let applied = self.in_flight.apply(upto, &mut database, &mut self.forwarded, now, keep, wake);
        if self.snapshots.is_due() && self.walk.is_none() && keeps_log {
            self.begin_file(&mut database);
        }
        applied
    }

    /// Begins a snapshot file of the database as it is. `None` while the tree is being walked for somebody else.
    pub(super) fn begin_file(&mut self, database: &mut Database) -> Option<u64> {
        let start = self.begin_walk(database, WalkFor::File)?;
        let walk = start.walk;
        self.snapshots.begun();
        self.output(Output::RollLog);
        self.output(Output::Snapshot(start));
        Some(walk)
    }

    /// Begins to walk the tree; the walk's end comes as an input. `None` while another one is under way.
    pub(super) fn begin_walk(&mut self, database: &mut Database, whom: WalkFor) -> Option<SnapshotStart> {
        let mut head = Vec::new();
        let walk = database.begin_snapshot(&mut head)?;
        self.walk = Some((walk, whom));
        Some(SnapshotStart { walk, zxid: database.last_zxid(), digest: database.snapshot_digest(), head })
    }

    /// Whether the tree is being walked for a learner.
    pub(super) const fn walks_for_learner(&self) -> bool {
        matches!(self.walk, Some((_, WalkFor::Learner(_))))
    }

    /// A walk has ended. Says for whom it was, unless its tree is gone.
    pub(super) fn end_walk(&mut self, number: u64) -> Option<WalkFor> {
        self.database.write().end_snapshot(number);
        self.walk.take_if(|(walk, _)| *walk == number).map(|(_, whom)| whom)
    }

    /// A snapshot file is there, or is not.
    pub(super) fn snapshot_written(&mut self, number: u64, durable: Option<Durable>) {
        let _this_file = self.end_walk(number);
        if let Some(installing) = self.installing.take_if(|installing| installing.walk == number) {
            match durable {
                Some(durable) => self.installed(&installing, durable),
                None => self.send(Output::Fail(
                    "the database that takes the place of this server's cannot be written to disk".to_owned(),
                )),
            }
        }
    }

    fn installed(&mut self, installing: &Installing, durable: Durable) {
        self.durable = durable;
        if installing.logged_before > self.last_logged {
            // These were never committed; after a restart they must not follow on the leader's database.
            self.output(Output::Forget(self.last_logged));
        }
    }

    /// The leader's database takes the place of this server's, and goes to disk before anything is built on it.
    pub(super) fn take_over(&mut self, now: Now, load: LoadDatabase) {
        let before = self.installing.as_ref().map_or(self.last_logged, |earlier| earlier.logged_before);
        let logged_before = before.max(self.last_logged);
        self.install(now, load, Vec::new());
        if !self.keeps_log() {
            return;
        }
        let database = Arc::clone(&self.database);
        let walk = self.begin_file(&mut database.write());
        self.installing = walk.map(|walk| Installing { walk, logged_before });
    }

    /// The log was cut, and this is what is left of the database.
    pub(super) fn cut_back(&mut self, now: Now, restored: Restored) {
        self.install(now, restored.load, restored.history);
        self.durable = restored.durable;
    }

    /// Another database takes the place of this server's: nothing is in flight and nobody is connected.
    fn install(&mut self, now: Now, load: LoadDatabase, history: Vec<Logged>) {
        self.last_logged = load.last_zxid();
        self.history.clear();
        history.into_iter().for_each(|(zxid, body)| self.history.push(zxid, body));
        self.walk = None;
        self.database.write().install(load);
        self.reload_members(now);
    }

    /// Whether a snapshot file is being written: nothing below it may be cut or replaced before it has its name.
    pub(super) const fn is_writing_file(&self) -> bool {
        matches!(self.walk, Some((_, WalkFor::File)))
    }

    /// Whether a leader's database is not on disk yet.
    pub(super) const fn is_installing(&self) -> bool {
        self.installing.is_some()
    }

    /// Wants something done on disk; [`Core::disk_work_done`] follows.
    pub(super) fn disk_work(&mut self, output: Output) {
        self.disk_work += 1;
        self.output(output);
    }

    pub(super) const fn disk_work_done(&mut self) {
        self.disk_work = self.disk_work.saturating_sub(1);
    }

    /// Whether everything in the log is on stable storage, if it has to be.
    pub(super) fn holds_all(&self) -> bool {
        !self.keeps_log() || self.durable.zxid() >= self.last_logged
    }

    /// Whether nothing is being done on disk that this server waits for, but for its log.
    pub(super) fn is_free(&self) -> bool {
        self.disk_work == 0 && self.installing.is_none()
    }

    /// Whether all that this server has begun to put on disk is there.
    pub(super) fn is_settled(&self) -> bool {
        self.is_free() && !self.has_unlogged && self.holds_all()
    }

    /// Closes a lane that a session has, behind what was sent.
    pub(super) fn close_lane(&mut self, connection: Option<ConnectionId>, wake: &mut Vec<Waker>) {
        if let Some(lane) = connection.and_then(|connection| self.lanes.remove(connection)) {
            wake.extend(lane.lock().close());
        }
    }

    /// Opens a connection for a session that is there. It reads behind what that session has in flight: whoever has lost a
    /// connection comes back to see what has become of its writes.
    pub(super) fn open_lane(
        &mut self,
        lane: &Arc<Lane>,
        (session, timeout_ms): (SessionId, i32),
        heartbeat: Arc<Heartbeat>,
        read_only: Option<bool>,
        wake: &mut Vec<Waker>,
    ) {
        // A learner has its clients' writes in `forwarded` until they come back; what else is in flight is in no such order.
        let learns = matches!(self.standing.mode, Mode::Follower | Mode::Observer);
        // What met a full disk is there until it has space, and has been acknowledged to nobody.
        let behind =
            if learns { self.forwarded.has_of(session) } else { !self.disk_full && self.in_flight.has_of(session) };
        wake.extend(lane.open(session, timeout_ms, heartbeat, read_only, behind));
        let origin = Origin::Back(Arc::clone(lane));
        match (behind, learns) {
            (false, _) => {}
            (true, true) => self.forwarded.push_answer(ErrorCode::OK, origin),
            (true, false) => self.in_flight.push(Work::Answer { error: ErrorCode::OK, origin }),
        }
    }

    /// Cuts a lane without a word.
    pub(super) fn cut_lane(&mut self, connection: Option<ConnectionId>, wake: &mut Vec<Waker>) {
        if let Some(lane) = connection.and_then(|connection| self.lanes.remove(connection)) {
            wake.extend(lane.lock().cut());
        }
    }

    /// This server serves nobody any more: all lanes are cut, and nobody waits for what is in flight.
    pub(super) fn cut_clients(&mut self, wake: &mut Vec<Waker>) {
        for lane in self.lanes.take_all() {
            wake.extend(lane.lock().cut());
        }
        self.forwarded.abandon();
        self.in_flight.abandon();
    }
}

/// Tells how long ago the leader made a txn, by the clocks of both.
pub(super) fn observe_age(metrics: &Metrics, latencies: &[Advanced], now: Now, txn: &[u8]) {
    if latencies.is_empty() {
        return;
    }
    let Ok((_, TxnHeader { time_ms, .. })) = TxnHeader::decode(txn) else { return };
    if let Some(age_ms) = now.wall_ms.checked_sub(time_ms).and_then(|age_ms| u64::try_from(age_ms).ok()) {
        latencies.iter().for_each(|latency| metrics.observe(*latency, age_ms));
    }
}

/// Closes a connection without an answer to what it asked.
pub(super) fn drop_request(lane: &Lane, wake: &mut Vec<Waker>) {
    lane.statistics().outstanding.fetch_sub(1, Relaxed);
    wake.extend(lane.lock().cut());
}

/// Nobody can order these.
pub(super) fn refuse_all(requests: &[WriteRequest], wake: &mut Vec<Waker>) -> Outcome {
    requests.iter().for_each(|request| drop_request(&request.lane, wake));
    Ok(())
}
