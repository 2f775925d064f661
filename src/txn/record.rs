//! One record per kind of txn: what changed, not what was asked.

use std::borrow::Cow;

use bytes::BufMut;

use super::header::{TxnDigest, TxnHeader};
use crate::jute::{JuteError, JuteWrite, Parsed, boolean, buffer, fail, int, long, text, vector};
use crate::proto::{AclBytes, ErrorCode, OpCode};

/// What kind of znode a create makes (semantics.md 1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateKind {
    /// Stays until deleted.
    Persistent,
    /// Dies with the session of the txn's header.
    Ephemeral,
    /// Is removed by the server when its last child is gone.
    Container,
    /// Is removed by the server when childless and unchanged for so many ms.
    Ttl(i64),
}

/// create, create2, createContainer, createTTL.
#[derive(Clone, PartialEq, Debug)]
pub struct CreateTxn<'a> {
    /// The final path.
    pub path: Cow<'a, str>,
    /// Its data; null stays null.
    pub data: Option<&'a [u8]>,
    /// Its ACL.
    pub acl: AclBytes<'a>,
    /// What kind of znode.
    pub kind: CreateKind,
    /// The parent's stored cversion afterwards; -1 in very old logs: one more than before.
    pub parent_cversion: i32,
}

/// setData, reconfig.
#[derive(Clone, PartialEq, Debug)]
pub struct SetDataTxn<'a> {
    /// Which znode.
    pub path: Cow<'a, str>,
    /// Its new data.
    pub data: Option<&'a [u8]>,
    /// Its new version.
    pub version: i32,
}

/// setACL.
#[derive(Clone, PartialEq, Debug)]
pub struct SetAclTxn<'a> {
    /// Which znode.
    pub path: Cow<'a, str>,
    /// Its new ACL.
    pub acl: AclBytes<'a>,
    /// Its new ACL version.
    pub version: i32,
}

