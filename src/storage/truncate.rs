//! TRUNC: forgetting the txns that the ensemble did not keep (storage.md 6).
//!
//! Apache keeps newer snapshots, and cuts behind the first txn *at or above* the target, so that a txn may survive
//! that was never committed. Here nothing above the target survives, wherever its effects are; and a crash between
//! any two steps leaves a database from which another TRUNC, to the same target, works.

use std::io;

use super::disk::{Dir, Disk};
use super::log_files::{LogWalk, files_to_replay, list_logs};
use super::snapshot::{Trailer, read_snapshot};
use super::snapshot_body::SnapshotSink;
use super::snapshot_files::{SnapshotFile, list_snapshots};
use super::txn_log::{HEADER_LENGTH, LogError, LogFault};
use crate::ids::{SessionId, Zxid};
use crate::proto::AclBytes;
use crate::tree::StoredStat;

/// What a TRUNC has to do, in this order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Truncation {
    /// Snapshots to remove, newest first: they are above the target, or may hold effects of txns above it.
    pub snapshots: Vec<String>,
    /// Logs to remove, newest first.
    pub logs: Vec<String>,
    /// The log to cut, and its new size in bytes.
    pub cut: Option<(String, u64)>,
}

impl Truncation {
    /// Nothing of this log is kept from `offset` on.
    fn end_at(&mut self, file: String, offset: u64) {
        if offset <= HEADER_LENGTH as u64 {
            self.logs.push(file);
        } else {
            self.cut = Some((file, offset));
        }
    }
}

/// Plans a TRUNC to `target`. Changes nothing.
///
/// `None`: this server cannot get to exactly that state with what it has, and must ask for SNAP.
///
/// # Errors
/// Those of the disk.
pub fn plan_truncation(disk: &dyn Disk, target: Zxid, body_bytes_max: usize) -> io::Result<Option<Truncation>> {
    let Some((base, snapshots)) = split_snapshots(disk, target)? else { return Ok(None) };
    let Some(end) = find_end(disk, base, target, body_bytes_max)? else { return Ok(None) };
    let mut plan = Truncation { snapshots, ..Truncation::default() };
    if let Some((file, offset)) = end {
        let mut newest_first = list_logs(disk)?;
        newest_first.reverse();
        let newer = newest_first.iter().take_while(|log| log.name != file).map(|log| log.name.clone());
        plan.logs = newer.collect();
        plan.end_at(file, offset);
    }
    Ok(Some(plan))
}

/// Plans to forget everything above `target`, where a whole snapshot stands that holds the leader's database. Changes
/// nothing. Carried out up to any step, what is left is the old database, or a beginning of it, or the leader's.
///
/// # Errors
/// Those of the disk.
pub fn plan_replacement(disk: &dyn Disk, target: Zxid, body_bytes_max: usize) -> io::Result<Truncation> {
    let snapshots = list_snapshots(disk)?.into_iter().filter(|file| file.zxid > target).map(|file| file.name).collect();
    let mut plan = Truncation { snapshots, ..Truncation::default() };
    let mut logs = list_logs(disk)?;
    while let Some(last) = logs.pop() {
        if last.zxid > target {
            plan.logs.push(last.name);
            continue;
        }
        let files = [last];
        let mut walk = LogWalk::new(disk, &files, target, body_bytes_max);
        match walk.advance() {
            Ok(None) => {}
            Ok(Some(_)) => plan.end_at(walk.file().to_owned(), walk.offset()),
            Err(LogError { fault: LogFault::Io(error), .. }) => return Err(error),
            // A gap before the first txn above the target, or damage: the snapshot has what stands before the target.
            Err(LogError { file, offset, .. }) => plan.end_at(file, offset),
        }
        break;
    }
    Ok(plan)
}

/// Carries a plan out. The log writer must be stopped before; recover and start another afterwards.
///
/// # Errors
/// Those of the disk.
pub fn carry_out(disk: &dyn Disk, plan: &Truncation) -> io::Result<()> {
    for name in &plan.snapshots {
        disk.remove(Dir::Snapshots, name)?;
    }
    disk.sync_dir(Dir::Snapshots)?;
    for name in &plan.logs {
        disk.remove(Dir::Logs, name)?;
        // Each one for itself: a file must not be gone while a newer one is still there.
        disk.sync_dir(Dir::Logs)?;
    }
    match &plan.cut {
        Some((name, size)) => disk.truncate(Dir::Logs, name, *size),
        None => Ok(()),
    }
}

/// The newest good snapshot without effects of txns above `target`, and the names of those that have some. Older ones ended
/// before that one began, and are not read.
fn split_snapshots(disk: &dyn Disk, target: Zxid) -> io::Result<Option<(Zxid, Vec<String>)>> {
    let mut too_new = Vec::new();
    for file in list_snapshots(disk)? {
        if file.zxid > target {
            too_new.push(file.name);
            continue;
        }
        match read_trailer(disk, &file)? {
            Some(trailer) if trailer.end_zxid().is_some_and(|end| end > target) => too_new.push(file.name),
            Some(_) => return Ok(Some((file.zxid, too_new))),
            None => {}
        }
    }
    Ok(None)
}

/// `None` when the snapshot is bad, or was purged meanwhile.
fn read_trailer(disk: &dyn Disk, file: &SnapshotFile) -> io::Result<Option<Trailer>> {
    let source = match disk.open(Dir::Snapshots, &file.name, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        source => source?,
    };
    Ok(read_snapshot(source, file.compression, &file.name, &mut Nobody).ok())
}

type End = Option<(String, u64)>;

/// Where the log has to end: at the first txn above `target`, or nowhere (`Some(None)`).
///
/// `None` when the log does not lead from `base` to `target`.
fn find_end(disk: &dyn Disk, base: Zxid, target: Zxid, body_bytes_max: usize) -> io::Result<Option<End>> {
    let (files, _) = files_to_replay(disk, base)?;
    let mut walk = LogWalk::new(disk, &files, base, body_bytes_max);
    let mut last = base;
    let end = loop {
        match walk.advance() {
            Ok(None) => break None,
            Ok(Some(zxid)) if zxid > target => break Some((walk.file().to_owned(), walk.offset())),
            Ok(Some(zxid)) => last = zxid,
            Err(LogError { fault: LogFault::Io(error), .. }) => return Err(error),
            // Damage behind the target goes away with what stands there.
            Err(LogError { file, offset, .. }) => break Some((file, offset)),
        }
    };
    Ok((last == target).then_some(end))
}

/// Reads a snapshot for its seals and trailer only.
struct Nobody;

impl SnapshotSink for Nobody {
    fn session(&mut self, _: SessionId, _: i32) {}

    fn acl(&mut self, _: i64, _: AclBytes<'_>) {}

    fn node(&mut self, _: &str, _: Option<&[u8]>, _: i64, _: &StoredStat) -> Result<(), String> {
        Ok(())
    }
}
