//! The database of one server: the tree, who watches it, the sessions it knows, and how far it has come.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, RwLock};

use super::audit::ephemeral_deleted;
use super::lane::{Lane, LaneState};
use crate::auth::AuthRules;
use crate::ids::{SessionId, Zxid};
use crate::metrics::{LastNamespace, Namespaces};
use crate::proto::{AclBytes, EventType, Perms, Stat, put_event};
use crate::storage::snapshot::SnapshotDigest;
use crate::storage::snapshot_body::SnapshotSink;
use crate::tree::{
    Change, Linker, LooseZnode, Loosener, SnapshotNodeError, StoredStat, Tree, TreeLoader, TreeOptions, Walked,
    Witness, world_perms,
};
use crate::txn::{Entry, Txn, TxnDigest};
use crate::watch::{WatchKind, WatcherId, Watches};

/// The database, shared: connections read, one owner applies.
///
/// Locks nest in one order: the database, then its watches, then lanes. Lanes and watches are locked together only by
/// those who hold the database, so that the owner, who holds it alone, never meets them.
pub type SharedDatabase = Arc<RwLock<Database>>;

/// All that one server knows, and the watches on it.
#[derive(Debug)]
pub struct Database {
    tree: Tree,
    last_zxid: Zxid,
    /// Sessions and their timeouts, ms: what the log and snapshots say.
    sessions: BTreeMap<SessionId, i32>,
    watching: Mutex<Watching>,
    auth: Arc<AuthRules>,
    digests: DigestLog,
    /// Who runs this server, if there is an audit log.
    audit: Option<Box<str>>,
    namespaces: Arc<Namespaces>,
    /// Where the last write was.
    written: LastNamespace,
    /// The tree came from a leader that went on changing it: digests are compared from the first one that fits.
    is_fuzzy: bool,
    /// The number of the last walk.
    walk: u64,
    /// Of the parts of the last txn.
    stats: Vec<Option<Stat>>,
}

/// A digest that a server remembers: what `hash` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigestSample {
    /// After this txn.
    pub zxid: Zxid,
    /// The tree's digest.
    pub digest: u64,
}

/// Digests of the past, one per 128 txns, and how often one was not what the leader said (ST-16).
#[derive(Debug, Default)]
pub struct DigestLog {
    samples: VecDeque<DigestSample>,
    /// Txns after which the tree's digest was not the txn's.
    pub mismatches: u64,
}

const DIGEST_SAMPLE_ZXIDS: u32 = 128;
const DIGEST_SAMPLES_MAX: usize = 1024;

impl DigestLog {
    /// The samples, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = DigestSample> + '_ {
        self.samples.iter().copied()
    }

    fn note(&mut self, zxid: Zxid, digest: u64) {
        if !zxid.counter().is_multiple_of(DIGEST_SAMPLE_ZXIDS) {
            return;
        }
        if self.samples.len() == DIGEST_SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(DigestSample { zxid, digest });
    }
}

/// The watches, and the lanes that their watchers stand for.
#[derive(Debug)]
pub(super) struct Watching {
    table: Watches,
    lanes: Vec<Option<Arc<Lane>>>,
    free: Vec<WatcherId>,
}

impl Database {
    /// A database around a tree that has applied everything up to `last_zxid`.
    #[must_use]
    pub fn new(tree: Tree, sessions: BTreeMap<SessionId, i32>, last_zxid: Zxid, auth: Arc<AuthRules>) -> Self {
        let table = Watches::new(tree.options().hash_seed);
        let watching = Mutex::new(Watching { table, lanes: Vec::new(), free: Vec::new() });
        Self {
            tree,
            last_zxid,
            sessions,
            watching,
            auth,
            digests: DigestLog::default(),
            audit: None,
            namespaces: Arc::default(),
            written: None,
            is_fuzzy: false,
            walk: 0,
            stats: Vec::new(),
        }
    }

