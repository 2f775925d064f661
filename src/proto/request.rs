//! Request records, one per operation, each with the fields in the order of the wire (client-protocol.md 5.1).
//!
//! Strings and buffers borrow from the frame. A null path decodes in a write, which takes a zxid before it fails; in a
//! read that needs one it is an error here (client-protocol.md 5.3).

use std::borrow::Cow;

use bytes::BufMut;

use super::acl::AclBytes;
use super::multi::{MultiOp, decode_multi, decode_multi_read};
use super::op::OpCode;
use crate::ids::Zxid;
use crate::jute::{JuteError, JuteWrite, Parsed, boolean, buffer, fail, int, long, text, ustring, vector};

/// What stands before every request's record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// The client's number, echoed in the reply.
    pub xid: i32,
    /// The operation.
    pub op: OpCode,
}

impl RequestHeader {
    /// Decodes the header.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn decode(input: &[u8]) -> Parsed<'_, Self> {
        let (input, xid) = int(input)?;
        let (input, op) = int(input)?;
        Ok((input, Self { xid, op: OpCode(op) }))
    }

    /// Encodes the header.
    pub fn encode(self, out: &mut impl BufMut) {
        out.int(self.xid);
        out.int(self.op.0);
    }
}

/// What a create's flags ask for (CL-27).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreateMode {
    /// Dies with its session.
    pub ephemeral: bool,
    /// Gets a number behind its name.
    pub sequential: bool,
    /// Flag 4.
    pub container: bool,
    /// Flags 5 and 6.
    pub ttl: bool,
}

/// create, create2, createContainer, createTTL: one layout, and a ttl behind it for the last.
#[derive(Clone, PartialEq, Debug)]
pub struct Create<'a> {
    /// Which of the four.
    pub op: OpCode,
    /// The path asked for; a sequential one gets a suffix.
    pub path: Option<Cow<'a, str>>,
    /// The data; null stays null.
    pub data: Option<&'a [u8]>,
    /// The ACL list as it came.
    pub acl: AclBytes<'a>,
    /// See [`Create::mode`].
    pub flags: i32,
    /// Time to live, ms; -1 for all but createTTL.
    pub ttl_ms: i64,
}

impl<'a> Create<'a> {
    /// Decodes the record of `op`, one of the four.
    ///
    /// # Errors
    /// When a field is cut short.
    pub fn decode(op: OpCode, input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, path) = ustring(input)?;
        let (input, data) = buffer(input)?;
        let (input, acl) = AclBytes::decode(input)?;
        let (input, flags) = int(input)?;
        let (input, ttl_ms) = if op == OpCode::CREATE_TTL { long(input)? } else { (input, -1) };
        Ok((input, Self { op, path, data, acl, flags, ttl_ms }))
    }

    /// What the flags ask for; `None` when they are out of range.
    #[must_use]
    pub fn mode(&self) -> Option<CreateMode> {
        (0..=6).contains(&self.flags).then_some(CreateMode {
            ephemeral: matches!(self.flags, 1 | 3),
            sequential: matches!(self.flags, 2 | 3 | 6),
            container: self.flags == 4,
            ttl: matches!(self.flags, 5 | 6),
        })
    }
}

/// A path and the version it should have: delete, check.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckVersion<'a> {
    /// Which znode.
    pub path: Option<Cow<'a, str>>,
    /// Its data version; -1 for any.
    pub version: i32,
}

impl<'a> CheckVersion<'a> {
    /// Decodes the record.
    ///
    /// # Errors
    /// When a field is cut short.
    pub fn decode(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, path) = ustring(input)?;
        let (input, version) = int(input)?;
        Ok((input, Self { path, version }))
    }
}

/// setData.
#[derive(Clone, PartialEq, Debug)]
pub struct SetData<'a> {
    /// Which znode.
    pub path: Option<Cow<'a, str>>,
    /// The new data; null stays null.
    pub data: Option<&'a [u8]>,
    /// The version it should have; -1 for any.
    pub version: i32,
}

impl<'a> SetData<'a> {
    /// Decodes the record.
    ///
    /// # Errors
    /// When a field is cut short.
    pub fn decode(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, path) = ustring(input)?;
        let (input, data) = buffer(input)?;
        let (input, version) = int(input)?;
        Ok((input, Self { path, data, version }))
    }
}

/// setACL.
#[derive(Clone, PartialEq, Debug)]
pub struct SetAcl<'a> {
    /// Which znode.
    pub path: Option<Cow<'a, str>>,
    /// The new list as it came.
    pub acl: AclBytes<'a>,
    /// The ACL version it should have; -1 for any.
    pub version: i32,
}

/// A path, and whether to leave a watch: exists, getData, getChildren, getChildren2.
#[derive(Clone, PartialEq, Debug)]
pub struct Watching<'a> {
    /// Which znode.
    pub path: Cow<'a, str>,
    /// Whether to leave a one-shot watch.
    pub watch: bool,
}

