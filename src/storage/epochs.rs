//! `currentEpoch` and `acceptedEpoch`: what a peer has joined and what it has promised (storage.md 1.1).

use std::io;

use super::disk::{Dir, Disk, is_full, read_all, temporary_name};
use crate::ids::{Epoch, Zxid};

/// Which of the two files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochFile {
    /// The epoch that the peer has joined: of its last NEWLEADER.
    Current,
    /// The epoch that it has promised to accept: of its last LEADERINFO.
    Accepted,
}

impl EpochFile {
    /// The file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EpochFile::Current => "currentEpoch",
            EpochFile::Accepted => "acceptedEpoch",
        }
    }
}

/// Both epochs at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Epochs {
    /// See [`EpochFile::Current`].
    pub current: Epoch,
    /// See [`EpochFile::Accepted`]; not below `current`.
    pub accepted: Epoch,
}

/// Why a peer must not start with these epochs.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// The disk did not answer.
    #[error("cannot read or write {file}: {source}")]
    Io {
        /// The file's name.
        file: String,
        /// What it said.
        source: io::Error,
    },
    /// Not a number.
    #[error(
        "{file} holds {found:?}, expected a decimal number; restore it, or empty the data directory and let the server \
         copy everything from the ensemble"
    )]
    NotANumber {
        /// The file's name.
        file: String,
        /// Its first line.
        found: String,
    },
    /// The txns are of a later epoch than the peer says to have joined.
    #[error(
        "currentEpoch is {current}, and yet the last txn is {last_zxid}: the file is older than the log; restore it, or \
         empty the data directory and let the server copy everything from the ensemble"
    )]
    CurrentBehindLog {
        /// As in the file.
        current: Epoch,
        /// Of the database.
        last_zxid: Zxid,
    },
    /// The peer has joined an epoch that it never promised to.
    #[error(
        "acceptedEpoch is {accepted}, below currentEpoch {current}: one of them is not from this server; restore both, \
         or empty the data directory and let the server copy everything from the ensemble"
    )]
    AcceptedBehindCurrent {
        /// As in the file.
        accepted: Epoch,
        /// As in the file.
        current: Epoch,
    },
}

