//! Which files the purge task may delete (storage.md 8). A decision only: the caller deletes.

use super::log_files::LogFile;
use super::snapshot_files::SnapshotFile;
use crate::ids::Zxid;

/// Fewer snapshots than this are never kept, whatever the setting.
pub const SNAPSHOTS_MIN: usize = 3;

/// Names of files to delete.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Purge {
    /// In the snapshot directory.
    pub snapshots: Vec<String>,
    /// In the log directory.
    pub logs: Vec<String>,
}

/// Keeps the newest `keep` good snapshots and every log that is needed on top of the oldest of them.
///
/// `snapshots` comes in any order with whether each is known to be good: verified, and durable. `pinned` is the lowest
/// zxid that a running sync reads from the log; its file and all behind stay as well.
#[must_use]
pub fn purge(snapshots: &[(SnapshotFile, bool)], logs: &[LogFile], keep: usize, pinned: Option<Zxid>) -> Purge {
    let mut good: Vec<Zxid> = snapshots.iter().filter(|(_, good)| *good).map(|(file, _)| file.zxid).collect();
    good.sort_unstable();
    let oldest_kept = good.len().saturating_sub(keep.max(SNAPSHOTS_MIN));
    let Some(oldest) = good.get(oldest_kept).copied() else { return Purge::default() };
    let needed = pinned.map_or(oldest, |pinned| pinned.min(oldest));
    // The file that begins at or before the snapshot may go on beyond it.
    let first_log = logs.iter().map(|log| log.zxid).filter(|zxid| *zxid <= needed).max();
    Purge {
        snapshots: snapshots.iter().filter(|(file, _)| file.zxid < oldest).map(|(file, _)| file.name.clone()).collect(),
        logs: match first_log {
            Some(first) => logs.iter().filter(|log| log.zxid < first).map(|log| log.name.clone()).collect(),
            None => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::compression::Compression;

    fn plan(snapshots: &[(i64, bool)], logs: &[i64], keep: usize, pinned: Option<i64>) -> (Vec<String>, Vec<String>) {
        let snapshots: Vec<_> =
            snapshots.iter().map(|(zxid, good)| (SnapshotFile::new(Zxid(*zxid), Compression::Plain), *good)).collect();
        let logs: Vec<_> = logs.iter().map(|zxid| LogFile::new(Zxid(*zxid))).collect();
        let purge = purge(&snapshots, &logs, keep, pinned.map(Zxid));
        (purge.snapshots, purge.logs)
    }

    #[test]
    fn the_newest_good_snapshots_stay_with_the_logs_they_need() {
        let snapshots = [(2, true), (4, true), (6, true), (8, true)];
        let (snapshots, logs) = plan(&snapshots, &[1, 3, 4, 7], 3, None);
        assert_eq!((snapshots, logs), (vec!["snapshot.2".to_owned()], vec!["log.1".to_owned(), "log.3".to_owned()]));
    }

    #[test]
    fn a_bad_snapshot_does_not_count() {
        let snapshots = [(2, true), (4, true), (6, false), (8, true)];
        assert_eq!(plan(&snapshots, &[1, 3], 3, None), (vec![], vec![]));
        assert_eq!(plan(&[(2, false)], &[1], 3, None), (vec![], vec![]));
    }

    #[test]
    fn less_than_three_is_three() {
        let snapshots = [(2, true), (4, true), (6, true), (8, true)];
        assert_eq!(plan(&snapshots, &[], 0, None).0, ["snapshot.2"]);
        assert_eq!(plan(&snapshots, &[], 9, None).0, [""; 0]);
    }

    #[test]
    fn what_a_sync_reads_stays() {
        let snapshots = [(2, true), (4, true), (6, true), (8, true)];
        assert_eq!(plan(&snapshots, &[1, 3, 4], 3, Some(3)).1, ["log.1"]);
        assert_eq!(plan(&snapshots, &[1, 3, 4], 3, Some(0)).1, [""; 0]);
    }
}
