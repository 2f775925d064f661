//! The tree as it will be once all that is in flight is committed: what requests are checked against.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::hash_map::EntryRef;
use hashbrown::{HashMap, HashSet};

use crate::ids::{SessionId, Zxid};
use crate::proto::{AclBytes, Perms};
use crate::tree::{AclId, Contents, Owner, StoredStat, Tree, ZnodeId, ZnodeRef, digest_covers};

/// The ACL of a znode that may not be in the tree yet.
#[derive(Clone, Debug)]
pub(super) enum FutureAcl {
    /// The one it has.
    Present(AclId),
    /// The one it will get.
    New(Arc<[u8]>, Perms),
}

impl FutureAcl {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let world = crate::tree::world_perms(AclBytes::from_checked(bytes));
        Self::New(bytes.into(), world)
    }

    /// The list, and what it gives to everybody.
    pub(super) fn resolve<'a>(&'a self, tree: &'a Tree) -> (AclBytes<'a>, Perms) {
        match self {
            Self::Present(id) => tree.acl(*id),
            Self::New(bytes, world) => (AclBytes::from_checked(bytes), *world),
        }
    }
}

/// The path and data of a znode that may not be in the tree yet, as its digest wants them.
#[derive(Clone, Copy, Debug)]
pub(super) enum FutureContents {
    /// Those it has.
    Present(ZnodeId),
    /// Those it will have.
    New(Contents),
}

/// A znode as it will be.
#[derive(Clone, Debug)]
pub(super) struct FutureZnode {
    pub(super) stat: StoredStat,
    pub(super) num_children: u32,
    pub(super) data_length: usize,
    pub(super) acl: FutureAcl,
    pub(super) contents: FutureContents,
}

impl FutureZnode {
    fn present(znode: ZnodeRef<'_>) -> Self {
        Self {
            stat: znode.stored_stat(),
            num_children: znode.num_children(),
            data_length: znode.data().map_or(0, <[u8]>::len),
            acl: FutureAcl::Present(znode.acl_id()),
            contents: FutureContents::Present(znode.id()),
        }
    }

    /// Its digest; whoever changes it again before it is applied need not sum it up then.
    fn digest(&mut self, tree: &Tree, path: &str) -> u64 {
        if !tree.options().digest || !digest_covers(path) {
            return 0;
        }
        let contents = match self.contents {
            FutureContents::Present(id) => Contents::of(path, tree.znode(id).data()),
            FutureContents::New(contents) => contents,
        };
        self.contents = FutureContents::New(contents);
        contents.digest(&self.stat).into()
    }
}

#[derive(Debug, Clone)]
struct Record {
    zxid: Zxid,
    /// `None`: it will be gone.
    znode: Option<FutureZnode>,
    digest: u64,
}

impl Record {
    /// Who will own the znode, as it is stored; 0 is nobody.
    fn owner(&self) -> i64 {
        self.znode.as_ref().map_or(0, |znode| znode.stat.owner)
    }
}

/// All changes that are proposed and not yet applied, the last of each path.
#[derive(Debug)]
pub struct Outstanding {
    by_path: HashMap<Arc<str>, Record, FixedState>,
    by_zxid: VecDeque<(Zxid, Arc<str>)>,
    /// Those of znodes that will have an owner, by owner: many sessions may end at once.
    owned: HashMap<i64, HashSet<Arc<str>, FixedState>, FixedState>,
    /// The tree digest after all of them.
    digest: u64,
    /// What to put back if the multi under way fails; empty outside of one.
    undo: Vec<(Arc<str>, Option<Record>)>,
    in_multi: bool,
}

/// Where a multi began.
#[derive(Debug)]
pub(super) struct Savepoint {
    digest: u64,
    changes: usize,
}

impl Outstanding {
    /// Nothing in flight over a tree with this digest.
    #[must_use]
    pub fn new(hash_seed: u64, digest: u64) -> Self {
        Self {
            by_path: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            by_zxid: VecDeque::new(),
            owned: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            digest,
            undo: Vec::new(),
            in_multi: false,
        }
    }

    /// The digest after all that is in flight.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The znode as it will be; `None` when it will not be there.
    pub(super) fn find(&self, tree: &Tree, path: &str) -> Option<FutureZnode> {
        if let Some(record) = self.by_path.get(path) {
            return record.znode.clone();
        }
        tree.find(path).map(FutureZnode::present)
    }

