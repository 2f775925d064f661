//! Preparing: a request is checked, top to bottom as semantics.md 4 lists it, and becomes a txn. The first check that
//! fails decides; the failure becomes a txn too, because it takes a zxid (CL-55).

mod harm;
mod multi;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::outstanding::{FutureAcl, FutureContents, FutureZnode, Outstanding};
use crate::auth::{AuthRules, Identity};
use crate::ids::{Now, SessionId, Zxid};
use crate::jute::{JuteError, JuteWrite};
use crate::metrics::Namespaces;
use crate::path;
use crate::proto::{
    AclBytes, CheckVersion, Create, CreateMode, ErrorCode, MultiOp, OpCode, Perms, Reconfig, Request, SetAcl, SetData,
};
use crate::tree::{Contents, Owner, StoredStat, TTL_MAX_MS, Tree, ZnodeRef, limits_root};
use crate::txn::{CreateKind, CreateTxn, SetAclTxn, SetDataTxn, Txn, TxnDigest, TxnHeader};

pub use harm::refuse_harm;

/// What preparing must know of the configuration.
#[derive(Clone, Debug)]
pub struct PrepareRules {
    /// Who may do what.
    pub auth: Arc<AuthRules>,
    /// `zookeeper.extendedTypesEnabled`: TTL znodes may be made.
    pub extended_types: bool,
    /// `zookeeper.enforceQuota`: refuse beyond hard limits.
    pub enforce_quota: bool,
    /// Where that counts.
    pub namespaces: Arc<Namespaces>,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `zookeeper.digest.enabled`: txns carry the tree digest.
    pub digest: bool,
    /// `zookeeper.closeSessionTxn.enabled`: the txn of a session's end says which ephemerals go with it.
    pub close_session_txn: bool,
    /// The longest record that others read, bytes: `jute.maxbuffer` and its extra size.
    pub record_bytes_max: usize,
    /// Go on with the next epoch when this one's zxids are used up: a standalone server has nobody to elect.
    pub epoch_rolls_over: bool,
}

/// What became of a request.
#[derive(Debug)]
pub enum Prepared {
    /// A txn with the next zxid: its log record.
    Txn {
        /// Its zxid.
        zxid: Zxid,
        /// Header, record and digest.
        body: Bytes,
        /// For a multi that succeeds: how each part's result is laid out.
        layouts: Box<[OpCode]>,
    },
    /// An answer without a txn: the body does not decode (client-protocol.md 5.3).
    Refused(ErrorCode),
    /// This epoch's zxids are used up; the leader must step down for a new one.
    EpochFull,
}

/// The next zxid, and all that was prepared and is not yet applied.
#[derive(Debug)]
pub struct Prepare {
    rules: PrepareRules,
    outstanding: Outstanding,
    last_zxid: Zxid,
    /// Records are made here, one behind the other, and cut off.
    arena: BytesMut,
}

const ARENA_BYTES: usize = 64 * 1024;
/// Enough for most records.
const RECORD_BYTES: usize = 1024;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The session.
    pub session: SessionId,
    /// Its number for the request.
    pub cxid: i32,
    /// Who its client is.
    pub identities: &'a [Identity],
    /// Whether only one server knows the session: it cannot own ephemerals (SE-11).
    pub is_local: bool,
}

impl Asker<'_> {
    const fn of(session: SessionId, cxid: i32) -> Self {
        Self { session, cxid, identities: &[], is_local: false }
    }
}

/// One request, and the zxid and time that its txn will have.
struct Asked<'a> {
    tree: &'a Tree,
    identities: &'a [Identity],
    is_local: bool,
    header: TxnHeader,
}

impl Prepare {
    /// Starts behind `last_zxid`, over a tree that has applied it.
    #[must_use]
    pub fn new(rules: PrepareRules, tree: &Tree, last_zxid: Zxid) -> Self {
        let outstanding = Outstanding::new(tree.options().hash_seed, tree.digest());
        Self { rules, outstanding, last_zxid, arena: BytesMut::new() }
    }

    /// The zxid given out last.
    #[must_use]
    pub const fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Forgets the changes up to `zxid`: the tree has them now.
    pub fn applied(&mut self, zxid: Zxid) {
        self.outstanding.applied(zxid);
    }

