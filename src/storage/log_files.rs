//! The txn log as a whole: its files in order, and one walk over all txns from a zxid on.
//!
//! Here is decided what a reader forgives (storage.md 2.2). A crash tears the end of the file that was being written,
//! and nothing else; that file is the last one, or a new one was begun behind it with the very next txn. Everything
//! else that is missing or damaged was acknowledged once, and is an error.

use std::io::{self, Read};
use std::slice;

use super::disk::{Dir, Disk};
use super::snapshot_files::parse_zxid;
use super::txn_log::{HEADER_LENGTH, LogError, LogFault, LogReader, Rest, Step};
use crate::ids::Zxid;
use crate::proto::OpCode;
use crate::txn::TxnHeader;

/// The name of a log file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFile {
    /// Its first txn.
    pub zxid: Zxid,
    /// As it stands in the directory.
    pub name: String,
}

impl LogFile {
    /// The name of a file that begins with `zxid`.
    #[must_use]
    pub fn new(zxid: Zxid) -> Self {
        Self { zxid, name: format!("log.{:x}", zxid.0) }
    }

    /// Reads a name; `None` when it is not one of a log.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let zxid = parse_zxid(name.strip_prefix("log.")?)?;
        Some(Self { zxid, name: name.to_owned() })
    }
}

/// All log files, oldest first.
///
/// # Errors
/// Those of the disk.
pub fn list_logs(disk: &dyn Disk) -> io::Result<Vec<LogFile>> {
    let names = disk.names(Dir::Logs)?;
    let mut files: Vec<_> = names.iter().filter_map(|name| LogFile::parse(name)).collect();
    files.sort_by(|a, b| (a.zxid, &a.name).cmp(&(b.zxid, &b.name)));
    Ok(files)
}

/// The files that may hold txns from `start` on: the last that begins at or before it, and all behind.
#[must_use]
pub fn files_from(files: &[LogFile], start: Zxid) -> &[LogFile] {
    let later = files.partition_point(|file| file.zxid <= start);
    &files[later.saturating_sub(1)..]
}

/// Whether a file holds nothing at all: no byte, or only zeros. A crash right after creating it leaves that.
///
/// # Errors
/// Those of the disk.
pub fn is_blank(disk: &dyn Disk, file: &LogFile) -> io::Result<bool> {
    let mut head = Vec::new();
    disk.open(Dir::Logs, &file.name, 0)?.take(HEADER_LENGTH as u64).read_to_end(&mut head)?;
    if head.iter().any(|b| *b != 0) {
        return Ok(false);
    }
    let mut source = disk.open(Dir::Logs, &file.name, 0)?;
    let mut piece = vec![0; 64 << 10];
    loop {
        match source.read(&mut piece)? {
            0 => return Ok(true),
            count if piece[..count].iter().any(|b| *b != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// The files that a server whose database ends at `done` has to read, and behind them those that are blank.
///
/// # Errors
/// Those of the disk.
pub fn files_to_replay(disk: &dyn Disk, done: Zxid) -> io::Result<(Vec<LogFile>, Vec<LogFile>)> {
    let files = list_logs(disk)?;
    let mut with_txns = files.len();
    while with_txns > 0 && is_blank(disk, &files[with_txns - 1])? {
        with_txns -= 1;
    }
    let (files, blank) = files.split_at(with_txns);
    Ok((files_from(files, Zxid(done.0.saturating_add(1))).to_vec(), blank.to_vec()))
}

/// Whether no txn can be missing between the two: the next number, or the first one of a later epoch. A server alone
/// counts on from the end of one epoch into the next, without leaving out its 0.
#[must_use]
pub fn follows(previous: Zxid, next: Zxid) -> bool {
    previous.0.checked_add(1) == Some(next.0) || (next.epoch() > previous.epoch() && next.counter() == 1)
}

/// How the last file of the log ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tail {
    /// The file.
    pub file: String,
    /// Behind its last good record, in bytes.
    pub offset: u64,
    /// What stands there.
    pub kind: TailKind,
}

/// See [`Tail`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TailKind {
    /// Nothing, or padding.
    Clean,
    /// Padding, and then something else: a write of which the beginning never reached the disk.
    Hole,
    /// Part of a record.
    Torn,
    /// A record whose checksum or length is wrong.
    BadRecord,
}

/// Walks over all txns from a zxid on, through all files.
pub struct LogWalk<'d> {
    disk: &'d dyn Disk,
    files: slice::Iter<'d, LogFile>,
    reader: Option<LogReader<Box<dyn Read + Send>>>,
    file: String,
    body_bytes_max: usize,
    /// The last one that must not be delivered again: of the snapshot, or the last delivered.
    done: Zxid,
    /// The highest in any file so far.
    highest: Option<Zxid>,
    tail: Option<Tail>,
}

impl<'d> LogWalk<'d> {
    /// Begins behind `done`. `files` are those of [`files_to_replay`].
    #[must_use]
    pub fn new(disk: &'d dyn Disk, files: &'d [LogFile], done: Zxid, body_bytes_max: usize) -> Self {
        let files = files.iter();
        Self { disk, files, reader: None, file: String::new(), body_bytes_max, done, highest: None, tail: None }
    }

    /// Goes to the next txn; `None` at the end of the log. Its bytes are in [`body`](Self::body).
    ///
    /// # Errors
    /// See [`LogFault`]: damage that no crash leaves, wrong order, or a gap.
    pub fn advance(&mut self) -> Result<Option<Zxid>, LogError> {
        loop {
            if self.reader.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(zxid) = self.next_in_file()? else {
                self.reader = None;
                continue;
            };
            if zxid > self.done {
                self.done = zxid;
                return Ok(Some(zxid));
            }
        }
    }

    /// The txn's encoded [`Entry`](crate::txn::Entry).
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.reader.as_ref().map_or(&[], LogReader::body)
    }

    /// The file that the txn is in.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where in [`file`](Self::file) its record starts, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.reader.as_ref().map_or(0, LogReader::offset)
    }

    /// How the log ends; known once [`advance`](Self::advance) returned `None`, and there was a file.
    #[must_use]
    pub fn into_tail(self) -> Option<Tail> {
        self.tail
    }

    fn open_next(&mut self) -> Result<bool, LogError> {
        let Some(file) = self.files.next() else { return Ok(false) };
        let source = self.disk.open(Dir::Logs, &file.name, 0).map_err(|error| LogFault::Io(error).at(&file.name, 0))?;
        self.reader = Some(LogReader::open(source, &file.name, self.body_bytes_max)?);
        self.file.clone_from(&file.name);
        Ok(true)
    }

    /// `None` at the end of the file.
    fn next_in_file(&mut self) -> Result<Option<Zxid>, LogError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        match next_record(reader, self.files.len() == 0)? {
            Ok(zxid) => {
                let is_again = self.highest == Some(zxid) && is_failure(reader.body());
                if let Some(previous) = self.highest.filter(|previous| zxid <= *previous && !is_again) {
                    return Err(reader.fault(LogFault::Order { previous, found: zxid }));
                }
                if zxid > self.done && !follows(self.done, zxid) {
                    return Err(reader.fault(LogFault::Gap { previous: self.done, found: zxid }));
                }
                self.highest = Some(zxid);
                Ok(Some(zxid))
            }
            Err((offset, kind)) => {
                self.tail = Some(Tail { file: self.file.clone(), offset, kind });
                Ok(None)
            }
        }
    }
}

