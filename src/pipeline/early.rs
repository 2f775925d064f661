//! Refusing a request before anybody is asked for it: one that was held back for too long (TH-06), and, if the operator
//! wants that, one that the ACLs known here forbid (AC-18).

use super::database::Database;
use crate::auth::Identity;
use crate::path;
use crate::proto::{ErrorCode, OpCode, Perms, Request};
use crate::tree::world_perms;

/// What is refused early.
#[derive(Clone, Copy, Debug)]
pub struct EarlyRules {
    /// `zookeeper.throttled_op_wait_time`, ms: a request that was held back for longer is refused; `None`: none is.
    pub op_wait_max_ms: Option<u64>,
    /// `zookeeper.enableEagerACLCheck`, on a member of an ensemble: writes are looked at before the leader is asked.
    pub check_acls: bool,
}

impl EarlyRules {
    /// Nothing is.
    pub const NONE: Self = Self { op_wait_max_ms: None, check_acls: false };
}

/// Why a request is refused here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It was held back for too long.
    Throttled,
    /// The ACLs forbid it, or the one that it brings is none.
    NotAllowed(ErrorCode),
}

/// Whether a request is refused without asking anybody.
pub(super) fn refuse_early(
    database: &Database,
    identities: &[Identity],
    (op, body): (OpCode, &[u8]),
    waited_ms: u64,
    rules: EarlyRules,
) -> Option<Refusal> {
    let throttled = rules.op_wait_max_ms.is_some_and(|max| waited_ms > max);
    if throttled && op != OpCode::PING && op != OpCode::CLOSE_SESSION {
        return Some(Refusal::Throttled);
    }
    if !rules.check_acls {
        return None;
    }
    check(database, identities, op, body).err().map(Refusal::NotAllowed)
}

/// The parent of a path, unless the leader has more to say of that path than who may.
fn parent(path: &str) -> Option<&str> {
    let is_plain = !path.contains('\0') && !path::RESERVED.contains(&path);
    path::split(path).filter(|_| is_plain).map(|(parent, _)| parent)
}

/// As the leader will look at it, but at the tree as it is here. What is not there is the leader's to judge.
fn check(database: &Database, identities: &[Identity], op: OpCode, body: &[u8]) -> Result<(), ErrorCode> {
    let auth = database.auth();
    let (path, perm) = match Request::decode(op, body) {
        Ok((_, Request::Create(create))) if [OpCode::CREATE, OpCode::CREATE2].contains(&op) => {
            let Some(parent) = create.path.as_deref().and_then(parent) else { return Ok(()) };
            auth.fix_up(create.acl, identities)?;
            (Some(parent.to_owned()), Perms::CREATE)
        }
        Ok((_, Request::Delete(delete))) => {
            (delete.path.as_deref().and_then(parent).map(ToOwned::to_owned), Perms::DELETE)
        }
        Ok((_, Request::SetData(set_data))) => (set_data.path.map(Into::into), Perms::WRITE),
        Ok((_, Request::SetAcl(set_acl))) => {
            auth.fix_up(set_acl.acl, identities)?;
            (set_acl.path.map(Into::into), Perms::ADMIN)
        }
        Ok(_) | Err(_) => return Ok(()),
    };
    let Some(znode) = path.and_then(|path| database.tree().find(&path)) else { return Ok(()) };
    let acl = znode.acl();
    if auth.allows(acl, world_perms(acl), perm, identities) { Ok(()) } else { Err(ErrorCode::NO_AUTH) }
}
