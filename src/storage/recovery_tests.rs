//! The table of storage.md 7, row by row, on a disk in memory.

use super::*;
use crate::ids::SessionId;
use crate::proto::{AclBytes, ErrorCode, OpCode};
use crate::storage::MemoryDisk;
use crate::storage::compression::Compression;
use crate::storage::snapshot_body::{put_count, put_node, put_terminator};
use crate::storage::snapshot_files::write_snapshot;
use crate::storage::truncate::plan_replacement;
use crate::storage::txn_log::{RECORD_OVERHEAD, put_header, put_record};
use crate::tree::StoredStat;
use crate::txn::{Txn, TxnHeader};

/// Remembers what it was told.
#[derive(Default)]
struct Told {
    resets: usize,
    nodes: usize,
    loaded: Option<Zxid>,
    applied: Vec<i64>,
    refuses: Option<i64>,
}

impl SnapshotSink for Told {
    fn session(&mut self, _: SessionId, _: i32) {}

    fn acl(&mut self, _: i64, _: AclBytes<'_>) {}

    fn node(&mut self, _: &str, _: Option<&[u8]>, _: i64, _: &StoredStat) -> Result<(), String> {
        self.nodes += 1;
        Ok(())
    }
}

impl Restore for Told {
    fn reset(&mut self) {
        *self = Self { resets: self.resets + 1, refuses: self.refuses, ..Self::default() };
    }

    fn snapshot_loaded(&mut self, zxid: Zxid, _: &Trailer) {
        self.loaded = Some(zxid);
    }

    fn apply(&mut self, entry: &Entry<'_>, body: &[u8]) -> Result<(), String> {
        assert_eq!(Entry::decode(body).as_ref(), Ok(entry));
        if self.refuses == Some(entry.header.zxid.0) {
            return Err("no room".to_owned());
        }
        self.applied.push(entry.header.zxid.0);
        Ok(())
    }
}

fn snapshot(disk: &MemoryDisk, zxid: i64) -> String {
    let file = SnapshotFile::new(Zxid(zxid), Compression::Plain);
    let written = write_snapshot(disk, &file, &mut |writer| {
        let mut body = Vec::new();
        put_count(&mut body, 0);
        put_count(&mut body, 0);
        put_node(&mut body, "", None, -1, &StoredStat::default());
        put_terminator(&mut body);
        writer.write_body(&body)?;
        Ok(Trailer::default())
    });
    written.expect("memory");
    file.name
}

fn record(zxid: i64) -> Vec<u8> {
    record_of(zxid, OpCode::CREATE_SESSION, Txn::CreateSession(4000))
}

fn record_of(zxid: i64, op: OpCode, txn: Txn<'_>) -> Vec<u8> {
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: Zxid(zxid), time_ms: 1, op };
    let mut body = Vec::new();
    Entry { header, txn, digest: None }.encode(&mut body);
    let mut out = Vec::new();
    put_record(&mut out, &body);
    out
}

fn log(disk: &MemoryDisk, zxids: &[i64]) -> String {
    let mut bytes = Vec::new();
    put_header(&mut bytes);
    zxids.iter().for_each(|zxid| bytes.extend(record(*zxid)));
    let file = LogFile::new(Zxid(zxids[0]));
    disk.put(Dir::Logs, &file.name, bytes);
    file.name
}

fn run(disk: &MemoryDisk, options: RecoveryOptions) -> (Told, Result<Recovered, RecoveryError>) {
    let mut told = Told::default();
    let recovered = recover(disk, &options, &mut told);
    (told, recovered)
}

fn default_run(disk: &MemoryDisk) -> (Told, Result<Recovered, RecoveryError>) {
    run(disk, RecoveryOptions::default())
}

