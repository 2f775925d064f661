//! The log writer on real files, and on a directory that fails as it is told.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::disk::log_segment::LogOut;
use crate::disk::{Directories, RealDisk};
use crate::ids::SessionId;
use crate::proto::{AclBytes, ErrorCode, OpCode};
use crate::storage::compression::Compression;
use crate::storage::recovery::{Note, RecoveryOptions, Restore, recover};
use crate::storage::snapshot::Trailer;
use crate::storage::snapshot_body::{SnapshotSink, put_count, put_terminator};
use crate::storage::snapshot_files::{SnapshotFile, write_snapshot};
use crate::storage::txn_log::{BODY_BYTES_MAX_DEFAULT, HEADER_LENGTH, LogReader, RECORD_OVERHEAD, Step};
use crate::storage::{Dir, Disk};
use crate::tree::StoredStat;
use crate::txn::{Entry, Txn, TxnHeader};

const BODY_LENGTH: usize = TxnHeader::LENGTH + 4;
const RECORD_LENGTH: usize = BODY_LENGTH + RECORD_OVERHEAD;

fn txn(zxid: i64) -> (Zxid, Bytes) {
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: Zxid(zxid), time_ms: 1, op: OpCode::ERROR };
    let mut body = Vec::new();
    Entry { header, txn: Txn::Error(ErrorCode::NO_NODE), digest: None }.encode(&mut body);
    (Zxid(zxid), body.into())
}

fn small() -> LogOptions {
    LogOptions { prealloc_bytes: 64 << 10, ..LogOptions::default() }
}

type Reports = Receiver<LogReport>;

fn reporter() -> (Box<dyn Fn(LogReport) + Send>, Reports) {
    let (sender, reports) = channel();
    // A test that has seen enough drops its end.
    (Box::new(move |report| drop(sender.send(report))), reports)
}

fn start(dir: &Path, options: LogOptions) -> (LogWriter, Reports) {
    let (report, reports) = reporter();
    (LogWriter::start(dir.to_owned(), options, report).expect("a thread"), reports)
}

fn start_faulty(fault: &Faulty, options: LogOptions) -> (LogWriter, Reports) {
    start_impatient(fault, options, Duration::from_secs(60))
}

fn start_impatient(fault: &Faulty, options: LogOptions, farewell: Duration) -> (LogWriter, Reports) {
    let (report, reports) = reporter();
    let patience = Patience { full_retry: Duration::from_millis(1), farewell };
    (LogWriter::start_in(Box::new(fault.clone()), options, patience, report).expect("a thread"), reports)
}

/// Waits until `zxid` is durable; everything said before comes back.
fn until_durable(reports: &Reports, zxid: i64) -> Vec<LogReport> {
    let mut before = Vec::new();
    loop {
        match reports.recv().expect("the writer is alive") {
            LogReport::Durable { durable, .. } if durable.zxid() == Zxid(zxid) => return before,
            other => before.push(other),
        }
    }
}

fn zxids(bytes: &[u8]) -> Vec<i64> {
    let mut reader = LogReader::open(bytes, "log", BODY_BYTES_MAX_DEFAULT).expect("a header");
    let mut zxids = Vec::new();
    loop {
        match reader.advance().expect("no bad record") {
            Step::Record => zxids.push(reader.zxid().expect("a txn").0),
            Step::End => return zxids,
            Step::Torn => panic!("torn behind {zxids:?}"),
        }
    }
}

/// Counts what is replayed.
#[derive(Default)]
struct Count(Vec<i64>);

impl SnapshotSink for Count {
    fn session(&mut self, _: SessionId, _: i32) {}

    fn acl(&mut self, _: i64, _: AclBytes<'_>) {}

    fn node(&mut self, _: &str, _: Option<&[u8]>, _: i64, _: &StoredStat) -> Result<(), String> {
        Ok(())
    }
}

impl Restore for Count {
    fn reset(&mut self) {}

    fn snapshot_loaded(&mut self, _: Zxid, _: &Trailer) {}

