//! What `zkd migrate check` tells: as text for whoever typed it, as JSON for scripts.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Everything that was found out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Whether zkd can take over as things are.
    pub ready: bool,
    /// The configuration's file.
    pub config: String,
    /// What becomes of its keys.
    pub keys: Keys,
    /// What the server is; `None` when the configuration cannot be used.
    pub server: Option<String>,
    /// What its directories hold; `None` when they cannot be read.
    pub data: Option<Data>,
    /// Settings that must be the same on all servers, whichever kind they are of.
    pub same_everywhere: BTreeMap<&'static str, String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// What has to be mended before.
    pub problems: Vec<String>,
    /// What to do.
    pub next: Vec<String>,
}

/// The keys of a configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Keys {
    /// They have the same effect.
    pub understood: Vec<String>,
    /// They have none, or not all of it; with the reason.
    pub ignored: Vec<String>,
    /// zkd does not start with them; with the reason.
    pub refused: Vec<String>,
}

/// A database on disk.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Data {
    /// `dataDir`.
    pub data_dir: String,
    /// `dataLogDir`.
    pub data_log_dir: String,
    /// Snapshots there are.
    pub snapshots: usize,
    /// Logs there are.
    pub logs: usize,
    /// The snapshot that was loaded; `None` for a new database.
    pub loaded_snapshot: Option<String>,
    /// Txns of the logs above it.
    pub replayed_txns: u64,
    /// The last txn.
    pub last_zxid: String,
    /// `acceptedEpoch`, if there is such a file.
    pub accepted_epoch: Option<i32>,
    /// `currentEpoch`, likewise.
    pub current_epoch: Option<i32>,
    /// Znodes, as `srvr` counts them.
    pub znodes: usize,
    /// Ephemeral znodes.
    pub ephemerals: usize,
    /// Sessions.
    pub sessions: usize,
    /// The tree's digest; `None` with `digest.enabled=false`.
    pub digest: Option<String>,
    /// Digests of snapshots and txns that were compared with the tree's own.
    pub digests_compared: u64,
    /// Those that were not the same.
    pub digests_wrong: u64,
    /// Files that a start would cut, write or remove: what a crash has left.
    pub changes_at_start: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = if self.ready { "ready: zkd can take over" } else { "NOT READY" };
        writeln!(f, "{}: {ready}", self.config)?;
        if let Some(server) = &self.server {
            writeln!(f, "server: {server}")?;
        }
        list(f, "problems", &self.problems)?;
        writeln!(
            f,
            "keys: {} understood, {} ignored, {} refused",
            self.keys.understood.len(),
            self.keys.ignored.len(),
            self.keys.refused.len()
        )?;
        for key in self.keys.refused.iter().chain(&self.keys.ignored) {
            writeln!(f, "  {key}")?;
        }
        if let Some(data) = &self.data {
            write!(f, "{data}")?;
        }
        if !self.same_everywhere.is_empty() {
            writeln!(f, "must be the same on all servers:")?;
            for (key, value) in &self.same_everywhere {
                writeln!(f, "  {key}={value}")?;
            }
        }
        list(f, "notes", &self.notes)?;
        list(f, "next", &self.next)
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = |epoch: Option<i32>| epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
        writeln!(
            f,
            "data: {} snapshots in {}, {} logs in {}",
            self.snapshots, self.data_dir, self.logs, self.data_log_dir
        )?;
        let from = self.loaded_snapshot.as_deref().unwrap_or("an empty tree");
        writeln!(f, "  loaded {from} and {} txns up to {}", self.replayed_txns, self.last_zxid)?;
        writeln!(f, "  epochs: accepted {}, current {}", epoch(self.accepted_epoch), epoch(self.current_epoch))?;
        writeln!(f, "  {} znodes, {} ephemerals, {} sessions", self.znodes, self.ephemerals, self.sessions)?;
        let digest = self.digest.as_deref().unwrap_or("off");
        writeln!(f, "  digest {digest}: {} stored ones compared, {} differ", self.digests_compared, self.digests_wrong)
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}:")?;
    lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
}
