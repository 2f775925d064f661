//! The watches that the shell has left (TO-21), so that they come back with a new connection and no event is printed
//! twice.

use std::collections::BTreeSet;

use crate::jute::JuteWrite;
use crate::path;
use crate::proto::{ErrorCode, EventType, OpCode, WatcherType};

/// The kinds that are kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// One-shot, on data of a znode that is there.
    Data,
    /// One-shot, on a znode that is not there.
    Exists,
    /// One-shot, on children.
    Children,
    /// On one znode until it is removed.
    Persistent,
    /// On a znode and all below it.
    Recursive,
}

const KINDS: [Kind; 5] = [Kind::Data, Kind::Exists, Kind::Children, Kind::Persistent, Kind::Recursive];

/// The types of an event that tells of removed watches, in the order in which they are told.
const REMOVED: [(&str, &[Kind]); 3] = [
    ("ChildWatchRemoved", &[Kind::Children]),
    ("DataWatchRemoved", &[Kind::Data, Kind::Exists]),
    ("PersistentWatchRemoved", &[Kind::Persistent, Kind::Recursive]),
];

/// One set of paths for each kind.
#[derive(Debug, Default)]
pub(super) struct Watches {
    paths: [BTreeSet<String>; KINDS.len()],
}

/// What a type of event is called.
pub(super) const fn event_name(kind: EventType) -> &'static str {
    match kind {
        EventType::Created => "NodeCreated",
        EventType::Deleted => "NodeDeleted",
        EventType::DataChanged => "NodeDataChanged",
        EventType::ChildrenChanged => "NodeChildrenChanged",
    }
}

impl Watches {
    /// After the answer to the request that left a watch. One that asked whether a znode exists left one of two kinds.
    pub(super) fn answered(&mut self, kind: Kind, path: &str, error: ErrorCode) {
        let kind = match (kind, error) {
            (Kind::Exists, ErrorCode::OK) => Kind::Data,
            (Kind::Exists, ErrorCode::NO_NODE) => Kind::Exists,
            (kind, ErrorCode::OK) => kind,
            _ => return,
        };
        self.paths[kind as usize].insert(path.to_owned());
    }

    /// Takes an event: whether anybody waits for it.
    pub(super) fn fire(&mut self, event: EventType, path: &str) -> bool {
        let once: &[Kind] = match event {
            EventType::Created | EventType::DataChanged => &[Kind::Data, Kind::Exists],
            EventType::ChildrenChanged => &[Kind::Children],
            EventType::Deleted => &[Kind::Data, Kind::Exists, Kind::Children],
        };
        let mut waited = self.has(Kind::Persistent, path);
        for kind in once {
            waited |= self.paths[*kind as usize].remove(path);
        }
        // A watch on a whole tree is not told of children; their own events tell enough.
        waited
            || event != EventType::ChildrenChanged
                && std::iter::once(path).chain(path::ancestors(path)).any(|path| self.has(Kind::Recursive, path))
    }

