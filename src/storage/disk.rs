//! The little that storage asks of a disk, and the names of half-written files.

use std::io::{self, ErrorKind, Read, Write};

use rustix::io::Errno;

/// One of the directories of a server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Dir {
    /// `dataDir/version-2`: snapshots and epoch files.
    Snapshots,
    /// `dataLogDir/version-2`: txn logs. May be the same directory.
    Logs,
    /// `dataLogDir` itself: the `initialize` marker.
    LogRoot,
}

/// A server's directories. Every name is a plain file name; an error of kind `NotFound` means that there is none.
pub trait Disk {
    /// The names of all files in a directory, in any order.
    ///
    /// # Errors
    /// Those of the file system; so for all below.
    fn names(&self, dir: Dir) -> io::Result<Vec<String>>;

    /// A file's size in bytes.
    ///
    /// # Errors
    /// See [`names`](Self::names).
    fn size(&self, dir: Dir, name: &str) -> io::Result<u64>;

    /// Opens a file for reading from byte `offset` on. Reads are not buffered.
    ///
    /// # Errors
    /// See [`names`](Self::names).
    fn open(&self, dir: Dir, name: &str, offset: u64) -> io::Result<Box<dyn Read + Send>>;

    /// Writes a whole file so that a crash leaves either the old one or the new one: a [`temporary_name`], flush, check
    /// of the length, rename, flush of the directory. Returns its size in bytes.
    ///
    /// # Errors
    /// See [`names`](Self::names), and those of `fill`; then the temporary file is removed.
    fn replace(&self, dir: Dir, name: &str, fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<u64>;

    /// Removes a file. Not durable before [`sync_dir`](Self::sync_dir).
    ///
    /// # Errors
    /// See [`names`](Self::names).
    fn remove(&self, dir: Dir, name: &str) -> io::Result<()>;

    /// Cuts a file to `size` bytes and flushes it.
    ///
    /// # Errors
    /// See [`names`](Self::names).
    fn truncate(&self, dir: Dir, name: &str, size: u64) -> io::Result<()>;

    /// Flushes a file's content.
    ///
    /// # Errors
    /// See [`names`](Self::names).
    fn sync_file(&self, dir: Dir, name: &str) -> io::Result<()>;

    /// Flushes a directory: which names it holds.
    ///
    /// # Errors
    /// See [`names`](Self::names).
    fn sync_dir(&self, dir: Dir) -> io::Result<()>;
}

/// Reads a small file whole; `None` when there is none.
///
/// # Errors
/// Those of the disk.
pub fn read_all(disk: &dyn Disk, dir: Dir, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut file = match disk.open(dir, name, 0) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The name under which a file is written before it is renamed.
///
/// Apache reads `snapshot.5.tmp` as a snapshot, so those of snapshots and logs begin otherwise. The others end in
/// `.tmp` as Apache's do: an unfinished `currentEpoch.tmp` has a meaning at start (storage.md 1.1).
#[must_use]
pub fn temporary_name(name: &str) -> String {
    if is_data(name) { format!("tmp.{name}") } else { format!("{name}.tmp") }
}

/// Whether nothing is wrong but that there is no space, or no file descriptor: both may be there again later.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        || matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether a file is an unfinished snapshot or log, ours or Apache's, to be removed at start.
#[must_use]
pub fn is_left_over(name: &str) -> bool {
    match name.strip_prefix("tmp.") {
        Some(rest) => is_data(rest),
        None => is_data(name) && name.ends_with(".tmp"),
    }
}

fn is_data(name: &str) -> bool {
    name.starts_with("snapshot.") || name.starts_with("log.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_snapshots_and_logs_do_not_look_like_finished_ones() {
        assert_eq!(temporary_name("snapshot.5.gz"), "tmp.snapshot.5.gz");
        assert_eq!(temporary_name("log.5"), "tmp.log.5");
        assert_eq!(temporary_name("currentEpoch"), "currentEpoch.tmp");
        for name in ["tmp.snapshot.5.gz", "tmp.log.5", "snapshot.5.tmp", "log.7.tmp"] {
            assert!(is_left_over(name), "{name}");
        }
        for name in ["snapshot.5", "log.5", "currentEpoch.tmp", "zoo.cfg.tmp", "tmp.mine"] {
            assert!(!is_left_over(name), "{name}");
        }
    }
}
