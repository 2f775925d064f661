//! The proof that txns are on stable storage.

use crate::ids::Zxid;

/// Proof that the txn log is on stable storage up to this zxid: what an ACK needs in hand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Durable(Zxid);

impl Durable {
    /// Only for those who saw the flush return: the log writer, the snapshot writer, the simulated disk, and recovery, which
    /// flushes the last log file once more before it believes what it has read.
    #[must_use]
    pub const fn after_flush(zxid: Zxid) -> Self {
        Durable(zxid)
    }

    /// The last durable txn.
    #[must_use]
    pub const fn zxid(self) -> Zxid {
        self.0
    }
}
