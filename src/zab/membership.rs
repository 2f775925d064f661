//! The members of an ensemble as one server knows them: while a reconfiguration is under way there are two sets of them,
//! and whatever needs a quorum needs one of each (zab.md 11).

use super::{Ensemble, Quorums};
use crate::config::ServerSpec;
use crate::ids::Sid;

/// Who the members are, and who they will be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership {
    /// Those in force.
    pub committed: Ensemble,
    /// Those of a reconfiguration that this server has seen and does not know to be committed.
    pub proposed: Option<Ensemble>,
}

impl Membership {
    /// Members whom no reconfiguration is about to change.
    #[must_use]
    pub const fn settled(committed: Ensemble) -> Self {
        Self { committed, proposed: None }
    }

    /// What a quorum is.
    #[must_use]
    pub const fn quorums(&self) -> Quorums<'_> {
        Quorums { committed: &self.committed, proposed: self.proposed.as_ref() }
    }

    /// One server; where both know it, as it will be.
    #[must_use]
    pub fn server(&self, sid: Sid) -> Option<&ServerSpec> {
        self.proposed.as_ref().and_then(|proposed| proposed.server(sid)).or_else(|| self.committed.server(sid))
    }
}
