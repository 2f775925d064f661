//! Filling a tree from a snapshot, in two steps that may be taken on two threads: what a record alone is enough for, and
//! what the tree is needed for.

use std::fmt::Debug;
use std::hint::black_box;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::acls::AclId;
use super::nodes::{ROOT, Znode, ZnodeId};
use super::{StoredStat, Tree, TreeOptions, digest};
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

/// A znode on its way from a snapshot into the tree: all that can be made of its record alone.
#[derive(Debug)]
pub struct LooseZnode {
    below: Below,
    znode: Znode,
    acl_key: i64,
    stat: LooseStat,
    path_length: u32,
    /// What it adds to the tree digest, summed up from what is to be stored.
    digest: u32,
}

/// Its counters; most znodes were never changed, and many are on their way at a time.
#[derive(Debug)]
enum LooseStat {
    New { czxid: i64, ctime: i64 },
    Changed(Box<StoredStat>),
}

impl LooseStat {
    fn of(stat: &StoredStat) -> Self {
        let StoredStat { czxid, ctime, .. } = *stat;
        if *stat == StoredStat::of_new(czxid, ctime) {
            Self::New { czxid, ctime }
        } else {
            Self::Changed(Box::new(*stat))
        }
    }

    fn stored(&self) -> StoredStat {
        match self {
            Self::New { czxid, ctime } => StoredStat::of_new(*czxid, *ctime),
            Self::Changed(stat) => **stat,
        }
    }
}

/// Where a znode belongs.
#[derive(PartialEq, Eq, Debug)]
enum Below {
    /// Below the same parent as the one before it.
    Same,
    /// Below this path.
    Path(Box<str>),
    /// Nowhere: it is the root.
    Root,
}

/// Makes [`LooseZnode`]s of a snapshot's records, in their order.
#[derive(Debug)]
pub struct Loosener {
    digest: bool,
    parent: Option<String>,
}

impl Loosener {
    /// For a tree with these options, before the first record.
    #[must_use]
    pub const fn new(options: TreeOptions) -> Self {
        Self { digest: options.digest, parent: None }
    }

    /// One znode.
    ///
    /// # Errors
    /// When its path names no place in a tree.
    pub fn loosen(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_key: i64,
        stat: &StoredStat,
    ) -> Result<LooseZnode, SnapshotNodeError> {
        let (below, name) = if path.is_empty() {
            (Below::Root, "")
        } else {
            let orphan = || SnapshotNodeError::Orphan(path.to_owned());
            let (parent, name) = crate::path::split(path).ok_or_else(orphan)?;
            if self.parent.as_deref() == Some(parent) {
                (Below::Same, name)
            } else {
                self.parent = Some(parent.to_owned());
                (Below::Path(parent.into()), name)
            }
        };
        let znode = Znode::new(name, data, AclId::OPEN);
        let is_summed = self.digest && digest::covers(path);
        let digest = if is_summed { digest::of(path, znode.data(), stat) } else { 0 };
        let path_length = u32::try_from(path.len()).unwrap_or(u32::MAX);
        Ok(LooseZnode { below, znode, acl_key, stat: LooseStat::of(stat), path_length, digest })
    }
}

/// Who puts loose znodes into a tree: a [`TreeLoader`], or somebody who has one elsewhere.
pub trait Linker: Send + Debug {
    /// The next znodes.
    ///
    /// # Errors
    /// When one of these, or of those before, has no parent yet, or is there already.
    fn link(&mut self, znodes: Vec<LooseZnode>) -> Result<(), SnapshotNodeError>;

    /// The loader, once it has linked them all.
    ///
    /// # Errors
    /// As above.
    fn finish(self: Box<Self>) -> Result<TreeLoader, SnapshotNodeError>;
}

/// A tree in the making.
#[derive(Debug)]
pub struct TreeLoader {
    tree: Tree,
    acls: HashMap<i64, AclId, FixedState>,
    unknown_acls: usize,
    loosener: Loosener,
    /// The parent of the last znode: often that of the next one.
    parent: ZnodeId,
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

/// Znodes that are looked for at once.
const AHEAD: usize = 32;
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
            loosener: Loosener::new(options),
            parent: ROOT,
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
        let loose = self.loosener.loosen(path, data, acl_key, stat)?;
        self.link_one(loose)
    }

    /// Several, in the order in which one [`Loosener`] has made them.
    ///
    /// # Errors
    /// As for one.
    pub fn link(&mut self, znodes: Vec<LooseZnode>) -> Result<(), SnapshotNodeError> {
        let mut znodes = znodes.into_iter();
        while let Some(first) = znodes.next() {
            self.link_one(first)?;
            let siblings = znodes.as_slice().iter().take(AHEAD).take_while(|loose| loose.below == Below::Same).count();
            self.look_ahead(&znodes.as_slice()[..siblings]);
            for loose in znodes.by_ref().take(siblings) {
                self.link_one(loose)?;
            }
        }
        Ok(())
    }

    /// Brings those places of the index into the cache where these children of the last parent will be: one miss waits for
    /// another only when something is done with what was found.
    fn look_ahead(&self, siblings: &[LooseZnode]) {
        for loose in siblings {
            black_box(self.tree.nodes.child(self.parent, loose.znode.name()).is_some());
        }
    }

    fn link_one(&mut self, loose: LooseZnode) -> Result<(), SnapshotNodeError> {
        let LooseZnode { below, mut znode, acl_key, stat, path_length, digest } = loose;
        let (stat, path_length) = (stat.stored(), path_length as usize);
        let acl = self.resolve(acl_key);
        match below {
            Below::Root => {
                self.root(znode.data(), acl, &stat);
                return Ok(());
            }
            Below::Path(parent) => match self.tree.nodes.find(&parent) {
                Some(id) => self.parent = id,
                None => return Err(SnapshotNodeError::Orphan(format!("{}/{}", slashless(&parent), znode.name()))),
            },
            Below::Same => {}
        }
        if self.tree.nodes.child(self.parent, znode.name()).is_some() {
            let parent = self.tree.nodes.path(self.parent);
            return Err(SnapshotNodeError::Twice(format!("{parent}/{}", znode.name())));
        }
        let data_length = znode.data_length();
        znode.acl = acl;
        self.tree.attach_summed(self.parent, znode, &stat, path_length, digest);
        self.expect(path_length + data_length);
        Ok(())
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

impl Linker for TreeLoader {
    fn link(&mut self, znodes: Vec<LooseZnode>) -> Result<(), SnapshotNodeError> {
        Self::link(self, znodes)
    }

    fn finish(self: Box<Self>) -> Result<TreeLoader, SnapshotNodeError> {
        Ok(*self)
    }
}

fn slashless(parent: &str) -> &str {
    if parent == "/" { "" } else { parent }
}
