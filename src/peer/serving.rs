//! What only the one who orders writes does, be it a leader or a server alone: prepare, track sessions, reap.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Waker;

use super::Output;
use super::core::{Core, Leave, Outcome, drop_request};
use super::local::LocalSessions;
use crate::ids::{ConnectionId, LinkId, Now, SessionId, Sid, Zxid};
use crate::jute::int;
use crate::metrics::Counter;
use crate::pipeline::{Asker, Greeting, Lane, Origin, Prepare, Prepared, SyncRequest, WriteRequest, makes_ephemeral};
use crate::proto::{ErrorCode, OpCode, OpKind, Request};
use crate::session::{Session, SessionOwner, Sessions, password};
use crate::tree::Tree;
use crate::zab::{LearnerRequest, next_members};

/// The one who orders writes.
#[derive(Debug)]
pub(super) struct Serving {
    prepare: Prepare,
    pub(super) sessions: Sessions,
    pub(super) local: Option<LocalSessions>,
    reap_at_ms: u64,
}

impl Serving {
    /// Begins behind `last`; sessions get their full timeouts again, and belong to nobody.
    pub(super) fn begin(core: &mut Core, now: Now, last: Zxid) -> Result<Self, Leave> {
        let mut sessions = Sessions::new(core.rules.tick_ms);
        let prepare = {
            let database = core.database.read();
            for (&id, &timeout_ms) in database.sessions() {
                sessions.track(now, id, timeout_ms);
            }
            Prepare::new(core.rules.prepare.clone(), database.tree(), last)
        };
        let reap_at_ms = now.steady_ms + core.rules.reaper.interval_ms;
        let mut serving = Self { prepare, sessions, local: core.local_sessions(), reap_at_ms };
        serving.close_orphans(core, now)?;
        Ok(serving)
    }

