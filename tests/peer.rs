//! A whole server without sockets, disks and clocks: what a client is told, and in which order.

mod standalone;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Wake, Waker};

use standalone::{Client, NO_LIMIT, Server, create, data, get, set};
use zkd::jute::JuteWrite;
use zkd::peer::{Input, Machine};
use zkd::pipeline::{EarlyRules, Greeting, LanePhase, LoadDatabase, ReceiveRules, disconnect};
use zkd::proto::{ErrorCode, MultiHeader, OPEN_ACL, OpCode, ReplyHeader};
use zkd::storage::Durable;
use zkd::storage::snapshot_body::{BodyReader, Progress};
use zkd::tree::{TreeOptions, Walked};
use zkd::txn::{Entry, Txn};

/// A server with one client and one znode.
fn with_znode() -> (Server, Client) {
    let mut server = Server::new();
    let mut client = server.connect();
    client.write(&mut server, OpCode::CREATE, &create("/z", 0));
    server.flush();
    client.frames();
    (server, client)
}

#[test]
fn nothing_is_answered_before_it_is_durable() {
    let (mut server, mut client) = with_znode();
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "1"));
    assert!(client.frames().is_empty());
    server.flush();
    assert_eq!(client.frames().len(), 1);
}

struct Awake(AtomicBool);

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn what_is_no_clients_to_ask_ends_a_connection_behind_a_write_too() {
    let (mut server, mut client) = with_znode();
    let awake = Arc::new(Awake(AtomicBool::new(false)));
    client.lane.lock().set_waker(&Waker::from(Arc::clone(&awake)));
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "1"));
    assert!(client.send(&server, OpCode(999), &[]).is_none());
    assert!(client.frames().is_empty());
    server.flush();
    let errors: Vec<_> = client.frames().iter().map(|frame| frame.1).collect();
    assert_eq!(errors, [ErrorCode::OK, ErrorCode::UNIMPLEMENTED]);
    assert_eq!(client.lane.lock().phase(), LanePhase::Closing);
    assert!(awake.0.load(Relaxed), "nobody would send it");
}

#[test]
fn reads_between_writes_see_the_writes_before_them_and_not_those_behind() {
    let (mut server, mut client) = with_znode();
    for value in ["1", "2", "3"] {
        client.write(&mut server, OpCode::SET_DATA, &set("/z", value));
        assert!(client.send(&server, OpCode::GET_DATA, &get("/z", false)).is_none());
    }
    server.flush();
    let frames = client.frames();
    let order: Vec<_> = frames.iter().map(|frame| frame.0).collect();
    assert_eq!(order, [2, 3, 4, 5, 6, 7], "answers come in the order of requests");
    assert_eq!([data(&frames[1]), data(&frames[3]), data(&frames[5])], ["1", "2", "3"]);
}

#[test]
fn reads_of_others_do_not_wait_for_a_write() {
    let (mut server, mut client) = with_znode();
    let mut other = server.connect();
    other.frames_of_connect();
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "1"));
    assert!(other.send(&server, OpCode::GET_DATA, &get("/z", false)).is_none());
    assert_eq!(data(&other.frames()[0]), "0");
}

#[test]
fn the_event_comes_before_the_answer_to_the_write_that_caused_it() {
    let (mut server, mut client) = with_znode();
    client.send(&server, OpCode::GET_DATA, &get("/z", true));
    client.frames();
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "1"));
    server.flush();
    let xids: Vec<_> = client.frames().iter().map(|frame| frame.0).collect();
    assert_eq!(xids, [ReplyHeader::NOTIFICATION_XID, 3]);
}

#[test]
fn ephemerals_die_with_their_session_not_with_its_connection() {
    let (mut server, mut client) = with_znode();
    client.write(&mut server, OpCode::CREATE, &create("/e", 1));
    server.flush();
    disconnect(&server.database.read(), &client.lane);
    server.give(Input::Disconnected(client.lane.id));
    assert!(server.database.read().tree().find("/e").is_some());
    server.now.steady_ms = 5999;
    server.give(Input::Tick);
    assert!(server.appended.is_none(), "the deadline is rounded up to the next tick");
    server.now.steady_ms = 6000;
    server.give(Input::Tick);
    server.flush();
    assert!(server.database.read().tree().find("/e").is_none());
}

