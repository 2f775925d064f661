//! The tree of znodes: a passive value with one writer, that applies txns and answers reads.

mod stat;

pub use stat::StoredStat;
