//! Where znodes live: a slab of fixed-size records, linked to their parent and siblings, found by (parent, name).
//!
//! Memory is the point: a name is stored once, in one allocation with the data; children are a linked list, not a set of
//! names; what a znode has only once it was changed, or has children or an owner, lives in a slab of its own.
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
const ANNEX_CHUNK: usize = 1024;

/// The index has room for so many znodes from the beginning.
const INDEX_MIN: usize = 28;

/// No room is made for more znodes than these beforehand, whatever size a file has.
const ZNODES_EXPECTED_MAX: usize = 1 << 26;

const NULL_DATA: u32 = 1 << 31;
const NAME_LENGTH_MAX: u32 = NULL_DATA - 1;

/// One znode: 56 bytes, and one allocation for its name and data. Most are never changed after their creation, have no
/// children and no owner: whatever else there is to know of the others is in an [`Annex`].
#[derive(Debug, Default)]
pub(crate) struct Znode {
    /// The name (last component of the path), then the data.
    bytes: Box<[u8]>,
    czxid: i64,
    ctime: i64,
    parent: ZnodeId,
    next: ZnodeId,
    prev: ZnodeId,
    /// Length of the name, and a flag.
    name_length: u32,
    pub(crate) acl: AclId,
    annex: u32,
}

/// What a znode has that was changed, or has children, or an owner.
#[derive(Clone, Debug)]
struct Annex {
    mzxid: i64,
    mtime: i64,
    pzxid: i64,
    owner: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    num_children: u32,
    first_child: ZnodeId,
    /// What the znode adds to the tree digest; 0 while that is not known.
    digest: u32,
}

impl Annex {
    /// That of a znode which has none.
    const fn of_new(czxid: i64, ctime: i64) -> Self {
        Self {
            mzxid: czxid,
            mtime: ctime,
            pzxid: czxid,
            owner: 0,
            version: 0,
            cversion: 0,
            aversion: 0,
            num_children: 0,
            first_child: NONE,
            digest: 0,
        }
    }
}

