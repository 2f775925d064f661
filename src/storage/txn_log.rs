//! One txn log file: a header, then records, then zeros (storage.md 2.1 and 2.2).
//!
//! A reader must keep two things apart: a torn tail, which a crash leaves and which was never acknowledged, and a
//! damaged middle. [`LogReader`] reports what it sees; what may be forgiven is decided in
//! [`log_files`](super::log_files), which knows where the file stands among the others.

use std::io::{self, Read};

use bytes::BufMut;

use super::window::Window;
use crate::ids::Zxid;
use crate::jute::JuteError;

/// Bytes before the first record.
pub const HEADER_LENGTH: usize = 16;
/// Bytes of a record beside its body: checksum, length, end byte.
pub const RECORD_OVERHEAD: usize = PREFIX_LENGTH + 1;
/// The longest body that Apache reads with default settings, in bytes: jute.maxbuffer twice.
pub const BODY_BYTES_MAX_DEFAULT: usize = 2 * 0xf_ffff;

/// Appends the file header.
pub fn put_header(out: &mut impl BufMut) {
    out.put_slice(MAGIC);
    out.put_i32(VERSION);
    out.put_i64(DBID);
}

/// Appends one record around `body`, an encoded [`Entry`](crate::txn::Entry).
///
/// # Panics
/// When the body is empty or larger than an `i32` can say: no proposal is.
pub fn put_record(out: &mut impl BufMut, body: &[u8]) {
    let Ok(length @ 1..) = i32::try_from(body.len()) else { panic!("a txn of {} bytes", body.len()) };
    out.put_u64(u64::from(simd_adler32::adler32(&body)));
    out.put_i32(length);
    out.put_slice(body);
    out.put_u8(END);
}

/// What a log file or its place among the others has wrong.
#[derive(Debug, thiserror::Error)]
#[error("{fault} at {file}:{offset}")]
pub struct LogError {
    /// The file's name.
    pub file: String,
    /// Where in it, in bytes: the start of the record.
    pub offset: u64,
    /// What is wrong there.
    pub fault: LogFault,
}

/// See [`LogError`].
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// The disk did not answer.
    #[error("cannot read the txn log: {0}")]
    Io(#[from] io::Error),
    /// Not a txn log, or less of it than a header.
    #[error("the file begins with {found:02x?}, expected \"ZKLG\" and a header of 16 bytes")]
    Header {
        /// Its first bytes, at most four.
        found: Vec<u8>,
    },
    /// A length that is negative or above the limit.
    #[error("unreasonable txn length {found}, expected 1 to {max}")]
    Length {
        /// The length.
        found: i32,
        /// The limit in bytes: jute.maxbuffer and its extra size.
        max: usize,
    },
    /// The body is not what was written.
    #[error("the txn's checksum is {found:#x}, expected {expected:#x}")]
    Checksum {
        /// Of the body as it is.
        found: u64,
        /// As the record says.
        expected: u64,
    },
    /// A record without its end byte, or with a length that leads nowhere, and yet good ones follow.
    #[error("a txn is not all there, with good ones behind it")]
    Incomplete,
    /// Zeros as of padding, and yet good records follow.
    #[error("zeros stand where a txn should, with good ones behind them")]
    Hole,
    /// The body has a good checksum, and yet is no txn.
    #[error("the txn cannot be read: {0}")]
    Record(JuteError),
    /// The zxid is not above those before.
    #[error("txn {found} stands behind {previous}")]
    Order {
        /// The highest before.
        previous: Zxid,
        /// This one.
        found: Zxid,
    },
    /// Txns are missing.
    #[error("txns between {previous} and {found} are missing")]
    Gap {
        /// The last one in order: of the snapshot or of the log.
        previous: Zxid,
        /// The one that is there instead.
        found: Zxid,
    },
}

impl LogFault {
    /// Names the place.
    #[must_use]
    pub fn at(self, file: &str, offset: u64) -> LogError {
        LogError { file: file.to_owned(), offset, fault: self }
    }
}

/// Where [`LogReader::advance`] has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A good record: see [`LogReader::body`].
    Record,
    /// The end of the file or its padding, directly behind a record.
    End,
    /// The file ends inside a record, or a record has no end byte: what a crash may leave.
    Torn,
}

/// See [`LogReader::rest`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Nothing, or zeros.
    Padding,
    /// Bytes among which no good record is.
    Garbage,
    /// A good record, at least.
    Records,
}

/// Reads a log file record by record.
pub struct LogReader<R> {
    window: Window<R>,
    file: String,
    body_bytes_max: usize,
    record_length: usize,
}

