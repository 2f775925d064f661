//! What operators ask, by four-letter words, by HTTP, and through Prometheus: text and JSON that scripts parse, to the
//! letter (ops-surface.md 1 to 3). Each thing is read in one place and told in all forms.

mod connections;
mod environment;
mod http;
mod json;
mod members;
mod monitor;
mod prometheus;
mod sessions;
mod status;
mod view;
mod watches;
mod words;

pub use environment::user_name;
pub use http::{AdminRules, AdminServer, BackupError, Backups, HttpError, MetricsServer, TakenSnapshot};
pub use view::{EnsembleFacts, Facts, Inspect, PrometheusFacts, SharedStanding, TRACE_MASK, View};
pub use words::Words;

/// The ZooKeeper version that this server takes the place of, and its own: parsers read up to the first dash or comma.
pub const VERSION: &str = concat!("3.9.3-zkd", env!("CARGO_PKG_VERSION"), ", built on 2026-11-24 00:00 UTC");

#[cfg(test)]
mod tests;
