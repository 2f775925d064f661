//! Settings that only an ensemble uses: how it elects, how learners catch up, what observers do.

use super::ServerRole;

/// How a server deals with the other servers.
#[derive(Clone, PartialEq, Debug)]
pub struct QuorumConfig {
    /// `initLimit`, ticks: how long a learner may take to connect and to catch up.
    pub init_limit: Option<u32>,
    /// `syncLimit`, ticks: how far a learner may lag behind.
    pub sync_limit: Option<u32>,
    /// `connectToLearnerMasterLimit`, ticks for connecting alone; `None` is `initLimit`.
    pub connect_limit: Option<u32>,
    /// `leaderConnectDelayDuringRetryMs`: between two attempts to connect to the leader.
    pub connect_retry_ms: u64,
    /// `peerType`; `None` is what the server line says, and the server line is right in any case.
    pub peer_role: Option<ServerRole>,
    /// `quorumListenOnAllIPs`: listen for servers on all addresses, not only on those of the own server line.
    pub listen_on_all: bool,
    /// `electionPortBindRetry`: attempts to listen for elections; `None` is for ever.
    pub election_bind_tries: Option<u32>,
    /// `cnxTimeout`: how long a connection for elections may take.
    pub election_connect_ms: u64,
    /// `quorumCnxnTimeoutMs`: how long the other side may take for its greeting; `None` is `syncLimit`.
    pub election_greeting_ms: Option<u64>,
    /// `fastleader.minNotificationInterval`: the first pause before notifications are repeated.
    pub notification_min_ms: u64,
    /// `fastleader.maxNotificationInterval`: the longest such pause.
    pub notification_max_ms: u64,
    /// `leader.maxTimeToWaitForEpoch`, ms; `None` is `initLimit`.
    pub epoch_wait_ms: Option<u64>,
    /// `leaderServes`: whether the leader has clients.
    pub leader_serves: bool,
    /// `leader.maxConcurrentSnapSyncs`.
    pub snap_syncs_max: usize,
    /// `leader.maxConcurrentDiffSyncs`.
    pub diff_syncs_max: usize,
    /// `commitLogCount`, at least 500: committed proposals that are kept for learners.
    pub committed_log_max: usize,
    /// `snapshotSizeFactor`: a learner gets txns from the log while they are no larger than this part of a snapshot;
    /// `None` is never.
    pub log_sync_factor: Option<f64>,
    /// `forceSnapshotSync`: every learner gets a snapshot.
    pub force_snapshot_sync: bool,
    /// `syncEnabled`: whether an observer writes txns and snapshots to disk.
    pub observer_writes: bool,
    /// `observer.reconnectDelayMs`: how long an observer waits before it comes back to a leader or master.
    pub observer_reconnect_ms: u64,
    /// `observer.election.DelayMs`: the most that an observer waits before it looks for a leader.
    pub observer_election_ms: u64,
    /// `observerMasterPort`: where a follower listens for observers, and where an observer looks for one that does.
    pub observer_master_port: Option<u16>,
    /// `tcpKeepAlive`, for connections between servers.
    pub keep_alive: bool,
    /// `localSessionsEnabled`.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`.
    pub local_sessions_upgrade: bool,
    /// `multiAddress.enabled`: whether a server line may name several addresses.
    pub multi_address: bool,
    /// Whether `oraclePath` names a file.
    pub oracle: bool,
    /// `readonlymode.enabled`: whether a server without a quorum answers reads.
    pub read_only_mode: bool,
}

impl Default for QuorumConfig {
    fn default() -> Self {
        Self {
            init_limit: None,
            sync_limit: None,
            connect_limit: None,
            connect_retry_ms: 100,
            peer_role: None,
            listen_on_all: false,
            election_bind_tries: Some(ELECTION_BIND_TRIES),
            election_connect_ms: 5000,
            election_greeting_ms: None,
            notification_min_ms: 200,
            notification_max_ms: 60_000,
            epoch_wait_ms: None,
            leader_serves: true,
            snap_syncs_max: 10,
            diff_syncs_max: 100,
            committed_log_max: COMMITTED_LOG_MIN,
            log_sync_factor: Some(LOG_SYNC_FACTOR),
            force_snapshot_sync: false,
            observer_writes: true,
            observer_reconnect_ms: 0,
            observer_election_ms: 200,
            observer_master_port: None,
            keep_alive: false,
            local_sessions: false,
            local_sessions_upgrade: false,
            multi_address: false,
            oracle: false,
            read_only_mode: false,
        }
    }
}

/// As in the reference, also instead of a number below 0.
pub(super) const ELECTION_BIND_TRIES: u32 = 3;
/// As in the reference, fewer are not kept whatever is asked for.
pub(super) const COMMITTED_LOG_MIN: usize = 500;
/// As in the reference, also instead of a factor above 1.
pub(super) const LOG_SYNC_FACTOR: f64 = 0.33;