    /// Prepares a client's write.
    pub fn request(&mut self, now: Now, tree: &Tree, asker: Asker<'_>, (op, body): (OpCode, &[u8])) -> Prepared {
        let request = match Request::decode(op, body) {
            Ok((_, request)) => request,
            // A malformed multi has taken its zxid before it is looked into (CL-22); one with a null ACL has not.
            Err(error) if op == OpCode::MULTI && error != nom::Err::Error(JuteError::Null) => {
                return self.refuse(now, tree, asker.session, asker.cxid, ErrorCode::MARSHALLING);
            }
            Err(_) => return Prepared::Refused(ErrorCode::MARSHALLING),
        };
        // Before it prepares the parts, the reference looks at all their paths, when it has taken the zxid.
        if let Request::Multi(ops) = &request
            && ops.iter().any(|op| op.path().is_none())
        {
            return self.refuse(now, tree, asker.session, asker.cxid, ErrorCode::MARSHALLING);
        }
        // A record holds what the request does: so much room, and the arena is not copied while it grows.
        self.arena.reserve(body.len() + RECORD_BYTES);
        self.txn(now, tree, asker, op, |this, asked, out| this.client(asked, &request, out))
    }

    /// Prepares a write that no connection may ask for any more: its session is gone or going.
    pub fn refuse(&mut self, now: Now, tree: &Tree, session: SessionId, cxid: i32, error: ErrorCode) -> Prepared {
        self.txn(now, tree, Asker::of(session, cxid), OpCode::ERROR, |_, _, _| Err(error))
    }

