//! What servers have on their disks before a story begins. Each txn of such a history creates a znode that is named
//! after it: 0x200000003 creates `/2.3`.

use std::sync::Arc;

use zkd::auth::AuthRules;
use zkd::ids::{SessionId, Zxid};
use zkd::peer::{Loading, SnapshotStart};
use zkd::pipeline::Database;
use zkd::proto::OPEN_ACL;
use zkd::storage::compression::Compression;
use zkd::storage::recovery::Restore;
use zkd::storage::snapshot::{SnapshotDigest, Trailer};
use zkd::storage::snapshot_files::{SnapshotFile, write_snapshot};
use zkd::tree::{TreeOptions, TtlMarks, Walked};
use zkd::txn::{CreateKind, CreateTxn, Entry, Txn, TxnHeader};
use zkd::zab::Logged;

use super::disk::SimDisk;
use super::log::{SimLog, Started};

pub(crate) const TREE: TreeOptions = TreeOptions { hash_seed: 7, ttl_marks: TtlMarks::None, digest: true };

/// Reads a number as txns are written.
pub(crate) fn zxid(text: &str) -> Zxid {
    let digits = text.strip_prefix("0x").unwrap_or_else(|| panic!("{text:?} is no zxid"));
    Zxid(i64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{text:?} is no zxid")))
}

/// Reads a list of txns: `0x100000005` stands for its epoch from the first txn on, `0x100000003-0x100000005` for these
/// three, and commas go between several epochs. `0` is none.
pub(crate) fn zxids(text: &str) -> Vec<Zxid> {
    let mut all = Vec::new();
    for part in text.split(',').filter(|part| *part != "0") {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (zxid(first), zxid(last)),
            None => (Zxid(zxid(part).0 & !0xffff_ffff | 1), zxid(part)),
        };
        all.extend((first.0..=last.0).map(Zxid));
    }
    all
}

/// A txn that creates a znode.
pub(crate) fn create(zxid: Zxid, path: &str, data: &str) -> Logged {
    let create = CreateTxn {
        path: path.into(),
        data: Some(data.as_bytes()),
        acl: OPEN_ACL,
        kind: CreateKind::Persistent,
        parent_cversion: -1,
    };
    let header = TxnHeader { session: SessionId::NONE, cxid: 0, zxid, time_ms: 0, op: create.op() };
    let mut body = Vec::new();
    Entry { header, txn: Txn::Create(create), digest: None }.encode(&mut body);
    (zxid, body.into())
}

pub(crate) fn txn(zxid: Zxid) -> Logged {
    create(zxid, &format!("/{}.{}", zxid.epoch(), zxid.counter()), "")
}

/// A database after these txns.
pub(crate) fn database(txns: &[Zxid]) -> Database {
    let mut loading = Loading::new(TREE, 0);
    loading.reset();
    for zxid in txns {
        let (_, body) = txn(*zxid);
        loading.apply(&Entry::decode(&body).expect("a txn"), &body).expect("a txn that fits");
    }
    loading.finish(Arc::new(AuthRules::default())).0
}

/// A database as it goes into snapshots and to learners: its beginning, and the rest.
pub(crate) fn walk(database: &mut Database) -> Vec<u8> {
    let mut body = Vec::new();
    let walk = database.begin_snapshot(&mut body).expect("nobody else walks");
    while let Walked::More = database.continue_snapshot(walk, 1 << 16, &mut body) {}
    database.end_snapshot(walk);
    body
}

/// Writes a snapshot file of `body`, as `node::snapshots` does.
pub(crate) fn write_snapshot_file(disk: &SimDisk, start: &SnapshotStart, body: &[u8]) -> std::io::Result<u64> {
    let file = SnapshotFile::new(start.zxid, Compression::Plain);
    let trailer = Trailer { digest: start.digest, last_zxid: Some(start.zxid) };
    write_snapshot(disk, &file, &mut |out| {
        out.write_body(&start.head)?;
        out.write_body(body)?;
        Ok(trailer)
    })
}

/// Puts a snapshot behind `before` and a log of `logged` on a disk.
pub(crate) fn write(disk: &SimDisk, snapshot: Zxid, before: &[Zxid], logged: &[Zxid]) {
    let mut database = database(before);
    let digest = database.snapshot_digest().map(|digest| SnapshotDigest { zxid: snapshot, ..digest });
    let body = walk(&mut database);
    let start = SnapshotStart { walk: 0, zxid: snapshot, digest, head: Vec::new() };
    write_snapshot_file(disk, &start, &body).expect("a disk that works");
    let mut log = SimLog::new(false);
    log.append(logged.iter().map(|zxid| txn(*zxid)).collect());
    while let Started::Flushing = log.start(disk).expect("a disk that works") {
        log.flushed(disk).expect("a disk that works");
    }
}
