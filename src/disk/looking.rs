//! The data directories of somebody else, looked at and left as they are: nothing is created, locked or tidied up. What
//! a starting server would write or cut is let pass, and counted.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::files::{Directories, OpenError, VERSION, is_same, names, refuse_mixed_up};
use crate::storage::{Dir, Disk};

/// Data directories that are only read.
#[derive(Debug)]
pub struct LookingDisk {
    snapshots: PathBuf,
    logs: PathBuf,
    log_root: PathBuf,
    changes: AtomicUsize,
}

impl LookingDisk {
    /// Finds the directories.
    ///
    /// # Errors
    /// When one of them is missing, or the files are in the wrong one.
    pub fn open(directories: &Directories) -> Result<Self, OpenError> {
        let (snapshots, logs) = (directories.data_dir.join(VERSION), directories.data_log_dir.join(VERSION));
        for dir in [&snapshots, &logs] {
            if !dir.is_dir() {
                return Err(OpenError::Missing(dir.clone()));
            }
        }
        let same = is_same(&snapshots, &logs).map_err(|source| OpenError::Io { path: logs.clone(), source })?;
        if !same {
            refuse_mixed_up(&snapshots, "log.", &logs)?;
            refuse_mixed_up(&logs, "snapshot.", &snapshots)?;
        }
        Ok(Self { snapshots, logs, log_root: directories.data_log_dir.clone(), changes: AtomicUsize::new(0) })
    }

    /// How many changes a starting server would have made.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes.load(Relaxed)
    }

    fn path(&self, dir: Dir, name: &str) -> PathBuf {
        self.dir(dir).join(name)
    }

    const fn dir(&self, dir: Dir) -> &PathBuf {
        match dir {
            Dir::Snapshots => &self.snapshots,
            Dir::Logs => &self.logs,
            Dir::LogRoot => &self.log_root,
        }
    }

    fn let_pass(&self) {
        self.changes.fetch_add(1, Relaxed);
    }
}

impl Disk for LookingDisk {
    fn names(&self, dir: Dir) -> io::Result<Vec<String>> {
        names(self.dir(dir))
    }

    fn size(&self, dir: Dir, name: &str) -> io::Result<u64> {
        fs::metadata(self.path(dir, name)).map(|metadata| metadata.len())
    }

    fn open(&self, dir: Dir, name: &str, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = fs::File::open(self.path(dir, name))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn replace(&self, _: Dir, _: &str, fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<u64> {
        self.let_pass();
        let mut bytes = Vec::new();
        fill(&mut bytes)?;
        Ok(bytes.len() as u64)
    }

    fn remove(&self, dir: Dir, name: &str) -> io::Result<()> {
        fs::metadata(self.path(dir, name))?;
        self.let_pass();
        Ok(())
    }

    fn truncate(&self, _: Dir, _: &str, _: u64) -> io::Result<()> {
        self.let_pass();
        Ok(())
    }

    fn sync_file(&self, _: Dir, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: Dir) -> io::Result<()> {
        Ok(())
    }
}
