//! The data directories of a running server: opened once, locked, and tidied up.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::atomic_file::{replace, sync_dir};
use crate::storage::disk::is_left_over;
use crate::storage::{Dir, Disk};

/// Where the database is, as the configuration says.
#[derive(Clone, Debug)]
pub struct Directories {
    /// `dataDir`.
    pub data_dir: PathBuf,
    /// `dataLogDir`; the same as `data_dir` unless set.
    pub data_log_dir: PathBuf,
    /// `zookeeper.datadir.autocreate`: create what is missing.
    pub autocreate: bool,
}

/// Why the data directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory is missing and must not be created.
    #[error("there is no directory {0}, and zookeeper.datadir.autocreate is false; create it or correct dataDir")]
    Missing(PathBuf),
    /// The file system refuses.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has the directory open.
    #[error("{0} is in use by another server process; stop it, or give this one a directory of its own")]
    Locked(PathBuf),
    /// Snapshots where logs belong, or the reverse (ST-01).
    #[error("{dir} holds {name}, which belongs into {other}; move the files, or correct dataDir and dataLogDir")]
    MixedUp {
        /// The directory with the wrong file.
        dir: PathBuf,
        /// One of the wrong files.
        name: String,
        /// Where it belongs.
        other: PathBuf,
    },
}

/// The data directories, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct RealDisk {
    snapshots: PathBuf,
    logs: PathBuf,
    log_root: PathBuf,
    _locks: Vec<File>,
}

impl RealDisk {
    /// Creates the directories if need be, locks them, and removes unfinished snapshots and logs.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(directories: &Directories) -> Result<Self, OpenError> {
        let disk = Self::lock(directories)?;
        disk.remove_left_overs()?;
        Ok(disk)
    }

    /// Creates the directories if need be, and locks them.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn lock(directories: &Directories) -> Result<Self, OpenError> {
        let (snapshots, logs) = (directories.data_dir.join(VERSION), directories.data_log_dir.join(VERSION));
        for dir in [&snapshots, &logs] {
            ensure(dir, directories.autocreate)?;
        }
        let mut locks = vec![lock(&snapshots)?];
        if !is_same(&snapshots, &logs).map_err(io_at(&logs))? {
            locks.push(lock(&logs)?);
            refuse_mixed_up(&snapshots, "log.", &logs)?;
            refuse_mixed_up(&logs, "snapshot.", &snapshots)?;
        }
        Ok(Self { snapshots, logs, log_root: directories.data_log_dir.clone(), _locks: locks })
    }

    /// Where the [`LogWriter`](super::LogWriter) writes.
    #[must_use]
    pub fn log_dir(&self) -> &Path {
        &self.logs
    }

    /// Removes unfinished snapshots and logs.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn remove_left_overs(&self) -> Result<(), OpenError> {
        for dir in [&self.snapshots, &self.logs] {
            for name in names(dir).map_err(io_at(dir))?.into_iter().filter(|name| is_left_over(name)) {
                let path = dir.join(name);
                tracing::info!("removing {}, which was never finished", path.display());
                fs::remove_file(&path).map_err(io_at(&path))?;
            }
        }
        Ok(())
    }

    fn dir(&self, dir: Dir) -> &Path {
        match dir {
            Dir::Snapshots => &self.snapshots,
            Dir::Logs => &self.logs,
            Dir::LogRoot => &self.log_root,
        }
    }

    fn path(&self, dir: Dir, name: &str) -> PathBuf {
        self.dir(dir).join(name)
    }
}

impl Disk for RealDisk {
    fn names(&self, dir: Dir) -> io::Result<Vec<String>> {
        names(self.dir(dir))
    }

    fn size(&self, dir: Dir, name: &str) -> io::Result<u64> {
        fs::metadata(self.path(dir, name)).map(|metadata| metadata.len())
    }

    fn open(&self, dir: Dir, name: &str, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(self.path(dir, name))?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(Box::new(file))
    }

    fn replace(&self, dir: Dir, name: &str, fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<u64> {
        replace(self.dir(dir), name, fill)
    }

    fn remove(&self, dir: Dir, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(dir, name))
    }

    fn truncate(&self, dir: Dir, name: &str, size: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(dir, name))?;
        file.set_len(size)?;
        file.sync_all()
    }

    fn sync_file(&self, dir: Dir, name: &str) -> io::Result<()> {
        File::open(self.path(dir, name))?.sync_all()
    }

    fn sync_dir(&self, dir: Dir) -> io::Result<()> {
        sync_dir(self.dir(dir))
    }
}

fn ensure(dir: &Path, autocreate: bool) -> Result<(), OpenError> {
    if dir.is_dir() {
        return Ok(());
    }
    if !autocreate {
        return Err(OpenError::Missing(dir.to_owned()));
    }
    let absent: Vec<_> = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    fs::create_dir_all(dir).map_err(io_at(dir))?;
    for parent in absent.into_iter().filter_map(Path::parent) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        sync_dir(parent).map_err(io_at(parent))?;
    }
    Ok(())
}

/// A lock on the directory itself: it leaves no file behind that Apache could stumble over.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let file = File::open(dir).map_err(io_at(dir))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path: dir.to_owned(), source }),
    }
}

