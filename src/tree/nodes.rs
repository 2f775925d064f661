//! Where znodes live: a slab of fixed-size records, linked to their parent and siblings, found by (parent, name).
//!
//! Memory is the point (ARCHITECTURE.md, "Bytes per znode"): a name is stored once, in one allocation with the data;
//! children are a linked list, not a set of names; what few znodes have (an owner) lives in side tables.
//!
//! A znode's number is always greater than its parent's. That is what lets a snapshot walk the slab from end to end and
//! still put parents before children.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::acls::AclId;
use super::stat::StoredStat;

/// A znode's place in the slab.
pub(crate) type ZnodeId = u32;

/// The root's place, for ever.
pub(crate) const ROOT: ZnodeId = 0;

/// No znode: the end of a list, or a free place.
const NONE: ZnodeId = u32::MAX;

const CHUNK: usize = 4096;

const NULL_DATA: u32 = 1 << 31;
const OWNED: u32 = 1 << 30;
const NAME_LENGTH_MAX: u32 = OWNED - 1;

/// One znode: 96 bytes, and one allocation for its name and data.
#[derive(Debug, Default)]
pub(crate) struct Znode {
    /// The name (last component of the path), then the data.
    bytes: Box<[u8]>,
    pub(crate) czxid: i64,
    pub(crate) mzxid: i64,
    pub(crate) ctime: i64,
    pub(crate) mtime: i64,
    pub(crate) pzxid: i64,
    pub(crate) version: i32,
    pub(crate) cversion: i32,
    pub(crate) aversion: i32,
    pub(crate) num_children: u32,
    parent: ZnodeId,
    first_child: ZnodeId,
    next: ZnodeId,
    prev: ZnodeId,
    /// Length of the name, and two flags.
    name_length: u32,
    pub(crate) acl: AclId,
}

impl Znode {
    /// A znode outside the tree yet.
    pub(crate) fn new(name: &str, data: Option<&[u8]>, stat: &StoredStat, acl: AclId) -> Self {
        let mut znode = Self {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            pzxid: stat.pzxid,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            first_child: NONE,
            name_length: u32::try_from(name.len()).unwrap_or(u32::MAX),
            acl,
            ..Self::default()
        };
        assert!(znode.name_length <= NAME_LENGTH_MAX, "a name of {} bytes came through a frame", name.len());
        znode.set_bytes(name.as_bytes(), data);
        znode
    }

    fn set_bytes(&mut self, name: &[u8], data: Option<&[u8]>) {
        self.name_length &= !NULL_DATA;
        if data.is_none() {
            self.name_length |= NULL_DATA;
        }
        self.bytes = [name, data.unwrap_or_default()].concat().into_boxed_slice();
    }

    pub(crate) fn set_data(&mut self, data: Option<&[u8]>) {
        let old = std::mem::take(&mut self.bytes);
        self.set_bytes(&old[..self.name_end()], data);
    }

    fn name_end(&self) -> usize {
        (self.name_length & NAME_LENGTH_MAX) as usize
    }

    pub(crate) fn name(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.name_end()]).unwrap_or_default()
    }

    fn name_bytes(&self) -> &[u8] {
        &self.bytes[..self.name_end()]
    }

    pub(crate) fn data(&self) -> Option<&[u8]> {
        if self.name_length & NULL_DATA == 0 { Some(&self.bytes[self.name_end()..]) } else { None }
    }

    pub(crate) fn data_length(&self) -> usize {
        self.bytes.len() - self.name_end()
    }

    /// Whether the side table knows an owner.
    pub(crate) fn is_owned(&self) -> bool {
        self.name_length & OWNED != 0
    }

    pub(crate) fn set_owned(&mut self) {
        self.name_length |= OWNED;
    }
}

/// All znodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    chunks: Vec<Box<[Znode]>>,
    /// Places used so far, free ones among them.
    used: u32,
    free: BTreeSet<ZnodeId>,
    index: HashTable<ZnodeId>,
    hasher: FixedState,
}

impl Nodes {
    /// A slab with `root` alone. `hash_seed` should not be known to clients, who choose names.
    pub(crate) fn new(hash_seed: u64, root: Znode) -> Self {
        let mut nodes = Self {
            chunks: Vec::new(),
            used: 0,
            free: BTreeSet::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(hash_seed),
        };
        let id = nodes.place(root, None);
        assert_eq!(id, ROOT, "the root comes first");
        nodes
    }

    /// Znodes there are.
    pub(crate) fn len(&self) -> usize {
        self.used as usize - self.free.len()
    }

    /// One past the greatest number in use.
    pub(crate) fn end(&self) -> ZnodeId {
        self.used
    }

