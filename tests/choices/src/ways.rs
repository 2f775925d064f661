//! Ways to share a tree between those who read and one who writes: zkd's own database behind different doors, and models
//! of what would need another tree.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, RwLock as StdRwLock};
use std::thread;

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use parking_lot::{Mutex, RwLock};
use zkd::auth::AuthRules;
use zkd::ids::{SessionId, Zxid};
use zkd::jute::JuteWrite;
use zkd::pipeline::Database;
use zkd::proto::{OPEN_ACL, OpCode};
use zkd::tree::{Tree, TreeOptions};
use zkd::txn::{CreateKind, CreateTxn, Entry, SetDataTxn, Txn, TxnHeader};

use crate::layouts::Node;
use crate::shape::{DATA, SMALL};

const TIME_MS: i64 = 1_700_000_000_000;
const MISSING: &str = "the path was created before";

/// A tree that several threads share.
pub(crate) trait Shared: Send + Sync {
    /// Answers gets of some of the paths that everybody knows, as they come from one connection at a time.
    fn read(&self, which: Range<usize>, out: &mut Vec<u8>);
    /// Sets the data of several.
    fn write(&self, batch: &[&str], zxid: i64);
}

type Paths = Arc<Vec<String>>;

/// Makes the tree, and gives it to those who share it in that way; those who read know these paths.
pub(crate) fn share(way: &str, paths: &Paths) -> Option<Box<dyn Shared>> {
    let paths = Arc::clone(paths);
    Some(match way {
        "parking_lot" => Box::new(ParkingLot { paths, database: RwLock::new(database(|_| true)) }),
        "std" => Box::new(Std { paths, database: StdRwLock::new(database(|_| true)) }),
        "mutex" => Box::new(Alone { paths, database: Mutex::new(database(|_| true)) }),
        "shards" => Box::new(Shards::new(paths)),
        "owner" => Box::new(Owner::new(paths)),
        "model-parking_lot" => Box::new(ModelLock { paths, nodes: RwLock::new(nodes().collect()) }),
        "model-papaya" => Box::new(ModelEpochs::new(paths)),
        "model-persistent" => Box::new(ModelPersistent { paths, nodes: ArcSwap::from_pointee(nodes().collect()) }),
        _ => return None,
    })
}

/// zkd's, with those leaves that are wanted, and all that have children.
fn database(is_wanted: impl Fn(&str) -> bool) -> Database {
    let tree = Tree::new(TreeOptions::default());
    let mut database = Database::new(tree, BTreeMap::new(), Zxid::ZERO, Arc::new(AuthRules::default()));
    let is_leaf = |path: &str| path.matches('/').count() == 4;
    for (zxid, path) in (1..).zip(SMALL.paths()).filter(|(_, path)| !is_leaf(path) || is_wanted(path)) {
        let kind = CreateKind::Persistent;
        let data: Option<&[u8]> = Some(&[b'x'; DATA]);
        let create = CreateTxn { path: path.into(), data, acl: OPEN_ACL, kind, parent_cversion: -1 };
        apply(&mut database, OpCode::CREATE, Txn::Create(create), zxid);
    }
    database
}

fn apply(database: &mut Database, op: OpCode, txn: Txn<'_>, zxid: i64) {
    let header = TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(zxid), time_ms: TIME_MS, op };
    database.apply(&Entry { header, txn, digest: None }, &mut Vec::new());
}

fn set(database: &mut Database, path: &str, zxid: i64) {
    let set = SetDataTxn { path: path.into(), data: Some(&[b'y'; DATA]), version: 1 };
    apply(database, OpCode::SET_DATA, Txn::SetData(set), zxid);
}

fn get(database: &Database, path: &str, out: &mut Vec<u8>) {
    let znode = database.tree().find(path).expect(MISSING);
    out.buffer(znode.data());
    znode.stat().encode(out);
}

/// As zkd has it.
struct ParkingLot {
    paths: Paths,
    database: RwLock<Database>,
}

impl Shared for ParkingLot {
    fn read(&self, which: Range<usize>, out: &mut Vec<u8>) {
        let database = self.database.read();
        self.paths[which].iter().for_each(|path| get(&database, path, out));
    }

    fn write(&self, batch: &[&str], zxid: i64) {
        let mut database = self.database.write();
        batch.iter().for_each(|path| set(&mut database, path, zxid));
    }
}

struct Std {
    paths: Paths,
    database: StdRwLock<Database>,
}

impl Shared for Std {
    fn read(&self, which: Range<usize>, out: &mut Vec<u8>) {
        let database = self.database.read().expect("nobody panics");
        self.paths[which].iter().for_each(|path| get(&database, path, out));
    }

    fn write(&self, batch: &[&str], zxid: i64) {
        let mut database = self.database.write().expect("nobody panics");
        batch.iter().for_each(|path| set(&mut database, path, zxid));
    }
}

struct Alone {
    paths: Paths,
    database: Mutex<Database>,
}

impl Shared for Alone {
    fn read(&self, which: Range<usize>, out: &mut Vec<u8>) {
        let database = self.database.lock();
        self.paths[which].iter().for_each(|path| get(&database, path, out));
    }

    fn write(&self, batch: &[&str], zxid: i64) {
        let mut database = self.database.lock();
        batch.iter().for_each(|path| set(&mut database, path, zxid));
    }
}

const SHARDS: usize = 16;

/// Leaves are dealt out by the hashes of their paths; a batch is no longer seen as a whole.
struct Shards {
    paths: Paths,
    shards: Vec<RwLock<Database>>,
}

