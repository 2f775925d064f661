//! Starting and stopping a server.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::backups::OwnBackups;
use super::clock::{SystemClock, millis};
use super::member_files::MemberFiles;
use super::owner::{OwnerHandle, OwnerLoop};
use super::rim::{ClientPlace, LogFiles, NO_PORT, Others, Rim, report};
use super::role_times::RoleTimes;
use super::settings::{EnsembleSettings, Settings};
use super::snapshots::{Snapshots, purge_old};
use super::threads::Threads;
use super::ticker::Ticker;
use crate::admin::{
    AdminRules, AdminServer, EnsembleFacts, Facts, HttpError, MetricsServer, PrometheusFacts, SharedStanding,
    TRACE_MASK, View, Words,
};
use crate::config::{ClientAddress, TlsConfig};
use crate::disk::{Directories, OpenError, RealDisk, link_beside};
use crate::ids::{Sid, Zxid};
use crate::metrics::{Basic, Metrics};
use crate::net::{
    Addresses, ClientContext, ClientPlaces, ClientPort, Clock, Connections, ElectionNet, ElectionPort, Gate, Inbox,
    ListenError, QuorumNet, QuorumPort, Security, Throttles, Tls, TlsError, find_free, listen,
};
use crate::peer::{Beginning, Loading, Mode, Peer, PeerRules, Standing};
use crate::pipeline::{PrepareRules, ServerStatistics, SharedDatabase, audit_server};
use crate::storage::epochs::{EpochError, Epochs, open_epochs};
use crate::storage::recovery::{Origin, Recovered, RecoveryError, consume_marker, recover};
use crate::tree::TreeOptions;
use crate::zab::Logged;

