//! The table itself.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet, HashTable};

use super::{WatchKind, WatcherId};
use crate::path;
use crate::proto::WatcherType;

/// How one watcher watches one path in one table; ways add up (since 3.9.0).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Modes(u8);

impl Modes {
    /// Fires once.
    pub const ONE_SHOT: Modes = Modes(1);
    /// Stays, for this path.
    pub const PERSISTENT: Modes = Modes(2);
    /// Stays, for this path and all below it.
    pub const RECURSIVE: Modes = Modes(4);
    /// All ways.
    pub const ANY: Modes = Modes(7);

    const fn meets(self, other: Modes) -> bool {
        self.0 & other.0 != 0
    }

    const fn without(self, other: Modes) -> Modes {
        Modes(self.0 & !other.0)
    }

    const fn is_none(self) -> bool {
        self.0 == 0
    }
}

type Place = u32;

#[derive(Debug, Default)]
enum Watchers {
    #[default]
    None,
    One(WatcherId, Modes),
    Many(Box<HashMap<WatcherId, Modes, FixedState>>),
}

impl Watchers {
    fn get(&self, watcher: WatcherId) -> Modes {
        match self {
            Self::None => Modes(0),
            Self::One(one, modes) => {
                if *one == watcher {
                    *modes
                } else {
                    Modes(0)
                }
            }
            Self::Many(many) => many.get(&watcher).copied().unwrap_or_default(),
        }
    }

    /// Adds modes; whether the watcher is new here.
    fn add(&mut self, watcher: WatcherId, modes: Modes) -> bool {
        match self {
            Self::None => {
                *self = Self::One(watcher, modes);
                true
            }
            Self::One(one, old) if *one == watcher => {
                old.0 |= modes.0;
                false
            }
            Self::One(one, old) => {
                let mut many = HashMap::with_capacity_and_hasher(3, FixedState::default());
                many.insert(*one, *old);
                many.insert(watcher, modes);
                *self = Self::Many(Box::new(many));
                true
            }
            Self::Many(many) => match many.entry(watcher) {
                Entry::Occupied(mut old) => {
                    old.get_mut().0 |= modes.0;
                    false
                }
                Entry::Vacant(new) => {
                    new.insert(modes);
                    true
                }
            },
        }
    }

    /// Takes modes away; whether the watcher is gone from here.
    fn remove(&mut self, watcher: WatcherId, modes: Modes) -> bool {
        match self {
            Self::None => false,
            Self::One(one, old) => {
                if *one != watcher {
                    return false;
                }
                *old = old.without(modes);
                let gone = old.is_none();
                if gone {
                    *self = Self::None;
                }
                gone
            }
            Self::Many(many) => {
                let Entry::Occupied(mut old) = many.entry(watcher) else { return false };
                let left = old.get().without(modes);
                if !left.is_none() {
                    *old.get_mut() = left;
                    return false;
                }
                old.remove();
                if many.is_empty() {
                    *self = Self::None;
                }
                true
            }
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(many) => many.len(),
        }
    }

    fn for_each(&self, mut each: impl FnMut(WatcherId, Modes)) {
        match self {
            Self::None => {}
            Self::One(watcher, modes) => each(*watcher, *modes),
            Self::Many(many) => many.iter().for_each(|(watcher, modes)| each(*watcher, *modes)),
        }
    }
}

/// The places that one watcher watches.
#[derive(Debug, Default)]
enum Places {
    #[default]
    None,
    One(Place),
    Many(Box<HashSet<Place, FixedState>>),
}

impl Places {
    fn add(&mut self, place: Place) {
        match self {
            Self::None => *self = Self::One(place),
            Self::One(one) if *one == place => {}
            Self::One(one) => *self = Self::Many(Box::new([*one, place].into_iter().collect())),
            Self::Many(many) => {
                many.insert(place);
            }
        }
    }

    fn remove(&mut self, place: Place) {
        match self {
            Self::None => {}
            Self::One(one) => {
                if *one == place {
                    *self = Self::None;
                }
            }
            Self::Many(many) => {
                many.remove(&place);
                if many.is_empty() {
                    *self = Self::None;
                }
            }
        }
    }