impl<R: Read> LogReader<R> {
    /// Begins to read, and checks the header.
    ///
    /// `file` is for messages; a body above `body_bytes_max` is an error.
    ///
    /// # Errors
    /// [`LogFault::Header`] or [`LogFault::Io`].
    pub fn open(source: R, file: &str, body_bytes_max: usize) -> Result<Self, LogError> {
        let mut window = Window::new(source);
        let whole = window.fill(HEADER_LENGTH).map_err(|error| LogFault::Io(error).at(file, 0))?;
        let bytes = window.bytes();
        // Apache writes version 2 and dbid 0 behind the magic and looks at neither when it reads.
        if !whole || !bytes.starts_with(MAGIC) {
            return Err(LogFault::Header { found: bytes[..bytes.len().min(4)].to_vec() }.at(file, 0));
        }
        window.consume(HEADER_LENGTH);
        Ok(Self { window, file: file.to_owned(), body_bytes_max, record_length: 0 })
    }

    /// Goes to the next record.
    ///
    /// # Errors
    /// [`LogFault::Length`], [`LogFault::Checksum`] or [`LogFault::Io`].
    pub fn advance(&mut self) -> Result<Step, LogError> {
        self.window.consume(self.record_length);
        self.record_length = 0;
        self.step().map_err(|fault| fault.at(&self.file, self.offset()))
    }

    fn step(&mut self) -> Result<Step, LogFault> {
        if !self.window.fill(PREFIX_LENGTH)? {
            return Ok(if self.window.bytes().iter().all(|b| *b == 0) { Step::End } else { Step::Torn });
        }
        let mut prefix = self.window.bytes();
        let (expected, length) = (bytes::Buf::get_u64(&mut prefix), bytes::Buf::get_i32(&mut prefix));
        if length == 0 {
            return Ok(if expected == 0 { Step::End } else { Step::Torn });
        }
        let body_length = match usize::try_from(length) {
            Ok(body_length) if body_length <= self.body_bytes_max => body_length,
            _ => return Err(LogFault::Length { found: length, max: self.body_bytes_max }),
        };
        let record_length = body_length + RECORD_OVERHEAD;
        if !self.window.fill(record_length)? {
            return Ok(Step::Torn);
        }
        self.record_length = record_length;
        let (body, end) = (self.body(), self.window.bytes()[record_length - 1]);
        if end != END {
            return Ok(Step::Torn);
        }
        let found = u64::from(simd_adler32::adler32(&body));
        if found != expected {
            return Err(LogFault::Checksum { found, expected });
        }
        Ok(Step::Record)
    }

    /// The body of the record that [`advance`](Self::advance) came to.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match self.record_length {
            0 => &[],
            length => &self.window.bytes()[PREFIX_LENGTH..length - 1],
        }
    }

    /// The txn's zxid, without decoding the rest.
    ///
    /// # Errors
    /// [`LogFault::Record`] when the body is shorter than a header.
    pub fn zxid(&self) -> Result<Zxid, LogError> {
        match self.body().get(ZXID_AT..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => Ok(Zxid(i64::from_be_bytes(*bytes))),
            None => Err(self.fault(LogFault::Record(JuteError::Short))),
        }
    }

    /// Where the record starts in the file, in bytes; or the end.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Names this place as the one of a fault.
    #[must_use]
    pub fn fault(&self, fault: LogFault) -> LogError {
        fault.at(&self.file, self.offset())
    }

    /// What stands from here to the end. Reads to the end, or up to a good record.
    ///
    /// Lengths are not followed, since a bad one leads astray: every byte may be the first of a record.
    ///
    /// # Errors
    /// [`LogFault::Io`].
    pub fn rest(&mut self) -> Result<Rest, LogError> {
        self.record_length = 0;
        let mut rest = Rest::Padding;
        loop {
            // Padding is skipped in one go, but for the zeros that may be a record's first.
            let bytes = self.window.bytes();
            let zeros = leading_zeros(bytes);
            let only_zeros = zeros == bytes.len();
            self.window.consume(zeros.saturating_sub(PREFIX_LENGTH - 1));
            if only_zeros {
                if self.window.more().map_err(|error| self.fault(error.into()))? {
                    continue;
                }
                return Ok(rest);
            }
            rest = Rest::Garbage;
            if self.may_be_record() && matches!(self.step(), Ok(Step::Record)) {
                return Ok(Rest::Records);
            }
            self.record_length = 0;
            self.window.consume(1);
        }
    }

    /// The upper half of a checksum is always zero: this saves most sums over garbage.
    fn may_be_record(&self) -> bool {
        self.window.bytes().iter().take(4).all(|b| *b == 0)
    }
}

/// How many zeros come first. There may be many MiB of them: they are looked at block by block.
fn leading_zeros(bytes: &[u8]) -> usize {
    let is_zero = |block: &&[u8]| block.iter().fold(0, |all, b| all | b) == 0;
    let blocks = ZEROS * bytes.chunks_exact(ZEROS).take_while(is_zero).count();
    blocks + bytes[blocks..].iter().position(|b| *b != 0).unwrap_or(bytes.len() - blocks)
}

