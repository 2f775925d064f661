//! The audit log: one line for each change that a client asks this server for, done or refused (AU-01 … AU-03).
//!
//! Lines go to the log under the target `audit`, in the reference's form.

use std::fmt::Write;
use std::net::IpAddr;

use crate::auth::{AuthRules, Identity, java_address};
use crate::ids::SessionId;
use crate::proto::{AclBytes, ErrorCode, MultiOp, OpCode, Perms, Request};
use crate::txn::Txn;

/// What a client has asked for, until it is known what became of it.
#[derive(Debug)]
pub(super) struct Note {
    /// The number of the request.
    pub(super) xid: i32,
    session: SessionId,
    users: String,
    address: IpAddr,
    operation: &'static str,
    path: Option<String>,
    mode: Option<&'static str>,
    acl: Option<String>,
    /// In a multi: what is created, and how.
    creates: Vec<(String, &'static str)>,
}

const CREATE: &str = "create";
const DELETE: &str = "delete";
const SET_DATA: &str = "setData";
const MULTI: &str = "multiOperation";

impl Note {
    /// `None`: not one of the operations that the reference tells of.
    pub(super) fn new(
        (op, xid, body): (OpCode, i32, &[u8]),
        session: SessionId,
        address: IpAddr,
        (auth, identities): (&AuthRules, &[Identity]),
    ) -> Option<Self> {
        let operation = match op {
            OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => CREATE,
            OpCode::DELETE => DELETE,
            OpCode::SET_DATA => SET_DATA,
            OpCode::SET_ACL => "setAcl",
            OpCode::MULTI => MULTI,
            OpCode::RECONFIG => "reconfig",
            _ => return None,
        };
        let users = auth.users(identities);
        let mut note =
            Self { xid, session, users, address, operation, path: None, mode: None, acl: None, creates: Vec::new() };
        note.read(op, body);
        Some(note)
    }

    fn read(&mut self, op: OpCode, body: &[u8]) {
        let owned = |path: &Option<std::borrow::Cow<'_, str>>| path.as_deref().map(str::to_owned);
        match Request::decode(op, body).map(|(_, request)| request) {
            Ok(Request::Create(create)) => (self.path, self.mode) = (owned(&create.path), mode(create.flags)),
            Ok(Request::Delete(delete)) => self.path = owned(&delete.path),
            Ok(Request::SetData(set_data)) => self.path = owned(&set_data.path),
            Ok(Request::SetAcl(set_acl)) => {
                (self.path, self.acl) = (owned(&set_acl.path), Some(acl_text(set_acl.acl)));
            }
            Ok(Request::Multi(parts)) => {
                for part in parts {
                    // The reference leaves out those with a TTL.
                    if let MultiOp::Create(create) = part
                        && create.op != OpCode::CREATE_TTL
                        && let (Some(path), Some(mode)) = (create.path, mode(create.flags))
                    {
                        self.creates.push((path.into_owned(), mode));
                    }
                }
            }
            _ => {}
        }
    }

    /// Tells what became of it: `error`, or this txn.
    pub(super) fn tell(&self, txn: Option<&Txn<'_>>, error: ErrorCode) {
        let txn = txn.filter(|_| error == ErrorCode::OK);
        match txn {
            Some(Txn::Multi(parts)) if parts.iter().any(|(_, part)| matches!(part, Txn::Error(_))) => {
                self.line(MULTI, None, None, false);
            }
            Some(Txn::Multi(parts)) => parts.iter().for_each(|(_, part)| self.tell_part(part)),
            Some(txn) => {
                let path = path_of(txn).or(self.path.as_deref());
                self.line(self.operation, path, self.mode, true);
            }
            None => self.line(self.operation, self.path.as_deref(), self.mode, false),
        }
    }

    fn tell_part(&self, part: &Txn<'_>) {
        let operation = match part {
            Txn::Create(_) => CREATE,
            Txn::Delete(_) => DELETE,
            Txn::SetData(_) => SET_DATA,
            _ => return,
        };
        let path = path_of(part);
        let created = self.creates.iter().find(|(created, _)| operation == CREATE && Some(created.as_str()) == path);
        self.line(operation, path, created.map(|(_, mode)| *mode), true);
    }