    /// Forgets the changes up to `zxid`: the tree has them.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        self.prepare.applied(zxid);
    }

    /// Ephemerals whose session is not in the table should not be; if there are some, their sessions end properly (SE-08).
    fn close_orphans(&mut self, core: &mut Core, now: Now) -> Outcome {
        let mut orphans: Vec<_> = {
            let database = core.database.read();
            let sessions = database.tree().ephemeral_sessions();
            sessions.filter(|id| !database.sessions().contains_key(id)).collect()
        };
        orphans.sort_unstable();
        for session in orphans {
            tracing::warn!(%session, "closing a session that has ephemerals but is not in the session table");
            let prepared = self.prepare.close_session(now, core.database.read().tree(), session, 0);
            propose(core, prepared, Origin::Nobody)?;
        }
        Ok(())
    }

    pub(super) fn connect(
        &mut self,
        core: &mut Core,
        now: Now,
        lane: &Arc<Lane>,
        greeting: &Greeting,
        wake: &mut Vec<Waker>,
    ) -> Outcome {
        if core.stopping || core.disk_full && greeting.session == SessionId::NONE {
            wake.extend(lane.lock().cut());
            return Ok(());
        }
        let timeout_ms = core.rules.negotiation.settle(greeting.timeout_ms);
        let read_only = greeting.read_only.map(|_| false);
        if greeting.session == SessionId::NONE {
            if let Some(local) = &mut self.local {
                local.create(core, now, lane, greeting, wake);
                return Ok(());
            }
            return self.create_session(core, now, lane, timeout_ms, read_only);
        }
        if self.local.as_mut().is_some_and(|local| local.reattach(core, now, lane, greeting, wake)) {
            return Ok(());
        }
        let session = greeting.session;
        core.rules.metrics.count(Counter::connection_revalidate_count, 1);
        // The old connection goes before the password is looked at (CL-10).
        let old = self.sessions.get(session).and_then(Session::connection);
        core.cut_lane(old, wake);
        let known = self.sessions.get(session).is_some_and(|session| !session.closing);
        if !known || greeting.password != password(session) {
            wake.extend(lane.refuse(read_only));
            return Ok(());
        }
        let tracked = self.sessions.track(now, session, timeout_ms);
        tracked.owner = Some(SessionOwner::Connection(lane.id));
        core.open_lane(lane, (session, timeout_ms), Arc::clone(&tracked.heartbeat), read_only, wake);
        core.lanes.insert(Arc::clone(lane));
        Ok(())
    }

    fn create_session(
        &mut self,
        core: &mut Core,
        now: Now,
        lane: &Arc<Lane>,
        timeout_ms: i32,
        read_only: Option<bool>,
    ) -> Outcome {
        let session = core.new_session(|id| self.sessions.get(id).is_some());
        let tracked = self.sessions.track(now, session, timeout_ms);
        tracked.owner = Some(SessionOwner::Connection(lane.id));
        let heartbeat = Arc::clone(&tracked.heartbeat);
        core.lanes.insert(Arc::clone(lane));
        let prepared = self.prepare.create_session(now, core.database.read().tree(), session, timeout_ms);
        let origin = Origin::Connect { lane: Arc::clone(lane), session, timeout_ms, heartbeat, read_only };
        propose(core, prepared, origin)
    }

    /// Writes of this server's clients; `followers` have all of the history.
    pub(super) fn writes(
        &mut self,
        core: &mut Core,
        now: Now,
        requests: Vec<WriteRequest>,
        followers: &BTreeSet<Sid>,
        wake: &mut Vec<Waker>,
    ) -> Outcome {
        let database = Arc::clone(&core.database);
        let database = database.read();
        let mut requests = requests.into_iter();
        while let Some(request) = requests.next() {
            let WriteRequest { lane, session, xid, op, body, identities, received_ms } = request;
            let mut origin = Origin::Request { lane: Arc::clone(&lane), xid, op, received_ms, layouts: Box::default() };
            if core.stopping {
                drop_request(&lane, wake);
                continue;
            }
            if op == OpCode::SYNC {
                sync(core, origin, &body, now, &database, wake);
                continue;
            }
            if core.disk_full {
                // Nothing is taken that cannot be logged: no zxid, no txn.
                core.in_flight.refuse(ErrorCode::SYSTEM_ERROR, origin, &database, now, wake);
                continue;
            }
            let asker = Asker { session, cxid: xid, identities: &identities, is_local: false };
            let tree = database.tree();
            if self.is_local_here(session, lane.id) {
                if op == OpCode::CLOSE_SESSION {
                    self.local.as_mut().map(|local| local.remove(session));
                    core.in_flight.refuse(ErrorCode::OK, origin, &database, now, wake);
                    continue;
                }
                if core.ensemble().local_sessions_upgrade
                    && makes_ephemeral(op, &body)
                    && let Err(leave) = self.upgrade(core, now, tree, session)
                {
                    drop_all(&lane, requests, wake);
                    return Err(leave);
                }
            }
            let is_local = self.is_local_here(session, lane.id);
            let prepared = match self.sessions.get_mut(session) {
                _ if is_local => self.prepare(core, now, tree, Asker { is_local, ..asker }, (op, &body), followers),
                Some(tracked) if !tracked.closing => {
                    let here = SessionOwner::Connection(lane.id);
                    if *tracked.owner.get_or_insert(here) != here && op != OpCode::CLOSE_SESSION {
                        // Moved: not answered, the old connection closes (CL-58).
                        drop_request(&lane, wake);
                        continue;
                    }
                    tracked.closing = op == OpCode::CLOSE_SESSION;
                    self.prepare(core, now, tree, asker, (op, &body), followers)
                }
                Some(_) | None => self.prepare.refuse(now, tree, session, xid, gone(core, op)),
            };
            if let (Origin::Request { layouts, .. }, Prepared::Txn { layouts: prepared, .. }) = (&mut origin, &prepared)
            {
                layouts.clone_from(prepared);
            }
            match prepared {
                Prepared::Refused(error) => core.in_flight.refuse(error, origin, &database, now, wake),
                prepared => {
                    if let Err(leave) = propose(core, prepared, origin) {
                        drop_all(&lane, requests, wake);
                        return Err(leave);
                    }
                }
            }
        }
        Ok(())
    }

    fn is_local_here(&self, session: SessionId, connection: ConnectionId) -> bool {
        self.local.as_ref().is_some_and(|local| local.is_here(session, connection))
    }

    /// Makes a session known to all servers.
    fn upgrade(&mut self, core: &mut Core, now: Now, tree: &Tree, session: SessionId) -> Outcome {
        let Some(local) = self.local.as_mut().and_then(|local| local.remove(session)) else { return Ok(()) };
        let tracked = self.sessions.track(now, session, local.timeout_ms);
        (tracked.owner, tracked.heartbeat) = (local.owner, local.heartbeat);
        let prepared = self.prepare.create_session(now, tree, session, local.timeout_ms);
        propose(core, prepared, Origin::Nobody)
    }

    /// A learner's client asks for something that has to be ordered.
    pub(super) fn learner_request(
        &mut self,
        core: &mut Core,
        now: Now,
        link: LinkId,
        request: &LearnerRequest,
        followers: &BTreeSet<Sid>,
    ) -> Outcome {
        let LearnerRequest { session, cxid, op, body, identities } = request;
        let (session, cxid, op, here) = (*session, *cxid, *op, SessionOwner::Learner(link));
        let database = Arc::clone(&core.database);
        let database = database.read();
        let tree = database.tree();
        let identities = identities.as_deref().unwrap_or_default();
        let asker = Asker { session, cxid, identities, is_local: false };
        // With local sessions, one that was made by another server may be known to that one alone.
        let maybe_local = self.local.is_some() && session.issuer() != core.me();
        let prepared = if op == OpCode::CREATE_SESSION {
            let timeout_ms = int(body).map_or(0, |(_, timeout_ms)| timeout_ms);
            self.sessions.track(now, session, timeout_ms).owner = Some(here);
            self.prepare.create_session(now, tree, session, timeout_ms)
        } else {
            match self.sessions.get_mut(session) {
                _ if op.kind() != OpKind::Write => {
                    self.prepare.refuse(now, tree, session, cxid, ErrorCode::UNIMPLEMENTED)
                }
                Some(tracked) if !tracked.closing => {
                    tracked.heartbeat.touch(now.steady_ms);
                    // Who has had it may still end it (client-protocol.md 3.4).
                    if *tracked.owner.get_or_insert(here) == here || op == OpCode::CLOSE_SESSION {
                        tracked.closing = op == OpCode::CLOSE_SESSION;
                        self.prepare(core, now, tree, asker, (op, body), followers)
                    } else {
                        self.prepare.refuse(now, tree, session, cxid, ErrorCode::SESSION_MOVED)
                    }
                }
                None if maybe_local => {
                    self.prepare(core, now, tree, Asker { is_local: true, ..asker }, (op, body), followers)
                }
                Some(_) | None => self.prepare.refuse(now, tree, session, cxid, gone(core, op)),
            }
        };
        // Whatever was forwarded comes back as exactly one txn (zab.md 7).
        let prepared = match prepared {
            Prepared::Refused(error) => self.prepare.refuse(now, tree, session, cxid, error),
            prepared => prepared,
        };
        propose(core, prepared, Origin::Nobody)
    }

    fn prepare(
        &mut self,
        core: &Core,
        now: Now,
        tree: &Tree,
        asker: Asker<'_>,
        (op, body): (OpCode, &[u8]),
        followers: &BTreeSet<Sid>,
    ) -> Prepared {
        if op != OpCode::RECONFIG {
            return self.prepare.request(now, tree, asker, (op, body));
        }
        self.prepare.reconfig(now, tree, asker, body, |request, zxid| {
            // A server alone does not reconfigure (EN-27).
            let membership = core.membership.as_ref().ok_or(ErrorCode::UNIMPLEMENTED)?;
            let follows = |sid: Sid| sid == core.me() || followers.contains(&sid);
            let rules = core.ensemble();
            let may = (rules.standalone_enabled, rules.several_addresses);
            let next = next_members(membership, request, zxid, may, follows)?;
            Ok(next.map(|next| next.text()))
        })
    }

    /// Whether a session may go on at a learner; then it belongs there, and the connection that it had here is of no use
    /// any more (CL-58).
    pub(super) fn revalidate(
        &mut self,
        core: &mut Core,
        now: Now,
        link: LinkId,
        (session, timeout_ms): (SessionId, i32),
        wake: &mut Vec<Waker>,
    ) -> bool {
        if self.sessions.get(session).is_none_or(|session| session.closing) {
            return false;
        }
        let tracked = self.sessions.track(now, session, timeout_ms);
        core.cut_lane(tracked.connection(), wake);
        tracked.owner = Some(SessionOwner::Learner(link));
        true
    }

    /// Sessions that a learner has heard of.
    pub(super) fn touch(&self, now: Now, sessions: &[(SessionId, i32)]) {
        for tracked in sessions.iter().filter_map(|(session, _)| self.sessions.get(*session)) {
            tracked.heartbeat.touch(now.steady_ms);
        }
    }

    /// The session still belongs to the connection that is gone: what is late on one from before must not be taken, and
    /// whoever comes for the session takes it over by that.
    pub(super) fn disconnected(&mut self, session: SessionId, connection: ConnectionId) {
        if let Some(local) = &mut self.local {
            local.disconnected(session, connection);
        }
    }

    /// Sessions whose end was applied.
    pub(super) fn ended(&mut self, core: &mut Core, ended: &[SessionId], wake: &mut Vec<Waker>) {
        for session in ended {
            let connection = self.sessions.remove(*session).and_then(|session| session.connection());
            core.close_lane(connection, wake);
        }
    }

    pub(super) fn tick(&mut self, core: &mut Core, now: Now, wake: &mut Vec<Waker>) -> Outcome {
        if core.disk_full || core.stopping {
            return Ok(());
        }
        for session in self.sessions.expire(now) {
            tracing::info!(%session, "session expired");
            let lane =
                self.sessions.get(session).and_then(|session| session.connection()).and_then(|c| core.lanes.get(c));
            if let Some(lane) = lane {
                wake.extend(lane.lock().cut());
            }
            core.output(Output::SessionExpired(session));
            let prepared = self.prepare.close_session(now, core.database.read().tree(), session, 0);
            propose(core, prepared, Origin::Nobody)?;
        }
        if let Some(local) = &mut self.local {
            local.expire(core, now, wake);
        }
        if now.steady_ms >= self.reap_at_ms {
            self.reap_at_ms = now.steady_ms + core.rules.reaper.interval_ms.max(1);
            self.reap(core, now)?;
        }
        Ok(())
    }

    fn reap(&mut self, core: &mut Core, now: Now) -> Outcome {
        let rules = core.rules.reaper;
        let most = (rules.per_minute_max * rules.interval_ms.max(1)).div_ceil(60_000);
        let database = Arc::clone(&core.database);
        let database = database.read();
        let due = database.tree().reapable(now.wall_ms, rules.never_used_ms);
        for path in due.iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            let prepared = self.prepare.delete_container(now, database.tree(), path);
            propose(core, prepared, Origin::Nobody)?;
        }
        Ok(())
    }

    /// When [`Serving::tick`] is due.
    pub(super) fn next_deadline(&self) -> u64 {
        let local = self.local.as_ref().and_then(LocalSessions::next_deadline);
        self.sessions.next_deadline().into_iter().chain(local).fold(self.reap_at_ms, u64::min)
    }
}

