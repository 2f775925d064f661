//! Reply headers, watch events, and the frame around them.

use bytes::BufMut;

use super::error::ErrorCode;
use crate::ids::Zxid;
use crate::jute::{JuteWrite, Parsed, int, long};

/// What stands before every reply's record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyHeader {
    /// The request's own number, echoed.
    pub xid: i32,
    /// The last txn that the server had applied; a write's own.
    pub zxid: Zxid,
    /// Success or why not.
    pub error: ErrorCode,
}

impl ReplyHeader {
    /// The xid of a notification.
    pub const NOTIFICATION_XID: i32 = -1;
    /// The xid of every answer to a ping.
    pub const PING_XID: i32 = -2;

    /// Decodes the header (for clients: bench and tools).
    ///
    /// # Errors
    /// When it is cut short.
    pub fn decode(input: &[u8]) -> Parsed<'_, Self> {
        let (input, xid) = int(input)?;
        let (input, zxid) = long(input)?;
        let (input, error) = int(input)?;
        Ok((input, Self { xid, zxid: Zxid(zxid), error: ErrorCode(error) }))
    }
}

/// What happened to a znode (WA-01).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum EventType {
    /// It was created.
    Created = 1,
    /// It was deleted.
    Deleted = 2,
    /// Its data changed.
    DataChanged = 3,
    /// A child was created or deleted.
    ChildrenChanged = 4,
}

/// The state in every event that a server sends: SyncConnected.
const STATE_SYNC_CONNECTED: i32 = 3;

/// Leaves room for a frame's length; give what it returns to [`end_frame`].
#[must_use]
pub fn start_frame(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.put_u32(0);
    start
}

/// Starts a reply frame with its header; the record follows, then [`end_frame`].
#[must_use]
pub fn start_reply(out: &mut Vec<u8>, header: ReplyHeader) -> usize {
    let start = start_frame(out);
    out.int(header.xid);
    out.long(header.zxid.0);
    out.int(header.error.0);
    start
}

/// Writes the frame's length into the room that [`start_frame`] left.
pub fn end_frame(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a whole notification frame (CL-18). `zxid` is that of the txn, or -1 for what setWatches finds.
pub fn put_event(out: &mut Vec<u8>, zxid: Zxid, event: EventType, path: &str) {
    let header = ReplyHeader { xid: ReplyHeader::NOTIFICATION_XID, zxid, error: ErrorCode::OK };
    let frame = start_reply(out, header);
    out.int(event as i32);
    out.int(STATE_SYNC_CONNECTED);
    out.ustring(path);
    end_frame(out, frame);
}