    /// Prepares a reconfiguration: `next` makes the text of the configuration that this zxid is to establish. Who may ask
    /// is looked at last (EN-29), but for a `next` that is `None`: what only those are refused who may ask.
    pub fn reconfig(
        &mut self,
        now: Now,
        tree: &Tree,
        asker: Asker<'_>,
        body: &[u8],
        next: impl FnOnce(&Reconfig<'_>, Zxid) -> Result<Option<String>, ErrorCode>,
    ) -> Prepared {
        let Ok((_, Request::Reconfig(request))) = Request::decode(OpCode::RECONFIG, body) else {
            return Prepared::Refused(ErrorCode::MARSHALLING);
        };
        self.txn(now, tree, asker, OpCode::RECONFIG, |this, asked, out| {
            if !this.rules.reconfig_enabled {
                return Err(ErrorCode::RECONFIG_DISABLED);
            }
            let text = next(&request, asked.header.zxid)?;
            let before = this.outstanding.find(asked.tree, path::CONFIG).ok_or(ErrorCode::NO_NODE)?;
            this.check_acl(asked, &before, Perms::WRITE)?;
            let text = text.ok_or(ErrorCode::BAD_ARGUMENTS)?;
            this.put_config(asked, &before, &text, out);
            Ok(Box::default())
        })
    }

    fn put_config(&mut self, asked: &Asked<'_>, before: &FutureZnode, text: &str, out: &mut BytesMut) {
        // Any version is this one's, as in the reference.
        let txn = SetDataTxn { path: path::CONFIG.into(), data: Some(text.as_bytes()), version: -1 };
        Txn::SetData(txn).encode(OpCode::RECONFIG, out);
        let mut after = before.clone();
        (after.stat.version, after.stat.mzxid, after.stat.mtime) = (-1, asked.header.zxid.0, asked.header.time_ms);
        after.data_length = text.len();
        after.contents = self.contents(path::CONFIG, Some(text.as_bytes()));
        self.outstanding.change(asked.header.zxid, asked.tree, path::CONFIG, Some(before), Some(after));
    }

    /// Prepares a new session.
    pub fn create_session(&mut self, now: Now, tree: &Tree, session: SessionId, timeout_ms: i32) -> Prepared {
        self.txn(now, tree, Asker::of(session, 0), OpCode::CREATE_SESSION, |_, _, out| {
            out.int(timeout_ms);
            Ok(Box::default())
        })
    }

    /// Prepares a session's end: asked for by its client with `cxid`, or because it expired.
    pub fn close_session(&mut self, now: Now, tree: &Tree, session: SessionId, cxid: i32) -> Prepared {
        self.txn(now, tree, Asker::of(session, cxid), OpCode::CLOSE_SESSION, |this, asked, out| {
            this.close(asked, out);
            Ok(Box::default())
        })
    }

    /// Prepares the removal of a container or TTL znode by the reaper (semantics.md 4.9).
    pub fn delete_container(&mut self, now: Now, tree: &Tree, path: &str) -> Prepared {
        self.txn(now, tree, Asker::of(SessionId::NONE, 0), OpCode::DELETE_CONTAINER, |this, asked, out| {
            this.reap(asked, path, out)?;
            Ok(Box::default())
        })
    }

    fn txn(
        &mut self,
        now: Now,
        tree: &Tree,
        asker: Asker<'_>,
        op: OpCode,
        make: impl FnOnce(&mut Self, &Asked<'_>, &mut BytesMut) -> Result<Box<[OpCode]>, ErrorCode>,
    ) -> Prepared {
        let zxid = match self.last_zxid.next() {
            // The reference's leaders give up before the last one (EN-17).
            Some(zxid) if zxid.counter() == u32::MAX && !self.rules.epoch_rolls_over => return Prepared::EpochFull,
            Some(zxid) => zxid,
            None => match self.last_zxid.epoch().checked_add(1) {
                Some(epoch) if self.rules.epoch_rolls_over => Zxid::new(epoch, 0),
                Some(_) | None => return Prepared::EpochFull,
            },
        };
        self.last_zxid = zxid;
        let Asker { session, cxid, identities, is_local } = asker;
        let header = TxnHeader { session, cxid, zxid, time_ms: now.wall_ms, op };
        let asked = Asked { tree, identities, is_local, header };
        let mut out = std::mem::take(&mut self.arena);
        out.reserve(RECORD_BYTES);
        header.encode(&mut out);
        let layouts = match make(self, &asked, &mut out) {
            Ok(layouts) => {
                if self.rules.digest {
                    TxnDigest::new(self.outstanding.digest()).encode(&mut out);
                }
                layouts
            }
            Err(error) => {
                out.clear();
                TxnHeader { op: OpCode::ERROR, ..header }.encode(&mut out);
                out.int(error.0);
                Box::default()
            }
        };
        // A record keeps alive what it was made in: one of a few bytes must not keep the room for a request that failed.
        let body = if out.len() < RECORD_BYTES && out.capacity() > ARENA_BYTES {
            let body = Bytes::copy_from_slice(&out);
            out.clear();
            body
        } else {
            out.split().freeze()
        };
        if out.capacity() < RECORD_BYTES {
            out = BytesMut::with_capacity(ARENA_BYTES);
        }
        self.arena = out;
        Prepared::Txn { zxid, body, layouts }
    }

    fn client(
        &mut self,
        asked: &Asked<'_>,
        request: &Request<'_>,
        out: &mut BytesMut,
    ) -> Result<Box<[OpCode]>, ErrorCode> {
        match request {
            Request::Create(create) => {
                let kind = self.kind_alone(create)?;
                self.create(asked, create, kind, out)?;
            }
            Request::Delete(delete) => self.delete(asked, delete, out)?,
            Request::SetData(set_data) => self.set_data(asked, set_data, out)?,
            Request::SetAcl(set_acl) => self.set_acl(asked, set_acl, out)?,
            Request::Multi(ops) => return self.multi(asked, ops, out),
            Request::CloseSession => self.close(asked, out),
            Request::Reconfig(_)
            | Request::Exists(_)
            | Request::GetData(_)
            | Request::GetAcl(_)
            | Request::GetChildren(_)
            | Request::GetChildren2(_)
            | Request::Sync(_)
            | Request::Ping
            | Request::MultiRead(_)
            | Request::MultiReadOfWrites
            | Request::CheckWatches(..)
            | Request::RemoveWatches(..)
            | Request::SetWatches(_)
            | Request::GetEphemerals(_)
            | Request::GetAllChildrenNumber(_)
            | Request::AddWatch(..)
            | Request::WhoAmI => unreachable!("{:?} is no write and was not sent here", asked.header.op),
        }
        Ok(Box::default())
    }

    /// The kind that a create makes on its own: the opcode decides, flag 4 does not (CL-25).
    fn kind_alone(&self, create: &Create<'_>) -> Result<(CreateMode, CreateKind), ErrorCode> {
        let mode = create.mode().ok_or(ErrorCode::BAD_ARGUMENTS)?;
        self.check_ttl(create, mode)?;
        let kind = match create.op {
            OpCode::CREATE_CONTAINER => CreateKind::Container,
            OpCode::CREATE_TTL if mode.ttl => CreateKind::Ttl(create.ttl_ms),
            // Apache logs this one, and dies of it (client-protocol.md 5.4).
            OpCode::CREATE_TTL => return Err(ErrorCode::BAD_ARGUMENTS),
            _ if mode.ephemeral => CreateKind::Ephemeral,
            _ => CreateKind::Persistent,
        };
        Ok((mode, kind))
    }

    /// The kind that a create makes inside a multi: the flags decide, but for createContainer. A createTTL without a TTL is a
    /// create, as since 3.9.0.
    fn kind_in_multi(&self, create: &Create<'_>) -> Result<(CreateMode, CreateKind), ErrorCode> {
        let mode = create.mode().ok_or(ErrorCode::BAD_ARGUMENTS)?;
        if mode.ttl || create.op != OpCode::CREATE_TTL {
            self.check_ttl(create, mode)?;
        }
        let kind = match create.op {
            OpCode::CREATE_CONTAINER => CreateKind::Container,
            OpCode::CREATE_TTL if mode.ttl => CreateKind::Ttl(create.ttl_ms),
            _ if mode.container => CreateKind::Container,
            _ if mode.ephemeral => CreateKind::Ephemeral,
            _ => CreateKind::Persistent,
        };
        Ok((mode, kind))
    }

    fn check_ttl(&self, create: &Create<'_>, mode: CreateMode) -> Result<(), ErrorCode> {
        if mode.ttl && !self.rules.extended_types {
            return Err(ErrorCode::UNIMPLEMENTED);
        }
        let fits = if mode.ttl { (1..=TTL_MAX_MS).contains(&create.ttl_ms) } else { create.ttl_ms < 0 };
        if fits { Ok(()) } else { Err(ErrorCode::BAD_ARGUMENTS) }
    }

    /// semantics.md 4.1 from line 5 on.
    fn create(
        &mut self,
        asked: &Asked<'_>,
        create: &Create<'_>,
        (mode, kind): (CreateMode, CreateKind),
        out: &mut BytesMut,
    ) -> Result<(), ErrorCode> {
        if asked.is_local && kind == CreateKind::Ephemeral {
            return Err(ErrorCode::EPHEMERAL_ON_LOCAL_SESSION);
        }
        let asked_path = create.path.as_deref().ok_or(ErrorCode::MARSHALLING)?;
        if asked_path.contains('\0') {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let (parent_path, _) = path::split(asked_path).ok_or(ErrorCode::BAD_ARGUMENTS)?;
        let acl = self.rules.auth.fix_up(create.acl, asked.identities)?;
        let parent = self.outstanding.find(asked.tree, parent_path).ok_or(ErrorCode::NO_NODE)?;
        self.check_acl(asked, &parent, Perms::CREATE)?;
        let path: Cow<'_, str> = if mode.sequential {
            format!("{asked_path}{:010}", parent.stat.cversion).into()
        } else {
            asked_path.into()
        };
        path::validate(&path).map_err(|_| ErrorCode::BAD_ARGUMENTS)?;
        if self.outstanding.find(asked.tree, &path).is_some() {
            return Err(ErrorCode::NODE_EXISTS);
        }
        if let Owner::Session(_) = Owner::from_stored(parent.stat.owner, asked.tree.options().ttl_marks) {
            return Err(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS);
        }
        if limits_root(&path) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let length = create.data.map_or(0, <[u8]>::len);
        self.check_quota(asked, &path, 1, length as i64)?;

        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        let acl_bytes = AclBytes::from_checked(&acl);
        CreateTxn { path: path.as_ref().into(), data: create.data, acl: acl_bytes, kind, parent_cversion }.encode(out);
        self.check_length(out)?;
        self.change_parent(asked, parent_path, &parent, 1);
        let owner = match kind {
            CreateKind::Persistent => Owner::Nobody,
            CreateKind::Ephemeral => Owner::Session(asked.header.session),
            CreateKind::Container => Owner::Container,
            CreateKind::Ttl(ttl_ms) => Owner::Ttl(ttl_ms),
        };
        let (zxid, time_ms) = (asked.header.zxid.0, asked.header.time_ms);
        let stat = StoredStat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            owner: owner.to_stored(),
            ..StoredStat::default()
        };
        let contents = self.contents(&path, create.data);
        let znode = FutureZnode { stat, num_children: 0, data_length: length, acl: FutureAcl::new(&acl), contents };
        self.outstanding.change(asked.header.zxid, asked.tree, &path, None, Some(znode));
        Ok(())
    }

    /// semantics.md 4.2.
    fn delete(&mut self, asked: &Asked<'_>, delete: &CheckVersion<'_>, out: &mut BytesMut) -> Result<(), ErrorCode> {
        let path = delete.path.as_deref().ok_or(ErrorCode::MARSHALLING)?;
        if path.contains('\0') || path::RESERVED.contains(&path) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let (parent_path, _) = path::split(path).ok_or(ErrorCode::BAD_ARGUMENTS)?;
        let parent = self.outstanding.find(asked.tree, parent_path).ok_or(ErrorCode::NO_NODE)?;
        self.check_acl(asked, &parent, Perms::DELETE)?;
        let znode = self.outstanding.find(asked.tree, path).ok_or(ErrorCode::NO_NODE)?;
        check_version(delete.version, znode.stat.version)?;
        if znode.num_children > 0 {
            return Err(ErrorCode::NOT_EMPTY);
        }
        Txn::Delete(path.into()).encode(OpCode::DELETE, out);
        self.check_length(out)?;
        self.remove(asked, path, &znode);
        Ok(())
    }

    /// semantics.md 4.3.
    fn set_data(&mut self, asked: &Asked<'_>, set_data: &SetData<'_>, out: &mut BytesMut) -> Result<(), ErrorCode> {
        let path = valid(set_data.path.as_deref())?;
        let before = self.outstanding.find(asked.tree, path).ok_or(ErrorCode::NO_NODE)?;
        self.check_acl(asked, &before, Perms::WRITE)?;
        let length = set_data.data.map_or(0, <[u8]>::len);
        self.check_quota(asked, path, 0, length as i64 - before.data_length as i64)?;
        let version = next_version(set_data.version, before.stat.version)?;
        let txn = SetDataTxn { path: path.into(), data: set_data.data, version };
        Txn::SetData(txn).encode(OpCode::SET_DATA, out);
        self.check_length(out)?;
        let mut after = before.clone();
        after.stat.version = version;
        after.stat.mzxid = asked.header.zxid.0;
        after.stat.mtime = asked.header.time_ms;
        after.data_length = length;
        after.contents = self.contents(path, set_data.data);
        self.outstanding.change(asked.header.zxid, asked.tree, path, Some(&before), Some(after));
        Ok(())
    }

    /// semantics.md 4.4.
    fn set_acl(&mut self, asked: &Asked<'_>, set_acl: &SetAcl<'_>, out: &mut BytesMut) -> Result<(), ErrorCode> {
        let path = valid(set_acl.path.as_deref())?;
        let acl = self.rules.auth.fix_up(set_acl.acl, asked.identities)?;
        let before = self.outstanding.find(asked.tree, path).ok_or(ErrorCode::NO_NODE)?;
        self.check_acl(asked, &before, Perms::ADMIN)?;
        let version = next_version(set_acl.version, before.stat.aversion)?;
        let txn = SetAclTxn { path: path.into(), acl: AclBytes::from_checked(&acl), version };
        Txn::SetAcl(txn).encode(OpCode::SET_ACL, out);
        self.check_length(out)?;
        let mut after = before.clone();
        after.stat.aversion = version;
        after.acl = FutureAcl::new(&acl);
        self.outstanding.change(asked.header.zxid, asked.tree, path, Some(&before), Some(after));
        Ok(())
    }

    /// semantics.md 4.5.
    fn check(&self, asked: &Asked<'_>, check: &CheckVersion<'_>, out: &mut BytesMut) -> Result<(), ErrorCode> {
        let path = valid(check.path.as_deref())?;
        let znode = self.outstanding.find(asked.tree, path).ok_or(ErrorCode::NO_NODE)?;
        self.check_acl(asked, &znode, Perms::READ)?;
        // The reference logs the version that a change would have made.
        let version = next_version(check.version, znode.stat.version)?;
        let txn = Txn::Check(path.into(), version);
        txn.encode(OpCode::CHECK, out);
        self.check_length(out)
    }

    /// semantics.md 4.8: the session's ephemerals go with it, those on their way as well.
    fn close(&mut self, asked: &Asked<'_>, out: &mut BytesMut) {
        let paths = self.outstanding.ephemerals_of(asked.tree, asked.header.session);
        if self.rules.close_session_txn {
            // Those that have no room in a record go as well: whoever applies it looks for them.
            let mut room = self.rules.record_bytes_max.saturating_sub(out.len() + RECORD_BYTES);
            let fits = |path: &&String| {
                let left = room.checked_sub(path.len() + 4);
                room = left.unwrap_or(0);
                left.is_some()
            };
            let named: Vec<_> = paths.iter().take_while(fits).collect();
            out.length(named.len());
            named.iter().for_each(|path| out.ustring(path));
        }
        for path in &paths {
            if let Some(znode) = self.outstanding.find(asked.tree, path) {
                self.remove(asked, path, &znode);
            }
        }
    }

    /// semantics.md 4.9.
    fn reap(&mut self, asked: &Asked<'_>, path: &str, out: &mut BytesMut) -> Result<(), ErrorCode> {
        if path::RESERVED.contains(&path) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let znode = self.outstanding.find(asked.tree, path).ok_or(ErrorCode::NO_NODE)?;
        if znode.num_children > 0 {
            return Err(ErrorCode::NOT_EMPTY);
        }
        // Who chose it has not seen what is in flight: it may have become another znode, or live on.
        let was_due = |was: ZnodeRef<'_>| {
            let (was, will_be) = (was.stored_stat(), &znode.stat);
            (was.czxid, was.mtime, was.owner) == (will_be.czxid, will_be.mtime, will_be.owner)
        };
        if !asked.tree.find(path).is_some_and(was_due) {
            return Err(ErrorCode::BAD_VERSION);
        }
        if let Owner::Session(_) = Owner::from_stored(znode.stat.owner, asked.tree.options().ttl_marks) {
            return Err(ErrorCode::BAD_VERSION);
        }
        Txn::Delete(path.into()).encode(OpCode::DELETE_CONTAINER, out);
        self.remove(asked, path, &znode);
        Ok(())
    }