    fn apply(&mut self, entry: &Entry<'_>, _: &[u8]) -> Result<(), String> {
        self.0.push(entry.header.zxid.0);
        Ok(())
    }
}

/// A new database with an empty snapshot.
fn database(root: &Path) -> RealDisk {
    let directories = Directories { data_dir: root.to_owned(), data_log_dir: root.to_owned(), autocreate: true };
    let disk = RealDisk::open(&directories).expect("free");
    let written = write_snapshot(&disk, &SnapshotFile::new(Zxid::ZERO, Compression::Plain), &mut |writer| {
        let mut body = Vec::new();
        put_count(&mut body, 0);
        put_count(&mut body, 0);
        put_terminator(&mut body);
        writer.write_body(&body)?;
        Ok(Trailer::default())
    });
    written.expect("writes");
    disk
}

fn logs(disk: &RealDisk) -> Vec<String> {
    let mut names = disk.names(Dir::Logs).expect("lists");
    names.retain(|name| name.starts_with("log.") || name.starts_with("tmp."));
    names.sort();
    names
}

#[test]
fn a_file_has_the_name_of_its_first_txn_and_apaches_size() {
    let root = tempfile::tempdir().expect("a directory");
    let disk = database(root.path());
    let (writer, reports) = start(disk.log_dir(), small());
    writer.append(vec![txn(1), txn(2)]).expect("room");
    writer.append(vec![txn(3)]).expect("room");
    until_durable(&reports, 3);
    assert_eq!(logs(&disk), ["log.1"]);
    assert_eq!(disk.size(Dir::Logs, "log.1").expect("there"), 65_552);
    for zxid in 4..=1300 {
        writer.append(vec![txn(zxid)]).expect("room");
    }
    until_durable(&reports, 1300);
    let end = HEADER_LENGTH + 1299 * RECORD_LENGTH;
    assert!((61_456..65_552 + 61_440).contains(&end), "grown once");
    assert_eq!(disk.size(Dir::Logs, "log.1").expect("there"), 65_552 + 65_536);
    writer.stop();
    assert_eq!(disk.size(Dir::Logs, "log.1").expect("there"), (HEADER_LENGTH + 1300 * RECORD_LENGTH) as u64);
    let bytes = std::fs::read(disk.log_dir().join("log.1")).expect("reads");
    assert_eq!(zxids(&bytes), (1..=1300).collect::<Vec<_>>());
}

#[test]
fn a_roll_and_a_restart_begin_new_files_and_recovery_reads_them_all() {
    let root = tempfile::tempdir().expect("a directory");
    let disk = database(root.path());
    let (writer, reports) = start(disk.log_dir(), small());
    writer.append(vec![txn(1), txn(2)]).expect("room");
    writer.roll().expect("room");
    writer.roll().expect("room");
    assert_eq!(until_durable(&reports, 2), []);
    writer.append(vec![txn(3)]).expect("room");
    writer.stop();
    let (writer, _reports) = start(disk.log_dir(), small());
    writer.append(vec![txn(4)]).expect("room");
    writer.stop();
    assert_eq!(logs(&disk), ["log.1", "log.3", "log.4"]);
    let mut count = Count::default();
    let recovered = recover(&disk, &RecoveryOptions::default(), &mut count).expect("good");
    assert_eq!((recovered.last_zxid, count.0), (Zxid(4), vec![1, 2, 3, 4]));
    assert!(recovered.notes.is_empty());
}

#[test]
fn a_torn_tail_is_cut_and_writing_goes_on_in_a_new_file() {
    let root = tempfile::tempdir().expect("a directory");
    let disk = database(root.path());
    let (writer, _reports) = start(disk.log_dir(), small());
    writer.append(vec![txn(1), txn(2), txn(3)]).expect("room");
    writer.stop();
    let torn = (HEADER_LENGTH + 3 * RECORD_LENGTH - 7) as u64;
    disk.truncate(Dir::Logs, "log.1", torn).expect("cuts");
    let recovered = recover(&disk, &RecoveryOptions::default(), &mut Count::default()).expect("a crash's mark");
    assert_eq!(recovered.last_zxid, Zxid(2));
    assert!(matches!(&recovered.notes[..], [Note::TailCut(_)]));
    assert_eq!(disk.size(Dir::Logs, "log.1").expect("there"), (HEADER_LENGTH + 2 * RECORD_LENGTH) as u64);

    let (writer, _reports) = start(disk.log_dir(), small());
    writer.append(vec![txn(3)]).expect("room");
    writer.stop();
    let mut count = Count::default();
    recover(&disk, &RecoveryOptions::default(), &mut count).expect("good");
    assert_eq!((logs(&disk), count.0), (vec!["log.1".to_owned(), "log.3".to_owned()], vec![1, 2, 3]));
}

#[test]
fn nothing_appended_leaves_nothing_behind() {
    let root = tempfile::tempdir().expect("a directory");
    let disk = database(root.path());
    let (writer, reports) = start(disk.log_dir(), small());
    writer.append(vec![]).expect("room");
    writer.roll().expect("room");
    writer.stop();
    assert!(reports.recv().is_err());
    assert_eq!(logs(&disk), [""; 0]);
}

#[test]
fn a_file_above_the_limit_is_said_once() {
    let root = tempfile::tempdir().expect("a directory");
    let disk = database(root.path());
    let (writer, reports) = start(disk.log_dir(), LogOptions { size_limit_bytes: Some(60_000), ..small() });
    let limits = |reports: Vec<LogReport>| reports.iter().filter(|r| matches!(r, LogReport::SizeLimit(65_552))).count();
    writer.append(vec![txn(1)]).expect("room");
    until_durable(&reports, 1);
    writer.append(vec![txn(2)]).expect("room");
    assert_eq!(limits(until_durable(&reports, 2)), 1);
    writer.append(vec![txn(3)]).expect("room");
    assert_eq!(limits(until_durable(&reports, 3)), 0);
    writer.roll().expect("room");
    writer.append(vec![txn(4)]).expect("room");
    until_durable(&reports, 4);
    writer.stop();
    assert_eq!(limits(reports.iter().collect()), 1);
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_flush_is_put_off_while_txns_may_come() {
    let root = tempfile::tempdir().expect("a directory");
    let flush = FlushRules { delay: LONG, poll: LONG, txns_max: Some(3) };
    let (writer, reports) = start(database(root.path()).log_dir(), LogOptions { flush, ..small() });
    for zxid in 1..=3 {
        writer.append(vec![txn(zxid)]).expect("room");
    }
    assert!(matches!(reports.recv(), Ok(LogReport::Durable { txns: 3, .. })), "none is durable before the third one");
    writer.stop();
}

#[test]
fn a_flush_is_not_put_off_when_nothing_comes() {
    let root = tempfile::tempdir().expect("a directory");
    let flush = FlushRules { delay: LONG, poll: Duration::ZERO, txns_max: Some(3) };
    let (writer, reports) = start(database(root.path()).log_dir(), LogOptions { flush, ..small() });
    writer.append(vec![txn(1)]).expect("room");
    assert!(matches!(reports.recv(), Ok(LogReport::Durable { txns: 1, .. })));
    writer.stop();
}

#[test]
fn a_flush_is_put_off_no_longer_than_the_delay() {
    let root = tempfile::tempdir().expect("a directory");
    let flush = FlushRules { delay: Duration::from_millis(50), poll: LONG, txns_max: None };
    let (writer, reports) = start(database(root.path()).log_dir(), LogOptions { flush, ..small() });
    let began = Instant::now();
    for zxid in 1..=2 {
        writer.append(vec![txn(zxid)]).expect("room");
        until_durable(&reports, zxid);
    }
    assert!(began.elapsed() >= flush.delay, "the second one came right behind a flush, and waited");
    writer.stop();
}

#[test]
fn a_batch_is_no_larger_than_asked_for() {
    let faulty = Faulty::default();
    faulty.state().space = Some(0);
    let flush = FlushRules { txns_max: Some(2), ..LogOptions::default().flush };
    let (writer, reports) = start_faulty(&faulty, LogOptions { flush, ..small() });
    writer.append(vec![txn(1)]).expect("room");
    assert!(matches!(reports.recv(), Ok(LogReport::Full(_))));
    // While the first one waits for space, four gather behind it.
    (2..=5).for_each(|zxid| writer.append(vec![txn(zxid)]).expect("room"));
    faulty.state().space = None;
    writer.stop();
    let size = |report| if let LogReport::Durable { txns, .. } = report { Some(txns) } else { None };
    let sizes: Vec<_> = reports.iter().filter_map(size).collect();
    assert!(sizes.iter().sum::<usize>() == 5 && sizes.iter().all(|size| *size <= 2), "{sizes:?}");
}

/// A directory in memory that runs out of space, writes in pieces, or does not flush.
#[derive(Clone, Default)]
struct Faulty(Arc<Mutex<Disaster>>);

#[derive(Default)]
struct Disaster {
    files: BTreeMap<String, Vec<u8>>,
    did: Vec<&'static str>,
    /// Bytes that may still be written; `None`: any.
    space: Option<usize>,
    sync_fails: bool,
    write_fails: bool,
}

impl Faulty {
    fn state(&self) -> MutexGuard<'_, Disaster> {
        self.0.lock().expect("no test panics with it")
    }
}

struct FaultyOut(Faulty, String);

impl FaultyOut {
    fn file<T>(&self, what: &'static str, act: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut state = self.0.state();
        state.did.push(what);
        // Renamed or not, there is one file in these tests.
        let name = state.files.keys().find(|name| name.ends_with(&self.1)).cloned().expect("created");
        act(state.files.get_mut(&name).expect("found"))
    }
}

impl LogDir for Faulty {
    fn create(&mut self, name: &str) -> io::Result<Box<dyn LogOut>> {
        let mut state = self.state();
        state.did.push("create");
        if state.space == Some(0) {
            return Err(ErrorKind::StorageFull.into());
        }
        state.files.insert(name.to_owned(), Vec::new());
        Ok(Box::new(FaultyOut(self.clone(), name.trim_start_matches("tmp.").to_owned())))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.did.push("rename");
        let bytes = state.files.remove(from).ok_or(ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.state().did.push("sync dir");
        Ok(())
    }
}

impl LogOut for FaultyOut {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let state = self.0.state();
        let (space, fails) = (state.space, state.write_fails);
        drop(state);
        if fails {
            return Err(io::Error::other("no such device"));
        }
        let count = bytes.len().min(space.unwrap_or(usize::MAX));
        if count == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.file("write", |file| {
            let offset = offset as usize;
            file.resize(file.len().max(offset + count), 0);
            file[offset..offset + count].copy_from_slice(&bytes[..count]);
        });
        self.0.state().space = space.map(|space| space - count);
        Ok(count)
    }

