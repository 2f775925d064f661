//! Committing: what was prepared is applied in order, and those who asked are answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use bytes::Bytes;

use super::answer::{put_path_or_null, put_result};
use super::database::Database;
use super::lane::{Lane, answer_waiting};
use crate::ids::{LinkId, Now, SessionId, Zxid};
use crate::metrics::Advanced;
use crate::proto::{ErrorCode, OpCode, ReplyHeader};
use crate::session::Heartbeat;
use crate::txn::{Entry, Txn, TxnHeader};

/// Who waits for a txn.
#[derive(Debug)]
pub enum Origin {
    /// Nobody: the server itself, or another server's client.
    Nobody,
    /// A client's request.
    Request {
        /// Its connection.
        lane: Arc<Lane>,
        /// Its number.
        xid: i32,
        /// What it asked for.
        op: OpCode,
        /// When it came in, steady clock, ms.
        received_ms: u64,
        /// How the results of a multi are laid out.
        layouts: Box<[OpCode]>,
    },
    /// A client that asked for a session.
    Connect {
        /// Its connection.
        lane: Arc<Lane>,
        /// The session it gets.
        session: SessionId,
        /// With this timeout, ms.
        timeout_ms: i32,
        /// Shared with the tracker of sessions.
        heartbeat: Arc<Heartbeat>,
        /// What to say of read-only mode.
        read_only: Option<bool>,
    },
    /// A connection of a session that was lost, and had something in flight: it reads behind that.
    Back(Arc<Lane>),
}

impl Origin {
    /// It will not be answered: it is not outstanding any more.
    pub fn abandon(self) {
        if let Self::Request { lane, .. } = self {
            lane.statistics().outstanding.fetch_sub(1, Relaxed);
        }
    }

    /// The connection that waits.
    fn lane(&self) -> Option<&Arc<Lane>> {
        match self {
            Self::Nobody => None,
            Self::Request { lane, .. } | Self::Connect { lane, .. } | Self::Back(lane) => Some(lane),
        }
    }
}

/// One thing in flight.
#[derive(Debug)]
pub enum Work {
    /// A txn that is to be committed.
    Txn {
        /// Its zxid.
        zxid: Zxid,
        /// Its log record.
        body: Bytes,
        /// Who waits.
        origin: Origin,
    },
    /// An answer that waits for its turn: it is of no txn, but the client is answered in order.
    Answer {
        /// Mostly an error.
        error: ErrorCode,
        /// Who waits.
        origin: Origin,
    },
    /// A sync: answered once everything before it is applied.
    Sync(SyncRequest),
}

/// A client's sync.
#[derive(Debug)]
pub struct SyncRequest {
    /// Who waits.
    pub origin: Origin,
    /// What the client named; it is given back.
    pub path: Option<String>,
}

impl SyncRequest {
    /// Tells the client that this server has come as far as the leader was when it asked.
    pub fn answer(&self, database: &Database, now: Now, wake: &mut Vec<Waker>) {
        let path = self.path.as_deref();
        answer(&self.origin, database, now, wake, database.last_zxid(), ErrorCode::OK, |out| {
            put_path_or_null(path, out)
        });
    }
}

impl Work {
    const fn origin(&self) -> &Origin {
        match self {
            Self::Txn { origin, .. } | Self::Answer { origin, .. } | Self::Sync(SyncRequest { origin, .. }) => origin,
        }
    }
}

/// The writes that were sent to the leader and have not come back as txns, oldest first.
///
/// A txn that comes back belongs to the oldest one if session and number agree (zab.md 7): the leader makes exactly one
/// txn of each, in the order in which they were sent. One that had been proposed before is an older request's: some clients
/// begin to number anew when they come back. Syncs come back in that order as well, and what is answered here waits for its
/// turn.
#[derive(Debug, Default)]
pub struct Forwarded {
    queue: VecDeque<Expected>,
}

#[derive(Debug)]
enum Expected {
    /// The txn of a session's request, behind another one.
    Txn(SessionId, i32, Zxid, Origin),
    Sync(SyncRequest),
    /// The sync of an observer that learns from this server.
    Relayed(LinkId),
    /// An answer that needs no leader.
    Answer(ErrorCode, Origin),
}