/// Which watches checkWatches and removeWatches mean (CL-47).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatcherType {
    /// One-shot child watches.
    Children,
    /// One-shot data watches.
    Data,
    /// All there are.
    Any,
    /// Persistent ones.
    Persistent,
    /// Persistent recursive ones.
    PersistentRecursive,
}

/// The kinds of watch that addWatch sets (CL-46).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddWatchMode {
    /// For one znode, data and children.
    Persistent,
    /// For a znode and all below it.
    PersistentRecursive,
}

/// The watches a client wants back after a reconnect.
#[derive(Clone, PartialEq, Debug)]
pub struct SetWatches<'a> {
    /// The newest zxid that the client had seen.
    pub relative_zxid: Zxid,
    /// Watches on data of znodes that existed.
    pub data: Vec<Cow<'a, str>>,
    /// Watches on znodes that did not exist.
    pub exist: Vec<Cow<'a, str>>,
    /// Watches on children.
    pub child: Vec<Cow<'a, str>>,
    /// Persistent watches; empty from setWatches.
    pub persistent: Vec<Cow<'a, str>>,
    /// Persistent recursive watches; empty from setWatches.
    pub persistent_recursive: Vec<Cow<'a, str>>,
}

impl<'a> SetWatches<'a> {
    fn decode(op: OpCode, input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, relative_zxid) = long(input)?;
        let (input, data) = paths(input)?;
        let (input, exist) = paths(input)?;
        let (input, child) = paths(input)?;
        let (input, persistent, persistent_recursive) = if op == OpCode::SET_WATCHES2 {
            let (input, persistent) = paths(input)?;
            let (input, recursive) = paths(input)?;
            (input, persistent, recursive)
        } else {
            (input, Vec::new(), Vec::new())
        };
        let relative_zxid = Zxid(relative_zxid);
        Ok((input, Self { relative_zxid, data, exist, child, persistent, persistent_recursive }))
    }
}

/// A vector of paths, none of them null, itself not null.
fn paths(input: &[u8]) -> Parsed<'_, Vec<Cow<'_, str>>> {
    match vector(text)(input)? {
        (input, Some(paths)) => Ok((input, paths)),
        (_, None) => fail(JuteError::Null),
    }
}

/// An auth packet.
#[derive(Clone, PartialEq, Debug)]
pub struct Auth<'a> {
    /// Who shall vouch.
    pub scheme: Option<Cow<'a, str>>,
    /// What the scheme wants to see.
    pub auth: Option<&'a [u8]>,
}

impl<'a> Auth<'a> {
    /// Decodes the record; its first field, `type`, is not looked at.
    ///
    /// # Errors
    /// When a field is cut short.
    pub fn decode(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _type) = int(input)?;
        let (input, scheme) = ustring(input)?;
        let (input, auth) = buffer(input)?;
        Ok((input, Self { scheme, auth }))
    }
}

/// reconfig.
#[derive(Clone, PartialEq, Debug)]
pub struct Reconfig<'a> {
    /// Servers to add, comma separated.
    pub joining: Option<Cow<'a, str>>,
    /// Ids to remove, comma separated.
    pub leaving: Option<Cow<'a, str>>,
    /// The whole new list instead.
    pub new_members: Option<Cow<'a, str>>,
    /// The configuration's version it should have; -1 for any.
    pub config_id: i64,
}

