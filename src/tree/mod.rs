//! The tree of znodes: a passive value with one writer, that applies txns and answers reads.
//!
//! It never refuses: whether a request may be done was decided before it became a txn (`pipeline`). Applying is
//! idempotent in the way that replaying a log over a fuzzy snapshot needs (storage.md 5).

mod acls;
mod apply;
mod digest;
mod load;
mod nodes;
mod owner;
mod quota;
mod read;
mod stat;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

pub use acls::AclId;
pub use apply::{Change, Witness};
pub use load::{Linker, LooseZnode, Loosener, SnapshotNodeError, TreeLoader};
pub use owner::{Owner, TTL_MAX_MS, TtlMarks};
pub use quota::{LIMITS, Limits, STATS, Usage, limits_root};
pub use read::ZnodeRef;
pub use stat::StoredStat;

pub(crate) use acls::world_perms;
pub(crate) use digest::{Contents, covers as digest_covers};
pub(crate) use nodes::ZnodeId;
pub(crate) use quota::Quotas;

use crate::ids::SessionId;
use crate::path::{CONFIG, QUOTA_ROOT};
use crate::proto::READ_ACL;
use acls::AclTable;
use nodes::{Nodes, ROOT, Znode};
use walk::Walk;
pub use walk::Walked;

/// What a tree must know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct TreeOptions {
    /// Seeds the hash tables; clients choose names, so they should not know it.
    pub hash_seed: u64,
    /// `zookeeper.extendedTypesEnabled`, `zookeeper.emulate353TTLNodes`: which owners mark TTL znodes.
    pub ttl_marks: TtlMarks,
    /// `zookeeper.digest.enabled`: keep the tree digest (ST-16).
    pub digest: bool,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self { hash_seed: 0, ttl_marks: TtlMarks::None, digest: true }
    }
}

/// All znodes with their ACLs, and the indexes over them.
#[derive(Debug)]
pub struct Tree {
    options: TreeOptions,
    nodes: Nodes,
    acls: AclTable,
    ephemerals: BTreeMap<SessionId, BTreeSet<ZnodeId>>,
    containers: BTreeSet<ZnodeId>,
    ttls: BTreeSet<ZnodeId>,
    quotas: Quotas,
    digest: u64,
    /// Lengths of all paths and data, the root counted twice as the reference does.
    bytes: u64,
    walk: Option<Walk>,
}

impl Tree {
    /// The tree of a new database: four znodes (semantics.md 1.1).
    #[must_use]
    pub fn new(options: TreeOptions) -> Self {
        let mut tree = Self::bare(options);
        for path in ["/zookeeper", QUOTA_ROOT, CONFIG] {
            let acl = if path == CONFIG { tree.acls.add(READ_ACL) } else { AclId::OPEN };
            tree.attach(path, Some(b""), &StoredStat::default(), acl);
        }
        // The reference makes this znode's ACL by an ordinary setACL from version -1.
        if let Some(id) = tree.nodes.find(CONFIG) {
            tree.nodes.update(id, |stat| stat.aversion = -1);
        }
        tree
    }

    /// A root alone: what a snapshot is loaded into.
    fn bare(options: TreeOptions) -> Self {
        let root = Znode::new("", Some(b""), AclId::OPEN);
        let mut tree = Self {
            options,
            nodes: Nodes::new(options.hash_seed, root),
            acls: AclTable::new(options.hash_seed),
            ephemerals: BTreeMap::new(),
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            quotas: Quotas::default(),
            digest: 0,
            bytes: 1,
            walk: None,
        };
        tree.add_digest("", ROOT);
        tree
    }

    /// The digest of the whole tree (storage.md 4).
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The options it was made with.
    #[must_use]
    pub const fn options(&self) -> TreeOptions {
        self.options
    }

    /// Puts a znode below an existing parent, with its entries in every index. `None`: the parent is missing.
    fn attach(&mut self, path: &str, data: Option<&[u8]>, stat: &StoredStat, acl: AclId) -> Option<ZnodeId> {
        let (parent, name) = crate::path::split(path)?;
        let parent = self.nodes.find(parent)?;
        Some(self.attach_below(parent, name, path, data, stat, acl))
    }

    /// The same below a parent that is known, which has no child of that name.
    fn attach_below(
        &mut self,
        parent: ZnodeId,
        name: &str,
        path: &str,
        data: Option<&[u8]>,
        stat: &StoredStat,
        acl: AclId,
    ) -> ZnodeId {
        let id = self.hang(parent, Znode::new(name, data, acl), stat, path.len());
        self.add_digest(path, id);
        id
    }

