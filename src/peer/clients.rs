//! The clients of a server that does not order writes: their sessions are the leader's, and so are their writes (zab.md 8, 9).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use super::core::{Core, drop_request};
use super::local::LocalSessions;
use crate::ids::{ConnectionId, LinkId, Now, SessionId};
use crate::jute::JuteWrite;
use crate::metrics::Counter;
use crate::pipeline::{Greeting, Lane, Origin, SyncRequest, WriteRequest, makes_ephemeral, multi_layouts, refuse_harm};
use crate::proto::{ErrorCode, OpCode, Request};
use crate::session::{Heartbeat, Session, SessionOwner, password};
use crate::zab::{LearnerRequest, Packet};

/// How long a connection may stay silent behind its session's timeout, ms: the reference rounds up to so much. The session
/// ends before that, unless it is alive elsewhere.
const SILENCE_MS: u64 = 10_000;

/// The clients of a learner.
#[derive(Debug)]
pub(super) struct Clients {
    known: BTreeMap<SessionId, KnownSession>,
    /// Sessions whose connections are gone, and that the leader has not been told of since they were last heard of.
    parted: Vec<(SessionId, i32)>,
    local: Option<LocalSessions>,
    /// Those that want a session back, in the order in which the leader was asked.
    returning: Vec<Returning>,
}

/// A session of a client of this server that the leader knows.
#[derive(Debug)]
struct KnownSession {
    connection: ConnectionId,
    timeout_ms: i32,
    heartbeat: Arc<Heartbeat>,
    /// What the leader was told of it.
    told_ms: u64,
}

/// Somebody who wants a session back, while the leader is asked.
#[derive(Debug)]
struct Returning {
    session: SessionId,
    timeout_ms: i32,
    asker: Asker,
}

#[derive(Debug)]
enum Asker {
    /// A client of this server.
    Client(Arc<Lane>, Option<bool>),
    /// An observer that learns from this server, for a client of its own.
    Observer(LinkId),
}

impl KnownSession {
    /// What the leader has to be told of it, if anything.
    fn news(&self, session: SessionId) -> Option<(SessionId, i32)> {
        (self.heartbeat.heard_ms() > self.told_ms).then_some((session, self.timeout_ms))
    }

    fn is_silent(&self, now: Now) -> bool {
        let patience_ms = u64::try_from(self.timeout_ms).unwrap_or(0) + SILENCE_MS;
        now.steady_ms.saturating_sub(self.heartbeat.heard_ms()) > patience_ms
    }
}

impl Clients {
    /// None yet.
    pub(super) fn new(core: &Core) -> Self {
        Self { known: BTreeMap::new(), parted: Vec::new(), local: core.local_sessions(), returning: Vec::new() }
    }

    /// The sessions that only this server knows, if it has such.
    pub(super) const fn local(&self) -> Option<&LocalSessions> {
        self.local.as_ref()
    }

    /// The sessions that were heard of since the leader was last told. A connection that was silent for too long
    /// is cut: its client has gone elsewhere (client-protocol.md 3.6).
    pub(super) fn heard(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) -> Vec<(SessionId, i32)> {
        let mut heard = std::mem::take(&mut self.parted);
        self.known.retain(|id, session| {
            heard.extend(session.news(*id));
            session.told_ms = session.heartbeat.heard_ms();
            let is_silent = session.is_silent(now);
            core.cut_lane(is_silent.then_some(session.connection), wake);
            !is_silent
        });
        heard
    }

    /// Sessions whose end was applied.
    pub(super) fn ended(&mut self, core: &mut Core, ended: &[SessionId], wake: &mut Vec<Waker>) {
        for session in ended {
            let connection = self.known.remove(session).map(|session| session.connection);
            core.close_lane(connection, wake);
        }
    }

