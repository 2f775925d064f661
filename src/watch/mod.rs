//! Watches: who wants to hear of which path, and in which way (semantics.md 6).
//!
//! Two tables in one: *data* and *child*. An entry is (path, watcher, modes). Watchers are connections, under small
//! numbers, and their watches die with them. Sized for millions: a path is stored once for both tables, a registration
//! costs a few bytes on either side (`cargo run --release --example watch_memory` prints how many).

mod table;

pub use table::{Modes, WatchSummary, Watches};

/// A connection's number among those that watch; free for another once it is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatcherId(pub u32);

/// Which of the two tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchKind {
    /// Creation, deletion and data of a znode.
    Data,
    /// Its children, and its deletion.
    Child,
}
