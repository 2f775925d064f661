//! Fast leader election and Zab: what servers say to each other, and the rules by which they agree (election.md, zab.md).
//!
//! The parts stand here, each a value that knows one rule; [`crate::peer`] puts them together into a server.

mod acks;
mod auth_packet;
mod discovery;
mod election;
mod ensemble;
mod history;
mod membership;
mod notification;
mod packet;
mod reconfig;
mod stream;

pub use acks::Acks;
pub use auth_packet::{AUTH_HEAD_BYTES, AUTH_MAGIC, AuthPacket, AuthStatus};
pub use discovery::EpochAgreement;
pub use election::{Candidacy, Election, ElectionRules, Quorums};
pub use ensemble::{Ensemble, EnsembleError};
pub use history::{Behind, History, Logged, Plan, plan};
pub use membership::Membership;
pub use notification::{
    HELLO_ADDRESS_BYTES_MAX, Hello, HelloError, NO_SERVER, NOTIFICATION_BYTES_MAX, Notification, PeerState, Vote,
};
pub use packet::{LearnerInfo, LearnerRequest, PROTOCOL_VERSION, Packet, PacketError, Reader, SNAPSHOT_SIGNATURE};
pub use reconfig::{next_members, reconfiguration};
pub use stream::{Arrival, LeaderStream, LearnerStream, StreamError};
