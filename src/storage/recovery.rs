//! Coming back: the newest good snapshot, then every txn of the log above it (storage.md 7).
//!
//! Nothing on disk is changed before everything has been read and found good. Then the marks of a crash are cleared
//! away: a torn end is cut, a blank file removed. What is damaged in a way that no crash leaves is refused, with
//! advice, and stays as it is.

use std::fmt;
use std::io;

use super::compression::Compression;
use super::disk::{Dir, Disk};
use super::durable::Durable;
use super::log_files::{LogFile, LogWalk, Tail, TailKind, files_to_replay, list_logs};
use super::snapshot::{SnapshotError, Trailer, read_snapshot};
use super::snapshot_body::SnapshotSink;
use super::snapshot_files::{SnapshotFile, list_snapshots, looks_whole};
use super::txn_log::{BODY_BYTES_MAX_DEFAULT, HEADER_LENGTH, LogError, LogFault};
use crate::ids::Zxid;
use crate::txn::Entry;

/// Who takes the database back in.
pub trait Restore: SnapshotSink {
    /// Back to an empty database: the built-in znodes and no session. Called first, and again when a snapshot turned
    /// out bad half-way.
    fn reset(&mut self);

    /// The snapshot taken at `zxid` was good to its end.
    fn snapshot_loaded(&mut self, zxid: Zxid, trailer: &Trailer);

    /// Applies one txn, by the rules for replay (storage.md 5). `body` is the entry as it stands in the log.
    ///
    /// # Errors
    /// Why it cannot be: then the server must not start.
    fn apply(&mut self, entry: &Entry<'_>, body: &[u8]) -> Result<(), String>;
}

/// The settings that recovery knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryOptions {
    /// `zookeeper.db.autocreate`: an empty directory is an empty database, not a lost one.
    pub autocreate: bool,
    /// `zookeeper.snapshot.trust.empty`: logs without any snapshot are replayed from the empty tree.
    pub trust_empty_snapshot: bool,
    /// The longest txn, in bytes: jute.maxbuffer and its extra size.
    pub body_bytes_max: usize,
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        Self { autocreate: true, trust_empty_snapshot: false, body_bytes_max: BODY_BYTES_MAX_DEFAULT }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Recovered {
    /// The last txn of the snapshot or the log, committed or not: for votes and FOLLOWERINFO. -1 for
    /// [`Origin::Lost`].
    pub last_zxid: Zxid,
    /// The proof that all of it is on stable storage: the files that were read have been flushed once more.
    pub durable: Durable,
    /// What the txns were replayed upon.
    pub origin: Origin,
    /// How many txns were replayed.
    pub replayed: u64,
    /// What an operator should know.
    pub notes: Vec<Note>,
}

/// See [`Recovered::origin`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A snapshot.
    Snapshot(SnapshotFile, Trailer),
    /// A new database: write `snapshot.0` now, and then call [`consume_marker`].
    New,
    /// An empty directory that may have held a database once: do not vote, join an existing leader only.
    Lost,
    /// Logs alone, trusted by setting: write a snapshot after the election, even after DIFF.
    TrustedLogs,
}

/// Something that an operator should know.
#[derive(Debug)]
pub enum Note {
    /// A snapshot that does not even end as one.
    SnapshotNotWhole(String),
    /// A snapshot that turned out bad; an older one was taken instead.
    SnapshotBad(SnapshotError),
    /// A log without any content, removed.
    BlankLogRemoved(String),
    /// A torn end or a bad last record, cut off.
    TailCut(Tail),
    /// Something stands behind the padding; it was left and is not read.
    HoleLeft(Tail),
    /// There was an `initialize` marker.
    MarkerFound,
    /// See [`Origin::Lost`].
    NotVoting,
    /// See [`Origin::TrustedLogs`].
    EmptySnapshotTrusted,
}