    fn remove(&mut self, asked: &Asked<'_>, path: &str, znode: &FutureZnode) {
        if let Some((parent_path, _)) = path::split(path)
            && let Some(parent) = self.outstanding.find(asked.tree, parent_path)
        {
            self.change_parent(asked, parent_path, &parent, -1);
        }
        self.outstanding.change(asked.header.zxid, asked.tree, path, Some(znode), None);
    }

    fn change_parent(&mut self, asked: &Asked<'_>, path: &str, parent: &FutureZnode, children: i32) {
        let mut after = parent.clone();
        after.stat.pzxid = asked.header.zxid.0;
        after.num_children = after.num_children.saturating_add_signed(children);
        if children > 0 {
            after.stat.cversion = after.stat.cversion.wrapping_add(1);
        }
        self.outstanding.change(asked.header.zxid, asked.tree, path, Some(parent), Some(after));
    }

    /// What has become of a request must be readable: an ACL may be longer than the one that was sent.
    fn check_length(&self, record: &BytesMut) -> Result<(), ErrorCode> {
        let length = record.len() + TxnDigest::LENGTH;
        if length <= self.rules.record_bytes_max { Ok(()) } else { Err(ErrorCode::MARSHALLING) }
    }

    fn contents(&self, path: &str, data: Option<&[u8]>) -> FutureContents {
        FutureContents::New(if self.rules.digest { Contents::of(path, data) } else { Contents::NONE })
    }