/// Whose sync has come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Synced {
    /// A client's of this server: it is answered.
    Answered,
    /// An observer's, which has to be told.
    Relayed(LinkId),
    /// Nobody's: something else is older.
    OutOfTurn,
}

impl Forwarded {
    /// Notes a write that was sent when the last proposal was `last`.
    pub fn push(&mut self, session: SessionId, cxid: i32, last: Zxid, origin: Origin) {
        self.queue.push_back(Expected::Txn(session, cxid, last, origin));
    }

    /// Whether a write of this session has not come back.
    #[must_use]
    pub fn has_of(&self, session: SessionId) -> bool {
        self.queue.iter().any(|expected| matches!(expected, Expected::Txn(of, ..) if *of == session))
    }

    /// Notes a sync that was sent.
    pub fn push_sync(&mut self, request: SyncRequest) {
        self.queue.push_back(Expected::Sync(request));
    }

    /// Notes a sync that was sent for an observer.
    pub fn push_relayed(&mut self, link: LinkId) {
        self.queue.push_back(Expected::Relayed(link));
    }

    /// Answers without the leader, behind all that was sent before.
    pub fn answer(&mut self, error: ErrorCode, origin: Origin, database: &Database, now: Now, wake: &mut Vec<Waker>) {
        self.push_answer(error, origin);
        self.answer_first(database, now, wake);
    }

    /// Notes an answer that waits for its turn.
    pub fn push_answer(&mut self, error: ErrorCode, origin: Origin) {
        self.queue.push_back(Expected::Answer(error, origin));
    }

    /// The oldest sync has come back.
    pub fn synced(&mut self, database: &Database, now: Now, wake: &mut Vec<Waker>) -> Synced {
        let synced = match self.queue.pop_front() {
            Some(Expected::Sync(request)) => {
                request.answer(database, now, wake);
                Synced::Answered
            }
            Some(Expected::Relayed(link)) => Synced::Relayed(link),
            Some(other) => {
                self.queue.push_front(other);
                return Synced::OutOfTurn;
            }
            None => return Synced::OutOfTurn,
        };
        self.answer_first(database, now, wake);
        synced
    }

    /// Answers whatever has nothing older before it.
    fn answer_first(&mut self, database: &Database, now: Now, wake: &mut Vec<Waker>) {
        while let Some(Expected::Answer(error, origin)) =
            self.queue.pop_front_if(|expected| matches!(expected, Expected::Answer(..)))
        {
            tell(&origin, database, None, error);
            answer(&origin, database, now, wake, database.last_zxid(), error, |_| ());
        }
    }

    /// What is expected next, for whoever wonders why it does not come.
    #[must_use]
    pub fn oldest(&self) -> String {
        match self.queue.front() {
            None => "nothing".to_owned(),
            Some(Expected::Txn(session, cxid, ..)) => format!("a txn of session {session}, number {cxid}"),
            Some(Expected::Sync(_)) => "a sync".to_owned(),
            Some(Expected::Relayed(_)) => "an observer's sync".to_owned(),
            Some(Expected::Answer(error, _)) => format!("an answer {error:?}"),
        }
    }

    /// How many have not come back.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nobody waits any more.
    pub fn abandon(&mut self) {
        for expected in self.queue.drain(..) {
            match expected {
                Expected::Txn(.., origin)
                | Expected::Sync(SyncRequest { origin, .. })
                | Expected::Answer(_, origin) => origin.abandon(),
                Expected::Relayed(_) => {}
            }
        }
    }

    /// Whether all have come back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn take(&mut self, header: &TxnHeader) -> Option<Origin> {
        let is_this = |expected: &mut Expected| match expected {
            Expected::Txn(session, cxid, last, _) => {
                (*session, *cxid) == (header.session, header.cxid) && header.zxid > *last
            }
            Expected::Sync(_) | Expected::Relayed(_) | Expected::Answer(..) => false,
        };
        match self.queue.pop_front_if(is_this) {
            Some(Expected::Txn(.., origin)) => Some(origin),
            Some(Expected::Sync(_) | Expected::Relayed(_) | Expected::Answer(..)) | None => None,
        }
    }
}

/// What applying has brought about, beside answers.
#[derive(Debug, Default)]
pub struct Applied {
    /// Sessions that ended.
    pub ended: Vec<SessionId>,
}

