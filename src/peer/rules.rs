//! What a server must know of its configuration.

use std::sync::Arc;

use crate::ids::Sid;
use crate::metrics::Metrics;
use crate::pipeline::PrepareRules;
use crate::session::Negotiation;
use crate::zab::{ElectionRules, Membership};

/// What a server must know of its configuration.
#[derive(Clone, Debug)]
pub struct PeerRules {
    /// Its `myid`: goes into the top byte of session ids; a standalone server uses 1.
    pub sid: Sid,
    /// `tickTime`, ms.
    pub tick_ms: u64,
    /// Bounds of session timeouts.
    pub negotiation: Negotiation,
    /// What preparing must know.
    pub prepare: PrepareRules,
    /// Where what happens is counted.
    pub metrics: Arc<Metrics>,
    /// When to write snapshots.
    pub snapshots: SnapshotRules,
    /// When to remove containers and TTL znodes.
    pub reaper: ReaperRules,
    /// Seeds what is left to chance.
    pub seed: u64,
    /// The ensemble; `None` for a server alone.
    pub ensemble: Option<EnsembleRules>,
}

/// What a member of an ensemble must know.
#[derive(Clone, Debug)]
pub struct EnsembleRules {
    /// Who is in it when the server starts.
    pub membership: Membership,
    /// `standaloneEnabled`: a reconfiguration must leave two voters.
    pub standalone_enabled: bool,
    /// `multiAddress.enabled`: a server may have several addresses.
    pub several_addresses: bool,
    /// `initLimit`, ticks: how long following a new leader may take.
    pub init_limit: u32,
    /// `syncLimit`, ticks: how long one may be silent.
    pub sync_limit: u32,
    /// `connectToLearnerMasterLimit`, ticks; 0 is `initLimit`.
    pub connect_limit: u32,
    /// `leader.maxTimeToWaitForEpoch`, ms: once a leader has waited so long for a quorum's epochs, it gives up when one
    /// that voted for it looks again (EN-18). `None`: it waits for `initLimit` whatever they do.
    pub epoch_wait_ms: Option<u64>,
    /// How long elections wait.
    pub election: ElectionRules,
    /// `leaderServes`: whether a leader takes clients.
    pub leader_serves: bool,
    /// `zookeeper.commitLogCount`: txns kept in memory for learners.
    pub history_txns: usize,
    /// `zookeeper.forceSnapshotSync`: learners always get the whole database.
    pub force_snapshot: bool,
    /// `zookeeper.snapshotSizeFactor` is not negative: learners may get txns from the log on disk.
    pub sync_from_log: bool,
    /// `leader.maxConcurrentSnapSyncs`: an observer is sent away while so many learners get the database.
    pub snap_syncs_max: usize,
    /// `leader.maxConcurrentDiffSyncs`: and while the log on disk is read for so many.
    pub diff_syncs_max: usize,
    /// `localSessionsEnabled`.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`.
    pub local_sessions_upgrade: bool,
    /// `readonlymode.enabled`.
    pub read_only_mode: bool,
    /// `leaderConnectDelayDuringRetryMs`: the longest wait between two attempts to reach the leader, ms.
    pub connect_retry_ms: u64,
    /// `syncEnabled`: whether an observer writes txns and snapshots to disk.
    pub observer_writes: bool,
    /// `observer.reconnectDelayMs`: how long an observer waits before it comes back, ms.
    pub observer_reconnect_ms: u64,
    /// `observerMasterPort` is set: a follower lets observers learn from it, and an observer learns from a follower.
    pub observer_masters: bool,
    /// `zookeeper.observer.election.DelayMs`: an observer that lost its leader waits up to this, ms.
    pub observer_delay_ms: u64,
}

/// When to write snapshots (ST-11).
#[derive(Clone, Copy, Debug)]
pub struct SnapshotRules {
    /// `snapCount`: a snapshot after half of it and a random part of the other half.
    pub txns: u64,
    /// `snapSizeLimitInKb`, in bytes, likewise; 0 is off.
    pub bytes: u64,
}

/// When to remove containers and TTL znodes (NO-11).
#[derive(Clone, Copy, Debug)]
pub struct ReaperRules {
    /// `znode.container.checkIntervalMs`.
    pub interval_ms: u64,
    /// `znode.container.maxPerMinute`.
    pub per_minute_max: u64,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 keeps containers that never had a child.
    pub never_used_ms: i64,
}