impl Note {
    /// Whether it belongs into the log as a warning.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        !matches!(self, Note::MarkerFound)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::SnapshotNotWhole(name) => write!(f, "skipped {name}: it does not end as a whole snapshot does"),
            Note::SnapshotBad(error) => write!(f, "skipped a bad snapshot: {error}"),
            Note::BlankLogRemoved(name) => write!(f, "removed {name}: no byte of it was ever written"),
            Note::TailCut(Tail { file, offset, kind: TailKind::BadRecord }) => {
                write!(
                    f,
                    "cut {file} at {offset}: its last txn has a wrong checksum or length, so it was never acknowledged"
                )
            }
            Note::TailCut(Tail { file, offset, .. }) => {
                write!(f, "cut {file} at {offset}: its last txn is not all there, so it was never acknowledged")
            }
            Note::HoleLeft(Tail { file, offset, .. }) => {
                write!(f, "{file} goes on behind its end at {offset}: a write that was never finished; it is not read")
            }
            Note::MarkerFound => f.write_str("the initialize marker was found: an empty database may vote"),
            Note::NotVoting => f.write_str(
                "no snapshot and no log, and neither zookeeper.db.autocreate nor an initialize marker: not voting \
                 before a leader has sent the database",
            ),
            Note::EmptySnapshotTrusted => f.write_str(
                "no snapshot, replaying the logs from an empty tree, as zookeeper.snapshot.trust.empty says; set it \
                 for one start after an upgrade only",
            ),
        }
    }
}

/// Why a server must not start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The disk did not answer.
    #[error("cannot read the data directories: {0}; see that the server may read and write there")]
    Io(#[from] io::Error),
    /// The log is damaged, or a part is missing.
    #[error("{0}; {advice}", advice = log_advice(&.0.fault))]
    Log(#[from] LogError),
    /// A txn that does not fit the tree.
    #[error("cannot apply txn {zxid} at {file}:{offset}: {reason}; {ADVICE_COPY}")]
    Apply {
        /// The log file.
        file: String,
        /// Where its record starts, in bytes.
        offset: u64,
        /// Which one.
        zxid: Zxid,
        /// What does not fit.
        reason: String,
    },
    /// A log, and nothing to replay it upon.
    #[error(
        "there is {log}, and no snapshot: the database before it is missing; restore the snapshots from a backup, or, \
         only right after an upgrade from 3.4, start once with zookeeper.snapshot.trust.empty=true"
    )]
    LogWithoutSnapshot {
        /// The oldest log.
        log: String,
    },
    /// A snapshot that was whole once, and nothing else that holds what it held.
    #[error("snapshot.{:x} is damaged, and the log does not lead there from {behind}: {ADVICE_COPY}", snapshot.0)]
    LostWithSnapshot {
        /// What is damaged.
        snapshot: Zxid,
        /// The last txn before it that there is.
        behind: Zxid,
    },
    /// Snapshots, and none of them good.
    #[error("none of the {} newest snapshots can be loaded: {}; {ADVICE_COPY}", tried.len(), Joined(tried))]
    NoGoodSnapshot {
        /// Each with its fault.
        tried: Vec<Note>,
    },
}

const ADVICE_COPY: &str = "restore the file from a backup, or move the version-2 directories away and let the server \
                           copy everything from the ensemble";

fn log_advice(fault: &LogFault) -> &'static str {
    match fault {
        LogFault::Io(_) => "see that the server may read the file and that the disk is sound",
        LogFault::Length { .. } => {
            "if jute.maxbuffer was lowered, raise it again; otherwise the log is damaged: restore the file from a \
             backup, or move the version-2 directories away and let the server copy everything from the ensemble"
        }
        LogFault::Gap { .. } => {
            "a log file or a snapshot was lost: restore it from a backup, or move the version-2 directories away and \
             let the server copy everything from the ensemble"
        }
        LogFault::Header { .. }
        | LogFault::Checksum { .. }
        | LogFault::Incomplete
        | LogFault::Hole
        | LogFault::Record(_)
        | LogFault::Order { .. } => ADVICE_COPY,
    }
}

struct Joined<'a>(&'a [Note]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, note) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            note.fmt(f)?;
        }
        Ok(())
    }
}

