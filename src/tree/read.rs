//! Reading: what clients, checks and reports may look at.

use super::nodes::ROOT;
use super::quota::{LIMITS, Limits, Quotas, STATS, Usage};
use super::{AclId, Owner, StoredStat, Tree, ZnodeId};
use crate::ids::SessionId;
use crate::proto::{AclBytes, Perms, Stat};

/// One znode, borrowed from the tree.
#[derive(Clone, Copy, Debug)]
pub struct ZnodeRef<'a> {
    tree: &'a Tree,
    id: ZnodeId,
}

impl<'a> ZnodeRef<'a> {
    /// Its data; `None` is null.
    #[must_use]
    pub fn data(self) -> Option<&'a [u8]> {
        self.tree.nodes.get(self.id).data()
    }

    /// Its Stat as clients see it.
    #[must_use]
    pub fn stat(self) -> Stat {
        self.tree.stat(self.id)
    }

    /// Its counters as stored.
    #[must_use]
    pub fn stored_stat(self) -> StoredStat {
        self.tree.nodes.stat(self.id)
    }

    /// Its kind.
    #[must_use]
    pub fn owner(self) -> Owner {
        self.tree.owner(self.id)
    }

    /// Its ACL.
    #[must_use]
    pub fn acl(self) -> AclBytes<'a> {
        self.tree.acls.get(self.acl_id())
    }

    /// Its ACL's place in the table.
    #[must_use]
    pub fn acl_id(self) -> AclId {
        self.tree.nodes.get(self.id).acl
    }

    /// What its ACL gives to everybody.
    #[must_use]
    pub fn world_perms(self) -> Perms {
        self.tree.acls.world(self.acl_id())
    }

    /// How many children it has.
    #[must_use]
    pub fn num_children(self) -> u32 {
        self.tree.nodes.num_children(self.id)
    }

    /// The names of its children, in no promised order.
    pub fn children(self) -> impl Iterator<Item = &'a str> {
        self.tree.nodes.children(self.id).map(|id| self.tree.nodes.get(id).name())
    }

    /// How many znodes lie below it, at any depth.
    #[must_use]
    pub fn num_descendants(self) -> usize {
        if self.id == ROOT { self.tree.len() - 1 } else { self.tree.nodes.subtree(self.id).count() - 1 }
    }

    /// Its place in this tree, as long as it lives.
    pub(crate) const fn id(self) -> ZnodeId {
        self.id
    }

    /// What it adds to the tree digest.
    pub(crate) fn digest(self, path: &str) -> u64 {
        self.tree.znode_digest(path, self.id)
    }
}

impl Tree {
    /// The znode at `path`. Invalid paths are simply not there (semantics.md 1.6).
    #[must_use]
    pub fn find(&self, path: &str) -> Option<ZnodeRef<'_>> {
        Some(ZnodeRef { tree: self, id: self.nodes.find(path)? })
    }

    /// The znode in that place, which [`ZnodeRef::id`] has told.
    pub(crate) const fn znode(&self, id: ZnodeId) -> ZnodeRef<'_> {
        ZnodeRef { tree: self, id }
    }

    /// A list of the ACL table, and what it gives to everybody.
    pub(crate) fn acl(&self, id: AclId) -> (AclBytes<'_>, Perms) {
        (self.acls.get(id), self.acls.world(id))
    }

    /// How many znodes there are, the root among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: the root stays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lengths of all paths and data: `approximate_data_size`.
    #[must_use]
    pub const fn approximate_bytes(&self) -> u64 {
        self.bytes
    }

    /// How many ephemerals there are.
    #[must_use]
    pub fn num_ephemerals(&self) -> usize {
        self.ephemerals.values().map(|znodes| znodes.len()).sum()
    }

    /// The sessions that own ephemerals.
    pub fn ephemeral_sessions(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// Every znode's path (the root's is empty), parents first, in no other order.
    pub fn walk_paths(&self) -> impl Iterator<Item = (String, ZnodeRef<'_>)> {
        self.nodes.subtree(ROOT).map(|id| (self.nodes.path(id), ZnodeRef { tree: self, id }))
    }

    /// Containers and TTL znodes that the reaper may take at `wall_ms` (semantics.md 4.9). `never_used_ms` above 0 takes
    /// containers that never had a child for that long as well.
    #[must_use]
    pub fn reapable(&self, wall_ms: i64, never_used_ms: i64) -> Vec<String> {
        let empty = |id: &ZnodeId| self.nodes.num_children(*id) == 0;
        let containers = self.containers.iter().copied().filter(empty).filter(|&id| {
            let stat = self.nodes.stat(id);
            stat.cversion > 0 || (never_used_ms > 0 && wall_ms - stat.mtime > never_used_ms)
        });
        let ttls = self.ttls.iter().copied().filter(empty).filter(|&id| match self.owner(id) {
            // 3.5.3 took TTLs of which nothing is left.
            Owner::Ttl(ttl_ms) => ttl_ms != 0 && wall_ms - self.nodes.stat(id).mtime > ttl_ms,
            Owner::Nobody | Owner::Session(_) | Owner::Container => false,
        });
        containers.chain(ttls).map(|id| self.nodes.path(id)).collect()
    }

    /// The nearest quota that `path` falls under: its path, limits and usage.
    #[must_use]
    pub fn quota_of<'a>(&self, path: &'a str) -> Option<(&'a str, Limits, Usage)> {
        let subject = self.quotas.subject_of(path)?;
        self.find(&Quotas::znode(subject, STATS))?;
        let limits = Limits::parse(self.find(&Quotas::znode(subject, LIMITS)).and_then(ZnodeRef::data));
        Some((subject, limits, self.quotas.usage(subject)?))
    }

    /// All quotas: path, limits, usage.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, Limits, Usage)> {
        self.quotas.subjects().filter_map(|subject| {
            let limits = Limits::parse(self.find(&Quotas::znode(subject, LIMITS)).and_then(ZnodeRef::data));
            Some((subject, limits, self.quotas.usage(subject)?))
        })
    }

    pub(super) fn stat(&self, id: ZnodeId) -> Stat {
        let stored = self.nodes.stat(id);
        let num_children = self.nodes.num_children(id) as i32;
        Stat {
            czxid: stored.czxid,
            mzxid: stored.mzxid,
            ctime: stored.ctime,
            mtime: stored.mtime,
            version: stored.version,
            cversion: stored.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: stored.aversion,
            ephemeral_owner: Owner::from_stored(stored.owner, self.options.ttl_marks).visible(),
            data_length: self.nodes.get(id).data_length() as i32,
            num_children,
            pzxid: stored.pzxid,
        }
    }

    fn owner(&self, id: ZnodeId) -> Owner {
        Owner::from_stored(self.nodes.stat(id).owner, self.options.ttl_marks)
    }
}
