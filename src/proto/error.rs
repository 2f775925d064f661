//! Error codes: answers that a client expects, not failures of ours.

use std::fmt;

/// The code in a reply header or an error txn (CL-53). Zero is success.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ErrorCode(pub i32);

macro_rules! error_codes {
    ($($name:ident = $code:literal, $word:literal;)*) => {
        impl ErrorCode {
            $(#[doc = concat!("`", $word, "`.")] pub const $name: ErrorCode = ErrorCode($code);)*

            /// The code's name in the reference; `None` for a number without one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self { $(ErrorCode::$name => Some($word),)* _ => None }
            }
        }
    };
}

error_codes! {
    OK = 0, "Ok";
    SYSTEM_ERROR = -1, "SystemError";
    RUNTIME_INCONSISTENCY = -2, "RuntimeInconsistency";
    CONNECTION_LOSS = -4, "ConnectionLoss";
    MARSHALLING = -5, "MarshallingError";
    UNIMPLEMENTED = -6, "Unimplemented";
    BAD_ARGUMENTS = -8, "BadArguments";
    NEW_CONFIG_NO_QUORUM = -13, "NewConfigNoQuorum";
    RECONFIG_IN_PROGRESS = -14, "ReconfigInProgress";
    NO_NODE = -101, "NoNode";
    NO_AUTH = -102, "NoAuth";
    BAD_VERSION = -103, "BadVersion";
    NO_CHILDREN_FOR_EPHEMERALS = -108, "NoChildrenForEphemerals";
    NODE_EXISTS = -110, "NodeExists";
    NOT_EMPTY = -111, "NotEmpty";
    SESSION_EXPIRED = -112, "SessionExpired";
    INVALID_ACL = -114, "InvalidACL";
    AUTH_FAILED = -115, "AuthFailed";
    SESSION_MOVED = -118, "SessionMoved";
    NOT_READ_ONLY = -119, "NotReadOnly";
    EPHEMERAL_ON_LOCAL_SESSION = -120, "EphemeralOnLocalSession";
    NO_WATCHER = -121, "NoWatcher";
    REQUEST_TIMEOUT = -122, "RequestTimeout";
    RECONFIG_DISABLED = -123, "ReconfigDisabled";
    SESSION_CLOSED_REQUIRE_AUTH = -124, "SessionClosedRequireAuth";
    QUOTA_EXCEEDED = -125, "QuotaExceeded";
    THROTTLED_OP = -127, "ThrottledOp";
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}
