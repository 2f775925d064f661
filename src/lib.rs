//! zkd: a coordination server that speaks Apache ZooKeeper's protocols and reads and writes its files.
//!
//! The modules are floors; imports point down only (`tests/tidy.rs` checks it). ARCHITECTURE.md has the map.

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod disk;
pub mod ids;
pub mod jute;
pub mod metrics;
pub mod net;
pub mod node;
pub mod numbered;
pub mod path;
pub mod peer;
pub mod pipeline;
pub mod proto;
pub mod session;
pub mod storage;
pub mod tree;
pub mod txn;
pub mod watch;
pub mod zab;
