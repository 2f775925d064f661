//! The log file that is being written: how it comes to be, grows, and takes a batch.
//!
//! A batch goes in with one flush. Until that has returned, and for a new file its name stands in the directory, the
//! batch is not there: [`Segments::append`] may fail at any step and be called again with the same
//! batch, and writes the same bytes to the same place.

use std::io::{self, ErrorKind};

use crate::ids::Zxid;
use crate::storage::disk::{is_full, temporary_name};
use crate::storage::log_files::LogFile;
use crate::storage::txn_log::{HEADER_LENGTH, RECORD_OVERHEAD, put_header, put_record};

/// Txns that are written and flushed together.
#[derive(Debug)]
pub(super) struct Batch {
    /// A file header, in case the batch begins a file, and the records.
    bytes: Vec<u8>,
    /// Where in `bytes` each record begins.
    starts: Vec<usize>,
    first: Zxid,
    last: Zxid,
}

impl Batch {
    pub(super) fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), starts: Vec::new(), first: Zxid::ZERO, last: Zxid::ZERO };
        batch.clear();
        batch
    }

    /// Appends a record; zxids rise for as long as the process lives.
    pub(super) fn push(&mut self, zxid: Zxid, body: &[u8]) {
        assert!(zxid > self.last, "txn {zxid} appended behind {}", self.last);
        if self.is_empty() {
            self.first = zxid;
        }
        self.last = zxid;
        self.starts.push(self.bytes.len());
        self.bytes.reserve(body.len() + RECORD_OVERHEAD);
        put_record(&mut self.bytes, body);
    }

    pub(super) fn clear(&mut self) {
        self.starts.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BUFFER_KEPT_BYTES);
        put_header(&mut self.bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub(super) fn txns(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of the records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() - HEADER_LENGTH
    }

    pub(super) fn last(&self) -> Zxid {
        self.last
    }
}

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// There is no space, or no descriptor: the same batch may be tried again.
    Full(io::Error),
    /// The state of the file is not known: nothing more may be written.
    Failed(String),
}

/// The directory as the writer needs it; tests put failures in its place.
pub(super) trait LogDir: Send {
    /// Creates a file, replacing one of that name.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn LogOut>>;
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

/// An open log file.
pub(super) trait LogOut: Send {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes the file larger; the new part reads as zeros.
    fn allocate(&mut self, from: u64, to: u64) -> io::Result<()>;
    fn truncate(&mut self, size: u64) -> io::Result<()>;
    /// Flushes the content, and of the rest what is needed to read it.
    fn sync(&mut self) -> io::Result<()>;
}

/// The log's files as they are written one after the other.
pub(super) struct Segments {
    dir: Box<dyn LogDir>,
    prealloc_bytes: u64,
    force_sync: bool,
    open: Option<Segment>,
}

struct Segment {
    out: Box<dyn LogOut>,
    name: String,
    /// Whether the file has its final name.
    published: bool,
    /// Behind the last record that was written whole.
    end: u64,
    /// With padding.
    size: u64,
}

impl Segments {
    /// `prealloc_bytes` is the unit in which files grow, 0 for none; without `force_sync` nothing is flushed.
    pub(super) fn new(dir: Box<dyn LogDir>, prealloc_bytes: u64, force_sync: bool) -> Self {
        Self { dir, prealloc_bytes, force_sync, open: None }
    }

    /// Writes and flushes a batch; begins a file if none is open.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let segment = match &mut self.open {
            Some(segment) => segment,
            None => self.open.insert(Segment::create(&mut *self.dir, batch.first)?),
        };
        segment.grow(batch, self.prealloc_bytes)?;
        let written = segment.write(batch)?;
        if self.force_sync {
            segment.out.sync().map_err(failed("flush", &segment.name))?;
        }
        if !segment.published {
            segment.publish(&mut *self.dir, self.force_sync)?;
        }
        segment.end += written;
        Ok(())
    }

    /// Ends the open file, if any, and gives back what space it has ahead; the next batch begins another.
    pub(super) fn roll(&mut self) -> Result<(), WriteError> {
        match self.open.take() {
            // Nothing was acknowledged of it: it is removed at the next start, or replaced before.
            Some(Segment { published: false, .. }) | None => Ok(()),
            Some(mut segment) => {
                if segment.end < segment.size {
                    segment.take_back()?;
                }
                if self.force_sync {
                    segment.out.sync().map_err(failed("flush", &segment.name))?;
                }
                Ok(())
            }
        }
    }

    /// The open file's size with padding, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.open.as_ref().map_or(0, |segment| segment.size)
    }
}

