//! From a request to its answer: what may be done, what becomes of it, and in which order a client hears of it.
//!
//! ```text
//! lane (a connection's requests, in order)
//!   read  ─ nothing before it unanswered ──► answer from the database
//!   write ─► prepare: checks, against the tree and all that is not yet committed ─► txn ─► log, quorum
//!   read behind a write ─ waits in the lane          commit ─► apply ─► events, reply, the reads behind it
//! ```
//!
//! Every decision of semantics.md stands here once: writes in [`prepare`], reads in [`read`].

mod answer;
mod audit;
mod commit;
mod database;
mod early;
mod greeting;
mod lane;
mod outstanding;
mod prepare;
mod read;
mod statistics;

pub use audit::audit_server;
pub use commit::{Applied, Forwarded, InFlight, Origin, SyncRequest, Synced, Work};
pub use database::{Database, DigestLog, DigestSample, LoadDatabase, SharedDatabase, StartLinker};
pub use early::EarlyRules;
pub use greeting::{Greeting, greet};
pub use lane::{
    Arrival, Lane, LaneInfo, LanePhase, LaneState, LargeRequestRules, ReceiveRules, Received, WriteRequest, disconnect,
    receive,
};
pub use outstanding::Outstanding;
pub use prepare::{Asker, Prepare, PrepareRules, Prepared, makes_ephemeral, multi_layouts, refuse_harm};
pub use statistics::{LaneStatistics, Latency, ServerStatistics};
