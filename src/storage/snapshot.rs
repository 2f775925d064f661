//! A snapshot file around its body: header, seals, trailer (storage.md 3.1).
//!
//! A seal is the Adler-32 of everything before it, so one wrong bit anywhere makes the file bad. Four forms of the
//! trailer are in the wild, told apart by their length; all are read.

use std::io::{self, Read, Write};

use bytes::BufMut;

use super::compression::{Compression, Compressor};
use super::snapshot_body::{BodyFault, BodyReader, Progress, SnapshotSink};
use super::window::Window;
use crate::ids::Zxid;
use crate::jute::{JuteError, JuteWrite, Parsed, fail, int, long, text};
use crate::txn::TxnDigest;

/// Ends every whole file, and is what Apache looks for before it loads one: `/` as a jute string.
pub const FILE_END: &[u8; 5] = b"\0\0\0\x01/";

/// What stands behind the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trailer {
    /// The tree's digest; since 3.6, when digests are on.
    pub digest: Option<SnapshotDigest>,
    /// The last txn applied when the writer came to this point; since 3.9.
    pub last_zxid: Option<Zxid>,
}

impl Trailer {
    /// The last txn whose effects may be in the snapshot, if known. Apache's are fuzzy: it may be above the name.
    #[must_use]
    pub fn end_zxid(&self) -> Option<Zxid> {
        self.digest.map(|digest| digest.zxid).max(self.last_zxid)
    }
}

/// The digest of a tree at a zxid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotDigest {
    /// After which txn; zero when the writer had applied none since it started, or since a leader gave it its tree.
    pub zxid: Zxid,
    /// How it was computed, as in [`TxnDigest`](crate::txn::TxnDigest).
    pub version: i32,
    /// The sum over all znodes.
    pub tree: u64,
}

impl SnapshotDigest {
    /// Of a tree that may hold effects of txns behind the snapshot's (storage.md 3.1).
    pub const UNKNOWN: Self = Self { zxid: Zxid::ZERO, version: TxnDigest::VERSION, tree: 0 };
}

/// What a snapshot file has wrong.
#[derive(Debug, thiserror::Error)]
#[error("{fault} at {file}:{offset}")]
pub struct SnapshotError {
    /// The file's name.
    pub file: String,
    /// Where in the uncompressed file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub fault: SnapshotFault,
}

/// See [`SnapshotError`].
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// The disk did not answer, or what it gave cannot be decompressed.
    #[error("cannot read the snapshot: {0}")]
    Io(#[from] io::Error),
    /// Not a snapshot.
    #[error("the file begins with {found:02x?}, expected \"ZKSN\"")]
    Magic {
        /// Its first bytes.
        found: [u8; 4],
    },
    /// The file ends too early.
    #[error("the snapshot ends inside a record")]
    CutShort,
    /// A record in the body is bad, or does not fit those before.
    #[error("the snapshot's record is bad: {0}")]
    Body(BodyFault),
    /// A record above [`RECORD_BYTES_MAX`].
    #[error("the snapshot has a record above {RECORD_BYTES_MAX} bytes")]
    RecordTooLong,
    /// A seal is not the checksum of what stands before it.
    #[error("the snapshot's seal is {found:#x}, expected {expected:#x}")]
    Seal {
        /// The checksum of what was read.
        found: u64,
        /// What the seal says.
        expected: u64,
    },
    /// Something else stands where the trailer should.
    #[error("the snapshot's trailer of {length} bytes cannot be read: {error}")]
    Trailer {
        /// Bytes behind the body.
        length: usize,
        /// The rule they break.
        error: JuteError,
    },
}

/// Larger records are refused, in bytes. Apache's limit is jute.maxbuffer of whoever reads.
pub const RECORD_BYTES_MAX: usize = 1 << 30;

/// Reads a snapshot whole, and checks its seals.
///
/// `file` is for messages. Memory: a window that grows only to the largest record.
///
/// # Errors
/// What is wrong, and where. The sink then holds part of it, to be thrown away.
pub fn read_snapshot(
    source: impl Read,
    compression: Compression,
    file: &str,
    sink: &mut impl SnapshotSink,
) -> Result<Trailer, SnapshotError> {
    let mut stream = Sealed::new(Window::new(compression.reader(source)));
    read(&mut stream, sink).map_err(|fault| SnapshotError {
        file: file.to_owned(),
        offset: stream.window.offset(),
        fault,
    })
}

fn read<R: Read>(stream: &mut Sealed<R>, sink: &mut impl SnapshotSink) -> Result<Trailer, SnapshotFault> {
    if !stream.window.fill(HEADER_LENGTH)? {
        return Err(SnapshotFault::CutShort);
    }
    if let Some(found) = stream.window.bytes().first_chunk::<4>().filter(|magic| **magic != MAGIC) {
        return Err(SnapshotFault::Magic { found: *found });
    }
    stream.consume(HEADER_LENGTH);
    read_body(stream, sink)?;
    read_trailer(stream)
}

