//! Sessions that only this server knows: no txn makes them and none ends them (SE-10). A read-only server has no others.

use std::sync::Arc;
use std::task::Waker;

use super::core::Core;
use crate::ids::{ConnectionId, Now, SessionId};
use crate::pipeline::{Greeting, Lane};
use crate::session::{Session, SessionOwner, Sessions, password};

/// Sessions that only this server knows.
#[derive(Debug)]
pub(super) struct LocalSessions {
    sessions: Sessions,
    read_only: bool,
}

impl LocalSessions {
    /// None yet. Clients are told whether the server is `read_only`.
    pub(super) fn new(core: &Core, read_only: bool) -> Self {
        Self { sessions: Sessions::new(core.rules.tick_ms), read_only }
    }

    /// All of them.
    pub(super) const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A client wants a new one.
    pub(super) fn create(
        &mut self,
        core: &mut Core,
        now: Now,
        lane: &Arc<Lane>,
        greeting: &Greeting,
        wake: &mut Vec<Waker>,
    ) {
        let session = core.new_session(|id| self.sessions.get(id).is_some());
        self.open(core, now, lane, session, greeting, wake);
    }

    /// A client wants its session back. False: it is not one of these.
    pub(super) fn reattach(
        &mut self,
        core: &mut Core,
        now: Now,
        lane: &Arc<Lane>,
        greeting: &Greeting,
        wake: &mut Vec<Waker>,
    ) -> bool {
        let session = greeting.session;
        let Some(tracked) = self.sessions.get_mut(session) else { return false };
        let old = tracked.connection();
        tracked.owner = None;
        // The old connection goes before the password is looked at (CL-10).
        core.cut_lane(old, wake);
        if greeting.password == password(session) {
            self.open(core, now, lane, session, greeting, wake);
        } else {
            wake.extend(lane.refuse(greeting.read_only.map(|_| self.read_only)));
        }
        true
    }

    fn open(
        &mut self,
        core: &mut Core,
        now: Now,
        lane: &Arc<Lane>,
        session: SessionId,
        greeting: &Greeting,
        wake: &mut Vec<Waker>,
    ) {
        let timeout_ms = core.rules.negotiation.settle(greeting.timeout_ms);
        let tracked = self.sessions.track(now, session, timeout_ms);
        tracked.owner = Some(SessionOwner::Connection(lane.id));
        let read_only = greeting.read_only.map(|_| self.read_only);
        core.open_lane(lane, (session, timeout_ms), Arc::clone(&tracked.heartbeat), read_only, wake);
        core.lanes.insert(Arc::clone(lane));
    }

    /// Whether this connection speaks for that session.
    pub(super) fn is_here(&self, session: SessionId, connection: ConnectionId) -> bool {
        self.sessions.get(session).is_some_and(|session| session.connection() == Some(connection))
    }

    /// A connection is gone; its session waits for another one.
    pub(super) fn disconnected(&mut self, session: SessionId, connection: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(session).filter(|s| s.connection() == Some(connection)) {
            session.owner = None;
        }
    }

    /// It ends, or becomes one that all servers know.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<Session> {
        self.sessions.remove(session)
    }

    /// Ends those that were not heard of.
    pub(super) fn expire(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) {
        for session in self.sessions.expire(now) {
            tracing::info!(%session, "local session expired");
            let connection = self.sessions.remove(session).and_then(|session| session.connection());
            core.cut_lane(connection, wake);
        }
    }

    /// When [`LocalSessions::expire`] is due.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.sessions.next_deadline()
    }
}
