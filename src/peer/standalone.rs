//! The server without others: it prepares, its log makes durable, it applies.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use super::{Input, Machine, Output, SnapshotStart};
use crate::ids::{ConnectionId, Now, SessionId, Sid, Zxid};
use crate::pipeline::{
    Greeting, InFlight, Lane, Origin, Prepare, PrepareRules, Prepared, SharedDatabase, Work, WriteRequest,
};
use crate::proto::{ErrorCode, OpCode};
use crate::session::{Negotiation, Sessions, password};
use crate::storage::Durable;

/// What a server must know of its configuration.
#[derive(Clone, Debug)]
pub struct PeerRules {
    /// Goes into the top byte of session ids; a standalone server uses 1.
    pub sid: Sid,
    /// `tickTime`, ms.
    pub tick_ms: u64,
    /// Bounds of session timeouts.
    pub negotiation: Negotiation,
    /// What preparing must know.
    pub prepare: PrepareRules,
    /// When to write snapshots.
    pub snapshots: SnapshotRules,
    /// Txns that were replayed at the start: they count towards the next snapshot.
    pub replayed_txns: u64,
    /// When to remove containers and TTL znodes.
    pub reaper: ReaperRules,
    /// Seeds what is left to chance.
    pub seed: u64,
}

/// When to write snapshots (ST-11).
#[derive(Clone, Copy, Debug)]
pub struct SnapshotRules {
    /// `snapCount`: a snapshot after half of it and a random part of the other half.
    pub txns: u64,
    /// `snapSizeLimitInKb`, in bytes, likewise; 0 is off.
    pub bytes: u64,
}

/// When to remove containers and TTL znodes (NO-11).
#[derive(Clone, Copy, Debug)]
pub struct ReaperRules {
    /// `znode.container.checkIntervalMs`.
    pub interval_ms: u64,
    /// `znode.container.maxPerMinute`.
    pub per_minute_max: u64,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 keeps containers that never had a child.
    pub never_used_ms: i64,
}

/// A standalone server.
#[derive(Debug)]
pub struct Peer {
    rules: PeerRules,
    database: SharedDatabase,
    prepare: Prepare,
    in_flight: InFlight,
    committed: Zxid,
    sessions: Sessions,
    lanes: HashMap<ConnectionId, Arc<Lane>>,
    next_session: SessionId,
    snapshots: SnapshotClock,
    reap_at_ms: u64,
    disk_full: bool,
    stopping: bool,
    append: Vec<(Zxid, bytes::Bytes)>,
    outputs: VecDeque<Output>,
}

impl Peer {
    /// A server over a database that was recovered; its sessions get their full timeouts again.
    #[must_use]
    pub fn new(rules: PeerRules, database: SharedDatabase, now: Now) -> Self {
        let mut sessions = Sessions::new(rules.tick_ms);
        let (prepare, committed) = {
            let database = database.read();
            for (&id, &timeout_ms) in database.sessions() {
                sessions.track(now, id, timeout_ms);
            }
            (Prepare::new(rules.prepare.clone(), database.tree(), database.last_zxid()), database.last_zxid())
        };
        let mut peer = Self {
            next_session: SessionId::first(rules.sid, now.wall_ms.unsigned_abs()),
            snapshots: SnapshotClock::new(rules.snapshots, rules.replayed_txns, rules.seed),
            reap_at_ms: now.steady_ms + rules.reaper.interval_ms,
            rules,
            database,
            prepare,
            in_flight: InFlight::default(),
            committed,
            sessions,
            lanes: HashMap::new(),
            disk_full: false,
            stopping: false,
            append: Vec::new(),
            outputs: VecDeque::new(),
        };
        peer.close_orphans(now);
        peer
    }

