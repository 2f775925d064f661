//! A watch tells once of the first change behind the read that set it, before anything newer is seen; over reconnects as
//! well (ZooKeeper Programmer's Guide, "What ZooKeeper Guarantees about Watches"; semantics.md 6; ZOOKEEPER-2355, -706).

use std::collections::BTreeMap;

use zkd::ids::Zxid;
use zkd::jute::{int, ustring};
use zkd::proto::{ErrorCode, ReplyHeader};

use super::super::client::Pending;
use super::super::model::Model;
use super::super::requests::Asked;

type Book = BTreeMap<String, Zxid>;

/// The watches of one session: each with the zxid of the read that set it.
#[derive(Default)]
pub(crate) struct Watches {
    data: Book,
    exist: Book,
    child: Book,
    /// The server does not know of them yet.
    is_unset: bool,
}

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

impl Watches {
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.exist.is_empty() && self.child.is_empty()
    }

    /// The paths for setWatches: data, exist, child.
    pub(crate) fn lists(&self) -> [Vec<&String>; 3] {
        [self.data.keys().collect(), self.exist.keys().collect(), self.child.keys().collect()]
    }

    /// The connection is gone, and the server's watches with it.
    pub(crate) fn disconnected(&mut self) {
        self.is_unset = true;
    }

    /// A connection begins without any.
    pub(crate) fn nothing_to_set(&mut self) {
        self.is_unset = false;
    }

    /// An event has come.
    pub(crate) fn fired(&mut self, zxid: Zxid, body: &[u8], model: &Model) {
        let (rest, kind) = int(body).expect("an event's type");
        let (rest, _) = int(rest).expect("a state");
        let path = ustring(rest).ok().and_then(|(_, path)| path).expect("a path").into_owned();
        let mut spent = Vec::new();
        match kind {
            CREATED | DATA_CHANGED => spent.extend([self.data.remove(&path), self.exist.remove(&path)]),
            DELETED => {
                spent.extend([self.data.remove(&path), self.exist.remove(&path)]);
                let child =
                    self.child.remove(&path).and_then(|since| Model::first_event(&model.child_events, &path, since));
                if let Some(first) = child.filter(|_| zxid.0 > 0) {
                    assert_eq!(first, zxid, "[watches] the deletion of {path} is told, and something was before");
                    return;
                }
                if child.is_some() {
                    return;
                }
            }
            CHILDREN_CHANGED => {
                let since = self.child.remove(&path);
                assert!(since.is_some(), "[watches] an event for the children of {path}, which nobody watches");
                check(&model.child_events, &path, since.into_iter(), zxid);
                return;
            }
            other => panic!("[watches] an event of type {other}"),
        }
        let spent: Vec<_> = spent.into_iter().flatten().collect();
        if kind == DELETED && zxid.0 <= 0 {
            // setWatches tells of it once for each list that the path is in, as the reference does.
            return;
        }
        assert!(!spent.is_empty(), "[watches] an event of type {kind} for {path}, which nobody watches ({zxid})");
        check(&model.data_events, &path, spent.into_iter(), zxid);
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self, pending: &Pending, header: &ReplyHeader, model: &Model) {
        let zxid = header.zxid;
        if zxid.0 <= 0 {
            return;
        }
        if matches!(pending.asked, Asked::SetWatches) {
            self.is_unset = false;
            // One that came and went meanwhile is told to nobody.
            for (path, since) in &mut self.exist {
                assert!(
                    model.znode(path, zxid).is_none(),
                    "[watches] {path} is there at {zxid}, and that was not told"
                );
                *since = zxid;
            }
        }
        if self.is_unset {
            return;
        }
        let books =
            [(&self.data, &model.data_events), (&self.exist, &model.data_events), (&self.child, &model.child_events)];
        for (book, events) in books {
            for (path, since) in book {
                if let Some(first) = Model::first_event(events, path, *since).filter(|first| *first <= zxid) {
                    panic!("[watches] {path} is watched since {since} and changed at {first}; {zxid} is seen first");
                }
            }
        }
        self.set(pending, header);
    }

    fn set(&mut self, pending: &Pending, header: &ReplyHeader) {
        let ok = header.error == ErrorCode::OK;
        let (book, path) = match &pending.asked {
            Asked::Get { path, watch: true } if ok => (&mut self.data, path),
            Asked::Exists { path, watch: true } if ok => (&mut self.data, path),
            Asked::Exists { path, watch: true } => (&mut self.exist, path),
            Asked::Children { path, watch: true } if ok => (&mut self.child, path),
            _ => return,
        };
        book.entry(path.clone()).or_insert(header.zxid);
    }
}

/// The event is the first one behind the read; the ones of setWatches only say that there was one.
fn check(events: &BTreeMap<String, Vec<Zxid>>, path: &str, since: impl Iterator<Item = Zxid>, zxid: Zxid) {
    for since in since {
        let first = Model::first_event(events, path, since);
        let right = if zxid.0 > 0 { first == Some(zxid) } else { first.is_some() };
        assert!(right, "[watches] {path}, watched since {since}, is told at {zxid}, and changed at {first:?}");
    }
}
