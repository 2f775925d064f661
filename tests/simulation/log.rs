//! The log's writer as the simulator has it: txns wait, are written together, and are durable once a flush returns.
//! The files are Apache's, made with the functions that the real writer uses.

use std::collections::VecDeque;
use std::io;

use zkd::ids::Zxid;
use zkd::storage::disk::temporary_name;
use zkd::storage::log_files::LogFile;
use zkd::storage::txn_log::{put_header, put_record};
use zkd::storage::{Dir, Disk};
use zkd::zab::Logged;

use super::disk::SimDisk;

enum Command {
    Append(Vec<Logged>),
    Roll,
}

struct Open {
    name: String,
    /// Whether it has its final name.
    published: bool,
    /// Behind the last record.
    end: usize,
}

/// The writer of one process.
pub(crate) struct SimLog {
    queue: VecDeque<Command>,
    open: Option<Open>,
    /// What is written and not flushed.
    writing: Option<Zxid>,
    /// The batch that waits for space.
    waiting: Option<Vec<Logged>>,
    padded: bool,
}

/// How starting to write went.
pub(crate) enum Started {
    /// There is nothing to do, or a flush is under way.
    Nothing,
    /// A flush is under way.
    Flushing,
    /// There is no space.
    Full,
}

impl SimLog {
    pub(crate) fn new(padded: bool) -> Self {
        Self { queue: VecDeque::new(), open: None, writing: None, waiting: None, padded }
    }

    pub(crate) fn append(&mut self, txns: Vec<Logged>) {
        self.queue.push_back(Command::Append(txns));
    }

    pub(crate) fn roll(&mut self) {
        self.queue.push_back(Command::Roll);
    }

    /// The name of the file that is being written.
    pub(crate) fn current(&self) -> Option<String> {
        self.open.as_ref().map(|open| if open.published { open.name.clone() } else { temporary_name(&open.name) })
    }

    /// Begins to write what waits.
    pub(crate) fn start(&mut self, disk: &SimDisk) -> io::Result<Started> {
        if self.writing.is_some() {
            return Ok(Started::Nothing);
        }
        if self.waiting.is_none() {
            self.waiting = self.gather(disk)?;
        }
        let Some(batch) = self.waiting.take() else { return Ok(Started::Nothing) };
        if disk.is_full() {
            self.waiting = Some(batch);
            return Ok(Started::Full);
        }
        self.write(disk, &batch)?;
        Ok(Started::Flushing)
    }

    /// All txns that wait, up to the next roll.
    fn gather(&mut self, disk: &SimDisk) -> io::Result<Option<Vec<Logged>>> {
        let mut batch = Vec::new();
        loop {
            match self.queue.pop_front() {
                Some(Command::Append(txns)) => batch.extend(txns),
                Some(Command::Roll) if batch.is_empty() => self.end_file(disk)?,
                Some(Command::Roll) => {
                    self.queue.push_front(Command::Roll);
                    return Ok(Some(batch));
                }
                None => return Ok((!batch.is_empty()).then_some(batch)),
            }
        }
    }

    fn end_file(&mut self, disk: &SimDisk) -> io::Result<()> {
        match self.open.take() {
            Some(open) if self.padded => disk.truncate(Dir::Logs, &open.name, open.end as u64),
            Some(_) | None => Ok(()),
        }
    }

    fn write(&mut self, disk: &SimDisk, batch: &[Logged]) -> io::Result<()> {
        let (Some((first, _)), Some((last, _))) = (batch.first(), batch.last()) else { return Ok(()) };
        let mut bytes = Vec::new();
        if self.open.is_none() {
            let name = LogFile::new(*first).name;
            disk.create(Dir::Logs, &temporary_name(&name))?;
            put_header(&mut bytes);
            self.open = Some(Open { name, published: false, end: 0 });
        }
        for (_, body) in batch {
            put_record(&mut bytes, body);
        }
        self.writing = Some(*last);
        let name = self.current();
        if let (Some(open), Some(name)) = (&mut self.open, name) {
            disk.write_at(Dir::Logs, &name, open.end, &bytes, self.padded)?;
            open.end += bytes.len();
        }
        Ok(())
    }

    /// The flush returns: everything up to the zxid is durable.
    pub(crate) fn flushed(&mut self, disk: &SimDisk) -> io::Result<Option<Zxid>> {
        let Some(last) = self.writing.take() else { return Ok(None) };
        let Some(name) = self.current() else { return Ok(None) };
        disk.sync_file(Dir::Logs, &name)?;
        if let Some(open) = self.open.as_mut().filter(|open| !open.published) {
            disk.rename(Dir::Logs, &name, &open.name)?;
            disk.sync_dir(Dir::Logs)?;
            open.published = true;
        }
        Ok(Some(last))
    }

    /// Writes and flushes everything that waits, at once, and ends the file. Returns the last durable txn, if there was
    /// one to write.
    pub(crate) fn close(&mut self, disk: &SimDisk) -> io::Result<Option<Zxid>> {
        let mut durable = self.flushed(disk)?;
        loop {
            match self.start(disk)? {
                Started::Flushing => durable = self.flushed(disk)?.or(durable),
                Started::Full => return Err(io::Error::other("stopped on a full disk")),
                Started::Nothing => break,
            }
        }
        self.end_file(disk)?;
        Ok(durable)
    }
}
