//! A naive ensemble: one sequence of txns, and the state behind each of them. What servers and clients see is compared
//! with it. Written without a look at `zkd::tree`.

use std::collections::{BTreeMap, BTreeSet};

use zkd::ids::{SessionId, Zxid};
use zkd::proto::OpCode;
use zkd::txn::{CreateKind, Entry, Txn};

/// A znode behind some txn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Znode {
    pub(crate) data: Vec<u8>,
    pub(crate) version: i32,
    pub(crate) owner: SessionId,
    pub(crate) czxid: Zxid,
    pub(crate) mzxid: Zxid,
}

/// The states of all paths behind each committed txn.
#[derive(Default)]
pub(crate) struct Model {
    znodes: BTreeMap<String, Vec<(Zxid, Option<Znode>)>>,
    children: BTreeMap<String, Vec<(Zxid, BTreeSet<String>)>>,
    /// When something happened that a watch of each kind tells of.
    pub(crate) data_events: BTreeMap<String, Vec<Zxid>>,
    pub(crate) child_events: BTreeMap<String, Vec<Zxid>>,
    pub(crate) sessions: BTreeSet<SessionId>,
    /// The last request of each session that took effect.
    requests: BTreeMap<SessionId, i32>,
    pub(crate) last: Zxid,
}

/// What tells where something else has grown below `/zookeeper`.
const BUILT_IN: &str = "zookeeper";

fn parent_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn at<T>(states: &[(Zxid, T)], zxid: Zxid) -> Option<&T> {
    let behind = states.partition_point(|(of, _)| *of <= zxid);
    behind.checked_sub(1).map(|at| &states[at].1)
}

impl Model {
    /// The znode behind a txn.
    pub(crate) fn znode(&self, path: &str, zxid: Zxid) -> Option<&Znode> {
        at(self.znodes.get(path)?, zxid)?.as_ref()
    }

    fn exists(&self, path: &str) -> bool {
        path == "/" || self.znode(path, self.last).is_some()
    }

    /// The names of the children behind a txn, without the built-in ones.
    pub(crate) fn children(&self, path: &str, zxid: Zxid) -> BTreeSet<String> {
        self.children.get(path).and_then(|states| at(states, zxid)).cloned().unwrap_or_default()
    }

