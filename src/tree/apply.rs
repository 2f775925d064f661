//! Applying txns (storage.md 5; semantics.md 1.3). Errors of single txns are possible only while a log is replayed over
//! a fuzzy snapshot, and are swallowed as the replay needs it.

use super::nodes::ZnodeId;
use super::quota::{LIMITS, Quotas, STATS, Usage};
use super::{Owner, StoredStat, Tree};
use crate::ids::SessionId;
use crate::path;
use crate::proto::{AclBytes, OpCode, Stat};
use crate::txn::{CreateKind, CreateTxn, SetAclTxn, SetDataTxn, Txn, TxnHeader};

/// What a txn did to the tree, for those who watch it.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A znode came to be, with this ACL; its parent has that one.
    Created {
        /// Its path.
        path: &'a str,
        /// Bytes of its data.
        length: usize,
        /// Its ACL.
        acl: AclBytes<'a>,
        /// Its parent's path.
        parent: &'a str,
        /// Its parent's ACL.
        parent_acl: AclBytes<'a>,
    },
    /// A znode is gone; these were the ACLs.
    Deleted {
        /// Its path.
        path: &'a str,
        /// Its ACL.
        acl: AclBytes<'a>,
        /// Its parent's path.
        parent: &'a str,
        /// Its parent's ACL.
        parent_acl: AclBytes<'a>,
    },
    /// A znode has new data.
    DataChanged {
        /// Its path.
        path: &'a str,
        /// Bytes of them.
        length: usize,
        /// Its ACL.
        acl: AclBytes<'a>,
    },
}

/// Who is told of every change in the moment it happens, before anybody can read it.
pub trait Witness {
    /// One change.
    fn saw(&mut self, change: Change<'_>);
}

/// Nobody watches: the log is being replayed.
impl Witness for () {
    fn saw(&mut self, _: Change<'_>) {}
}

impl Tree {
    /// Applies one txn. Appends the Stat afterwards of the znode that it is about, one for each part of a multi: `None`
    /// where nothing is left to tell of, or nothing was found.
    pub fn apply(
        &mut self,
        header: &TxnHeader,
        txn: &Txn<'_>,
        witness: &mut impl Witness,
        stats: &mut Vec<Option<Stat>>,
    ) {
        match txn {
            Txn::Multi(txns) if txns.iter().any(|(op, _)| *op == OpCode::ERROR) => {}
            Txn::Multi(txns) => stats.extend(txns.iter().map(|(_, txn)| self.apply_one(header, txn, witness))),
            txn => stats.push(self.apply_one(header, txn, witness)),
        }
    }

    fn apply_one(&mut self, header: &TxnHeader, txn: &Txn<'_>, witness: &mut impl Witness) -> Option<Stat> {
        match txn {
            Txn::Create(create) => self.apply_create(header, create, witness),
            Txn::Delete(path) => {
                self.apply_delete(header, path, witness);
                None
            }
            Txn::SetData(set_data) => self.apply_set_data(header, set_data, witness),
            Txn::SetAcl(set_acl) => self.apply_set_acl(set_acl),
            Txn::CloseSession(paths) => {
                for path in paths.iter().flatten() {
                    self.apply_delete(header, path, witness);
                }
                for path in self.ephemerals_of(header.session) {
                    self.apply_delete(header, &path, witness);
                }
                None
            }
            // A multi in a multi is no txn; the decoder refuses it.
            Txn::Check(..) | Txn::Multi(_) | Txn::CreateSession(_) | Txn::Error(_) => None,
        }
    }

    fn apply_create(&mut self, header: &TxnHeader, create: &CreateTxn<'_>, witness: &mut impl Witness) -> Option<Stat> {
        let path = &*create.path;
        let (parent_path, name) = path::split(path)?;
        let parent = self.nodes.find(parent_path)?;
        if let Some(id) = self.nodes.child(parent, name) {
            // Only in the fuzzy range of a snapshot: the znode is newer than the txn. Its ACL may have been missing.
            self.set_acl(path, id, create.acl, None);
            self.raise_parent(header, parent_path, parent, create.parent_cversion);
            return Some(self.stat(id));
        }
        let owner = match create.kind {
            CreateKind::Persistent => Owner::Nobody,
            CreateKind::Ephemeral => Owner::Session(header.session),
            CreateKind::Container => Owner::Container,
            CreateKind::Ttl(ttl_ms) => Owner::Ttl(ttl_ms),
        };
        let stat = StoredStat { owner: owner.to_stored(), ..StoredStat::of_new(header.zxid.0, header.time_ms) };
        let acl = self.acls.add(create.acl);
        self.raise_parent(header, parent_path, parent, create.parent_cversion);
        let id = self.attach_below(parent, name, path, create.data, &stat, acl);
        self.preserve_absence(id);
        // What is answered: a quota's usage, if that is what was created, is written anew behind it.
        let stat = self.stat(id);
        let length = create.data.map_or(0, <[u8]>::len);
        self.account(path, 1, length as i64);
        if let Some(subject) = Quotas::subject(path, LIMITS) {
            self.register_quota(subject);
        } else if let Some(subject) = Quotas::subject(path, STATS) {
            self.refresh_quota(subject);
        }
        witness.saw(Change::Created {
            path,
            length,
            acl: self.acls.get(acl),
            parent: parent_path,
            parent_acl: self.acls.get(self.nodes.get(parent).acl),
        });
        Some(stat)
    }