/// Brings the database back from disk.
///
/// # Errors
/// Why the server must not start; the disk is then unchanged.
pub fn recover(
    disk: &dyn Disk,
    options: &RecoveryOptions,
    restore: &mut impl Restore,
) -> Result<Recovered, RecoveryError> {
    let marker = disk.names(Dir::LogRoot)?.iter().any(|name| name == MARKER);
    let mut notes = Vec::new();
    if marker {
        notes.push(Note::MarkerFound);
    }
    restore.reset();
    let mut damaged = Vec::new();
    let origin = match load_snapshot(disk, restore, &mut notes, &mut damaged)? {
        Some((file, trailer)) => Origin::Snapshot(file, trailer),
        None => without_snapshot(disk, options, marker)?,
    };
    let (start, last_zxid, replayed) = match &origin {
        Origin::Snapshot(file, _) => replay(disk, options, (file.zxid, &damaged), restore, &mut notes)?,
        Origin::TrustedLogs => replay(disk, options, (Zxid::ZERO, &damaged), restore, &mut notes)?,
        Origin::New => (Vec::new(), Zxid::ZERO, 0),
        Origin::Lost => (Vec::new(), Zxid(-1), 0),
    };
    match &origin {
        Origin::Snapshot(file, _) => disk.sync_file(Dir::Snapshots, &file.name)?,
        Origin::TrustedLogs => notes.push(Note::EmptySnapshotTrusted),
        Origin::Lost => notes.push(Note::NotVoting),
        Origin::New => {}
    }
    for log in &start {
        disk.sync_file(Dir::Logs, &log.name)?;
    }
    // A process that was killed between a rename and the flush of its directory leaves names that a power cut takes away
    // again: logs, snapshots and epoch files alike.
    disk.sync_dir(Dir::Snapshots)?;
    disk.sync_dir(Dir::Logs)?;
    // A new database is there once its snapshot is: until then the marker has to stay.
    if marker && origin != Origin::New {
        consume_marker(disk)?;
    }
    Ok(Recovered { last_zxid, durable: Durable::after_flush(last_zxid), origin, replayed, notes })
}

/// Removes the `initialize` marker, if there is one.
///
/// # Errors
/// Those of the disk.
pub fn consume_marker(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(Dir::LogRoot, MARKER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => disk.sync_dir(Dir::LogRoot),
    }
}

/// Loads the newest good snapshot; `None` when there is none, or at the most the first of all, unfinished or damaged. Notes
/// those that were whole and are not good: one that is not whole was left by a crash, and nobody was promised what it would
/// have held.
fn load_snapshot(
    disk: &dyn Disk,
    restore: &mut impl Restore,
    notes: &mut Vec<Note>,
    damaged: &mut Vec<Zxid>,
) -> Result<Option<(SnapshotFile, Trailer)>, RecoveryError> {
    let (mut skipped, mut tried) = (Vec::new(), 0);
    let mut unfinished = Zxid::ZERO;
    for file in list_snapshots(disk)? {
        if tried == SNAPSHOTS_TRIED_MAX {
            break;
        }
        if !looks_whole(disk, &file)? {
            unfinished = unfinished.max(file.zxid);
            skipped.push(Note::SnapshotNotWhole(file.name));
            continue;
        }
        tried += 1;
        let source = disk.open(Dir::Snapshots, &file.name, 0)?;
        if file.compression == Compression::Plain {
            restore.size(disk.size(Dir::Snapshots, &file.name)?);
        }
        match read_snapshot(source, file.compression, &file.name, restore) {
            Ok(trailer) => {
                restore.snapshot_loaded(file.zxid, &trailer);
                notes.append(&mut skipped);
                return Ok(Some((file, trailer)));
            }
            Err(error) => {
                skipped.push(Note::SnapshotBad(error));
                damaged.push(file.zxid);
                restore.reset();
            }
        }
    }
    // What the first snapshot of all would have held is known.
    if damaged.iter().all(|zxid| *zxid == Zxid::ZERO) && unfinished == Zxid::ZERO {
        notes.append(&mut skipped);
        return Ok(None);
    }
    Err(RecoveryError::NoGoodSnapshot { tried: skipped })
}

