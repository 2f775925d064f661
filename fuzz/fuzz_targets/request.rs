//! Request records of every opcode.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zkd::proto::{Auth, OpCode, Request};

fuzz_target!(|data: &[u8]| {
    if let Some((op, body)) = data.split_first() {
        let _ = Request::decode(OpCode(i32::from(*op)), body);
        let _ = Auth::decode(body);
    }
});