fn read_body<R: Read>(stream: &mut Sealed<R>, sink: &mut impl SnapshotSink) -> Result<(), SnapshotFault> {
    let mut body = BodyReader::new();
    loop {
        match body.read(stream.window.bytes(), sink) {
            Ok((used, progress)) => {
                stream.consume(used);
                if progress == Progress::Done {
                    return Ok(());
                }
            }
            Err((used, fault)) => {
                stream.consume(used);
                return Err(SnapshotFault::Body(fault));
            }
        }
        if stream.window.bytes().len() >= RECORD_BYTES_MAX {
            return Err(SnapshotFault::RecordTooLong);
        }
        if !stream.window.more()? {
            return Err(SnapshotFault::CutShort);
        }
    }
}

fn read_trailer<R: Read>(stream: &mut Sealed<R>) -> Result<Trailer, SnapshotFault> {
    if stream.window.fill(TRAILER_LENGTH_MAX + 1)? {
        return Err(SnapshotFault::Trailer { length: TRAILER_LENGTH_MAX + 1, error: JuteError::Value(0) });
    }
    stream.seal()?;
    let mut trailer = Trailer::default();
    // The sections carry no mark: a last zxid alone is known by its length (storage.md 3.1).
    if stream.left() > LAST_ZXID_LENGTH {
        trailer.digest = Some(stream.section(decode_digest)?);
    }
    if stream.left() > 0 {
        trailer.last_zxid = Some(stream.section(|input| long(input).map(|(rest, zxid)| (rest, Zxid(zxid))))?);
    }
    match stream.left() {
        0 => Ok(trailer),
        length => Err(SnapshotFault::Trailer { length, error: JuteError::Length(0) }),
    }
}

fn decode_digest(input: &[u8]) -> Parsed<'_, SnapshotDigest> {
    let (input, zxid) = long(input)?;
    let (input, version) = int(input)?;
    // Versions before 2 wrote the digest as text.
    let (input, tree) = if version < 2 {
        let (input, digits) = text(input)?;
        match u64::from_str_radix(&digits, 16) {
            Ok(tree) => (input, tree),
            Err(_) => return fail(JuteError::Value(version)),
        }
    } else {
        let (input, tree) = long(input)?;
        (input, tree as u64)
    };
    Ok((input, SnapshotDigest { zxid: Zxid(zxid), version, tree }))
}

/// A stream whose consumed bytes are summed up.
struct Sealed<R> {
    window: Window<R>,
    sum: simd_adler32::Adler32,
}

impl<R: Read> Sealed<R> {
    fn new(window: Window<R>) -> Self {
        Self { window, sum: simd_adler32::Adler32::new() }
    }

    fn consume(&mut self, count: usize) {
        self.sum.write(&self.window.bytes()[..count]);
        self.window.consume(count);
    }

    fn left(&self) -> usize {
        self.window.bytes().len()
    }

    fn seal(&mut self) -> Result<(), SnapshotFault> {
        let found = u64::from(self.sum.finish());
        let Some(seal) = self.window.bytes().first_chunk::<SEAL_LENGTH>() else { return Err(SnapshotFault::CutShort) };
        let mut expected = [0; 8];
        expected.copy_from_slice(&seal[..8]);
        let expected = u64::from_be_bytes(expected);
        if found != expected || !seal.ends_with(FILE_END) {
            return Err(SnapshotFault::Seal { found, expected });
        }
        self.consume(SEAL_LENGTH);
        Ok(())
    }

    fn section<T>(&mut self, decode: impl Fn(&[u8]) -> Parsed<'_, T>) -> Result<T, SnapshotFault> {
        let length = self.left();
        let (rest, value) = decode(self.window.bytes())
            .map_err(|error| SnapshotFault::Trailer { length, error: JuteError::from(error) })?;
        let used = length - rest.len();
        self.consume(used);
        self.seal()?;
        Ok(value)
    }
}

/// Writes a snapshot file: header, the body in any pieces, seals and trailer.
pub struct SnapshotWriter<W: Write> {
    out: Compressor<W>,
    sum: simd_adler32::Adler32,
    pending: Vec<u8>,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins with the file header.
    ///
    /// # Errors
    /// Those of `out`; so for all below.
    pub fn begin(out: W, compression: Compression) -> io::Result<Self> {
        let mut pending = Vec::with_capacity(PENDING_BYTES_MAX);
        pending.put_slice(&MAGIC);
        pending.put_i32(VERSION);
        pending.put_i64(DBID);
        Ok(Self { out: compression.writer(out)?, sum: simd_adler32::Adler32::new(), pending })
    }

    /// Writes the next piece of the body; pieces need not end with records.
    ///
    /// # Errors
    /// See [`begin`](Self::begin).
    pub fn write_body(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.pending.len() + piece.len() > PENDING_BYTES_MAX {
            self.flush()?;
        }
        if piece.len() < PENDING_BYTES_MAX {
            self.pending.extend_from_slice(piece);
            return Ok(());
        }
        self.sum.write(piece);
        self.out.write_all(piece)
    }

