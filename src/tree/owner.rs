//! Who a znode belongs to, packed into one number on disk (semantics.md 1.2).

use crate::ids::SessionId;

/// A znode's kind, as its stored owner says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Nobody: it stays until deleted.
    Nobody,
    /// A session, with which it dies.
    Session(SessionId),
    /// The container reaper.
    Container,
    /// The TTL reaper, after so many ms without a change.
    Ttl(i64),
}

const CONTAINER: i64 = i64::MIN;
const TTL_MARK: i64 = 0xff << 56;
/// The longest time to live, ms: 40 bits.
pub const TTL_MAX_MS: i64 = (1 << 40) - 1;

impl Owner {
    /// Reads the stored number. Without `extended_types` a TTL mark counts as a session.
    #[must_use]
    pub const fn from_stored(owner: i64, extended_types: bool) -> Self {
        match owner {
            0 => Self::Nobody,
            CONTAINER => Self::Container,
            _ if extended_types && owner & (0xffff << 40 | TTL_MARK) == TTL_MARK => Self::Ttl(owner & TTL_MAX_MS),
            _ => Self::Session(SessionId(owner)),
        }
    }

    /// The number to store.
    #[must_use]
    pub const fn to_stored(self) -> i64 {
        match self {
            Self::Nobody => 0,
            Self::Session(session) => session.0,
            Self::Container => CONTAINER,
            Self::Ttl(ttl_ms) => TTL_MARK | ttl_ms,
        }
    }

    /// What clients see as `ephemeralOwner`: containers and TTL znodes show 0.
    #[must_use]
    pub const fn visible(self) -> i64 {
        match self {
            Self::Session(session) => session.0,
            Self::Nobody | Self::Container | Self::Ttl(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_owner_round_trips() {
        for owner in [Owner::Nobody, Owner::Session(SessionId(1 << 56)), Owner::Container, Owner::Ttl(TTL_MAX_MS)] {
            assert_eq!(Owner::from_stored(owner.to_stored(), true), owner);
        }
        let ttl = Owner::Ttl(5).to_stored();
        assert_eq!(Owner::from_stored(ttl, false), Owner::Session(SessionId(ttl)));
    }
}
