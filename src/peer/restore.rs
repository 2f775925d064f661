//! Filling the database from disk.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Restored;
use crate::auth::AuthRules;
use crate::ids::{SessionId, Zxid};
use crate::pipeline::{Database, LoadDatabase, StartLinker};
use crate::proto::AclBytes;
use crate::storage::Durable;
use crate::storage::recovery::Restore;
use crate::storage::snapshot::Trailer;
use crate::storage::snapshot_body::SnapshotSink;
use crate::tree::{StoredStat, TreeOptions};
use crate::txn::{Entry, TxnDigest};
use crate::zab::Logged;

/// What recovery fills, with an eye on the digests that it comes by.
#[derive(Debug)]
pub struct Loading {
    database: LoadDatabase,
    /// The digest that the snapshot says its tree has at this zxid; compared once replay has come there.
    promised: Option<(Zxid, u64)>,
    /// Whether the txns' digests can be compared yet: not inside a fuzzy snapshot's range. Where that ends, if the snapshot
    /// does not say so, the first digest shows that is the tree's.
    exact: bool,
    /// The snapshot's own digest did not fit. Apache may have been amid a txn when it wrote it: then the txn behind it
    /// puts the tree right.
    suspicion: bool,
    compared: u64,
    mismatches: u64,
    /// The last txns, for learners.
    history: VecDeque<Logged>,
    history_txns: usize,
}

impl Loading {
    /// Nothing loaded yet; of the txns, the last `history_txns` are kept.
    #[must_use]
    pub fn new(options: TreeOptions, history_txns: usize) -> Self {
        Self {
            database: LoadDatabase::new(options),
            promised: None,
            exact: true,
            suspicion: false,
            compared: 0,
            mismatches: 0,
            history: VecDeque::new(),
            history_txns,
        }
    }

    /// From now on the tree of a snapshot is put together elsewhere, while what follows is read here.
    pub fn link_elsewhere(&mut self, start: StartLinker) {
        self.database.link_elsewhere(start);
    }

    /// The database for a server that starts, and the last txns.
    #[must_use]
    pub fn finish(mut self, auth: Arc<AuthRules>) -> (Database, Vec<Logged>) {
        self.conclude();
        (self.database.finish(auth), self.history.into())
    }

    /// How many stored digests were compared with the tree's, and how many of them were not the same.
    #[must_use]
    pub fn digests(&self) -> (u64, u64) {
        (self.compared, self.mismatches + u64::from(self.suspicion))
    }

    /// What takes the place of another database.
    #[must_use]
    pub fn into_restored(mut self, durable: Durable) -> Restored {
        self.conclude();
        Restored { load: self.database, history: self.history.into(), durable }
    }

    fn conclude(&mut self) {
        self.database.is_fuzzy = !self.exact;
        if self.mismatches > 0 || self.suspicion {
            tracing::error!(
                txns = self.mismatches,
                snapshot = self.suspicion,
                "the tree's digest differs from what the files say"
            );
        }
    }

    /// A snapshot's digest at `zxid`.
    fn compare_snapshot(&mut self, zxid: Zxid, said: u64) {
        self.compared += u64::from(self.database.digest().is_some());
        self.suspicion = self.database.digest().is_some_and(|found| found != said);
        if self.suspicion {
            tracing::debug!(%zxid, said, found = self.database.digest(), "the snapshot's digest differs; the next txn tells");
        }
    }

    /// A txn's digest.
    fn compare(&mut self, zxid: Zxid, said: u64) {
        self.suspicion = false;
        self.compared += u64::from(self.database.digest().is_some());
        if self.database.digest().is_some_and(|found| found != said) {
            self.mismatches += 1;
            if self.mismatches == 1 {
                tracing::error!(%zxid, said, found = self.database.digest(), "digest differs");
            }
        }
    }
}

impl SnapshotSink for Loading {
    fn size(&mut self, bytes: u64) {
        self.database.size(bytes);
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.database.session(id, timeout_ms);
    }

    fn acl(&mut self, key: i64, acl: AclBytes<'_>) {
        self.database.acl(key, acl);
    }

