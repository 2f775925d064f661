//! How an allocator serves zkd's own code: requests are prepared, decoded and applied as the server does, 32 at a time,
//! on one thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use fastrand::Rng;
use zkd::auth::AuthRules;
use zkd::ids::{Now, SessionId, Zxid};
use zkd::jute::JuteWrite;
use zkd::pipeline::{Asker, Database, Prepare, Prepared};
use zkd::proto::{OPEN_ACL, OpCode};
use zkd::tree::{Tree, TreeOptions};
use zkd::txn::Entry;

use crate::Figures;
use crate::process::{cpu, resident};
use crate::shape::{DATA, MILLION, leaf};
use crate::standalone::prepare_rules;

const BATCH: usize = 32;
/// Requests that are put together before the clock runs.
const CHUNK: usize = 128 * BATCH;
const SETS: usize = 400_000;
const NOW: Now = Now { steady_ms: 0, wall_ms: 1_700_000_000_000 };
const ASKER: Asker<'static> = Asker { session: SessionId(1), cxid: 1, identities: &[], is_local: false };

type Request = (OpCode, Vec<u8>);

/// The server's database, and its owner's work.
struct Owner {
    database: Database,
    prepare: Prepare,
    wake: Vec<Waker>,
}

impl Owner {
    fn new() -> Self {
        let auth = Arc::new(AuthRules::default());
        let tree = Tree::new(TreeOptions::default());
        let database = Database::new(tree, BTreeMap::new(), Zxid::ZERO, Arc::clone(&auth));
        let prepare = Prepare::new(prepare_rules(auth), database.tree(), database.last_zxid());
        Self { database, prepare, wake: Vec::new() }
    }

    fn write(&mut self, batch: &[Request]) {
        let Self { database, prepare, wake } = self;
        let prepared: Vec<_> = batch
            .iter()
            .map(|(op, body)| match prepare.request(NOW, database.tree(), ASKER, (*op, body)) {
                Prepared::Txn { zxid, body, .. } => (zxid, body),
                other => panic!("{other:?}"),
            })
            .collect();
        for (zxid, body) in prepared {
            let entry = Entry::decode(&body).expect("what was prepared");
            assert_ne!(entry.header.op, OpCode::ERROR, "all of them can be done");
            database.apply(&entry, wake);
            prepare.applied(zxid);
        }
    }

    /// Returns the nanoseconds of processor time that each took.
    fn write_all(&mut self, mut requests: impl Iterator<Item = Request>) -> f64 {
        let (mut spent, mut count) = (Duration::ZERO, 0);
        loop {
            let chunk: Vec<_> = requests.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                return spent.as_nanos() as f64 / f64::from(count);
            }
            count += chunk.len() as u32;
            let start = cpu();
            chunk.chunks(BATCH).for_each(|batch| self.write(batch));
            spent += cpu() - start;
        }
    }
}

/// A million creates; half of the leaves go and come back with other sizes; sets with other sizes again.
pub(crate) fn measure() -> Figures {
    let mut rng = Rng::with_seed(1);
    let mut half: Vec<u64> = (0..MILLION.leaves()).filter(|_| rng.bool()).collect();
    rng.shuffle(&mut half);
    let before = resident();
    let mut owner = Owner::new();
    let per_znode = |owner: &Owner| (resident() - before) / owner.database.tree().len() as f64;

    let create_ns = owner.write_all(MILLION.paths().map(|path| create(&path, DATA)));
    let created = per_znode(&owner);

    let delete_ns = owner.write_all(half.iter().map(|&number| delete(&leaf(number))));
    let deleted = (resident() - before) / MILLION.znodes() as f64;
    rng.shuffle(&mut half);
    let again_ns = owner.write_all(half.iter().map(|&number| create(&leaf(number), rng.usize(..=2 * DATA))));
    let churned = per_znode(&owner);

    let mut rng = Rng::with_seed(2);
    let set_ns = owner.write_all((0..SETS).map(|_| set(&MILLION.some_leaf(&mut rng), rng.usize(..=2 * DATA))));
    let set = per_znode(&owner);
    [
        ("create_ns", create_ns),
        ("created_bytes", created),
        ("delete_ns", delete_ns),
        ("deleted_bytes", deleted),
        ("again_ns", again_ns),
        ("churned_bytes", churned),
        ("set_ns", set_ns),
        ("set_bytes", set),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn create(path: &str, size: usize) -> Request {
    let mut body = Vec::new();
    body.ustring(path);
    body.buffer(Some(&vec![b'x'; size]));
    body.extend_from_slice(OPEN_ACL.as_bytes());
    body.int(0);
    (OpCode::CREATE, body)
}

fn delete(path: &str) -> Request {
    let mut body = Vec::new();
    body.ustring(path);
    body.int(-1);
    (OpCode::DELETE, body)
}

fn set(path: &str, size: usize) -> Request {
    let mut body = Vec::new();
    body.ustring(path);
    body.buffer(Some(&vec![b'y'; size]));
    body.int(-1);
    (OpCode::SET_DATA, body)
}