const ZEROS: usize = 64;
const MAGIC: &[u8; 4] = b"ZKLG";
const VERSION: i32 = 2;
const DBID: i64 = 0;
const END: u8 = b'B';
const PREFIX_LENGTH: usize = 12;
/// Behind the session and the cxid of [`TxnHeader`](crate::txn::TxnHeader).
const ZXID_AT: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(bodies: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        put_header(&mut out);
        for body in bodies {
            put_record(&mut out, body);
        }
        out
    }

    #[test]
    fn zeros_are_counted_up_to_the_first_other_byte() {
        for length in [0, 1, 63, 64, 65, 200] {
            assert_eq!(leading_zeros(&vec![0; length]), length);
            for at in 0..length {
                let mut bytes = vec![0; length];
                bytes[at] = 0x80;
                assert_eq!(leading_zeros(&bytes), at);
            }
        }
    }

    fn steps(bytes: &[u8]) -> (Vec<Vec<u8>>, Result<Step, LogError>) {
        let mut reader = LogReader::open(bytes, "log.1", 100).expect("a header");
        let mut bodies = Vec::new();
        loop {
            match reader.advance() {
                Ok(Step::Record) => bodies.push(reader.body().to_vec()),
                other => return (bodies, other),
            }
        }
    }

    #[test]
    fn records_come_back_and_padding_ends_them() {
        let mut bytes = log(&[b"one", b"two"]);
        assert!(matches!(steps(&bytes), (bodies, Ok(Step::End)) if bodies == [b"one", b"two"]));
        bytes.resize(bytes.len() + 1000, 0);
        assert!(matches!(steps(&bytes), (bodies, Ok(Step::End)) if bodies.len() == 2));
    }

    #[test]
    fn every_cut_is_a_torn_tail_or_a_clean_end() {
        let bytes = log(&[b"one", b"two"]);
        let boundary = HEADER_LENGTH + RECORD_OVERHEAD + 3;
        for cut in HEADER_LENGTH..bytes.len() {
            let clean = cut == HEADER_LENGTH || cut == boundary;
            // The first four bytes of a checksum are always zero, so a cut among them cannot be told from padding.
            let zeros = bytes[if cut < boundary { HEADER_LENGTH } else { boundary }..cut].iter().all(|b| *b == 0);
            let expected = if clean || zeros { Step::End } else { Step::Torn };
            let (bodies, step) = steps(&bytes[..cut]);
            assert_eq!((bodies.len(), step.ok()), (usize::from(cut >= boundary), Some(expected)), "cut at {cut}");
        }
    }

    #[test]
    fn a_changed_body_is_a_checksum_error_at_its_record() {
        let mut bytes = log(&[b"one", b"two"]);
        let second = HEADER_LENGTH + RECORD_OVERHEAD + 3;
        bytes[second + PREFIX_LENGTH] ^= 1;
        let (_, error) = steps(&bytes);
        assert!(
            matches!(error, Err(LogError { offset, fault: LogFault::Checksum { .. }, .. }) if offset == second as u64)
        );
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        for length in [-1_i32, 101, i32::MAX, i32::MIN] {
            let mut bytes = log(&[]);
            bytes.put_u64(1);
            bytes.put_i32(length);
            assert!(
                matches!(steps(&bytes).1, Err(LogError { fault: LogFault::Length { found, max: 100 }, .. }) if found == length)
            );
        }
    }

    #[test]
    fn a_foreign_or_short_header_is_refused() {
        for bytes in [&b""[..], b"ZKLG", b"ZKSN\0\0\0\x02\0\0\0\0\0\0\0\0"] {
            assert!(matches!(
                LogReader::open(bytes, "log.1", 100),
                Err(LogError { fault: LogFault::Header { .. }, .. })
            ));
        }
    }

    #[test]
    fn a_good_record_behind_a_bad_one_is_found_wherever_it_begins() {
        let good = log(&[b"one", b"two", b"six"]);
        let (record, end) = (RECORD_OVERHEAD + 3, good.len());
        let rest = |bytes: &[u8]| {
            let mut reader = LogReader::open(bytes, "log.1", 100).expect("a header");
            assert_ne!(reader.advance().ok(), Some(Step::Record));
            reader.rest().ok()
        };
        // A wrong end byte, a length that leads astray, a length of nothing, zeros all over.
        for (at, value) in [(record - 1, vec![0]), (11, vec![90]), (11, vec![0]), (0, vec![0; record])] {
            let mut bytes = good.clone();
            bytes[HEADER_LENGTH + at..][..value.len()].copy_from_slice(&value);
            assert_eq!(rest(&bytes), Some(Rest::Records), "{at} {value:?}");
            let only_torn = [&bytes[..HEADER_LENGTH + record], &bytes[end - record..end - 1]].concat();
            assert_eq!(rest(&only_torn), Some(Rest::Garbage), "{at} {value:?}");
        }
        let padded = [&good[..HEADER_LENGTH], &[0; 1 << 20]].concat();
        assert_eq!(rest(&padded), Some(Rest::Padding));
        assert_eq!(rest(&[&padded[..], &good[HEADER_LENGTH..]].concat()), Some(Rest::Records));
    }
}
