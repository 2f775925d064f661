//! How fast storage is on this machine. `cargo run --release --example storage_speed [DIRECTORY]`
//!
//! Makes a log of a million txns and a snapshot of a million znodes in a temporary directory (or the given one, to
//! measure a certain disk), and prints what reading, checking and writing them takes. Files are read from the page
//! cache; the log writer flushes for real.

#![allow(clippy::print_stdout, reason = "it is there to print")]

use std::fs;
use std::io::Read;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zkd::disk::{Directories, LogOptions, LogReport, LogWriter, RealDisk};
use zkd::ids::{SessionId, Zxid};
use zkd::proto::{AclBytes, OPEN_ACL, OpCode};
use zkd::storage::compression::Compression;
use zkd::storage::log_files::{LogWalk, list_logs};
use zkd::storage::snapshot::{Trailer, read_snapshot};
use zkd::storage::snapshot_body::{SnapshotSink, put_acl, put_count, put_node, put_terminator};
use zkd::storage::snapshot_files::{SnapshotFile, write_snapshot};
use zkd::storage::txn_log::{BODY_BYTES_MAX_DEFAULT, LogReader, Step, put_header, put_record};
use zkd::storage::{Dir, Disk};
use zkd::tree::StoredStat;
use zkd::txn::{Entry, SetDataTxn, Txn, TxnDigest, TxnHeader};

const COUNT: i64 = 1_000_000;

fn main() -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let root = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), Into::into);
    let directories = Directories { data_dir: root.clone(), data_log_dir: root, autocreate: true };
    let disk = RealDisk::open(&directories)?;
    log_reading(&disk)?;
    for compression in [Compression::Plain, Compression::Snappy, Compression::Gz] {
        snapshot(&disk, compression)?;
    }
    for (in_flight, count) in [(1, 500), (64, 20_000), (1000, 200_000)] {
        log_writing(&disk, in_flight, count)?;
    }
    Ok(())
}

fn body(zxid: i64) -> Vec<u8> {
    let header = TxnHeader {
        session: SessionId(1),
        cxid: 1,
        zxid: Zxid(zxid),
        time_ms: 1_700_000_000_000,
        op: OpCode::SET_DATA,
    };
    let data = [7; 100];
    let txn = Txn::SetData(SetDataTxn { path: "/bench/some/znode".into(), data: Some(&data), version: 3 });
    let mut out = Vec::new();
    Entry { header, txn, digest: Some(TxnDigest::new(5)) }.encode(&mut out);
    out
}

fn say(what: &str, took: Duration, count: u64, bytes: u64) {
    let seconds = took.as_secs_f64();
    let (rate, megabytes) = (count as f64 / seconds, bytes as f64 / 1e6);
    println!("{what:42} {:8.1} ms {rate:12.0}/s {:8.0} MB/s", seconds * 1e3, megabytes / seconds);
}

fn log_reading(disk: &RealDisk) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    put_header(&mut bytes);
    (1..=COUNT).for_each(|zxid| put_record(&mut bytes, &body(zxid)));
    let size = bytes.len() as u64;
    disk.replace(Dir::Logs, "log.1", &mut |out| out.write_all(&bytes))?;
    drop(bytes);

    let started = Instant::now();
    let mut reader = LogReader::open(disk.open(Dir::Logs, "log.1", 0)?, "log.1", BODY_BYTES_MAX_DEFAULT)?;
    while reader.advance()? == Step::Record {}
    say("log: read and check 1M records", started.elapsed(), COUNT as u64, size);

    let started = Instant::now();
    let files = list_logs(disk)?;
    let mut walk = LogWalk::new(disk, &files, Zxid::ZERO, BODY_BYTES_MAX_DEFAULT);
    while walk.advance()?.is_some() {
        std::hint::black_box(Entry::decode(walk.body())?);
    }
    say("log: the same, in order, and decode", started.elapsed(), COUNT as u64, size);
    disk.remove(Dir::Logs, "log.1")?;
    Ok(())
}

