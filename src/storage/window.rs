//! A moving window over a byte stream: whole records are parsed where they lie, without a copy each.

use std::io::{self, ErrorKind, Read};

/// Bytes of a stream that were read and not yet consumed.
///
/// The buffer grows only for a record that is larger, and never to more than twice of what really came in: a length
/// that lies costs nothing.
pub(crate) struct Window<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    exhausted: bool,
}

impl<R: Read> Window<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, buffer: vec![0; SIZE_FIRST], start: 0, end: 0, offset: 0, exhausted: false }
    }

    /// What is there.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The stream's position of the first of [`bytes`](Self::bytes).
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Moves on by `count`, which must be there.
    pub(crate) fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "consuming {count} of {} bytes", self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads until `wanted` bytes are there; false when the stream ends before.
    pub(crate) fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.end - self.start < wanted {
            if !self.more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads at least one byte more; false when the stream has ended.
    pub(crate) fn more(&mut self) -> io::Result<bool> {
        if self.exhausted {
            return Ok(false);
        }
        self.make_room();
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.exhausted = true;
                    return Ok(false);
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }
}

/// Bytes; small enough to stay in the processor's cache between reading, parsing and hashing.
const SIZE_FIRST: usize = 256 << 10;