/// Whether a txn changes nothing. Apache 3.9 logs a write that does not decode as one, under the zxid of the txn before.
fn is_failure(txn: &[u8]) -> bool {
    TxnHeader::decode(txn).is_ok_and(|(_, header)| header.op == OpCode::ERROR)
}

type End = (u64, TailKind);

/// The next record's zxid, or how the file ends. A bad record is an end only where nothing good stands behind it.
fn next_record<R: Read>(reader: &mut LogReader<R>, is_last_file: bool) -> Result<Result<Zxid, End>, LogError> {
    let step = reader.advance();
    let offset = reader.offset();
    match step {
        Ok(Step::Record) => reader.zxid().map(Ok),
        // Another file's first txn says whether one is missing before it.
        Ok(Step::End) if !is_last_file => Ok(Err((offset, TailKind::Clean))),
        Ok(Step::End) => match reader.rest()? {
            Rest::Padding => Ok(Err((offset, TailKind::Clean))),
            Rest::Garbage => Ok(Err((offset, TailKind::Hole))),
            Rest::Records => Err(LogFault::Hole.at(reader.file(), offset)),
        },
        Ok(Step::Torn) => match reader.rest()? {
            Rest::Padding | Rest::Garbage => Ok(Err((offset, TailKind::Torn))),
            Rest::Records => Err(LogFault::Incomplete.at(reader.file(), offset)),
        },
        Err(error @ LogError { fault: LogFault::Checksum { .. } | LogFault::Length { .. }, .. }) if is_last_file => {
            match reader.rest()? {
                Rest::Padding | Rest::Garbage => Ok(Err((offset, TailKind::BadRecord))),
                Rest::Records => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_leaves_no_number_out() {
        let first = Zxid::new(1, u32::MAX);
        assert!(follows(Zxid::new(1, 4), Zxid::new(1, 5)) && follows(Zxid::new(1, 4), Zxid::new(3, 1)));
        assert!(!follows(Zxid::new(1, 4), Zxid::new(1, 6)) && !follows(Zxid::new(1, 4), Zxid::new(2, 2)));
        // A server alone rolls over.
        assert!(follows(first, Zxid::new(2, 0)) && !follows(Zxid::new(1, 4), Zxid::new(2, 0)));
    }

    #[test]
    fn the_files_for_a_zxid_begin_with_the_one_that_may_hold_it() {
        let files = [1, 5, 9].map(|zxid| LogFile::new(Zxid(zxid)));
        for (start, first) in [(0, 0), (1, 0), (4, 0), (5, 1), (8, 1), (9, 2), (100, 2)] {
            assert_eq!(files_from(&files, Zxid(start)), &files[first..], "from {start}");
        }
        assert!(files_from(&[], Zxid(1)).is_empty());
    }

    #[test]
    fn names_that_are_no_logs_are_ignored() {
        assert_eq!(LogFile::parse("log.100000001"), Some(LogFile::new(Zxid::new(1, 1))));
        for name in ["log.", "log.1.tmp", "log.g", "tmp.log.1", "snapshot.1", "log"] {
            assert_eq!(LogFile::parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_next_txn_or_the_first_of_a_later_epoch_follows() {
        let last = Zxid::new(1, 7);
        assert!(follows(last, Zxid::new(1, 8)));
        assert!(follows(last, Zxid::new(2, 1)));
        assert!(follows(Zxid::new(2, 0), Zxid::new(2, 1)));
        for next in [Zxid::new(1, 9), Zxid::new(2, 2), Zxid::new(1, 7), Zxid::new(0, 8)] {
            assert!(!follows(last, next), "{next}");
        }
    }
}