#[test]
fn an_empty_directory_is_new_or_lost() {
    let (told, recovered) = default_run(&MemoryDisk::new());
    let recovered = recovered.expect("new");
    assert_eq!((recovered.origin, recovered.last_zxid, told.resets), (Origin::New, Zxid::ZERO, 1));

    let careful = RecoveryOptions { autocreate: false, ..RecoveryOptions::default() };
    let recovered = run(&MemoryDisk::new(), careful).1.expect("lost");
    assert_eq!((recovered.origin, recovered.last_zxid), (Origin::Lost, Zxid(-1)));
    assert!(matches!(recovered.notes[..], [Note::NotVoting]));
}

#[test]
fn the_marker_makes_an_empty_directory_new_and_is_consumed() {
    let disk = MemoryDisk::new();
    disk.put(Dir::LogRoot, "initialize", "");
    let careful = RecoveryOptions { autocreate: false, ..RecoveryOptions::default() };
    let (_, recovered) = run(&disk, careful);
    assert_eq!(recovered.expect("new").origin, Origin::New);
    // Until snapshot.0 is there, a crash would lose what the marker says.
    assert!(disk.get(Dir::LogRoot, "initialize").is_some());
    snapshot(&disk, 0);
    consume_marker(&disk).expect("memory");
    assert!(disk.get(Dir::LogRoot, "initialize").is_none());
    assert!(matches!(run(&disk, careful).1.expect("a database").origin, Origin::Snapshot(..)));
}

#[test]
fn a_snapshot_is_followed_by_the_txns_above_it() {
    let disk = MemoryDisk::new();
    snapshot(&disk, 3);
    log(&disk, &[1, 2]);
    log(&disk, &[3, 4, 5]);
    log(&disk, &[6]);
    let (told, recovered) = default_run(&disk);
    let recovered = recovered.expect("good");
    assert_eq!((told.loaded, told.applied), (Some(Zxid(3)), vec![4, 5, 6]));
    assert_eq!((recovered.last_zxid, recovered.replayed, recovered.durable.zxid()), (Zxid(6), 3, Zxid(6)));
    assert!(recovered.notes.is_empty());
}

#[test]
fn a_log_that_ends_before_the_snapshot_adds_nothing() {
    let disk = MemoryDisk::new();
    snapshot(&disk, 9);
    log(&disk, &[1, 2, 3]);
    assert_eq!(default_run(&disk).1.expect("good").last_zxid, Zxid(9));
}

#[test]
fn a_bad_newest_snapshot_costs_a_reset_and_a_longer_replay() {
    let disk = MemoryDisk::new();
    snapshot(&disk, 1);
    let newest = snapshot(&disk, 3);
    disk.edit(Dir::Snapshots, &newest, |bytes| bytes[50] ^= 1).expect("just written");
    log(&disk, &[1, 2, 3, 4]);
    let (told, recovered) = default_run(&disk);
    assert_eq!((told.resets, told.nodes, told.loaded, told.applied), (2, 1, Some(Zxid(1)), vec![2, 3, 4]));
    assert!(matches!(recovered.expect("good").notes[..], [Note::SnapshotBad(_)]));
}

#[test]
fn a_bad_snapshot_that_the_log_does_not_lead_to_is_refused() {
    let epoch = |epoch: i64| epoch << 32;
    let refused = |txns: &[i64], bad: i64| {
        let disk = MemoryDisk::new();
        snapshot(&disk, epoch(1) + 1);
        let newest = snapshot(&disk, bad);
        disk.edit(Dir::Snapshots, &newest, |bytes| bytes[50] ^= 1).expect("just written");
        log(&disk, txns);
        matches!(default_run(&disk).1, Err(RecoveryError::LostWithSnapshot { .. }))
    };
    let txns = [epoch(1) + 1, epoch(1) + 2, epoch(3) + 1, epoch(3) + 2];
    assert!(refused(&txns, epoch(2) + 7), "a leader's database, which came between two epochs");
    assert!(refused(&txns, epoch(3) + 9), "and one that came last");
    assert!(!refused(&txns, epoch(1) + 2) && !refused(&txns, epoch(3) + 1), "one of what is in the log");
}