    /// Moves the parent's counters on, never back: a fuzzy snapshot may have them already.
    fn raise_parent(&mut self, header: &TxnHeader, path: &str, id: ZnodeId, cversion: i32) {
        let stored = self.nodes.stat(id).cversion;
        let cversion = if cversion == -1 { stored.wrapping_add(1) } else { cversion };
        if cversion > stored {
            self.change(path, id, |nodes| {
                nodes.update(id, |parent| (parent.cversion, parent.pzxid) = (cversion, header.zxid.0));
            });
        }
    }

    fn apply_delete(&mut self, header: &TxnHeader, path: &str, witness: &mut impl Witness) {
        let Some((parent_path, name)) = path::split(path) else { return };
        let Some(parent) = self.nodes.find(parent_path) else { return };
        if self.nodes.stat(parent).pzxid < header.zxid.0 {
            self.change(parent_path, parent, |nodes| nodes.update(parent, |parent| parent.pzxid = header.zxid.0));
        }
        let Some(id) = self.nodes.child(parent, name) else { return };
        let acl = self.nodes.get(id).acl;
        self.acls.share(acl);
        let length = self.nodes.get(id).data_length() as i64;
        self.detach(path, id);
        if let Some(subject) = Quotas::subject(path, LIMITS) {
            self.quotas.unregister(subject);
        }
        self.account(path, -1, -length);
        witness.saw(Change::Deleted {
            path,
            acl: self.acls.get(acl),
            parent: parent_path,
            parent_acl: self.acls.get(self.nodes.get(parent).acl),
        });
        self.acls.release(acl);
    }

    fn apply_set_data(
        &mut self,
        header: &TxnHeader,
        set_data: &SetDataTxn<'_>,
        witness: &mut impl Witness,
    ) -> Option<Stat> {
        let path = &*set_data.path;
        let id = self.nodes.find(path)?;
        let before = self.nodes.get(id).data_length();
        self.change(path, id, |nodes| {
            nodes.set_data(id, set_data.data);
            nodes.update(id, |stat| {
                (stat.version, stat.mzxid, stat.mtime) = (set_data.version, header.zxid.0, header.time_ms);
            });
        });
        let after = self.nodes.get(id).data_length();
        self.bytes = self.bytes + after as u64 - before as u64;
        self.account(path, 0, after as i64 - before as i64);
        witness.saw(Change::DataChanged { path, length: after, acl: self.acls.get(self.nodes.get(id).acl) });
        Some(self.stat(id))
    }

    fn apply_set_acl(&mut self, set_acl: &SetAclTxn<'_>) -> Option<Stat> {
        let id = self.nodes.find(&set_acl.path)?;
        self.set_acl(&set_acl.path, id, set_acl.acl, Some(set_acl.version));
        Some(self.stat(id))
    }

    fn set_acl(&mut self, path: &str, id: ZnodeId, acl: AclBytes<'_>, version: Option<i32>) {
        let new = self.acls.add(acl);
        let old = self.nodes.get(id).acl;
        self.change(path, id, |nodes| {
            nodes.set_acl(id, new);
            if let Some(version) = version {
                nodes.update(id, |stat| stat.aversion = version);
            }
        });
        self.acls.release(old);
    }

    /// The ephemerals of a session, in the order of their places: the same on every run of the same history.
    #[must_use]
    pub fn ephemerals_of(&self, session: SessionId) -> Vec<String> {
        self.ephemerals.get(&session).into_iter().flatten().map(|&id| self.nodes.path(id)).collect()
    }

    /// Counts a change for the nearest quota above it and rewrites that quota's stats znode.
    fn account(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(subject) = self.quotas.subject_of(path) else { return };
        if let Some(usage) = self.quotas.add(subject, count, bytes) {
            self.write_usage(subject, usage);
        }
    }

    fn register_quota(&mut self, subject: &str) {
        let usage = self.measure(subject);
        self.quotas.register(subject, usage);
        self.write_usage(subject, usage);
    }

    fn refresh_quota(&mut self, subject: &str) {
        let usage = self.measure(subject);
        if self.quotas.usage(subject).is_some() {
            self.quotas.register(subject, usage);
        }
        self.write_usage(subject, usage);
    }

    /// Finds every quota in a tree that was loaded from a snapshot.
    pub(super) fn register_all_quotas(&mut self) {
        let Some(root) = self.nodes.find(path::QUOTA_ROOT) else { return };
        let paths: Vec<_> = self
            .nodes
            .subtree(root)
            .filter(|&id| self.nodes.get(id).name() == LIMITS)
            .map(|id| self.nodes.path(id))
            .collect();
        for path in paths {
            if let Some(subject) = Quotas::subject(&path, LIMITS) {
                self.register_quota(subject);
            }
        }
    }

    fn measure(&self, subject: &str) -> Usage {
        let Some(id) = self.nodes.find(subject) else { return Usage::default() };
        self.nodes.subtree(id).fold(Usage::default(), |usage, id| Usage {
            count: usage.count + 1,
            bytes: usage.bytes + self.nodes.get(id).data_length() as i64,
        })
    }

    /// No field of the stats znode's Stat moves with its data.
    fn write_usage(&mut self, subject: &str, usage: Usage) {
        let Some(id) = self.nodes.find(&Quotas::znode(subject, STATS)) else { return };
        self.preserve(id);
        let before = self.nodes.get(id).data_length() as u64;
        self.nodes.set_data(id, Some(usage.to_text().as_bytes()));
        self.bytes = self.bytes + self.nodes.get(id).data_length() as u64 - before;
    }
}