/// A standalone server issues session ids as server 1 (CL-08).
const STANDALONE_SID: Sid = Sid(1);
/// How long connections may take to send what they have when the server stops.
const FAREWELL: Duration = Duration::from_millis(500);
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
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The epochs do not fit the database.
    #[error(transparent)]
    Epochs(#[from] EpochError),
    /// The election port cannot be had.
    #[error("cannot listen for elections: {0}")]
    Election(#[source] io::Error),
    /// The server cannot go on: the log cannot be written any more, or the machine says why.
    #[error("{0}; the server stops")]
    Failed(String),
    /// The admin server's port cannot be had. For members of an ensemble that is only a warning.
    #[error("unable to start the admin server: {0}; give it another admin.serverPort, or set admin.enableServer=false")]
    Admin(#[source] HttpError),
    /// The port for Prometheus cannot be had.
    #[error("cannot provide metrics: {0}; set another metricsProvider.httpPort")]
    Metrics(#[source] HttpError),
    /// The system refuses a thread or a signal handler.
    #[error("the system refuses what a server needs: {0}")]
    System(#[from] io::Error),
}

impl ServerError {
    /// The exit code that tells it (CF-01).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Tls(_) => 2,
            Self::Directories(_) => 3,
            Self::Admin(_) => 4,
            Self::Snapshot(_) => 10,
            Self::Election(_) => 14,
            Self::Recovery(_)
            | Self::Epochs(_)
            | Self::Listen { .. }
            | Self::Metrics(_)
            | Self::Failed(_)
            | Self::System(_) => 1,
        }
    }
}

/// A server that runs.
pub struct Server {
    connections: Arc<Connections>,
    owner: OwnerHandle,
    port: ClientPort,
    /// Ends when the owner has.
    owning: JoinHandle<()>,
    failures: mpsc::Receiver<String>,
    /// Who runs it, if there is an audit log.
    audit: Option<String>,
}

impl Server {
    /// Recovers the database, starts the owner and the log, and opens the ports.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start(settings: &Settings) -> Result<Self, ServerError> {
        let started = Instant::now();
        let secrets = Secrets::load(settings)?;
        let (admin, metrics_server) = open_http(settings, &secrets)?;
        let metrics = Arc::new(Metrics::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let started_ms = clock.now().steady_ms;
        let disk = Arc::new(RealDisk::lock(&Directories {
            data_dir: settings.data_dir.clone(),
            data_log_dir: settings.data_log_dir.clone(),
            autocreate: settings.autocreate,
        })?);
        let threads = Threads::start(settings.client_threads)?;
        // Apache takes no lock: if its server runs here, its files must stay as they are (storage.md 7).
        for address in [client_place(settings), secure_place(settings)].into_iter().flatten() {
            find_free(&address, &threads.owner)?;
        }
        disk.remove_left_overs()?;
        let seed = seed(&clock);
        let tree = TreeOptions { hash_seed: seed, ttl_marks: settings.ttl_marks, digest: settings.digest };
        let (database, history, recovered) = load(settings, &disk, tree, &metrics)?;
        database.write().count_in(metrics.namespaces());
        if let Some(user) = &settings.audit {
            database.write().audit_as(user);
        }
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
        if recovered.origin == Origin::TrustedLogs {
            snapshots.write_now(recovered.last_zxid).map_err(ServerError::Snapshot)?;
        }
        let epochs = match &settings.ensemble {
            Some(_) => open_epochs(&*disk, recovered.last_zxid)?,
            None => Epochs::default(),
        };
        let beginning = Beginning {
            database: Arc::clone(&database),
            history,
            durable: recovered.durable,
            replayed_txns: recovered.replayed,
            epochs,
        };
        let peer = Peer::new(rules(settings, &database, &metrics, seed), beginning, clock.now());
        let (owner, inbox) = OwnerHandle::new();
        let (fail, failures) = mpsc::channel(1);
        let reach =
            |ensemble| reach(ensemble, secrets.security(&settings.tls), tree, &database, &owner, threads.owner.clone());
        let reached = settings.ensemble.as_ref().map(reach).transpose()?;
        // Until the machine says more: a server alone serves from the start.
        let mode = if settings.ensemble.is_some() { Mode::Looking } else { Mode::Standalone };
        let membership = settings.ensemble.as_ref().map(|ensemble| ensemble.rules.membership.clone());
        let first = Standing { mode, serves: mode == Mode::Standalone, membership, ..Standing::default() };
        let serving = AtomicBool::new(first.serves);
        let standing: SharedStanding = Arc::new(RwLock::new(Arc::new(first)));
        let statistics = Arc::new(ServerStatistics::new(Arc::clone(&metrics)));
        let connections = Arc::new(Connections::default());
        let throttles = Arc::new(Throttles::new(
            settings.connection_throttle,
            settings.request_throttle,
            Arc::clone(&statistics),
            Arc::clone(&metrics),
        ));
        let port = settings.client_address.as_ref().map_or(NO_PORT, |client| client.port.into());
        let client_port = Arc::new(AtomicI32::new(port));
        let view = View {
            facts: facts(settings, started_ms),
            client_port: Arc::clone(&client_port),
            standing: Arc::clone(&standing),
            database: Arc::clone(&database),
            connections: Arc::clone(&connections),
            statistics: Arc::clone(&statistics),
            throttles: Arc::clone(&throttles),
            trace_mask: Arc::new(TRACE_MASK.into()),
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(&clock),
            inspect: Arc::new(owner.clone()),
        };
        let backups = OwnBackups {
            snapshots: snapshots.clone(),
            owner: owner.clone(),
            dir: view.facts.snapshot_dir.clone(),
            tree,
            is_alone: settings.ensemble.is_none(),
            restoring: Mutex::new(()),
        };
        let clients = Arc::new(ClientContext {
            database,
            owner: Arc::new(owner.clone()),
            words: Arc::new(Words::new(view.clone())),
            clock: Arc::clone(&clock),
            connections: Arc::clone(&connections),
            statistics: Arc::clone(&statistics),
            limits: settings.limits,
            throttles,
            serving,
        });
        let mut log = LogFiles {
            disk: Arc::clone(&disk),
            options: settings.log,
            recovery: settings.recovery,
            tree,
            history_txns: history_txns(settings),
            sync_factor: settings.ensemble.as_ref().map_or(0.0, |ensemble| ensemble.log_sync_factor),
            report: report(owner.clone(), fail.clone(), metrics, statistics, settings.log.fsync_warning_ms),
            writer: None,
        };
        log.open()?;
        let places = ClientPlaces {
            plain: client_place(settings),
            secure: secure_place(settings),
            tls: secrets.clients.clone(),
            either: settings.tls.client_unification,
        };
        let (port, [address, secure]) =
            listen(&clients, places, settings.backlog, &threads.accepting, &threads.clients)?;
        secrets.keep_reloading(&settings.tls)?;
        let others = reached.map(|reached| reached.with_clients(settings, &port, client_port));
        let (rim_clients, rim_owner) = (Arc::clone(&clients), owner.clone());
        let times = RoleTimes::new(Arc::clone(&snapshots.metrics));
        let rim =
            Rim { log, snapshots, owner: rim_owner, failures: fail, standing, times, clients: rim_clients, others };
        let ticker = Ticker::start(Arc::clone(&clock), owner.tick())?;
        let owner_loop = OwnerLoop { peer, clock, rim, ticker };
        let owning = threads.owner.spawn(owner_loop.run(inbox));
        start_purging(settings, &disk)?;
        if let Some(metrics_server) = metrics_server {
            metrics_server.serve(view.clone())?;
        }
        if let Some(admin) = admin {
            admin.serve(view, Arc::new(backups))?;
        }
        let ms = started.elapsed().as_millis();
        match (address, secure) {
            (Some(address), Some(secure)) => tracing::info!(%address, %secure, ms, "listening for clients"),
            (Some(address), None) => tracing::info!(%address, ms, "listening for clients"),
            (None, Some(secure)) => tracing::info!(%secure, ms, "listening for clients"),
            (None, None) => tracing::info!(ms, "started, without a client port"),
        }
        let audit = settings.audit.clone();
        if let Some(user) = &audit {
            audit_server(user, "serverStart", "success");
        }
        Ok(Self { connections, owner, port, owning, failures, audit })
    }

    /// Waits until the log fails, or `asked_to_stop` is over; then finishes what is in flight.
    ///
    /// # Errors
    /// [`ServerError::Failed`].
    pub async fn run(mut self, asked_to_stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        tokio::select! {
            failure = self.failures.recv() => {
                return Err(ServerError::Failed(failure.unwrap_or_else(|| "its thread is gone".to_owned())));
            }
            () = asked_to_stop => {}
        }
        self.stop().await;
        Ok(())
    }

    async fn stop(self) {
        if let Some(user) = &self.audit {
            audit_server(user, "serverStop", "invoked");
        }
        self.port.stop_all();
        self.owner.stop();
        if self.owning.await.is_err() {
            tracing::error!("the owner did not end well");
        }
        self.connections.close_all();
        let deadline = Instant::now() + FAREWELL;
        while !self.connections.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tracing::info!("stopped");
    }
}

/// Opens the ports for HTTP: whoever cannot have them learns it before anything is read.
fn open_http(
    settings: &Settings,
    secrets: &Secrets,
) -> Result<(Option<AdminServer>, Option<MetricsServer>), ServerError> {
    let metrics = settings.metrics.as_ref().map(|metrics| MetricsServer::open(metrics.place.clone())).transpose();
    let metrics = metrics.map_err(ServerError::Metrics)?;
    let open = |rules: AdminRules| {
        let gate = match &secrets.admin {
            None => Gate::Plain,
            Some(tls) if rules.only_tls => Gate::Secure(Arc::clone(tls)),
            Some(tls) => Gate::Either(Arc::clone(tls)),
        };
        AdminServer::open(rules, gate, secrets.clients.clone())
    };
    let admin = match settings.admin.clone().map(open).transpose() {
        Err(error) if settings.ensemble.is_some() => {
            tracing::warn!("no admin server: {error}");
            None
        }
        admin => admin.map_err(ServerError::Admin)?,
    };
    Ok((admin, metrics))
}

fn load(
    settings: &Settings,
    disk: &RealDisk,
    options: TreeOptions,
    metrics: &Metrics,
) -> Result<(SharedDatabase, Vec<Logged>, Recovered), ServerError> {
    let began = Instant::now();
    let mut loading = Loading::new(options, history_txns(settings));
    loading.link_elsewhere(link_beside);
    let recovered = recover(disk, &settings.recovery, &mut loading)?;
    for note in &recovered.notes {
        if note.is_warning() { tracing::warn!("{note}") } else { tracing::info!("{note}") }
    }
    let took_ms = millis(began.elapsed());
    metrics.sample(Basic::dbinittime, took_ms);
    metrics.sample(Basic::startup_txns_loaded, recovered.replayed);
    metrics.sample(Basic::startup_txns_load_time, took_ms);
    let (database, history) = loading.finish(Arc::new(settings.auth.clone()));
    tracing::info!(
        zxid = %recovered.last_zxid,
        znodes = database.tree().len(),
        sessions = database.sessions().len(),
        txns = recovered.replayed,
        ms = took_ms,
        "database loaded"
    );
    Ok((Arc::new(RwLock::new(database)), history, recovered))
}

/// How many txns are kept in memory for learners.
fn history_txns(settings: &Settings) -> usize {
    settings.ensemble.as_ref().map_or(0, |ensemble| ensemble.rules.history_txns)
}

/// Where the client port is at the start.
fn client_place(settings: &Settings) -> Option<String> {
    settings.client_address.as_ref().map(ClientAddress::listen)
}

/// And the secure one.
fn secure_place(settings: &Settings) -> Option<String> {
    settings.secure_address.as_ref().map(ClientAddress::listen)
}

/// Keys and certificates, where there are any.
struct Secrets {
    clients: Option<Arc<Tls>>,
    servers: Option<Arc<Tls>>,
    admin: Option<Arc<Tls>>,
}

impl Secrets {
    fn load(settings: &Settings) -> Result<Self, TlsError> {
        let config = &settings.tls;
        let clients = config.serves_clients().then(|| Tls::for_clients(&config.client)).transpose()?;
        let servers = config.serves_servers().then(|| Tls::for_servers(&config.quorum_side)).transpose()?;
        let admin = settings.admin.as_ref().filter(|admin| admin.takes_tls || admin.only_tls);
        let admin = admin.map(|admin| Tls::for_admin(&config.quorum_side, admin.needs_certificates)).transpose()?;
        Ok(Self { clients: clients.map(Arc::new), servers: servers.map(Arc::new), admin: admin.map(Arc::new) })
    }

    fn security(&self, config: &TlsConfig) -> Security {
        let security = |tls| Security::new(tls, config.quorum, config.quorum_unification, config.fips);
        self.servers.clone().map(security).unwrap_or_default()
    }

    fn keep_reloading(self, config: &TlsConfig) -> io::Result<()> {
        let clients = self.clients.filter(|_| config.client_reload);
        let servers = [self.servers, self.admin].into_iter().flatten().filter(|_| config.quorum_reload);
        Tls::keep_reloading(clients.into_iter().chain(servers).collect())
    }
}

/// What there is of the other servers before there are clients.
struct Reached {
    election: ElectionPort,
    quorum: QuorumPort,
    ensemble: EnsembleSettings,
}

/// Opens the election port, and gets ready to follow or lead.
fn reach(
    ensemble: &EnsembleSettings,
    security: Security,
    tree: TreeOptions,
    database: &SharedDatabase,
    owner: &OwnerHandle,
    handle: Handle,
) -> Result<Reached, ServerError> {
    let membership = ensemble.rules.membership.clone();
    let addresses = Arc::new(Addresses::new(ensemble.me, ensemble.listen_on_all, ensemble.master_port, membership));
    let inbox: Arc<dyn Inbox> = Arc::new(owner.clone());
    let (known, heard) = (Arc::clone(&addresses), Arc::clone(&inbox));
    let net = ElectionNet { security: security.clone(), ..ensemble.election.clone() };
    let election = handle.block_on(ElectionPort::open(net, known, heard));
    let election = election.map_err(ServerError::Election)?;
    let net = QuorumNet { tree, security, ..ensemble.quorum.clone() };
    let quorum = QuorumPort::new(net, addresses, Arc::clone(database), inbox, handle);
    Ok(Reached { election, quorum, ensemble: ensemble.clone() })
}

impl Reached {
    fn with_clients(self, settings: &Settings, port: &ClientPort, number: Arc<AtomicI32>) -> Others {
        let Self { election, quorum, ensemble } = self;
        let EnsembleSettings { me, rules, member_file, names_members, .. } = ensemble;
        let client = ClientPlace { me, port: port.clone(), number, now: client_place(settings) };
        let files = member_file.map(|file| MemberFiles::new(file, me, rules.membership, names_members));
        Others { election, quorum, client, files }
    }
}

fn rules(settings: &Settings, database: &SharedDatabase, metrics: &Arc<Metrics>, seed: u64) -> PeerRules {
    let database = database.read();
    PeerRules {
        sid: settings.ensemble.as_ref().map_or(STANDALONE_SID, |ensemble| ensemble.me),
        tick_ms: settings.tick_ms,
        negotiation: settings.negotiation,
        prepare: PrepareRules {
            auth: Arc::clone(database.auth()),
            extended_types: settings.extended_types,
            enforce_quota: settings.enforce_quota,
            namespaces: Arc::clone(database.namespaces()),
            reconfig_enabled: settings.reconfig_enabled,
            digest: settings.digest,
            close_session_txn: settings.close_session_txn,
            record_bytes_max: settings.recovery.body_bytes_max,
            epoch_rolls_over: settings.ensemble.is_none(),
        },
        metrics: Arc::clone(metrics),
        snapshots: settings.snapshots,
        reaper: settings.reaper,
        seed,
        ensemble: settings.ensemble.as_ref().map(|ensemble| ensemble.rules.clone()),
    }
}

/// Chance for hash tables and snapshot times: nobody outside can know when to the nanosecond a server started.
fn seed(clock: &Arc<dyn Clock>) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(clock.now().wall_ms)
}

fn facts(settings: &Settings, started_ms: u64) -> Facts {
    Facts {
        client_address: settings.client_address.clone(),
        backlog: settings.backlog,
        secure_client_port: settings.secure_address.as_ref().map_or(NO_PORT, |secure| secure.port.into()),
        snapshot_dir: absolute(&settings.data_dir).join(VERSION_DIR),
        log_dir: absolute(&settings.data_log_dir).join(VERSION_DIR),
        tick_ms: settings.tick_ms,
        connections_per_address_max: settings.limits.per_address_max,
        session_timeouts_ms: (settings.negotiation.min_ms, settings.negotiation.max_ms),
        started_ms,
        words: settings.words.clone(),
        prometheus: settings.metrics.as_ref().map(|metrics| PrometheusFacts { process: metrics.process }),
        sessionless_ms: settings.limits.sessionless_ms,
        configuration: settings.configuration.clone(),
        properties: settings.properties.clone(),
        ensemble: settings.ensemble.as_ref().map(|ensemble| EnsembleFacts {
            me: ensemble.me,
            init_limit: ensemble.rules.init_limit,
            sync_limit: ensemble.rules.sync_limit,
            observer_masters: ensemble.rules.observer_masters,
        }),
    }
}

/// As Java has it: nothing is resolved.
fn absolute(dir: &Path) -> PathBuf {
    std::env::current_dir().map_or_else(|_| dir.to_owned(), |current| current.join(dir))
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