    /// After the answer to a removal: the types of the events that tell of it. With `local` a refusal does not count.
    ///
    /// # Errors
    /// When there was no such watch, or the server refuses.
    pub(super) fn remove(
        &mut self,
        path: &str,
        which: WatcherType,
        local: bool,
        error: ErrorCode,
    ) -> Result<Vec<&'static str>, ErrorCode> {
        let wanted: &[Kind] = match which {
            WatcherType::Children => &[Kind::Children],
            WatcherType::Data => &[Kind::Data, Kind::Exists],
            WatcherType::Persistent => &[Kind::Persistent],
            WatcherType::PersistentRecursive => &[Kind::Recursive],
            WatcherType::Any => &KINDS,
        };
        if !wanted.iter().any(|kind| self.has(*kind, path)) {
            return Err(ErrorCode::NO_WATCHER);
        }
        if error != ErrorCode::OK && !local {
            return Err(error);
        }
        let mut gone = |kinds: &[Kind]| {
            let kinds = kinds.iter().filter(|kind| wanted.contains(kind));
            // All of them, not only the first.
            kinds.filter(|kind| self.paths[**kind as usize].remove(path)).count() > 0
        };
        Ok(REMOVED.iter().filter(|(_, kinds)| gone(kinds)).map(|(name, _)| *name).collect())
    }

    /// What asks a server for all of them again: opcode and record of each request, with paths as `full` makes them.
    /// None is much longer than a server takes at once.
    pub(super) fn requests(&self, seen: i64, full: impl Fn(&str) -> String) -> Vec<(OpCode, Vec<u8>)> {
        let mut all =
            KINDS.iter().flat_map(|kind| self.paths[*kind as usize].iter().map(|path| (*kind, full(path)))).peekable();
        let mut requests = Vec::new();
        while all.peek().is_some() {
            let mut lists: [Vec<String>; KINDS.len()] = Default::default();
            let mut bytes = 0;
            while bytes < REQUEST_BYTES
                && let Some((kind, path)) = all.next()
            {
                bytes += path.len();
                lists[kind as usize].push(path);
            }
            let lasting = !lists[Kind::Persistent as usize].is_empty() || !lists[Kind::Recursive as usize].is_empty();
            // Servers before 3.6 know the first one only.
            let (op, count) = if lasting { (OpCode::SET_WATCHES2, 5) } else { (OpCode::SET_WATCHES, 3) };
            let mut body = Vec::new();
            body.long(seen);
            for list in &lists[..count] {
                body.length(list.len());
                list.iter().for_each(|path| body.ustring(path));
            }
            requests.push((op, body));
        }
        requests
    }

    fn has(&self, kind: Kind, path: &str) -> bool {
        self.paths[kind as usize].contains(path)
    }
}

/// Paths in one request for watches: well below what a server takes.
const REQUEST_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shot_watches_fire_once_and_lasting_ones_go_on() {
        let mut watches = Watches::default();
        watches.answered(Kind::Exists, "/a", ErrorCode::NO_NODE);
        watches.answered(Kind::Data, "/x", ErrorCode::NO_AUTH);
        assert!(watches.fire(EventType::Created, "/a") && !watches.fire(EventType::Created, "/a"));
        assert!(!watches.fire(EventType::DataChanged, "/x"), "a refused read leaves no watch");
        watches.answered(Kind::Recursive, "/t", ErrorCode::OK);
        watches.answered(Kind::Persistent, "/p", ErrorCode::OK);
        for _ in 0..2 {
            assert!(watches.fire(EventType::Created, "/t/b/c") && watches.fire(EventType::Deleted, "/t"));
            assert!(watches.fire(EventType::ChildrenChanged, "/p") && !watches.fire(EventType::ChildrenChanged, "/t"));
        }
        assert!(!watches.fire(EventType::Created, "/tt"));
    }

    #[test]
    fn removal_tells_what_is_gone() {
        let mut watches = Watches::default();
        for kind in KINDS {
            watches.answered(kind, "/a", ErrorCode::OK);
        }
        assert_eq!(watches.remove("/b", WatcherType::Any, false, ErrorCode::OK), Err(ErrorCode::NO_WATCHER));
        assert_eq!(watches.remove("/a", WatcherType::Data, false, ErrorCode::NO_WATCHER), Err(ErrorCode::NO_WATCHER));
        assert_eq!(
            watches.remove("/a", WatcherType::Data, true, ErrorCode::CONNECTION_LOSS),
            Ok(vec!["DataWatchRemoved"])
        );
        let rest = Ok(vec!["ChildWatchRemoved", "PersistentWatchRemoved"]);
        assert_eq!(watches.remove("/a", WatcherType::Any, false, ErrorCode::OK), rest);
        assert!(watches.requests(0, str::to_owned).is_empty());
    }

    #[test]
    fn watches_are_asked_for_again_in_requests_that_a_server_takes() {
        let mut watches = Watches::default();
        let long = "x".repeat(REQUEST_BYTES);
        watches.answered(Kind::Data, &format!("/{long}"), ErrorCode::OK);
        watches.answered(Kind::Recursive, "/r", ErrorCode::OK);
        let ops: Vec<_> = watches.requests(7, |path| format!("/root{path}")).into_iter().map(|(op, _)| op).collect();
        assert_eq!(ops, [OpCode::SET_WATCHES, OpCode::SET_WATCHES2]);
    }
}
