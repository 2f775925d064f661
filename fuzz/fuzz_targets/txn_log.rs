//! Log files: whatever stands on the disk, recovery ends with an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zkd::ids::{SessionId, Zxid};
use zkd::proto::AclBytes;
use zkd::storage::recovery::{RecoveryOptions, Restore, recover};
use zkd::storage::snapshot::Trailer;
use zkd::storage::snapshot_body::SnapshotSink;
use zkd::storage::{Dir, MemoryDisk};
use zkd::tree::{StoredStat, Tree, TreeOptions};
use zkd::txn::Entry;

struct Database(Tree);

impl SnapshotSink for Database {
    fn session(&mut self, _: SessionId, _: i32) {}
    fn acl(&mut self, _: i64, _: AclBytes<'_>) {}
    fn node(&mut self, _: &str, _: Option<&[u8]>, _: i64, _: &StoredStat) -> Result<(), String> {
        Ok(())
    }
}

impl Restore for Database {
    fn reset(&mut self) {
        self.0 = Tree::new(TreeOptions::default());
    }
    fn snapshot_loaded(&mut self, _: Zxid, _: &Trailer) {}
    fn apply(&mut self, entry: &Entry<'_>, _: &[u8]) -> Result<(), String> {
        self.0.apply(&entry.header, &entry.txn, &mut (), &mut Vec::new());
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let disk = MemoryDisk::new();
    let split = data.first().map_or(0, |at| usize::from(*at) * data.len() / 256);
    let (first, second) = data.split_at(split);
    // A header that is right most of the time, so that the records are looked at.
    let log = |body: &[u8]| [&b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0"[..], body].concat();
    disk.put(Dir::Logs, "log.1", log(first));
    disk.put(Dir::Logs, "log.5", if data.len() % 7 == 0 { second.to_vec() } else { log(second) });
    let options = RecoveryOptions { trust_empty_snapshot: true, ..RecoveryOptions::default() };
    let _ = recover(&disk, &options, &mut Database(Tree::new(TreeOptions::default())));
});