    /// The same for a znode whose digest is known.
    fn attach_summed(&mut self, parent: ZnodeId, znode: Znode, stat: &StoredStat, path_length: usize, digest: u32) {
        let id = self.hang(parent, znode, stat, path_length);
        self.nodes.note_digest(id, digest);
        self.digest = self.digest.wrapping_add(digest.into());
    }

    fn hang(&mut self, parent: ZnodeId, znode: Znode, stat: &StoredStat, path_length: usize) -> ZnodeId {
        self.bytes += (path_length + znode.data_length()) as u64;
        let id = self.nodes.insert(parent, znode);
        self.nodes.set_stat(id, stat);
        self.own(id, stat.owner);
        id
    }

    /// Takes a znode and all below it out of the tree and of every index.
    fn detach(&mut self, path: &str, id: ZnodeId) {
        let below: Vec<_> = self.nodes.subtree(id).skip(1).collect();
        for &child in below.iter().rev() {
            let path = self.nodes.path(child);
            self.detach_one(&path, child);
        }
        self.detach_one(path, id);
    }

    fn detach_one(&mut self, path: &str, id: ZnodeId) {
        self.preserve(id);
        self.remove_digest(path, id);
        self.disown(id);
        let znode = self.nodes.remove(id);
        self.acls.release(znode.acl);
        self.bytes -= (path.len() + znode.data_length()) as u64;
    }

    fn own(&mut self, id: ZnodeId, owner: i64) {
        match Owner::from_stored(owner, self.options.ttl_marks) {
            Owner::Nobody => {}
            Owner::Session(session) => {
                self.ephemerals.entry(session).or_default().insert(id);
            }
            Owner::Container => {
                self.containers.insert(id);
            }
            Owner::Ttl(_) => {
                self.ttls.insert(id);
            }
        }
    }

    fn disown(&mut self, id: ZnodeId) {
        match Owner::from_stored(self.nodes.stat(id).owner, self.options.ttl_marks) {
            Owner::Nobody => {}
            Owner::Session(session) => {
                if let Some(znodes) = self.ephemerals.get_mut(&session) {
                    znodes.remove(&id);
                    if znodes.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            Owner::Container => {
                self.containers.remove(&id);
            }
            Owner::Ttl(_) => {
                self.ttls.remove(&id);
            }
        }
    }

    /// Puts the text of the ensemble's configuration into `/zookeeper/config`, as the reference does without a txn: the
    /// znode's version is -1 afterwards, and the digest stays as it was (zab.md 5).
    pub fn publish_config(&mut self, text: &str, version: i64, wall_ms: i64) {
        let Some(id) = self.nodes.find(CONFIG) else { return };
        let before = self.nodes.get(id).data().map_or(0, <[u8]>::len) as u64;
        self.change(CONFIG, id, |nodes| {
            nodes.set_data(id, Some(text.as_bytes()));
            nodes.update(id, |stat| (stat.mzxid, stat.mtime, stat.version) = (version, wall_ms, -1));
        });
        self.bytes = self.bytes - before + text.len() as u64;
    }

    /// Changes a znode in place: the old image goes to a running snapshot, the digest follows.
    fn change(&mut self, path: &str, id: ZnodeId, change: impl FnOnce(&mut Nodes)) {
        self.preserve(id);
        self.remove_digest(path, id);
        change(&mut self.nodes);
        self.add_digest(path, id);
    }

    /// What a znode has become is always summed up from what is stored of it now, by every server for itself: this is
    /// what makes the digest that a txn foresees a check of the tree, whoever foresaw it.
    fn add_digest(&mut self, path: &str, id: ZnodeId) {
        if !self.is_summed(path) {
            return;
        }
        let digest = self.sum(path, id);
        self.nodes.note_digest(id, digest);
        self.digest = self.digest.wrapping_add(digest.into());
    }

    /// What a znode was may be taken from a note: then exactly what was added goes away again. A server whose znode was
    /// not the leader's has noted another sum than the leader foresees. What this does not see is memory that has changed
    /// by itself; that shows when a snapshot is loaded, where all is summed up.
    fn remove_digest(&mut self, path: &str, id: ZnodeId) {
        self.digest = self.digest.wrapping_sub(self.znode_digest(path, id));
    }

    fn znode_digest(&self, path: &str, id: ZnodeId) -> u64 {
        if !self.is_summed(path) {
            return 0;
        }
        let noted = self.nodes.digest(id);
        debug_assert!(noted.is_none_or(|noted| noted == self.sum(path, id)), "the note on {path} is out of date");
        noted.unwrap_or_else(|| self.sum(path, id)).into()
    }

    fn is_summed(&self, path: &str) -> bool {
        self.options.digest && digest::covers(path)
    }

    fn sum(&self, path: &str, id: ZnodeId) -> u32 {
        digest::of(path, self.nodes.get(id).data(), &self.nodes.stat(id))
    }
}

#[cfg(test)]
mod tests;