    /// All paths that there are now.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&String, &Znode)> {
        self.znodes.iter().filter_map(|(path, states)| Some((path, states.last()?.1.as_ref()?)))
    }

    /// The first of these behind `since`.
    pub(crate) fn first_event(events: &BTreeMap<String, Vec<Zxid>>, path: &str, since: Zxid) -> Option<Zxid> {
        let events = events.get(path)?;
        events.get(events.partition_point(|of| *of <= since)).copied()
    }

    /// One more committed txn.
    ///
    /// # Panics
    /// When it does not fit what was before: it was prepared against something else.
    pub(crate) fn apply(&mut self, entry: &Entry<'_>) {
        let header = &entry.header;
        let (session, zxid) = (header.session, header.zxid);
        assert!(zxid > self.last, "[total order] {zxid} behind {}", self.last);
        let last = std::mem::replace(&mut self.last, zxid);
        match &entry.txn {
            Txn::Error(_) => return,
            Txn::CreateSession(_) => {
                assert!(self.sessions.insert(session), "[sessions] {session} begins twice, at {zxid}");
                return;
            }
            Txn::CloseSession(paths) => {
                assert!(self.sessions.remove(&session), "[sessions] {session} ends twice, at {zxid}");
                self.close(session, zxid, paths.as_deref());
                return;
            }
            Txn::Multi(parts) if parts.iter().any(|(_, part)| matches!(part, Txn::Error(_))) => return,
            Txn::Create(_) | Txn::Delete(_) | Txn::SetData(_) | Txn::SetAcl(_) | Txn::Check(..) | Txn::Multi(_) => {}
        }
        if session != SessionId::NONE {
            assert!(
                self.sessions.contains(&session),
                "[sessions] {session} writes {zxid} before it begins or behind its end"
            );
            let before = self.requests.insert(session, header.cxid);
            assert!(
                before.is_none_or(|before| before < header.cxid),
                "[session order] request {} of {session} takes effect at {zxid} behind request {before:?}",
                header.cxid
            );
        }
        self.last = last;
        match &entry.txn {
            // Members change, and nothing that clients of this model look at.
            Txn::SetData(_) if header.op == OpCode::RECONFIG => {}
            Txn::Multi(parts) => parts.iter().for_each(|(_, part)| self.part(part, session, zxid)),
            txn => self.part(txn, session, zxid),
        }
        self.last = zxid;
    }

    fn part(&mut self, txn: &Txn<'_>, session: SessionId, zxid: Zxid) {
        // Parts of a multi see those before them.
        self.last = zxid;
        match txn {
            Txn::Create(create) => {
                let path = create.path.as_ref();
                assert!(!self.exists(path), "[model] {zxid} creates {path}, which is there");
                assert!(self.exists(parent_of(path)), "[model] {zxid} creates {path} without a parent");
                let owner = if create.kind == CreateKind::Ephemeral { session } else { SessionId::NONE };
                let data = create.data.unwrap_or_default().to_vec();
                self.put(path, zxid, Some(Znode { data, version: 0, owner, czxid: zxid, mzxid: zxid }));
            }
            Txn::Delete(path) => self.delete(path, zxid),
            Txn::SetData(set) => {
                let path = set.path.as_ref();
                let Some(before) = self.znode(path, zxid).cloned() else {
                    panic!("[model] {zxid} sets {path}, which is not there")
                };
                assert_eq!(set.version, before.version + 1, "[model] {zxid} sets {path} to a version that is not next");
                let data = set.data.unwrap_or_default().to_vec();
                self.put(path, zxid, Some(Znode { data, version: set.version, mzxid: zxid, ..before }));
            }
            Txn::Check(path, version) => {
                let znode = self.znode(path, zxid);
                assert!(
                    znode.is_some_and(|znode| znode.version + 1 == *version),
                    "[model] {zxid} checks {path} for {version}, and there is {znode:?}"
                );
            }
            other => panic!("[model] {zxid} is {other:?}, which nobody asks for"),
        }
    }

    fn delete(&mut self, path: &str, zxid: Zxid) {
        assert!(self.exists(path), "[model] {zxid} deletes {path}, which is not there");
        assert!(self.children(path, zxid).is_empty(), "[model] {zxid} deletes {path}, which has children");
        self.put(path, zxid, None);
    }

    fn close(&mut self, session: SessionId, zxid: Zxid, said: Option<&[std::borrow::Cow<'_, str>]>) {
        let mine: Vec<String> =
            self.paths().filter(|(_, znode)| znode.owner == session).map(|(path, _)| path.clone()).collect();
        if let Some(said) = said {
            let mut said: Vec<&str> = said.iter().map(AsRef::as_ref).collect();
            said.sort_unstable();
            assert_eq!(said, mine, "[ephemerals] {zxid} closes {session}");
        }
        for path in mine {
            self.delete(&path, zxid);
        }
    }

    fn put(&mut self, path: &str, zxid: Zxid, znode: Option<Znode>) {
        let states = self.znodes.entry(path.to_owned()).or_default();
        let was = states.last().is_some_and(|(_, znode)| znode.is_some());
        let is = znode.is_some();
        if let Some((_, last)) = states.last_mut().filter(|(of, _)| *of == zxid) {
            *last = znode;
        } else {
            states.push((zxid, znode));
        }
        note(&mut self.data_events, path, zxid);
        if !is {
            note(&mut self.child_events, path, zxid);
        }
        if was != is {
            self.change_children(parent_of(path), name_of(path), is, zxid);
        }
    }

    fn change_children(&mut self, parent: &str, name: &str, is: bool, zxid: Zxid) {
        note(&mut self.child_events, parent, zxid);
        let states = self.children.entry(parent.to_owned()).or_default();
        let mut names = states.last().map(|(_, names)| names.clone()).unwrap_or_default();
        if is {
            names.insert(name.to_owned())
        } else {
            names.remove(name)
        };
        if let Some((_, last)) = states.last_mut().filter(|(of, _)| *of == zxid) {
            *last = names;
        } else {
            states.push((zxid, names));
        }
    }
}

fn note(events: &mut BTreeMap<String, Vec<Zxid>>, path: &str, zxid: Zxid) {
    let events = events.entry(path.to_owned()).or_default();
    if events.last() != Some(&zxid) {
        events.push(zxid);
    }
}

/// Names of children as the model keeps them.
pub(crate) fn without_built_in(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| name != BUILT_IN).collect()
}
