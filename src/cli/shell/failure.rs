//! Why a command failed, and what the user reads of it (TO-11, TO-12).

use std::fmt;

use crate::jute::JuteError;
use crate::proto::ErrorCode;

/// A command that did not do what it should.
#[derive(Debug)]
pub(super) enum Failure {
    /// A server's answer, or what stands for one; and the path as the user wrote it.
    Keeper(ErrorCode, Option<String>),
    /// Anything else, in full.
    Text(String),
    /// There is no such command.
    NoCommand(String),
    /// The file that says what kind of client this is cannot be used.
    Configuration(String),
}

impl Failure {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Keeper(error, _) if *error == code)
    }

    /// What the shell ends with if this was its last command.
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::NoCommand(_) => 127,
            Self::Configuration(_) => 2,
            Self::Keeper(..) | Self::Text(_) => 1,
        }
    }
}

impl From<nom::Err<JuteError>> for Failure {
    fn from(error: nom::Err<JuteError>) -> Self {
        Self::Text(format!("cannot read the server's answer: {}", JuteError::from(error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keeper(code, path) => {
                let Some(words) = words(*code) else { return f.write_str(&message(*code, path.as_deref())) };
                write!(f, "{words}{}", path.as_deref().unwrap_or("null"))
            }
            Self::Text(text) | Self::Configuration(text) => f.write_str(text),
            Self::NoCommand(name) => write!(f, "Command not found: Command not found {name}"),
        }
    }
}

/// What precedes the path where the shell has words of its own.
const fn words(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::NO_NODE => "Node does not exist: ",
        ErrorCode::NO_CHILDREN_FOR_EPHEMERALS => "Ephemerals cannot have children: ",
        ErrorCode::NODE_EXISTS => "Node already exists: ",
        ErrorCode::NOT_EMPTY => "Node not empty: ",
        ErrorCode::NOT_READ_ONLY => "Not a read-only call: ",
        ErrorCode::INVALID_ACL => "Acl is not valid : ",
        ErrorCode::NO_AUTH => "Insufficient permission : ",
        ErrorCode::BAD_ARGUMENTS => "Arguments are not valid : ",
        ErrorCode::BAD_VERSION => "version No is not valid : ",
        ErrorCode::QUOTA_EXCEEDED => "Quota has exceeded : ",
        _ => return None,
    })
}

/// An error in general form.
pub(super) fn message(code: ErrorCode, path: Option<&str>) -> String {
    let name = match code {
        ErrorCode::RECONFIG_IN_PROGRESS => {
            return "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)".to_owned();
        }
        ErrorCode::NEW_CONFIG_NO_QUORUM => {
            return "No quorum of new config is connected and up-to-date with the leader of last commmitted config - \
                    try invoking reconfiguration after new servers are connected and synced"
                .to_owned();
        }
        ErrorCode::NOT_EMPTY => "Directory not empty",
        ErrorCode::SESSION_EXPIRED => "Session expired",
        ErrorCode::SESSION_MOVED => "Session moved",
        ErrorCode::NOT_READ_ONLY => "Not a read-only call",
        ErrorCode::EPHEMERAL_ON_LOCAL_SESSION => "Ephemeral node on local session",
        ErrorCode::NO_WATCHER => "No such watcher",
        ErrorCode::RECONFIG_DISABLED => "Reconfig is disabled",
        ErrorCode::SESSION_CLOSED_REQUIRE_AUTH => "Session closed because client failed to authenticate",
        ErrorCode::QUOTA_EXCEEDED => "Quota has exceeded",
        ErrorCode::THROTTLED_OP => "Op throttled due to high load",
        other => match other.name() {
            Some(name) => name,
            None => return format!("KeeperErrorCode = Unknown error {}", other.0),
        },
    };
    match path {
        None | Some("") => format!("KeeperErrorCode = {name}"),
        Some(path) => format!("KeeperErrorCode = {name} for {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_as_the_reference_words_them() {
        let text = |code, path: Option<&str>| Failure::Keeper(code, path.map(str::to_owned)).to_string();
        assert_eq!(text(ErrorCode::NO_NODE, Some("/a")), "Node does not exist: /a");
        assert_eq!(text(ErrorCode::INVALID_ACL, None), "Acl is not valid : null");
        assert_eq!(text(ErrorCode::NO_AUTH, Some("")), "Insufficient permission : ");
        assert_eq!(text(ErrorCode::NO_WATCHER, Some("/a")), "KeeperErrorCode = No such watcher for /a");
        assert_eq!(text(ErrorCode::RECONFIG_DISABLED, Some("")), "KeeperErrorCode = Reconfig is disabled");
        assert_eq!(text(ErrorCode::CONNECTION_LOSS, Some("/")), "KeeperErrorCode = ConnectionLoss for /");
        assert_eq!(Failure::NoCommand("x".to_owned()).exit_code(), 127);
    }
}