    fn all(self) -> Vec<Place> {
        match self {
            Self::None => Vec::new(),
            Self::One(one) => vec![one],
            Self::Many(many) => many.into_iter().collect(),
        }
    }
}

#[derive(Debug, Default)]
struct Watched {
    path: Box<str>,
    data: Watchers,
    child: Watchers,
}

impl Watched {
    fn side(&mut self, kind: WatchKind) -> &mut Watchers {
        match kind {
            WatchKind::Data => &mut self.data,
            WatchKind::Child => &mut self.child,
        }
    }
}

/// What `wchs` tells: of the data table only (ops-surface.md 1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WatchSummary {
    /// Connections that watch.
    pub watchers: usize,
    /// Paths that are watched.
    pub paths: usize,
    /// Pairs of both.
    pub total: usize,
}

/// All watches of one server.
#[derive(Debug, Default)]
pub struct Watches {
    hasher: FixedState,
    index: HashTable<Place>,
    places: Vec<Watched>,
    free: Vec<Place>,
    /// By watcher number: numbers are dense.
    by_watcher: Vec<Places>,
    /// (path, watcher) pairs in both tables.
    total: usize,
    /// Pairs with the recursive mode: while there are none, no ancestor is looked at.
    recursive: usize,
}

impl Watches {
    /// No watches. `hash_seed` should not be known to clients, who choose paths.
    #[must_use]
    pub fn new(hash_seed: u64) -> Self {
        Self { hasher: FixedState::with_seed(hash_seed), ..Self::default() }
    }

    /// Registers a watch.
    pub fn add(&mut self, kind: WatchKind, path: &str, watcher: WatcherId, modes: Modes) {
        let place = self.place_or_new(path);
        let side = self.places[place as usize].side(kind);
        let was_recursive = side.get(watcher).meets(Modes::RECURSIVE);
        if side.add(watcher, modes) {
            self.total += 1;
        }
        if modes.meets(Modes::RECURSIVE) && !was_recursive {
            self.recursive += 1;
        }
        let number = watcher.0 as usize;
        if number >= self.by_watcher.len() {
            self.by_watcher.resize_with(number + 1, Places::default);
        }
        self.by_watcher[number].add(place);
    }

    /// Fires: appends to `told` everyone who is to hear of `path` in this table, each once, and takes the one-shot
    /// watches away.
    pub fn trigger(&mut self, kind: WatchKind, path: &str, told: &mut Vec<WatcherId>) {
        let start = told.len();
        if let Some(place) = self.place(path) {
            let side = self.places[place as usize].side(kind);
            let mut spent = Vec::new();
            side.for_each(|watcher, modes| {
                told.push(watcher);
                if modes.meets(Modes::ONE_SHOT) {
                    spent.push(watcher);
                }
            });
            for watcher in spent {
                self.take(place, kind, watcher, Modes::ONE_SHOT);
            }
            self.tidy(place);
        }
        if kind == WatchKind::Data && self.recursive > 0 {
            self.tell_recursive(path, start, told);
        }
    }

    fn tell_recursive(&self, path: &str, start: usize, told: &mut Vec<WatcherId>) {
        let before = told.len();
        for place in path::ancestors(path).filter_map(|ancestor| self.place(ancestor)) {
            self.places[place as usize].data.for_each(|watcher, modes| {
                if modes.meets(Modes::RECURSIVE) {
                    told.push(watcher);
                }
            });
        }
        if told.len() > before {
            let mut all = told.split_off(start);
            all.sort_unstable();
            all.dedup();
            told.append(&mut all);
        }
    }