    /// Takes over another tree and its sessions: the ones that a leader has sent, or what is left after forgetting.
    /// Nobody watches at that time. A snapshot under way is lost.
    pub fn install(&mut self, load: LoadDatabase) {
        self.is_fuzzy = load.is_fuzzy;
        self.last_zxid = load.last_zxid;
        (self.tree, self.sessions) = load.into_parts();
    }

    /// Whether the tree may hold effects of txns behind the last one.
    #[must_use]
    pub const fn is_fuzzy(&self) -> bool {
        self.is_fuzzy
    }

    /// What a snapshot of the tree as it is says of its digest; `None` when digests are off.
    #[must_use]
    pub fn snapshot_digest(&self) -> Option<SnapshotDigest> {
        if !self.tree.options().digest {
            return None;
        }
        // Of a tree that is still between two txns the digest tells nothing; but Apache reads no file without one.
        Some(if self.is_fuzzy {
            SnapshotDigest::UNKNOWN
        } else {
            SnapshotDigest { zxid: self.last_zxid, version: TxnDigest::VERSION, tree: self.tree.digest() }
        })
    }

    /// Clients find the ensemble's configuration in `/zookeeper/config`.
    pub fn publish_config(&mut self, text: &str, version: i64, wall_ms: i64) {
        self.tree.publish_config(text, version, wall_ms);
    }

    /// The leader's epoch begins: its zxid comes before that of the first txn.
    pub fn begin_epoch(&mut self, zxid: Zxid) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    /// The tree.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The last txn applied.
    #[must_use]
    pub const fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// The sessions that the log knows, with their timeouts, ms.
    #[must_use]
    pub const fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// Who may do what.
    #[must_use]
    pub const fn auth(&self) -> &Arc<AuthRules> {
        &self.auth
    }

    /// From now on reads and writes count there.
    pub fn count_in(&mut self, namespaces: &Arc<Namespaces>) {
        self.namespaces = Arc::clone(namespaces);
    }

    /// Where reads and writes count.
    #[must_use]
    pub const fn namespaces(&self) -> &Arc<Namespaces> {
        &self.namespaces
    }

    /// From now on the audit log tells of changes; what the server does by itself is done in the name of `user`.
    pub fn audit_as(&mut self, user: &str) {
        self.audit = Some(user.into());
    }

    /// Whether it does.
    #[must_use]
    pub const fn audits(&self) -> bool {
        self.audit.is_some()
    }

    /// Tells of the ephemerals that go with a session.
    fn audit_session_end(&self, entry: &Entry<'_>) {
        let (Some(user), Txn::CloseSession(_)) = (&self.audit, &entry.txn) else { return };
        let session = entry.header.session;
        self.tree.ephemerals_of(session).iter().for_each(|path| ephemeral_deleted(user, session, path));
    }

    /// Digests of the past.
    #[must_use]
    pub const fn digests(&self) -> &DigestLog {
        &self.digests
    }

    /// Looks at the watches.
    pub fn with_watches<T>(&self, look: impl FnOnce(&Watches) -> T) -> T {
        look(&self.watching.lock().table)
    }

    /// Changes the watches.
    pub(super) fn with_watches_mut<T>(&self, change: impl FnOnce(&mut Watches) -> T) -> T {
        change(&mut self.watching.lock().table)
    }

    /// The lane behind a watcher, while it lives.
    #[must_use]
    pub fn watcher(&self, id: WatcherId) -> Option<Arc<Lane>> {
        self.watching.lock().lanes.get(id.0 as usize).cloned().flatten()
    }

    /// The watches, and the number under which a lane watches.
    pub(super) fn watch<T>(
        &self,
        lane: &Arc<Lane>,
        state: &mut LaneState,
        act: impl FnOnce(&mut Watches, WatcherId) -> T,
    ) -> T {
        let mut watching = self.watching.lock();
        let id = match state.watcher {
            Some(id) => id,
            None => *state.watcher.insert(watching.admit(lane)),
        };
        act(&mut watching.table, id)
    }