    fn check_acl(&self, asked: &Asked<'_>, znode: &FutureZnode, perms: Perms) -> Result<(), ErrorCode> {
        let (acl, world) = znode.acl.resolve(asked.tree);
        if self.rules.auth.allows(acl, world, perms, asked.identities) { Ok(()) } else { Err(ErrorCode::NO_AUTH) }
    }

    /// semantics.md 8: against what is applied, not against what is in flight.
    fn check_quota(&self, asked: &Asked<'_>, path: &str, count: i64, bytes: i64) -> Result<(), ErrorCode> {
        if !self.rules.enforce_quota {
            return Ok(());
        }
        let Some((subject, limits, usage)) = asked.tree.quota_of(path) else { return Ok(()) };
        let over = |limit: i64, used: i64, more: i64| limit > -1 && more != 0 && used + more > limit;
        if over(limits.count_hard, usage.count, count) || over(limits.bytes_hard, usage.bytes, bytes) {
            tracing::warn!(quota = subject, ?limits, ?usage, "hard quota exceeded");
            self.rules.namespaces.count_quota_exceeded(path);
            return Err(ErrorCode::QUOTA_EXCEEDED);
        }
        let over_soft = |hard: i64, soft: i64, used: i64, more: i64| hard < 0 && over(soft, used, more);
        if over_soft(limits.count_hard, limits.count, usage.count, count)
            || over_soft(limits.bytes_hard, limits.bytes, usage.bytes, bytes)
        {
            tracing::warn!(quota = subject, ?limits, ?usage, "soft quota exceeded");
        }
        Ok(())
    }
}