    /// The sessions and when they are due.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Whether all that can be done of what was taken is done. A log without room holds the rest, which nobody was
    /// promised.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() || self.disk_full
    }

    /// Ephemerals whose session is not in the table should not be; if there are some, their sessions end properly (SE-08).
    fn close_orphans(&mut self, now: Now) {
        let orphans: Vec<_> = {
            let database = self.database.read();
            let sessions = database.tree().ephemeral_sessions();
            sessions.filter(|id| !database.sessions().contains_key(id)).collect()
        };
        for session in orphans {
            tracing::warn!(%session, "closing a session that has ephemerals but is not in the session table");
            let prepared = self.prepare.close_session(now, self.database.read().tree(), session, 0);
            self.propose(prepared, Origin::Nobody);
        }
        self.flush();
    }

    fn connect(&mut self, now: Now, lane: &Arc<Lane>, greeting: &Greeting, wake: &mut Vec<Waker>) {
        if self.stopping || self.disk_full && greeting.session == SessionId::NONE {
            wake.extend(lane.lock().cut());
            return;
        }
        let timeout_ms = self.rules.negotiation.settle(greeting.timeout_ms);
        let read_only = greeting.read_only.map(|_| false);
        if greeting.session == SessionId::NONE {
            self.create_session(now, lane, timeout_ms, read_only);
            return;
        }
        let session = greeting.session;
        // The old connection goes before the password is looked at (CL-10).
        if let Some(old) = self.sessions.get_mut(session).and_then(|session| session.connection.take())
            && let Some(old) = self.lanes.remove(&old)
        {
            wake.extend(old.lock().cut());
        }
        let known = self.sessions.get(session).is_some_and(|session| !session.closing);
        if !known || greeting.password != password(session) {
            wake.extend(lane.refuse(read_only));
            return;
        }
        let tracked = self.sessions.track(now, session, timeout_ms);
        tracked.connection = Some(lane.id);
        wake.extend(lane.open(session, timeout_ms, Arc::clone(&tracked.heartbeat), read_only));
        self.lanes.insert(lane.id, Arc::clone(lane));
    }

    fn create_session(&mut self, now: Now, lane: &Arc<Lane>, timeout_ms: i32, read_only: Option<bool>) {
        while self.sessions.get(self.next_session).is_some() {
            self.next_session = self.next_session.next();
        }
        let session = self.next_session;
        self.next_session = session.next();
        let tracked = self.sessions.track(now, session, timeout_ms);
        tracked.connection = Some(lane.id);
        let heartbeat = Arc::clone(&tracked.heartbeat);
        self.lanes.insert(lane.id, Arc::clone(lane));
        let prepared = self.prepare.create_session(now, self.database.read().tree(), session, timeout_ms);
        let origin = Origin::Connect { lane: Arc::clone(lane), session, timeout_ms, heartbeat, read_only };
        self.propose(prepared, origin);
    }

    fn writes(&mut self, now: Now, requests: Vec<WriteRequest>, wake: &mut Vec<Waker>) {
        let database = Arc::clone(&self.database);
        let database = database.read();
        for request in requests {
            let WriteRequest { lane, session, xid, op, body, identities, received_ms } = request;
            let mut origin = Origin::Request { lane: Arc::clone(&lane), xid, op, received_ms, layouts: Box::default() };
            if self.stopping {
                drop_request(&lane, wake);
                continue;
            }
            if self.disk_full {
                // Nothing is taken that cannot be logged: no zxid, no txn.
                self.in_flight.refuse(ErrorCode::SYSTEM_ERROR, origin, &database, now, wake);
                continue;
            }
            let prepared = match self.sessions.get_mut(session) {
                Some(tracked) if !tracked.closing => {
                    if tracked.connection != Some(lane.id) {
                        // Moved: not answered, the old connection closes (CL-58).
                        drop_request(&lane, wake);
                        continue;
                    }
                    tracked.closing = op == OpCode::CLOSE_SESSION;
                    self.prepare.request(now, database.tree(), (session, xid), (op, &body), &identities)
                }
                Some(_) | None => self.prepare.refuse(now, database.tree(), session, xid, ErrorCode::SESSION_EXPIRED),
            };
            if let (Origin::Request { layouts, .. }, Prepared::Txn { layouts: prepared, .. }) = (&mut origin, &prepared)
            {
                layouts.clone_from(prepared);
            }
            match prepared {
                Prepared::Refused(error) => self.in_flight.refuse(error, origin, &database, now, wake),
                prepared => self.propose(prepared, origin),
            }
        }
    }

    fn propose(&mut self, prepared: Prepared, origin: Origin) {
        match prepared {
            Prepared::Txn { zxid, body, .. } => {
                self.snapshots.logged(body.len() as u64);
                self.append.push((zxid, body.clone()));
                self.in_flight.push(Work::Txn { zxid, body, origin });
            }
            Prepared::Refused(error) => {
                unreachable!("only what a client sends is refused before it is a txn: {error:?}")
            }
            Prepared::EpochFull => unreachable!("a standalone server's epochs roll over"),
        }
    }

    /// Hands what was proposed to the log.
    fn flush(&mut self) {
        if !self.append.is_empty() {
            self.outputs.push_back(Output::Append(std::mem::take(&mut self.append)));
        }
    }

    fn durable(&mut self, durable: &Durable) {
        assert!(durable.zxid() >= self.committed, "durable up to {durable:?}, committed up to {}", self.committed);
        // A quorum of one.
        self.committed = durable.zxid();
    }

    fn apply(&mut self, now: Now, wake: &mut Vec<Waker>) {
        if !self.in_flight.is_ready(self.committed) {
            return;
        }
        let mut ended = Vec::new();
        let database = Arc::clone(&self.database);
        let mut database = database.write();
        self.in_flight.apply(self.committed, &mut database, now, &mut ended, wake);
        self.prepare.applied(database.last_zxid());
        if self.snapshots.is_due() {
            self.begin_snapshot(&mut database);
        }
        drop(database);
        for session in ended {
            let connection = self.sessions.remove(session).and_then(|session| session.connection);
            if let Some(lane) = connection.and_then(|connection| self.lanes.remove(&connection)) {
                wake.extend(lane.lock().close());
            }
        }
    }

    fn begin_snapshot(&mut self, database: &mut crate::pipeline::Database) {
        let mut head = Vec::new();
        if !database.begin_snapshot(&mut head) {
            return;
        }
        self.snapshots.begun();
        let digest = database.tree().options().digest.then(|| database.tree().digest());
        self.outputs.push_back(Output::RollLog);
        self.outputs.push_back(Output::Snapshot(SnapshotStart { zxid: database.last_zxid(), digest, head }));
    }

    fn tick(&mut self, now: Now, wake: &mut Vec<Waker>) {
        if self.disk_full || self.stopping {
            return;
        }
        for session in self.sessions.expire(now) {
            tracing::info!(%session, "session expired");
            let lane =
                self.sessions.get(session).and_then(|session| session.connection).and_then(|c| self.lanes.get(&c));
            if let Some(lane) = lane {
                wake.extend(lane.lock().cut());
            }
            self.outputs.push_back(Output::SessionExpired(session));
            let prepared = self.prepare.close_session(now, self.database.read().tree(), session, 0);
            self.propose(prepared, Origin::Nobody);
        }
        if now.steady_ms >= self.reap_at_ms {
            self.reap_at_ms = now.steady_ms + self.rules.reaper.interval_ms.max(1);
            self.reap(now);
        }
    }

    fn reap(&mut self, now: Now) {
        let rules = self.rules.reaper;
        let most = (rules.per_minute_max * rules.interval_ms.max(1)).div_ceil(60_000);
        let database = Arc::clone(&self.database);
        let database = database.read();
        let due = database.tree().reapable(now.wall_ms, rules.never_used_ms);
        for path in due.iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            let prepared = self.prepare.delete_container(now, database.tree(), path);
            self.propose(prepared, Origin::Nobody);
        }
    }
}

