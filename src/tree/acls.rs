//! The ACL table: each distinct list once, counted, under a small number.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::proto::{AclBytes, OPEN_ACL, Perms};

/// A list's place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct AclId(u32);

impl AclId {
    /// `world:anyone` with all permissions, never stored: the built-in znodes have it.
    pub const OPEN: AclId = AclId(0);

    /// The key that stands for it in a snapshot (storage.md 3.2).
    #[must_use]
    pub const fn file_key(self) -> i64 {
        if self.0 == 0 { -1 } else { self.0 as i64 }
    }
}

#[derive(Debug)]
struct Stored {
    bytes: Box<[u8]>,
    references: u64,
    world: Perms,
}

/// All ACL lists in use.
#[derive(Debug)]
pub(crate) struct AclTable {
    /// Place 0 is [`AclId::OPEN`].
    lists: Vec<Stored>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
}

impl AclTable {
    pub(crate) fn new(hash_seed: u64) -> Self {
        let open = Stored { bytes: OPEN_ACL.as_bytes().into(), references: 1, world: Perms::ALL };
        let hasher = FixedState::with_seed(hash_seed);
        Self { lists: vec![open], free: Vec::new(), index: HashTable::new(), hasher }
    }

    /// The number of a list, which counts as used once more. A null list is the open one.
    pub(crate) fn add(&mut self, acl: AclBytes<'_>) -> AclId {
        let bytes = acl.as_bytes();
        if acl.is_null() {
            return AclId::OPEN;
        }
        let hash = hash(&self.hasher, bytes);
        if let Some(&id) = self.index.find(hash, |&id| *self.lists[id as usize].bytes == *bytes) {
            self.lists[id as usize].references += 1;
            return AclId(id);
        }
        let list = Stored { bytes: bytes.into(), references: 1, world: world_perms(acl) };
        let id = match self.free.pop() {
            Some(id) => {
                self.lists[id as usize] = list;
                id
            }
            None => {
                self.lists.push(list);
                (self.lists.len() - 1) as u32
            }
        };
        let Self { index, lists, hasher, .. } = self;
        index.insert_unique(hash, id, |&id| self::hash(hasher, &lists[id as usize].bytes));
        AclId(id)
    }

    /// Counts a list as used once more.
    pub(crate) fn share(&mut self, id: AclId) {
        self.lists[id.0 as usize].references += 1;
    }

    /// Counts a list as used once less.
    pub(crate) fn release(&mut self, id: AclId) {
        if id == AclId::OPEN {
            return;
        }
        let list = &mut self.lists[id.0 as usize];
        list.references -= 1;
        if list.references == 0 {
            let hash = hash(&self.hasher, &list.bytes);
            list.bytes = Box::default();
            if let Ok(entry) = self.index.find_entry(hash, |&other| other == id.0) {
                entry.remove();
            }
            self.free.push(id.0);
        }
    }

    pub(crate) fn get(&self, id: AclId) -> AclBytes<'_> {
        AclBytes::from_checked(&self.lists[id.0 as usize].bytes)
    }

    /// What the list gives to everybody: the quick answer for most checks.
    pub(crate) fn world(&self, id: AclId) -> Perms {
        self.lists[id.0 as usize].world
    }

    /// All lists with their keys, as a snapshot holds them.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (i64, AclBytes<'_>)> {
        (1..self.lists.len() as u32)
            .filter(|&id| self.lists[id as usize].references > 0)
            .map(|id| (i64::from(id), self.get(AclId(id))))
    }
}

/// What a list gives to everybody.
pub(crate) fn world_perms(acl: AclBytes<'_>) -> Perms {
    acl.entries()
        .iter()
        .filter(|entry| entry.scheme.as_deref() == Some("world") && entry.id.as_deref() == Some("anyone"))
        .fold(Perms(0), |perms, entry| perms | entry.perms)
}

fn hash(state: &FixedState, bytes: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
