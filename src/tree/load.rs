//! Filling a tree from a snapshot.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::acls::AclId;
use super::nodes::{ROOT, ZnodeId};
use super::{StoredStat, Tree, TreeOptions};
use crate::path::CONFIG;
use crate::proto::{AclBytes, READ_ACL};

/// Why a znode of a snapshot does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotNodeError {
    /// Its parent was not seen before it.
    #[error("znode {0:?} comes before its parent")]
    Orphan(String),
    /// It was there already.
    #[error("znode {0:?} comes twice")]
    Twice(String),
}

/// A tree in the making.
#[derive(Debug)]
pub struct TreeLoader {
    tree: Tree,
    acls: HashMap<i64, AclId, FixedState>,
    unknown_acls: usize,
    /// The parent of the last znode: often that of the next one.
    parent: (String, ZnodeId),
    size: Size,
}

/// How many znodes are to be expected.
#[derive(Debug, Default)]
struct Size {
    /// Of the whole snapshot, bytes; 0 if that is not known.
    whole: u64,
    /// Of the znodes so far, about.
    seen: u64,
}

/// Znodes by which the size of the others is judged.
const SAMPLE: usize = 4096;
/// Bytes of a znode in a snapshot beside its path and data (storage.md 3.2).
const ZNODE_BYTES: u64 = 76;

/// Nobody but the super user: what a znode gets whose ACL the snapshot does not hold, until replay repairs it.
const NOBODY: &[u8] = b"\0\0\0\x01\0\0\0\0\0\0\0\x05world\0\0\0\x06anyone";

impl TreeLoader {
    /// An empty tree.
    #[must_use]
    pub fn new(options: TreeOptions) -> Self {
        Self {
            tree: Tree::bare(options),
            acls: HashMap::with_hasher(FixedState::with_seed(options.hash_seed)),
            unknown_acls: 0,
            parent: (String::new(), ROOT),
            size: Size::default(),
        }
    }

    /// How long the snapshot is, in bytes: then the index of znodes need not grow step by step.
    pub fn size(&mut self, bytes: u64) {
        self.size.whole = bytes;
    }

    /// One list of the ACL table.
    pub fn acl(&mut self, key: i64, acl: AclBytes<'_>) {
        let id = self.tree.acls.add(acl);
        self.acls.insert(key, id);
    }

    /// One znode, its parent before it.
    ///
    /// # Errors
    /// When it has no parent yet, or is there already.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_key: i64,
        stat: &StoredStat,
    ) -> Result<(), SnapshotNodeError> {
        let acl = self.resolve(acl_key);
        if path.is_empty() {
            self.root(data, acl, stat);
            return Ok(());
        }
        let Some((parent, name)) = self.place(path) else { return Err(SnapshotNodeError::Orphan(path.to_owned())) };
        if self.tree.nodes.child(parent, name).is_some() {
            return Err(SnapshotNodeError::Twice(path.to_owned()));
        }
        self.tree.attach_below(parent, name, path, data, stat, acl);
        self.expect(path.len() + data.map_or(0, <[u8]>::len));
        Ok(())
    }

    /// Where the znode at `path` hangs: below whom, and by what name.
    fn place<'a>(&mut self, path: &'a str) -> Option<(ZnodeId, &'a str)> {
        let (parent, name) = crate::path::split(path)?;
        if self.parent.0 != parent {
            self.parent.1 = self.tree.nodes.find(parent)?;
            parent.clone_into(&mut self.parent.0);
        }
        Some((self.parent.1, name))
    }

    /// Another znode was loaded, with so many bytes of path and data.
    fn expect(&mut self, bytes: usize) {
        self.size.seen += bytes as u64 + ZNODE_BYTES;
        let count = self.tree.nodes.len();
        if count == SAMPLE {
            self.tree.nodes.expect((self.size.whole / (self.size.seen / SAMPLE as u64)) as usize);
        }
    }

    fn resolve(&mut self, key: i64) -> AclId {
        match self.acls.get(&key) {
            Some(&id) => {
                self.tree.acls.share(id);
                id
            }
            None if key == AclId::OPEN.file_key() => AclId::OPEN,
            None => {
                self.unknown_acls += 1;
                self.tree.acls.add(AclBytes::from_checked(NOBODY))
            }
        }
    }

    fn root(&mut self, data: Option<&[u8]>, acl: AclId, stat: &StoredStat) {
        let tree = &mut self.tree;
        tree.change("", ROOT, |nodes| {
            nodes.set_data(ROOT, data);
            nodes.set_acl(ROOT, acl);
            // Nobody owns the root, whatever the snapshot says.
            nodes.set_stat(ROOT, &StoredStat { owner: 0, ..*stat });
        });
        tree.bytes += 2 * data.map_or(0, <[u8]>::len) as u64;
    }

    /// The tree, and how many znodes had an ACL that the table does not hold.
    #[must_use]
    pub fn finish(mut self) -> (Tree, usize) {
        for &id in self.acls.values() {
            self.tree.acls.release(id);
        }
        if self.tree.nodes.find(CONFIG).is_none() {
            let acl = self.tree.acls.add(READ_ACL);
            self.tree.attach(CONFIG, Some(b""), &StoredStat { aversion: -1, ..StoredStat::default() }, acl);
        }
        self.tree.register_all_quotas();
        (self.tree, self.unknown_acls)
    }
}
