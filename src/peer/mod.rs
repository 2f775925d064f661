//! One server as a value: inputs go in, outputs come out, and nothing here waits, reads a clock or touches a file.
//!
//! A standalone server is an ensemble of one: its own log is the quorum, and what is durable there is committed.

mod standalone;

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ConnectionId, Now, SessionId, Zxid};
use crate::pipeline::{Greeting, Lane, WriteRequest};
use crate::storage::Durable;

pub use standalone::{Peer, PeerRules, ReaperRules, SnapshotRules};

/// All that can happen to a server.
#[derive(Debug)]
pub enum Input {
    /// A connection's first frame.
    Connect(Arc<Lane>, Greeting),
    /// Writes of clients, in the order in which each lane received its own.
    Writes(Vec<WriteRequest>),
    /// A connection is gone.
    Disconnected(ConnectionId),
    /// The log is on stable storage up to here.
    Durable(Durable),
    /// The log has no room (true), or has room again (false).
    DiskFull(bool),
    /// The snapshot under way has ended, well or badly.
    SnapshotEnded,
    /// Somebody asked for a snapshot now.
    SnapshotWanted,
    /// The log file is long enough: begin a new one.
    RollWanted,
    /// Time has passed.
    Tick,
    /// Take no more writes; finish those that were taken.
    Stop,
}

/// All that a server wants done.
#[derive(Debug)]
pub enum Output {
    /// Append these records to the log and flush it.
    Append(Vec<(Zxid, Bytes)>),
    /// Begin a new log file with the next record.
    RollLog,
    /// Write a snapshot: this is its beginning, the rest comes from the database.
    Snapshot(SnapshotStart),
    /// A session ended because it was not heard of.
    SessionExpired(SessionId),
}

/// Where a snapshot starts.
#[derive(Debug)]
pub struct SnapshotStart {
    /// The last txn that it holds; its name.
    pub zxid: Zxid,
    /// The tree's digest there; `None` when digests are off.
    pub digest: Option<u64>,
    /// Sessions and ACL table, encoded.
    pub head: Vec<u8>,
}

/// What a server of any kind is told and asked.
pub trait Machine {
    /// Takes one input to its end. Outputs wait in [`Machine::poll_output`], connections to wake are in `wake`.
    fn handle(&mut self, now: Now, input: Input, wake: &mut Vec<std::task::Waker>);
    /// The next thing to be done, in order.
    fn poll_output(&mut self) -> Option<Output>;
    /// When [`Input::Tick`] is due, on the steady clock.
    fn next_deadline(&self) -> Option<u64>;
}
