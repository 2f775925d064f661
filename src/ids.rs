//! The numbers of the protocol, each with a type of its own, so that a session id cannot stand where a zxid belongs.

use std::fmt;

/// The high half of a [`Zxid`]: one reign of one leader.
pub type Epoch = i32;

/// A transaction id: the leader's epoch in the high half, its counter in the low half.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zxid(pub i64);

impl Zxid {
    /// The zxid before every other: an empty database.
    pub const ZERO: Zxid = Zxid(0);

    /// Puts a zxid together from its halves.
    #[must_use]
    pub const fn new(epoch: Epoch, counter: u32) -> Self {
        Zxid(((epoch as i64) << 32) | counter as i64)
    }

    /// The epoch in the high half (arithmetic shift, so zxid -1 has epoch -1, storage.md 1.1).
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        (self.0 >> 32) as Epoch
    }

    /// The counter in the low half.
    #[must_use]
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The zxid of the next txn; `None` once this epoch's counter is used up (EN-17).
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.counter().checked_add(1) {
            Some(counter) => Some(Zxid::new(self.epoch(), counter)),
            None => None,
        }
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A server of the ensemble: its `myid`, 0 to 255.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sid(pub u8);

/// A session. Its top byte names the server that issued it (CL-08).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

impl SessionId {
    /// No session: the server itself acts (container removal), or a client asks for a new one.
    pub const NONE: SessionId = SessionId(0);

    /// The first id a server issues: its sid in the top byte, the clock in bits 16..55 (CL-08).
    ///
    /// `clock_ms` is any clock that does not repeat over restarts, in milliseconds.
    #[must_use]
    pub const fn first(sid: Sid, clock_ms: u64) -> Self {
        let clock = (clock_ms << 24) >> 8;
        let id = ((sid.0 as u64) << 56 | clock) as i64;
        if id == i64::MIN { SessionId(id + 1) } else { SessionId(id) }
    }

    /// The server that issued it.
    #[must_use]
    pub const fn issuer(self) -> Sid {
        Sid((self.0 >> 56) as u8)
    }

    /// The id after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        SessionId(self.0.wrapping_add(1))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One socket of one client; never reused while the process lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// One connection between two servers; never reused while the process lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// Time as the core sees it: it never reads a clock, every input says what time it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Now {
    /// Milliseconds of a clock that only moves forward; deadlines are in this scale.
    pub steady_ms: u64,
    /// Milliseconds since the Unix epoch; goes into txn headers and nowhere else.
    pub wall_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_is_an_epoch_and_a_counter() {
        let zxid = Zxid::new(1, 7);
        assert_eq!((zxid.epoch(), zxid.counter()), (1, 7));
        assert_eq!(format!("{zxid:?}"), "0x100000007");
        assert_eq!(Zxid(-1).epoch(), -1);
        assert_eq!(Zxid::new(1, u32::MAX).next(), None);
        assert_eq!(Zxid::new(1, 7).next(), Some(Zxid::new(1, 8)));
    }

    #[test]
    fn session_ids_carry_the_server_in_the_top_byte() {
        let first = SessionId::first(Sid(1), 0x1234_5678);
        assert_eq!(first.0 >> 56, 1);
        assert_eq!(first.0 & 0xffff, 0);
        assert_eq!(SessionId::first(Sid(0x80), 0), SessionId(i64::MIN + 1));
    }
}