    /// A client asks for a session. Returns whether the leader is asked for one that it had before.
    pub(super) fn connect(
        &mut self,
        core: &mut Core,
        now: Now,
        lane: &Arc<Lane>,
        greeting: &Greeting,
        out: &mut Vec<u8>,
        wake: &mut Vec<Waker>,
    ) -> bool {
        let timeout_ms = core.rules.negotiation.settle(greeting.timeout_ms);
        let read_only = greeting.read_only.map(|_| false);
        if greeting.session == SessionId::NONE {
            match &mut self.local {
                Some(local) => local.create(core, now, lane, greeting, wake),
                None => self.create_session(core, now, lane, (timeout_ms, read_only), out),
            }
            return false;
        }
        if self.local.as_mut().is_some_and(|local| local.reattach(core, now, lane, greeting, wake)) {
            return false;
        }
        let session = greeting.session;
        core.rules.metrics.count(Counter::connection_revalidate_count, 1);
        // The old connection goes before the password is looked at (CL-10).
        self.cut_old(core, session, wake);
        if greeting.password != password(session) {
            wake.extend(lane.refuse(read_only));
            return false;
        }
        core.lanes.insert(Arc::clone(lane));
        self.ask(session, timeout_ms, Asker::Client(Arc::clone(lane), read_only), out);
        true
    }

    /// An observer that learns from this server asks for a client of its own, which has left this server if it was here: what
    /// comes of its old connection would be behind the question, and late.
    pub(super) fn observer_asks(
        &mut self,
        core: &mut Core,
        link: LinkId,
        (session, timeout_ms): (SessionId, i32),
        out: &mut Vec<u8>,
        wake: &mut Vec<Waker>,
    ) {
        self.cut_old(core, session, wake);
        self.ask(session, timeout_ms, Asker::Observer(link), out);
    }

    /// Cuts the connections that have a session, or that want it back.
    fn cut_old(&mut self, core: &mut Core, session: SessionId, wake: &mut Vec<Waker>) {
        let known = self.known.remove(&session).map(|session| session.connection);
        core.cut_lane(known, wake);
        for returning in self.returning.iter().filter(|returning| returning.session == session) {
            if let Asker::Client(lane, _) = &returning.asker {
                core.cut_lane(Some(lane.id), wake);
            }
        }
    }

    fn ask(&mut self, session: SessionId, timeout_ms: i32, asker: Asker, out: &mut Vec<u8>) {
        put(out, &Packet::Revalidate { session, timeout_ms });
        self.returning.push(Returning { session, timeout_ms, asker });
    }

    fn create_session(
        &mut self,
        core: &mut Core,
        now: Now,
        lane: &Arc<Lane>,
        (timeout_ms, read_only): (i32, Option<bool>),
        out: &mut Vec<u8>,
    ) {
        let session = core.new_session(|id| self.known.contains_key(&id));
        let heartbeat = self.admit(now, session, lane.id, timeout_ms);
        core.lanes.insert(Arc::clone(lane));
        let origin = Origin::Connect { lane: Arc::clone(lane), session, timeout_ms, heartbeat, read_only };
        forward_session(core, session, timeout_ms, origin, out);
    }

    fn admit(&mut self, now: Now, session: SessionId, connection: ConnectionId, timeout_ms: i32) -> Arc<Heartbeat> {
        let heartbeat = Arc::new(Heartbeat::default());
        heartbeat.touch(now.steady_ms);
        let local = KnownSession { connection, timeout_ms, heartbeat: Arc::clone(&heartbeat), told_ms: 0 };
        self.known.insert(session, local);
        heartbeat
    }

    /// The leader says whether somebody may have a session back. Returns the observer, if it was one that has asked.
    pub(super) fn revalidated(
        &mut self,
        core: &mut Core,
        now: Now,
        session: SessionId,
        valid: bool,
        wake: &mut Vec<Waker>,
    ) -> Option<LinkId> {
        let at = self.returning.iter().position(|returning| returning.session == session)?;
        let Returning { timeout_ms, asker, .. } = self.returning.remove(at);
        let (lane, read_only) = match asker {
            Asker::Client(lane, read_only) => (lane, read_only),
            Asker::Observer(link) => {
                // It was here for a moment after it had asked there.
                let old = if valid { self.known.remove(&session) } else { None };
                core.cut_lane(old.map(|session| session.connection), wake);
                return Some(link);
            }
        };
        // It may have gone away, or been cut, while the leader was asked.
        if !core.lanes.contains(lane.id) {
            return None;
        }
        if valid {
            let heartbeat = self.admit(now, session, lane.id, timeout_ms);
            core.open_lane(&lane, (session, timeout_ms), heartbeat, read_only, wake);
        } else {
            core.lanes.remove(lane.id);
            wake.extend(lane.refuse(read_only));
        }
        None
    }