/// All that is prepared and not yet applied, in order.
#[derive(Debug, Default)]
pub struct InFlight {
    queue: VecDeque<Work>,
}

impl InFlight {
    /// Puts one thing at the end.
    pub fn push(&mut self, work: Work) {
        self.queue.push_back(work);
    }

    /// Whether a txn of this session is in flight.
    #[must_use]
    pub fn has_of(&self, session: SessionId) -> bool {
        let of = session.0.to_be_bytes();
        self.queue.iter().any(|work| matches!(work, Work::Txn { body, .. } if body.starts_with(&of)))
    }

    /// Answers a request that becomes no txn: at once, or behind what the same client has in flight.
    pub fn refuse(&mut self, error: ErrorCode, origin: Origin, database: &Database, now: Now, wake: &mut Vec<Waker>) {
        if self.has_from(&origin) {
            self.queue.push_back(Work::Answer { error, origin });
        } else {
            tell(&origin, database, None, error);
            answer(&origin, database, now, wake, database.last_zxid(), error, |_| ());
        }
    }

    /// Answers a sync behind all that is in flight; or at once, if what is in flight is `stuck` and not that client's.
    pub fn sync(&mut self, request: SyncRequest, stuck: bool, database: &Database, now: Now, wake: &mut Vec<Waker>) {
        if stuck && !self.has_from(&request.origin) {
            request.answer(database, now, wake);
        } else {
            self.queue.push_back(Work::Sync(request));
        }
    }

    /// Whether the client of this request waits for something in flight.
    fn has_from(&self, origin: &Origin) -> bool {
        let lane = origin.lane().map(|lane| lane.id);
        self.queue.iter().any(|work| work.origin().lane().map(|lane| lane.id) == lane)
    }

    /// How much is in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether something can be done when all txns up to `committed` are.
    #[must_use]
    pub fn is_ready(&self, committed: Zxid) -> bool {
        self.queue.front().is_some_and(|work| ready(work, committed))
    }

    /// Nobody waits any more: what is no txn is dropped.
    pub fn abandon(&mut self) {
        for work in &mut self.queue {
            let (Work::Txn { origin, .. } | Work::Answer { origin, .. } | Work::Sync(SyncRequest { origin, .. })) =
                work;
            std::mem::replace(origin, Origin::Nobody).abandon();
        }
        self.queue.retain(|work| matches!(work, Work::Txn { .. }));
    }

    /// The txns, oldest first.
    pub fn txns(&self) -> impl Iterator<Item = (Zxid, &Bytes)> {
        self.queue.iter().filter_map(|work| match work {
            Work::Txn { zxid, body, .. } => Some((*zxid, body)),
            Work::Answer { .. } | Work::Sync(_) => None,
        })
    }

    /// Applies everything up to `committed` and answers, also those of this server's clients whose writes were
    /// forwarded. Each txn is given to `keep`; connections to wake are appended to `wake`.
    pub fn apply(
        &mut self,
        committed: Zxid,
        database: &mut Database,
        forwarded: &mut Forwarded,
        now: Now,
        mut keep: impl FnMut(Zxid, Bytes),
        wake: &mut Vec<Waker>,
    ) -> Applied {
        let mut applied = Applied::default();
        while let Some(work) = self.queue.pop_front_if(|work| ready(work, committed)) {
            match work {
                Work::Txn { zxid, body, origin } => {
                    apply_txn(zxid, &body, origin, forwarded, database, now, &mut applied.ended, wake);
                    forwarded.answer_first(database, now, wake);
                    keep(zxid, body);
                }
                Work::Sync(request) => request.answer(database, now, wake),
                Work::Answer { error, origin } => {
                    tell(&origin, database, None, error);
                    let zxid = database.last_zxid();
                    answer(&origin, database, now, wake, zxid, error, |_| ());
                }
            }
        }
        applied
    }
}

fn ready(work: &Work, committed: Zxid) -> bool {
    match work {
        Work::Txn { zxid, .. } => *zxid <= committed,
        Work::Answer { .. } | Work::Sync(_) => true,
    }
}

