//! The two frames that open a session (client-protocol.md 3.1).

use bytes::BufMut;

use crate::ids::{SessionId, Zxid};
use crate::jute::{JuteWrite, Parsed, boolean, buffer, int, long};

/// Bytes of a session password.
pub const PASSWORD_LENGTH: usize = 16;

/// A client's first frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectRequest<'a> {
    /// Not looked at.
    pub protocol_version: i32,
    /// The newest zxid that the client knows of.
    pub last_zxid_seen: Zxid,
    /// The session timeout it asks for, ms.
    pub timeout_ms: i32,
    /// The session it wants back; [`SessionId::NONE`] for a new one.
    pub session: SessionId,
    /// That session's password.
    pub password: Option<&'a [u8]>,
    /// Whether a read-only server will do; `None` from clients up to 3.3, which do not send the byte.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Decodes the record; bytes behind it are ignored.
    ///
    /// # Errors
    /// When the part before the optional byte is cut short.
    pub fn decode(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, protocol_version) = int(input)?;
        let (input, last_zxid_seen) = long(input)?;
        let (input, timeout_ms) = int(input)?;
        let (input, session) = long(input)?;
        let (input, password) = buffer(input)?;
        // Clients from before read-only mode send no `readOnly` byte here; the reply then leaves it out as well.
        let (input, read_only) = match boolean(input) {
            Ok((input, flag)) => (input, Some(flag)),
            Err(_) => (input, None),
        };
        let request = Self {
            protocol_version,
            last_zxid_seen: Zxid(last_zxid_seen),
            timeout_ms,
            session: SessionId(session),
            password,
            read_only,
        };
        Ok((input, request))
    }

    /// Encodes the record, without a frame's length.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.int(self.protocol_version);
        out.long(self.last_zxid_seen.0);
        out.int(self.timeout_ms);
        out.long(self.session.0);
        out.buffer(self.password);
        if let Some(read_only) = self.read_only {
            out.boolean(read_only);
        }
    }
}

/// The server's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectResponse {
    /// The session timeout that holds, ms; 0 when the session is not valid.
    pub timeout_ms: i32,
    /// The session; [`SessionId::NONE`] when not valid.
    pub session: SessionId,
    /// Its password, all zero when not valid.
    pub password: [u8; PASSWORD_LENGTH],
    /// Present only if the request had the byte.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The answer to a session that is unknown, expired, closed or claimed with a wrong password (CL-11).
    #[must_use]
    pub const fn invalid(read_only: Option<bool>) -> Self {
        Self { timeout_ms: 0, session: SessionId::NONE, password: [0; PASSWORD_LENGTH], read_only }
    }

    /// Encodes the record, without a frame's length.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.int(0);
        out.int(self.timeout_ms);
        out.long(self.session.0);
        out.buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            out.boolean(read_only);
        }
    }

    /// Decodes the record (for clients: bench and tools).
    ///
    /// # Errors
    /// When it is cut short.
    pub fn decode(input: &[u8]) -> Parsed<'_, Self> {
        let (input, _) = int(input)?;
        let (input, timeout_ms) = int(input)?;
        let (input, session) = long(input)?;
        let (input, password) = buffer(input)?;
        let mut fixed = [0; PASSWORD_LENGTH];
        for (to, from) in fixed.iter_mut().zip(password.unwrap_or_default()) {
            *to = *from;
        }
        let (input, read_only) = match boolean(input) {
            Ok((input, flag)) => (input, Some(flag)),
            Err(_) => (input, None),
        };
        Ok((input, Self { timeout_ms, session: SessionId(session), password: fixed, read_only }))
    }
}