    pub(crate) fn get(&self, id: ZnodeId) -> &Znode {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    /// Whether a znode lives at `id`.
    pub(crate) fn is_alive(&self, id: ZnodeId) -> bool {
        id < self.used && (id == ROOT || self.get(id).parent != NONE)
    }

    pub(crate) fn get_mut(&mut self, id: ZnodeId) -> &mut Znode {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    pub(crate) fn child(&self, parent: ZnodeId, name: &str) -> Option<ZnodeId> {
        let hash = hash(&self.hasher, parent, name.as_bytes());
        let found = |&id: &ZnodeId| {
            let znode = self.get(id);
            znode.parent == parent && znode.name_bytes() == name.as_bytes()
        };
        self.index.find(hash, found).copied()
    }

    /// The znode at `path`; the empty path is the root as well (semantics.md 1.1).
    pub(crate) fn find(&self, path: &str) -> Option<ZnodeId> {
        let Some(rest) = path.strip_prefix('/') else {
            return path.is_empty().then_some(ROOT);
        };
        if rest.is_empty() {
            return Some(ROOT);
        }
        rest.split('/').try_fold(ROOT, |at, name| self.child(at, name))
    }

    /// Puts a new child into the tree. The caller knows that the parent has none of that name.
    pub(crate) fn insert(&mut self, parent: ZnodeId, znode: Znode) -> ZnodeId {
        let hash = hash(&self.hasher, parent, znode.name_bytes());
        let id = self.place(znode, Some(parent));
        let first = std::mem::replace(&mut self.get_mut(parent).first_child, id);
        self.get_mut(parent).num_children += 1;
        if first != NONE {
            self.get_mut(first).prev = id;
        }
        let znode = self.get_mut(id);
        (znode.parent, znode.next, znode.prev) = (parent, first, NONE);
        let Self { index, chunks, hasher, .. } = self;
        index.insert_unique(hash, id, |&id| {
            let znode = &chunks[id as usize / CHUNK][id as usize % CHUNK];
            self::hash(hasher, znode.parent, znode.name_bytes())
        });
        id
    }

    /// Takes a childless znode out of the tree.
    pub(crate) fn remove(&mut self, id: ZnodeId) -> Znode {
        assert_ne!(id, ROOT, "the root stays");
        let (parent, next, prev) = {
            let znode = self.get(id);
            assert_eq!(znode.first_child, NONE, "znode {:?} still has children", znode.name());
            (znode.parent, znode.next, znode.prev)
        };
        let hash = hash(&self.hasher, parent, self.get(id).name_bytes());
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        if next != NONE {
            self.get_mut(next).prev = prev;
        }
        match prev {
            NONE => self.get_mut(parent).first_child = next,
            prev => self.get_mut(prev).next = next,
        }
        self.get_mut(parent).num_children -= 1;
        self.free.insert(id);
        std::mem::replace(self.get_mut(id), Znode { parent: NONE, first_child: NONE, ..Znode::default() })
    }

    /// A znode's children, newest first.
    pub(crate) fn children(&self, id: ZnodeId) -> impl Iterator<Item = ZnodeId> + '_ {
        let mut at = self.get(id).first_child;
        std::iter::from_fn(move || {
            let id = at;
            (id != NONE).then(|| {
                at = self.get(id).next;
                id
            })
        })
    }

    /// `id` and all below it, each before its children.
    pub(crate) fn subtree(&self, id: ZnodeId) -> impl Iterator<Item = ZnodeId> + '_ {
        let mut waiting = vec![id];
        std::iter::from_fn(move || {
            let id = waiting.pop()?;
            waiting.extend(self.children(id));
            Some(id)
        })
    }

    /// A znode's whole path; the root's is empty here, as in snapshots.
    pub(crate) fn path(&self, id: ZnodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            let znode = self.get(at);
            names.push(znode.name());
            at = znode.parent;
        }
        let mut path = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.into_iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// Finds a place with a number above the parent's: the lowest free one, or a new one.
    fn place(&mut self, znode: Znode, parent: Option<ZnodeId>) -> ZnodeId {
        let free = parent.and_then(|parent| self.free.range(parent + 1..).next().copied());
        let id = free.unwrap_or(self.used);
        assert_ne!(id, NONE, "the slab is full at {id} znodes");
        if free.is_some() {
            self.free.remove(&id);
        } else {
            if id as usize / CHUNK == self.chunks.len() {
                self.chunks.push((0..CHUNK).map(|_| Znode::default()).collect());
            }
            self.used += 1;
        }
        *self.get_mut(id) = znode;
        id
    }
}

fn hash(state: &FixedState, parent: ZnodeId, name: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u32(parent);
    hasher.write(name);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn znode(name: &str) -> Znode {
        Znode::new(name, Some(b"data"), &StoredStat::default(), AclId::OPEN)
    }

    #[test]
    fn a_znode_is_96_bytes() {
        assert_eq!(size_of::<Znode>(), 96);
    }

    #[test]
    fn children_are_found_listed_and_removed() {
        let mut nodes = Nodes::new(1, znode(""));
        let a = nodes.insert(ROOT, znode("a"));
        let b = nodes.insert(ROOT, znode("b"));
        let c = nodes.insert(a, znode("c"));
        assert_eq!(nodes.find("/a/c"), Some(c));
        assert_eq!(nodes.path(c), "/a/c");
        assert_eq!(nodes.children(ROOT).collect::<Vec<_>>(), [b, a]);
        nodes.remove(c);
        nodes.remove(a);
        assert_eq!((nodes.find("/a"), nodes.find("/b"), nodes.len()), (None, Some(b), 2));
        assert_eq!(nodes.children(ROOT).collect::<Vec<_>>(), [b]);
    }

    #[test]
    fn a_freed_place_is_used_again_only_below_a_lower_parent() {
        let mut nodes = Nodes::new(1, znode(""));
        let low = nodes.insert(ROOT, znode("low"));
        let high = nodes.insert(ROOT, znode("high"));
        nodes.remove(low);
        let child = nodes.insert(high, znode("child"));
        assert!(child > high);
        assert_eq!(nodes.insert(ROOT, znode("again")), low);
    }

    #[test]
    fn paths_that_are_not_valid_are_not_found() {
        let mut nodes = Nodes::new(1, znode(""));
        nodes.insert(ROOT, znode("a"));
        for path in ["a", "/a/", "//a", "/a//", "/b"] {
            assert_eq!(nodes.find(path), None, "{path}");
        }
        assert_eq!((nodes.find(""), nodes.find("/")), (Some(ROOT), Some(ROOT)));
    }
}