/// Nobody answers this request and those behind it any more.
fn drop_all(lane: &Lane, behind: impl Iterator<Item = WriteRequest>, wake: &mut Vec<Waker>) {
    drop_request(lane, wake);
    behind.for_each(|request| drop_request(&request.lane, wake));
}

/// What a session gets that has ended.
fn gone(core: &Core, op: OpCode) -> ErrorCode {
    let disabled = op == OpCode::RECONFIG && !core.rules.prepare.reconfig_enabled;
    if disabled { ErrorCode::RECONFIG_DISABLED } else { ErrorCode::SESSION_EXPIRED }
}

fn propose(core: &mut Core, prepared: Prepared, origin: Origin) -> Outcome {
    match prepared {
        Prepared::Txn { zxid, body, .. } => {
            core.log(zxid, body, origin);
            Ok(())
        }
        Prepared::Refused(error) => unreachable!("only what a client sends is refused before it is a txn: {error:?}"),
        Prepared::EpochFull => Err(Leave::because("this epoch's zxids are used up; a new one is needed (EN-17)")),
    }
}

fn sync(
    core: &mut Core,
    origin: Origin,
    body: &[u8],
    now: Now,
    database: &crate::pipeline::Database,
    wake: &mut Vec<Waker>,
) {
    match Request::decode(OpCode::SYNC, body) {
        Ok((_, Request::Sync(path))) => {
            let path = path.map(std::borrow::Cow::into_owned);
            // On a full disk what is in flight was acknowledged to nobody, and may be there for long.
            core.in_flight.sync(SyncRequest { origin, path }, core.disk_full, database, now, wake);
        }
        Ok(_) | Err(_) => core.in_flight.refuse(ErrorCode::MARSHALLING, origin, database, now, wake),
    }
}