/// Apache writes `snapshot.0` in its place: whoever was killed meanwhile had nothing yet.
#[test]
fn the_first_snapshot_of_all_need_not_be_whole() {
    let disk = MemoryDisk::new();
    disk.put(Dir::Snapshots, "snapshot.0", "ZKSN");
    let (_, recovered) = default_run(&disk);
    let recovered = recovered.expect("a new database");
    assert_eq!((recovered.origin, recovered.last_zxid), (Origin::New, Zxid::ZERO));
    assert!(matches!(recovered.notes.as_slice(), [Note::SnapshotNotWhole(name)] if name == "snapshot.0"));
    log(&disk, &[1]);
    assert!(matches!(default_run(&disk).1, Err(RecoveryError::LogWithoutSnapshot { .. })));
}

#[test]
fn no_good_snapshot_is_refused_even_without_logs() {
    let disk = MemoryDisk::new();
    disk.put(Dir::Snapshots, "snapshot.5", "");
    disk.put(Dir::Snapshots, "snapshot.3.gz", b"\x1f\x8brotten".to_vec());
    let error = default_run(&disk).1.expect_err("nothing to load");
    assert!(matches!(&error, RecoveryError::NoGoodSnapshot { tried } if tried.len() == 2));
    let text = error.to_string();
    assert!(text.contains("snapshot.5: it does not end") && text.contains("snapshot.3.gz"), "{text}");
}

#[test]
fn wrong_order_and_gaps_are_refused() {
    for (zxids, order) in [(&[1, 2, 2][..], true), (&[1, 3], false), (&[2], false)] {
        let disk = MemoryDisk::new();
        snapshot(&disk, 0);
        log(&disk, zxids);
        match default_run(&disk).1 {
            Err(RecoveryError::Log(LogError { fault: LogFault::Order { .. }, .. })) => assert!(order, "{zxids:?}"),
            Err(RecoveryError::Log(LogError { fault: LogFault::Gap { .. }, .. })) => assert!(!order, "{zxids:?}"),
            other => panic!("{zxids:?}: {other:?}"),
        }
    }
}

#[test]
fn a_write_that_apache_could_not_read_has_the_zxid_of_the_txn_before() {
    let disk = MemoryDisk::new();
    snapshot(&disk, 0);
    let mut bytes = Vec::new();
    put_header(&mut bytes);
    bytes.extend(record(1));
    bytes.extend(record_of(1, OpCode::ERROR, Txn::Error(ErrorCode::MARSHALLING)));
    bytes.extend(record(2));
    disk.put(Dir::Logs, &LogFile::new(Zxid(1)).name, bytes);
    let (told, recovered) = default_run(&disk);
    assert_eq!((told.applied, recovered.expect("good").last_zxid), (vec![1, 2], Zxid(2)));
}

#[test]
fn a_gap_below_the_snapshot_is_where_it_was_received() {
    let disk = MemoryDisk::new();
    snapshot(&disk, 7);
    log(&disk, &[1, 2, 8, 9]);
    assert_eq!(default_run(&disk).0.applied, [8, 9]);
}

#[test]
fn a_torn_first_txn_takes_its_file_with_it() {
    let disk = MemoryDisk::new();
    snapshot(&disk, 0);
    log(&disk, &[1, 2]);
    let torn = log(&disk, &[3]);
    disk.edit(Dir::Logs, &torn, |bytes| bytes.truncate(bytes.len() - 1)).expect("just written");
    let (told, recovered) = default_run(&disk);
    assert_eq!((told.applied, recovered.expect("torn").last_zxid), (vec![1, 2], Zxid(2)));
    assert_eq!(disk.names(Dir::Logs).expect("memory"), ["log.1"]);
}

