//! The txn log's files as the system has them.
//!
//! A log is written once, from its beginning to its end, flushed after each batch, and hardly ever read. So its bytes go
//! past the page cache where the file system lets them (`O_DIRECT`): they need not be copied there and found again when
//! they are flushed (docs/performance.md). Such writes are whole blocks, so the last one, which is seldom full, is kept
//! and written again with what comes behind it; what a block has behind the end are the zeros that are in the file anyway.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::direct::{BLOCK_BYTES, Staged, is_unable, set_direct};
use super::log_segment::{LogDir, LogOut};

/// More goes out in several writes.
const STAGED_BYTES_MAX: usize = 1 << 20;

/// A real directory.
pub(super) struct RealLogDir {
    path: PathBuf,
    /// Open, to be flushed: there may be no other descriptor left.
    handle: File,
    /// Whether files are written past the page cache, where the file system can.
    direct: bool,
}

impl RealLogDir {
    pub(super) fn open(path: PathBuf, direct: bool) -> io::Result<Self> {
        Ok(Self { handle: File::open(&path)?, path, direct })
    }
}

impl LogDir for RealLogDir {
    fn create(&mut self, name: &str) -> io::Result<Box<dyn LogOut>> {
        let path = self.path.join(name);
        if self.direct {
            match create(&path, OFlags::DIRECT) {
                Ok(file) => return Ok(Box::new(RealLogOut { file, blocks: Some(Blocks::default()) })),
                Err(error) if is_unable(&error) => {
                    tracing::info!(%error, "this file system cannot write past the page cache");
                    self.direct = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Box::new(RealLogOut { file: create(&path, OFlags::empty())?, blocks: None }))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

fn create(path: &Path, flags: OFlags) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags.bits().cast_signed()).open(path)
}

struct RealLogOut {
    file: File,
    /// `None`: writes go through the page cache.
    blocks: Option<Blocks>,
}

impl LogOut for RealLogOut {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if let Some(blocks) = self.blocks.as_mut().filter(|blocks| blocks.end == offset) {
            match blocks.write(&self.file, bytes) {
                Err(error) if is_unable(&error) => {
                    tracing::info!(%error, "this file system cannot write past the page cache");
                }
                written => return written,
            }
        }
        self.through_the_cache()?;
        self.file.write_at(bytes, offset)
    }

    fn allocate(&mut self, from: u64, to: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), from, to - from) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                // What Apache does everywhere: a longer file, without space for it.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.file.set_len(to)?;
                    break;
                }
                // There may be enough for what is written. What little it got others need.
                Err(Errno::NOSPC | Errno::DQUOT) => {
                    self.file.set_len(from)?;
                    self.file.set_len(to)?;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(blocks) = &mut self.blocks {
            blocks.file_bytes = to;
        }
        Ok(())
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.through_the_cache()?;
        self.file.set_len(size)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl RealLogOut {
    /// From here on this file is written as any other.
    fn through_the_cache(&mut self) -> io::Result<()> {
        if self.blocks.take().is_some() {
            set_direct(&self.file, false)?;
        }
        Ok(())
    }
}

/// Writes in whole blocks.
#[derive(Default)]
struct Blocks {
    /// The file's length: no block may reach beyond it.
    file_bytes: u64,
    /// Behind the last byte written.
    end: u64,
    /// The bytes of the last block, before `end`.
    tail: Vec<u8>,
    staged: Staged,
}

impl Blocks {
    /// Writes some of `bytes` at the end; how many.
    fn write(&mut self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        let kept = self.tail.len();
        let taken = &bytes[..bytes.len().min(STAGED_BYTES_MAX - kept)];
        let (begin, length) = (self.end - kept as u64, kept + taken.len());
        let padded = length.next_multiple_of(BLOCK_BYTES);
        let blocks = self.staged.get(padded)?;
        blocks[..kept].copy_from_slice(&self.tail);
        blocks[kept..length].copy_from_slice(taken);
        blocks[length..].fill(0);
        let written = if begin + padded as u64 <= self.file_bytes {
            write_blocks(file, blocks, begin)?.min(length).saturating_sub(kept)
        } else {
            // A whole block would make the file longer.
            set_direct(file, false)?;
            let written = file.write_at(taken, self.end);
            set_direct(file, true)?;
            written?
        };
        let written_blocks = &blocks[..kept + written];
        self.end += written as u64;
        self.tail.clear();
        self.tail.extend_from_slice(&written_blocks[written_blocks.len() / BLOCK_BYTES * BLOCK_BYTES..]);
        Ok(written)
    }
}

/// How many bytes went out; what came in the way is told when nothing did.
fn write_blocks(file: &File, blocks: &[u8], begin: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < blocks.len() {
        match file.write_at(&blocks[done..], begin + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as `Segments` makes it: the batches one behind the other, with space ahead.
    fn write(dir: &Path, direct: bool, batches: &[usize]) -> Vec<u8> {
        let mut dir = RealLogDir::open(dir.to_owned(), direct).expect("opens");
        let name = format!("log.{direct}");
        let mut out = dir.create(&name).expect("creates");
        let (mut end, mut size) = (0, 0);
        for (i, &length) in batches.iter().enumerate() {
            if end + 4096 >= size {
                out.allocate(size, size + SPACE).expect("allocates");
                size += SPACE;
            }
            let batch = vec![b'a' + (i % 26) as u8; length];
            let mut done = 0;
            while done < length {
                done += out.write_at(&batch[done..], end + done as u64).expect("writes");
            }
            out.sync().expect("flushes");
            end += length as u64;
        }
        fs::read(dir.path.join(name)).expect("reads")
    }

    const SPACE: u64 = 100_000;

    #[test]
    fn past_the_page_cache_or_through_it_the_file_is_the_same() {
        let root = tempfile::tempdir().expect("a directory");
        let batches = [
            vec![16, 1, 4095, 4096, 4097, 3, 8192, 60_000, 1, 30_000],
            vec![4096, 4096, 4096],
            // The last block of what there is space for is not whole; and one batch is larger than all space.
            vec![99_000, 999, 5, 250_000, 7],
            vec![3 << 20, 12, 12],
            (0..300).map(|i| i * 37 % 211 + 1).collect(),
        ];
        for batches in batches {
            let (direct, plain) = (write(root.path(), true, &batches), write(root.path(), false, &batches));
            assert_eq!(direct.len(), plain.len(), "{batches:?}");
            assert!(direct == plain, "{batches:?}");
        }
    }

    #[test]
    fn a_batch_that_is_taken_back_is_written_again() {
        let root = tempfile::tempdir().expect("a directory");
        let mut dir = RealLogDir::open(root.path().to_owned(), true).expect("opens");
        let mut out = dir.create("log").expect("creates");
        out.allocate(0, SPACE).expect("allocates");
        assert_eq!(out.write_at(&[b'a'; 5000], 0).expect("writes"), 5000);
        assert_eq!(out.write_at(&[b'x'; 700], 5000).expect("writes"), 700);
        out.truncate(5000).expect("truncates");
        assert_eq!(out.write_at(&[b'b'; 600], 5000).expect("writes"), 600);
        out.sync().expect("flushes");
        let file = fs::read(root.path().join("log")).expect("reads");
        assert!(file == [[b'a'; 5000].as_slice(), &[b'b'; 600]].concat());
    }
}
