//! Snapshot files in all three compressions: whatever they hold, loading ends with an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zkd::ids::SessionId;
use zkd::proto::AclBytes;
use zkd::storage::compression::Compression;
use zkd::storage::snapshot::read_snapshot;
use zkd::storage::snapshot_body::SnapshotSink;
use zkd::tree::{StoredStat, TreeLoader, TreeOptions};

struct Loading(TreeLoader);

impl SnapshotSink for Loading {
    fn session(&mut self, _: SessionId, _: i32) {}
    fn acl(&mut self, key: i64, acl: AclBytes<'_>) {
        self.0.acl(key, acl);
    }
    fn node(&mut self, path: &str, data: Option<&[u8]>, acl_key: i64, stat: &StoredStat) -> Result<(), String> {
        self.0.node(path, data, acl_key, stat).map_err(|error| error.to_string())
    }
}

fuzz_target!(|data: &[u8]| {
    let with_header = [&b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff"[..], data].concat();
    for (compression, bytes) in
        [(Compression::Plain, &with_header[..]), (Compression::Plain, data), (Compression::Gz, data), (Compression::Snappy, data)]
    {
        let mut loading = Loading(TreeLoader::new(TreeOptions::default()));
        let _ = read_snapshot(bytes, compression, "snapshot.1", &mut loading);
        let _ = loading.0.finish();
    }
});