    /// Whether the watcher has a watch of this type (semantics.md 6.1).
    #[must_use]
    pub fn contains(&self, path: &str, watcher: WatcherId, wanted: WatcherType) -> bool {
        let Some(place) = self.place(path) else { return false };
        let watched = &self.places[place as usize];
        let (data, child) = match wanted {
            WatcherType::Children => (None, Some(Modes::ONE_SHOT)),
            WatcherType::Data => (Some(Modes::ONE_SHOT), None),
            WatcherType::Any => (Some(Modes::ANY), Some(Modes::ANY)),
            WatcherType::Persistent => (Some(Modes::PERSISTENT), None),
            WatcherType::PersistentRecursive => (Some(Modes::RECURSIVE), None),
        };
        data.is_some_and(|modes| watched.data.get(watcher).meets(modes))
            || child.is_some_and(|modes| watched.child.get(watcher).meets(modes))
    }

    /// Takes the watches of this type away; whether there were any.
    pub fn remove(&mut self, path: &str, watcher: WatcherId, wanted: WatcherType) -> bool {
        if !self.contains(path, watcher, wanted) {
            return false;
        }
        let Some(place) = self.place(path) else { return false };
        let (data, child) = match wanted {
            WatcherType::Children => (Modes(0), Modes::ONE_SHOT),
            WatcherType::Data => (Modes::ONE_SHOT, Modes(0)),
            WatcherType::Any => (Modes::ANY, Modes::ANY),
            WatcherType::Persistent => (Modes::PERSISTENT, Modes::PERSISTENT),
            WatcherType::PersistentRecursive => (Modes::RECURSIVE, Modes(0)),
        };
        self.take(place, WatchKind::Data, watcher, data);
        self.take(place, WatchKind::Child, watcher, child);
        self.tidy(place);
        true
    }

    /// Takes all watches of a connection that is gone away.
    pub fn remove_watcher(&mut self, watcher: WatcherId) {
        let places = self.by_watcher.get_mut(watcher.0 as usize).map(std::mem::take).unwrap_or_default();
        for place in places.all() {
            self.take(place, WatchKind::Data, watcher, Modes::ANY);
            self.take(place, WatchKind::Child, watcher, Modes::ANY);
            self.tidy(place);
        }
    }

