//! The election port: hellos and notifications, any bytes; what decodes, encodes to bytes that decode to the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use zkd::zab::{Ensemble, Hello, Notification};

fuzz_target!(|data: &[u8]| {
    let hello = Hello::decode(data);
    if let Ok(Some((length, hello))) = &hello {
        assert!(*length <= data.len());
        let mut out = Vec::new();
        hello.encode(&mut out);
        // What is not UTF-8 is replaced, which may make it longer.
        if hello.addresses.iter().all(|address| !address.contains(char::REPLACEMENT_CHARACTER)) {
            assert_eq!(out, data[..*length]);
        }
        // More bytes change nothing, and fewer are not enough.
        assert_eq!(Hello::decode(&data[..*length]), hello_of(*length, hello));
        for end in 0..*length {
            assert_eq!(Hello::decode(&data[..end]), Ok(None));
        }
    }
    let message = Bytes::copy_from_slice(data);
    if let Ok(notification) = Notification::decode(&message) {
        let mut out = Vec::new();
        notification.encode(&mut out);
        let again = Notification::decode(&Bytes::from(out).slice(4..)).expect("what was encoded decodes");
        // Without a configuration the version takes part in nothing, and 40 bytes are read without one.
        let version = if notification.config.is_some() { notification.version } else { 0 };
        assert_eq!(again, Notification { version, ..notification.clone() });
        if let Some(Ok(text)) = notification.config.as_deref().map(std::str::from_utf8) {
            let _ = Ensemble::parse(text);
        }
    }
});

fn hello_of(length: usize, hello: &Hello) -> Result<Option<(usize, Hello)>, zkd::zab::HelloError> {
    Ok(Some((length, hello.clone())))
}
