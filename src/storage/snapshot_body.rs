//! The body of a snapshot: sessions, ACL table, znodes, terminator (storage.md 3.2).
//!
//! The same bytes are what a leader sends after SNAP, so the reader takes whatever bytes there are and says when it
//! wants more: it serves files and sockets alike.

use std::fmt;

use bytes::BufMut;

use crate::ids::SessionId;
use crate::jute::{JuteError, JuteWrite, Parsed, buffer, int, long, text};
use crate::proto::AclBytes;
use crate::tree::StoredStat;

/// Who takes what a snapshot holds, in the order of the file.
pub trait SnapshotSink {
    /// About how many bytes there will be, if that is known beforehand.
    fn size(&mut self, _bytes: u64) {}

    /// A session and its timeout, ms.
    fn session(&mut self, id: SessionId, timeout_ms: i32);

    /// An entry of the ACL table. Keys have a meaning in this snapshot only.
    fn acl(&mut self, key: i64, acl: AclBytes<'_>);

    /// A znode, behind its parent; the root's path is empty. Replaces a built-in znode of the same path.
    ///
    /// # Errors
    /// Why it cannot be: then the whole snapshot is bad.
    fn node(&mut self, path: &str, data: Option<&[u8]>, acl_key: i64, stat: &StoredStat) -> Result<(), String>;

    /// There are no more.
    ///
    /// # Errors
    /// What was wrong with one of them, if that has come out meanwhile.
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// What a body has wrong.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// A record that breaks the rules of jute.
    Record(JuteError),
    /// The sink does not want it.
    Refused(String),
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyFault::Record(error) => error.fmt(f),
            BodyFault::Refused(reason) => f.write_str(reason),
        }
    }
}

/// Whether a body is read to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The bytes end inside a record: come again with the rest of it and more.
    More,
    /// The terminator was read.
    Done,
}

/// Reads a body piece by piece.
#[derive(Debug, Default)]
pub struct BodyReader {
    section: Section,
}

#[derive(Clone, Copy, Debug, Default)]
enum Section {
    #[default]
    SessionCount,
    Sessions(i32),
    AclCount,
    Acls(i32),
    Nodes,
    Done,
}

impl BodyReader {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads all whole records of `input`; returns how many bytes they had.
    ///
    /// # Errors
    /// How many bytes were good, and what the rest has wrong.
    pub fn read(
        &mut self,
        input: &[u8],
        sink: &mut impl SnapshotSink,
    ) -> Result<(usize, Progress), (usize, BodyFault)> {
        let mut rest = input;
        loop {
            match self.record(rest, sink) {
                Ok(Some(left)) => rest = left,
                Ok(None) => {
                    let progress = if matches!(self.section, Section::Done) { Progress::Done } else { Progress::More };
                    return Ok((input.len() - rest.len(), progress));
                }
                Err(fault) => return Err((input.len() - rest.len(), fault)),
            }
        }
    }

    /// Reads one record; `None` when it is not all there, or the body is at its end.
    fn record<'a>(&mut self, input: &'a [u8], sink: &mut impl SnapshotSink) -> Result<Option<&'a [u8]>, BodyFault> {
        match self.section {
            Section::SessionCount => {
                let Some((rest, count)) = whole(count(input))? else { return Ok(None) };
                self.section = Section::Sessions(count);
                Ok(Some(rest))
            }
            Section::Sessions(0) => {
                self.section = Section::AclCount;
                Ok(Some(input))
            }
            Section::Sessions(left) => {
                let Some((rest, (id, timeout_ms))) = whole(session(input))? else { return Ok(None) };
                sink.session(id, timeout_ms);
                self.section = Section::Sessions(left - 1);
                Ok(Some(rest))
            }
            Section::AclCount => {
                let Some((rest, count)) = whole(count(input))? else { return Ok(None) };
                self.section = Section::Acls(count);
                Ok(Some(rest))
            }
            Section::Acls(0) => {
                self.section = Section::Nodes;
                Ok(Some(input))
            }
            Section::Acls(left) => {
                let Some((rest, (key, acl))) = whole(acl(input))? else { return Ok(None) };
                sink.acl(key, acl);
                self.section = Section::Acls(left - 1);
                Ok(Some(rest))
            }
            Section::Nodes => self.node(input, sink),
            Section::Done => Ok(None),
        }
    }

    fn node<'a>(&mut self, input: &'a [u8], sink: &mut impl SnapshotSink) -> Result<Option<&'a [u8]>, BodyFault> {
        let Some((rest, path)) = whole(text(input))? else { return Ok(None) };
        if path == TERMINATOR {
            sink.end().map_err(BodyFault::Refused)?;
            self.section = Section::Done;
            return Ok(Some(rest));
        }
        let Some((rest, (data, acl_key, stat))) = whole(znode(rest))? else { return Ok(None) };
        sink.node(&path, data, acl_key, &stat).map_err(BodyFault::Refused)?;
        Ok(Some(rest))
    }
}

