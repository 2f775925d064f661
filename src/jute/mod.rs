//! Jute, ZooKeeper's serialisation (client-protocol.md 1): big-endian integers, length-prefixed bytes, no tags.
//!
//! Reading is nom over a whole frame and borrows from it; a length is believed only as far as there are bytes left.
//! Writing appends to any [`bytes::BufMut`]. Null (-1) and empty (0) are different values and both survive.

mod read;
mod write;

pub(crate) use read::fail;
pub use read::{JuteError, Parsed, boolean, buffer, byte, int, long, text, ustring, vector};
pub use write::JuteWrite;

#[cfg(test)]
mod tests;
