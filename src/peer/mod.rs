//! One server as a value: inputs go in, outputs come out, and nothing here waits, reads a clock or touches a file.
//!
//! A server is always in one role. Alone it leads: its own log is the quorum, and what is durable there is committed.
//! In an ensemble it looks for a leader, then leads or follows, and when that ends it winds up and looks again:
//!
//! ```text
//! winding up ─► looking ─► leading    (epoch, histories, synchronisation, serving)
//!      ▲           └─────► following  (dialling, epoch, synchronisation, serving)
//!      └── quorum or leader lost ──┘
//! ```

mod backups;
mod clients;
mod clock;
mod core;
mod following;
mod leading;
mod learners;
mod local;
mod members;
mod reading;
mod restore;
mod rules;
mod server;
mod serving;
mod standing;
mod synchronising;

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ConnectionId, Epoch, LinkId, Now, SessionId, Sid, Zxid};
use crate::pipeline::{Greeting, Lane, LoadDatabase, SharedDatabase, WriteRequest};
use crate::storage::Durable;
use crate::storage::epochs::{EpochFile, Epochs};
use crate::storage::snapshot::SnapshotDigest;
use crate::zab::{Arrival, Logged, Membership, Notification, Packet};

pub use restore::Loading;
pub use rules::{EnsembleRules, PeerRules, ReaperRules, SnapshotRules};
pub use server::Peer;
pub use standing::{ExpirySets, LearnerStanding, Mode, Report, Standing};

/// All that can happen to a server.
#[derive(Debug)]
pub enum Input {
    /// A connection's first frame.
    Connect(Arc<Lane>, Greeting),
    /// Writes of clients, in the order in which each lane received its own; syncs as well.
    Writes(Vec<WriteRequest>),
    /// A connection is gone.
    Disconnected(ConnectionId),
    /// The log is on stable storage up to here.
    Durable(Durable),
    /// The log has no room (true), or has room again (false).
    DiskFull(bool),
    /// The walk of this number for a learner has ended; whether what it yielded is whole.
    WalkEnded(u64, bool),
    /// The walk of this number for a snapshot file has ended; `None`: there is no such file.
    SnapshotWritten(u64, Option<Durable>),
    /// The log file is long enough: begin a new one.
    RollWanted,
    /// Another server says something on the election port.
    Notified(Sid, Notification),
    /// Whether another server can be reached on the election port has changed.
    Reachable(Sid, bool),
    /// A learner has connected to the quorum port.
    LearnerConnected(LinkId),
    /// Packets from a learner.
    FromLearner(LinkId, Vec<Packet>),
    /// A learner has taken more of the database that it is sent.
    LearnerTakes(LinkId),
    /// A learner's connection is gone.
    LearnerGone(LinkId),
    /// The leader was reached: [`Output::Dial`] has succeeded.
    LeaderConnected(LinkId),
    /// What the leader sends; nothing yet while it is in the middle of a database.
    FromLeader(LinkId, Vec<Arrival>),
    /// The leader cannot be reached, or its connection is gone.
    LeaderGone(LinkId),
    /// [`Output::WriteEpoch`] is done.
    EpochWritten(EpochFile, Epoch),
    /// [`Output::Truncate`] is done: what is left. `None`: the target cannot be got to with what is on disk.
    Truncated(Option<Box<Restored>>),
    /// What [`Output::ReadLog`] has found; `None`: the log does not go back so far, or what is missing is too much.
    LogRead(LinkId, Option<Vec<Logged>>),
    /// A database that somebody brings: it takes the place of this server's. Members of an ensemble do not take it.
    Restore(Box<LoadDatabase>),
    /// Time has passed.
    Tick,
    /// Take no more writes; finish those that were taken.
    Stop,
}

/// All that a server wants done.
#[derive(Debug)]
pub enum Output {
    /// Append these records to the log and flush it.
    Append(Vec<Logged>),
    /// Begin a new log file with the next record.
    RollLog,
    /// Write a snapshot file: this is its beginning, the rest comes from the database. Then say
    /// [`Input::SnapshotWritten`].
    Snapshot(SnapshotStart),
    /// Remove from disk whatever is above this zxid, except the snapshot that was just written there: the leader's
    /// database took its place. Done before anything else is appended.
    Forget(Zxid),
    /// Write an epoch file; then say [`Input::EpochWritten`].
    WriteEpoch(EpochFile, Epoch),
    /// Forget the txns behind this one, and load what is left; then say [`Input::Truncated`].
    Truncate(Zxid),
    /// Read the txns between the two (both not included) from the log, with a txn at or before the first; then say
    /// [`Input::LogRead`].
    ReadLog(LinkId, Zxid, Zxid),
    /// Tell another server something on the election port.
    Notify(Sid, Notification),
    /// The members have changed: what is on disk about them has to say so before anything else is appended, and other
    /// servers are to be found at their new addresses.
    Members(Box<Membership>),
    /// Let learners connect at this door, and at no other; connections from before are closed.
    Listen(Option<Door>),
    /// Send these bytes to a learner.
    ToLearner(LinkId, Vec<u8>),
    /// Send the database to a learner: SNAP, this beginning, the rest from the database, the signature; behind what
    /// was sent before and before what is sent after. Then say [`Input::WalkEnded`].
    DatabaseToLearner(LinkId, SnapshotStart),
    /// Close a learner's connection.
    CloseLearner(LinkId),
    /// Connect to this door of a server; a connection from before is closed. Then say [`Input::LeaderConnected`] or
    /// [`Input::LeaderGone`].
    Dial(LinkId, Sid, Door),
    /// Send these bytes to the leader.
    ToLeader(LinkId, Vec<u8>),
    /// Close the connection to the leader.
    CloseLeader(LinkId),
    /// A session ended because it was not heard of.
    SessionExpired(SessionId),
    /// What reports say of this server has changed.
    Standing(Arc<Standing>),
    /// An election begins.
    Looking,
    /// It has chosen a leader; that this server serves is said when it does.
    Elected,
    /// The server cannot go on: the process has to end and tell why.
    Fail(String),
}

/// Where a server lets learners in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// The quorum port, of a leader.
    Leader,
    /// `observerMasterPort`, of a follower: observers may learn from it instead.
    Master,
}

/// Where a snapshot starts.
#[derive(Debug)]
pub struct SnapshotStart {
    /// The number of its walk.
    pub walk: u64,
    /// The last txn that it holds; its name.
    pub zxid: Zxid,
    /// What its file says of the tree; `None` when digests are off.
    pub digest: Option<SnapshotDigest>,
    /// Sessions and ACL table, encoded.
    pub head: Vec<u8>,
}

/// What comes back from disk.
#[derive(Debug)]
pub struct Restored {
    /// The database.
    pub load: LoadDatabase,
    /// The last txns, as many as are kept, oldest first.
    pub history: Vec<Logged>,
    /// All of it is on stable storage.
    pub durable: Durable,
}

/// What a server begins with.
#[derive(Debug)]
pub struct Beginning {
    /// The database as it was recovered.
    pub database: SharedDatabase,
    /// The last txns, as many as are kept, oldest first.
    pub history: Vec<Logged>,
    /// The last txn in the log, all of which is on stable storage; -1 when the database is lost.
    pub durable: Durable,
    /// How many txns were replayed: they count towards the next snapshot.
    pub replayed_txns: u64,
    /// The epochs of a member of an ensemble; anything for a server alone.
    pub epochs: Epochs,
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

/// A txn's record, as it is logged.
type Record = Bytes;
