//! Starting and stopping a server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::clock::{SystemClock, millis};
use super::owner::{OwnerHandle, OwnerInbox, OwnerLoop};
use super::restore::Loading;
use super::settings::Settings;
use super::snapshots::{Snapshots, purge_old};
use crate::admin::{Facts, View, Words};
use crate::disk::{Directories, LogReport, LogWriter, OpenError, RealDisk, Rejected};
use crate::ids::{Sid, Zxid};
use crate::metrics::{Basic, Counter, Metrics};
use crate::net::{ClientContext, ClientPort, Clock, Connections, ListenError, listen};
use crate::peer::{Input, Output, Peer, PeerRules};
use crate::pipeline::{PrepareRules, ServerStatistics, SharedDatabase};
use crate::storage::recovery::{Origin, Recovered, RecoveryError, consume_marker, recover};
use crate::tree::TreeOptions;

/// A standalone server issues session ids as server 1 (CL-08).
const STANDALONE_SID: Sid = Sid(1);
/// How long connections may take to send what they have when the server stops.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long the owner waits when thousands of batches wait for the log already.
const LOG_BUSY_WAIT: Duration = Duration::from_millis(1);
/// Where a data directory keeps its files.
const VERSION_DIR: &str = "version-2";

/// Why a server does not start, or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directories cannot be used.
    #[error(transparent)]
    Directories(#[from] OpenError),
    /// The data cannot be used.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The first snapshot cannot be written.
    #[error("cannot write a snapshot: {0}")]
    Snapshot(#[source] io::Error),
    /// The client port cannot be had.
    #[error("{error}: {}", error.source)]
    Listen {
        /// Why not.
        #[from]
        error: ListenError,
    },
    /// The log cannot be written any more.
    #[error("the transaction log failed: {0}; the server stops, since nothing can be made durable")]
    Log(String),
    /// The system refuses a thread or a signal handler.
    #[error("the system refuses what a server needs: {0}")]
    System(#[from] io::Error),
}

impl ServerError {
    /// The exit code that tells it (CF-01).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Directories(_) => 3,
            Self::Snapshot(_) => 10,
            Self::Recovery(_) | Self::Listen { .. } | Self::Log(_) | Self::System(_) => 1,
        }
    }
}

/// A server that runs.
pub struct Server {
    connections: Arc<Connections>,
    owner: OwnerHandle,
    port: ClientPort,
    owner_thread: JoinHandle<()>,
    failures: mpsc::Receiver<String>,
}

impl Server {
    /// Recovers the database, starts the owner and the log, and opens the client port.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start(settings: &Settings) -> Result<Self, ServerError> {
        let started = Instant::now();
        let metrics = Arc::new(Metrics::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let started_ms = clock.now().steady_ms;
        let disk = Arc::new(RealDisk::open(&Directories {
            data_dir: settings.data_dir.clone(),
            data_log_dir: settings.data_log_dir.clone(),
            autocreate: settings.autocreate,
        })?);
        let seed = seed(&clock);
        let (database, recovered) = load(settings, &disk, seed, &metrics)?;
        let snapshots = Snapshots {
            disk: Arc::clone(&disk),
            database: Arc::clone(&database),
            compression: settings.compression,
            last_zxid: settings.snapshot_last_zxid,
            metrics: Arc::clone(&metrics),
        };
        if recovered.origin == Origin::New {
            snapshots.write_now(Zxid::ZERO).map_err(ServerError::Snapshot)?;
            consume_marker(&*disk)?;
        }
        let peer = Peer::new(rules(settings, &database, recovered.replayed, seed), Arc::clone(&database), clock.now());
        let (owner, inbox) = OwnerHandle::new();
        let (fail, failures) = mpsc::channel(1);
        let report = report(owner.clone(), fail, Arc::clone(&metrics));
        let log = LogWriter::start(disk.log_dir().to_owned(), settings.log, report)?;
        let owner_thread = spawn_owner(peer, &clock, inbox, log, snapshots, owner.clone())?;
        start_purging(settings, &disk)?;
        let statistics = Arc::new(ServerStatistics::default());
        let connections = Arc::new(Connections::default());
        let view = View {
            facts: facts(settings, started_ms),
            database: Arc::clone(&database),
            connections: Arc::clone(&connections),
            statistics: Arc::clone(&statistics),
            metrics,
            clock: Arc::clone(&clock),
            expiry_sets: {
                let owner = owner.clone();
                Arc::new(move || owner.inspect(|peer| peer.sessions().expiry_sets()).unwrap_or_default())
            },
        };
        let context = Arc::new(ClientContext {
            database,
            owner: Arc::new(owner.clone()),
            words: Arc::new(Words::new(view)),
            clock,
            connections: Arc::clone(&connections),
            statistics,
            limits: settings.limits,
            serving: AtomicBool::new(true),
        });
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let port = listen(&context, settings.client_address, settings.backlog, threads)?;
        tracing::info!(address = %port.address, ms = started.elapsed().as_millis(), "serving clients");
        Ok(Self { connections, owner, port, owner_thread, failures })
    }

    /// Waits until the log fails, or a signal asks the server to stop; then finishes what is in flight.
    ///
    /// # Errors
    /// [`ServerError::Log`].
    pub async fn run(mut self) -> Result<(), ServerError> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            failure = self.failures.recv() => {
                return Err(ServerError::Log(failure.unwrap_or_else(|| "its thread is gone".to_owned())));
            }
            _ = terminate.recv() => tracing::info!("asked to stop"),
            _ = interrupt.recv() => tracing::info!("interrupted"),
        }
        self.stop();
        Ok(())
    }

    fn stop(self) {
        self.port.stop_accepting();
        self.owner.stop();
        if self.owner_thread.join().is_err() {
            tracing::error!("the owner's thread did not end well");
        }
        self.connections.close_all();
        let deadline = Instant::now() + FAREWELL;
        while !self.connections.is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        tracing::info!("stopped");
    }
}

