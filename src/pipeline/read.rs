//! Answering what changes nothing: semantics.md 5 and 6, each decision list from top to bottom.

use std::sync::Arc;

use super::answer::{put_children, put_path_or_null};
use super::database::Database;
use super::early::Refusal;
use super::lane::{Lane, LaneState, ReadRequest, UNREAD_BYTES_MAX};
use crate::auth::{AuthRules, Identity, redact};
use crate::ids::Zxid;
use crate::jute::JuteWrite;
use crate::metrics::Advanced;
use crate::proto::{
    AddWatchMode, ErrorCode, EventType, MultiHeader, OpCode, OpKind, Perms, ReplyHeader, Request, SetWatches, Watching,
    put_event,
};
use crate::tree::ZnodeRef;
use crate::watch::{Modes, WatchKind, WatcherId, Watches};

/// What is told how long these take.
const READ: Option<Advanced> = Some(Advanced::readlatency);
/// What stands around a result of a multiRead, bytes at most.
const RESULT_BYTES: usize = 100;

/// Answers one request into the lane's out-buffer.
pub(super) fn answer(
    database: &Database,
    lane: &Arc<Lane>,
    state: &mut LaneState,
    request: &ReadRequest<'_>,
    now_ms: u64,
) {
    let op = request.header.op;
    if let Some(refusal) = request.refusal {
        let (error, zxid) = match refusal {
            Refusal::Throttled => (ErrorCode::THROTTLED_OP, database.last_zxid()),
            Refusal::NotAllowed(error) => (error, Zxid::ZERO),
        };
        let header = ReplyHeader { xid: request.header.xid, zxid, error };
        state.push_reply(lane.statistics(), READ, (op, request.received_ms, now_ms), header, |_| ());
        return;
    }
    if op.kind() == OpKind::Refused {
        refuse(lane, state, request, now_ms);
        return;
    }
    let Ok((_, decoded)) = Request::decode(op, request.body) else {
        reply(database, lane, state, request, now_ms, Err(ErrorCode::MARSHALLING));
        return;
    };
    if let Request::MultiReadOfWrites = decoded {
        // The reference has begun the list of results before it notices.
        let header = ReplyHeader { xid: request.header.xid, zxid: database.last_zxid(), error: ErrorCode::MARSHALLING };
        let end = |out: &mut Vec<u8>| MultiHeader::END.encode(out);
        state.push_reply(lane.statistics(), READ, (op, request.received_ms, now_ms), header, end);
        return;
    }
    let reader = Reader { database, lane, identities: request.identities };
    let answer = reader.answer(state, &decoded);
    let path = decoded.read_path().filter(|_| answer.is_ok());
    let told = reply(database, lane, state, request, now_ms, answer);
    if let Some(path) = path {
        database.namespaces().count_read(path, told, &mut state.read);
    }
}

/// An opcode that is no client's to ask: the last answer on this connection (client-protocol.md 5.2).
fn refuse(lane: &Lane, state: &mut LaneState, request: &ReadRequest<'_>, now_ms: u64) {
    let header = ReplyHeader { xid: request.header.xid, zxid: Zxid(-1), error: ErrorCode::UNIMPLEMENTED };
    state.push_reply(lane.statistics(), READ, (request.header.op, request.received_ms, now_ms), header, |_| ());
    state.close_unwoken();
}

/// Returns how many bytes of data or names the reply tells.
fn reply(
    database: &Database,
    lane: &Lane,
    state: &mut LaneState,
    request: &ReadRequest<'_>,
    now_ms: u64,
    answer: Result<Answer<'_>, ErrorCode>,
) -> usize {
    let xid = if request.header.op == OpCode::PING { ReplyHeader::PING_XID } else { request.header.xid };
    let error = answer.as_ref().err().copied().unwrap_or(ErrorCode::OK);
    let header = ReplyHeader { xid, zxid: database.last_zxid(), error };
    let mut told = 0;
    state.push_reply(lane.statistics(), READ, (request.header.op, request.received_ms, now_ms), header, |out| {
        told = answer.map_or(0, |answer| answer.encode(out));
    });
    told
}

