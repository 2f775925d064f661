//! A stretch of the log: what a learner lacks that the leader has no longer in memory (zab.md 4, case 5).

use bytes::Bytes;

use super::disk::Disk;
use super::log_files::{LogWalk, files_to_replay, follows};
use super::snapshot_files::list_snapshots;
use super::txn_log::{LogError, LogFault};
use crate::ids::Zxid;

/// Reads the txns between `from` and `until`, both not included. `None`: the log does not hold `from` and everything
/// behind it, or that is more than `bytes_max`.
///
/// Where a leader's database took the place of this server's own, txns are missing from the log, and between two epochs
/// that does not show in their numbers. The snapshot that was written there shows it.
///
/// # Errors
/// Damage, and those of the disk.
pub fn read_range(
    disk: &dyn Disk,
    from: Zxid,
    until: Zxid,
    bytes_max: u64,
    body_bytes_max: usize,
) -> Result<Option<Vec<(Zxid, Bytes)>>, LogError> {
    let before = Zxid(from.0.saturating_sub(1));
    let io = |error| LogFault::Io(error).at("the log", 0);
    let snapshots = list_snapshots(disk).map_err(io)?;
    let leads = |previous: Zxid, next: Zxid| {
        let is_between = |zxid: Zxid| previous < zxid && zxid < next;
        previous.epoch() == next.epoch() || !snapshots.iter().any(|file| is_between(file.zxid))
    };
    let (files, _) = files_to_replay(disk, before).map_err(io)?;
    if files.first().is_none_or(|first| first.zxid > from) {
        return Ok(None);
    }
    let mut walk = LogWalk::new(disk, &files, before, body_bytes_max);
    let (mut txns, mut bytes, mut last) = (Vec::new(), 0, None);
    while let Some(zxid) = walk.advance()? {
        if zxid >= until {
            break;
        }
        if zxid > from {
            if last.is_none() && from.counter() != 0 || !leads(last.unwrap_or(from), zxid) {
                return Ok(None);
            }
            bytes += walk.body().len() as u64;
            if bytes > bytes_max {
                return Ok(None);
            }
            txns.push((zxid, Bytes::copy_from_slice(walk.body())));
        }
        last = Some(zxid);
    }
    let end = last.unwrap_or(from);
    let reaches = follows(end, until) && leads(end, until) && (last.is_some() || from.counter() == 0);
    Ok(reaches.then_some(txns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::proto::{ErrorCode, OpCode};
    use crate::storage::log_files::LogFile;
    use crate::storage::txn_log::{put_header, put_record};
    use crate::storage::{Dir, MemoryDisk};
    use crate::txn::{Txn, TxnHeader};

    fn log(zxids: &[(i32, u32)]) -> MemoryDisk {
        let (disk, mut file) = (MemoryDisk::new(), Vec::new());
        put_header(&mut file);
        for (epoch, counter) in zxids {
            let (zxid, mut body) = (Zxid::new(*epoch, *counter), Vec::new());
            TxnHeader { session: SessionId(1), cxid: 1, zxid, time_ms: 1, op: OpCode::ERROR }.encode(&mut body);
            Txn::Error(ErrorCode::NO_NODE).encode(OpCode::ERROR, &mut body);
            put_record(&mut file, &body);
        }
        let first = zxids.first().map_or(Zxid::ZERO, |(epoch, counter)| Zxid::new(*epoch, *counter));
        disk.put(Dir::Logs, &LogFile::new(first).name, file);
        disk
    }

    fn range(disk: &MemoryDisk, from: (i32, u32), until: (i32, u32), bytes_max: u64) -> Option<Vec<(i32, u32)>> {
        let (from, until) = (Zxid::new(from.0, from.1), Zxid::new(until.0, until.1));
        let txns = read_range(disk, from, until, bytes_max, 1 << 20).expect("a sound log")?;
        Some(txns.iter().map(|(zxid, _)| (zxid.epoch(), zxid.counter())).collect())
    }

    #[test]
    fn a_range_is_all_or_nothing() {
        let disk = log(&[(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]);
        assert_eq!(range(&disk, (1, 1), (2, 2), 1000), Some(vec![(1, 2), (1, 3), (2, 1)]));
        assert_eq!(range(&disk, (1, 3), (2, 1), 1000), Some(vec![]));
        assert_eq!(range(&disk, (2, 0), (2, 2), 1000), Some(vec![(2, 1)]), "it has seen the beginning of the epoch");
        assert_eq!(range(&disk, (1, 0), (2, 2), 1000), None, "nothing tells what is before the log");
        assert_eq!(range(&disk, (1, 2), (2, 4), 1000), None, "the log ends before");
        assert_eq!(range(&disk, (1, 1), (2, 2), 50), None, "that is too much");
        assert_eq!(range(&log(&[]), (1, 1), (2, 2), 1000), None);
    }

    #[test]
    fn a_database_that_came_between_two_epochs_leaves_a_hole() {
        let disk = log(&[(1, 1), (1, 2), (3, 1), (3, 2)]);
        disk.put(Dir::Snapshots, "snapshot.100000002", "");
        assert_eq!(range(&disk, (1, 1), (3, 2), 1000), Some(vec![(1, 2), (3, 1)]), "one of what is in the log");
        disk.put(Dir::Snapshots, "snapshot.200000005", "");
        assert_eq!(range(&disk, (1, 1), (3, 2), 1000), None);
        assert_eq!(range(&disk, (1, 1), (3, 1), 1000), None);
        assert_eq!(range(&disk, (3, 1), (3, 3), 1000), Some(vec![(3, 2)]));
    }
}
