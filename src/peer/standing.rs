//! What reports say of a server's role.

use std::collections::BTreeMap;

use crate::ids::{Epoch, SessionId, Sid, Zxid};
use crate::zab::Membership;

/// What a server is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// It runs alone.
    #[default]
    Standalone,
    /// It looks for a leader, or is on its way to serve.
    Looking,
    /// It leads and serves.
    Leader,
    /// It follows and serves.
    Follower,
    /// It observes and serves.
    Observer,
    /// It finds no quorum, and answers reads.
    ReadOnly,
}

impl Mode {
    /// As four-letter words print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Looking => "looking",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Observer => "observer",
            Self::ReadOnly => "read-only",
        }
    }
}

/// A server's role.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// What it is doing.
    pub mode: Mode,
    /// Whether clients are served.
    pub serves: bool,
    /// The epoch that it serves in.
    pub epoch: Epoch,
    /// The leader that it follows, or itself; of an observer whom it learns from, which may be an observer master.
    pub leader: Option<Sid>,
    /// On a leader: the learners. On a follower: the observers that learn from it.
    pub learners: Vec<LearnerStanding>,
    /// The last zxid when it began to serve.
    pub since: Zxid,
    /// When it began to serve, steady clock, ms.
    pub since_ms: u64,
    /// Who is in the ensemble; `None` for a server alone.
    pub membership: Option<Membership>,
}

/// What `dump` tells of sessions. Making it takes as long as there are sessions.
#[derive(Clone, Debug, Default)]
pub struct ExpirySets {
    /// The sessions by when they are due, where they are tracked.
    pub tracked: Option<BTreeMap<u64, Vec<SessionId>>>,
    /// The sessions that only this server knows by when they are due, if it has such.
    pub local: Option<BTreeMap<u64, Vec<SessionId>>>,
}

/// What reports tell of a server beside its [`Standing`], when they ask: a few numbers, however many sessions there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// How many sessions only this server knows.
    pub local_sessions: usize,
    /// Bytes of the last proposal, the smallest and the largest; none before the first.
    pub proposal_bytes: Option<(usize, usize, usize)>,
    /// Syncs of learners' clients that wait.
    pub pending_syncs: usize,
}

/// A learner as its leader sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnerStanding {
    /// Which server; `None` when it did not say.
    pub sid: Option<Sid>,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it only observes.
    pub observer: bool,
    /// Whether it is synchronised.
    pub synced: bool,
}
