//! multi and multiRead: many operations in one request (client-protocol.md 6).

use bytes::BufMut;

use super::op::OpCode;
use super::request::{CheckVersion, Create, Request, SetData};
use crate::jute::{JuteError, JuteWrite, Parsed, boolean, fail, int};

/// What stands before each operation and each result, and ends the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MultiHeader {
    /// The operation, or -1.
    pub op: OpCode,
    /// Whether the list ends here.
    pub done: bool,
    /// In results: the error.
    pub error: i32,
}

impl MultiHeader {
    /// The end of every list.
    pub const END: MultiHeader = MultiHeader { op: OpCode::ERROR, done: true, error: -1 };

    /// Decodes the header.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn decode(input: &[u8]) -> Parsed<'_, Self> {
        let (input, op) = int(input)?;
        let (input, done) = boolean(input)?;
        let (input, error) = int(input)?;
        Ok((input, Self { op: OpCode(op), done, error }))
    }

    /// Encodes the header.
    pub fn encode(self, out: &mut impl BufMut) {
        out.int(self.op.0);
        out.boolean(self.done);
        out.int(self.error);
    }
}

/// One operation of a multi: those that write, and check.
#[derive(Clone, PartialEq, Debug)]
pub enum MultiOp<'a> {
    /// create, create2, createContainer, createTTL.
    Create(Create<'a>),
    /// delete.
    Delete(CheckVersion<'a>),
    /// setData.
    SetData(SetData<'a>),
    /// check.
    Check(CheckVersion<'a>),
}

impl MultiOp<'_> {
    /// The path it is about, as asked; `None` is null.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Create(create) => create.path.as_deref(),
            Self::SetData(set_data) => set_data.path.as_deref(),
            Self::Delete(check) | Self::Check(check) => check.path.as_deref(),
        }
    }
}

/// Decodes the body of a multi. An operation that does not belong, and of a create that is no createTTL a flag out of range
/// and a null ACL, spoil the whole request, as they do since 3.9.0.
///
/// # Errors
/// As said; and when it is cut short.
pub(super) fn decode_multi(input: &[u8]) -> Parsed<'_, Vec<MultiOp<'_>>> {
    decode_list(input, |op, input| match op {
        OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
            let (input, create) = Create::decode(op, input)?;
            // A TTL needs createTTL here, whatever the server allows.
            if op != OpCode::CREATE_TTL {
                let Some(mode) = create.mode() else { return fail(JuteError::Value(create.flags)) };
                if create.acl.is_null() {
                    return fail(JuteError::Null);
                }
                if mode.ttl {
                    return fail(JuteError::Value(create.flags));
                }
            }
            Ok((input, MultiOp::Create(create)))
        }
        OpCode::DELETE => {
            let (input, delete) = CheckVersion::decode(input)?;
            Ok((input, MultiOp::Delete(delete)))
        }
        OpCode::SET_DATA => {
            let (input, set_data) = SetData::decode(input)?;
            Ok((input, MultiOp::SetData(set_data)))
        }
        OpCode::CHECK => {
            let (input, check) = CheckVersion::decode(input)?;
            Ok((input, MultiOp::Check(check)))
        }
        OpCode(other) => fail(JuteError::Value(other)),
    })
}

/// Decodes the body of a multiRead: getData and getChildren only.
///
/// # Errors
/// Another operation, or when it is cut short.
pub(super) fn decode_multi_read(input: &[u8]) -> Parsed<'_, Vec<Request<'_>>> {
    decode_list(input, |op, input| match op {
        OpCode::GET_DATA | OpCode::GET_CHILDREN => Request::decode(op, input),
        OpCode(other) => fail(JuteError::Value(other)),
    })
}

fn decode_list<'a, Op>(mut input: &'a [u8], item: impl Fn(OpCode, &'a [u8]) -> Parsed<'a, Op>) -> Parsed<'a, Vec<Op>> {
    let mut ops = Vec::new();
    loop {
        let (rest, header) = MultiHeader::decode(input)?;
        if header.done {
            return Ok((rest, ops));
        }
        let (rest, op) = item(header.op, rest)?;
        ops.push(op);
        input = rest;
    }
}