    /// (path, connection) pairs in both tables: `watch_count`.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.total
    }

    /// Whether nobody watches anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The data table in numbers.
    #[must_use]
    pub fn summary(&self) -> WatchSummary {
        let mut watchers = HashSet::<WatcherId, FixedState>::default();
        let mut summary = WatchSummary::default();
        for watched in self.places.iter().filter(|watched| !watched.data.is_none()) {
            summary.paths += 1;
            summary.total += watched.data.len();
            watched.data.for_each(|watcher, _| {
                watchers.insert(watcher);
            });
        }
        summary.watchers = watchers.len();
        summary
    }

    /// The data table by path.
    #[must_use]
    pub fn by_path(&self) -> BTreeMap<&str, Vec<WatcherId>> {
        let watched = self.places.iter().filter(|watched| !watched.data.is_none());
        watched
            .map(|watched| {
                let mut watchers = Vec::new();
                watched.data.for_each(|watcher, _| watchers.push(watcher));
                (&*watched.path, watchers)
            })
            .collect()
    }

    /// The data table by watcher.
    #[must_use]
    pub fn by_watcher(&self) -> BTreeMap<WatcherId, Vec<&str>> {
        let mut by_watcher: BTreeMap<WatcherId, Vec<&str>> = BTreeMap::new();
        for watched in &self.places {
            watched.data.for_each(|watcher, _| by_watcher.entry(watcher).or_default().push(&watched.path));
        }
        by_watcher
    }

    fn place(&self, path: &str) -> Option<Place> {
        let hash = self.hasher.hash_one(path);
        self.index.find(hash, |&place| *self.places[place as usize].path == *path).copied()
    }

    fn place_or_new(&mut self, path: &str) -> Place {
        if let Some(place) = self.place(path) {
            return place;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Watched::default());
            (self.places.len() - 1) as Place
        });
        self.places[place as usize].path = path.into();
        let Self { hasher, index, places, .. } = self;
        index.insert_unique(hasher.hash_one(path), place, |&place| hasher.hash_one(&*places[place as usize].path));
        place
    }

    /// Takes modes of one watcher in one table away.
    fn take(&mut self, place: Place, kind: WatchKind, watcher: WatcherId, modes: Modes) {
        let watched = &mut self.places[place as usize];
        let side = watched.side(kind);
        if modes.meets(Modes::RECURSIVE) && side.get(watcher).meets(Modes::RECURSIVE) {
            self.recursive -= 1;
        }
        if side.remove(watcher, modes) {
            self.total -= 1;
        }
        if watched.data.get(watcher).is_none()
            && watched.child.get(watcher).is_none()
            && let Some(places) = self.by_watcher.get_mut(watcher.0 as usize)
        {
            places.remove(place);
        }
    }

    /// Frees the place of a path that nobody watches any more.
    fn tidy(&mut self, place: Place) {
        let watched = &self.places[place as usize];
        if !watched.data.is_none() || !watched.child.is_none() {
            return;
        }
        let hash = self.hasher.hash_one(&*watched.path);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == place) {
            entry.remove();
            self.places[place as usize] = Watched::default();
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: WatcherId = WatcherId(1);
    const B: WatcherId = WatcherId(2);

    impl Watches {
        fn watches_of_all(&self) -> usize {
            self.by_watcher.iter().filter(|places| !matches!(places, Places::None)).count()
        }
    }

    fn fire(watches: &mut Watches, kind: WatchKind, path: &str) -> Vec<WatcherId> {
        let mut told = Vec::new();
        watches.trigger(kind, path, &mut told);
        told.sort_unstable();
        told
    }

    #[test]
    fn a_one_shot_watch_fires_once() {
        let mut watches = Watches::default();
        watches.add(WatchKind::Data, "/a", A, Modes::ONE_SHOT);
        watches.add(WatchKind::Data, "/a", A, Modes::ONE_SHOT);
        watches.add(WatchKind::Data, "/a", B, Modes::ONE_SHOT);
        assert_eq!(watches.len(), 2);
        assert_eq!(fire(&mut watches, WatchKind::Data, "/a"), [A, B]);
        assert_eq!(fire(&mut watches, WatchKind::Data, "/a"), []);
        assert!(watches.is_empty() && watches.watches_of_all() == 0 && watches.index.is_empty());
    }

    #[test]
    fn modes_add_up_and_one_trigger_tells_once() {
        let mut watches = Watches::default();
        watches.add(WatchKind::Data, "/a", A, Modes::ONE_SHOT);
        watches.add(WatchKind::Data, "/a", A, Modes::PERSISTENT);
        watches.add(WatchKind::Data, "/", A, Modes::RECURSIVE);
        assert_eq!(fire(&mut watches, WatchKind::Data, "/a"), [A]);
        assert!(!watches.contains("/a", A, WatcherType::Data));
        assert!(watches.contains("/a", A, WatcherType::Persistent));
    }

    #[test]
    fn recursive_watches_hear_of_descendants_but_not_of_namesakes() {
        let mut watches = Watches::default();
        watches.add(WatchKind::Data, "/v/p", A, Modes::RECURSIVE);
        assert_eq!(fire(&mut watches, WatchKind::Data, "/v/p/x/y"), [A]);
        assert_eq!(fire(&mut watches, WatchKind::Data, "/v/pp"), []);
        assert_eq!(fire(&mut watches, WatchKind::Child, "/v/p/x"), []);
        assert!(watches.remove("/v/p", A, WatcherType::PersistentRecursive));
        assert_eq!((watches.recursive, fire(&mut watches, WatchKind::Data, "/v/p")), (0, vec![]));
    }

    #[test]
    fn watches_die_with_their_watcher() {
        let mut watches = Watches::default();
        for (path, modes) in [("/a", Modes::ONE_SHOT), ("/b", Modes::PERSISTENT), ("/c", Modes::RECURSIVE)] {
            watches.add(WatchKind::Data, path, A, modes);
            watches.add(WatchKind::Child, path, B, modes);
        }
        watches.remove_watcher(A);
        assert_eq!((watches.len(), watches.summary()), (3, WatchSummary::default()));
        watches.remove_watcher(B);
        assert!(watches.is_empty() && watches.watches_of_all() == 0 && watches.index.is_empty());
    }
}
