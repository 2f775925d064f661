//! What the running server needs of its configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::AuthRules;
use crate::disk::LogOptions;
use crate::net::ConnectionLimits;
use crate::peer::{ReaperRules, SnapshotRules};
use crate::session::Negotiation;
use crate::storage::compression::Compression;
use crate::storage::recovery::RecoveryOptions;

/// Everything a server is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients connect.
    pub client_address: SocketAddr,
    /// `clientPortListenBacklog`, -1 for the system's own.
    pub backlog: i32,
    /// `dataDir`.
    pub data_dir: PathBuf,
    /// `dataLogDir`.
    pub data_log_dir: PathBuf,
    /// `zookeeper.datadir.autocreate`.
    pub autocreate: bool,
    /// `tickTime`, ms.
    pub tick_ms: u64,
    /// `minSessionTimeout`, `maxSessionTimeout`.
    pub negotiation: Negotiation,
    /// Bounds of connections.
    pub limits: ConnectionLimits,
    /// Who may do what.
    pub auth: AuthRules,
    /// `zookeeper.extendedTypesEnabled`.
    pub extended_types: bool,
    /// `zookeeper.enforceQuota`.
    pub enforce_quota: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `zookeeper.digest.enabled`.
    pub digest: bool,
    /// When to write snapshots.
    pub snapshots: SnapshotRules,
    /// `zookeeper.snapshot.compression.method`.
    pub compression: Compression,
    /// `zookeeper.serializeLastProcessedZxid.enabled`.
    pub snapshot_last_zxid: bool,
    /// How the log is written.
    pub log: LogOptions,
    /// How the database is recovered.
    pub recovery: RecoveryOptions,
    /// When containers and TTL znodes are removed.
    pub reaper: ReaperRules,
    /// `autopurge.purgeInterval`; `None` is off.
    pub purge_interval: Option<Duration>,
    /// `autopurge.snapRetainCount`.
    pub purge_keep: usize,
}
