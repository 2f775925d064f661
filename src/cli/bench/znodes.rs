//! The znodes that a run works on: where they are, what is in them, how they are made and removed.
//!
//! Each znode's data begins with its own index, so that a get that brings another znode's data is noticed.

use anyhow::{Context, bail};
use bytes::BufMut;

use super::link::Link;
use super::request;
use super::shape::Shape;
use crate::jute::{JuteWrite, ustring, vector};
use crate::proto::OpCode;

/// Requests in flight while znodes are made and removed, and about how many bytes of data in them.
const PREPARE_DEPTH: usize = 256;
const PREPARE_BYTES: usize = 4 << 20;

/// A place in the tree below the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The root itself.
    Root,
    /// The parent of the znodes to get and set.
    Parent,
    /// A znode to get and set.
    Znode(u64),
    /// The znode whose children are listed.
    Directory,
    /// One of them.
    DirectoryChild(u64),
    /// The parent of the connections' own znodes.
    Owners,
    /// A connection's own znode, where it creates and deletes.
    Owner(u64),
    /// What it creates: connection and number.
    Owned(u64, u64),
    /// A parent that `fill` makes.
    FillParent(u64),
    /// A znode that `fill` makes.
    Filled(u64),
}

/// Paths and data.
#[derive(Clone, Debug)]
pub(super) struct Znodes {
    /// The path above all others.
    pub(super) root: String,
    /// How many there are to get and set.
    pub(super) count: u64,
    /// Children of the directory that is listed, or of each parent in a filled tree.
    pub(super) children: u64,
    /// The znodes to get and set are those that `fill` makes.
    pub(super) filled: bool,
    /// What `fill` makes.
    pub(super) shape: Shape,
    /// The data of each, whose first bytes its index replaces.
    pub(super) pattern: Vec<u8>,
}

const INDEX_LENGTH: usize = 8;

impl Znodes {
    /// `count` znodes of `size` bytes below `root`.
    pub(super) fn new(root: &str, count: u64, size: usize) -> Self {
        let mut pattern = vec![0; size];
        fastrand::Rng::with_seed(size as u64).fill(&mut pattern);
        Self { root: root.to_owned(), count, children: 1, filled: false, shape: Shape::Flat, pattern }
    }

    /// Where the znodes to get and set are.
    pub(super) fn place(&self, index: u64) -> Place {
        if self.filled { Place::Filled(index) } else { Place::Znode(index) }
    }

    /// Bytes of data in each.
    pub(super) fn size(&self) -> usize {
        self.pattern.len()
    }