/// How the results of a multi are laid out if it succeeds; nothing for any other request. A server that forwards a
/// request tells by this how to answer it.
#[must_use]
pub fn multi_layouts(op: OpCode, body: &[u8]) -> Box<[OpCode]> {
    if op != OpCode::MULTI {
        return Box::default();
    }
    match Request::decode(op, body) {
        Ok((_, Request::Multi(ops))) => ops.iter().map(layout).collect(),
        Ok(_) | Err(_) => Box::default(),
    }
}

/// Whether a request would make an ephemeral: the session of a client that only one server knows has to be made known to
/// all before that (SE-11).
#[must_use]
pub fn makes_ephemeral(op: OpCode, body: &[u8]) -> bool {
    let is_ephemeral = |create: &Create<'_>| create.mode().is_some_and(|mode| mode.ephemeral);
    match op {
        OpCode::CREATE | OpCode::CREATE2 | OpCode::MULTI => {}
        _ => return false,
    }
    match Request::decode(op, body) {
        Ok((_, Request::Create(create))) => is_ephemeral(&create),
        Ok((_, Request::Multi(ops))) => {
            ops.iter().any(|op| matches!(op, MultiOp::Create(create) if is_ephemeral(create)))
        }
        Ok(_) | Err(_) => false,
    }
}

