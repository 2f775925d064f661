//! What reports say of a server's role.

use crate::ids::{Epoch, Sid, Zxid};

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
    /// The leader that it follows, or itself.
    pub leader: Option<Sid>,
    /// On a leader: the learners.
    pub learners: Vec<LearnerStanding>,
    /// The last zxid when it began to serve.
    pub since: Zxid,
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
