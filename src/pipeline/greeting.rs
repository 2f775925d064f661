//! The first frame of a connection (client-protocol.md 3.2).

use super::database::Database;
use super::lane::LaneState;
use crate::ids::SessionId;
use crate::proto::ConnectRequest;

/// What a client asks for with its first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The session it wants back; [`SessionId::NONE`] for a new one.
    pub session: SessionId,
    /// That session's password.
    pub password: Vec<u8>,
    /// The timeout it asks for, ms.
    pub timeout_ms: i32,
    /// Whether a read-only server will do; `None` from old clients.
    pub read_only: Option<bool>,
}

/// Takes the first frame. `admit` is asked whether the server takes one more that wants this session. `None`: the
/// connection is to be closed without a byte.
pub fn greet(
    database: &Database,
    state: &mut LaneState,
    frame: &[u8],
    admit: impl FnOnce(SessionId) -> bool,
) -> Option<Greeting> {
    let decoded = ConnectRequest::decode(frame).ok().map(|(_, request)| request);
    let admitted = decoded.filter(|request| admit(request.session));
    // One that has seen more than we have must try another server.
    let Some(request) = admitted.filter(|request| request.last_zxid_seen <= database.last_zxid()) else {
        state.cut();
        return None;
    };
    state.connecting();
    Some(Greeting {
        session: request.session,
        password: request.password.unwrap_or_default().to_vec(),
        timeout_ms: request.timeout_ms,
        read_only: request.read_only,
    })
}
