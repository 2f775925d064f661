//! Real files: the only module that opens one of the database's.
//!
//! [`RealDisk`] is the [`Disk`](crate::storage::Disk) of a running server; [`LogWriter`] is the thread that appends to
//! the txn log and says when txns are durable. Formats and decisions are in [`crate::storage`].

mod atomic_file;
mod direct;
mod files;
mod linking;
mod log_out;
mod log_segment;
mod log_writer;
mod looking;

pub use atomic_file::replace_file;
pub use files::{Directories, OpenError, RealDisk};
pub use linking::link_beside;
pub use log_writer::{FlushRules, LogOptions, LogReport, LogWriter, Stopped};
pub use looking::LookingDisk;