    /// Notes what a txn makes of a znode: from `before` to `after`.
    pub(super) fn change(
        &mut self,
        zxid: Zxid,
        tree: &Tree,
        path: &str,
        before: Option<&FutureZnode>,
        mut after: Option<FutureZnode>,
    ) {
        let digest = after.as_mut().map_or(0, |znode| znode.digest(tree, path));
        let record = Record { zxid, znode: after, digest };
        let owner = record.owner();
        let (key, old) = match self.by_path.entry_ref(path) {
            EntryRef::Occupied(mut entry) => (Arc::clone(entry.key()), Some(entry.insert(record))),
            EntryRef::Vacant(entry) => (Arc::clone(entry.insert_entry_with_key(path.into(), record).key()), None),
        };
        let gone = match (&old, before.map(|znode| znode.contents)) {
            (Some(old), _) => old.digest,
            (None, Some(FutureContents::Present(id))) => tree.znode(id).digest(path),
            (None, Some(FutureContents::New(_)) | None) => 0,
        };
        self.digest = self.digest.wrapping_sub(gone).wrapping_add(digest);
        self.change_owner(&key, old.as_ref().map_or(0, Record::owner), owner);
        if self.in_multi {
            self.undo.push((Arc::clone(&key), old));
        }
        self.by_zxid.push_back((zxid, key));
    }

    fn change_owner(&mut self, path: &Arc<str>, before: i64, after: i64) {
        if before == after {
            return;
        }
        if let EntryRef::Occupied(mut owned) = self.owned.entry_ref(&before) {
            owned.get_mut().remove(path);
            if owned.get().is_empty() {
                owned.remove();
            }
        }
        if after != 0 {
            let hasher = self.owned.hasher().clone();
            self.owned.entry(after).or_insert_with(|| HashSet::with_hasher(hasher)).insert(Arc::clone(path));
        }
    }

    /// Begins a multi: what follows can be taken back.
    pub(super) fn begin(&mut self) -> Savepoint {
        self.in_multi = true;
        Savepoint { digest: self.digest, changes: self.by_zxid.len() }
    }

    /// The multi stands.
    pub(super) fn keep(&mut self) {
        self.in_multi = false;
        self.undo.clear();
    }

    /// The multi failed: all as it was when it began.
    pub(super) fn roll_back(&mut self, to: &Savepoint) {
        self.in_multi = false;
        while let Some((path, old)) = self.undo.pop() {
            let owner = old.as_ref().map_or(0, Record::owner);
            let undone = match old {
                Some(old) => self.by_path.insert(Arc::clone(&path), old),
                None => self.by_path.remove(&path),
            };
            self.change_owner(&path, undone.as_ref().map_or(0, Record::owner), owner);
        }
        self.by_zxid.truncate(to.changes);
        self.digest = to.digest;
    }

    /// Forgets the changes up to `zxid`: the tree has them.
    pub fn applied(&mut self, zxid: Zxid) {
        while let Some((_, path)) = self.by_zxid.pop_front_if(|(of, _)| *of <= zxid) {
            if let EntryRef::Occupied(entry) = self.by_path.entry_ref(&*path)
                && entry.get().zxid <= zxid
            {
                let owner = entry.remove().owner();
                self.change_owner(&path, owner, 0);
            }
        }
    }

    /// The ephemerals that a session will have: those it has, without those being deleted, with those being created.
    pub(super) fn ephemerals_of(&self, tree: &Tree, session: SessionId) -> Vec<String> {
        let mut paths = tree.ephemerals_of(session);
        if self.by_path.is_empty() {
            return paths;
        }
        let marks = tree.options().ttl_marks;
        let is_mine = |znode: &FutureZnode| Owner::from_stored(znode.stat.owner, marks) == Owner::Session(session);
        // One that is being deleted may be there again, and be somebody else's.
        let stays = |record: &Record| record.znode.as_ref().is_some_and(is_mine);
        paths.retain(|path| self.by_path.get(path.as_str()).is_none_or(stays));
        let will_be = self.owned.get(&session.0).into_iter().flatten();
        let is_new = |path: &&Arc<str>| {
            let was = tree.find(path).map(ZnodeRef::owner);
            was != Some(Owner::Session(session)) && self.by_path.get(&**path).is_some_and(stays)
        };
        paths.extend(will_be.filter(is_new).map(ToString::to_string));
        paths
    }
}
