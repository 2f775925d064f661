//! Layouts of the tree: zkd's own, and models of three others. The models keep what zkd keeps of a znode, and move the
//! counters of parents, but know nothing of digests, quotas, ACL lists and snapshots.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use foldhash::fast::FixedState;
use zkd::ids::{SessionId, Zxid};
use zkd::jute::JuteWrite;
use zkd::path::split;
use zkd::proto::{OPEN_ACL, OpCode};
use zkd::tree::{StoredStat, Tree, TreeOptions};
use zkd::txn::{CreateKind, CreateTxn, SetDataTxn, Txn, TxnHeader};

const TIME_MS: i64 = 1_700_000_000_000;
const MISSING: &str = "the path was created before";

/// Where znodes are kept.
pub(crate) trait Layout {
    fn create(&mut self, path: &str, data: &[u8], zxid: i64);
    fn set(&mut self, path: &str, data: &[u8], zxid: i64);
    fn delete(&mut self, path: &str, zxid: i64);
    /// Appends data and counters.
    fn get(&self, path: &str, out: &mut Vec<u8>);
    /// Appends the names of the children.
    fn children(&self, path: &str, out: &mut Vec<u8>);
}

/// What zkd has.
pub(crate) struct Own(Tree);

impl Own {
    pub(crate) fn new(digest: bool) -> Self {
        Self(Tree::new(TreeOptions { digest, ..TreeOptions::default() }))
    }

    fn apply(&mut self, op: OpCode, txn: &Txn<'_>, zxid: i64) {
        let header = TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(zxid), time_ms: TIME_MS, op };
        self.0.apply(&header, txn, &mut (), &mut Vec::new());
    }
}

impl Layout for Own {
    fn create(&mut self, path: &str, data: &[u8], zxid: i64) {
        let kind = CreateKind::Persistent;
        let create = CreateTxn { path: path.into(), data: Some(data), acl: OPEN_ACL, kind, parent_cversion: -1 };
        self.apply(OpCode::CREATE, &Txn::Create(create), zxid);
    }

    fn set(&mut self, path: &str, data: &[u8], zxid: i64) {
        let set = SetDataTxn { path: path.into(), data: Some(data), version: 1 };
        self.apply(OpCode::SET_DATA, &Txn::SetData(set), zxid);
    }

    fn delete(&mut self, path: &str, zxid: i64) {
        self.apply(OpCode::DELETE, &Txn::Delete(path.into()), zxid);
    }

    fn get(&self, path: &str, out: &mut Vec<u8>) {
        let znode = self.0.find(path).expect(MISSING);
        out.buffer(znode.data());
        znode.stat().encode(out);
    }

    fn children(&self, path: &str, out: &mut Vec<u8>) {
        let znode = self.0.find(path).expect(MISSING);
        znode.children().for_each(|name| out.ustring(name));
    }
}

/// A znode of a model, with whatever the layout needs for its children.
pub(crate) struct Node<C> {
    data: Box<[u8]>,
    stat: StoredStat,
    _acl: u32,
    children: C,
}

impl<C: Default> Node<C> {
    pub(crate) fn new(data: &[u8], zxid: i64) -> Self {
        Self { data: data.into(), stat: StoredStat::of_new(zxid, TIME_MS), _acl: 0, children: C::default() }
    }

    pub(crate) fn set(&mut self, data: &[u8], zxid: i64) {
        if self.data.len() == data.len() {
            self.data.copy_from_slice(data);
        } else {
            self.data = data.into();
        }
        self.stat.version += 1;
        self.stat.mzxid = zxid;
    }

    /// What [`Node::set`] makes of it, in another place.
    pub(crate) fn with(&self, data: &[u8], zxid: i64) -> Self {
        let stat = StoredStat { version: self.stat.version + 1, mzxid: zxid, ..self.stat };
        Self { data: data.into(), stat, _acl: 0, children: C::default() }
    }

    pub(crate) fn get(&self, out: &mut Vec<u8>) {
        out.buffer(Some(&self.data));
        self.stat.encode(out);
    }

    fn touch(&mut self, zxid: i64) -> &mut C {
        self.stat.cversion += 1;
        self.stat.pzxid = zxid;
        &mut self.children
    }
}

/// Children by name; most znodes have none.
type Names = Option<Box<HashSet<Box<str>, FixedState>>>;

/// Apache's: full paths in a hash map, and each znode has a hash set of its children's names.
#[derive(Default)]
pub(crate) struct Hashed(HashMap<Box<str>, Box<Node<Names>>, FixedState>);

