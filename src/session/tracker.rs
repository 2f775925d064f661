//! Who is alive. Deadlines are rounded up to the next tick, and sessions stand in one bucket per tick (SE-03).
//!
//! A request does not move its session to another bucket: it only notes the time in the session's [`Heartbeat`], from
//! whatever thread it came in on. When a bucket is due, those in it that were heard of since move on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::{ConnectionId, LinkId, Now, SessionId};
use crate::numbered::{Numbered, NumberedTable};

/// When a session was last heard of, on the steady clock, ms.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// Notes that the session was heard of.
    pub fn touch(&self, steady_ms: u64) {
        self.0.fetch_max(steady_ms, Ordering::Relaxed);
    }

    /// When it was last heard of.
    #[must_use]
    pub fn heard_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The bounds of a session timeout (CL-12).
#[derive(Clone, Copy, Debug)]
pub struct Negotiation {
    /// No session gets less, ms.
    pub min_ms: i32,
    /// No session gets more, ms.
    pub max_ms: i32,
}

impl Negotiation {
    /// What a session gets that asks for `wanted_ms`.
    #[must_use]
    pub fn settle(self, wanted_ms: i32) -> i32 {
        wanted_ms.min(self.max_ms).max(self.min_ms)
    }
}

/// Who speaks for a session: others that try have missed that it moved (CL-58).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionOwner {
    /// A connection to this server.
    Connection(ConnectionId),
    /// A learner that its client is connected to.
    Learner(LinkId),
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// How long it lives without being heard of, ms.
    pub timeout_ms: i32,
    /// Who speaks for it, or spoke last; nobody after a restart.
    pub owner: Option<SessionOwner>,
    /// Set once its end has begun: its requests are dropped.
    pub closing: bool,
    /// Shared with the connection.
    pub heartbeat: Arc<Heartbeat>,
    id: SessionId,
    bucket: u64,
}

impl Numbered for Session {
    type Number = SessionId;

    fn number(&self) -> SessionId {
        self.id
    }
}

impl Session {
    /// The connection to this server that speaks for it.
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self.owner {
            Some(SessionOwner::Connection(connection)) => Some(connection),
            Some(SessionOwner::Learner(_)) | None => None,
        }
    }
}

/// All sessions, by id and by when they are due.
#[derive(Debug)]
pub struct Sessions {
    tick_ms: u64,
    by_id: NumberedTable<Box<Session>>,
    buckets: BTreeMap<u64, Vec<SessionId>>,
}

impl Sessions {
    /// No sessions; `tick_ms` is `tickTime`.
    #[must_use]
    pub fn new(tick_ms: u64) -> Self {
        Self { tick_ms: tick_ms.max(1), by_id: NumberedTable::default(), buckets: BTreeMap::new() }
    }

    /// Starts to track a session, or gives one that is there a new timeout; either way it counts as heard of.
    pub fn track(&mut self, now: Now, id: SessionId, timeout_ms: i32) -> &mut Session {
        let bucket = self.bucket(now.steady_ms, timeout_ms);
        let buckets = &mut self.buckets;
        let session = self.by_id.get_or_insert_with(id, || {
            buckets.entry(bucket).or_default().push(id);
            Box::new(Session { timeout_ms, owner: None, closing: false, heartbeat: Arc::default(), id, bucket })
        });
        session.timeout_ms = timeout_ms;
        session.heartbeat.touch(now.steady_ms);
        // A shorter timeout makes it due earlier; a longer one is seen when its bucket is.
        if bucket < session.bucket {
            session.bucket = bucket;
            buckets.entry(bucket).or_default().push(id);
        }
        session
    }

    /// The session, if it is tracked.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(id).map(Box::as_ref)
    }

    /// The session, to change.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.by_id.get_mut(id).map(Box::as_mut)
    }

    /// Stops tracking a session.
    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        self.by_id.remove(id).map(|session| *session)
    }

    /// All sessions with their ids, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SessionId, &Session)> {
        self.by_id.iter().map(|session| (session.id, session.as_ref()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// When [`Sessions::expire`] is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.buckets.keys().next().copied()
    }

    /// Marks the sessions whose time has come as closing, and returns them in the order of their ids.
    pub fn expire(&mut self, now: Now) -> Vec<SessionId> {
        let mut expired = Vec::new();
        while let Some(due) = self.buckets.first_entry().filter(|due| *due.key() <= now.steady_ms) {
            let (at, ids) = due.remove_entry();
            for id in ids {
                let Some(session) = self.by_id.get_mut(id).filter(|session| session.bucket == at && !session.closing)
                else {
                    continue;
                };
                let bucket = bucket(session.heartbeat.heard_ms(), session.timeout_ms, self.tick_ms);
                if bucket > now.steady_ms {
                    session.bucket = bucket;
                    self.buckets.entry(bucket).or_default().push(id);
                } else {
                    session.closing = true;
                    expired.push(id);
                }
            }
        }
        expired.sort_unstable();
        expired
    }

    /// Each tick at which sessions are due if they are not heard of any more, and those sessions, ascending.
    #[must_use]
    pub fn expiry_sets(&self) -> BTreeMap<u64, Vec<SessionId>> {
        let mut sets: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
        for (id, session) in self.iter() {
            let at = self.bucket(session.heartbeat.heard_ms(), session.timeout_ms);
            sets.entry(at).or_default().push(id);
        }
        for ids in sets.values_mut() {
            ids.sort_unstable();
        }
        sets
    }

    fn bucket(&self, heard_ms: u64, timeout_ms: i32) -> u64 {
        bucket(heard_ms, timeout_ms, self.tick_ms)
    }
}

fn bucket(heard_ms: u64, timeout_ms: i32, tick_ms: u64) -> u64 {
    let deadline = heard_ms + u64::try_from(timeout_ms).unwrap_or(0);
    (deadline / tick_ms + 1) * tick_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steady_ms: u64) -> Now {
        Now { steady_ms, wall_ms: 0 }
    }

    #[test]
    fn a_session_lives_its_timeout_rounded_up_to_the_next_tick() {
        let mut sessions = Sessions::new(2000);
        sessions.track(at(500), SessionId(1), 4000);
        assert_eq!(sessions.next_deadline(), Some(6000));
        assert_eq!(sessions.expire(at(5999)), []);
        assert_eq!(sessions.expire(at(6000)), [SessionId(1)]);
        assert!(sessions.get(SessionId(1)).is_some_and(|session| session.closing));
        assert_eq!(sessions.expire(at(60000)), []);
    }

    #[test]
    fn a_heartbeat_is_enough_to_live_on() {
        let mut sessions = Sessions::new(2000);
        let heartbeat = sessions.track(at(0), SessionId(1), 4000).heartbeat.clone();
        heartbeat.touch(3000);
        assert_eq!(sessions.expire(at(6000)), []);
        assert_eq!(sessions.next_deadline(), Some(8000));
        assert_eq!(sessions.expire(at(8000)), [SessionId(1)]);
    }

    #[test]
    fn a_reconnect_with_a_shorter_timeout_expires_earlier() {
        let mut sessions = Sessions::new(2000);
        sessions.track(at(0), SessionId(1), 40_000);
        sessions.track(at(1000), SessionId(1), 4000);
        assert_eq!(sessions.expire(at(6000)), [SessionId(1)]);
    }

    #[test]
    fn timeouts_are_clamped() {
        let bounds = Negotiation { min_ms: 4000, max_ms: 40_000 };
        assert_eq!([0, -5, 10_000, i32::MAX].map(|ms| bounds.settle(ms)), [4000, 4000, 10_000, 40_000]);
    }
}
