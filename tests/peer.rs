//! A whole server without sockets, disks and clocks: what a client is told, and in which order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use zkd::auth::AuthRules;
use zkd::ids::{ConnectionId, Now, SessionId, Sid, Zxid};
use zkd::jute::JuteWrite;
use zkd::peer::{Beginning, Input, Machine, Output, Peer, PeerRules, ReaperRules, SnapshotRules};
use zkd::pipeline::{
    Arrival, Database, EarlyRules, Greeting, Lane, LanePhase, LargeRequestRules, LoadDatabase, PrepareRules,
    ReceiveRules, Received, ServerStatistics, SharedDatabase, disconnect, receive,
};
use zkd::proto::{ErrorCode, OPEN_ACL, OpCode, ReplyHeader, RequestHeader};
use zkd::session::Negotiation;
use zkd::storage::Durable;
use zkd::storage::epochs::Epochs;
use zkd::tree::{Tree, TreeOptions};
use zkd::txn::{Entry, Txn};

const NO_LIMIT: ReceiveRules = ReceiveRules {
    large: LargeRequestRules { threshold: None, bytes_max: 0 },
    sync_asks_leader: false,
    early: EarlyRules::NONE,
};

struct Server {
    peer: Peer,
    database: SharedDatabase,
    now: Now,
    /// The last txn that was handed to the log and is not durable yet.
    appended: Option<Zxid>,
    /// The log records since the last flush.
    records: Vec<Bytes>,
    snapshots: usize,
    connections: u64,
}

impl Server {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with_snapshots_every(txns: u64) -> Self {
        Self::with(|rules| rules.snapshots.txns = txns)
    }

    fn with(change: impl FnOnce(&mut PeerRules)) -> Self {
        let auth = Arc::new(AuthRules::default());
        let tree = Tree::new(TreeOptions::default());
        let database = Database::new(tree, BTreeMap::new(), Zxid::ZERO, Arc::clone(&auth));
        let database: SharedDatabase = Arc::new(RwLock::new(database));
        let prepare = PrepareRules {
            auth,
            extended_types: false,
            enforce_quota: false,
            reconfig_enabled: false,
            digest: true,
            close_session_txn: true,
            epoch_rolls_over: true,
        };
        let mut rules = PeerRules {
            sid: Sid(1),
            tick_ms: 2000,
            negotiation: Negotiation { min_ms: 4000, max_ms: 40_000 },
            prepare,
            snapshots: SnapshotRules { txns: 100_000, bytes: 0 },
            reaper: ReaperRules { interval_ms: 60_000, per_minute_max: 10_000, never_used_ms: 0 },
            seed: 1,
            ensemble: None,
        };
        change(&mut rules);
        let now = Now { steady_ms: 0, wall_ms: 1_000_000 };
        let beginning = Beginning {
            database: Arc::clone(&database),
            history: Vec::new(),
            durable: Durable::after_flush(Zxid::ZERO),
            replayed_txns: 0,
            epochs: Epochs::default(),
        };
        let peer = Peer::new(rules, beginning, now);
        Self { peer, database, now, appended: None, records: Vec::new(), snapshots: 0, connections: 0 }
    }

    fn give(&mut self, input: Input) {
        self.peer.handle(self.now, input, &mut Vec::new());
        while let Some(output) = self.peer.poll_output() {
            match output {
                Output::Append(txns) => {
                    self.appended = txns.last().map(|(zxid, _)| *zxid);
                    self.records.extend(txns.into_iter().map(|(_, record)| record));
                }
                Output::Snapshot(_) => self.snapshots += 1,
                Output::RollLog | Output::SessionExpired(_) | Output::Standing(_) => {}
                other => panic!("a server alone wants {other:?}"),
            }
        }
    }

    /// The log's flush returns.
    fn flush(&mut self) {
        self.records.clear();
        if let Some(zxid) = self.appended.take() {
            self.give(Input::Durable(Durable::after_flush(zxid)));
        }
    }

    fn connect(&mut self) -> Client {
        self.greet(Greeting { session: SessionId::NONE, password: vec![], timeout_ms: 4000, read_only: Some(false) })
    }

    fn greet(&mut self, greeting: Greeting) -> Client {
        self.connections += 1;
        let statistics = Arc::new(ServerStatistics::default());
        let lane = Lane::new(ConnectionId(self.connections), ([127, 0, 0, 1], 1).into(), 0, statistics);
        lane.lock().connecting();
        self.give(Input::Connect(Arc::clone(&lane), greeting));
        self.flush();
        Client { lane, xid: 0 }
    }
}

struct Client {
    lane: Arc<Lane>,
    xid: i32,
}

/// A reply or an event: xid, error, and what follows.
type Frame = (i32, ErrorCode, Vec<u8>);

impl Client {
    fn session(&self) -> SessionId {
        self.lane.lock().session()
    }

    /// Puts a request on the wire; writes are returned, to be given to the server.
    fn send(&mut self, server: &Server, op: OpCode, body: &[u8]) -> Option<Input> {
        self.send_late(server, (op, body), 0, NO_LIMIT)
    }

    /// The same, after it was held back for some time.
    fn send_late(
        &mut self,
        server: &Server,
        (op, body): (OpCode, &[u8]),
        waited_ms: u64,
        rules: ReceiveRules,
    ) -> Option<Input> {
        self.xid += 1;
        let mut frame = Vec::new();
        RequestHeader { xid: self.xid, op }.encode(&mut frame);
        frame.extend_from_slice(body);
        let database = server.database.read();
        let arrival = Arrival { now_ms: server.now.steady_ms, waited_ms };
        match receive(&database, &self.lane, &mut self.lane.lock(), &frame, arrival, rules) {
            Received::Done => None,
            Received::Write(request) => Some(Input::Writes(vec![request])),
        }
    }

    /// Sends a write and gives it to the server; it is not durable yet.
    fn write(&mut self, server: &mut Server, op: OpCode, body: &[u8]) {
        let input = self.send(server, op, body).expect("a write");
        server.give(input);
    }

    /// All that was sent to the client since.
    fn frames(&self) -> Vec<Frame> {
        let out = self.lane.lock().take_out();
        let mut rest = &out[..];
        let mut frames = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk() {
            let (frame, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
            let (body, header) = ReplyHeader::decode(frame).expect("a header");
            frames.push((header.xid, header.error, body.to_vec()));
            rest = behind;
        }
        frames
    }
}

fn create(path: &str, flags: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.ustring(path);
    body.buffer(Some(b"0"));
    body.extend_from_slice(OPEN_ACL.as_bytes());
    body.int(flags);
    body
}

fn set(path: &str, data: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.ustring(path);
    body.buffer(Some(data.as_bytes()));
    body.int(-1);
    body
}

fn get(path: &str, watch: bool) -> Vec<u8> {
    let mut body = Vec::new();
    body.ustring(path);
    body.boolean(watch);
    body
}

fn data(frame: &Frame) -> &str {
    let length = usize::from(frame.2[3]);
    std::str::from_utf8(&frame.2[4..4 + length]).expect("text")
}

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

impl Client {
    /// Forgets the connect response, which has no reply header.
    fn frames_of_connect(&self) {
        self.lane.lock().take_out();
    }
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
    assert_eq!(client.lane.statistics().throttled_ops.load(std::sync::atomic::Ordering::Relaxed), 2);
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