#[test]
fn a_wrong_password_cuts_the_live_connection_all_the_same() {
    let (mut server, client) = with_znode();
    let session = client.session();
    let greeting = Greeting { session, password: vec![7; 16], timeout_ms: 4000, read_only: Some(false) };
    let thief = server.greet(greeting);
    assert_eq!(thief.lane.lock().phase(), LanePhase::Closing);
    assert_eq!(client.lane.lock().phase(), LanePhase::Closing);
    let password = zkd::session::password(session).to_vec();
    let owner = server.greet(Greeting { session, password, timeout_ms: 4000, read_only: Some(false) });
    assert_eq!(owner.lane.lock().phase(), LanePhase::Open);
}

#[test]
fn a_session_that_moved_writes_no_more_on_its_old_connection() {
    let (mut server, mut client) = with_znode();
    let late = client.send(&server, OpCode::SET_DATA, &set("/z", "late")).expect("a write");
    let password = zkd::session::password(client.session()).to_vec();
    let session = client.session();
    server.greet(Greeting { session, password, timeout_ms: 4000, read_only: Some(false) });
    server.give(late);
    server.flush();
    let database = server.database.read();
    assert_eq!(database.tree().find("/z").and_then(zkd::tree::ZnodeRef::data), Some(&b"0"[..]));
}

#[test]
fn what_is_late_on_an_old_connection_is_refused_also_when_the_new_one_is_gone() {
    let (mut server, mut client) = with_znode();
    let late = client.send(&server, OpCode::SET_DATA, &set("/z", "late")).expect("a write");
    let session = client.session();
    let password = zkd::session::password(session).to_vec();
    let moved = server.greet(Greeting { session, password, timeout_ms: 4000, read_only: Some(false) });
    disconnect(&server.database.read(), &moved.lane);
    server.give(Input::Disconnected(moved.lane.id));
    server.give(late);
    server.flush();
    let database = server.database.read();
    assert_eq!(database.tree().find("/z").and_then(zkd::tree::ZnodeRef::data), Some(&b"0"[..]));
}

#[test]
fn a_full_disk_refuses_writes_without_a_zxid_and_goes_on_reading() {
    let (mut server, mut client) = with_znode();
    let before = server.database.read().last_zxid();
    server.give(Input::DiskFull(true));
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "1"));
    client.send(&server, OpCode::GET_DATA, &get("/z", false));
    let frames = client.frames();
    assert_eq!((frames[0].1, data(&frames[1])), (ErrorCode::SYSTEM_ERROR, "0"));
    server.give(Input::DiskFull(false));
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "2"));
    server.flush();
    assert_eq!(client.frames()[0].1, ErrorCode::OK);
    assert_eq!(server.database.read().last_zxid(), before.next().expect("a zxid"));
}

#[test]
fn what_met_a_full_disk_holds_up_neither_a_sync_nor_a_session_that_comes_back() {
    let (mut server, mut client) = with_znode();
    let mut other = server.connect();
    other.frames_of_connect();
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "1"));
    server.give(Input::DiskFull(true));
    other.write(&mut server, OpCode::SYNC, &get("/z", false)[..6]);
    assert_eq!(other.frames()[0].1, ErrorCode::OK);
    let (session, timeout_ms) = (client.session(), 4000);
    let password = zkd::session::password(session).to_vec();
    let appended = server.appended.take();
    let mut back = server.greet(Greeting { session, password, timeout_ms, read_only: Some(false) });
    back.frames_of_connect();
    back.send(&server, OpCode::GET_DATA, &get("/z", false));
    assert_eq!(data(&back.frames()[0]), "0");
    server.give(Input::DiskFull(false));
    server.appended = appended;
    server.flush();
    back.send(&server, OpCode::GET_DATA, &get("/z", false));
    assert_eq!(data(&back.frames()[0]), "1");
}

#[test]
fn a_full_disk_lets_others_know_at_once_and_keeps_what_it_took() {
    let (mut server, mut client) = with_znode();
    let mut other = server.connect();
    other.frames_of_connect();
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "taken"));
    server.give(Input::DiskFull(true));
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "refused"));
    other.write(&mut server, OpCode::SET_DATA, &set("/z", "refused"));
    assert_eq!(other.frames()[0].1, ErrorCode::SYSTEM_ERROR);
    assert!(client.frames().is_empty(), "its first write may still be kept");
    server.flush();
    let codes: Vec<_> = client.frames().iter().map(|frame| frame.1).collect();
    assert_eq!(codes, [ErrorCode::OK, ErrorCode::SYSTEM_ERROR]);
}