/// A txn's record, decoded.
#[derive(Clone, PartialEq, Debug)]
pub enum Txn<'a> {
    /// A new znode.
    Create(CreateTxn<'a>),
    /// A znode gone, by a client or by the container reaper.
    Delete(Cow<'a, str>),
    /// New data.
    SetData(SetDataTxn<'a>),
    /// A new ACL.
    SetAcl(SetAclTxn<'a>),
    /// A version that was as expected; only inside a multi.
    Check(Cow<'a, str>, i32),
    /// Several at once; one error among them and none takes effect.
    Multi(Vec<(OpCode, Txn<'a>)>),
    /// A session with this timeout, ms; its id is in the header.
    CreateSession(i32),
    /// The header's session ends; its ephemerals, or `None` from servers that leave them out.
    CloseSession(Option<Vec<Cow<'a, str>>>),
    /// A write that was refused.
    Error(ErrorCode),
}

impl<'a> Txn<'a> {
    /// Decodes the record that `op` says.
    ///
    /// # Errors
    /// When a field is cut short, or `op` is no txn.
    pub fn decode(op: OpCode, input: &'a [u8]) -> Parsed<'a, Self> {
        match op {
            OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                let (input, create) = decode_create(op, input)?;
                Ok((input, Self::Create(create)))
            }
            OpCode::DELETE | OpCode::DELETE_CONTAINER => {
                let (input, path) = text(input)?;
                Ok((input, Self::Delete(path)))
            }
            OpCode::SET_DATA | OpCode::RECONFIG => {
                let (input, path) = text(input)?;
                let (input, data) = buffer(input)?;
                let (input, version) = int(input)?;
                Ok((input, Self::SetData(SetDataTxn { path, data, version })))
            }
            OpCode::SET_ACL => {
                let (input, path) = text(input)?;
                let (input, acl) = AclBytes::decode(input)?;
                let (input, version) = int(input)?;
                Ok((input, Self::SetAcl(SetAclTxn { path, acl, version })))
            }
            OpCode::CHECK => {
                let (input, path) = text(input)?;
                let (input, version) = int(input)?;
                Ok((input, Self::Check(path, version)))
            }
            OpCode::MULTI => decode_multi(input),
            OpCode::CREATE_SESSION => {
                let (input, timeout_ms) = int(input)?;
                Ok((input, Self::CreateSession(timeout_ms)))
            }
            OpCode::CLOSE_SESSION => decode_close_session(input),
            OpCode::ERROR => {
                let (input, code) = int(input)?;
                Ok((input, Self::Error(ErrorCode(code))))
            }
            OpCode(other) => fail(JuteError::Value(other)),
        }
    }
}

fn decode_create(op: OpCode, input: &[u8]) -> Parsed<'_, CreateTxn<'_>> {
    let (input, path) = text(input)?;
    let (input, data) = buffer(input)?;
    let (input, acl) = AclBytes::decode(input)?;
    let (input, kind, parent_cversion) = match op {
        OpCode::CREATE_CONTAINER => {
            let (input, parent_cversion) = int(input)?;
            (input, CreateKind::Container, parent_cversion)
        }
        OpCode::CREATE_TTL => {
            let (input, parent_cversion) = int(input)?;
            let (input, ttl_ms) = long(input)?;
            (input, CreateKind::Ttl(ttl_ms), parent_cversion)
        }
        _ => {
            let (input, ephemeral) = boolean(input)?;
            let kind = if ephemeral { CreateKind::Ephemeral } else { CreateKind::Persistent };
            // Logs of 3.4 and before end here, or go on with nothing that could be a cversion.
            match int(input) {
                Ok((input, parent_cversion)) => (input, kind, parent_cversion),
                Err(_) => (input, kind, -1),
            }
        }
    };
    Ok((input, CreateTxn { path, data, acl, kind, parent_cversion }))
}

fn decode_multi(input: &[u8]) -> Parsed<'_, Txn<'_>> {
    let item = |input| {
        let (input, op) = int(input)?;
        let (input, data) = buffer(input)?;
        match (OpCode(op), data) {
            (OpCode::MULTI | OpCode::CREATE_SESSION | OpCode::CLOSE_SESSION, _) => fail(JuteError::Value(op)),
            (_, None) => fail(JuteError::Null),
            (op, Some(data)) => {
                let (_, txn) = Txn::decode(op, data)?;
                Ok((input, (op, txn)))
            }
        }
    };
    let (input, txns) = vector(item)(input)?;
    Ok((input, Txn::Multi(txns.unwrap_or_default())))
}

/// With `closeSessionTxn.enabled=false` the list is missing and the digest stands in its place (storage.md 2.3).
fn decode_close_session(input: &[u8]) -> Parsed<'_, Txn<'_>> {
    let fits = |rest: &[u8]| rest.is_empty() || rest.len() == TxnDigest::LENGTH;
    match vector(text)(input) {
        Ok((rest, paths)) if fits(rest) => Ok((rest, Txn::CloseSession(paths))),
        _ if fits(input) => Ok((input, Txn::CloseSession(None))),
        Ok((rest, paths)) => Ok((rest, Txn::CloseSession(paths))),
        Err(error) => Err(error),
    }
}

/// A whole log record or proposal: header, record, digest.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry<'a> {
    /// Who, when, what kind.
    pub header: TxnHeader,
    /// What changed.
    pub txn: Txn<'a>,
    /// The tree's digest afterwards; missing on errors and in logs of 3.5.
    pub digest: Option<TxnDigest>,
}

impl<'a> Entry<'a> {
    /// Decodes all of `input`.
    ///
    /// # Errors
    /// When it is cut short or something is left over.
    pub fn decode(input: &'a [u8]) -> Result<Self, JuteError> {
        let (input, header) = TxnHeader::decode(input)?;
        let (input, txn) = Txn::decode(header.op, input)?;
        let (_, digest) = TxnDigest::decode_rest(input)?;
        Ok(Self { header, txn, digest })
    }

    /// Encodes it, as the log and a PROPOSAL hold it.
    pub fn encode(&self, out: &mut impl BufMut) {
        self.header.encode(out);
        self.txn.encode(self.header.op, out);
        if let Some(digest) = self.digest {
            digest.encode(out);
        }
    }
}

impl CreateTxn<'_> {
    /// The opcode that this kind is logged under; a plain one keeps the opcode that was asked.
    #[must_use]
    pub const fn op(&self) -> OpCode {
        match self.kind {
            CreateKind::Persistent | CreateKind::Ephemeral => OpCode::CREATE,
            CreateKind::Container => OpCode::CREATE_CONTAINER,
            CreateKind::Ttl(_) => OpCode::CREATE_TTL,
        }
    }

    /// Encodes the record.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.ustring(&self.path);
        out.buffer(self.data);
        out.put_slice(self.acl.as_bytes());
        if let CreateKind::Persistent | CreateKind::Ephemeral = self.kind {
            out.boolean(self.kind == CreateKind::Ephemeral);
        }
        out.int(self.parent_cversion);
        if let CreateKind::Ttl(ttl_ms) = self.kind {
            out.long(ttl_ms);
        }
    }
}

impl Txn<'_> {
    /// Encodes the record; `op` is the header's, which must fit.
    pub fn encode(&self, op: OpCode, out: &mut impl BufMut) {
        match self {
            Self::Create(create) => create.encode(out),
            Self::Delete(path) => out.ustring(path),
            Self::SetData(SetDataTxn { path, data, version }) => {
                out.ustring(path);
                out.buffer(*data);
                out.int(*version);
            }
            Self::SetAcl(SetAclTxn { path, acl, version }) => {
                out.ustring(path);
                out.put_slice(acl.as_bytes());
                out.int(*version);
            }
            Self::Check(path, version) => {
                out.ustring(path);
                out.int(*version);
            }
            Self::Multi(txns) => {
                out.length(txns.len());
                let mut data = Vec::new();
                for (op, txn) in txns {
                    data.clear();
                    txn.encode(*op, &mut data);
                    out.int(op.0);
                    out.buffer(Some(&data));
                }
            }
            Self::CreateSession(timeout_ms) => out.int(*timeout_ms),
            Self::CloseSession(None) => debug_assert_eq!(op, OpCode::CLOSE_SESSION),
            Self::CloseSession(Some(paths)) => {
                out.length(paths.len());
                for path in paths {
                    out.ustring(path);
                }
            }
            Self::Error(code) => out.int(code.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SessionId, Zxid};
    use crate::proto::OPEN_ACL;

    fn header(op: OpCode) -> TxnHeader {
        TxnHeader { session: SessionId(7), cxid: 3, zxid: Zxid(9), time_ms: 11, op }
    }

    #[test]
    fn every_record_round_trips() {
        let create = |kind| CreateTxn { path: "/a".into(), data: None, acl: OPEN_ACL, kind, parent_cversion: 4 };
        let txns = [
            (OpCode::CREATE, Txn::Create(create(CreateKind::Ephemeral))),
            (OpCode::CREATE2, Txn::Create(create(CreateKind::Persistent))),
            (OpCode::CREATE_CONTAINER, Txn::Create(create(CreateKind::Container))),
            (OpCode::CREATE_TTL, Txn::Create(create(CreateKind::Ttl(5)))),
            (OpCode::DELETE, Txn::Delete("/a".into())),
            (OpCode::SET_DATA, Txn::SetData(SetDataTxn { path: "/a".into(), data: Some(b"x"), version: 1 })),
            (OpCode::SET_ACL, Txn::SetAcl(SetAclTxn { path: "/a".into(), acl: OPEN_ACL, version: 1 })),
            (OpCode::CREATE_SESSION, Txn::CreateSession(4000)),
            (OpCode::CLOSE_SESSION, Txn::CloseSession(Some(vec!["/a".into()]))),
            (OpCode::CLOSE_SESSION, Txn::CloseSession(Some(vec![]))),
            (OpCode::CLOSE_SESSION, Txn::CloseSession(None)),
            (OpCode::ERROR, Txn::Error(ErrorCode::NO_NODE)),
        ];
        let subs = txns.iter().filter(|(op, _)| op.0 > 0 || *op == OpCode::ERROR).cloned().collect();
        for (op, txn) in txns.into_iter().chain([(OpCode::MULTI, Txn::Multi(subs))]) {
            for digest in [None, Some(TxnDigest::new(u64::MAX - 5))] {
                let entry = Entry { header: header(op), txn: txn.clone(), digest };
                let mut bytes = Vec::new();
                entry.encode(&mut bytes);
                assert_eq!(Entry::decode(&bytes), Ok(entry));
            }
        }
    }

    #[test]
    fn bytes_behind_the_digest_are_an_error() {
        let entry = Entry { header: header(OpCode::ERROR), txn: Txn::Error(ErrorCode::NO_NODE), digest: None };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        bytes.push(0);
        assert!(Entry::decode(&bytes).is_err());
    }
}
