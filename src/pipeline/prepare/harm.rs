//! What stops or kills an Apache server (COMPAT.md): a server does not ask its leader for it, whatever kind that is.

use crate::proto::{Create, ErrorCode, OpCode, Request};
use crate::tree::limits_root;

/// What a write gets that must not be passed on. What stands inside of a multi is for the leader to refuse.
#[must_use]
pub fn refuse_harm(op: OpCode, body: &[u8]) -> Option<ErrorCode> {
    match Request::decode(op, body) {
        Ok((_, Request::Create(create))) => does_harm(&create).then_some(ErrorCode::BAD_ARGUMENTS),
        Ok(_) => None,
        Err(_) => Some(ErrorCode::MARSHALLING),
    }
}

fn does_harm(create: &Create<'_>) -> bool {
    let is_no_ttl = create.op == OpCode::CREATE_TTL && !create.mode().is_some_and(|mode| mode.ttl);
    is_no_ttl || create.path.as_deref().is_some_and(limits_root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::JuteWrite;
    use crate::proto::OPEN_ACL;

    fn create(path: &str, flags: i32, ttl_ms: Option<i64>) -> Vec<u8> {
        let mut body = Vec::new();
        body.ustring(path);
        body.buffer(Some(b""));
        body.extend_from_slice(OPEN_ACL.as_bytes());
        body.int(flags);
        ttl_ms.into_iter().for_each(|ttl_ms| body.long(ttl_ms));
        body
    }

    #[test]
    fn what_hurts_a_leader_is_answered_before_it() {
        let refused = |op, body: &[u8]| refuse_harm(op, body);
        let good = create("/a", 0, None);
        assert_eq!(refused(OpCode::CREATE, &good), None);
        assert_eq!(refused(OpCode::CREATE, &good[..good.len() - 1]), Some(ErrorCode::MARSHALLING));
        let limits = create("/zookeeper/quota/zookeeper_limits", 0, None);
        assert_eq!(refused(OpCode::CREATE2, &limits), Some(ErrorCode::BAD_ARGUMENTS));
        assert_eq!(refused(OpCode::CREATE, &create("/zookeeper/quota/a/zookeeper_limits", 0, None)), None);
        assert_eq!(refused(OpCode::CREATE_TTL, &create("/a", 5, Some(1000))), None);
        assert_eq!(refused(OpCode::CREATE_TTL, &create("/a", 0, Some(-1))), Some(ErrorCode::BAD_ARGUMENTS));
        assert_eq!(refused(OpCode::CLOSE_SESSION, &[]), None);
    }
}
