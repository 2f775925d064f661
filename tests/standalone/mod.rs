//! A whole server without sockets, disks and clocks, and clients of it.
#![allow(dead_code, reason = "each program that uses this needs a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use parking_lot::RwLock;
use zkd::auth::AuthRules;
use zkd::ids::{ConnectionId, Now, SessionId, Sid, Zxid};
use zkd::jute::JuteWrite;
use zkd::peer::{Beginning, Input, Machine, Output, Peer, PeerRules, ReaperRules, SnapshotRules};
use zkd::pipeline::{
    Arrival, Database, EarlyRules, Greeting, Lane, LargeRequestRules, PrepareRules, ReceiveRules, Received,
    ServerStatistics, SharedDatabase, WriteRequest, receive,
};
use zkd::proto::{ErrorCode, OPEN_ACL, OpCode, ReplyHeader, RequestHeader};
use zkd::session::Negotiation;
use zkd::storage::Durable;
use zkd::storage::epochs::Epochs;
use zkd::storage::recovery::RecoveryOptions;
use zkd::tree::{Tree, TreeOptions};

pub(crate) const NO_LIMIT: ReceiveRules =
    ReceiveRules { large: LargeRequestRules { threshold: None, bytes_max: 0 }, early: EarlyRules::NONE };

/// How a server alone prepares txns.
pub(crate) fn prepare_rules(auth: Arc<AuthRules>) -> PrepareRules {
    PrepareRules {
        auth,
        extended_types: false,
        enforce_quota: false,
        namespaces: Arc::default(),
        reconfig_enabled: false,
        digest: true,
        close_session_txn: true,
        record_bytes_max: RecoveryOptions::default().body_bytes_max,
        epoch_rolls_over: true,
    }
}

pub(crate) struct Server {
    pub(crate) peer: Peer,
    pub(crate) database: SharedDatabase,
    pub(crate) now: Now,
    /// The last txn that was handed to the log and is not durable yet.
    pub(crate) appended: Option<Zxid>,
    /// The log records since the last flush.
    pub(crate) records: Vec<Bytes>,
    pub(crate) snapshots: usize,
    connections: u64,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with_snapshots_every(txns: u64) -> Self {
        Self::with(|rules| rules.snapshots.txns = txns)
    }

    pub(crate) fn with(change: impl FnOnce(&mut PeerRules)) -> Self {
        let auth = Arc::new(AuthRules::default());
        let tree = Tree::new(TreeOptions::default());
        let database = Database::new(tree, BTreeMap::new(), Zxid::ZERO, Arc::clone(&auth));
        let database: SharedDatabase = Arc::new(RwLock::new(database));
        let prepare = prepare_rules(auth);
        let mut rules = PeerRules {
            sid: Sid(1),
            tick_ms: 2000,
            negotiation: Negotiation { min_ms: 4000, max_ms: 40_000 },
            prepare,
            metrics: Arc::default(),
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

    pub(crate) fn give(&mut self, input: Input) {
        let mut wake = Vec::new();
        self.peer.handle(self.now, input, &mut wake);
        wake.into_iter().for_each(Waker::wake);
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
    pub(crate) fn flush(&mut self) {
        self.records.clear();
        if let Some(zxid) = self.appended.take() {
            self.give(Input::Durable(Durable::after_flush(zxid)));
        }
    }

    pub(crate) fn connect(&mut self) -> Client {
        self.greet(Greeting { session: SessionId::NONE, password: vec![], timeout_ms: 4000, read_only: Some(false) })
    }

    pub(crate) fn greet(&mut self, greeting: Greeting) -> Client {
        self.connections += 1;
        let statistics = Arc::new(ServerStatistics::default());
        let lane = Lane::new(ConnectionId(self.connections), ([127, 0, 0, 1], 1).into(), 0, statistics);
        lane.lock().connecting();
        self.give(Input::Connect(Arc::clone(&lane), greeting));
        self.flush();
        Client { lane, xid: 0 }
    }
}

pub(crate) struct Client {
    pub(crate) lane: Arc<Lane>,
    xid: i32,
}

/// A reply or an event: xid, error, and what follows.
pub(crate) type Frame = (i32, ErrorCode, Vec<u8>);

impl Client {
    pub(crate) fn session(&self) -> SessionId {
        self.lane.lock().session()
    }

    /// Puts a request on the wire; writes are returned, to be given to the server.
    pub(crate) fn send(&mut self, server: &Server, op: OpCode, body: &[u8]) -> Option<Input> {
        self.send_late(server, (op, body), 0, NO_LIMIT)
    }

    /// The same, after it was held back for some time.
    pub(crate) fn send_late(
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
        let arrival = Arrival { now_ms: server.now.steady_ms, waited_ms };
        self.receive(server, &frame, arrival, rules).map(|request| Input::Writes(vec![request]))
    }

    /// A frame has come.
    pub(crate) fn receive(
        &self,
        server: &Server,
        frame: &[u8],
        arrival: Arrival,
        rules: ReceiveRules,
    ) -> Option<WriteRequest> {
        let database = server.database.read();
        match receive(&database, &self.lane, &mut self.lane.lock(), frame, arrival, rules) {
            Received::Done => None,
            Received::Write(request) => Some(request),
        }
    }

    /// Sends a write and gives it to the server; it is not durable yet.
    pub(crate) fn write(&mut self, server: &mut Server, op: OpCode, body: &[u8]) {
        let input = self.send(server, op, body).expect("a write");
        server.give(input);
    }

    /// Forgets the connect response, which has no reply header.
    pub(crate) fn frames_of_connect(&self) {
        self.lane.lock().take_out();
    }

    /// All that was sent to the client since.
    pub(crate) fn frames(&self) -> Vec<Frame> {
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

pub(crate) fn create(path: &str, flags: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.ustring(path);
    body.buffer(Some(b"0"));
    body.extend_from_slice(OPEN_ACL.as_bytes());
    body.int(flags);
    body
}

pub(crate) fn set(path: &str, data: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.ustring(path);
    body.buffer(Some(data.as_bytes()));
    body.int(-1);
    body
}

pub(crate) fn get(path: &str, watch: bool) -> Vec<u8> {
    let mut body = Vec::new();
    body.ustring(path);
    body.boolean(watch);
    body
}

pub(crate) fn data(frame: &Frame) -> &str {
    let length = usize::from(frame.2[3]);
    std::str::from_utf8(&frame.2[4..4 + length]).expect("text")
}
