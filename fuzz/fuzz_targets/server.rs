//! A whole server without sockets and disks: frames of one client, any bytes, any opcode.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use parking_lot::RwLock;
use zkd::auth::AuthRules;
use zkd::ids::{ConnectionId, Now, Sid, Zxid};
use zkd::peer::{Beginning, Input, Machine, Output, Peer, PeerRules, ReaperRules, SnapshotRules};
use zkd::pipeline::{
    Database, Greeting, Lane, Arrival, EarlyRules, LargeRequestRules, PrepareRules, ReceiveRules, Received, ServerStatistics, SharedDatabase,
    receive,
};
use zkd::session::Negotiation;
use zkd::storage::Durable;
use zkd::storage::epochs::Epochs;
use zkd::tree::{Tree, TreeOptions, TtlMarks};

const RULES: ReceiveRules =
    ReceiveRules {
    large: LargeRequestRules { threshold: None, bytes_max: 0 },
    early: EarlyRules::NONE,
};

struct Server {
    peer: Peer,
    database: SharedDatabase,
    now: Now,
}

impl Server {
    fn new() -> Self {
        let auth = Arc::new(AuthRules::default());
        let tree = Tree::new(TreeOptions { hash_seed: 1, ttl_marks: TtlMarks::TopByte, digest: true });
        let database = Database::new(tree, BTreeMap::new(), Zxid::ZERO, Arc::clone(&auth));
        let database: SharedDatabase = Arc::new(RwLock::new(database));
        let rules = PeerRules {
            sid: Sid(1),
            tick_ms: 2000,
            negotiation: Negotiation { min_ms: 4000, max_ms: 40_000 },
            prepare: PrepareRules {
                auth,
                extended_types: true,
                namespaces: Arc::default(),
                enforce_quota: true,
                reconfig_enabled: true,
                digest: true,
                close_session_txn: true,
                epoch_rolls_over: true,
            },
            snapshots: SnapshotRules { txns: 100, bytes: 0 },
            reaper: ReaperRules { interval_ms: 60_000, per_minute_max: 10_000, never_used_ms: 0 },
            seed: 1,
            ensemble: None,
        };
        let now = Now { steady_ms: 1, wall_ms: 1 };
        let beginning = Beginning {
            database: Arc::clone(&database),
            history: vec![],
            durable: Durable::after_flush(Zxid::ZERO),
            replayed_txns: 0,
            epochs: Epochs::default(),
        };
        Self { peer: Peer::new(rules, beginning, now), database, now }
    }

    fn give(&mut self, input: Input) {
        let mut wake = Vec::new();
        self.peer.handle(self.now, input, &mut wake);
        while let Some(output) = self.peer.poll_output() {
            if let Output::Append(txns) = output
                && let Some((zxid, _)) = txns.last()
            {
                self.peer.handle(self.now, Input::Durable(Durable::after_flush(*zxid)), &mut wake);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut server = Server::new();
    let address = ([127, 0, 0, 1], 5).into();
    let lane = Lane::new(ConnectionId(1), address, 1, Arc::new(ServerStatistics::default()));
    lane.lock().connecting();
    let greeting = Greeting { session: zkd::ids::SessionId::NONE, password: vec![], timeout_ms: 4000, read_only: None };
    server.give(Input::Connect(Arc::clone(&lane), greeting));
    // Frames behind a length of one byte; opcodes above 107 wrap around so that most mean something.
    let mut rest = data;
    while let Some((length, more)) = rest.split_first() {
        let (frame, behind) = more.split_at(usize::from(*length).min(more.len()));
        rest = behind;
        let received = {
            let database = Arc::clone(&server.database);
            let database = database.read();
            receive(&database, &lane, &mut lane.lock(), frame, Arrival::at(1), RULES)
        };
        if let Received::Write(request) = received {
            server.give(Input::Writes(vec![request]));
        }
        lane.lock().take_out();
    }
    let database = server.database.read();
    assert_eq!(database.digests().mismatches, 0, "the tree is not what was foreseen");
});