/// Appends how many sessions or ACLs follow.
pub fn put_count(out: &mut impl BufMut, count: usize) {
    out.length(count);
}

/// Appends a session.
pub fn put_session(out: &mut impl BufMut, id: SessionId, timeout_ms: i32) {
    out.long(id.0);
    out.int(timeout_ms);
}

/// Appends an entry of the ACL table.
pub fn put_acl(out: &mut impl BufMut, key: i64, acl: AclBytes<'_>) {
    out.long(key);
    out.put_slice(acl.as_bytes());
}

/// Appends a znode; the root's path is empty.
pub fn put_node(out: &mut impl BufMut, path: &str, data: Option<&[u8]>, acl_key: i64, stat: &StoredStat) {
    out.ustring(path);
    out.buffer(data);
    out.long(acl_key);
    stat.encode(out);
}

/// Appends what ends a body.
pub fn put_terminator(out: &mut impl BufMut) {
    out.ustring(TERMINATOR);
}

/// Tells a record that is not all there from one that never will be good.
fn whole<T>(parsed: Parsed<'_, T>) -> Result<Option<(&[u8], T)>, BodyFault> {
    match parsed.map_err(JuteError::from) {
        Ok(record) => Ok(Some(record)),
        Err(JuteError::Short | JuteError::Length(0..)) => Ok(None),
        Err(error) => Err(BodyFault::Record(error)),
    }
}

fn count(input: &[u8]) -> Parsed<'_, i32> {
    match int(input)? {
        (_, negative @ ..0) => crate::jute::fail(JuteError::Value(negative)),
        good => Ok(good),
    }
}

fn session(input: &[u8]) -> Parsed<'_, (SessionId, i32)> {
    let (input, id) = long(input)?;
    let (input, timeout_ms) = int(input)?;
    Ok((input, (SessionId(id), timeout_ms)))
}

fn acl(input: &[u8]) -> Parsed<'_, (i64, AclBytes<'_>)> {
    let (input, key) = long(input)?;
    let (input, acl) = AclBytes::decode(input)?;
    Ok((input, (key, acl)))
}

fn znode(input: &[u8]) -> Parsed<'_, (Option<&[u8]>, i64, StoredStat)> {
    let (input, data) = buffer(input)?;
    let (input, acl_key) = long(input)?;
    let (input, stat) = StoredStat::decode(input)?;
    Ok((input, (data, acl_key, stat)))
}

const TERMINATOR: &str = "/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::OPEN_ACL;

    #[derive(Default, PartialEq, Debug)]
    struct Seen(Vec<String>);

    impl SnapshotSink for Seen {
        fn session(&mut self, id: SessionId, timeout_ms: i32) {
            self.0.push(format!("session {id} {timeout_ms}"));
        }

        fn acl(&mut self, key: i64, acl: AclBytes<'_>) {
            self.0.push(format!("acl {key} {}", acl.entries().len()));
        }

        fn node(&mut self, path: &str, data: Option<&[u8]>, acl_key: i64, _: &StoredStat) -> Result<(), String> {
            self.0.push(format!("node {path:?} {data:?} {acl_key}"));
            if path == "/bad" { Err("no such parent".to_owned()) } else { Ok(()) }
        }
    }

    fn body(paths: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        put_count(&mut out, 1);
        put_session(&mut out, SessionId(5), 4000);
        put_count(&mut out, 1);
        put_acl(&mut out, 1, OPEN_ACL);
        for path in paths {
            put_node(&mut out, path, Some(b"data"), 1, &StoredStat::default());
        }
        put_terminator(&mut out);
        out
    }

    #[test]
    fn a_body_may_come_in_any_pieces() {
        let body = body(&["", "/a", "/\u{1f600}"]);
        let mut at_once = Seen::default();
        assert_eq!(BodyReader::new().read(&body, &mut at_once), Ok((body.len(), Progress::Done)));
        assert_eq!(at_once.0.len(), 5);
        let (mut reader, mut bit_by_bit, mut start) = (BodyReader::new(), Seen::default(), 0);
        for end in 0..=body.len() {
            let (used, progress) = reader.read(&body[start..end], &mut bit_by_bit).expect("a good body");
            start += used;
            assert_eq!(progress == Progress::Done, end == body.len());
        }
        assert_eq!(bit_by_bit, at_once);
    }

    #[test]
    fn what_the_sink_refuses_is_a_fault_at_its_record() {
        let body = body(&["", "/bad"]);
        let fault = BodyReader::new().read(&body, &mut Seen::default());
        assert!(matches!(fault, Err((offset, BodyFault::Refused(_))) if offset < body.len() - 80));
    }

    #[test]
    fn a_negative_count_is_a_fault() {
        let fault = BodyReader::new().read(&[0xff; 40], &mut Seen::default());
        assert_eq!(fault, Err((0, BodyFault::Record(JuteError::Value(-1)))));
    }
}
