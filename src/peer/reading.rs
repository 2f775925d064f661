//! Read-only: a server without a quorum that answers reads of those who will have that (semantics.md 7.1).

use std::sync::Arc;
use std::task::Waker;

use super::core::Core;
use super::local::LocalSessions;
use super::standing::{Mode, Standing};
use crate::ids::{ConnectionId, Now, SessionId};
use crate::pipeline::{Greeting, Lane, Origin, WriteRequest};
use crate::proto::{ErrorCode, OpCode};

/// The service of a server that looks for a leader and finds none.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) local: LocalSessions,
}

impl Reading {
    /// Begins to serve.
    pub(super) fn begin(core: &mut Core, now: Now) -> Self {
        tracing::warn!("no quorum is to be found: serving read-only clients");
        let since = core.database.read().last_zxid();
        let since_ms = now.steady_ms;
        core.stand(Standing { mode: Mode::ReadOnly, serves: true, since, since_ms, ..Standing::default() });
        Self { local: LocalSessions::new(core, true) }
    }

    pub(super) fn connect(
        &mut self,
        core: &mut Core,
        now: Now,
        lane: &Arc<Lane>,
        greeting: &Greeting,
        wake: &mut Vec<Waker>,
    ) {
        let known = self.local.sessions().get(greeting.session).is_some();
        let is_new = greeting.session == SessionId::NONE;
        // With local sessions it may have been one of another server: it is over. Any other one may live on elsewhere.
        let is_global = core.database.read().sessions().contains_key(&greeting.session);
        let is_over = !is_new && !known && !is_global && core.ensemble().local_sessions;
        if core.stopping || greeting.read_only != Some(true) || !(is_new || known || is_over) {
            wake.extend(lane.lock().cut());
        } else if is_over {
            wake.extend(lane.refuse(Some(true)));
        } else if known {
            self.local.reattach(core, now, lane, greeting, wake);
        } else {
            self.local.create(core, now, lane, greeting, wake);
        }
    }

    /// Everything that would need a quorum is refused; a session may end.
    pub(super) fn writes(&mut self, core: &mut Core, now: Now, requests: Vec<WriteRequest>, wake: &mut Vec<Waker>) {
        for request in requests {
            let WriteRequest { lane, session, xid, op, received_ms, .. } = request;
            let mut error = ErrorCode::NOT_READ_ONLY;
            if op == OpCode::CLOSE_SESSION {
                self.local.remove(session);
                error = ErrorCode::OK;
            }
            let origin = Origin::Request { lane, xid, op, received_ms, layouts: Box::default() };
            core.in_flight.refuse(error, origin, &core.database.read(), now, wake);
        }
    }

    pub(super) fn disconnected(&mut self, session: SessionId, connection: ConnectionId) {
        self.local.disconnected(session, connection);
    }
}