impl EpochError {
    /// Whether nothing is wrong but that there is no space on the disk, or no descriptor.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}

/// Both epochs of a member of an ensemble whose database ends at `last_zxid`; files that are missing are written.
///
/// # Errors
/// The rows of storage.md 1.1 that refuse, and those of the disk.
pub fn open_epochs(disk: &dyn Disk, last_zxid: Zxid) -> Result<Epochs, EpochError> {
    // What a server writes whose database is lost says nothing once an `initialize` marker has made that a new one.
    let is_known = |epoch: &Epoch| *epoch >= 0 || last_zxid.epoch() != 0;
    let current = match read_epoch(disk, EpochFile::Current)?.filter(is_known) {
        None => set_epoch(disk, EpochFile::Current, last_zxid.epoch())?,
        Some(current) if last_zxid.epoch() > current => adopt_unfinished(disk, current, last_zxid)?,
        Some(current) => current,
    };
    let accepted = match read_epoch(disk, EpochFile::Accepted)?.filter(is_known) {
        None => set_epoch(disk, EpochFile::Accepted, last_zxid.epoch())?,
        Some(accepted) => accepted,
    };
    if accepted < current {
        return Err(EpochError::AcceptedBehindCurrent { accepted, current });
    }
    forget_unfinished(disk)?;
    Ok(Epochs { current, accepted })
}

/// Reads one epoch; `None` when there is no file: a standalone server, or a new one.
///
/// # Errors
/// [`EpochError::Io`] and [`EpochError::NotANumber`].
pub fn read_epoch(disk: &dyn Disk, file: EpochFile) -> Result<Option<Epoch>, EpochError> {
    read_number(disk, file.name())
}

/// Writes one epoch; durable when it returns.
///
/// # Errors
/// [`EpochError::Io`].
pub fn write_epoch(disk: &dyn Disk, file: EpochFile, epoch: Epoch) -> Result<(), EpochError> {
    let written = disk.replace(Dir::Snapshots, file.name(), &mut |out| write!(out, "{epoch}"));
    written.map(drop).map_err(|source| EpochError::Io { file: file.name().to_owned(), source })
}

fn set_epoch(disk: &dyn Disk, file: EpochFile, epoch: Epoch) -> Result<Epoch, EpochError> {
    write_epoch(disk, file, epoch)?;
    Ok(epoch)
}

/// A crash between the leader's history and the epoch file that is written behind it. Either the new file had only to be
/// renamed; or the log holds txns of an epoch that was promised and not joined yet. Such a log begins with all that this
/// epoch began with, so the epoch of its last txn is true of it, and the leader's own would not be.
fn adopt_unfinished(disk: &dyn Disk, current: Epoch, last_zxid: Zxid) -> Result<Epoch, EpochError> {
    let logged = last_zxid.epoch();
    match read_number(disk, &temporary_name(EpochFile::Current.name())) {
        Ok(Some(unfinished)) if unfinished >= logged => return set_epoch(disk, EpochFile::Current, unfinished),
        // A number below the log's would be an older leftover; one that is none was cut short by a power cut.
        Ok(_) | Err(EpochError::NotANumber { .. }) => {}
        Err(error) => return Err(error),
    }
    match read_epoch(disk, EpochFile::Accepted)? {
        Some(accepted) if accepted >= logged => set_epoch(disk, EpochFile::Current, logged),
        _ => Err(EpochError::CurrentBehindLog { current, last_zxid }),
    }
}

/// An unfinished write is of use once; later it would only look like one.
fn forget_unfinished(disk: &dyn Disk) -> Result<(), EpochError> {
    for file in [EpochFile::Current, EpochFile::Accepted] {
        let name = temporary_name(file.name());
        match disk.remove(Dir::Snapshots, &name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(EpochError::Io { file: name, source }),
        }
    }
    Ok(())
}

fn read_number(disk: &dyn Disk, name: &str) -> Result<Option<Epoch>, EpochError> {
    let bytes =
        read_all(disk, Dir::Snapshots, name).map_err(|source| EpochError::Io { file: name.to_owned(), source })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default();
    match line.trim().parse() {
        Ok(epoch) => Ok(Some(epoch)),
        Err(_) => Err(EpochError::NotANumber { file: name.to_owned(), found: line.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryDisk;

    fn open(files: &[(&str, &str)], last_zxid: Zxid) -> (MemoryDisk, Result<Epochs, EpochError>) {
        let disk = MemoryDisk::new();
        for (name, text) in files {
            disk.put(Dir::Snapshots, name, *text);
        }
        let epochs = open_epochs(&disk, last_zxid);
        (disk, epochs)
    }

    #[test]
    fn missing_files_are_written_with_the_epoch_of_the_last_zxid() {
        let (disk, epochs) = open(&[], Zxid::new(3, 9));
        assert_eq!(epochs.ok(), Some(Epochs { current: 3, accepted: 3 }));
        assert_eq!(disk.get(Dir::Snapshots, "currentEpoch").as_deref(), Some(&b"3"[..]));
        assert_eq!(open(&[], Zxid(-1)).1.ok(), Some(Epochs { current: -1, accepted: -1 }));
    }

    #[test]
    fn a_lost_database_that_is_declared_a_new_one_begins_at_the_first_epoch() {
        let lost = [("currentEpoch", "-1"), ("acceptedEpoch", "-1")];
        assert_eq!(open(&lost, Zxid(-1)).1.ok(), Some(Epochs { current: -1, accepted: -1 }));
        let (disk, epochs) = open(&lost, Zxid::ZERO);
        assert_eq!(epochs.ok(), Some(Epochs { current: 0, accepted: 0 }));
        assert_eq!(disk.get(Dir::Snapshots, "currentEpoch").as_deref(), Some(&b"0"[..]));
        assert!(matches!(open(&lost, Zxid::new(3, 1)).1, Err(EpochError::CurrentBehindLog { current: -1, .. })));
    }

    #[test]
    fn the_first_line_counts() {
        let (_, epochs) = open(&[("currentEpoch", "2\nmore"), ("acceptedEpoch", "5\n")], Zxid::new(2, 1));
        assert_eq!(epochs.ok(), Some(Epochs { current: 2, accepted: 5 }));
    }

    #[test]
    fn an_epoch_file_behind_the_log_is_refused_unless_a_rename_was_missed() {
        let last = Zxid::new(3, 1);
        let files = [("currentEpoch", "2"), ("acceptedEpoch", "2")];
        assert!(matches!(open(&files, last).1, Err(EpochError::CurrentBehindLog { current: 2, .. })));
        let (disk, epochs) = open(&[files[0], ("acceptedEpoch", "3"), ("currentEpoch.tmp", "3")], last);
        assert_eq!(epochs.ok(), Some(Epochs { current: 3, accepted: 3 }));
        assert_eq!(disk.get(Dir::Snapshots, "currentEpoch").as_deref(), Some(&b"3"[..]));
        assert_eq!(disk.get(Dir::Snapshots, "currentEpoch.tmp"), None);
        let stale = open(&[files[0], files[1], ("currentEpoch.tmp", "1")], last).1;
        assert!(matches!(stale, Err(EpochError::CurrentBehindLog { .. })));
    }

    #[test]
    fn a_crash_amid_the_synchronisation_with_a_later_leader_leaves_the_epoch_of_the_log() {
        let files = [("currentEpoch", "1"), ("acceptedEpoch", "5"), ("currentEpoch.tmp", "")];
        for count in [2, 3] {
            let (disk, epochs) = open(&files[..count], Zxid::new(3, 4));
            assert_eq!(epochs.ok(), Some(Epochs { current: 3, accepted: 5 }));
            assert_eq!(disk.get(Dir::Snapshots, "currentEpoch").as_deref(), Some(&b"3"[..]));
        }
    }

    #[test]
    fn a_promise_below_what_was_joined_is_refused() {
        let files = [("currentEpoch", "2"), ("acceptedEpoch", "1")];
        assert!(matches!(
            open(&files, Zxid::ZERO).1,
            Err(EpochError::AcceptedBehindCurrent { accepted: 1, current: 2 })
        ));
    }

    #[test]
    fn something_else_than_a_number_is_refused() {
        for text in ["", "x", "99999999999"] {
            assert!(matches!(open(&[("currentEpoch", text)], Zxid::ZERO).1, Err(EpochError::NotANumber { .. })));
        }
    }
}