    /// Sends a write to the leader, or answers it here.
    pub(super) fn write(
        &mut self,
        core: &mut Core,
        now: Now,
        request: WriteRequest,
        out: &mut Vec<u8>,
        wake: &mut Vec<Waker>,
    ) {
        let WriteRequest { lane, session, xid, op, body, identities, received_ms } = request;
        let is_local = self.local.as_ref().is_some_and(|local| local.is_here(session, lane.id));
        if !is_local && self.known.get(&session).is_none_or(|known| known.connection != lane.id) {
            drop_request(&lane, wake);
            return;
        }
        let layouts = multi_layouts(op, &body);
        let origin = Origin::Request { lane, xid, op, received_ms, layouts };
        if let Some(error) = self.answer_local(core, is_local, session, (op, &body), out) {
            core.forwarded.answer(error, origin, &core.database.read(), now, wake);
            return;
        }
        if let Some(error) = refuse_harm(op, &body) {
            core.forwarded.answer(error, origin, &core.database.read(), now, wake);
            return;
        }
        if op == OpCode::SYNC
            && let Ok((_, Request::Sync(path))) = Request::decode(op, &body)
        {
            let path = path.map(std::borrow::Cow::into_owned);
            core.forwarded.push_sync(SyncRequest { origin, path });
        } else {
            core.forwarded.push(session, xid, core.last_logged, origin);
        }
        let identities = Some(identities.to_vec());
        put(out, &Packet::Request(LearnerRequest { session, cxid: xid, op, body, identities }));
    }

    /// What a session that only this server knows gets without the leader; what it may ask of the leader has to be known
    /// there first.
    fn answer_local(
        &mut self,
        core: &mut Core,
        is_local: bool,
        session: SessionId,
        (op, body): (OpCode, &[u8]),
        out: &mut Vec<u8>,
    ) -> Option<ErrorCode> {
        let local = self.local.as_mut().filter(|_| is_local)?;
        if op == OpCode::CLOSE_SESSION {
            local.remove(session);
            return Some(ErrorCode::OK);
        }
        // Without upgrading, the leader refuses it.
        if !core.ensemble().local_sessions_upgrade || !makes_ephemeral(op, body) {
            return None;
        }
        let Session { timeout_ms, heartbeat, owner, .. } = local.remove(session)?;
        if let Some(SessionOwner::Connection(connection)) = owner {
            self.known.insert(session, KnownSession { connection, timeout_ms, heartbeat, told_ms: 0 });
        }
        forward_session(core, session, timeout_ms, Origin::Nobody, out);
        None
    }

    pub(super) fn disconnected(&mut self, session: SessionId, connection: ConnectionId) {
        if let Some(local) = &mut self.local {
            local.disconnected(session, connection);
        }
        if self.known.get(&session).is_some_and(|known| known.connection == connection)
            && let Some(known) = self.known.remove(&session)
        {
            self.parted.extend(known.news(session));
        }
    }

    /// Ends the sessions that are this server's own to end.
    pub(super) fn tick(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) {
        if let Some(local) = &mut self.local {
            local.expire(core, now, wake);
        }
    }

    /// When [`Clients::tick`] is due.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.local.as_ref().and_then(LocalSessions::next_deadline)
    }
}

/// Asks the leader to make a session.
fn forward_session(core: &mut Core, session: SessionId, timeout_ms: i32, origin: Origin, out: &mut Vec<u8>) {
    core.forwarded.push(session, 0, core.last_logged, origin);
    let mut body = Vec::with_capacity(4);
    body.int(timeout_ms);
    let op = OpCode::CREATE_SESSION;
    put(out, &Packet::Request(LearnerRequest { session, cxid: 0, op, body: body.into(), identities: None }));
}

fn put(out: &mut Vec<u8>, packet: &Packet) {
    packet.encode(out);
}
