//! What is kept on disk, byte for byte as Apache ZooKeeper keeps it: txn logs, snapshots, epochs, and how a server
//! comes back from them (storage.md).
//!
//! Nothing here opens a file: everything goes through [`Disk`], so that a simulated ensemble can crash between any
//! two steps. The real files, the log writer's thread and the lock live in [`crate::disk`].

pub mod compression;
pub mod disk;
pub mod durable;
pub mod epochs;
pub mod log_files;
pub mod log_range;
pub mod memory_disk;
pub mod recovery;
pub mod retention;
pub mod snapshot;
pub mod snapshot_body;
pub mod snapshot_files;
pub mod truncate;
pub mod txn_log;
mod window;

pub use disk::{Dir, Disk};
pub use durable::Durable;
pub use memory_disk::MemoryDisk;
