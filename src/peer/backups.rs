//! A snapshot that somebody asks for, and a database that somebody brings to take the place of this one.
//!
//! Only a server alone takes another database: its own log is the quorum. It winds up as any role does, writes the new
//! database to disk under a zxid that nothing in its log is above, and only then serves again.

use std::sync::Arc;
use std::task::Waker;

use super::core::{Core, Leave, Outcome, WalkFor};
use super::leading::Leading;
use super::server::{Peer, Role};
use super::{Output, SnapshotStart};
use crate::ids::Now;
use crate::pipeline::LoadDatabase;

impl Peer {
    /// Begins a snapshot file that whoever asks will write, and tell of with
    /// [`Input::SnapshotWritten`](super::Input::SnapshotWritten). `None`: not now, or not at all.
    #[must_use]
    pub fn begin_snapshot(&mut self) -> Option<SnapshotStart> {
        if self.writes_snapshots() { self.core.begin_asked() } else { None }
    }

    /// Whether snapshots can be had of it: not while it looks for a leader, nor of an observer that keeps nothing on disk.
    #[must_use]
    pub fn writes_snapshots(&self) -> bool {
        matches!(self.role, Role::Leading(_) | Role::Following(_)) && self.core.keeps_log()
    }

    /// Whether a database that was brought is not in place yet.
    #[must_use]
    pub fn restoring(&self) -> bool {
        self.election.is_none() && matches!(self.role, Role::WindingUp { .. })
    }

    /// How many databases that were brought are in place.
    #[must_use]
    pub const fn restored(&self) -> u64 {
        self.restored
    }

    /// Another database is to take the place of this one.
    pub(super) fn restore(&mut self, load: Box<LoadDatabase>) -> Outcome {
        if self.election.is_some() || self.core.stopping || !matches!(self.role, Role::Leading(_)) {
            return Ok(());
        }
        self.brought = Some(load);
        Err(Leave::because("a database was brought that takes the place of this one"))
    }

    /// Goes on once nothing of the old database is in flight, and again once the new one is on disk.
    pub(super) fn try_restore(&mut self, now: Now, wake: &mut Vec<Waker>) {
        if !self.core.is_settled() || self.core.is_writing_file() {
            return;
        }
        let last = self.core.last_logged;
        let _nobody_is_connected = self.core.apply(now, last, &[], wake);
        if let Some(mut load) = self.brought.take() {
            load.rise_to(last);
            self.restored += 1;
            self.core.take_over(now, *load);
            return;
        }
        match Leading::alone(&mut self.core, now) {
            Ok(leading) => self.role = Role::Leading(Box::new(leading)),
            Err(leave) => self.core.send(Output::Fail(leave.reason)),
        }
    }
}

impl Core {
    /// Begins a snapshot file that somebody else writes.
    fn begin_asked(&mut self) -> Option<SnapshotStart> {
        // A log that is being cut takes the database with it.
        if !self.is_free() {
            return None;
        }
        let database = Arc::clone(&self.database);
        let start = self.begin_walk(&mut database.write(), WalkFor::File)?;
        self.snapshots.begun();
        self.output(Output::RollLog);
        Some(start)
    }
}
