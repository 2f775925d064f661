//! Snapshots of one exact zxid, while writes go on.
//!
//! A walk goes through the slab from end to end, a few znodes at a time. A znode that is about to change and was not
//! passed yet leaves its old image first; one that comes to be in a place not passed yet leaves a note that nothing was
//! there. So what the walk yields is the tree as it was when it began, at the cost of the znodes that change meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ids::SessionId;
use crate::jute::JuteWrite;

use super::Tree;
use super::nodes::{ROOT, ZnodeId};

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    number: u64,
    /// The first place not passed yet. Moved by the walker, who holds the tree shared; read by the writer.
    next: AtomicU32,
    /// One past the last place there was at the beginning.
    end: ZnodeId,
    /// What was in the places that changed since: a record, or nothing.
    images: HashMap<ZnodeId, Option<Vec<u8>>>,
}

/// How far a walk has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walked {
    /// There is more.
    More,
    /// That was all: the terminator was appended.
    Done,
    /// The tree that was walked is there no more: what was written is of no use.
    Lost,
}

impl Tree {
    /// Begins walk `number` and appends what comes before the znodes: the sessions and the ACL table (storage.md 3.2).
    ///
    /// Returns false, and does nothing, while another walk is under way.
    pub fn begin_walk(
        &mut self,
        number: u64,
        sessions: impl ExactSizeIterator<Item = (SessionId, i32)>,
        out: &mut Vec<u8>,
    ) -> bool {
        if self.walk.is_some() {
            return false;
        }
        out.length(sessions.len());
        for (session, timeout_ms) in sessions {
            out.long(session.0);
            out.int(timeout_ms);
        }
        out.length(self.acls.stored().count());
        for (key, acl) in self.acls.stored() {
            out.long(key);
            out.extend_from_slice(acl.as_bytes());
        }
        self.walk = Some(Walk { number, next: AtomicU32::new(ROOT), end: self.nodes.end(), images: HashMap::new() });
        true
    }

    /// Appends the next znodes of walk `number`, until `bytes_max` is passed.
    pub fn walk(&self, number: u64, bytes_max: usize, out: &mut Vec<u8>) -> Walked {
        let Some(walk) = self.walk.as_ref().filter(|walk| walk.number == number) else { return Walked::Lost };
        let start = out.len();
        let mut next = walk.next.load(Ordering::Relaxed);
        while next < walk.end && out.len() - start < bytes_max {
            match walk.images.get(&next) {
                Some(Some(image)) => out.extend_from_slice(image),
                Some(None) => {}
                None if self.nodes.is_alive(next) => self.put_record(next, out),
                None => {}
            }
            next += 1;
        }
        walk.next.store(next, Ordering::Relaxed);
        if next < walk.end {
            return Walked::More;
        }
        out.ustring("/");
        Walked::Done
    }

    /// Ends walk `number`, finished or not, and forgets the images.
    pub fn end_walk(&mut self, number: u64) {
        self.walk.take_if(|walk| walk.number == number);
    }

    /// Keeps the image of a znode that is about to change.
    pub(super) fn preserve(&mut self, id: ZnodeId) {
        if self.walk_wants(id) {
            let mut image = Vec::new();
            self.put_record(id, &mut image);
            self.keep(id, Some(image));
        }
    }

    /// Notes that nothing was in the place where a znode has just come to be.
    pub(super) fn preserve_absence(&mut self, id: ZnodeId) {
        if self.walk_wants(id) {
            self.keep(id, None);
        }
    }

    fn keep(&mut self, id: ZnodeId, image: Option<Vec<u8>>) {
        if let Some(walk) = &mut self.walk {
            walk.images.insert(id, image);
        }
    }

    fn walk_wants(&self, id: ZnodeId) -> bool {
        self.walk.as_ref().is_some_and(|walk| {
            (walk.next.load(Ordering::Relaxed)..walk.end).contains(&id) && !walk.images.contains_key(&id)
        })
    }

    fn put_record(&self, id: ZnodeId, out: &mut Vec<u8>) {
        let znode = self.nodes.get(id);
        out.ustring(&self.nodes.path(id));
        out.buffer(znode.data());
        out.long(znode.acl.file_key());
        self.nodes.stat(id).encode(out);
    }
}