    /// Appends the path, as a string of the wire.
    pub(super) fn put_path(&self, out: &mut Vec<u8>, place: Place) {
        let start = out.len();
        out.put_u32(0);
        out.extend_from_slice(self.root.as_bytes());
        match place {
            Place::Root => {}
            Place::Parent => out.extend_from_slice(b"/z"),
            Place::Znode(index) => put_number(out, b"/z/", index),
            Place::Directory => out.extend_from_slice(b"/dir"),
            Place::DirectoryChild(index) => put_number(out, b"/dir/", index),
            Place::Owners => out.extend_from_slice(b"/own"),
            Place::Owner(connection) => put_number(out, b"/own/", connection),
            Place::Owned(connection, number) => {
                put_number(out, b"/own/", connection);
                put_number(out, b"/", number);
            }
            Place::FillParent(parent) => self.shape.put_parent(out, parent),
            Place::Filled(index) => self.shape.put_znode(out, self, index),
        }
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Appends the data of a znode, as a buffer of the wire.
    pub(super) fn put_data(&self, out: &mut Vec<u8>, index: u64) {
        if self.shape == Shape::Real {
            return self.shape.put_data(out, index);
        }
        let start = out.len() + 4;
        out.buffer(Some(&self.pattern));
        if self.pattern.len() >= INDEX_LENGTH {
            out[start..start + INDEX_LENGTH].copy_from_slice(&index.to_be_bytes());
        }
    }

    /// Whether this is the data of that znode.
    pub(super) fn is_data_of(&self, data: &[u8], index: u64) -> bool {
        if self.pattern.len() < INDEX_LENGTH {
            return data == self.pattern;
        }
        data.split_first_chunk::<INDEX_LENGTH>()
            .is_some_and(|(head, rest)| *head == index.to_be_bytes() && *rest == self.pattern[INDEX_LENGTH..])
    }

    /// Makes what a load needs: the root and the znodes, the directory, and a place for each connection with a stock of
    /// znodes in it.
    ///
    /// # Errors
    /// When the root exists, or a create fails.
    pub(super) async fn prepare(&self, link: &mut Link, connections: u64, stock: u64) -> anyhow::Result<()> {
        if !self.filled {
            self.prepare_znodes(link).await?;
        }
        self.make_parents(link, &[Place::Directory, Place::Owners]).await?;
        let child = |i, xid, out: &mut Vec<u8>| request::create_parent(out, xid, self, Place::DirectoryChild(i));
        let listed = if self.filled { 0 } else { self.children };
        link.call_all(listed, PREPARE_DEPTH, child).await.context("create the directory")?;
        let owner = |i, xid, out: &mut Vec<u8>| request::create_parent(out, xid, self, Place::Owner(i));
        link.call_all(connections, PREPARE_DEPTH, owner).await.context("create a place for each connection")?;
        let owned = |i, xid, out: &mut Vec<u8>| {
            request::create(out, xid, self, Place::Owned(i % connections, i / connections), i);
        };
        link.call_all(connections * stock, PREPARE_DEPTH, owned).await.context("create what will be deleted")
    }

    /// Makes the root, and in it the znodes to get, set or watch.
    ///
    /// # Errors
    /// When the root exists, or a create fails.
    pub(super) async fn prepare_znodes(&self, link: &mut Link) -> anyhow::Result<()> {
        self.make_root(link).await?;
        self.make_parents(link, &[Place::Parent]).await?;
        let znode = |i, xid, out: &mut Vec<u8>| request::create(out, xid, self, Place::Znode(i), i);
        // A pipeline of long requests would only lie in buffers.
        let depth = (PREPARE_BYTES / (self.size() + 1)).clamp(1, PREPARE_DEPTH);
        link.call_all(self.count, depth, znode).await.context("create the znodes")
    }

    async fn make_parents(&self, link: &mut Link, parents: &[Place]) -> anyhow::Result<()> {
        let parent = |i: u64, xid: i32, out: &mut Vec<u8>| request::create_parent(out, xid, self, parents[i as usize]);
        link.call_all(parents.len() as u64, 1, parent).await.context("create the parents")
    }

    /// Removes what [`Self::prepare`] made.
    ///
    /// # Errors
    /// When a list or a delete fails.
    pub(super) async fn clean_up(&self, link: &mut Link) -> anyhow::Result<()> {
        if !self.filled {
            remove(link, &self.root).await?;
            return Ok(());
        }
        for below in ["dir", "own"] {
            remove(link, &format!("{}/{below}", self.root)).await?;
        }
        Ok(())
    }

    /// Makes the root, which must be new: what is below it is removed in the end.
    ///
    /// # Errors
    /// When it exists.
    pub(super) async fn make_root(&self, link: &mut Link) -> anyhow::Result<()> {
        let made = link.call(|xid, out| request::create_parent(out, xid, self, Place::Root)).await;
        made.with_context(|| {
            format!("create {0}; if an earlier run left it, remove it with `zkd bench clean --root {0}`", self.root)
        })
    }
}

/// A prefix and ten digits.
pub(super) fn put_number(out: &mut Vec<u8>, prefix: &[u8], number: u64) {
    out.extend_from_slice(prefix);
    let mut digits = [b'0'; 10];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Deletes a znode and all below it; how many there were.
///
/// # Errors
/// When a list or a delete fails.
pub(super) async fn remove(link: &mut Link, root: &str) -> anyhow::Result<u64> {
    let mut found = vec![root.to_owned()];
    let mut listed = 0;
    for _ in 0..LEVELS_MAX {
        let below = children_of(link, &found[listed..]).await?;
        if below.is_empty() {
            // Parents stand before their children, so the deletes go from the end.
            let last = found.len() - 1;
            let delete = |i: u64, xid, out: &mut Vec<u8>| request::delete_path(out, xid, &found[last - i as usize]);
            link.call_all(found.len() as u64, PREPARE_DEPTH, delete).await.context("delete")?;
            return Ok(found.len() as u64);
        }
        listed = found.len();
        found.extend(below);
    }
    bail!("{root} is deeper than anything that a run makes")
}

/// The paths of all children of these znodes.
async fn children_of(link: &mut Link, parents: &[String]) -> anyhow::Result<Vec<String>> {
    let mut below = Vec::new();
    let list = |i: u64, xid, out: &mut Vec<u8>| {
        request::read_path(out, xid, OpCode::GET_CHILDREN, &parents[i as usize]);
    };
    let take = |i: u64, body: &[u8]| {
        let names = vector(ustring)(body).ok().context("cannot read a list of children")?.1.unwrap_or_default();
        below.extend(names.iter().map(|name| format!("{}/{}", parents[i as usize], name.as_deref().unwrap_or(""))));
        Ok(())
    };
    link.call_each(parents.len() as u64, PREPARE_DEPTH, list, take).await.context("list children")?;
    Ok(below)
}

/// Levels that a run makes, its root included, and two to spare.
const LEVELS_MAX: usize = 6;
