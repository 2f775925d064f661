//! What stands before and behind every txn's record.

use bytes::BufMut;

use crate::ids::{SessionId, Zxid};
use crate::jute::{JuteError, JuteWrite, Parsed, fail, int, long};
use crate::proto::OpCode;

/// Who asked for a txn, when, and of what kind it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnHeader {
    /// The session that asked; [`SessionId::NONE`] for the server's own. The owner of an ephemeral that it creates.
    pub session: SessionId,
    /// The client's xid of the request.
    pub cxid: i32,
    /// The txn's place.
    pub zxid: Zxid,
    /// The leader's clock when it was prepared, ms since the Unix epoch.
    pub time_ms: i64,
    /// Which record follows.
    pub op: OpCode,
}

impl TxnHeader {
    /// Bytes of the encoded header.
    pub const LENGTH: usize = 32;

    /// Decodes the header.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn decode(input: &[u8]) -> Parsed<'_, Self> {
        let (input, session) = long(input)?;
        let (input, cxid) = int(input)?;
        let (input, zxid) = long(input)?;
        let (input, time_ms) = long(input)?;
        let (input, op) = int(input)?;
        Ok((input, Self { session: SessionId(session), cxid, zxid: Zxid(zxid), time_ms, op: OpCode(op) }))
    }

    /// Encodes the header.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.long(self.session.0);
        out.int(self.cxid);
        out.long(self.zxid.0);
        out.long(self.time_ms);
        out.int(self.op.0);
    }
}

/// The digest of the whole tree after the txn (storage.md 4), as the leader foresaw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnDigest {
    /// How it was computed; [`TxnDigest::VERSION`] is ours.
    pub version: i32,
    /// The sum over all znodes.
    pub tree: u64,
}

impl TxnDigest {
    /// The way of computing digests that zkd and Apache 3.6 and later share.
    pub const VERSION: i32 = 2;
    /// Bytes of the encoded digest.
    pub const LENGTH: usize = 12;

    /// A digest of our own version.
    #[must_use]
    pub const fn new(tree: u64) -> Self {
        Self { version: Self::VERSION, tree }
    }

    /// Decodes what is left behind a record: nothing, or a digest.
    ///
    /// # Errors
    /// Any other number of bytes.
    pub fn decode_rest(input: &[u8]) -> Parsed<'_, Option<Self>> {
        match input.len() {
            0 => Ok((input, None)),
            Self::LENGTH => {
                let (input, version) = int(input)?;
                let (input, tree) = long(input)?;
                Ok((input, Some(Self { version, tree: tree as u64 })))
            }
            other => fail(JuteError::Length(i32::try_from(other).unwrap_or(i32::MAX))),
        }
    }

    /// Encodes the digest.
    pub fn encode(self, out: &mut impl BufMut) {
        out.int(self.version);
        out.long(self.tree as i64);
    }
}