    /// Takes the watches of a lane away that is gone.
    pub(super) fn forget_watcher(&self, id: WatcherId) {
        let mut watching = self.watching.lock();
        watching.table.remove_watcher(id);
        watching.lanes[id.0 as usize] = None;
        watching.free.push(id);
    }

    /// Applies one txn and fires the watches on what it changes. Those who must be woken to send events are added to
    /// `wake`.
    pub fn apply(&mut self, entry: &Entry<'_>, wake: &mut Vec<Waker>) {
        self.audit_session_end(entry);
        let Self { tree, watching, auth, stats, namespaces, written, .. } = self;
        stats.clear();
        let (watching, zxid) = (watching.get_mut(), entry.header.zxid);
        let mut firing = Firing { watching, auth, zxid, told: Vec::new(), wake, namespaces, written };
        tree.apply(&entry.header, &entry.txn, &mut firing, stats);
        self.follow(entry);
    }

    /// The Stat of each part of the last txn that was applied, as it was then.
    pub(super) fn stats(&self) -> &[Option<Stat>] {
        &self.stats
    }

    /// What a txn changes beside the tree.
    fn follow(&mut self, entry: &Entry<'_>) {
        let session = entry.header.session;
        match entry.txn {
            Txn::CreateSession(timeout_ms) => {
                self.sessions.insert(session, timeout_ms);
            }
            Txn::CloseSession(_) => {
                self.sessions.remove(&session);
            }
            _ => {}
        }
        self.last_zxid = self.last_zxid.max(entry.header.zxid);
        if self.tree.options().digest {
            self.compare_digest(entry);
        }
    }

    fn compare_digest(&mut self, entry: &Entry<'_>) {
        let (zxid, digest) = (entry.header.zxid, self.tree.digest());
        self.digests.note(zxid, digest);
        let Some(said) = entry.digest.filter(|said| said.version == TxnDigest::VERSION) else { return };
        self.is_fuzzy &= said.tree != digest;
        if said.tree != digest && !self.is_fuzzy {
            self.digests.mismatches += 1;
            if self.digests.mismatches == 1 {
                tracing::error!(%zxid, said = said.tree, found = digest, "tree digest differs from the txn's");
            }
        }
    }

    /// Begins a snapshot of the database as it is, and gives it a number. `None` while another one is under way.
    pub fn begin_snapshot(&mut self, out: &mut Vec<u8>) -> Option<u64> {
        let number = self.walk + 1;
        let sessions = self.sessions.iter().map(|(&id, &timeout_ms)| (id, timeout_ms));
        self.tree.begin_walk(number, sessions, out).then(|| {
            self.walk = number;
            number
        })
    }

    /// Goes on with it; see [`Tree::walk`].
    pub fn continue_snapshot(&self, number: u64, bytes_max: usize, out: &mut Vec<u8>) -> Walked {
        self.tree.walk(number, bytes_max, out)
    }

    /// Ends it.
    pub fn end_snapshot(&mut self, number: u64) {
        self.tree.end_walk(number);
    }
}

impl Watching {
    fn admit(&mut self, lane: &Arc<Lane>) -> WatcherId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.lanes.push(None);
            WatcherId((self.lanes.len() - 1) as u32)
        });
        self.lanes[id.0 as usize] = Some(Arc::clone(lane));
        id
    }
}

/// Counts what one txn writes, and fires its watches, as it is applied.
struct Firing<'a> {
    watching: &'a mut Watching,
    auth: &'a AuthRules,
    zxid: Zxid,
    told: Vec<WatcherId>,
    wake: &'a mut Vec<Waker>,
    namespaces: &'a Namespaces,
    written: &'a mut LastNamespace,
}

