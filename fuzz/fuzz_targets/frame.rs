//! The first frame of a connection, and reply headers: whatever comes, decoding ends, and what decodes encodes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zkd::proto::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};

fuzz_target!(|data: &[u8]| {
    if let Ok((rest, request)) = ConnectRequest::decode(data) {
        let mut out = Vec::new();
        request.encode(&mut out);
        // A flag of any other value reads as true.
        let same = data.len() - rest.len();
        if data[..same].last().is_none_or(|flag| *flag < 2) {
            assert_eq!(out, data[..same]);
        }
    }
    let _ = ConnectResponse::decode(data);
    let _ = ReplyHeader::decode(data);
    let _ = RequestHeader::decode(data);
});
