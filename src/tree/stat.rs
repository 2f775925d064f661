//! What is stored of a znode beside its data and ACL: in memory, in snapshots and in the digest.

use bytes::BufMut;

use crate::jute::{JuteWrite, Parsed, int, long};

/// A znode's counters and times as stored (storage.md 3.2): 60 bytes in a snapshot.
///
/// Two fields differ from the [`Stat`](crate::proto::Stat) that clients see: `cversion` counts creations of children
/// only, and `owner` also marks containers and TTL znodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoredStat {
    /// Zxid of the txn that created it.
    pub czxid: i64,
    /// Zxid of the last change of its data.
    pub mzxid: i64,
    /// Time of creation, ms since the Unix epoch.
    pub ctime: i64,
    /// Time of the last change of its data, ms since the Unix epoch.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Creations of children.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// 0, a session, or the mark of a container or a TTL znode.
    pub owner: i64,
    /// Zxid of the last creation or deletion of a direct child.
    pub pzxid: i64,
}

impl StoredStat {
    /// Bytes of the encoded record.
    pub const LENGTH: usize = 60;

    /// That of a znode just created, with no owner.
    #[must_use]
    pub const fn of_new(zxid: i64, time_ms: i64) -> Self {
        Self {
            czxid: zxid,
            mzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            version: 0,
            cversion: 0,
            aversion: 0,
            owner: 0,
            pzxid: zxid,
        }
    }

    /// Decodes the record as a snapshot holds it.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn decode(input: &[u8]) -> Parsed<'_, Self> {
        let (input, czxid) = long(input)?;
        let (input, mzxid) = long(input)?;
        let (input, ctime) = long(input)?;
        let (input, mtime) = long(input)?;
        let (input, version) = int(input)?;
        let (input, cversion) = int(input)?;
        let (input, aversion) = int(input)?;
        let (input, owner) = long(input)?;
        let (input, pzxid) = long(input)?;
        Ok((input, Self { czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid }))
    }

    /// Encodes the record as a snapshot holds it.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.long(self.czxid);
        out.long(self.mzxid);
        out.long(self.ctime);
        out.long(self.mtime);
        out.int(self.version);
        out.int(self.cversion);
        out.int(self.aversion);
        out.long(self.owner);
        out.long(self.pzxid);
    }
}