#[test]
fn a_full_disk_holds_up_neither_the_clock_nor_the_end() {
    let (mut server, mut client) = with_znode();
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "taken"));
    server.give(Input::DiskFull(true));
    assert_eq!(server.peer.next_deadline(), None, "nothing can expire, so nothing is due");
    server.now.steady_ms = 60_000;
    server.give(Input::Tick);
    assert_eq!(server.peer.sessions().map(zkd::session::Sessions::len), Some(1));
    assert!(server.peer.is_idle(server.now), "a server that is told to stop does not wait for room");
    server.give(Input::DiskFull(false));
    assert!(server.peer.next_deadline().is_some());
}

#[test]
fn a_stopping_server_finishes_what_it_took_and_takes_no_more() {
    let (mut server, mut client) = with_znode();
    let mut late = server.connect();
    late.frames_of_connect();
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "1"));
    server.give(Input::Stop);
    late.write(&mut server, OpCode::SET_DATA, &set("/z", "late"));
    assert!(!server.peer.is_idle(server.now));
    server.flush();
    assert!(server.peer.is_idle(server.now));
    assert_eq!((client.frames().len(), late.frames().len()), (1, 0));
}

#[test]
fn a_database_that_is_brought_is_on_disk_before_anybody_is_served() {
    let (mut server, mut client) = with_znode();
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "in flight"));
    server.give(Input::Restore(Box::new(LoadDatabase::new(TreeOptions::default()))));
    assert_eq!(client.lane.lock().phase(), LanePhase::Closing, "nobody sees one database and then the other");
    assert_eq!((server.peer.restoring(), server.snapshots), (true, 0), "what was logged comes first");
    server.flush();
    let before = server.database.read().last_zxid();
    assert_eq!((server.peer.restoring(), server.snapshots), (true, 1));
    assert_eq!(server.peer.next_deadline(), None, "only the disk can go on");
    assert_eq!(server.connect().lane.lock().phase(), LanePhase::Closing);
    server.give(Input::SnapshotWritten(1, Some(Durable::after_flush(before))));
    assert!(!server.peer.restoring());
    let mut client = server.connect();
    client.frames_of_connect();
    client.send(&server, OpCode::GET_DATA, &get("/z", false));
    assert_eq!(client.frames()[0].1, ErrorCode::NO_NODE);
    assert!(server.database.read().last_zxid() > before, "its log goes on where the old one ended");
}

#[test]
fn a_snapshot_that_is_asked_for_is_one_like_any_other() {
    let (mut server, _client) = with_znode();
    let start = server.peer.begin_snapshot().expect("nothing else is under way");
    assert_eq!(start.zxid, server.database.read().last_zxid());
    assert!(server.peer.begin_snapshot().is_none(), "one at a time");
    server.give(Input::SnapshotWritten(start.walk, Some(Durable::after_flush(start.zxid))));
    assert!(server.peer.begin_snapshot().is_some());
}

#[test]
fn snapshots_are_taken_by_the_count_of_txns_one_at_a_time() {
    let mut server = Server::with_snapshots_every(20);
    let mut client = server.connect();
    for number in 0..100 {
        client.write(&mut server, OpCode::CREATE, &create(&format!("/n{number}"), 0));
        server.flush();
    }
    assert_eq!(server.snapshots, 1, "another one begins only when this one has ended");
    let zxid = server.database.read().last_zxid();
    server.give(Input::SnapshotWritten(1, Some(Durable::after_flush(zxid))));
    client.write(&mut server, OpCode::CREATE, &create("/more", 0));
    server.flush();
    assert_eq!(server.snapshots, 2);
}

#[test]
fn what_was_held_back_for_too_long_is_refused_in_its_turn() {
    let (mut server, mut client) = with_znode();
    let rules = ReceiveRules { early: EarlyRules { op_wait_max_ms: Some(10), ..EarlyRules::NONE }, ..NO_LIMIT };
    let late = |client: &mut Client, server: &Server, op, body: &[u8]| client.send_late(server, (op, body), 11, rules);
    assert!(client.send_late(&server, (OpCode::GET_DATA, &get("/z", false)), 10, rules).is_none());
    client.write(&mut server, OpCode::SET_DATA, &set("/z", "1"));
    assert!(late(&mut client, &server, OpCode::SET_DATA, &set("/z", "2")).is_none(), "nobody is asked");
    assert!(late(&mut client, &server, OpCode::GET_DATA, &get("/z", false)).is_none());
    assert!(late(&mut client, &server, OpCode::PING, &[]).is_none());
    assert!(late(&mut client, &server, OpCode::CLOSE_SESSION, &[]).is_some(), "a session may always end");
    assert_eq!(client.frames().len(), 1, "the others wait for the write before them");
    server.flush();
    let codes: Vec<_> = client.frames().iter().map(|(_, error, _)| *error).collect();
    assert_eq!(codes, [ErrorCode::OK, ErrorCode::THROTTLED_OP, ErrorCode::THROTTLED_OP, ErrorCode::OK]);
    assert_eq!(client.lane.statistics().throttled_ops.load(Relaxed), 2);
}