#[test]
fn garbage_behind_the_padding_is_said_and_left_but_txns_there_are_refused() {
    let disk = MemoryDisk::new();
    snapshot(&disk, 0);
    let name = log(&disk, &[1, 2, 3]);
    let length = record(2).len();
    let second = HEADER_LENGTH + length;
    disk.edit(Dir::Logs, &name, |bytes| bytes[second..second + length].fill(0)).expect("just written");
    let refused = default_run(&disk).1.expect_err("txn 3 may have been acknowledged, and so may 2");
    assert!(
        matches!(refused, RecoveryError::Log(LogError { offset, fault: LogFault::Hole, .. }) if offset == second as u64)
    );

    disk.edit(Dir::Logs, &name, |bytes| bytes.truncate(bytes.len() - 1)).expect("still there");
    let before = disk.get(Dir::Logs, &name);
    let (told, recovered) = default_run(&disk);
    assert_eq!(told.applied, [1]);
    assert!(matches!(&recovered.expect("a hole").notes[..], [Note::HoleLeft(tail)] if tail.offset == second as u64));
    assert_eq!(disk.get(Dir::Logs, &name), before);
}

#[test]
fn a_refusal_leaves_the_disk_as_it_is() {
    let disk = MemoryDisk::new();
    snapshot(&disk, 0);
    let torn = log(&disk, &[1, 2, 3]);
    disk.edit(Dir::Logs, &torn, |bytes| bytes.truncate(bytes.len() - 1)).expect("just written");
    disk.put(Dir::Logs, "log.9", "");
    disk.put(Dir::LogRoot, "initialize", "");
    let before = format!("{disk:?}");
    let mut told = Told { refuses: Some(2), ..Told::default() };
    let error = recover(&disk, &RecoveryOptions::default(), &mut told).expect_err("refused by the tree");
    let offset = HEADER_LENGTH + RECORD_OVERHEAD + TxnHeader::LENGTH + 4;
    assert!(error.to_string().starts_with(&format!("cannot apply txn 0x2 at log.1:{offset}: no room")), "{error}");
    assert_eq!(format!("{disk:?}"), before);
}

#[test]
fn a_record_that_is_no_txn_is_refused_despite_its_checksum() {
    let disk = MemoryDisk::new();
    snapshot(&disk, 0);
    let name = log(&disk, &[1]);
    disk.edit(Dir::Logs, &name, |bytes| put_record(bytes, &[0; 3])).expect("just written");
    let fault = |result| match result {
        Err(RecoveryError::Log(error)) => error.fault,
        other => panic!("{other:?}"),
    };
    assert!(matches!(fault(default_run(&disk).1), LogFault::Record(_)));
    let name = log(&disk, &[1]);
    disk.edit(Dir::Logs, &name, |bytes| put_record(bytes, &[&[0; 12][..], &2_i64.to_be_bytes(), &[0; 12]].concat()))
        .expect("there");
    assert!(matches!(fault(default_run(&disk).1), LogFault::Record(_)));
}

#[test]
fn what_is_above_a_database_from_the_leader_is_forgotten_behind_a_gap_and_behind_damage() {
    let plan = |disk: &MemoryDisk, target| {
        let plan = plan_replacement(disk, Zxid(target), RecoveryOptions::default().body_bytes_max).expect("memory");
        (plan.snapshots, plan.logs, plan.cut)
    };
    let disk = MemoryDisk::new();
    let behind =
        |records: &[i64]| (HEADER_LENGTH + records.iter().map(|zxid| record(*zxid).len()).sum::<usize>()) as u64;
    let name = log(&disk, &[1, 2, 7, 8]);
    assert_eq!(plan(&disk, 7), (vec![], vec![], Some((name.clone(), behind(&[1, 2, 7])))));
    assert_eq!(plan(&disk, 5), (vec![], vec![], Some((name.clone(), behind(&[1, 2])))));
    assert_eq!(plan(&disk, 8), (vec![], vec![], None));
    disk.edit(Dir::Logs, &name, |bytes| bytes[HEADER_LENGTH + 40] ^= 1).expect("just written");
    assert_eq!(plan(&disk, 7), (vec![], vec![name], None), "what is good behind it may be above the target");
    let newest = log(&disk, &[9]);
    assert_eq!(plan(&disk, 8).1[0], newest);
}