impl Segment {
    fn create(dir: &mut dyn LogDir, first: Zxid) -> Result<Self, WriteError> {
        let name = LogFile::new(first).name;
        // Under its own name it would be a log without a header for a moment, which Apache 3.8 does not survive.
        let out = dir.create(&temporary_name(&name)).map_err(full_or_failed("create", &name))?;
        Ok(Self { out, name, published: false, end: 0, size: 0 })
    }

    fn grow(&mut self, batch: &Batch, unit: u64) -> Result<(), WriteError> {
        let mut size = self.size;
        for start in &batch.starts {
            size = grown(self.end + (start - self.skipped()) as u64, size, unit);
        }
        if size > self.size {
            self.out.allocate(self.size, size).map_err(full_or_failed("extend", &self.name))?;
            self.size = size;
        }
        Ok(())
    }

    /// Returns how many bytes were written at the end.
    fn write(&mut self, batch: &Batch) -> Result<u64, WriteError> {
        let bytes = &batch.bytes[self.skipped()..];
        let mut done = 0;
        while done < bytes.len() {
            let error = match self.out.write_at(&bytes[done..], self.end + done as u64) {
                Ok(0) => io::Error::from(ErrorKind::WriteZero),
                Ok(count) => {
                    done += count;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            if done > 0 {
                self.take_back()?;
            }
            return Err(full_or_failed("write", &self.name)(error));
        }
        let end = self.end + bytes.len() as u64;
        self.size = self.size.max(end);
        Ok(bytes.len() as u64)
    }

    /// What is behind the last whole record goes: a half one may not stay, and space need not.
    fn take_back(&mut self) -> Result<(), WriteError> {
        self.out.truncate(self.end).map_err(failed("truncate", &self.name))?;
        self.size = self.end;
        Ok(())
    }

    fn publish(&mut self, dir: &mut dyn LogDir, force_sync: bool) -> Result<(), WriteError> {
        dir.rename(&temporary_name(&self.name), &self.name).map_err(full_or_failed("rename", &self.name))?;
        if force_sync {
            dir.sync().map_err(failed("flush the directory of", &self.name))?;
        }
        self.published = true;
        Ok(())
    }

    /// A batch's file header is for the first batch of a file only.
    fn skipped(&self) -> usize {
        if self.end == 0 { 0 } else { HEADER_LENGTH }
    }
}

/// The size that a file has to have before a record is written at `position` (storage.md 2.1).
fn grown(position: u64, size: u64, unit: u64) -> u64 {
    if unit == 0 {
        return size;
    }
    let size = size.max(HEADER_LENGTH as u64);
    if position + GROW_AHEAD_BYTES < size {
        size
    } else if position > size {
        (position + unit) / unit * unit
    } else {
        size + unit
    }
}

fn full_or_failed(what: &str, name: &str) -> impl FnOnce(io::Error) -> WriteError {
    move |error| if is_full(&error) { WriteError::Full(error) } else { failed(what, name)(error) }
}

fn failed(what: &str, name: &str) -> impl FnOnce(io::Error) -> WriteError {
    move |error| WriteError::Failed(format!("cannot {what} {name}: {error}"))
}

/// The file grows once the end is as close as this, as Apache's does.
const GROW_AHEAD_BYTES: u64 = 4096;
/// A buffer that one large batch made larger is given back.
const BUFFER_KEPT_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_grow_as_apaches_do() {
        let unit = 65_536 << 10;
        assert_eq!(grown(16, 0, unit), 67_108_880);
        assert_eq!(grown(16, 16, 64 << 10), 65_552);
        assert_eq!(grown(16 + 61_439, 65_552, 64 << 10), 65_552);
        assert_eq!(grown(16 + 61_440, 65_552, 64 << 10), 65_552 + 65_536);
        // A record larger than what was ahead: to a whole number of units.
        assert_eq!(grown(200_000, 65_552, 64 << 10), 4 * 65_536);
        assert_eq!(grown(200_000, 65_552, 0), 65_552);
    }
}