#[test]
fn an_eager_check_refuses_what_the_acls_forbid_and_leaves_the_rest_to_the_leader() {
    let (mut server, mut client) = with_znode();
    let closed = |path: &str, perms: i32| {
        let mut body = Vec::new();
        body.ustring(path);
        body.length(1);
        body.int(perms);
        body.ustring("world");
        body.ustring("anyone");
        body.int(-1);
        body
    };
    client.write(&mut server, OpCode::SET_ACL, &closed("/z", 1));
    server.flush();
    client.frames();
    let rules = ReceiveRules { early: EarlyRules { check_acls: true, ..EarlyRules::NONE }, ..NO_LIMIT };
    let mut asked = |op, body: &[u8]| client.send_late(&server, (op, body), 0, rules).is_some();
    assert!(!asked(OpCode::SET_DATA, &set("/z", "1")) && !asked(OpCode::CREATE, &create("/z/below", 0)));
    assert!(!asked(OpCode::SET_ACL, &closed("/z", 31)));
    assert!(!asked(OpCode::CREATE, &[create("/n", 0)[..11].to_vec(), vec![0; 8]].concat()), "an ACL without entries");
    let refused = client.frames();
    let codes: Vec<_> = refused.iter().map(|(_, error, _)| *error).collect();
    assert_eq!(codes, [ErrorCode::NO_AUTH, ErrorCode::NO_AUTH, ErrorCode::NO_AUTH, ErrorCode::INVALID_ACL]);
    let mut asked = |op, body: &[u8]| client.send_late(&server, (op, body), 0, rules).is_some();
    assert!(asked(OpCode::SET_DATA, &set("/missing", "1")) && asked(OpCode::CREATE, &create("/n", 0)));
    assert!(asked(OpCode::DELETE, &[&set("/z", "")[..6], &[0xff; 4]].concat()), "the root's ACL decides");
}

#[test]
fn the_end_of_a_session_names_its_ephemerals_unless_told_otherwise() {
    for close_session_txn in [true, false] {
        let mut server = Server::with(|rules| rules.prepare.close_session_txn = close_session_txn);
        let mut client = server.connect();
        client.write(&mut server, OpCode::CREATE, &create("/e", 1));
        server.flush();
        client.write(&mut server, OpCode::CLOSE_SESSION, &[]);
        let entry = Entry::decode(&server.records[0]).expect("a txn");
        let named = close_session_txn.then(|| vec!["/e".into()]);
        assert_eq!(entry.txn, Txn::CloseSession(named));
        let digest = entry.digest.expect("there is one");
        drop(entry);
        server.flush();
        let database = server.database.read();
        assert!(database.tree().find("/e").is_none());
        assert_eq!((database.tree().digest(), database.digests().mismatches), (digest.tree, 0));
    }
}

#[test]
fn the_end_of_a_session_takes_what_is_in_flight_with_it() {
    let mut server = Server::new();
    let (mut client, mut other) = (server.connect(), server.connect());
    for path in ["/kept", "/deleted", "/passed-on"] {
        client.write(&mut server, OpCode::CREATE, &create(path, 1));
    }
    server.flush();
    client.write(&mut server, OpCode::SET_DATA, &set("/kept", "1"));
    for path in ["/deleted", "/passed-on"] {
        client.write(
            &mut server,
            OpCode::DELETE,
            &set(path, "")[..path.len() + 4].iter().copied().chain([0xff; 4]).collect::<Vec<_>>(),
        );
    }
    other.write(&mut server, OpCode::CREATE, &create("/passed-on", 1));
    client.write(&mut server, OpCode::CREATE, &create("/new", 1));
    client.write(&mut server, OpCode::CREATE, &create("/not-mine", 0));
    client.write(&mut server, OpCode::CLOSE_SESSION, &[]);
    let entry = Entry::decode(server.records.last().expect("the end")).expect("a txn");
    assert_eq!(entry.txn, Txn::CloseSession(Some(vec!["/kept".into(), "/new".into()])));
    drop(entry);
    server.flush();
    let database = server.database.read();
    let left =
        ["/kept", "/deleted", "/passed-on", "/new", "/not-mine"].map(|path| database.tree().find(path).is_some());
    assert_eq!(left, [false, false, true, false, true]);
    assert_eq!(database.digests().mismatches, 0);
}