/// A client's request, decoded.
#[derive(Clone, PartialEq, Debug)]
pub enum Request<'a> {
    /// create, create2, createContainer, createTTL.
    Create(Create<'a>),
    /// delete.
    Delete(CheckVersion<'a>),
    /// exists.
    Exists(Watching<'a>),
    /// getData.
    GetData(Watching<'a>),
    /// setData.
    SetData(SetData<'a>),
    /// getACL.
    GetAcl(Cow<'a, str>),
    /// setACL.
    SetAcl(SetAcl<'a>),
    /// getChildren.
    GetChildren(Watching<'a>),
    /// getChildren2.
    GetChildren2(Watching<'a>),
    /// sync; any path will do, null too.
    Sync(Option<Cow<'a, str>>),
    /// ping.
    Ping,
    /// multi.
    Multi(Vec<MultiOp<'a>>),
    /// multiRead.
    MultiRead(Vec<Request<'a>>),
    /// A multiRead of nothing but writes: refused, but with a list behind the error (client-protocol.md 4).
    MultiReadOfWrites,
    /// reconfig.
    Reconfig(Reconfig<'a>),
    /// checkWatches; a null path matches nothing.
    CheckWatches(Option<Cow<'a, str>>, WatcherType),
    /// removeWatches; a null path matches nothing.
    RemoveWatches(Option<Cow<'a, str>>, WatcherType),
    /// setWatches, setWatches2.
    SetWatches(SetWatches<'a>),
    /// getEphemerals; null is all.
    GetEphemerals(Option<Cow<'a, str>>),
    /// getAllChildrenNumber.
    GetAllChildrenNumber(Cow<'a, str>),
    /// addWatch.
    AddWatch(Cow<'a, str>, AddWatchMode),
    /// whoAmI.
    WhoAmI,
    /// closeSession.
    CloseSession,
}

impl<'a> Request<'a> {
    /// Whose data, Stat or children it asks for.
    #[must_use]
    pub fn read_path(&self) -> Option<&str> {
        match self {
            Self::Exists(read) | Self::GetData(read) | Self::GetChildren(read) | Self::GetChildren2(read) => {
                Some(&read.path)
            }
            _ => None,
        }
    }

    /// Decodes the record of `op`. Bytes behind it are ignored (CL-21).
    ///
    /// # Errors
    /// When a field is cut short, out of range or null where it may not be, or `op` is none of a client's.
    pub fn decode(op: OpCode, input: &'a [u8]) -> Parsed<'a, Self> {
        match op {
            OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                let (input, create) = Create::decode(op, input)?;
                Ok((input, Self::Create(create)))
            }
            OpCode::DELETE => {
                let (input, delete) = CheckVersion::decode(input)?;
                Ok((input, Self::Delete(delete)))
            }
            OpCode::EXISTS => watching(input, Self::Exists),
            OpCode::GET_DATA => watching(input, Self::GetData),
            OpCode::GET_CHILDREN => watching(input, Self::GetChildren),
            OpCode::GET_CHILDREN2 => watching(input, Self::GetChildren2),
            OpCode::SET_DATA => {
                let (input, set_data) = SetData::decode(input)?;
                Ok((input, Self::SetData(set_data)))
            }
            OpCode::GET_ACL => {
                let (input, path) = text(input)?;
                Ok((input, Self::GetAcl(path)))
            }
            OpCode::SET_ACL => {
                let (input, path) = ustring(input)?;
                let (input, acl) = AclBytes::decode(input)?;
                let (input, version) = int(input)?;
                Ok((input, Self::SetAcl(SetAcl { path, acl, version })))
            }
            OpCode::SYNC => {
                let (input, path) = ustring(input)?;
                Ok((input, Self::Sync(path)))
            }
            OpCode::PING => Ok((input, Self::Ping)),
            OpCode::MULTI => {
                let (input, ops) = decode_multi(input)?;
                Ok((input, Self::Multi(ops)))
            }
            OpCode::MULTI_READ => match decode_multi_read(input) {
                Ok((input, ops)) => Ok((input, Self::MultiRead(ops))),
                Err(error) => match decode_multi(input) {
                    Ok((input, _)) => Ok((input, Self::MultiReadOfWrites)),
                    Err(_) => Err(error),
                },
            },
            OpCode::RECONFIG => {
                let (input, joining) = ustring(input)?;
                let (input, leaving) = ustring(input)?;
                let (input, new_members) = ustring(input)?;
                let (input, config_id) = long(input)?;
                Ok((input, Self::Reconfig(Reconfig { joining, leaving, new_members, config_id })))
            }
            OpCode::CHECK_WATCHES => {
                let (input, (path, kind)) = watcher(input)?;
                Ok((input, Self::CheckWatches(path, kind)))
            }
            OpCode::REMOVE_WATCHES => {
                let (input, (path, kind)) = watcher(input)?;
                Ok((input, Self::RemoveWatches(path, kind)))
            }
            OpCode::SET_WATCHES | OpCode::SET_WATCHES2 => {
                let (input, watches) = SetWatches::decode(op, input)?;
                Ok((input, Self::SetWatches(watches)))
            }
            OpCode::GET_EPHEMERALS => {
                let (input, prefix) = ustring(input)?;
                Ok((input, Self::GetEphemerals(prefix)))
            }
            OpCode::GET_ALL_CHILDREN_NUMBER => {
                let (input, path) = text(input)?;
                Ok((input, Self::GetAllChildrenNumber(path)))
            }
            OpCode::ADD_WATCH => {
                let (input, path) = text(input)?;
                let (input, mode) = int(input)?;
                match mode {
                    0 => Ok((input, Self::AddWatch(path, AddWatchMode::Persistent))),
                    1 => Ok((input, Self::AddWatch(path, AddWatchMode::PersistentRecursive))),
                    other => fail(JuteError::Value(other)),
                }
            }
            OpCode::WHO_AM_I => Ok((input, Self::WhoAmI)),
            OpCode::CLOSE_SESSION => Ok((input, Self::CloseSession)),
            OpCode(other) => fail(JuteError::Value(other)),
        }
    }
}

fn watching<'a>(input: &'a [u8], request: impl Fn(Watching<'a>) -> Request<'a>) -> Parsed<'a, Request<'a>> {
    let (input, path) = text(input)?;
    let (input, watch) = boolean(input)?;
    Ok((input, request(Watching { path, watch })))
}

type Watcher<'a> = (Option<Cow<'a, str>>, WatcherType);

fn watcher(input: &[u8]) -> Parsed<'_, Watcher<'_>> {
    let (input, path) = ustring(input)?;
    let (input, kind) = int(input)?;
    let kind = match kind {
        1 => WatcherType::Children,
        2 => WatcherType::Data,
        3 => WatcherType::Any,
        4 => WatcherType::Persistent,
        5 => WatcherType::PersistentRecursive,
        other => return fail(JuteError::Value(other)),
    };
    Ok((input, (path, kind)))
}
