//! Whatever a client asks for, what it gets and what becomes of it is bounded.

mod standalone;

use standalone::{Client, Server, create, get, set};
use zkd::jute::JuteWrite;
use zkd::pipeline::LanePhase;
use zkd::proto::{Acl, AclBytes, ErrorCode, MultiHeader, OpCode, Perms};
use zkd::storage::recovery::RecoveryOptions;
use zkd::txn::{Entry, Txn};

/// More than the longest record.
const ABOVE_RECORD: usize = 3 << 20;

fn record_bytes_max() -> usize {
    RecoveryOptions::default().body_bytes_max
}

/// What an auth packet says.
fn digest(user: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.int(0);
    body.ustring("digest");
    body.buffer(Some(format!("{user}:secret").as_bytes()));
    body
}

fn create_with(path: &str, acl: &[Acl<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    body.ustring(path);
    body.buffer(Some(b"0"));
    body.extend_from_slice(&AclBytes::encode_list(acl));
    body.int(0);
    body
}

fn auth_entry(id: &str) -> Acl<'_> {
    Acl { perms: Perms(31), scheme: Some("auth".into()), id: Some(id.into()) }
}

fn multi(op: OpCode, parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        MultiHeader { op, done: false, error: -1 }.encode(&mut body);
        body.extend(part);
    }
    MultiHeader::END.encode(&mut body);
    body
}

fn errors(client: &Client) -> Vec<ErrorCode> {
    client.frames().iter().map(|frame| frame.1).collect()
}

fn is_closing(client: &Client) -> bool {
    client.lane.lock().phase() == LanePhase::Closing
}

/// A server with `/z`, which has a mebibyte, less a little.
fn with_large() -> (Server, Client) {
    let mut server = Server::new();
    let mut client = server.connect();
    client.write(&mut server, OpCode::CREATE, &create("/z", 0));
    client.write(&mut server, OpCode::SET_DATA, &set("/z", &"x".repeat(1_000_000)));
    server.flush();
    client.frames_of_connect();
    (server, client)
}

#[test]
fn the_end_of_a_session_is_a_record_that_can_be_read_however_many_ephemerals_it_has() {
    let mut server = Server::new();
    let mut client = server.connect();
    let count = 600;
    for number in 0..count {
        client.write(
            &mut server,
            OpCode::CREATE,
            &create(&format!("/{number}-{}", "e".repeat(ABOVE_RECORD / count)), 1),
        );
    }
    server.flush();
    assert_eq!(server.database.read().tree().ephemerals_of(client.session()).len(), count);
    client.write(&mut server, OpCode::CLOSE_SESSION, &[]);
    let record = server.records.last().expect("the end of the session").clone();
    let Entry { txn: Txn::CloseSession(Some(named)), .. } = Entry::decode(&record).expect("a txn") else {
        panic!("not the end of a session");
    };
    assert!(
        record.len() <= record_bytes_max() && named.len() > count / 2,
        "{} bytes, {} paths",
        record.len(),
        named.len()
    );
    server.flush();
    let database = server.database.read();
    assert!(database.tree().find(&format!("/0-{}", "e".repeat(ABOVE_RECORD / count))).is_none());
    assert_eq!((database.tree().len(), database.digests().mismatches), (Server::new().database.read().tree().len(), 0));
}

#[test]
fn who_says_too_much_of_who_it_is_is_not_listened_to() {
    let mut server = Server::new();
    let mut client = server.connect();
    client.frames_of_connect();
    assert!(client.send(&server, OpCode::AUTH, &digest("somebody")).is_none());
    assert_eq!(errors(&client), [ErrorCode::OK]);
    client.send(&server, OpCode::AUTH, &digest(&"u".repeat(100_000)));
    assert_eq!(errors(&client), [ErrorCode::AUTH_FAILED]);
    assert!(is_closing(&client));
    let mut patient = server.connect();
    patient.frames_of_connect();
    let accepted = (0..100).take_while(|number| {
        patient.send(&server, OpCode::AUTH, &digest(&format!("{number}{}", "u".repeat(2000))));
        errors(&patient) == [ErrorCode::OK]
    });
    assert!((20..50).contains(&accepted.count()));
}

#[test]
fn an_acl_does_not_grow_without_bound() {
    let mut server = Server::new();
    let mut client = server.connect();
    client.send(&server, OpCode::AUTH, &digest(&"u".repeat(50_000)));
    client.frames_of_connect();
    client.write(&mut server, OpCode::CREATE, &create_with("/a", &[auth_entry("")]));
    let ids: Vec<_> = (0..1000).map(|id| id.to_string()).collect();
    let many: Vec<_> = ids.iter().map(|id| auth_entry(id)).collect();
    client.write(&mut server, OpCode::CREATE, &create_with("/b", &many));
    server.flush();
    assert_eq!(errors(&client), [ErrorCode::OK, ErrorCode::INVALID_ACL]);
    // Each part is well below the limit.
    let parts = (0..100).map(|number| create_with(&format!("/c{number}"), &[auth_entry("")]));
    client.write(&mut server, OpCode::MULTI, &multi(OpCode::CREATE, parts));
    let longest = server.records.iter().map(bytes::Bytes::len).max();
    server.flush();
    assert_eq!(errors(&client), [ErrorCode::MARSHALLING]);
    assert!(longest.is_some_and(|bytes| bytes < 1000), "{longest:?}");
    assert!(server.database.read().tree().find("/c0").is_none());
    // Those that are below it together, and the errors of the many that come behind one that fails.
    let few = (0..35).map(|number| create_with(&format!("/c{number}"), &[auth_entry("")]));
    let fails = std::iter::once(create("/nobody/here", 0));
    let many = (0..90_000).map(|_| create("/", 0));
    client.write(&mut server, OpCode::MULTI, &multi(OpCode::CREATE, few.chain(fails).chain(many)));
    let longest = server.records.iter().map(bytes::Bytes::len).max();
    server.flush();
    assert!(longest.is_some_and(|bytes| bytes <= record_bytes_max()), "{longest:?}");
    client.frames();
    client.write(&mut server, OpCode::CREATE, &create("/d", 0));
    server.flush();
    assert_eq!((errors(&client), server.database.read().digests().mismatches), (vec![ErrorCode::OK], 0));
}

#[test]
fn a_multi_read_does_not_get_more_than_anybody_may_leave_unread() {
    let (server, mut client) = with_large();
    for (reads, error) in [(60, ErrorCode::OK), (80, ErrorCode::MARSHALLING)] {
        let body = multi(OpCode::GET_DATA, (0..reads).map(|_| get("/z", false)));
        client.send(&server, OpCode::MULTI_READ, &body);
        assert_eq!(errors(&client), [error], "{reads} reads");
    }
}

#[test]
fn reads_that_wait_for_a_write_do_not_get_more_either() {
    let (mut server, mut client) = with_large();
    let write = client.send(&server, OpCode::SET_DATA, &set("/z", &"y".repeat(1_000_000))).expect("a write");
    for _ in 0..900 {
        assert!(client.send(&server, OpCode::GET_DATA, &get("/z", false)).is_none());
    }
    server.give(write);
    server.flush();
    assert!(is_closing(&client) && client.lane.lock().is_cut());
    assert_eq!(client.lane.lock().unsent(), 0);
    assert!(server.database.read().tree().find("/z").is_some(), "others go on");
}
