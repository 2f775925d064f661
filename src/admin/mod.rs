//! Four-letter words: text that monitoring scripts parse, to the letter (ops-surface.md 1).

mod connections;
mod environment;
mod monitor;
mod sessions;
mod status;
mod view;
mod watches;
mod words;

pub use view::{EnsembleFacts, Facts, Inspect, SharedStanding, View};
pub use words::Words;

/// The ZooKeeper version that this server takes the place of, and its own: parsers read up to the first dash or comma.
pub const VERSION: &str = concat!("3.9.3-zkd", env!("CARGO_PKG_VERSION"), ", built on 2026-11-24 00:00 UTC");

#[cfg(test)]
mod tests;
