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

/// Which stored numbers mark a znode with a time to live, and not a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TtlMarks {
    /// None.
    #[default]
    None,
    /// Those with 0xff in their top byte: `zookeeper.extendedTypesEnabled` (NO-12).
    TopByte,
    /// Every negative number but a container's: `zookeeper.emulate353TTLNodes` as well (NO-13). That is what 3.5.3 stored.
    /// Sessions that a server with a number above 127 has given out look the same.
    TopBit,
}

const CONTAINER: i64 = i64::MIN;
const TTL_MARK: i64 = 0xff << 56;
/// The longest time to live, ms: 40 bits.
pub const TTL_MAX_MS: i64 = (1 << 40) - 1;

impl Owner {
    /// Reads the stored number. A mark that does not count is a session. Of what 3.5.3 stored, as with the reference, the
    /// lower 40 bits are the time to live.
    #[must_use]
    pub const fn from_stored(owner: i64, marks: TtlMarks) -> Self {
        let is_ttl = match marks {
            TtlMarks::None => false,
            TtlMarks::TopByte => owner & (0xffff << 40 | TTL_MARK) == TTL_MARK,
            TtlMarks::TopBit => owner < 0,
        };
        match owner {
            0 => Self::Nobody,
            CONTAINER => Self::Container,
            _ if is_ttl => Self::Ttl(owner & TTL_MAX_MS),
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
            assert_eq!(Owner::from_stored(owner.to_stored(), TtlMarks::TopByte), owner);
            assert_eq!(Owner::from_stored(owner.to_stored(), TtlMarks::TopBit), owner);
        }
        let ttl = Owner::Ttl(5).to_stored();
        assert_eq!(Owner::from_stored(ttl, TtlMarks::None), Owner::Session(SessionId(ttl)));
    }

    #[test]
    fn marks_of_3_5_3_count_where_they_are_asked_for() {
        for (stored, ttl_ms) in
            [(i64::MIN | 5, 5), (i64::MIN | 1 << 59, 0), (i64::MIN | 1 << 40 | 7, 7), (-1, TTL_MAX_MS)]
        {
            assert_eq!(Owner::from_stored(stored, TtlMarks::TopBit), Owner::Ttl(ttl_ms));
            assert_eq!(Owner::from_stored(stored, TtlMarks::TopByte), Owner::Session(SessionId(stored)));
        }
    }
}
