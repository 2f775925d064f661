//! What is kept on disk.

pub mod durable;

pub use durable::Durable;