impl Firing<'_> {
    /// Appends the event to every watcher that may read. A watch that is kept from telling is spent all the same.
    fn tell(&mut self, from: usize, event: EventType, path: &str, acl: AclBytes<'_>) {
        if self.told.len() == from {
            return;
        }
        let mut frame = Vec::new();
        put_event(&mut frame, self.zxid, event, path);
        let world = world_perms(acl);
        let (mut statistics, mut told) = (None, 0);
        for id in &self.told[from..] {
            let Some(Some(lane)) = self.watching.lanes.get(id.0 as usize) else { continue };
            statistics = Some(lane.statistics());
            let mut state = lane.lock();
            if self.auth.allows(acl, world, Perms::READ, state.identities()) {
                state.push_event(&frame);
                told += 1;
                self.wake.extend(state.take_waker());
            }
        }
        if let Some(statistics) = statistics {
            statistics.fired(event, self.told.len() - from, (told, frame.len()));
        }
    }

    fn fire(&mut self, kind: WatchKind, event: EventType, path: &str, acl: AclBytes<'_>) {
        self.told.clear();
        self.watching.table.trigger(kind, path, &mut self.told);
        self.tell(0, event, path, acl);
    }
}

impl Witness for Firing<'_> {
    fn saw(&mut self, change: Change<'_>) {
        let (path, length) = match change {
            Change::Created { path, length, .. } | Change::DataChanged { path, length, .. } => (path, length),
            Change::Deleted { path, .. } => (path, 0),
        };
        self.namespaces.count_write(path, length, self.written);
        if self.watching.table.is_empty() {
            return;
        }
        match change {
            Change::Created { path, acl, parent, parent_acl, .. } => {
                self.fire(WatchKind::Data, EventType::Created, path, acl);
                self.fire(WatchKind::Child, EventType::ChildrenChanged, parent, parent_acl);
            }
            Change::Deleted { path, acl, parent, parent_acl } => {
                self.fire(WatchKind::Data, EventType::Deleted, path, acl);
                // One event for a connection that watches the znode in both tables (WA-05).
                let told = self.told.len();
                self.watching.table.trigger(WatchKind::Child, path, &mut self.told);
                if self.told.len() > told {
                    let after = self.told.split_off(told);
                    let before: HashSet<_> = self.told.iter().copied().collect();
                    self.told.extend(after.into_iter().filter(|id| !before.contains(id)));
                    self.tell(told, EventType::Deleted, path, acl);
                }
                self.fire(WatchKind::Child, EventType::ChildrenChanged, parent, parent_acl);
            }
            Change::DataChanged { path, acl, .. } => self.fire(WatchKind::Data, EventType::DataChanged, path, acl),
        }
    }
}

impl SnapshotSink for LoadDatabase {
    fn size(&mut self, bytes: u64) {
        self.loader.size(bytes);
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.sessions.insert(id, timeout_ms);
    }

    fn acl(&mut self, key: i64, acl: AclBytes<'_>) {
        self.loader.acl(key, acl);
    }

    fn node(&mut self, path: &str, data: Option<&[u8]>, acl_key: i64, stat: &StoredStat) -> Result<(), String> {
        let put = self.put(path, data, acl_key, stat);
        if put.is_err() {
            // Nothing more can come of it.
            self.linking = None;
        }
        put.map_err(|error| error.to_string())
    }

    fn end(&mut self) -> Result<(), String> {
        self.gather().map_err(|error| error.to_string())
    }
}

/// Takes a loader elsewhere: to another thread.
pub type StartLinker = fn(TreeLoader) -> Box<dyn Linker>;

/// Znodes that go there together.
const LOOSE_ZNODES: usize = 2048;

/// The loader, while it is elsewhere.
#[derive(Debug)]
struct Linking {
    linker: Box<dyn Linker>,
    loosener: Loosener,
    loose: Vec<LooseZnode>,
}

/// A database in the making: from a snapshot, then from the log.
#[derive(Debug)]
pub struct LoadDatabase {
    options: TreeOptions,
    start_linker: Option<StartLinker>,
    linking: Option<Linking>,
    loader: TreeLoader,
    tree: Option<Tree>,
    sessions: BTreeMap<SessionId, i32>,
    last_zxid: Zxid,
    /// Whether the tree may hold effects of txns behind [`LoadDatabase::last_zxid`].
    pub is_fuzzy: bool,
}

