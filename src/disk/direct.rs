//! Writing past the page cache (`O_DIRECT`), where the file system can: in whole blocks, from memory that begins at one.
//!
//! The log does so because it is written once and hardly read again. A snapshot does so for the log's sake: what is in
//! the page cache goes to the disk all at once in the end, and a flush of the log that comes then waits for all of it
//! (docs/performance.md).

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// The unit of such writes: a multiple of what any disk in use asks for.
pub(super) const BLOCK_BYTES: usize = 4096;
/// What a large file is written by: on a disk, no longer than a flush takes anyway.
const PIECE_BYTES: usize = 64 * BLOCK_BYTES;

/// Whether writes to a file go past the page cache.
pub(super) fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let others = fcntl_getfl(file)? - OFlags::DIRECT;
    Ok(fcntl_setfl(file, if direct { others | OFlags::DIRECT } else { others })?)
}

/// Whether it is the way of writing that the file system does not have.
pub(super) fn is_unable(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP))
}

/// Memory in which blocks lie as the disk wants them.
#[derive(Default)]
pub(super) struct Staged(Vec<u8>);

impl Staged {
    /// The first `bytes` of it, with what was there before if there were as many.
    pub(super) fn get(&mut self, bytes: usize) -> io::Result<&mut [u8]> {
        self.0.resize(self.0.len().max(bytes + BLOCK_BYTES), 0);
        let aligned = self.0.as_ptr().align_offset(BLOCK_BYTES);
        self.0.get_mut(aligned..aligned.saturating_add(bytes)).ok_or_else(|| Errno::INVAL.into())
    }
}

/// A new file, written from its beginning to its end.
pub(super) struct NewFile {
    file: File,
    /// What has come since the last whole piece.
    staged: Staged,
    filled: usize,
    /// Pieces that were written, in bytes.
    written: u64,
}

impl NewFile {
    pub(super) fn new(file: File) -> Self {
        Self { file, staged: Staged::default(), filled: 0, written: 0 }
    }

    fn write_piece(&mut self) -> io::Result<()> {
        if self.written == 0 {
            set_direct(&self.file, true).or_else(tolerate)?;
        }
        let piece = self.staged.get(PIECE_BYTES)?;
        if let Err(error) = self.file.write_all_at(piece, self.written) {
            tolerate(error)?;
            set_direct(&self.file, false)?;
            self.file.write_all_at(piece, self.written)?;
        }
        (self.written, self.filled) = (self.written + PIECE_BYTES as u64, 0);
        Ok(())
    }

    /// Writes what is left and flushes the file. Returns its length in bytes.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        set_direct(&self.file, false)?;
        let rest = &self.staged.get(PIECE_BYTES)?[..self.filled];
        self.file.write_all_at(rest, self.written)?;
        self.file.sync_all()?;
        Ok(self.written + self.filled as u64)
    }
}

/// A file system that cannot is no error: the page cache is as good.
fn tolerate(error: io::Error) -> io::Result<()> {
    if !is_unable(&error) {
        return Err(error);
    }
    tracing::info!(%error, "this file system cannot write past the page cache");
    Ok(())
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = &mut self.staged.get(PIECE_BYTES)?[self.filled..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled == PIECE_BYTES {
            self.write_piece()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_goes_past_the_page_cache_where_that_can_be() {
        let dir = tempfile::tempdir().expect("a directory");
        let create = |name| File::create(dir.path().join(name)).expect("creates");
        let can = set_direct(&create("other"), true).is_ok();
        let mut out = NewFile::new(create("file"));
        let is_direct = |out: &NewFile| fcntl_getfl(&out.file).expect("flags").contains(OFlags::DIRECT);
        out.write_all(&[7; PIECE_BYTES - 1]).expect("writes");
        assert!(!is_direct(&out), "a small file is none of this");
        out.write_all(&[7; 2]).expect("writes");
        assert_eq!(is_direct(&out), can);
    }

    #[test]
    fn a_file_is_what_was_written_whatever_its_length() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for length in [0, 1, BLOCK_BYTES, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 4099] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
            let mut out = NewFile::new(File::create(&path).expect("creates"));
            for part in bytes.chunks(10_007) {
                out.write_all(part).expect("writes");
            }
            assert_eq!(out.finish().expect("finishes"), length as u64);
            assert!(std::fs::read(&path).expect("reads") == bytes, "{length}");
        }
    }
}