/// By what they are, not by how they are written: a link to the same place is the same place.
pub(super) fn is_same(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (fs::metadata(a)?, fs::metadata(b)?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

pub(super) fn refuse_mixed_up(dir: &Path, prefix: &str, other: &Path) -> Result<(), OpenError> {
    match names(dir).map_err(io_at(dir))?.into_iter().find(|name| name.starts_with(prefix)) {
        Some(name) => Err(OpenError::MixedUp { dir: dir.to_owned(), name, other: other.to_owned() }),
        None => Ok(()),
    }
}

pub(super) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        // A name that is not UTF-8 is not one of ours.
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    |source| OpenError::Io { path, source }
}

pub(super) const VERSION: &str = "version-2";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Zxid;
    use crate::storage::compression::Compression;
    use crate::storage::epochs::{EpochFile, read_epoch, write_epoch};
    use crate::storage::snapshot::Trailer;
    use crate::storage::snapshot_files::{SnapshotFile, looks_whole, write_snapshot};

    fn directories(root: &Path, log_dir: &str) -> Directories {
        Directories { data_dir: root.join("data"), data_log_dir: root.join(log_dir), autocreate: true }
    }

    #[test]
    fn directories_are_created_or_missed() {
        let root = tempfile::tempdir().expect("a directory");
        let mut careful = directories(root.path(), "data");
        careful.autocreate = false;
        assert!(matches!(RealDisk::open(&careful), Err(OpenError::Missing(_))));
        RealDisk::open(&directories(root.path(), "data")).expect("created");
        RealDisk::open(&careful).expect("there now");
    }

    #[test]
    fn a_second_server_finds_the_directories_locked() {
        let root = tempfile::tempdir().expect("a directory");
        let first = RealDisk::open(&directories(root.path(), "logs")).expect("free");
        assert!(matches!(RealDisk::open(&directories(root.path(), "logs")), Err(OpenError::Locked(_))));
        let other_data = Directories { data_dir: root.path().join("other"), ..directories(root.path(), "logs") };
        assert!(matches!(RealDisk::open(&other_data), Err(OpenError::Locked(dir)) if dir.ends_with("logs/version-2")));
        drop(first);
        RealDisk::open(&directories(root.path(), "logs")).expect("free again");
        assert_eq!(fs::read_dir(root.path().join("logs")).expect("there").count(), 1, "no lock file");
    }

    #[test]
    fn logs_among_snapshots_are_refused_unless_it_is_one_directory() {
        let root = tempfile::tempdir().expect("a directory");
        RealDisk::open(&directories(root.path(), "data")).expect("one directory");
        fs::write(root.path().join("data/version-2/log.1"), "").expect("writes");
        RealDisk::open(&directories(root.path(), "data")).expect("one directory");
        std::os::unix::fs::symlink("data", root.path().join("link")).expect("links");
        RealDisk::open(&directories(root.path(), "link")).expect("still one directory");
        let error = RealDisk::open(&directories(root.path(), "logs")).expect_err("mixed up");
        assert!(matches!(error, OpenError::MixedUp { name, .. } if name == "log.1"));
    }

    #[test]
    fn unfinished_files_are_removed_and_others_left() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("data/version-2");
        fs::create_dir_all(&dir).expect("creates");
        for name in ["tmp.snapshot.5", "log.5.tmp", "currentEpoch.tmp", "snapshot.5", "notes"] {
            fs::write(dir.join(name), "").expect("writes");
        }
        let disk = RealDisk::open(&directories(root.path(), "data")).expect("opens");
        let mut names = disk.names(Dir::Snapshots).expect("lists");
        names.sort();
        assert_eq!(names, ["currentEpoch.tmp", "notes", "snapshot.5"]);
    }

    #[test]
    fn files_are_replaced_whole() {
        let root = tempfile::tempdir().expect("a directory");
        let disk = RealDisk::open(&directories(root.path(), "data")).expect("opens");
        write_epoch(&disk, EpochFile::Current, 5).expect("writes");
        assert_eq!(read_epoch(&disk, EpochFile::Current).expect("reads"), Some(5));
        let failed = disk.replace(Dir::Snapshots, "currentEpoch", &mut |out| {
            out.write_all(b"6")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(read_epoch(&disk, EpochFile::Current).expect("reads"), Some(5));
        assert_eq!(disk.names(Dir::Snapshots).expect("lists"), ["currentEpoch"]);
    }

    #[test]
    fn a_snapshot_is_there_whole_under_its_name() {
        let root = tempfile::tempdir().expect("a directory");
        let disk = RealDisk::open(&directories(root.path(), "data")).expect("opens");
        let file = SnapshotFile::new(Zxid(7), Compression::Plain);
        let size = write_snapshot(&disk, &file, &mut |writer| {
            writer.write_body(&[7; 1_000_000])?;
            Ok(Trailer::default())
        });
        assert_eq!(size.expect("writes"), disk.size(Dir::Snapshots, "snapshot.7").expect("there"));
        assert!(looks_whole(&disk, &file).expect("reads"));
        assert_eq!(disk.names(Dir::Snapshots).expect("lists").len(), 1);
    }
}