impl LoadDatabase {
    /// Nothing loaded yet.
    #[must_use]
    pub fn new(options: TreeOptions) -> Self {
        Self {
            options,
            start_linker: None,
            linking: None,
            loader: TreeLoader::new(options),
            tree: None,
            sessions: BTreeMap::new(),
            last_zxid: Zxid::ZERO,
            is_fuzzy: false,
        }
    }

    /// Forgets all that was loaded: the snapshot turned out bad.
    pub fn reset(&mut self) {
        *self = Self { start_linker: self.start_linker, ..Self::new(self.options) };
    }

    /// From now on the tree of a snapshot is put together elsewhere, while what follows is read here.
    pub fn link_elsewhere(&mut self, start: StartLinker) {
        self.start_linker = Some(start);
    }

    fn put(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_key: i64,
        stat: &StoredStat,
    ) -> Result<(), SnapshotNodeError> {
        let Some(start) = self.start_linker else { return self.loader.node(path, data, acl_key, stat) };
        let Self { linking, loader, options, .. } = self;
        let linking = linking.get_or_insert_with(|| Linking {
            linker: start(std::mem::replace(loader, TreeLoader::new(*options))),
            loosener: Loosener::new(*options),
            loose: Vec::with_capacity(LOOSE_ZNODES),
        });
        linking.loose.push(linking.loosener.loosen(path, data, acl_key, stat)?);
        if linking.loose.len() < LOOSE_ZNODES {
            return Ok(());
        }
        linking.linker.link(std::mem::replace(&mut linking.loose, Vec::with_capacity(LOOSE_ZNODES)))
    }

    /// What is elsewhere comes back.
    fn gather(&mut self) -> Result<(), SnapshotNodeError> {
        if let Some(Linking { mut linker, loose, .. }) = self.linking.take() {
            linker.link(loose)?;
            self.loader = linker.finish()?;
        }
        Ok(())
    }

    /// The snapshot is complete: the txns behind `zxid` follow.
    pub fn snapshot_loaded(&mut self, zxid: Zxid) {
        let loader = std::mem::replace(&mut self.loader, TreeLoader::new(self.options));
        let (tree, unknown_acls) = loader.finish();
        if unknown_acls > 0 {
            tracing::warn!(
                znodes = unknown_acls,
                "the snapshot lacks the ACLs of some znodes; the log should have them"
            );
        }
        self.tree = Some(tree);
        self.last_zxid = zxid;
    }

    /// The digest of what is loaded.
    #[must_use]
    pub fn digest(&self) -> Option<u64> {
        self.tree.as_ref().filter(|_| self.options.digest).map(Tree::digest)
    }

    /// One txn of the log. Without a snapshot before it, it applies to a new tree.
    pub fn apply(&mut self, entry: &Entry<'_>) {
        let tree = self.tree.get_or_insert_with(|| Tree::new(self.options));
        tree.apply(&entry.header, &entry.txn, &mut (), &mut Vec::new());
        match entry.txn {
            Txn::CreateSession(timeout_ms) => {
                self.sessions.insert(entry.header.session, timeout_ms);
            }
            Txn::CloseSession(_) => {
                self.sessions.remove(&entry.header.session);
            }
            _ => {}
        }
        self.last_zxid = self.last_zxid.max(entry.header.zxid);
    }

    /// The last txn that is in it.
    #[must_use]
    pub const fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// It stands for everything up to `zxid`, whatever that was.
    pub fn rise_to(&mut self, zxid: Zxid) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    fn into_parts(self) -> (Tree, BTreeMap<SessionId, i32>) {
        (self.tree.unwrap_or_else(|| Tree::new(self.options)), self.sessions)
    }

    /// The database.
    #[must_use]
    pub fn finish(self, auth: Arc<AuthRules>) -> Database {
        let (last_zxid, is_fuzzy) = (self.last_zxid, self.is_fuzzy);
        let (tree, sessions) = self.into_parts();
        Database { is_fuzzy, ..Database::new(tree, sessions, last_zxid, auth) }
    }
}
