//! What a client is told of a znode beside its data.

use bytes::BufMut;

use crate::jute::{JuteWrite, Parsed, int, long};

/// A znode's Stat as clients see it (CL-54): 68 bytes, `pzxid` last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
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
    /// Changes of the children: twice the creations less the children there are.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// The session that owns it; 0 when it is not ephemeral.
    pub ephemeral_owner: i64,
    /// Bytes of data; 0 for null.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// Zxid of the last creation or deletion of a direct child.
    pub pzxid: i64,
}

impl Stat {
    /// Decodes the record.
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
        let (input, ephemeral_owner) = long(input)?;
        let (input, data_length) = int(input)?;
        let (input, num_children) = int(input)?;
        let (input, pzxid) = long(input)?;
        let stat = Self {
            czxid,
            mzxid,
            ctime,
            mtime,
            version,
            cversion,
            aversion,
            ephemeral_owner,
            data_length,
            num_children,
            pzxid,
        };
        Ok((input, stat))
    }

    /// Encodes the record.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.long(self.czxid);
        out.long(self.mzxid);
        out.long(self.ctime);
        out.long(self.mtime);
        out.int(self.version);
        out.int(self.cversion);
        out.int(self.aversion);
        out.long(self.ephemeral_owner);
        out.int(self.data_length);
        out.int(self.num_children);
        out.long(self.pzxid);
    }
}