impl Layout for Hashed {
    fn create(&mut self, path: &str, data: &[u8], zxid: i64) {
        if let Some((parent, name)) = split(path).filter(|(parent, _)| parent.len() > 1) {
            let names = self.0.get_mut(parent).expect(MISSING).touch(zxid);
            names.get_or_insert_default().insert(name.into());
        }
        self.0.insert(path.into(), Box::new(Node::new(data, zxid)));
    }

    fn set(&mut self, path: &str, data: &[u8], zxid: i64) {
        self.0.get_mut(path).expect(MISSING).set(data, zxid);
    }

    fn delete(&mut self, path: &str, zxid: i64) {
        self.0.remove(path).expect(MISSING);
        let (parent, name) = split(path).expect(MISSING);
        if let Some(names) = self.0.get_mut(parent).expect(MISSING).touch(zxid) {
            names.remove(name);
        }
    }

    fn get(&self, path: &str, out: &mut Vec<u8>) {
        self.0.get(path).expect(MISSING).get(out);
    }

    fn children(&self, path: &str, out: &mut Vec<u8>) {
        let names = &self.0.get(path).expect(MISSING).children;
        names.iter().flat_map(|names| names.iter()).for_each(|name| out.ustring(name));
    }
}

/// Full paths in order; children are those between `path/` and `path0`, less what is below them.
#[derive(Default)]
pub(crate) struct Ordered(BTreeMap<Box<str>, Node<u32>>);

impl Layout for Ordered {
    fn create(&mut self, path: &str, data: &[u8], zxid: i64) {
        if let Some((parent, _)) = split(path).filter(|(parent, _)| parent.len() > 1) {
            *self.0.get_mut(parent).expect(MISSING).touch(zxid) += 1;
        }
        self.0.insert(path.into(), Node::new(data, zxid));
    }

    fn set(&mut self, path: &str, data: &[u8], zxid: i64) {
        self.0.get_mut(path).expect(MISSING).set(data, zxid);
    }

    fn delete(&mut self, path: &str, zxid: i64) {
        self.0.remove(path).expect(MISSING);
        let (parent, _) = split(path).expect(MISSING);
        *self.0.get_mut(parent).expect(MISSING).touch(zxid) -= 1;
    }

    fn get(&self, path: &str, out: &mut Vec<u8>) {
        self.0.get(path).expect(MISSING).get(out);
    }

    fn children(&self, path: &str, out: &mut Vec<u8>) {
        let (from, to) = (format!("{path}/"), format!("{path}0"));
        let below = self.0.range::<str, _>((Bound::Included(&*from), Bound::Excluded(&*to)));
        let names = below.map(|(path, _)| &path[from.len()..]).filter(|name| !name.contains('/'));
        names.for_each(|name| out.ustring(name));
    }
}

type Below = Option<Box<HashMap<Box<str>, Box<Nest>, FixedState>>>;

/// Each znode has a map of its children.
#[derive(Default)]
pub(crate) struct Nest(Node<Below>);

impl Default for Node<Below> {
    fn default() -> Self {
        Self::new(b"", 0)
    }
}

impl Nest {
    fn find(&self, path: &str) -> &Self {
        names(path).fold(self, |at, name| at.0.children.as_ref().and_then(|below| below.get(name)).expect(MISSING))
    }

    fn find_mut(&mut self, path: &str) -> &mut Self {
        names(path).fold(self, |at, name| at.0.children.as_mut().and_then(|below| below.get_mut(name)).expect(MISSING))
    }
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

impl Layout for Nest {
    fn create(&mut self, path: &str, data: &[u8], zxid: i64) {
        let (parent, name) = split(path).expect(MISSING);
        let below = self.find_mut(parent).0.touch(zxid);
        below.get_or_insert_default().insert(name.into(), Box::new(Self(Node::new(data, zxid))));
    }

    fn set(&mut self, path: &str, data: &[u8], zxid: i64) {
        self.find_mut(path).0.set(data, zxid);
    }

    fn delete(&mut self, path: &str, zxid: i64) {
        let (parent, name) = split(path).expect(MISSING);
        if let Some(below) = self.find_mut(parent).0.touch(zxid) {
            below.remove(name).expect(MISSING);
        }
    }

    fn get(&self, path: &str, out: &mut Vec<u8>) {
        self.find(path).0.get(out);
    }

    fn children(&self, path: &str, out: &mut Vec<u8>) {
        let below = &self.find(path).0.children;
        below.iter().flat_map(|below| below.keys()).for_each(|name| out.ustring(name));
    }
}
