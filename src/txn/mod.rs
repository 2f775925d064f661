//! Transactions: what the log holds, the leader proposes and the tree applies (storage.md 2.3).
//!
//! A txn lives as the bytes of its log record from the moment it is prepared; [`Entry`] borrows from them.

mod header;
mod record;

pub use header::{TxnDigest, TxnHeader};
pub use record::{CreateKind, CreateTxn, Entry, SetAclTxn, SetDataTxn, Txn};
