//! A multi: all of its parts, or none (semantics.md 4.6).

use bytes::BytesMut;

use super::{Asked, Prepare, layout};
use crate::jute::JuteWrite;
use crate::proto::{ErrorCode, MultiOp, OpCode};
use crate::txn::CreateKind;

impl Prepare {
    /// semantics.md 4.6: all or nothing. A multi that fails keeps the records of the parts before the one that failed,
    /// and has errors from there on; no part is done (zab.md 14).
    pub(super) fn multi(
        &mut self,
        asked: &Asked<'_>,
        ops: &[MultiOp<'_>],
        out: &mut BytesMut,
    ) -> Result<Box<[OpCode]>, ErrorCode> {
        let savepoint = self.outstanding.begin();
        out.length(ops.len());
        let mut layouts = Vec::with_capacity(ops.len());
        for (at, op) in ops.iter().enumerate() {
            let start = out.len();
            match self.part(asked, op, out) {
                Ok(layout) => layouts.push(layout),
                Err(error) => {
                    self.outstanding.roll_back(&savepoint);
                    if error == ErrorCode::MARSHALLING {
                        // A part that makes no sense spoils the whole, not only itself.
                        return Err(error);
                    }
                    out.truncate(start);
                    put_errors(ops.len() - at, error, out);
                    self.check_length(out)?;
                    return Ok(Box::default());
                }
            }
        }
        self.outstanding.keep();
        Ok(layouts.into())
    }

    /// One part of a multi: its type, its length, its record.
    fn part(&mut self, asked: &Asked<'_>, op: &MultiOp<'_>, out: &mut BytesMut) -> Result<OpCode, ErrorCode> {
        let start = out.len();
        out.int(0);
        out.int(0);
        let logged = match op {
            MultiOp::Create(create) => {
                let (mode, kind) = self.kind_in_multi(create)?;
                self.create(asked, create, (mode, kind), out)?;
                // 3.8.0 does not know create2 here: log create (storage.md 2.3).
                match kind {
                    CreateKind::Persistent | CreateKind::Ephemeral => OpCode::CREATE,
                    CreateKind::Container => OpCode::CREATE_CONTAINER,
                    CreateKind::Ttl(_) => OpCode::CREATE_TTL,
                }
            }
            MultiOp::Delete(delete) => {
                self.delete(asked, delete, out)?;
                OpCode::DELETE
            }
            MultiOp::SetData(set_data) => {
                self.set_data(asked, set_data, out)?;
                OpCode::SET_DATA
            }
            MultiOp::Check(check) => {
                self.check(asked, check, out)?;
                OpCode::CHECK
            }
        };
        let length = (out.len() - start - 8) as i32;
        out[start..start + 4].copy_from_slice(&logged.0.to_be_bytes());
        out[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
        Ok(layout(op))
    }
}

/// The error of the part that failed, and "not reached" for the rest: `parts` with it.
fn put_errors(parts: usize, error: ErrorCode, out: &mut BytesMut) {
    for code in std::iter::once(error).chain(std::iter::repeat(ErrorCode::RUNTIME_INCONSISTENCY)).take(parts) {
        out.int(OpCode::ERROR.0);
        out.buffer(Some(&code.0.to_be_bytes()));
    }
}
