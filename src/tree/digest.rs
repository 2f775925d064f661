//! The tree digest: one number that two servers with the same tree agree on (storage.md 4).

use bytes::BufMut;

use super::stat::StoredStat;
use crate::jute::JuteWrite;

/// CRC-32 of a path and data: the part of a znode's digest that its counters do not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Contents(u32);

impl Contents {
    /// Of a tree that keeps no digest.
    pub(crate) const NONE: Contents = Contents(0);

    /// `path` is empty for the root.
    pub(crate) fn of(path: &str, data: Option<&[u8]>) -> Self {
        Self(with_contents(path, data).finalize())
    }

    /// The znode's share of the tree digest.
    pub(crate) fn digest(self, stat: &StoredStat) -> u32 {
        with_stat(crc32fast::Hasher::new_with_initial(self.0), stat)
    }
}

/// The share of the tree digest that a znode has.
pub(crate) fn of(path: &str, data: Option<&[u8]>, stat: &StoredStat) -> u32 {
    with_stat(with_contents(path, data), stat)
}

fn with_contents(path: &str, data: Option<&[u8]>) -> crc32fast::Hasher {
    let mut crc = crc32fast::Hasher::new();
    crc.update(if path == "/" { b"" } else { path.as_bytes() });
    crc.update(data.unwrap_or_default());
    crc
}

fn with_stat(mut crc: crc32fast::Hasher, stat: &StoredStat) -> u32 {
    let mut bytes = [0u8; StoredStat::LENGTH];
    let mut out = &mut bytes[..];
    out.long(stat.czxid);
    out.long(stat.mzxid);
    out.long(stat.pzxid);
    out.long(stat.ctime);
    out.long(stat.mtime);
    out.int(stat.version);
    out.int(stat.cversion);
    out.int(stat.aversion);
    out.long(stat.owner);
    debug_assert!(!out.has_remaining_mut());
    crc.update(&bytes);
    crc.finalize()
}

/// Whether a znode's changes show in the digest: all but those below `/zookeeper`.
pub(crate) fn covers(path: &str) -> bool {
    !path.starts_with("/zookeeper/")
}
