//! Who a connection is: what it says of that is answered at once.

use super::{Lane, LaneState};
use crate::auth::{Identities, Identity, Meant};
use crate::ids::Zxid;
use crate::jute::JuteWrite;
use crate::pipeline::Database;
use crate::proto::{Auth, ErrorCode, OpCode, ReplyHeader, RequestHeader};

/// All that a connection may be known as, bytes.
const IDENTITY_BYTES_MAX: usize = 64 << 10;

impl LaneState {
    /// The connection is known to be these as well. False if that is too much of it: each of its writes carries them all.
    fn prove(&mut self, new: Vec<Identity>) -> bool {
        let new = new.into_iter().filter(|identity| !self.identities.contains(identity));
        let all: Identities = self.identities.iter().cloned().chain(new).collect();
        let fits = all.iter().map(|identity| identity.id.len()).sum::<usize>() <= IDENTITY_BYTES_MAX;
        if fits {
            self.identities = all;
        }
        fits
    }
}

/// auth and sasl packets are answered at once, whatever waits (client-protocol.md 9.1).
pub(super) fn authenticate(
    database: &Database,
    lane: &Lane,
    state: &mut LaneState,
    header: RequestHeader,
    body: &[u8],
) {
    let (xid, op) = (header.xid, header.op);
    if op == OpCode::SASL {
        match crate::jute::buffer(body) {
            Ok((_, Some(token))) => answer_sasl(database, lane, state, xid, token),
            Ok((_, None)) | Err(_) => drop(state.cut()),
        }
        return;
    }
    let Ok((_, auth)) = Auth::decode(body) else {
        state.cut();
        return;
    };
    if let Some(meant) = database.auth().meant(&auth) {
        lane.statistics.met(meant);
        if meant == Meant::Another {
            state.cut();
        } else {
            state.push_reply(&lane.statistics, None, (op, 0, 0), connection_reply(xid, ErrorCode::OK), |_| ());
        }
        return;
    }
    let proven = database.auth().authenticate(&auth, lane.ip, &state.identities);
    if proven.is_some_and(|new| state.prove(new)) {
        state.push_reply(&lane.statistics, None, (op, 0, 0), connection_reply(xid, ErrorCode::OK), |_| ());
    } else {
        state.push_reply(&lane.statistics, None, (op, 0, 0), connection_reply(xid, ErrorCode::AUTH_FAILED), |_| ());
        state.close();
    }
}

fn answer_sasl(database: &Database, lane: &Lane, state: &mut LaneState, xid: i32, token: &[u8]) {
    let answer = database.auth().answer_sasl(state.sasl.get_or_insert_default(), token, lane.id);
    if let Some(reason) = answer.failure {
        tracing::info!(client = %lane.address(), %reason, "SASL failed");
    }
    let fits = state.prove(answer.identities);
    let error = if fits { answer.error } else { ErrorCode::AUTH_FAILED };
    let (moment, reply) = ((OpCode::SASL, 0, 0), connection_reply(xid, error));
    state.push_reply(&lane.statistics, None, moment, reply, |out| out.buffer(answer.token.as_deref()));
    if error != ErrorCode::OK {
        state.close();
    }
}

/// The header of an answer that the connection gives by itself.
pub(super) const fn connection_reply(xid: i32, error: ErrorCode) -> ReplyHeader {
    ReplyHeader { xid, zxid: Zxid::ZERO, error }
}
