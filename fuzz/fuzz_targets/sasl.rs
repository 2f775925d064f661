//! DIGEST-MD5 on both sides, the packets that it comes in between servers, and the file with the passwords: any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zkd::auth::sasl::{Nonces, ServerExchange, Service, respond};
use zkd::config::{Config, Credentials, Secret};
use zkd::zab::AuthPacket;

fuzz_target!(|bytes: &[u8]| {
    let nonces = Nonces::new([1; 32]);
    let credentials = Credentials { user: "bob".to_owned(), password: Secret("secret".to_owned()) };
    let users = [(credentials.user.clone(), credentials.password.clone())].into();
    let challenge = |server: &mut ServerExchange| {
        let _ = server.step(Service::CLIENTS, &users, b"", || nonces.nonce(1));
    };
    let mut server = ServerExchange::default();
    challenge(&mut server);
    let _ = server.step(Service::CLIENTS, &users, bytes, || nonces.nonce(2));
    if let Ok((response, expected)) = respond(Service::CLIENTS, &credentials, bytes, &nonces.nonce(3)) {
        let mut server = ServerExchange::default();
        challenge(&mut server);
        let _ = server.step(Service::CLIENTS, &users, &response, || nonces.nonce(2));
        let _ = expected.accept(bytes);
    }
    if let (Some(head), Ok((_, packet))) = (bytes.first_chunk(), AuthPacket::decode(bytes)) {
        assert!(AuthPacket::length(head).is_ok() || bytes.len() > 4112);
        let mut again = Vec::new();
        packet.encode(&mut again);
        assert_eq!(again, bytes[..again.len()]);
    }
    if let (Ok(text), Ok(mut config)) = (std::str::from_utf8(bytes), Config::parse_embedded(&[])) {
        let _ = config.merge_jaas("jaas.conf", text);
    }
});
