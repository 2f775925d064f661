use super::*;
use crate::ids::Zxid;
use crate::proto::{OPEN_ACL, OpCode, Stat};
use crate::txn::{CreateKind, CreateTxn, SetDataTxn, Txn, TxnHeader};

fn header(zxid: i64) -> TxnHeader {
    TxnHeader { session: SessionId(7), cxid: 1, zxid: Zxid(zxid), time_ms: 1000 + zxid, op: OpCode::CREATE }
}

fn apply(tree: &mut Tree, zxid: i64, txn: &Txn<'_>) -> Option<Stat> {
    let mut stats = Vec::new();
    tree.apply(&header(zxid), txn, &mut (), &mut stats);
    stats.pop().flatten()
}

fn create(path: &str, kind: CreateKind, parent_cversion: i32) -> Txn<'_> {
    Txn::Create(CreateTxn { path: path.into(), data: Some(b"x"), acl: OPEN_ACL, kind, parent_cversion })
}

#[test]
fn an_empty_tree_has_the_digest_of_every_empty_tree() {
    assert_eq!(Tree::new(TreeOptions::default()).digest(), 0x51c6_d660);
}

#[test]
fn deleting_what_was_created_keeps_the_creation_count() {
    let mut tree = Tree::new(TreeOptions::default());
    apply(&mut tree, 1, &create("/a", CreateKind::Persistent, 1));
    apply(&mut tree, 2, &create("/a/b", CreateKind::Ephemeral, 1));
    assert_eq!(tree.ephemerals_of(SessionId(7)), ["/a/b"]);
    apply(&mut tree, 3, &Txn::Delete("/a/b".into()));
    let stat = tree.find("/a").map(ZnodeRef::stat);
    assert_eq!(stat.map(|s| (s.cversion, s.pzxid, s.num_children)), Some((2, 3, 0)));
    assert_eq!(tree.num_ephemerals(), 0);
}

#[test]
fn replaying_over_a_newer_tree_changes_nothing_that_is_newer() {
    let mut tree = Tree::new(TreeOptions::default());
    let txns = [
        create("/a", CreateKind::Persistent, 1),
        create("/a/b", CreateKind::Persistent, 1),
        Txn::SetData(SetDataTxn { path: "/a/b".into(), data: Some(b"new"), version: 1 }),
    ];
    for (zxid, txn) in (1..).zip(&txns) {
        apply(&mut tree, zxid, txn);
    }
    let digest = tree.digest();
    for (zxid, txn) in (1..).zip(&txns) {
        apply(&mut tree, zxid, txn);
    }
    assert_eq!(tree.digest(), digest);
}

#[test]
fn deleting_a_parent_in_the_fuzzy_range_takes_the_subtree() {
    let mut tree = Tree::new(TreeOptions::default());
    let digest = tree.digest();
    apply(&mut tree, 1, &create("/a", CreateKind::Persistent, 1));
    apply(&mut tree, 2, &create("/a/b", CreateKind::Ephemeral, 1));
    apply(&mut tree, 3, &Txn::Delete("/a".into()));
    assert_eq!((tree.len(), tree.num_ephemerals()), (4, 0));
    assert_ne!(tree.digest(), digest, "the root's counters moved");
}

/// What a walk yields, loaded into a tree of its own.
fn walked(tree: &mut Tree, mut meanwhile: impl FnMut(&mut Tree, usize)) -> Tree {
    let mut out = Vec::new();
    assert!(tree.begin_walk(1, [].into_iter(), &mut out));
    let mut steps = 0;
    while tree.walk(1, 1, &mut out) == Walked::More {
        meanwhile(tree, steps);
        steps += 1;
    }
    tree.end_walk(1);
    load(&out)
}

fn load(body: &[u8]) -> Tree {
    use crate::jute::{buffer, int, long, text};
    let mut loader = TreeLoader::new(TreeOptions::default());
    let (mut input, _) = int(body).unwrap();
    let (rest, acls) = int(input).unwrap();
    input = rest;
    for _ in 0..acls {
        let (rest, key) = long(input).unwrap();
        let (rest, acl) = crate::proto::AclBytes::decode(rest).unwrap();
        loader.acl(key, acl);
        input = rest;
    }
    loop {
        let (rest, path) = text(input).unwrap();
        if path == "/" {
            assert!(rest.is_empty());
            return loader.finish().0;
        }
        let (rest, data) = buffer(rest).unwrap();
        let (rest, acl) = long(rest).unwrap();
        let (rest, stat) = StoredStat::decode(rest).unwrap();
        loader.node(&path, data, acl, &stat).unwrap();
        input = rest;
    }
}

#[test]
fn a_walk_yields_the_tree_as_it_was_when_it_began() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut tree = Tree::new(TreeOptions::default());
        let mut zxid = 0;
        let mut step = move |tree: &mut Tree, random: &mut fastrand::Rng| {
            zxid += 1;
            let path = format!("/d{}", random.u8(0..4));
            let path = if random.bool() { path } else { format!("{path}/n{}", random.u8(0..6)) };
            let parent = crate::path::split(&path).and_then(|(parent, _)| tree.find(parent));
            let cversion = parent.map(|p| p.stored_stat().cversion + 1);
            match (tree.find(&path), cversion, random.u8(0..3)) {
                (None, Some(cversion), _) => {
                    apply(tree, zxid, &create(&path, CreateKind::Persistent, cversion));
                }
                (Some(_), _, 0) => {
                    apply(tree, zxid, &Txn::Delete(path.as_str().into()));
                }
                (Some(_), _, _) => {
                    let data = zxid.to_string();
                    let set = SetDataTxn { path: path.as_str().into(), data: Some(data.as_bytes()), version: 1 };
                    apply(tree, zxid, &Txn::SetData(set));
                }
                (None, None, _) => {}
            }
        };
        for _ in 0..60 {
            step(&mut tree, &mut random);
        }
        let (digest, len) = (tree.digest(), tree.len());
        let copy = walked(&mut tree, |tree, _| step(tree, &mut random));
        assert_eq!((copy.digest(), copy.len()), (digest, len), "seed {seed}");
        let again = walked(&mut tree, |_, _| {});
        assert_eq!(again.digest(), tree.digest(), "seed {seed}");
    }
}
