//! What a reply must be: its xid in order, error 0, and the length and data that the request asks for.

use anyhow::{Context, bail, ensure};
use nom::Parser as _;

use super::mix::BenchOp;
use super::znodes::Znodes;
use crate::jute::{buffer, int, text, ustring, vector};
use crate::proto::{EventType, MultiHeader, OpCode, ReplyHeader, Stat};

/// A reply's header, as far as the generator looks at it.
pub(super) struct Header;

impl Header {
    /// The body of a reply with this xid and error 0.
    ///
    /// # Errors
    /// When it is another reply, or a refusal.
    pub(super) fn expect(reply: &[u8], xid: i32) -> anyhow::Result<&[u8]> {
        let (body, header) = ReplyHeader::decode(reply).ok().context("a reply shorter than its header")?;
        ensure!(header.xid == xid, "the reply to xid {} where {xid} was due", header.xid);
        ensure!(header.error.0 == 0, "the server answers with error {}", header.error.0);
        Ok(body)
    }
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// What kind.
    pub(super) op: BenchOp,
    /// Its xid.
    pub(super) xid: i32,
    /// The znode, where the kind has one.
    pub(super) index: u64,
}

impl Asked {
    /// Checks the reply to this request.
    ///
    /// # Errors
    /// With what is wrong.
    pub(super) fn check(&self, reply: &[u8], znodes: &Znodes) -> anyhow::Result<()> {
        let result = Header::expect(reply, self.xid).and_then(|body| self.check_body(body, znodes));
        result.with_context(|| format!("reply to {} (xid {}, index {})", self.op.word(), self.xid, self.index))
    }

    fn check_body(&self, body: &[u8], znodes: &Znodes) -> anyhow::Result<()> {
        match self.op {
            BenchOp::Get => check_data(body, znodes, self.index),
            BenchOp::Set | BenchOp::Exists => check_stat(body, znodes),
            BenchOp::Create => check_path(body, znodes),
            BenchOp::Delete | BenchOp::Ping => check_end(body),
            BenchOp::Children => check_children(body, znodes.children),
            BenchOp::Multi10 | BenchOp::Multi100 => check_multi(body, znodes, self.op.multi_length()),
            BenchOp::Connect | BenchOp::Ephemeral => bail!("no reply is due to a {}", self.op.word()),
        }
    }
}

/// Checks that this is an event which says that a znode's data has changed; which znode.
///
/// # Errors
/// When it is anything else.
pub(super) fn check_event(frame: &[u8], znodes: &Znodes) -> anyhow::Result<u64> {
    let body = Header::expect(frame, ReplyHeader::NOTIFICATION_XID).context("no event")?;
    let (rest, (kind, _state, path)) = (int, int, text).parse(body).ok().context("cannot read the event")?;
    ensure!(kind == EventType::DataChanged as i32, "an event of kind {kind}");
    check_end(rest)?;
    let index = path.rsplit('/').next().and_then(|digits| digits.parse().ok());
    let index = index.filter(|index| *index < znodes.count).with_context(|| format!("an event of {path}"))?;
    ensure!(path.starts_with(&znodes.root), "an event of {path}");
    Ok(index)
}

fn check_end(rest: &[u8]) -> anyhow::Result<()> {
    ensure!(rest.is_empty(), "{} bytes too many", rest.len());
    Ok(())
}

fn check_data(body: &[u8], znodes: &Znodes, index: u64) -> anyhow::Result<()> {
    let (rest, data) = buffer(body).ok().context("cannot read the data")?;
    let data = data.context("null data")?;
    ensure!(data.len() == znodes.size(), "{} bytes of data, expected {}", data.len(), znodes.size());
    ensure!(znodes.is_data_of(data, index), "not the data that was written");
    check_stat(rest, znodes)
}

fn check_stat(body: &[u8], znodes: &Znodes) -> anyhow::Result<()> {
    check_end(take_stat(body, znodes)?)
}

fn take_stat<'a>(body: &'a [u8], znodes: &Znodes) -> anyhow::Result<&'a [u8]> {
    let (rest, stat) = Stat::decode(body).ok().context("cannot read the stat")?;
    let expected = znodes.size() as i32;
    ensure!(stat.data_length == expected, "the stat says {} bytes, expected {expected}", stat.data_length);
    Ok(rest)
}

fn check_path(body: &[u8], znodes: &Znodes) -> anyhow::Result<()> {
    let (rest, path) = ustring(body).ok().context("cannot read the path")?;
    ensure!(path.as_deref().is_some_and(|path| path.starts_with(&znodes.root)), "the path is {path:?}");
    check_end(rest)
}

fn check_children(body: &[u8], expected: u64) -> anyhow::Result<()> {
    let (rest, names) = vector(ustring)(body).ok().context("cannot read the children")?;
    let count = names.map_or(0, |names| names.len());
    ensure!(count as u64 == expected, "{count} children, expected {expected}");
    check_end(rest)
}

fn check_multi(mut body: &[u8], znodes: &Znodes, length: usize) -> anyhow::Result<()> {
    for i in 0..length {
        let (rest, header) = MultiHeader::decode(body).ok().context("cannot read a result of the multi")?;
        ensure!(header.op == OpCode::SET_DATA && !header.done, "result {i} of the multi is {header:?}");
        body = take_stat(rest, znodes)?;
    }
    let (rest, end) = MultiHeader::decode(body).ok().context("cannot read the end of the multi")?;
    ensure!(end.done, "the multi has more than {length} results");
    check_end(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Zxid;
    use crate::proto::{ErrorCode, end_frame, start_reply};

    fn get_reply(xid: i32, error: i32, index: u64, znodes: &Znodes) -> Vec<u8> {
        let mut out = Vec::new();
        let frame = start_reply(&mut out, ReplyHeader { xid, zxid: Zxid(9), error: ErrorCode(error) });
        znodes.put_data(&mut out, index);
        Stat { data_length: znodes.size() as i32, ..Stat::default() }.encode(&mut out);
        end_frame(&mut out, frame);
        out.split_off(4)
    }

    #[test]
    fn only_the_right_reply_passes() {
        let znodes = Znodes::new("/bench", 10, 100);
        let asked = Asked { op: BenchOp::Get, xid: 7, index: 3 };
        let good = get_reply(7, 0, 3, &znodes);
        asked.check(&good, &znodes).unwrap();
        for bad in [get_reply(8, 0, 3, &znodes), get_reply(7, -101, 3, &znodes), get_reply(7, 0, 4, &znodes)] {
            asked.check(&bad, &znodes).unwrap_err();
        }
        asked.check(&good[..good.len() - 1], &znodes).unwrap_err();
        asked.check(&[&good[..], &[0]].concat(), &znodes).unwrap_err();
    }
}