#[test]
fn the_same_inputs_make_the_same_bytes() {
    let run = || {
        let mut server = Server::new();
        let mut client = server.connect();
        for number in 0..50 {
            client.write(&mut server, OpCode::CREATE, &create(&format!("/n{}", number % 30), number % 4));
            server.flush();
        }
        (client.lane.lock().take_out(), server.database.read().tree().digest())
    };
    assert_eq!(run(), run());
}

/// One write or another, of few znodes, so that many meet while they are in flight.
fn some_write(random: &mut fastrand::Rng) -> (OpCode, Vec<u8>) {
    let path = format!("/d{}", random.u8(0..3));
    let path = if random.bool() { path } else { format!("{path}/n{}", random.u8(0..4)) };
    let mut body = Vec::new();
    match random.u8(0..6) {
        0 | 1 => return (OpCode::CREATE, create(&path, 0)),
        2 => {
            body.ustring(&path);
            body.extend_from_slice(OPEN_ACL.as_bytes());
            body.int(-1);
            return (OpCode::SET_ACL, body);
        }
        3 => {
            body.ustring(&path);
            body.int(-1);
            return (OpCode::DELETE, body);
        }
        4 => return (OpCode::SET_DATA, set(&path, &random.u64(..).to_string())),
        _ => {}
    }
    for part in [create("/d0/multi", 0), create(&path, 0)] {
        MultiHeader { op: OpCode::CREATE, done: false, error: -1 }.encode(&mut body);
        body.extend(part);
    }
    MultiHeader::END.encode(&mut body);
    (OpCode::MULTI, body)
}

/// The digest of what a snapshot would hold, summed up from its first byte to its last.
fn digest_from_scratch(server: &Server) -> Option<u64> {
    let mut database = server.database.write();
    let mut body = Vec::new();
    let number = database.begin_snapshot(&mut body).expect("no other snapshot is under way");
    assert_eq!(database.continue_snapshot(number, usize::MAX, &mut body), Walked::Done);
    database.end_snapshot(number);
    let mut load = LoadDatabase::new(TreeOptions::default());
    assert_eq!(BodyReader::new().read(&body, &mut load), Ok((body.len(), Progress::Done)));
    load.snapshot_loaded(database.last_zxid());
    load.digest()
}

#[test]
fn digests_are_foreseen_whatever_is_in_flight_and_are_those_of_the_tree() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut server, mut client) = with_znode();
        for _ in 0..60 {
            for _ in 0..random.u8(1..6) {
                let (op, body) = some_write(&mut random);
                client.write(&mut server, op, &body);
            }
            server.flush();
            let database = server.database.read();
            assert_eq!(database.digests().mismatches, 0, "seed {seed}");
            let digest = database.tree().digest();
            drop(database);
            assert_eq!(digest_from_scratch(&server), Some(digest), "seed {seed}");
        }
        let answers = client.frames();
        let done = answers.iter().filter(|answer| answer.1 == ErrorCode::OK).count();
        assert!(done * 4 > answers.len() && done < answers.len(), "{done} of {} were done", answers.len());
    }
}

#[test]
fn a_tree_that_is_another_one_is_found_out_by_the_next_digest() {
    let (mut server, mut client) = with_znode();
    let mut records = Vec::new();
    for value in ["1", "2", "3", "4"] {
        client.write(&mut server, OpCode::SET_DATA, &set("/z", value));
        client.write(&mut server, OpCode::CREATE, &create(&format!("/z/{value}"), 0));
        records.append(&mut server.records);
        server.flush();
    }
    for skipped in 0..=records.len() {
        let mut other = Server::new();
        let mut client = other.connect();
        client.write(&mut other, OpCode::CREATE, &create("/z", 0));
        other.flush();
        let mut database = other.database.write();
        for (at, record) in records.iter().enumerate().filter(|(at, _)| *at != skipped) {
            database.apply(&Entry::decode(record).expect("a txn"), &mut Vec::new());
            let found = database.digests().mismatches > 0;
            assert_eq!(found, at > skipped, "txn {at} without {skipped}");
        }
    }
}