/// The rows of storage.md 7 without a snapshot.
fn without_snapshot(disk: &dyn Disk, options: &RecoveryOptions, marker: bool) -> Result<Origin, RecoveryError> {
    match list_logs(disk)?.into_iter().next() {
        Some(_) if options.trust_empty_snapshot => Ok(Origin::TrustedLogs),
        Some(log) => Err(RecoveryError::LogWithoutSnapshot { log: log.name }),
        None if marker || options.autocreate => Ok(Origin::New),
        None => Ok(Origin::Lost),
    }
}

/// Replays everything above `done`, then mends the end. Returns the files that were read, the last zxid and a count.
///
/// A damaged snapshot may be what a leader sent: then the log has a hole there, which between two epochs the numbers do
/// not show.
fn replay(
    disk: &dyn Disk,
    options: &RecoveryOptions,
    (done, damaged): (Zxid, &[Zxid]),
    restore: &mut impl Restore,
    notes: &mut Vec<Note>,
) -> Result<(Vec<LogFile>, Zxid, u64), RecoveryError> {
    let (mut files, blank) = files_to_replay(disk, done)?;
    let mut walk = LogWalk::new(disk, &files, done, options.body_bytes_max);
    let (mut last, mut count) = (done, 0);
    let lost = |behind: Zxid, next: Option<Zxid>| match damaged.iter().find(|at| {
        let leads = next.is_some_and(|next| next <= **at || behind.epoch() == next.epoch());
        behind < **at && !leads
    }) {
        Some(at) => Err(RecoveryError::LostWithSnapshot { snapshot: *at, behind }),
        None => Ok(()),
    };
    while let Some(zxid) = walk.advance()? {
        lost(last, Some(zxid))?;
        apply(&walk, zxid, restore)?;
        last = zxid;
        count += 1;
    }
    lost(last, None)?;
    for log in blank {
        disk.remove(Dir::Logs, &log.name)?;
        disk.sync_dir(Dir::Logs)?;
        notes.push(Note::BlankLogRemoved(log.name));
    }
    if let Some(tail) = walk.into_tail() {
        mend(disk, &tail)?;
        if tail.offset <= HEADER_LENGTH as u64 && tail.needs_cut() {
            files.pop();
        }
        match tail.kind {
            TailKind::Clean => {}
            TailKind::Hole => notes.push(Note::HoleLeft(tail)),
            TailKind::Torn | TailKind::BadRecord => notes.push(Note::TailCut(tail)),
        }
    }
    Ok((files, last, count))
}

fn apply(walk: &LogWalk<'_>, zxid: Zxid, restore: &mut impl Restore) -> Result<(), RecoveryError> {
    let entry = Entry::decode(walk.body()).map_err(|error| LogFault::Record(error).at(walk.file(), walk.offset()))?;
    restore.apply(&entry, walk.body()).map_err(|reason| RecoveryError::Apply {
        file: walk.file().to_owned(),
        offset: walk.offset(),
        zxid,
        reason,
    })
}

/// Cuts what was never acknowledged; a file of which nothing is left goes away.
fn mend(disk: &dyn Disk, tail: &Tail) -> io::Result<()> {
    if !tail.needs_cut() {
        return Ok(());
    }
    if tail.offset > HEADER_LENGTH as u64 {
        return disk.truncate(Dir::Logs, &tail.file, tail.offset);
    }
    disk.remove(Dir::Logs, &tail.file)?;
    disk.sync_dir(Dir::Logs)
}

impl Tail {
    const fn needs_cut(&self) -> bool {
        matches!(self.kind, TailKind::Torn | TailKind::BadRecord)
    }
}

const MARKER: &str = "initialize";
/// As Apache does (storage.md 3.3).
const SNAPSHOTS_TRIED_MAX: usize = 100;

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
