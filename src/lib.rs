//! zkd: a coordination server that speaks Apache ZooKeeper's protocols and reads and writes its files.
//!
//! The modules are floors; imports point down only (`tests/tidy.rs` checks it). ARCHITECTURE.md has the map.

pub mod disk;
pub mod ids;
pub mod jute;
pub mod path;
pub mod proto;
pub mod storage;
pub mod tree;
pub mod txn;
