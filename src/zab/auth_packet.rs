//! What servers show each other a password with, on both of their ports (election.md 7): QuorumAuthPacket.

use crate::jute::{JuteError, JuteWrite, Parsed, buffer, fail, int, long};

/// What each of them begins with, and nothing else that a server says first.
pub const AUTH_MAGIC: [u8; 8] = [0x5f, 0x24, 0x35, 0x01, 0x35, 0x01, 0xed, 0xcc];
/// What stands before the token, its length included, bytes.
pub const AUTH_HEAD_BYTES: usize = 16;
/// The longest token, bytes: Java looks at none that is longer.
const TOKEN_BYTES_MAX: i32 = 4096;

/// How far an exchange is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthStatus {
    /// More is wanted.
    InProgress,
    /// The password is right.
    Success,
    /// It is not.
    Error,
}

impl AuthStatus {
    const fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::InProgress),
            1 => Some(Self::Success),
            -1 => Some(Self::Error),
            _ => None,
        }
    }

    const fn number(self) -> i32 {
        match self {
            Self::InProgress => 0,
            Self::Success => 1,
            Self::Error => -1,
        }
    }
}

/// One token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthPacket<'a> {
    /// How far the sender is.
    pub status: AuthStatus,
    /// What it says; null from those that have nothing to say.
    pub token: Option<&'a [u8]>,
}

impl<'a> AuthPacket<'a> {
    /// How long a packet that begins so is, bytes.
    ///
    /// # Errors
    /// [`JuteError::Value`] for anything else than a packet, [`JuteError::Length`] for a token that nobody looks at.
    pub fn length(head: &[u8; AUTH_HEAD_BYTES]) -> Result<usize, JuteError> {
        let (rest, _) = Self::status(head)?;
        match int(rest)?.1 {
            -1 => Ok(AUTH_HEAD_BYTES),
            length @ 0..=TOKEN_BYTES_MAX => Ok(AUTH_HEAD_BYTES + usize::try_from(length).unwrap_or(0)),
            length => Err(JuteError::Length(length)),
        }
    }

    /// Decodes the record.
    ///
    /// # Errors
    /// See [`JuteError`].
    pub fn decode(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, status) = Self::status(input)?;
        let (input, token) = buffer(input)?;
        Ok((input, Self { status, token }))
    }

    fn status(input: &[u8]) -> Parsed<'_, AuthStatus> {
        let (input, magic) = long(input)?;
        let (input, status) = int(input)?;
        match AuthStatus::from_number(status) {
            Some(known) if magic == i64::from_be_bytes(AUTH_MAGIC) => Ok((input, known)),
            _ => fail(JuteError::Value(status)),
        }
    }

    /// Encodes the record.
    pub fn encode(&self, out: &mut impl JuteWrite) {
        out.long(i64::from_be_bytes(AUTH_MAGIC));
        out.int(self.status.number());
        out.buffer(self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_packet_is_seen_by_its_head() {
        let mut bytes = Vec::new();
        AuthPacket { status: AuthStatus::Error, token: Some(b"abc") }.encode(&mut bytes);
        let head = |bytes: &[u8]| AuthPacket::length(bytes.first_chunk().unwrap());
        assert_eq!((head(&bytes), bytes.len()), (Ok(19), 19));
        let changed = |at: usize, to: &[u8]| {
            let mut bytes = bytes.clone();
            bytes[at..at + to.len()].copy_from_slice(to);
            head(&bytes)
        };
        assert_eq!(changed(0, &[0]), Err(JuteError::Value(-1)));
        assert_eq!(changed(8, &7_i32.to_be_bytes()), Err(JuteError::Value(7)));
        assert_eq!(changed(12, &4096_i32.to_be_bytes()), Ok(4112));
        assert_eq!(changed(12, &4097_i32.to_be_bytes()), Err(JuteError::Length(4097)));
        assert_eq!(changed(12, &(-1_i32).to_be_bytes()), Ok(16));
        assert_eq!(changed(12, &(-2_i32).to_be_bytes()), Err(JuteError::Length(-2)));
    }
}
