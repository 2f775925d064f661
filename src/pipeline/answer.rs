//! What follows the header of a reply.

use crate::jute::JuteWrite;
use crate::proto::{ErrorCode, MultiHeader, OpCode, Stat};
use crate::tree::ZnodeRef;
use crate::txn::Txn;

/// A znode's children, in no promised order; how many bytes their names have.
pub(super) fn put_children(znode: ZnodeRef<'_>, out: &mut Vec<u8>) -> usize {
    out.length(znode.num_children() as usize);
    let put = |name: &str| {
        out.ustring(name);
        name.len()
    };
    znode.children().map(put).sum()
}

/// A path, or null.
pub(super) fn put_path_or_null(path: Option<&str>, out: &mut Vec<u8>) {
    out.ustring_or_null(path);
}

/// The record behind a write's reply header. `op` is what was asked, `layouts` the results of a multi that succeeds.
pub(super) fn put_result(op: OpCode, txn: &Txn<'_>, stats: &[Option<Stat>], layouts: &[OpCode], out: &mut Vec<u8>) {
    match txn {
        Txn::Multi(parts) if parts.iter().any(|(_, part)| matches!(part, Txn::Error(_))) => put_failed(parts, out),
        Txn::Multi(parts) => put_results(parts, stats, layouts, out),
        txn => put_one(op, txn, stats.first().copied().flatten(), out),
    }
}

fn put_one(op: OpCode, txn: &Txn<'_>, stat: Option<Stat>, out: &mut Vec<u8>) {
    match txn {
        Txn::Create(create) => {
            out.ustring(&create.path);
            if op != OpCode::CREATE {
                stat.unwrap_or_default().encode(out);
            }
        }
        Txn::SetData(set) if op == OpCode::RECONFIG => {
            out.buffer(set.data);
            stat.unwrap_or_default().encode(out);
        }
        Txn::SetData(_) | Txn::SetAcl(_) => stat.unwrap_or_default().encode(out),
        Txn::Delete(_)
        | Txn::Check(..)
        | Txn::Multi(_)
        | Txn::CreateSession(_)
        | Txn::CloseSession(_)
        | Txn::Error(_) => {}
    }
}

fn put_results(parts: &[(OpCode, Txn<'_>)], stats: &[Option<Stat>], layouts: &[OpCode], out: &mut Vec<u8>) {
    for (((_, txn), stat), layout) in parts.iter().zip(stats).zip(layouts) {
        MultiHeader { op: *layout, done: false, error: 0 }.encode(out);
        put_one(*layout, txn, *stat, out);
    }
    MultiHeader::END.encode(out);
}

/// The parts before the one that failed keep their records in the log, and are answered with 0. A leader may also have
/// logged errors in place of records, as zkd once did.
fn put_failed(parts: &[(OpCode, Txn<'_>)], out: &mut Vec<u8>) {
    let mut code = ErrorCode::OK;
    for (_, txn) in parts {
        if let Txn::Error(error) = txn {
            code = *error;
        }
        MultiHeader { op: OpCode::ERROR, done: false, error: code.0 }.encode(out);
        out.int(code.0);
    }
    MultiHeader::END.encode(out);
}
