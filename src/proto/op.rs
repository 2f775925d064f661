//! Operation codes. A struct over the number, so that one from the future can be logged and refused.

use std::fmt;

/// What a request or a txn asks for (CL-19).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpCode(pub i32);

macro_rules! op_codes {
    ($($name:ident = $code:literal, $word:literal, $lop:literal;)*) => {
        impl OpCode {
            $(#[doc = concat!("`", $word, "`.")] pub const $name: OpCode = OpCode($code);)*

            /// The operation's name, as in the reference's source; `None` for a number without one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self { $(OpCode::$name => Some($word),)* _ => None }
            }

            /// How `cons` abbreviates it (FL-09).
            #[must_use]
            pub const fn abbreviation(self) -> &'static str {
                match self { $(OpCode::$name => $lop,)* _ => "NA" }
            }
        }
    };
}

op_codes! {
    ERROR = -1, "error", "NA";
    CREATE_SESSION = -10, "createSession", "SESS";
    CLOSE_SESSION = -11, "closeSession", "CLOS";
    CREATE = 1, "create", "CREA";
    DELETE = 2, "delete", "DELE";
    EXISTS = 3, "exists", "EXIS";
    GET_DATA = 4, "getData", "GETD";
    SET_DATA = 5, "setData", "SETD";
    GET_ACL = 6, "getACL", "GETA";
    SET_ACL = 7, "setACL", "SETA";
    GET_CHILDREN = 8, "getChildren", "GETC";
    SYNC = 9, "sync", "SYNC";
    PING = 11, "ping", "PING";
    GET_CHILDREN2 = 12, "getChildren2", "GETC";
    CHECK = 13, "check", "CHEC";
    MULTI = 14, "multi", "MULT";
    CREATE2 = 15, "create2", "CREA";
    RECONFIG = 16, "reconfig", "RECO";
    CHECK_WATCHES = 17, "checkWatches", "CHKW";
    REMOVE_WATCHES = 18, "removeWatches", "REMW";
    CREATE_CONTAINER = 19, "createContainer", "CREA";
    DELETE_CONTAINER = 20, "deleteContainer", "DELE";
    CREATE_TTL = 21, "createTTL", "CREA";
    MULTI_READ = 22, "multiRead", "MLTR";
    AUTH = 100, "auth", "NA";
    SET_WATCHES = 101, "setWatches", "SETW";
    SASL = 102, "sasl", "NA";
    GET_EPHEMERALS = 103, "getEphemerals", "GETE";
    GET_ALL_CHILDREN_NUMBER = 104, "getAllChildrenNumber", "GETACN";
    SET_WATCHES2 = 105, "setWatches2", "STW2";
    ADD_WATCH = 106, "addWatch", "ADDW";
    WHO_AM_I = 107, "whoAmI", "HOMI";
}

/// Where a client's request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpKind {
    /// Ordered by the leader; takes a zxid.
    Write,
    /// Answered from this server's tree, behind the session's own writes.
    Read,
    /// Answered by the connection at once, outside the order of requests.
    Connection,
    /// Not a client's to ask: error -6, then the connection is closed (client-protocol.md 5.2, 5.4).
    Refused,
}

impl OpCode {
    /// Where a client's request with this opcode is answered.
    #[must_use]
    pub const fn kind(self) -> OpKind {
        match self {
            Self::CREATE
            | Self::CREATE2
            | Self::CREATE_CONTAINER
            | Self::CREATE_TTL
            | Self::DELETE
            | Self::SET_DATA
            | Self::SET_ACL
            | Self::MULTI
            | Self::RECONFIG
            | Self::CLOSE_SESSION => OpKind::Write,
            Self::EXISTS
            | Self::GET_DATA
            | Self::GET_ACL
            | Self::GET_CHILDREN
            | Self::GET_CHILDREN2
            | Self::SYNC
            | Self::PING
            | Self::CHECK_WATCHES
            | Self::REMOVE_WATCHES
            | Self::MULTI_READ
            | Self::SET_WATCHES
            | Self::SET_WATCHES2
            | Self::GET_EPHEMERALS
            | Self::GET_ALL_CHILDREN_NUMBER
            | Self::ADD_WATCH
            | Self::WHO_AM_I => OpKind::Read,
            Self::AUTH | Self::SASL => OpKind::Connection,
            _ => OpKind::Refused,
        }
    }
}

impl fmt::Debug for OpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "opcode {}", self.0),
        }
    }
}