struct Count(u64);

impl SnapshotSink for Count {
    fn session(&mut self, _: SessionId, _: i32) {}

    fn acl(&mut self, _: i64, _: AclBytes<'_>) {}

    fn node(&mut self, path: &str, _: Option<&[u8]>, _: i64, stat: &StoredStat) -> Result<(), String> {
        self.0 += path.len() as u64 + u64::from(stat.version == 3);
        Ok(())
    }
}

fn snapshot(disk: &RealDisk, compression: Compression) -> anyhow::Result<()> {
    let mut body = Vec::new();
    put_count(&mut body, 0);
    put_count(&mut body, 1);
    put_acl(&mut body, 1, OPEN_ACL);
    let stat = StoredStat { mzxid: 1 << 32, ctime: 1_700_000_000_000, version: 3, ..StoredStat::default() };
    put_node(&mut body, "", None, 1, &StoredStat::default());
    for i in 0..COUNT {
        put_node(&mut body, &format!("/bench/some/znode-{i:010}"), Some(&[i as u8; 100]), 1, &stat);
    }
    put_terminator(&mut body);
    let file = SnapshotFile::new(Zxid(1), compression);

    let started = Instant::now();
    let on_disk = write_snapshot(disk, &file, &mut |writer| {
        body.chunks(1 << 20).try_for_each(|piece| writer.write_body(piece))?;
        Ok(Trailer::default())
    })?;
    say(&format!("{}: write 1M znodes, flushed", file.name), started.elapsed(), COUNT as u64, body.len() as u64);

    if compression == Compression::Plain {
        let started = Instant::now();
        let (mut source, mut piece) = (disk.open(Dir::Snapshots, &file.name, 0)?, vec![0; 256 << 10]);
        let mut sum = simd_adler32::Adler32::new();
        loop {
            match source.read(&mut piece)? {
                0 => break,
                count => sum.write(&piece[..count]),
            }
        }
        std::hint::black_box(sum.finish());
        say(&format!("{}: read and sum up only", file.name), started.elapsed(), COUNT as u64, on_disk);
    }

    let started = Instant::now();
    let mut sink = Count(0);
    let source = disk.open(Dir::Snapshots, &file.name, 0)?;
    std::hint::black_box(read_snapshot(source, compression, &file.name, &mut sink)?);
    std::hint::black_box(sink.0);
    say(&format!("{}: load, without a tree", file.name), started.elapsed(), COUNT as u64, body.len() as u64);
    disk.remove(Dir::Snapshots, &file.name)?;
    Ok(())
}

/// Keeps `in_flight` txns on their way to the disk until `count` are durable.
fn log_writing(disk: &RealDisk, in_flight: i64, count: i64) -> anyhow::Result<()> {
    let (sender, reports) = channel();
    let report = Box::new(move |report| drop(sender.send(report)));
    let writer = LogWriter::start(disk.log_dir().to_owned(), LogOptions::default(), report)?;
    let bodies: Vec<Bytes> = (1..=count).map(|zxid| body(zxid).into()).collect();
    let bytes = bodies.iter().map(|body| body.len() as u64).sum();
    let started = Instant::now();
    let (mut sent, mut durable_zxid) = (0, 0);
    while durable_zxid < count {
        while sent < count && sent < durable_zxid + in_flight {
            let txn = (Zxid(sent + 1), bodies[usize::try_from(sent)?].clone());
            writer.append(vec![txn])?;
            sent += 1;
        }
        if let LogReport::Durable { durable, .. } = reports.recv()? {
            durable_zxid = durable.zxid().0;
        }
    }
    say(&format!("log writer: {in_flight} txns in flight, flushed"), started.elapsed(), count.cast_unsigned(), bytes);
    writer.stop();
    fs::remove_file(disk.log_dir().join("log.1"))?;
    Ok(())
}