fn load(
    settings: &Settings,
    disk: &RealDisk,
    hash_seed: u64,
    metrics: &Metrics,
) -> Result<(SharedDatabase, Recovered), ServerError> {
    let began = Instant::now();
    let options = TreeOptions { hash_seed, extended_types: settings.extended_types, digest: settings.digest };
    let mut loading = Loading::new(options);
    let recovered = recover(disk, &settings.recovery, &mut loading)?;
    for note in &recovered.notes {
        if note.is_warning() { tracing::warn!("{note}") } else { tracing::info!("{note}") }
    }
    let took_ms = millis(began.elapsed());
    metrics.sample(Basic::dbinittime, took_ms);
    metrics.sample(Basic::startup_txns_loaded, recovered.replayed);
    metrics.sample(Basic::startup_txns_load_time, took_ms);
    let database = loading.finish(Arc::new(settings.auth.clone()));
    tracing::info!(
        zxid = %recovered.last_zxid,
        znodes = database.tree().len(),
        sessions = database.sessions().len(),
        txns = recovered.replayed,
        ms = took_ms,
        "database loaded"
    );
    Ok((Arc::new(RwLock::new(database)), recovered))
}

fn rules(settings: &Settings, database: &SharedDatabase, replayed_txns: u64, seed: u64) -> PeerRules {
    PeerRules {
        sid: STANDALONE_SID,
        tick_ms: settings.tick_ms,
        negotiation: settings.negotiation,
        prepare: PrepareRules {
            auth: Arc::clone(database.read().auth()),
            extended_types: settings.extended_types,
            enforce_quota: settings.enforce_quota,
            reconfig_enabled: settings.reconfig_enabled,
            digest: settings.digest,
            epoch_rolls_over: true,
        },
        snapshots: settings.snapshots,
        replayed_txns,
        reaper: settings.reaper,
        seed,
    }
}

/// Chance for hash tables and snapshot times: nobody outside can know when to the nanosecond a server started.
fn seed(clock: &Arc<dyn Clock>) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(clock.now().wall_ms)
}

fn facts(settings: &Settings, started_ms: u64) -> Facts {
    Facts {
        client_port: settings.client_address.port(),
        backlog: settings.backlog,
        snapshot_dir: settings.data_dir.join(VERSION_DIR),
        log_dir: settings.data_log_dir.join(VERSION_DIR),
        tick_ms: settings.tick_ms,
        connections_per_address_max: settings.limits.per_address_max,
        session_timeouts_ms: (settings.negotiation.min_ms, settings.negotiation.max_ms),
        started_ms,
        words: settings.words.clone(),
    }
}

fn report(owner: OwnerHandle, fail: mpsc::Sender<String>, metrics: Arc<Metrics>) -> Box<dyn Fn(LogReport) + Send> {
    Box::new(move |report| match report {
        LogReport::Durable { durable, txns, took, .. } => {
            metrics.sample(Basic::fsynctime, millis(took));
            metrics.sample(Basic::sync_processor_batch_size, txns as u64);
            owner.send(Input::Durable(durable));
        }
        LogReport::SizeLimit(_) => owner.send(Input::RollWanted),
        LogReport::Full(reason) => {
            tracing::error!(reason, "the disk is full: writes are refused until there is space again");
            owner.send(Input::DiskFull(true));
        }
        LogReport::SpaceAgain => {
            tracing::warn!("there is space on the disk again: writes go on");
            owner.send(Input::DiskFull(false));
        }
        LogReport::Failed(reason) => {
            let _said_before = fail.try_send(reason);
        }
    })
}

fn spawn_owner(
    peer: Peer,
    clock: &Arc<dyn Clock>,
    inbox: OwnerInbox,
    log: LogWriter,
    snapshots: Snapshots,
    owner: OwnerHandle,
) -> io::Result<JoinHandle<()>> {
    let clock = Arc::clone(clock);
    thread::Builder::new().name("owner".to_owned()).spawn(move || {
        let carry_out = |output| match output {
            Output::Append(txns) => append(&log, txns),
            Output::RollLog => roll(&log),
            Output::Snapshot(start) => snapshots.write_beside(start, &owner),
            Output::SessionExpired(_) => snapshots.metrics.count(Counter::stale_sessions_expired, 1),
        };
        OwnerLoop { peer, clock, carry_out }.run(&inbox);
        log.stop();
    })
}

/// Gives the log txns, waiting while its queue is full. A log that has stopped has said why to somebody else.
fn append(log: &LogWriter, mut txns: Vec<(Zxid, Bytes)>) {
    while let Err((Rejected::Busy, again)) = log.append(txns) {
        txns = again;
        thread::sleep(LOG_BUSY_WAIT);
    }
}

fn roll(log: &LogWriter) {
    while let Err(Rejected::Busy) = log.roll() {
        thread::sleep(LOG_BUSY_WAIT);
    }
}

fn start_purging(settings: &Settings, disk: &Arc<RealDisk>) -> io::Result<()> {
    let Some(interval) = settings.purge_interval else { return Ok(()) };
    let (disk, keep) = (Arc::clone(disk), settings.purge_keep);
    let work = move || {
        loop {
            if let Err(error) = purge_old(&*disk, keep) {
                tracing::error!(%error, "autopurge failed");
            }
            thread::sleep(interval);
        }
    };
    thread::Builder::new().name("autopurge".to_owned()).spawn(work).map(drop)
}