fn shard(path: &str) -> usize {
    FixedState::with_seed(7).hash_one(path) as usize % SHARDS
}

impl Shards {
    fn new(paths: Paths) -> Self {
        let shards = (0..SHARDS).map(|number| RwLock::new(database(|path| shard(path) == number))).collect();
        Self { paths, shards }
    }
}

impl Shared for Shards {
    fn read(&self, which: Range<usize>, out: &mut Vec<u8>) {
        self.paths[which].iter().for_each(|path| get(&self.shards[shard(path)].read(), path, out));
    }

    fn write(&self, batch: &[&str], zxid: i64) {
        batch.iter().for_each(|path| set(&mut self.shards[shard(path)].write(), path, zxid));
    }
}

enum Message {
    Read(Range<usize>, Vec<u8>, Sender<Vec<u8>>),
    Write(Vec<String>, i64, Sender<Vec<u8>>),
}

/// One thread has the database, and is asked.
struct Owner {
    ask: Sender<Message>,
}

impl Owner {
    fn new(paths: Paths) -> Self {
        let (ask, asked) = channel();
        thread::spawn(move || own(&paths, database(|_| true), &asked));
        Self { ask }
    }

    fn answer(&self, message: impl FnOnce(Sender<Vec<u8>>) -> Message) -> Vec<u8> {
        let (answer, answered) = channel();
        self.ask.send(message(answer)).expect("the owner lives");
        answered.recv().expect("the owner answers")
    }
}

fn own(paths: &[String], mut database: Database, asked: &Receiver<Message>) {
    for message in asked {
        let (out, answer) = match message {
            Message::Read(which, mut out, answer) => {
                paths[which].iter().for_each(|path| get(&database, path, &mut out));
                (out, answer)
            }
            Message::Write(batch, zxid, answer) => {
                batch.iter().for_each(|path| set(&mut database, path, zxid));
                (Vec::new(), answer)
            }
        };
        // Who asked may be gone.
        let _gone = answer.send(out);
    }
}

impl Shared for Owner {
    fn read(&self, which: Range<usize>, out: &mut Vec<u8>) {
        let buffer = std::mem::take(out);
        *out = self.answer(|answer| Message::Read(which, buffer, answer));
    }

    fn write(&self, batch: &[&str], zxid: i64) {
        let batch = batch.iter().map(|path| (*path).to_owned()).collect();
        self.answer(|answer| Message::Write(batch, zxid, answer));
    }
}

type ModelNode = Node<()>;

fn nodes() -> impl Iterator<Item = (Arc<str>, Arc<ModelNode>)> {
    SMALL.paths().map(|path| (path.into(), Arc::new(Node::new(&[b'x'; DATA], 1))))
}

/// A model of zkd's way, to compare the other models with: full paths in a hash map behind one lock.
struct ModelLock {
    paths: Paths,
    nodes: RwLock<HashMap<Arc<str>, Arc<ModelNode>, FixedState>>,
}

impl Shared for ModelLock {
    fn read(&self, which: Range<usize>, out: &mut Vec<u8>) {
        let nodes = self.nodes.read();
        self.paths[which].iter().for_each(|path| nodes.get(path.as_str()).expect(MISSING).get(out));
    }

    fn write(&self, batch: &[&str], zxid: i64) {
        let mut nodes = self.nodes.write();
        for path in batch {
            let node = nodes.get_mut(*path).and_then(Arc::get_mut).expect(MISSING);
            node.set(&[b'y'; DATA], zxid);
        }
    }
}

/// A map that is read without locks: a znode is replaced by a new one, and the old one freed once nobody can have it.
struct ModelEpochs {
    paths: Paths,
    nodes: papaya::HashMap<Arc<str>, Arc<ModelNode>, FixedState>,
}

impl ModelEpochs {
    fn new(paths: Paths) -> Self {
        let map = papaya::HashMap::with_hasher(FixedState::with_seed(1));
        let pinned = map.pin();
        for (path, node) in nodes() {
            pinned.insert(path, node);
        }
        drop(pinned);
        Self { paths, nodes: map }
    }
}

impl Shared for ModelEpochs {
    fn read(&self, which: Range<usize>, out: &mut Vec<u8>) {
        let nodes = self.nodes.pin();
        self.paths[which].iter().for_each(|path| nodes.get(path.as_str()).expect(MISSING).get(out));
    }

    fn write(&self, batch: &[&str], zxid: i64) {
        let nodes = self.nodes.pin();
        for path in batch {
            let (path, node) = nodes.get_key_value(*path).expect(MISSING);
            nodes.insert(Arc::clone(path), Arc::new(node.with(&[b'y'; DATA], zxid)));
        }
    }
}

type Persistent = GenericHashMap<Arc<str>, Arc<ModelNode>, FixedState, DefaultSharedPtr>;

/// A persistent map: each batch makes a new one that shares what has not changed, and is seen as a whole.
struct ModelPersistent {
    paths: Paths,
    nodes: ArcSwap<Persistent>,
}

impl Shared for ModelPersistent {
    fn read(&self, which: Range<usize>, out: &mut Vec<u8>) {
        let nodes = self.nodes.load();
        self.paths[which].iter().for_each(|path| nodes.get(path.as_str()).expect(MISSING).get(out));
    }

    fn write(&self, batch: &[&str], zxid: i64) {
        let mut nodes = Persistent::clone(&self.nodes.load());
        for path in batch {
            let node = nodes.get_mut(*path).expect(MISSING);
            *node = Arc::new(node.with(&[b'y'; DATA], zxid));
        }
        self.nodes.store(Arc::new(nodes));
    }
}
