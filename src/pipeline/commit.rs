//! Committing: what was prepared is applied in order, and those who asked are answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use bytes::Bytes;

use super::answer::put_result;
use super::database::Database;
use super::lane::{Lane, answer_waiting};
use crate::ids::{Now, SessionId, Zxid};
use crate::proto::{ErrorCode, OpCode, ReplyHeader};
use crate::session::Heartbeat;
use crate::txn::{Entry, Txn};

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
}

impl Origin {
    /// The connection that waits.
    fn lane(&self) -> Option<&Arc<Lane>> {
        match self {
            Self::Nobody => None,
            Self::Request { lane, .. } | Self::Connect { lane, .. } => Some(lane),
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
    /// An error that waits for its turn: it is not a txn, but the client is answered in order.
    Refused {
        /// The error.
        error: ErrorCode,
        /// Who waits.
        origin: Origin,
    },
}

impl Work {
    const fn origin(&self) -> &Origin {
        match self {
            Self::Txn { origin, .. } | Self::Refused { origin, .. } => origin,
        }
    }
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

    /// Answers a request that becomes no txn: at once, or behind what the same client has in flight.
    pub fn refuse(&mut self, error: ErrorCode, origin: Origin, database: &Database, now: Now, wake: &mut Vec<Waker>) {
        let lane = origin.lane().map(|lane| lane.id);
        if self.queue.iter().any(|work| work.origin().lane().map(|lane| lane.id) == lane) {
            self.queue.push_back(Work::Refused { error, origin });
        } else {
            answer(&origin, database, now, wake, database.last_zxid(), error, |_| ());
        }
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

    /// Applies everything up to `committed` and answers. Sessions that ended are appended to `ended`, connections to
    /// wake to `wake`.
    pub fn apply(
        &mut self,
        committed: Zxid,
        database: &mut Database,
        now: Now,
        ended: &mut Vec<SessionId>,
        wake: &mut Vec<Waker>,
    ) {
        while let Some(work) = self.queue.pop_front_if(|work| ready(work, committed)) {
            match work {
                Work::Txn { zxid, body, origin } => apply_txn(zxid, &body, &origin, database, now, ended, wake),
                Work::Refused { error, origin } => {
                    let zxid = database.last_zxid();
                    answer(&origin, database, now, wake, zxid, error, |_| ());
                }
            }
        }
    }
}

fn ready(work: &Work, committed: Zxid) -> bool {
    match work {
        Work::Txn { zxid, .. } => *zxid <= committed,
        Work::Refused { .. } => true,
    }
}

fn apply_txn(
    zxid: Zxid,
    body: &Bytes,
    origin: &Origin,
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
    let stats = database.apply(&entry, wake).to_vec();
    if let Txn::CloseSession(_) = entry.txn {
        ended.push(entry.header.session);
    }
    let error = if let Txn::Error(code) = entry.txn { code } else { ErrorCode::OK };
    answer(origin, database, now, wake, zxid, error, |out| {
        if let Origin::Request { op, layouts, .. } = origin {
            put_result(*op, &entry.txn, &stats, layouts, out);
        }
    });
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
            wake.extend(lane.open(*session, *timeout_ms, Arc::clone(heartbeat), *read_only));
        }
        Origin::Request { lane, xid, op, received_ms, .. } => {
            lane.statistics().outstanding.fetch_sub(1, Relaxed);
            let mut state = lane.lock();
            if !state.pop_write() {
                return;
            }
            let header = ReplyHeader { xid: *xid, zxid, error };
            state.push_reply(lane.statistics(), (*op, *received_ms, now.steady_ms), header, record);
            if *op == OpCode::CLOSE_SESSION {
                wake.extend(state.close());
                return;
            }
            answer_waiting(database, lane, &mut state, now.steady_ms);
            wake.extend(state.take_waker());
        }
    }
}
