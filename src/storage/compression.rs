//! The two ways of compressing a snapshot, and none.
//!
//! Snappy is in the framing of the Java library, not the one of snappy's own format description: a header of 16 bytes,
//! then blocks of a length and as many bytes (storage.md 3.1).

use std::io::{self, ErrorKind, Read, Write};

use bytes::{Buf, BufMut};
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// How a snapshot file is compressed; its name's ending says so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    Plain,
    /// One gzip member.
    Gz,
    /// Snappy blocks in Java's framing.
    Snappy,
}

impl Compression {
    /// What the file's name ends in.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Compression::Plain => "",
            Compression::Gz => ".gz",
            Compression::Snappy => ".snappy",
        }
    }

    /// The first bytes of such a file; those of a plain one are the snapshot's own.
    #[must_use]
    pub const fn magic(self) -> &'static [u8] {
        match self {
            Compression::Plain => b"ZKSN",
            Compression::Gz => b"\x1f\x8b",
            Compression::Snappy => SNAPPY_MAGIC,
        }
    }

    /// Reads what was compressed.
    #[must_use]
    pub fn reader<'a>(self, source: impl Read + 'a) -> Box<dyn Read + 'a> {
        match self {
            Compression::Plain => Box::new(source),
            Compression::Gz => Box::new(GzDecoder::new(source)),
            Compression::Snappy => Box::new(SnappyReader::new(source)),
        }
    }

    /// Writes compressed.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn writer<W: Write>(self, out: W) -> io::Result<Compressor<W>> {
        Ok(match self {
            Compression::Plain => Compressor(Inner::Plain(out)),
            Compression::Gz => Compressor(Inner::Gz(GzEncoder::new(out, flate2::Compression::default()))),
            Compression::Snappy => Compressor(Inner::Snappy(Box::new(SnappyWriter::begin(out)?))),
        })
    }
}

/// Compresses what is written to it.
pub struct Compressor<W: Write>(Inner<W>);

enum Inner<W: Write> {
    Plain(W),
    Gz(GzEncoder<W>),
    Snappy(Box<SnappyWriter<W>>),
}

impl<W: Write> Compressor<W> {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Those of the file below.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Inner::Plain(out) => out.write_all(bytes),
            Inner::Gz(out) => out.write_all(bytes),
            Inner::Snappy(out) => out.write_all(bytes),
        }
    }

    /// Writes what was held back, and gives the file back.
    ///
    /// # Errors
    /// Those of the file below.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::Plain(out) => Ok(out),
            Inner::Gz(out) => out.finish(),
            Inner::Snappy(out) => out.finish(),
        }
    }
}

struct SnappyWriter<W> {
    out: W,
    encoder: snap::raw::Encoder,
    pending: Vec<u8>,
    block: Vec<u8>,
}

impl<W: Write> SnappyWriter<W> {
    fn begin(mut out: W) -> io::Result<Self> {
        let mut header = Vec::with_capacity(SNAPPY_HEADER_LENGTH);
        header.put_slice(SNAPPY_MAGIC);
        header.put_i32(SNAPPY_VERSION);
        header.put_i32(SNAPPY_VERSION);
        out.write_all(&header)?;
        Ok(Self { out, encoder: snap::raw::Encoder::new(), pending: Vec::new(), block: Vec::new() })
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(SNAPPY_BLOCK_BYTES - self.pending.len()));
            self.pending.extend_from_slice(head);
            bytes = rest;
            if self.pending.len() == SNAPPY_BLOCK_BYTES {
                self.put_block()?;
            }
        }
        Ok(())
    }

    fn put_block(&mut self) -> io::Result<()> {
        self.block.resize(4 + snap::raw::max_compress_len(self.pending.len()), 0);
        let length = self.encoder.compress(&self.pending, &mut self.block[4..]).map_err(io::Error::other)?;
        (&mut self.block[..4]).put_u32(u32::try_from(length).map_err(io::Error::other)?);
        self.pending.clear();
        self.out.write_all(&self.block[..4 + length])
    }

    fn finish(mut self) -> io::Result<W> {
        if !self.pending.is_empty() {
            self.put_block()?;
        }
        Ok(self.out)
    }
}

