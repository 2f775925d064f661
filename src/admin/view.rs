//! What reports are made from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64};

use parking_lot::RwLock;

use crate::config::ClientAddress;
use crate::ids::Sid;
use crate::metrics::Metrics;
use crate::net::{Clock, Connections, Throttles};
use crate::peer::{ExpirySets, Mode, Report, Standing};
use crate::pipeline::{ServerStatistics, SharedDatabase};

/// What does not change while the server runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `clientPort` and `clientPortAddress`, if the configuration has them.
    pub client_address: Option<ClientAddress>,
    /// `clientPortListenBacklog`.
    pub backlog: i32,
    /// `secureClientPort`; -1 if there is none.
    pub secure_client_port: i32,
    /// `dataDir/version-2`.
    pub snapshot_dir: PathBuf,
    /// `dataLogDir/version-2`.
    pub log_dir: PathBuf,
    /// `tickTime`, ms.
    pub tick_ms: u64,
    /// `maxClientCnxns`.
    pub connections_per_address_max: usize,
    /// Shortest and longest session timeout, ms.
    pub session_timeouts_ms: (i32, i32),
    /// When the server started, steady clock, ms.
    pub started_ms: u64,
    /// `4lw.commands.whitelist`.
    pub words: Vec<String>,
    /// Whether metrics are those of Prometheus.
    pub prometheus: Option<PrometheusFacts>,
    /// `nio.sessionlessCnxnTimeout`, ms.
    pub sessionless_ms: u64,
    /// The configuration as it was read, without secrets.
    pub configuration: String,
    /// The settings that the reference takes for system properties, without secrets.
    pub properties: Vec<(String, String)>,
    /// The ensemble; `None` for a server alone.
    pub ensemble: Option<EnsembleFacts>,
}

/// What Prometheus is told.
#[derive(Clone, Copy, Debug)]
pub struct PrometheusFacts {
    /// `metricsProvider.exportJvmInfo`: about the process, too.
    pub process: bool,
}

/// What a member of an ensemble is set to; who else is in it changes.
#[derive(Clone, Debug)]
pub struct EnsembleFacts {
    /// `myid`.
    pub me: Sid,
    /// `initLimit`, ticks.
    pub init_limit: u32,
    /// `syncLimit`, ticks.
    pub sync_limit: u32,
    /// Whether observers may learn from followers.
    pub observer_masters: bool,
}

/// The server's role, as the machine has said it last.
pub type SharedStanding = Arc<RwLock<Arc<Standing>>>;

/// Who can ask the owner.
pub trait Inspect: Send + Sync {
    /// What the machine tells of itself.
    fn report(&self) -> Report;
    /// Its sessions by when they are due.
    fn expiry_sets(&self) -> ExpirySets;
    /// Lets it forget what `srst` resets.
    fn reset(&self);
}

/// A look at a running server.
#[derive(Clone)]
pub struct View {
    /// What does not change.
    pub facts: Facts,
    /// `clientPort`, which moves with the members; -1 if there is none.
    pub client_port: Arc<AtomicI32>,
    /// The server's role.
    pub standing: SharedStanding,
    /// The tree and the watches.
    pub database: SharedDatabase,
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// What clients have asked.
    pub statistics: Arc<ServerStatistics>,
    /// What holds clients back.
    pub throttles: Arc<Throttles>,
    /// `stmk`. It selects Java log lines; here it is only given back.
    pub trace_mask: Arc<AtomicI64>,
    /// Everything else that is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What only the owner can tell.
    pub inspect: Arc<dyn Inspect>,
}

/// The trace mask that the reference starts with.
pub const TRACE_MASK: i64 = 306;

impl View {
    /// What the server is doing.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.standing.read().mode
    }
}

/// The sizes of all files in a directory, bytes.
pub(super) fn directory_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(|data| data.is_file())
        .map(|data| data.len())
        .sum()
}
