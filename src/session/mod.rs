//! Sessions: their passwords, their timeouts, and who is due to expire (semantics.md 7; SE-01 … SE-05).

mod password;
mod tracker;

pub use password::password;
pub use tracker::{Heartbeat, Negotiation, Session, SessionOwner, Sessions};