    /// Seals the body, writes the trailer, and gives the file back; it is not flushed yet.
    ///
    /// # Errors
    /// See [`begin`](Self::begin).
    pub fn finish(mut self, trailer: &Trailer) -> io::Result<W> {
        self.seal()?;
        if let Some(digest) = trailer.digest {
            self.pending.long(digest.zxid.0);
            self.pending.int(digest.version);
            self.pending.long(digest.tree as i64);
            self.seal()?;
        }
        if let Some(zxid) = trailer.last_zxid {
            self.pending.long(zxid.0);
            self.seal()?;
        }
        self.flush()?;
        self.out.finish()
    }

    fn seal(&mut self) -> io::Result<()> {
        self.flush()?;
        self.pending.put_u64(u64::from(self.sum.finish()));
        self.pending.put_slice(FILE_END);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sum.write(&self.pending);
        self.out.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

const MAGIC: [u8; 4] = *b"ZKSN";
const VERSION: i32 = 2;
const DBID: i64 = -1;
const HEADER_LENGTH: usize = 16;
const SEAL_LENGTH: usize = 8 + FILE_END.len();
const LAST_ZXID_LENGTH: usize = 8 + SEAL_LENGTH;
/// Three seals, a zxid, and a digest as long as a text may make it.
const TRAILER_LENGTH_MAX: usize = 256;
const PENDING_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::proto::AclBytes;
    use crate::storage::snapshot_body::{put_count, put_node, put_terminator};
    use crate::tree::StoredStat;

    struct Count(usize);

    impl SnapshotSink for Count {
        fn session(&mut self, _: SessionId, _: i32) {}

        fn acl(&mut self, _: i64, _: AclBytes<'_>) {}

        fn node(&mut self, _: &str, _: Option<&[u8]>, _: i64, _: &StoredStat) -> Result<(), String> {
            self.0 += 1;
            Ok(())
        }
    }

    fn body() -> Vec<u8> {
        let mut body = Vec::new();
        put_count(&mut body, 0);
        put_count(&mut body, 0);
        put_node(&mut body, "", None, -1, &StoredStat::default());
        put_node(&mut body, "/large", Some(&[7; 700_000]), -1, &StoredStat::default());
        put_terminator(&mut body);
        body
    }

    fn write(compression: Compression, trailer: &Trailer) -> Vec<u8> {
        let mut writer = SnapshotWriter::begin(Vec::new(), compression).expect("memory");
        body().chunks(300_001).for_each(|piece| writer.write_body(piece).expect("memory"));
        writer.finish(trailer).expect("memory")
    }

    fn trailers() -> [Trailer; 4] {
        let digest = Some(SnapshotDigest { zxid: Zxid(7), version: 2, tree: u64::MAX - 3 });
        let last_zxid = Some(Zxid(8));
        [
            Trailer { digest, last_zxid },
            Trailer { digest, last_zxid: None },
            Trailer { digest: None, last_zxid },
            Trailer::default(),
        ]
    }

    #[test]
    fn all_forms_of_the_trailer_round_trip_in_all_compressions() {
        for compression in [Compression::Plain, Compression::Gz, Compression::Snappy] {
            for trailer in trailers() {
                let bytes = write(compression, &trailer);
                let mut sink = Count(0);
                let read = read_snapshot(&bytes[..], compression, "snapshot.7", &mut sink).expect("what we wrote");
                assert_eq!((read, sink.0), (trailer, 2));
                assert!(bytes.starts_with(compression.magic()));
                assert!(compression != Compression::Plain || bytes.ends_with(FILE_END));
            }
        }
    }

    #[test]
    fn a_digest_of_the_first_version_is_text() {
        let mut writer = SnapshotWriter::begin(Vec::new(), Compression::Plain).expect("memory");
        writer.write_body(&body()).expect("memory");
        writer.seal().expect("memory");
        writer.pending.long(7);
        writer.pending.int(1);
        writer.pending.ustring("ff");
        writer.seal().expect("memory");
        writer.flush().expect("memory");
        let bytes = writer.out.finish().expect("memory");
        let trailer = read_snapshot(&bytes[..], Compression::Plain, "snapshot.7", &mut Count(0)).expect("a snapshot");
        assert_eq!(trailer.digest, Some(SnapshotDigest { zxid: Zxid(7), version: 1, tree: 255 }));
    }

    #[test]
    fn a_file_cut_or_changed_in_its_trailer_is_bad() {
        let bytes = write(Compression::Plain, &trailers()[0]);
        for cut in bytes.len() - 80..bytes.len() {
            let read = read_snapshot(&bytes[..cut], Compression::Plain, "snapshot.7", &mut Count(0));
            // Cut right behind a seal it is a whole file of another form.
            assert_eq!(read.is_ok(), [bytes.len() - 21, bytes.len() - 54].contains(&cut), "cut at {cut}");
        }
        for at in bytes.len() - 80..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            assert!(read_snapshot(&changed[..], Compression::Plain, "snapshot.7", &mut Count(0)).is_err(), "at {at}");
        }
    }
}