/// What follows the header of a reply to a read.
enum Answer<'a> {
    Nothing,
    Stat(ZnodeRef<'a>),
    Data(ZnodeRef<'a>),
    Acl(Vec<u8>, ZnodeRef<'a>),
    Children(ZnodeRef<'a>),
    ChildrenAndStat(ZnodeRef<'a>),
    Path(Option<String>),
    Int(i32),
    Paths(Vec<String>),
    Results(Vec<(OpCode, Result<Answer<'a>, ErrorCode>)>),
    Identities(&'a AuthRules, &'a [Identity]),
}

impl Answer<'_> {
    /// Returns how many bytes of data or names of children there are in it (NO-22).
    fn encode(self, out: &mut Vec<u8>) -> usize {
        let mut told = 0;
        match self {
            Self::Nothing => {}
            Self::Stat(znode) => znode.stat().encode(out),
            Self::Data(znode) => {
                let data = znode.data();
                out.buffer(data);
                told = data.map_or(0, <[u8]>::len);
                znode.stat().encode(out);
            }
            Self::Acl(acl, znode) => {
                out.extend_from_slice(&acl);
                znode.stat().encode(out);
            }
            Self::Children(znode) => told = put_children(znode, out),
            Self::ChildrenAndStat(znode) => {
                told = put_children(znode, out);
                znode.stat().encode(out);
            }
            Self::Path(path) => put_path_or_null(path.as_deref(), out),
            Self::Int(value) => out.int(value),
            Self::Paths(paths) => {
                out.length(paths.len());
                for path in &paths {
                    out.ustring(path);
                }
            }
            Self::Results(results) => {
                for (op, result) in results {
                    match result {
                        Ok(answer) => {
                            MultiHeader { op, done: false, error: 0 }.encode(out);
                            told += answer.encode(out);
                        }
                        Err(error) => {
                            MultiHeader { op: OpCode::ERROR, done: false, error: error.0 }.encode(out);
                            out.int(error.0);
                        }
                    }
                }
                MultiHeader::END.encode(out);
            }
            Self::Identities(auth, identities) => {
                out.length(identities.len());
                for identity in identities {
                    out.ustring(&identity.scheme);
                    out.ustring(auth.user(identity));
                }
            }
        }
        told
    }
}

/// The database, and who asks it.
struct Reader<'a> {
    database: &'a Database,
    lane: &'a Arc<Lane>,
    identities: &'a [Identity],
}

impl<'a> Reader<'a> {
    fn answer(&self, state: &mut LaneState, request: &Request<'_>) -> Result<Answer<'a>, ErrorCode> {
        match request {
            Request::Ping => Ok(Answer::Nothing),
            Request::Exists(Watching { path, watch }) => self.exists(state, path, *watch),
            Request::GetData(Watching { path, watch }) => {
                let znode = self.readable(path)?;
                self.watch_if(state, *watch, WatchKind::Data, path);
                Ok(Answer::Data(znode))
            }
            Request::GetChildren(Watching { path, watch }) => {
                let znode = self.readable(path)?;
                self.watch_if(state, *watch, WatchKind::Child, path);
                Ok(Answer::Children(znode))
            }
            Request::GetChildren2(Watching { path, watch }) => {
                let znode = self.readable(path)?;
                self.watch_if(state, *watch, WatchKind::Child, path);
                Ok(Answer::ChildrenAndStat(znode))
            }
            Request::GetAllChildrenNumber(path) => {
                // The reference stores the root under two names, and finds the one below the other.
                let below = self.readable(path)?.num_descendants() + usize::from(path.is_empty());
                Ok(Answer::Int(i32::try_from(below).unwrap_or(i32::MAX)))
            }
            Request::GetAcl(path) => self.acl(path),
            Request::GetEphemerals(prefix) => Ok(Answer::Paths(self.ephemerals(state, prefix.as_deref()))),
            Request::WhoAmI => Ok(Answer::Identities(self.database.auth(), self.identities)),
            Request::Sync(path) => Ok(Answer::Path(path.as_ref().map(ToString::to_string))),
            Request::MultiRead(reads) => self.multi_read(state, reads),
            Request::AddWatch(path, mode) => {
                self.add_watch(state, path, *mode);
                Ok(Answer::Int(0))
            }
            Request::CheckWatches(path, kind) => {
                self.on_watches(state, path.as_deref(), |watches, path, id| watches.contains(path, id, *kind))
            }
            Request::RemoveWatches(path, kind) => {
                self.on_watches(state, path.as_deref(), |watches, path, id| watches.remove(path, id, *kind))
            }
            Request::SetWatches(watches) => {
                self.set_watches(state, watches);
                Ok(Answer::Nothing)
            }
            Request::MultiReadOfWrites
            | Request::Create(_)
            | Request::Delete(_)
            | Request::SetData(_)
            | Request::SetAcl(_)
            | Request::Multi(_)
            | Request::Reconfig(_)
            | Request::CloseSession => unreachable!("{request:?} is not answered here"),
        }
    }

    fn exists(&self, state: &mut LaneState, path: &str, watch: bool) -> Result<Answer<'a>, ErrorCode> {
        if path.contains('\0') {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let znode = self.database.tree().find(path);
        if let Some(znode) = znode {
            self.check_read(znode)?;
        }
        self.watch_if(state, watch, WatchKind::Data, path);
        znode.map(Answer::Stat).ok_or(ErrorCode::NO_NODE)
    }

    /// The znode, if it is there and may be read.
    fn readable(&self, path: &str) -> Result<ZnodeRef<'a>, ErrorCode> {
        let znode = self.database.tree().find(path).ok_or(ErrorCode::NO_NODE)?;
        self.check_read(znode)?;
        Ok(znode)
    }

    fn check_read(&self, znode: ZnodeRef<'_>) -> Result<(), ErrorCode> {
        if self.may(znode, Perms::READ) { Ok(()) } else { Err(ErrorCode::NO_AUTH) }
    }

    fn may(&self, znode: ZnodeRef<'_>, perms: Perms) -> bool {
        let world = znode.world_perms();
        world.meets(perms) || self.database.auth().allows(znode.acl(), world, perms, self.identities)
    }

    fn acl(&self, path: &str) -> Result<Answer<'a>, ErrorCode> {
        let znode = self.database.tree().find(path).ok_or(ErrorCode::NO_NODE)?;
        if !self.may(znode, Perms::READ | Perms::ADMIN) {
            return Err(ErrorCode::NO_AUTH);
        }
        let acl = if self.may(znode, Perms::ADMIN) { znode.acl().as_bytes().to_vec() } else { redact(znode.acl()) };
        Ok(Answer::Acl(acl, znode))
    }

    /// No path logic: whatever starts with the prefix (CL-44).
    fn ephemerals(&self, state: &LaneState, prefix: Option<&str>) -> Vec<String> {
        let mut paths = self.database.tree().ephemerals_of(state.session());
        if let Some(prefix) = prefix.filter(|prefix| !["", "/"].contains(&prefix.trim())) {
            paths.retain(|path| path.starts_with(prefix));
        }
        paths
    }

    /// Parts fail one by one, and leave no watches. Each asks for little, so what they get together is bounded.
    fn multi_read(&self, state: &mut LaneState, reads: &[Request<'_>]) -> Result<Answer<'a>, ErrorCode> {
        let mut total = 0;
        let mut count = |path: &str, bytes: usize, names: usize| {
            total += bytes + 4 * names + RESULT_BYTES;
            self.database.namespaces().count_read(path, bytes, &mut state.read);
            if total > UNREAD_BYTES_MAX { Err(ErrorCode::MARSHALLING) } else { Ok(()) }
        };
        let mut results = Vec::with_capacity(reads.len());
        for read in reads {
            results.push(match read {
                Request::GetData(Watching { path, .. }) => {
                    let found = self.readable(path);
                    found.iter().try_for_each(|znode| count(path, znode.data().map_or(0, <[u8]>::len), 0))?;
                    (OpCode::GET_DATA, found.map(Answer::Data))
                }
                Request::GetChildren(Watching { path, .. }) => {
                    let found = self.readable(path);
                    found.iter().try_for_each(|znode| {
                        let (names, bytes) = znode.children().fold((0, 0), |(n, all), name| (n + 1, all + name.len()));
                        count(path, bytes, names)
                    })?;
                    (OpCode::GET_CHILDREN, found.map(Answer::Children))
                }
                other => unreachable!("{other:?} does not decode in a multiRead"),
            });
        }
        Ok(Answer::Results(results))
    }

    fn watch_if(&self, state: &mut LaneState, watch: bool, kind: WatchKind, path: &str) {
        if watch {
            self.database.watch(self.lane, state, |watches, id| watches.add(kind, path, id, Modes::ONE_SHOT));
        }
    }

    fn add_watch(&self, state: &mut LaneState, path: &str, mode: AddWatchMode) {
        self.database.watch(self.lane, state, |watches, id| match mode {
            AddWatchMode::Persistent => add_persistent(watches, id, path),
            AddWatchMode::PersistentRecursive => watches.add(WatchKind::Data, path, id, Modes::RECURSIVE),
        });
    }

    fn on_watches(
        &self,
        state: &LaneState,
        path: Option<&str>,
        act: impl FnOnce(&mut Watches, &str, WatcherId) -> bool,
    ) -> Result<Answer<'a>, ErrorCode> {
        let (Some(path), Some(id)) = (path, state.watcher) else { return Err(ErrorCode::NO_WATCHER) };
        let found = self.database.with_watches_mut(|watches| act(watches, path, id));
        if found { Ok(Answer::Nothing) } else { Err(ErrorCode::NO_WATCHER) }
    }

    /// semantics.md 6.2: what changed meanwhile is told at once, without a look at ACLs; the rest is watched again.
    fn set_watches(&self, state: &mut LaneState, wanted: &SetWatches<'_>) {
        let tree = self.database.tree();
        let since = wanted.relative_zxid.0;
        for path in &wanted.data {
            match tree.find(path).map(|znode| znode.stored_stat().mzxid) {
                None => self.tell(state, EventType::Deleted, path),
                Some(mzxid) if mzxid > since => self.tell(state, EventType::DataChanged, path),
                Some(_) => self.watch_if(state, true, WatchKind::Data, path),
            }
        }
        for path in &wanted.exist {
            match tree.find(path) {
                Some(_) => self.tell(state, EventType::Created, path),
                None => self.watch_if(state, true, WatchKind::Data, path),
            }
        }
        for path in &wanted.child {
            match tree.find(path).map(|znode| znode.stored_stat().pzxid) {
                None => self.tell(state, EventType::Deleted, path),
                Some(pzxid) if pzxid > since => self.tell(state, EventType::ChildrenChanged, path),
                Some(_) => self.watch_if(state, true, WatchKind::Child, path),
            }
        }
        for path in &wanted.persistent {
            self.add_watch(state, path, AddWatchMode::Persistent);
        }
        for path in &wanted.persistent_recursive {
            self.add_watch(state, path, AddWatchMode::PersistentRecursive);
        }
    }

    fn tell(&self, state: &mut LaneState, event: EventType, path: &str) {
        let mut frame = Vec::new();
        put_event(&mut frame, Zxid(-1), event, path);
        self.lane.statistics().notified(1, frame.len());
        state.push_event(&frame);
    }
}

fn add_persistent(watches: &mut Watches, id: WatcherId, path: &str) {
    watches.add(WatchKind::Data, path, id, Modes::PERSISTENT);
    watches.add(WatchKind::Child, path, id, Modes::PERSISTENT);
}
