//! The database that a leader sends behind SNAP: a copy of its bytes, and what zkd makes of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use zkd::auth::AuthRules;
use zkd::ids::SessionId;
use zkd::pipeline::LoadDatabase;
use zkd::proto::AclBytes;
use zkd::storage::snapshot_body::{
    BodyReader, Progress, SnapshotSink, put_acl, put_count, put_node, put_session, put_terminator,
};
use zkd::tree::{StoredStat, Walked};

/// What a body holds.
#[derive(Default)]
pub(crate) struct Body {
    sessions: Vec<(SessionId, i32)>,
    acls: Vec<(i64, Vec<u8>)>,
    nodes: Vec<(String, Node)>,
}

#[derive(Clone, PartialEq, Debug)]
struct Node {
    data: Option<Vec<u8>>,
    acl_key: i64,
    stat: StoredStat,
}

impl SnapshotSink for Body {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.sessions.push((id, timeout_ms));
    }

    fn acl(&mut self, key: i64, acl: AclBytes<'_>) {
        self.acls.push((key, acl.as_bytes().to_vec()));
    }

    fn node(&mut self, path: &str, data: Option<&[u8]>, acl_key: i64, stat: &StoredStat) -> Result<(), String> {
        self.nodes.push((path.to_owned(), Node { data: data.map(<[u8]>::to_vec), acl_key, stat: *stat }));
        Ok(())
    }
}

impl Body {
    /// Reads a body off the front of `input`; also how long it is.
    pub(crate) fn read(input: &[u8]) -> (Self, usize) {
        let mut body = Self::default();
        let (length, progress) = BodyReader::new().read(input, &mut body).expect("a body");
        assert_eq!(progress, Progress::Done);
        (body, length)
    }

    /// The body of what was loaded, as zkd sends it.
    pub(crate) fn of(load: LoadDatabase) -> Self {
        let mut database = load.finish(Arc::new(AuthRules::default()));
        let mut bytes = Vec::new();
        let walk = database.begin_snapshot(&mut bytes).expect("nobody else walks");
        while database.continue_snapshot(walk, 100, &mut bytes) != Walked::Done {}
        Self::read(&bytes).0
    }

    /// In the order in which it came.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_count(&mut out, self.sessions.len());
        self.sessions.iter().for_each(|(id, timeout_ms)| put_session(&mut out, *id, *timeout_ms));
        put_count(&mut out, self.acls.len());
        self.acls.iter().for_each(|(key, acl)| put_acl(&mut out, *key, AclBytes::decode(acl).expect("an ACL").1));
        for (path, node) in &self.nodes {
            put_node(&mut out, path, node.data.as_deref(), node.acl_key, &node.stat);
        }
        put_terminator(&mut out);
        out
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The digest, from scratch (storage.md 4).
    pub(crate) fn digest(&self) -> u64 {
        let covered = self.nodes.iter().filter(|(path, _)| !path.starts_with("/zookeeper/"));
        covered.map(|(path, node)| u64::from(node.digest(path))).fold(0, u64::wrapping_add)
    }

    /// Everything that has a meaning: the keys of ACLs have none, nor has the order. Hash tables gave it, and zkd's own
    /// is another.
    pub(crate) fn meaning(&self) -> (BTreeMap<i64, i32>, BTreeMap<String, impl PartialEq + std::fmt::Debug + use<>>) {
        let acls: HashMap<_, _> = self.acls.iter().map(|(key, acl)| (*key, acl.clone())).collect();
        let sessions = self.sessions.iter().map(|(id, timeout_ms)| (id.0, *timeout_ms)).collect();
        let node = |(path, node): &(String, Node)| {
            let acl = acls.get(&node.acl_key).cloned();
            (path.clone(), (node.data.clone(), acl, node.stat))
        };
        (sessions, self.nodes.iter().map(node).collect())
    }
}

impl Node {
    fn digest(&self, path: &str) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        let stat = &self.stat;
        sum.update(path.as_bytes());
        sum.update(self.data.as_deref().unwrap_or_default());
        for long in [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime] {
            sum.update(&long.to_be_bytes());
        }
        for int in [stat.version, stat.cversion, stat.aversion] {
            sum.update(&int.to_be_bytes());
        }
        sum.update(&stat.owner.to_be_bytes());
        sum.finalize()
    }
}