/// How one part's result is laid out: a create's depends on its flags.
fn layout(op: &MultiOp<'_>) -> OpCode {
    match op {
        MultiOp::Create(create) => match (create.op, create.mode()) {
            (OpCode::CREATE2 | OpCode::CREATE_CONTAINER, _) => OpCode::CREATE2,
            (_, Some(mode)) if mode.ttl || mode.container => OpCode::CREATE2,
            (_, _) => OpCode::CREATE,
        },
        MultiOp::Delete(_) => OpCode::DELETE,
        MultiOp::SetData(_) => OpCode::SET_DATA,
        MultiOp::Check(_) => OpCode::CHECK,
    }
}

fn valid(path: Option<&str>) -> Result<&str, ErrorCode> {
    let path = path.ok_or(ErrorCode::BAD_ARGUMENTS)?;
    path::validate(path).map_err(|_| ErrorCode::BAD_ARGUMENTS)?;
    Ok(path)
}

fn check_version(expected: i32, current: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == current { Ok(()) } else { Err(ErrorCode::BAD_VERSION) }
}

/// The version after a change. -1 is left out, because it would mean "any" to the next one who asks (semantics.md 1.4).
fn next_version(expected: i32, current: i32) -> Result<i32, ErrorCode> {
    check_version(expected, current)?;
    match current.wrapping_add(1) {
        -1 => Ok(0),
        next => Ok(next),
    }
}
