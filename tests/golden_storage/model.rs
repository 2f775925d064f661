//! A naive tree that applies txns by the table of storage.md 5 and computes digests by 4 from scratch or by parts.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zkd::ids::{SessionId, Zxid};
use zkd::proto::{AclBytes, OpCode};
use zkd::storage::recovery::Restore;
use zkd::storage::snapshot::Trailer;
use zkd::storage::snapshot_body::SnapshotSink;
use zkd::tree::StoredStat;
use zkd::txn::{CreateKind, CreateTxn, Entry, Txn, TxnDigest, TxnHeader};

const CONTAINER_OWNER: i64 = i64::MIN;
const TTL_OWNER: i64 = 0xff << 56;

#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Node {
    pub(crate) data: Option<Vec<u8>>,
    /// `None`: the implicit open ACL.
    pub(crate) acl: Option<Vec<u8>>,
    pub(crate) stat: StoredStat,
    pub(crate) children: BTreeSet<String>,
}

/// The root's path is empty.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) sessions: BTreeMap<i64, i32>,
    acls: BTreeMap<i64, Vec<u8>>,
    pub(crate) digest: u64,
    /// Digests are compared from this txn on.
    fuzzy_until: Zxid,
    pub(crate) digests_checked: usize,
    pub(crate) digests_wrong: Vec<Zxid>,
}

impl SnapshotSink for Model {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.sessions.insert(id.0, timeout_ms);
    }

    fn acl(&mut self, key: i64, acl: AclBytes<'_>) {
        self.acls.insert(key, acl.as_bytes().to_vec());
    }

    fn node(&mut self, path: &str, data: Option<&[u8]>, acl_key: i64, stat: &StoredStat) -> Result<(), String> {
        if let Some((parent, name)) = path.rsplit_once('/') {
            let parent = self.nodes.get_mut(parent).ok_or_else(|| format!("no parent of {path}"))?;
            parent.children.insert(name.to_owned());
        }
        let acl = self.acls.get(&acl_key).cloned();
        let children = self.nodes.remove(path).unwrap_or_default().children;
        self.nodes.insert(path.to_owned(), Node { data: data.map(<[u8]>::to_vec), acl, stat: *stat, children });
        Ok(())
    }
}

impl Restore for Model {
    fn reset(&mut self) {
        *self = Self::default();
        for path in ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
            self.node(path, Some(b""), -1, &StoredStat::default()).expect("parents come first");
        }
        self.sum_up();
    }

    fn snapshot_loaded(&mut self, zxid: Zxid, trailer: &Trailer) {
        self.sum_up();
        match trailer.digest {
            Some(digest) if digest.zxid > zxid => self.fuzzy_until = digest.zxid,
            Some(digest) if digest.zxid == zxid && zxid != Zxid::ZERO => assert_eq!(digest.tree, self.digest),
            _ => {}
        }
    }

    fn apply(&mut self, entry: &Entry<'_>, _: &[u8]) -> Result<(), String> {
        self.apply_txn(&entry.header, &entry.txn);
        if let Some(TxnDigest { tree, .. }) = entry.digest
            && entry.header.zxid >= self.fuzzy_until
        {
            self.digests_checked += 1;
            if tree != self.digest {
                self.digests_wrong.push(entry.header.zxid);
            }
        }
        Ok(())
    }
}

impl Model {
    fn sum_up(&mut self) {
        self.digest = self.nodes.iter().map(|(path, node)| value(path, node)).fold(0, u64::wrapping_add);
    }

    /// Changes a znode and keeps the digest; `None` when there is none.
    fn change(&mut self, path: &str, change: impl FnOnce(&mut Node)) -> Option<()> {
        let path = if path == "/" { "" } else { path };
        let node = self.nodes.get_mut(path)?;
        let before = value(path, node);
        change(node);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(value(path, node));
        Some(())
    }

    fn apply_txn(&mut self, header: &TxnHeader, txn: &Txn<'_>) {
        let zxid = header.zxid.0;
        // Replay swallows what no longer fits, so nobody looks at the outcome.
        let _: Option<()> = match txn {
            Txn::Create(create) => self.create(header, create),
            Txn::Delete(path) => self.delete(path, zxid),
            Txn::SetData(set) => self.change(&set.path, |node| {
                node.data = set.data.map(<[u8]>::to_vec);
                node.stat.version = set.version;
                node.stat.mzxid = zxid;
                node.stat.mtime = header.time_ms;
            }),
            Txn::SetAcl(set) => self.change(&set.path, |node| {
                node.acl = Some(set.acl.as_bytes().to_vec());
                node.stat.aversion = set.version;
            }),
            Txn::Multi(txns) if txns.iter().any(|(op, _)| *op == OpCode::ERROR) => None,
            Txn::Multi(txns) => {
                txns.iter().for_each(|(op, txn)| self.apply_txn(&TxnHeader { op: *op, ..*header }, txn));
                None
            }
            Txn::CreateSession(timeout_ms) => self.sessions.insert(header.session.0, *timeout_ms).map(|_| ()),
            Txn::CloseSession(paths) => self.close(header, paths.iter().flatten().map(AsRef::as_ref)),
            Txn::Check(..) | Txn::Error(_) => None,
        };
    }