#[expect(clippy::too_many_arguments, reason = "the innermost step of applying touches all of it")]
fn apply_txn(
    zxid: Zxid,
    body: &Bytes,
    origin: Origin,
    forwarded: &mut Forwarded,
    database: &mut Database,
    now: Now,
    ended: &mut Vec<SessionId>,
    wake: &mut Vec<Waker>,
) {
    let entry = match Entry::decode(body) {
        Ok(entry) => entry,
        // It was prepared here, or checked when it came in.
        Err(error) => panic!("txn {zxid} does not decode: {error}"),
    };
    assert_eq!(entry.header.zxid, zxid, "the record says another zxid");
    let origin = match origin {
        Origin::Nobody => forwarded.take(&entry.header).unwrap_or(Origin::Nobody),
        origin => origin,
    };
    database.apply(&entry, wake);
    let database = &*database;
    if let Txn::CloseSession(_) = entry.txn {
        ended.push(entry.header.session);
    }
    let error = match &entry.txn {
        Txn::Error(code) => *code,
        // An Apache leader looks at each part whether the session has moved; to clients it is never said (CL-58).
        Txn::Multi(parts) if parts.iter().any(is_moved) => ErrorCode::SESSION_MOVED,
        _ => ErrorCode::OK,
    };
    tell(&origin, database, Some(&entry.txn), error);
    answer(&origin, database, now, wake, zxid, error, |out| {
        if let Origin::Request { op, layouts, .. } = &origin {
            put_result(*op, &entry.txn, database.stats(), layouts, out);
        }
    });
}

fn is_moved((_, part): &(OpCode, Txn<'_>)) -> bool {
    matches!(part, Txn::Error(ErrorCode::SESSION_MOVED))
}

/// Lets the audit log tell what became of a client's request.
fn tell(origin: &Origin, database: &Database, txn: Option<&Txn<'_>>, error: ErrorCode) {
    if database.audits()
        && let Origin::Request { lane, xid, .. } = origin
        && let Some(note) = lane.lock().pop_note(*xid)
    {
        note.tell(txn, error);
    }
}

fn answer(
    origin: &Origin,
    database: &Database,
    now: Now,
    wake: &mut Vec<Waker>,
    zxid: Zxid,
    error: ErrorCode,
    record: impl FnOnce(&mut Vec<u8>),
) {
    match origin {
        Origin::Nobody => {}
        Origin::Connect { lane, session, timeout_ms, heartbeat, read_only } => {
            wake.extend(lane.open(*session, *timeout_ms, Arc::clone(heartbeat), *read_only, false));
        }
        Origin::Back(lane) => {
            let mut state = lane.lock();
            if state.pop_write() {
                answer_waiting(database, lane, &mut state, now.steady_ms);
                wake.extend(state.take_waker());
            }
        }
        Origin::Request { lane, xid, op, received_ms, .. } => {
            lane.statistics().outstanding.fetch_sub(1, Relaxed);
            let mut state = lane.lock();
            if !state.pop_write() {
                return;
            }
            if error == ErrorCode::SESSION_MOVED {
                // The session lives elsewhere: the client must not hear anything more from here.
                wake.extend(state.cut());
                return;
            }
            let header = ReplyHeader { xid: *xid, zxid, error };
            let kind = if *op == OpCode::SYNC { Advanced::readlatency } else { Advanced::updatelatency };
            state.push_reply(lane.statistics(), Some(kind), (*op, *received_ms, now.steady_ms), header, record);
            if *op == OpCode::CLOSE_SESSION {
                wake.extend(state.close());
                return;
            }
            answer_waiting(database, lane, &mut state, now.steady_ms);
            wake.extend(state.take_waker());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kazoo counts its requests anew on each connection.
    #[test]
    fn what_was_proposed_before_a_request_is_not_its_answer() {
        let mut forwarded = Forwarded::default();
        forwarded.push(SessionId(7), 1, Zxid(5), Origin::Nobody);
        let txn = |zxid| TxnHeader { session: SessionId(7), cxid: 1, zxid: Zxid(zxid), time_ms: 0, op: OpCode::CREATE };
        assert!(forwarded.take(&txn(5)).is_none() && forwarded.has_of(SessionId(7)));
        assert!(forwarded.take(&txn(6)).is_some() && forwarded.is_empty());
    }
}
