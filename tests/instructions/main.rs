//! What every request goes through, each path by itself and as often as asked, for `scripts/instructions` to count the
//! processor's instructions of. `cargo test` goes once through each, so that none rots.
//!
//! ```text
//! instructions             every path, three times
//! instructions PATH N      one of them, N times
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a program of its own, which says what it does"
)]

#[path = "../standalone/mod.rs"]
mod standalone;

use std::hint::black_box;
use std::process::ExitCode;

use bytes::Bytes;
use standalone::{Client, NO_LIMIT, Server, create, get, prepare_rules};
use zkd::auth::AuthRules;
use zkd::ids::Zxid;
use zkd::jute::JuteWrite;
use zkd::peer::Input;
use zkd::pipeline::{Arrival, Asker, Prepare, Prepared};
use zkd::proto::{
    ErrorCode, MultiHeader, OPEN_ACL, OpCode, ReplyHeader, Request, RequestHeader, Stat, end_frame, start_reply,
};
use zkd::storage::txn_log::put_record;
use zkd::txn::Entry;

const KIB: &[u8] = &[b'x'; 1024];
const NOW: Arrival = Arrival::at(0);

/// One path: its name, and what goes through it so many times.
type Path = (&'static str, fn(u64));

const PATHS: &[Path] = &[
    ("decode", decode),
    ("encode", encode),
    ("prepare", prepare),
    ("apply", apply),
    ("append", append),
    ("get", read),
    ("set", |times| write(times, 1, OpCode::SET_DATA, &set("/z/0"))),
    ("set-32", |times| write(times, 32, OpCode::SET_DATA, &set("/z/0"))),
    ("multi-10", |times| write(times, 1, OpCode::MULTI, &multi(10))),
    ("create-delete", create_delete),
    ("watch-100", watch),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words[..] {
        [name, times] => {
            let path = PATHS.iter().find(|(path, _)| path == name);
            let (Some((_, run)), Ok(times)) = (path, times.parse()) else {
                eprintln!(
                    "usage: instructions PATH N, where PATH is one of {:?}",
                    PATHS.iter().map(|(name, _)| *name).collect::<Vec<_>>()
                );
                return ExitCode::FAILURE;
            };
            run(times);
        }
        _ => {
            PATHS.iter().for_each(|(_, run)| run(3));
            println!("{} passed, 0 failed", PATHS.len());
        }
    }
    ExitCode::SUCCESS
}

/// A setData of 1 KiB, whatever the version.
fn set(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.ustring(path);
    body.buffer(Some(KIB));
    body.int(-1);
    body
}

/// So many of them in one.
fn multi(parts: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for part in 0..parts {
        MultiHeader { op: OpCode::SET_DATA, done: false, error: -1 }.encode(&mut body);
        body.extend(set(&format!("/z/{part}")));
    }
    MultiHeader::END.encode(&mut body);
    body
}

fn frame(op: OpCode, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    RequestHeader { xid: 1, op }.encode(&mut frame);
    frame.extend_from_slice(body);
    frame
}

/// A server with `/z`, ten znodes of 1 KiB below, and one client.
fn served() -> (Server, Client) {
    let mut server = Server::new();
    let mut client = server.connect();
    client.write(&mut server, OpCode::CREATE, &create("/z", 0));
    for part in 0..10 {
        client.write(&mut server, OpCode::CREATE, &create(&format!("/z/{part}"), 0));
    }
    client.write(&mut server, OpCode::MULTI, &multi(10));
    server.flush();
    client.frames();
    (server, client)
}

/// The answers so far; their buffer is used again, as the connection does.
fn sent(client: &Client) -> usize {
    let mut state = client.lane.lock();
    let out = state.take_out();
    let bytes = out.len();
    state.recycle(out);
    bytes
}

/// A create, from its bytes to borrowed fields.
fn decode(times: u64) {
    let mut body = Vec::new();
    body.ustring("/services/payment/instances/worker-0000000017");
    body.buffer(Some(&KIB[..80]));
    body.extend_from_slice(OPEN_ACL.as_bytes());
    body.int(3);
    let frame = frame(OpCode::CREATE, &body);
    for _ in 0..times {
        let (body, header) = RequestHeader::decode(black_box(&frame)).expect("a header");
        black_box(Request::decode(header.op, body).expect("a create"));
    }
}

/// The answer to a get of 1 KiB.
fn encode(times: u64) {
    let mut out = Vec::with_capacity(2048);
    let header = ReplyHeader { xid: 1, zxid: Zxid(7), error: ErrorCode::OK };
    for _ in 0..times {
        out.clear();
        let start = start_reply(&mut out, black_box(header));
        out.buffer(Some(black_box(KIB)));
        black_box(Stat::default()).encode(&mut out);
        end_frame(&mut out, start);
    }
    black_box(out);
}

/// A setData, from a request to a txn.
fn prepare(times: u64) {
    let (server, client) = served();
    let database = server.database.read();
    let mut prepare = preparing(&server);
    let state = client.lane.lock();
    let asker = Asker { session: state.session(), cxid: 1, identities: state.identities(), is_local: false };
    let body = set("/z/0");
    for _ in 0..times {
        match prepare.request(server.now, database.tree(), asker, (OpCode::SET_DATA, black_box(&body))) {
            Prepared::Txn { zxid, body, .. } => {
                black_box(body);
                prepare.applied(zxid);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn preparing(server: &Server) -> Prepare {
    let database = server.database.read();
    let rules = prepare_rules(AuthRules::default().into());
    Prepare::new(rules, database.tree(), database.last_zxid())
}

/// A setData, from a txn's bytes to the tree and its digest.
fn apply(times: u64) {
    let (server, client) = served();
    let record = set_record(&server, &client);
    let mut database = server.database.write();
    for _ in 0..times {
        let mut entry = Entry::decode(black_box(&record)).expect("a txn");
        // The same one again and again has not the digest that it once foresaw.
        entry.digest = None;
        database.apply(&entry, &mut Vec::new());
    }
}

fn set_record(server: &Server, client: &Client) -> Bytes {
    let database = server.database.read();
    let state = client.lane.lock();
    let asker = Asker { session: state.session(), cxid: 1, identities: state.identities(), is_local: false };
    match preparing(server).request(server.now, database.tree(), asker, (OpCode::SET_DATA, &set("/z/0"))) {
        Prepared::Txn { body, .. } => body,
        other => panic!("{other:?}"),
    }
}

/// A txn of 1 KiB into the log's buffer.
fn append(times: u64) {
    let (server, client) = served();
    let record = set_record(&server, &client);
    let mut out = Vec::with_capacity(64 * 1024);
    for _ in 0..times {
        if out.len() > 62 * 1024 {
            out.clear();
        }
        put_record(&mut out, black_box(&record));
    }
    black_box(out);
}

/// A get of 1 KiB, from its frame to the answer's bytes.
fn read(times: u64) {
    let (server, client) = served();
    let frame = frame(OpCode::GET_DATA, &get("/z/0", false));
    for _ in 0..times {
        assert!(client.receive(&server, black_box(&frame), NOW, NO_LIMIT).is_none());
        assert!(sent(&client) > KIB.len());
    }
}

/// `batch` writes at a time, from their frames over the log to the answers' bytes.
fn write(times: u64, batch: usize, op: OpCode, body: &[u8]) {
    let (mut server, client) = served();
    let frame = frame(op, body);
    for _ in 0..times {
        let asked = (0..batch).filter_map(|_| client.receive(&server, black_box(&frame), NOW, NO_LIMIT));
        let asked = asked.collect();
        server.give(Input::Writes(asked));
        server.flush();
        assert!(sent(&client) >= batch * 80);
    }
}

/// A znode comes and goes.
fn create_delete(times: u64) {
    let (mut server, client) = served();
    let mut delete = Vec::new();
    delete.ustring("/z/new");
    delete.int(-1);
    let frames = [frame(OpCode::CREATE, &create("/z/new", 0)), frame(OpCode::DELETE, &delete)];
    for _ in 0..times {
        for frame in &frames {
            let asked = client.receive(&server, black_box(frame), NOW, NO_LIMIT);
            server.give(Input::Writes(asked.into_iter().collect()));
            server.flush();
            assert!(sent(&client) > 0);
        }
    }
}

/// A hundred clients watch a znode, and hear of its change.
fn watch(times: u64) {
    let (mut server, client) = served();
    let watchers: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    let look = frame(OpCode::EXISTS, &get("/z/0", true));
    let change = frame(OpCode::SET_DATA, &set("/z/0"));
    watchers.iter().for_each(|watcher| _ = sent(watcher));
    for _ in 0..times {
        for watcher in &watchers {
            assert!(watcher.receive(&server, black_box(&look), NOW, NO_LIMIT).is_none());
            sent(watcher);
        }
        let asked = client.receive(&server, black_box(&change), NOW, NO_LIMIT);
        server.give(Input::Writes(asked.into_iter().collect()));
        server.flush();
        assert!(watchers.iter().all(|watcher| sent(watcher) > 0));
        sent(&client);
    }
}