    fn create(&mut self, header: &TxnHeader, create: &CreateTxn<'_>) -> Option<()> {
        let (parent, name) = create.path.rsplit_once('/')?;
        let zxid = header.zxid.0;
        let known = self.nodes.get(parent)?.children.contains(name);
        self.change(parent, |node| {
            let raised = if create.parent_cversion == -1 { node.stat.cversion + 1 } else { create.parent_cversion };
            if raised > node.stat.cversion {
                node.stat.cversion = raised;
                node.stat.pzxid = zxid;
            }
            node.children.insert(name.to_owned());
        })?;
        let acl = Some(create.acl.as_bytes().to_vec());
        if known {
            return self.change(&create.path, |node| node.acl = acl);
        }
        let owner = match create.kind {
            CreateKind::Persistent => 0,
            CreateKind::Ephemeral => header.session.0,
            CreateKind::Container => CONTAINER_OWNER,
            CreateKind::Ttl(ttl_ms) => TTL_OWNER | ttl_ms,
        };
        let (czxid, ctime) = (zxid, header.time_ms);
        let stat =
            StoredStat { czxid, mzxid: czxid, pzxid: czxid, ctime, mtime: ctime, owner, ..StoredStat::default() };
        let node = Node { data: create.data.map(<[u8]>::to_vec), acl, stat, children: BTreeSet::new() };
        self.digest = self.digest.wrapping_add(value(&create.path, &node));
        self.nodes.insert(create.path.to_string(), node);
        Some(())
    }

    fn delete(&mut self, path: &str, zxid: i64) -> Option<()> {
        let (parent, name) = path.rsplit_once('/')?;
        self.change(parent, |node| {
            node.children.remove(name);
            node.stat.pzxid = node.stat.pzxid.max(zxid);
        })?;
        self.drop_subtree(path)
    }

    fn drop_subtree(&mut self, path: &str) -> Option<()> {
        let node = self.nodes.remove(path)?;
        self.digest = self.digest.wrapping_sub(value(path, &node));
        for name in &node.children {
            self.drop_subtree(&format!("{path}/{name}"));
        }
        Some(())
    }

    fn close<'a>(&mut self, header: &TxnHeader, paths: impl Iterator<Item = &'a str>) -> Option<()> {
        self.sessions.remove(&header.session.0);
        let owned = self.nodes.iter().filter(|(_, node)| node.stat.owner == header.session.0);
        let left: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
        for path in paths {
            self.delete(path, header.zxid.0);
        }
        for path in left {
            if self.nodes.contains_key(&path) {
                self.delete(&path, header.zxid.0);
            }
        }
        None
    }

    /// As `expected.json` has it: what a client sees.
    pub(crate) fn client_view(&self) -> BTreeMap<String, Value> {
        let view = |(path, node): (&String, &Node)| {
            let path = if path.is_empty() { "/".to_owned() } else { path.clone() };
            (path, client_view(node))
        };
        self.nodes.iter().map(view).collect()
    }
}

fn client_view(node: &Node) -> Value {
    let StoredStat { czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid } = node.stat;
    let hidden = owner == CONTAINER_OWNER || owner & TTL_OWNER == TTL_OWNER;
    let count = i32::try_from(node.children.len()).expect("a small sample");
    let acl = match &node.acl {
        None => json!([{ "perms": 31, "scheme": "world", "id": "anyone" }]),
        Some(bytes) => AclBytes::decode(bytes)
            .map(|(_, acl)| acl)
            .expect("checked when it was read")
            .entries()
            .iter()
            .map(|entry| json!({ "perms": entry.perms.0, "scheme": entry.scheme, "id": entry.id }))
            .collect(),
    };
    json!({
        "data": node.data.as_ref().map(|data| STANDARD.encode(data)),
        "acl": acl,
        "children": node.children,
        "stat": {
            "czxid": czxid, "mzxid": mzxid, "ctime": ctime, "mtime": mtime, "version": version,
            "cversion": cversion * 2 - count, "aversion": aversion, "ephemeralOwner": if hidden { 0 } else { owner },
            "pzxid": pzxid, "dataLength": node.data.as_ref().map_or(0, Vec::len), "numChildren": count,
        },
    })
}

/// What a znode adds to the tree's digest.
fn value(path: &str, node: &Node) -> u64 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let StoredStat { czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid } = node.stat;
    let mut crc = crc32fast::Hasher::new();
    crc.update(path.as_bytes());
    crc.update(node.data.as_deref().unwrap_or_default());
    for long in [czxid, mzxid, pzxid, ctime, mtime] {
        crc.update(&long.to_be_bytes());
    }
    for int in [version, cversion, aversion] {
        crc.update(&int.to_be_bytes());
    }
    crc.update(&owner.to_be_bytes());
    u64::from(crc.finalize())
}