impl Machine for Peer {
    fn handle(&mut self, now: Now, input: Input, wake: &mut Vec<Waker>) {
        match input {
            Input::Connect(lane, greeting) => self.connect(now, &lane, &greeting, wake),
            Input::Writes(requests) => self.writes(now, requests, wake),
            Input::Disconnected(connection) => {
                if let Some(lane) = self.lanes.remove(&connection) {
                    let session = lane.lock().session();
                    if let Some(session) = self.sessions.get_mut(session).filter(|s| s.connection == Some(connection)) {
                        session.connection = None;
                    }
                }
            }
            Input::Durable(durable) => self.durable(&durable),
            Input::DiskFull(full) => self.disk_full = full,
            Input::SnapshotEnded => self.database.write().end_snapshot(),
            Input::SnapshotWanted => {
                let database = Arc::clone(&self.database);
                self.begin_snapshot(&mut database.write());
            }
            Input::RollWanted => self.outputs.push_back(Output::RollLog),
            Input::Tick => self.tick(now, wake),
            Input::Stop => self.stopping = true,
        }
        self.flush();
        self.apply(now, wake);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<u64> {
        if self.disk_full || self.stopping {
            // Nothing expires that cannot be logged.
            return None;
        }
        Some(self.sessions.next_deadline().map_or(self.reap_at_ms, |at| at.min(self.reap_at_ms)))
    }
}

/// Closes a connection without an answer to what it asked.
fn drop_request(lane: &Lane, wake: &mut Vec<Waker>) {
    lane.statistics().outstanding.fetch_sub(1, Relaxed);
    wake.extend(lane.lock().cut());
}

/// Counts towards the next snapshot. Part of each limit is chance, so that servers do not write theirs together.
#[derive(Debug)]
struct SnapshotClock {
    rules: SnapshotRules,
    random: fastrand::Rng,
    txns: u64,
    bytes: u64,
    txns_limit: u64,
    bytes_limit: u64,
}

impl SnapshotClock {
    fn new(rules: SnapshotRules, replayed_txns: u64, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let mut clock = Self { rules, random, txns: 0, bytes: 0, txns_limit: 0, bytes_limit: 0 };
        clock.begun();
        clock.txns = replayed_txns;
        clock
    }

    fn begun(&mut self) {
        (self.txns, self.bytes) = (0, 0);
        let mut limit = |whole: u64| whole / 2 + self.random.u64(0..(whole / 2).max(1));
        (self.txns_limit, self.bytes_limit) = (limit(self.rules.txns), limit(self.rules.bytes));
    }

    const fn logged(&mut self, bytes: u64) {
        self.txns += 1;
        self.bytes += bytes;
    }

    const fn is_due(&self) -> bool {
        self.txns > self.txns_limit || (self.rules.bytes > 0 && self.bytes > self.bytes_limit)
    }
}
