//! The client protocol's words: opcodes, error codes and the records of each operation (client-protocol.md).
//!
//! Bytes and nothing else: what an operation means is decided in `pipeline` and `tree`.

mod acl;
mod connect;
mod error;
mod multi;
mod op;
mod reply;
mod request;
mod stat;

pub use acl::{Acl, AclBytes, ClientInfo, OPEN_ACL, Perms, READ_ACL};
pub use connect::{ConnectRequest, ConnectResponse, PASSWORD_LENGTH};
pub use error::ErrorCode;
pub use multi::{MultiHeader, MultiOp};
pub use op::{OpCode, OpKind};
pub use reply::{EventType, ReplyHeader, end_frame, put_event, start_frame, start_reply};
pub use request::{
    AddWatchMode, Auth, CheckVersion, Create, CreateMode, Reconfig, Request, RequestHeader, SetAcl, SetData,
    SetWatches, WatcherType, Watching,
};
pub use stat::Stat;
