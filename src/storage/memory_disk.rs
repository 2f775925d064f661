//! A disk in memory, for tests and simulations. It keeps everything at once: crashes are the caller's to act out,
//! by cutting and changing files with [`MemoryDisk::edit`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, ErrorKind, Read, Write};

use super::disk::{Dir, Disk};

/// Files by directory and name.
#[derive(Clone, Default, Debug)]
pub struct MemoryDisk {
    files: RefCell<BTreeMap<(Dir, String), Vec<u8>>>,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file there, or replaces it.
    pub fn put(&self, dir: Dir, name: &str, bytes: impl Into<Vec<u8>>) {
        self.files.borrow_mut().insert((dir, name.to_owned()), bytes.into());
    }

    /// A copy of a file's content.
    #[must_use]
    pub fn get(&self, dir: Dir, name: &str) -> Option<Vec<u8>> {
        self.files.borrow().get(&(dir, name.to_owned())).cloned()
    }

    /// Changes a file in place, as an append, a crash or a rotten sector would.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn edit<T>(&self, dir: Dir, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        match self.files.borrow_mut().get_mut(&(dir, name.to_owned())) {
            Some(bytes) => Ok(change(bytes)),
            None => Err(missing(name)),
        }
    }
}

impl Disk for MemoryDisk {
    fn names(&self, dir: Dir) -> io::Result<Vec<String>> {
        Ok(self.files.borrow().keys().filter(|(at, _)| *at == dir).map(|(_, name)| name.clone()).collect())
    }

    fn size(&self, dir: Dir, name: &str) -> io::Result<u64> {
        self.edit(dir, name, |bytes| bytes.len() as u64)
    }

    fn open(&self, dir: Dir, name: &str, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.get(dir, name).ok_or_else(|| missing(name))?;
        let mut cursor = Cursor::new(bytes);
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    }

    fn replace(&self, dir: Dir, name: &str, fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<u64> {
        let mut bytes = Vec::new();
        fill(&mut bytes)?;
        let size = bytes.len() as u64;
        self.put(dir, name, bytes);
        Ok(size)
    }

    fn remove(&self, dir: Dir, name: &str) -> io::Result<()> {
        match self.files.borrow_mut().remove(&(dir, name.to_owned())) {
            Some(_) => Ok(()),
            None => Err(missing(name)),
        }
    }

    fn truncate(&self, dir: Dir, name: &str, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).map_err(io::Error::other)?;
        self.edit(dir, name, |bytes| bytes.resize(size, 0))
    }

    fn sync_file(&self, dir: Dir, name: &str) -> io::Result<()> {
        self.edit(dir, name, |_| ())
    }

    fn sync_dir(&self, _: Dir) -> io::Result<()> {
        Ok(())
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("no file {name}"))
}