impl Znode {
    /// A znode outside the tree yet.
    pub(crate) fn new(name: &str, data: Option<&[u8]>, acl: AclId) -> Self {
        let name_length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        assert!(name_length <= NAME_LENGTH_MAX, "a name of {} bytes came through a frame", name.len());
        let mut znode = Self { name_length, acl, annex: NONE, ..Self::default() };
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

    fn set_data(&mut self, data: Option<&[u8]>) {
        let name_end = self.name_end();
        match data {
            Some(data) if self.data_length() == data.len() => {
                self.name_length &= !NULL_DATA;
                self.bytes[name_end..].copy_from_slice(data);
            }
            _ => {
                let old = std::mem::take(&mut self.bytes);
                self.set_bytes(&old[..name_end], data);
            }
        }
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
}

/// All znodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    chunks: Vec<Box<[Znode]>>,
    /// Places used so far, free ones among them.
    used: u32,
    free: BTreeSet<ZnodeId>,
    annexes: Annexes,
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
            annexes: Annexes::default(),
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

    fn get_mut(&mut self, id: ZnodeId) -> &mut Znode {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    pub(crate) fn child(&self, parent: ZnodeId, name: &str) -> Option<ZnodeId> {
        self.child_named(parent, name.as_bytes())
    }

    fn child_named(&self, parent: ZnodeId, name: &[u8]) -> Option<ZnodeId> {
        let hash = hash(&self.hasher, parent, name);
        let found = |&id: &ZnodeId| {
            let znode = self.get(id);
            znode.parent == parent && znode.name_bytes() == name
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
        rest.as_bytes().split(|b| *b == b'/').try_fold(ROOT, |at, name| self.child_named(at, name))
    }

    /// Makes room in the index for so many znodes in all. A wrong guess costs memory or time, and nothing else.
    pub(crate) fn expect(&mut self, znodes: usize) {
        let znodes = znodes.min(ZNODES_EXPECTED_MAX);
        if znodes > self.index.capacity() {
            self.grow_index(znodes);
        }
    }

    /// Makes a new index. Znodes come in the order of the slab, where one lies behind the other: a table that grows by itself
    /// goes through them in its own order, and waits for the memory of each.
    fn grow_index(&mut self, znodes: usize) {
        let mut index = HashTable::with_capacity(znodes);
        let hash = |id| rehash(&self.chunks, &self.hasher, id);
        for id in (ROOT + 1..self.used).filter(|&id| self.is_alive(id)) {
            index.insert_unique(hash(id), id, |&id| hash(id));
        }
        self.index = index;
    }

    /// Puts a new child into the tree. The caller knows that the parent has none of that name.
    pub(crate) fn insert(&mut self, parent: ZnodeId, znode: Znode) -> ZnodeId {
        if self.index.len() == self.index.capacity() {
            self.grow_index((2 * self.index.len()).max(INDEX_MIN));
        }
        let hash = hash(&self.hasher, parent, znode.name_bytes());
        let id = self.place(znode, Some(parent));
        let annex = self.annex_mut(parent);
        let first = std::mem::replace(&mut annex.first_child, id);
        annex.num_children += 1;
        if first != NONE {
            self.get_mut(first).prev = id;
        }
        let znode = self.get_mut(id);
        (znode.parent, znode.next, znode.prev) = (parent, first, NONE);
        let Self { index, chunks, hasher, .. } = self;
        index.insert_unique(hash, id, |&id| rehash(chunks, hasher, id));
        id
    }

    /// Takes a childless znode out of the tree.
    pub(crate) fn remove(&mut self, id: ZnodeId) -> Znode {
        assert_ne!(id, ROOT, "the root stays");
        assert_eq!(self.first_child(id), NONE, "znode {:?} still has children", self.get(id).name());
        let Znode { parent, next, prev, .. } = *self.get(id);
        let hash = hash(&self.hasher, parent, self.get(id).name_bytes());
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        if next != NONE {
            self.get_mut(next).prev = prev;
        }
        match prev {
            NONE => self.annex_mut(parent).first_child = next,
            prev => self.get_mut(prev).next = next,
        }
        self.annex_mut(parent).num_children -= 1;
        self.free.insert(id);
        let removed = std::mem::replace(self.get_mut(id), Znode { parent: NONE, annex: NONE, ..Znode::default() });
        self.annexes.free(removed.annex);
        removed
    }

    /// Replaces its data.
    pub(crate) fn set_data(&mut self, id: ZnodeId, data: Option<&[u8]>) {
        self.note_digest(id, 0);
        self.get_mut(id).set_data(data);
    }

    /// Replaces its ACL, of which the digest knows nothing.
    pub(crate) fn set_acl(&mut self, id: ZnodeId, acl: AclId) {
        self.get_mut(id).acl = acl;
    }

    /// Its digest, if that was noted and nothing that is summed up there has changed since.
    pub(crate) fn digest(&self, id: ZnodeId) -> Option<u32> {
        self.annexes.get(self.get(id).annex).map(|annex| annex.digest).filter(|digest| *digest != 0)
    }

    /// Notes it, where there is room for it anyway: a znode that was never changed has none.
    pub(crate) fn note_digest(&mut self, id: ZnodeId, digest: u32) {
        let annex = self.get(id).annex;
        if annex != NONE {
            self.annexes.get_mut(annex).digest = digest;
        }
    }

    /// What is stored of a znode beside its data and ACL.
    pub(crate) fn stat(&self, id: ZnodeId) -> StoredStat {
        let Znode { czxid, ctime, .. } = *self.get(id);
        let Annex { mzxid, mtime, pzxid, owner, version, cversion, aversion, .. } = self.annex(id);
        StoredStat { czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid }
    }

    /// Stores it.
    pub(crate) fn set_stat(&mut self, id: ZnodeId, stat: &StoredStat) {
        let StoredStat { czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid } = *stat;
        let znode = self.get_mut(id);
        (znode.czxid, znode.ctime) = (czxid, ctime);
        if znode.annex == NONE && *stat == StoredStat::of_new(czxid, ctime) {
            return;
        }
        let annex = self.annex_mut(id);
        *annex = Annex { mzxid, mtime, pzxid, owner, version, cversion, aversion, digest: 0, ..*annex };
    }

    /// Changes some of it.
    pub(crate) fn update(&mut self, id: ZnodeId, change: impl FnOnce(&mut StoredStat)) {
        let mut stat = self.stat(id);
        change(&mut stat);
        self.set_stat(id, &stat);
    }

    /// How many children a znode has.
    pub(crate) fn num_children(&self, id: ZnodeId) -> u32 {
        self.annexes.get(self.get(id).annex).map_or(0, |annex| annex.num_children)
    }

    fn first_child(&self, id: ZnodeId) -> ZnodeId {
        self.annexes.get(self.get(id).annex).map_or(NONE, |annex| annex.first_child)
    }

    fn annex(&self, id: ZnodeId) -> Annex {
        let znode = self.get(id);
        self.annexes.get(znode.annex).cloned().unwrap_or_else(|| Annex::of_new(znode.czxid, znode.ctime))
    }

    fn annex_mut(&mut self, id: ZnodeId) -> &mut Annex {
        let Znode { czxid, ctime, annex, .. } = *self.get(id);
        let at = if annex == NONE { self.annexes.place(Annex::of_new(czxid, ctime)) } else { annex };
        self.get_mut(id).annex = at;
        self.annexes.get_mut(at)
    }

    /// A znode's children, newest first.
    pub(crate) fn children(&self, id: ZnodeId) -> impl Iterator<Item = ZnodeId> + '_ {
        let mut at = self.first_child(id);
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

/// Where annexes live.
#[derive(Debug, Default)]
struct Annexes {
    chunks: Vec<Vec<Annex>>,
    free: Vec<u32>,
}

impl Annexes {
    /// `None` for [`NONE`].
    fn get(&self, at: u32) -> Option<&Annex> {
        self.chunks.get(at as usize / ANNEX_CHUNK)?.get(at as usize % ANNEX_CHUNK)
    }

    fn get_mut(&mut self, at: u32) -> &mut Annex {
        &mut self.chunks[at as usize / ANNEX_CHUNK][at as usize % ANNEX_CHUNK]
    }

    fn place(&mut self, annex: Annex) -> u32 {
        if let Some(at) = self.free.pop() {
            *self.get_mut(at) = annex;
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == ANNEX_CHUNK) {
            self.chunks.push(Vec::with_capacity(ANNEX_CHUNK));
        }
        let full = (self.chunks.len() - 1) * ANNEX_CHUNK;
        let chunk = &mut self.chunks[full / ANNEX_CHUNK];
        chunk.push(annex);
        (full + chunk.len() - 1) as u32
    }

    fn free(&mut self, at: u32) {
        if at != NONE {
            self.free.push(at);
        }
    }
}

fn hash(state: &FixedState, parent: ZnodeId, name: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u32(parent);
    hasher.write(name);
    hasher.finish()
}

fn rehash(chunks: &[Box<[Znode]>], state: &FixedState, id: ZnodeId) -> u64 {
    let znode = &chunks[id as usize / CHUNK][id as usize % CHUNK];
    hash(state, znode.parent, znode.name_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn znode(name: &str) -> Znode {
        Znode::new(name, Some(b"data"), AclId::OPEN)
    }

    #[test]
    fn a_znode_is_56_bytes_and_its_annex_as_many() {
        assert_eq!((size_of::<Znode>(), size_of::<Annex>()), (56, 56));
    }

    #[test]
    fn only_what_was_changed_has_an_annex() {
        let mut nodes = Nodes::new(1, znode(""));
        let a = nodes.insert(ROOT, znode("a"));
        let new = StoredStat::of_new(5, 7);
        nodes.set_stat(a, &new);
        assert_eq!((nodes.get(a).annex, nodes.stat(a)), (NONE, new));
        let changed = StoredStat { mzxid: 6, version: 1, owner: 9, ..new };
        nodes.set_stat(a, &changed);
        let b = nodes.insert(a, znode("b"));
        assert_eq!((nodes.stat(a), nodes.num_children(a), nodes.num_children(b)), (changed, 1, 0));
        let annex = nodes.get(a).annex;
        nodes.set_stat(a, &new);
        assert_eq!((nodes.stat(a), nodes.num_children(a)), (new, 1), "children stay");
        nodes.remove(b);
        nodes.remove(a);
        let c = nodes.insert(ROOT, znode("c"));
        nodes.update(c, |stat| stat.version = 3);
        assert_eq!((nodes.get(c).annex, nodes.stat(c).version, nodes.stat(c).owner), (annex, 3, 0));
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
    fn the_index_grows_with_what_is_there_and_holds_nothing_else() {
        let mut nodes = Nodes::new(1, znode(""));
        let name = |i: u32| format!("n{i}");
        let ids: Vec<_> = (0..3000).map(|i| nodes.insert(ROOT, znode(&name(i)))).collect();
        ids.iter().step_by(2).for_each(|&id| drop(nodes.remove(id)));
        for i in 3000..9000 {
            nodes.insert(ROOT, znode(&name(i)));
        }
        for i in 0..9000 {
            let is_there = nodes.child(ROOT, &name(i)).is_some_and(|id| nodes.get(id).name() == name(i));
            assert_eq!(is_there, i >= 3000 || i % 2 == 1, "{i}");
        }
        assert_eq!(nodes.index.len(), 7500);
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
