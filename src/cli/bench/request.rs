//! The generator's requests, encoded straight into the buffer that leaves (client-protocol.md 5.1).

use super::znodes::{Place, Znodes};
use crate::jute::JuteWrite;
use crate::proto::{MultiHeader, OPEN_ACL, OpCode, RequestHeader, end_frame, start_frame};

/// The flags of a persistent and of an ephemeral znode.
const PERSISTENT: i32 = 0;
const EPHEMERAL: i32 = 1;
/// Any version will do.
const ANY_VERSION: i32 = -1;

/// A whole frame: length, header, and what `body` appends.
pub(in crate::cli) fn frame(out: &mut Vec<u8>, xid: i32, op: OpCode, body: impl FnOnce(&mut Vec<u8>)) {
    let start = start_frame(out);
    RequestHeader { xid, op }.encode(out);
    body(out);
    end_frame(out, start);
}

/// getData, exists or getChildren, by the opcode: a path and a watch flag.
pub(super) fn read(out: &mut Vec<u8>, xid: i32, op: OpCode, znodes: &Znodes, place: Place) {
    frame(out, xid, op, |out| {
        znodes.put_path(out, place);
        out.boolean(false);
    });
}

/// getData of a znode, and a watch on it.
pub(super) fn watch(out: &mut Vec<u8>, xid: i32, znodes: &Znodes, index: u64) {
    frame(out, xid, OpCode::GET_DATA, |out| {
        znodes.put_path(out, znodes.place(index));
        out.boolean(true);
    });
}

/// The same without a watch for a path in full, by the opcode.
pub(super) fn read_path(out: &mut Vec<u8>, xid: i32, op: OpCode, path: &str) {
    frame(out, xid, op, |out| {
        out.ustring(path);
        out.boolean(false);
    });
}

/// setData, whatever the version.
pub(super) fn set(out: &mut Vec<u8>, xid: i32, znodes: &Znodes, index: u64) {
    frame(out, xid, OpCode::SET_DATA, |out| set_record(out, znodes, index));
}

fn set_record(out: &mut Vec<u8>, znodes: &Znodes, index: u64) {
    znodes.put_path(out, znodes.place(index));
    znodes.put_data(out, index);
    out.int(ANY_VERSION);
}

/// A multi of one setData for each index.
pub(super) fn multi_set(out: &mut Vec<u8>, xid: i32, znodes: &Znodes, indexes: impl Iterator<Item = u64>) {
    frame(out, xid, OpCode::MULTI, |out| {
        for index in indexes {
            MultiHeader { op: OpCode::SET_DATA, done: false, error: -1 }.encode(out);
            set_record(out, znodes, index);
        }
        MultiHeader::END.encode(out);
    });
}

/// create of a persistent znode that anyone may use, with the data of `index`.
pub(super) fn create(out: &mut Vec<u8>, xid: i32, znodes: &Znodes, place: Place, index: u64) {
    frame(out, xid, OpCode::CREATE, |out| {
        znodes.put_path(out, place);
        znodes.put_data(out, index);
        create_rest(out, PERSISTENT);
    });
}

/// create of an ephemeral znode, with the data of `index`.
pub(super) fn create_ephemeral(out: &mut Vec<u8>, xid: i32, znodes: &Znodes, place: Place, index: u64) {
    frame(out, xid, OpCode::CREATE, |out| {
        znodes.put_path(out, place);
        znodes.put_data(out, index);
        create_rest(out, EPHEMERAL);
    });
}

/// create of a persistent znode without data, for others to stand below.
pub(super) fn create_parent(out: &mut Vec<u8>, xid: i32, znodes: &Znodes, place: Place) {
    frame(out, xid, OpCode::CREATE, |out| {
        znodes.put_path(out, place);
        out.buffer(Some(&[]));
        create_rest(out, PERSISTENT);
    });
}

/// The same for a path in full.
pub(super) fn create_path(out: &mut Vec<u8>, xid: i32, path: &str) {
    frame(out, xid, OpCode::CREATE, |out| {
        out.ustring(path);
        out.buffer(Some(&[]));
        create_rest(out, PERSISTENT);
    });
}

fn create_rest(out: &mut Vec<u8>, flags: i32) {
    out.extend_from_slice(OPEN_ACL.as_bytes());
    out.int(flags);
}

/// delete, whatever the version.
pub(super) fn delete(out: &mut Vec<u8>, xid: i32, znodes: &Znodes, place: Place) {
    frame(out, xid, OpCode::DELETE, |out| {
        znodes.put_path(out, place);
        out.int(ANY_VERSION);
    });
}

/// The same for a path in full.
pub(super) fn delete_path(out: &mut Vec<u8>, xid: i32, path: &str) {
    frame(out, xid, OpCode::DELETE, |out| {
        out.ustring(path);
        out.int(ANY_VERSION);
    });
}

/// sync, so that a server that lags behind has what was written through another.
pub(super) fn sync(out: &mut Vec<u8>, xid: i32, path: &str) {
    frame(out, xid, OpCode::SYNC, |out| out.ustring(path));
}

/// A ping; its xid is always -2.
pub(super) fn ping(out: &mut Vec<u8>) {
    frame(out, crate::proto::ReplyHeader::PING_XID, OpCode::PING, |_| ());
}