    fn line(&self, operation: &str, path: Option<&str>, mode: Option<&str>, is_done: bool) {
        let (session, address) = (self.session.to_string(), java_address(self.address));
        let fields = [
            ("session", Some(session.as_str())),
            ("user", Some(self.users.as_str())),
            ("ip", Some(address.as_str())),
            ("operation", Some(operation)),
            ("znode", path),
            ("znode_type", mode),
            ("acl", self.acl.as_deref()),
        ];
        say(&fields, if is_done { "success" } else { "failure" });
    }
}

/// An ephemeral went with its session. Every server tells of it, in the name of whoever runs it.
pub(super) fn ephemeral_deleted(user: &str, session: SessionId, path: &str) {
    let session = session.to_string();
    let operation = "ephemeralZNodeDeletionOnSessionCloseOrExpire";
    let fields =
        [("session", Some(&*session)), ("user", Some(user)), ("operation", Some(operation)), ("znode", Some(path))];
    say(&fields, "success");
}

/// The server starts (`serverStart`: `success`, `failure`) or stops (`serverStop`: `invoked`), run by this user.
pub fn audit_server(user: &str, operation: &str, result: &str) {
    say(&[("user", Some(user)), ("operation", Some(operation))], result);
}

fn say(fields: &[(&str, Option<&str>)], result: &str) {
    let line = line(fields, result);
    if result == "failure" {
        tracing::error!(target: "audit", "{line}");
    } else {
        tracing::info!(target: "audit", "{line}");
    }
}

fn line(fields: &[(&str, Option<&str>)], result: &str) -> String {
    let mut line = String::new();
    for (name, value) in fields {
        if let Some(value) = value {
            // Nobody may forge a field, or a line.
            let _ = write!(line, "{name}={}\t", value.replace(char::is_control, "?"));
        }
    }
    line + "result=" + result
}

fn path_of<'a>(txn: &'a Txn<'_>) -> Option<&'a str> {
    match txn {
        Txn::Create(create) => Some(&create.path),
        Txn::Delete(path) => Some(path),
        Txn::SetData(set_data) => Some(&set_data.path),
        Txn::SetAcl(set_acl) => Some(&set_acl.path),
        Txn::Check(..) | Txn::Multi(_) | Txn::CreateSession(_) | Txn::CloseSession(_) | Txn::Error(_) => None,
    }
}

const fn mode(flags: i32) -> Option<&'static str> {
    match flags {
        0 => Some("persistent"),
        1 => Some("ephemeral"),
        2 => Some("persistent_sequential"),
        3 => Some("ephemeral_sequential"),
        4 => Some("container"),
        5 => Some("persistent_with_ttl"),
        6 => Some("persistent_sequential_with_ttl"),
        _ => None,
    }
}

/// As the reference writes it: nothing between two entries.
fn acl_text(acl: AclBytes<'_>) -> String {
    let letters =
        [(Perms::CREATE, 'c'), (Perms::DELETE, 'd'), (Perms::READ, 'r'), (Perms::WRITE, 'w'), (Perms::ADMIN, 'a')];
    let mut text = String::new();
    for entry in acl.entries() {
        let _ = write!(
            text,
            "{}:{}:",
            entry.scheme.as_deref().unwrap_or_default(),
            entry.id.as_deref().unwrap_or_default()
        );
        text.extend(letters.iter().filter(|(perms, _)| entry.perms.meets(*perms)).map(|(_, letter)| letter));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_cannot_forge_a_line() {
        let fields = [("user", Some("joe\tresult=success\nuser=ann")), ("ip", None)];
        assert_eq!(line(&fields, "failure"), "user=joe?result=success?user=ann\tresult=failure");
    }

    #[test]
    fn entries_of_an_acl_follow_each_other() {
        let entry = |perms, scheme: &'static str, id: &'static str| crate::proto::Acl {
            perms: Perms(perms),
            scheme: Some(scheme.into()),
            id: Some(id.into()),
        };
        let list = AclBytes::encode_list(&[entry(31, "world", "anyone"), entry(3, "ip", "10.0.0.0/8")]);
        let acl = AclBytes::decode(&list).expect("a list").1;
        assert_eq!(acl_text(acl), "world:anyone:cdrwaip:10.0.0.0/8:rw");
    }
}