    fn node(&mut self, path: &str, data: Option<&[u8]>, acl_key: i64, stat: &StoredStat) -> Result<(), String> {
        self.database.node(path, data, acl_key, stat)
    }

    fn end(&mut self) -> Result<(), String> {
        self.database.end()
    }
}

impl Restore for Loading {
    fn reset(&mut self) {
        self.database.reset();
        (self.promised, self.exact, self.suspicion) = (None, true, false);
        (self.compared, self.mismatches) = (0, 0);
        self.history.clear();
    }

    fn snapshot_loaded(&mut self, zxid: Zxid, trailer: &Trailer) {
        self.database.snapshot_loaded(zxid);
        let digest = trailer.digest.filter(|digest| digest.version == TxnDigest::VERSION);
        match digest.map(|digest| (digest.zxid, digest.tree)) {
            // Apache writes its first snapshot before the tree is all there: that digest says nothing.
            // Later ones without a digest are of a tree that a leader has sent, which may be fuzzy.
            Some((Zxid::ZERO, _)) => self.exact = zxid == Zxid::ZERO,
            Some((at, tree)) if at == zxid => self.compare_snapshot(zxid, tree),
            // A fuzzy one: its tree has the digest only once the txns up to there are replayed.
            Some((at, tree)) if at > zxid => (self.promised, self.exact) = (Some((at, tree)), false),
            Some(_) | None => self.exact = digest.is_some(),
        }
    }

    fn apply(&mut self, entry: &Entry<'_>, body: &[u8]) -> Result<(), String> {
        self.database.apply(entry);
        let zxid = entry.header.zxid;
        if self.history_txns > 0 {
            if self.history.len() == self.history_txns {
                self.history.pop_front();
            }
            self.history.push_back((zxid, Bytes::copy_from_slice(body)));
        }
        if let Some((at, tree)) = self.promised
            && zxid >= at
        {
            self.promised = None;
            self.exact = true;
            if zxid == at {
                self.compare_snapshot(zxid, tree);
                return Ok(());
            }
        }
        if let Some(said) = entry.digest.filter(|said| said.version == TxnDigest::VERSION) {
            if self.exact {
                self.compare(zxid, said.tree);
            } else if self.promised.is_none() {
                self.exact = self.database.digest() == Some(said.tree);
                self.compared += u64::from(self.exact);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::proto::OpCode;
    use crate::storage::snapshot::SnapshotDigest;
    use crate::txn::{Txn, TxnHeader};

    fn entry(zxid: i64, digest: u64) -> Entry<'static> {
        let header =
            TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(zxid), time_ms: 0, op: OpCode::CREATE_SESSION };
        Entry { header, txn: Txn::CreateSession(1000), digest: Some(TxnDigest::new(digest)) }
    }

    #[test]
    fn a_tree_that_may_be_fuzzy_is_compared_from_the_first_digest_on_that_is_its_own() {
        for (name, digest, exact) in [
            (Zxid::ZERO, Some(SnapshotDigest::UNKNOWN), true),
            (Zxid(5), Some(SnapshotDigest::UNKNOWN), false),
            (Zxid(5), None, false),
        ] {
            let mut loading = Loading::new(TreeOptions::default(), 0);
            loading.snapshot_loaded(name, &Trailer { digest, last_zxid: Some(name) });
            let own = loading.database.digest().expect("digests are on");
            loading.apply(&entry(6, own + 1), &[]).expect("a txn");
            assert_eq!(loading.digests(), if exact { (1, 1) } else { (0, 0) }, "{name:?} {digest:?}");
            loading.conclude();
            assert_eq!(loading.database.is_fuzzy, !exact);
            loading.apply(&entry(7, own), &[]).expect("a txn");
            loading.apply(&entry(8, own + 1), &[]).expect("a txn");
            assert_eq!(loading.digests(), if exact { (3, 2) } else { (2, 1) }, "{name:?} {digest:?}");
            loading.conclude();
            assert!(!loading.database.is_fuzzy);
        }
    }
}