struct SnappyReader<R> {
    source: R,
    decoder: snap::raw::Decoder,
    begun: bool,
    compressed: Vec<u8>,
    plain: Vec<u8>,
    taken: usize,
}

impl<R: Read> SnappyReader<R> {
    fn new(source: R) -> Self {
        let decoder = snap::raw::Decoder::new();
        Self { source, decoder, begun: false, compressed: Vec::new(), plain: Vec::new(), taken: 0 }
    }

    fn check_header(&mut self) -> io::Result<()> {
        let mut header = [0; SNAPPY_HEADER_LENGTH];
        self.source.read_exact(&mut header)?;
        let Some(mut versions) = header.strip_prefix(SNAPPY_MAGIC) else { return Err(invalid("no snappy header")) };
        let (_written, compatible) = (versions.get_i32(), versions.get_i32());
        if compatible > SNAPPY_VERSION {
            return Err(invalid("a newer version of the snappy framing"));
        }
        self.begun = true;
        Ok(())
    }

    /// False at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut prefix = [0; 4];
        let read = read_up_to(&mut self.source, &mut prefix)?;
        if read == 0 {
            return Ok(false);
        }
        if read < prefix.len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let length = bounded(u32::from_be_bytes(prefix) as usize)?;
        self.compressed.resize(length, 0);
        self.source.read_exact(&mut self.compressed)?;
        self.plain.resize(bounded(snap::raw::decompress_len(&self.compressed).map_err(invalid)?)?, 0);
        self.decoder.decompress(&self.compressed, &mut self.plain).map_err(invalid)?;
        self.taken = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.begun {
            self.check_header()?;
        }
        while self.taken == self.plain.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.plain.len() - self.taken);
        out[..count].copy_from_slice(&self.plain[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

fn read_up_to(source: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < out.len() {
        match source.read(&mut out[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn bounded(length: usize) -> io::Result<usize> {
    if length <= SNAPPY_BLOCK_BYTES_MAX {
        Ok(length)
    } else {
        Err(invalid(format!("a snappy block of {length} bytes")))
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

const SNAPPY_MAGIC: &[u8] = b"\x82SNAPPY\0";
const SNAPPY_VERSION: i32 = 1;
const SNAPPY_HEADER_LENGTH: usize = 16;
/// As Java's: its readers take any, but this is the only size in the wild.
const SNAPPY_BLOCK_BYTES: usize = 32 << 10;
const SNAPPY_BLOCK_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut writer = compression.writer(Vec::new()).expect("writes to memory");
        for chunk in bytes.chunks(10_007) {
            writer.write_all(chunk).expect("writes to memory");
        }
        writer.finish().expect("writes to memory")
    }

    #[test]
    fn all_methods_round_trip() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(|i| (i * 21 / 16).to_be_bytes()).collect();
        for compression in [Compression::Plain, Compression::Gz, Compression::Snappy] {
            for length in [0, 1, SNAPPY_BLOCK_BYTES, SNAPPY_BLOCK_BYTES + 1, bytes.len()] {
                let compressed = compress(compression, &bytes[..length]);
                let mut back = Vec::new();
                compression.reader(&compressed[..]).read_to_end(&mut back).expect("what we wrote");
                assert_eq!(back, bytes[..length], "{compression:?} {length}");
            }
        }
    }

    #[test]
    fn snappy_cut_short_or_with_a_lying_length_is_an_error() {
        let compressed = compress(Compression::Snappy, &[7; 100]);
        for cut in 1..compressed.len() {
            let mut back = Vec::new();
            let result = Compression::Snappy.reader(&compressed[..cut]).read_to_end(&mut back);
            assert_eq!(result.is_ok(), cut == SNAPPY_HEADER_LENGTH, "cut at {cut}");
        }
        let mut lying = compressed;
        lying[SNAPPY_HEADER_LENGTH] = 0x7f;
        assert!(Compression::Snappy.reader(&lying[..]).read_to_end(&mut Vec::new()).is_err());
    }
}