    fn allocate(&mut self, _: u64, to: u64) -> io::Result<()> {
        self.file("allocate", |file| file.resize(to as usize, 0));
        Ok(())
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.file("truncate", |file| file.truncate(size as usize));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let fails = self.0.state().sync_fails;
        self.file("sync", |_| ());
        if fails { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }
}

#[test]
fn a_new_file_gets_its_name_only_when_its_first_batch_is_flushed() {
    let faulty = Faulty::default();
    let (writer, reports) = start_faulty(&faulty, small());
    writer.append(vec![txn(1), txn(2)]).expect("room");
    until_durable(&reports, 2);
    writer.append(vec![txn(3)]).expect("room");
    until_durable(&reports, 3);
    writer.stop();
    let did = ["create", "allocate", "write", "sync", "rename", "sync dir", "write", "sync", "truncate", "sync"];
    assert_eq!(faulty.state().did, did);
}

#[test]
fn txns_that_wait_are_written_and_flushed_together() {
    let faulty = Faulty::default();
    let (writer, reports) = start_faulty(&faulty, small());
    let held = faulty.state();
    for zxid in 1..=500 {
        writer.append(vec![txn(zxid)]).expect("room");
    }
    drop(held);
    // The first batch is what had come before the writer met the lock.
    assert!(until_durable(&reports, 500).len() <= 1);
    writer.stop();
}

#[test]
fn without_force_sync_nothing_is_flushed() {
    let faulty = Faulty::default();
    let (writer, reports) = start_faulty(&faulty, LogOptions { force_sync: false, ..small() });
    writer.append(vec![txn(1)]).expect("room");
    until_durable(&reports, 1);
    writer.stop();
    assert_eq!(faulty.state().did, ["create", "allocate", "write", "rename", "truncate"]);
}

#[test]
fn a_full_disk_is_waited_out_and_no_half_record_stays() {
    // No room for the file, for all of the first batch, for all of a later one.
    for (space, first) in [(0, true), (40, true), (40, false)] {
        let faulty = Faulty::default();
        let (writer, reports) = start_faulty(&faulty, small());
        let mut expected = vec![1, 2];
        if !first {
            writer.append(vec![txn(1), txn(2)]).expect("room");
            until_durable(&reports, 2);
            expected = vec![1, 2, 3, 4];
        }
        faulty.state().space = Some(space);
        let last = expected[expected.len() - 1];
        writer.append(vec![txn(last - 1), txn(last)]).expect("room");
        assert!(matches!(reports.recv(), Ok(LogReport::Full(_))));
        faulty.state().space = None;
        assert_eq!(until_durable(&reports, last), [LogReport::SpaceAgain], "full is said once");
        {
            let state = faulty.state();
            assert_eq!(zxids(&state.files["log.1"]), expected, "{space} {first}");
            assert_eq!(state.did.contains(&"truncate"), space > 0);
            // What was cut off together with the half record is allocated again, from there.
            let cut_at = HEADER_LENGTH + if first { 0 } else { 2 * RECORD_LENGTH };
            let size = if space > 0 { cut_at + 65_536 } else { 65_552 };
            assert_eq!(state.files["log.1"].len(), size);
        }
        writer.stop();
    }
}

#[test]
fn a_writer_on_a_full_disk_can_be_stopped() {
    let faulty = Faulty::default();
    faulty.state().space = Some(0);
    let (writer, reports) = start_faulty(&faulty, small());
    writer.append(vec![txn(1)]).expect("room");
    assert!(matches!(reports.recv(), Ok(LogReport::Full(_))));
    writer.stop();
    assert!(matches!(reports.recv(), Ok(LogReport::Failed(text)) if text.contains("1 txns were not written")));
    assert!(reports.recv().is_err());
}

#[test]
fn a_failed_flush_or_write_is_final() {
    for sync in [true, false] {
        let faulty = Faulty::default();
        let (writer, reports) = start_faulty(&faulty, small());
        writer.append(vec![txn(1)]).expect("room");
        until_durable(&reports, 1);
        faulty.state().sync_fails = sync;
        faulty.state().write_fails = !sync;
        writer.append(vec![txn(2)]).expect("room");
        let text = match reports.recv() {
            Ok(LogReport::Failed(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text.starts_with("cannot flush log.1: input/output error"), sync, "{text}");
        // The thread's end of the reports goes with it, and then its queue.
        assert!(reports.recv().is_err());
        let syncs = faulty.state().did.iter().filter(|did| **did == "sync").count();
        assert_eq!(syncs, if sync { 2 } else { 1 }, "no flush behind a failed one");
        writer.stop();
    }
}

#[test]
fn a_writer_that_has_failed_takes_nothing_more() {
    let faulty = Faulty::default();
    faulty.state().write_fails = true;
    let (writer, _reports) = start_faulty(&faulty, small());
    let mut zxid = 1;
    // It takes some until it has come to failing.
    while writer.append(vec![txn(zxid)]).is_ok() {
        zxid += 1;
        thread::yield_now();
    }
    assert_eq!(writer.roll(), Err(Stopped));
}

#[test]
fn a_disk_that_hangs_holds_nobody_up_who_appends() {
    let faulty = Faulty::default();
    let (writer, reports) = start_faulty(&faulty, small());
    let held = faulty.state();
    let txns: Vec<_> = (1..=20_000).map(txn).collect();
    let bytes: usize = txns.iter().map(|(_, body)| body.len()).sum();
    for txn in txns {
        writer.append(vec![txn]).expect("takes it");
    }
    assert_eq!(writer.waiting_bytes(), bytes);
    drop(held);
    until_durable(&reports, 20_000);
    assert_eq!(writer.waiting_bytes(), 0);
    writer.stop();
}

#[test]
fn a_disk_that_does_not_answer_keeps_nobody_at_the_end() {
    let fault = Faulty::default();
    let (log, reports) = start_impatient(&fault, small(), Duration::from_millis(5));
    log.append(vec![txn(1)]).expect("the writer is alive");
    until_durable(&reports, 1);
    let hangs = fault.state();
    log.append(vec![txn(2)]).expect("the writer is alive");
    log.stop();
    drop(hangs);
    until_durable(&reports, 2);
}
