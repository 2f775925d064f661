//! What a server counts, under the reference's names (ME-08 … ME-11). One table feeds every report.
//!
//! Recording is a few atomic additions. Names that have no counterpart here exist all the same and stay at zero: a
//! dashboard finds what it looks for.

mod namespaces;
mod number;
mod summary;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use namespaces::{LastNamespace, Namespace, Namespaces};
pub use number::{java_double, java_text, rounded};
pub use summary::Summary;

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident: $($name:ident,)*) => {
        $(#[$doc])*
        #[expect(non_camel_case_types, missing_docs, reason = "these are the reference's own names")]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $kind { $($name,)* }

        impl $kind {
            /// All of them, in the order of reports.
            pub const ALL: &[$kind] = &[$($kind::$name,)*];

            /// The name, without `zk_`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($kind::$name => stringify!($name),)* }
            }
        }
    };
}

names! {
    /// Numbers that only grow.
    Counter:
        watch_bytes, stale_requests_dropped, throttled_ops, insecure_admin_count, connection_rejected,
        sessionless_connections_expired, dead_watchers_queued, stale_requests, connection_drop_count,
        response_packet_cache_hits, bytes_received_count, add_dead_watcher_stall_time, request_throttle_wait_count,
        requests_not_forwarded_to_commit_processor, response_packet_cache_misses, prep_processor_request_queued,
        stale_replies, response_bytes, ensemble_auth_fail, diff_count, connection_revalidate_count,
        quit_leading_due_to_disloyal_voter, unrecoverable_error_count, unsuccessful_handshake, commit_count,
        outstanding_changes_queued, request_commit_queued, ensemble_auth_skip,
        skip_learner_request_to_next_processor_count, proposal_count, large_requests_rejected,
        outstanding_changes_removed, restore_error_count, cnxn_closed_without_zk_server_running, looking_count,
        snapshot_rate_limited_count, learner_proposal_received_count, digest_mismatches_count,
        dead_watchers_cleared, ensemble_auth_success, learner_commit_received_count, snapshot_error_count,
        connection_request_count, response_packet_get_children_cache_misses, snap_count, stale_sessions_expired,
        restore_rate_limited_count, response_packet_get_children_cache_hits, sync_processor_request_queued,
        tls_handshake_exceeded, revalidate_count,
}

names! {
    /// Mean, smallest, largest, number and sum of samples.
    Basic:
        socket_closing_time, proposal_process_time, leader_unavailable_time, node_created_watch_count,
        session_queues_drained, write_commit_proc_req_queued, connection_token_deficit,
        read_commit_proc_req_queued, node_deleted_watch_count, startup_txns_load_time, sync_processor_queue_size,
        follower_sync_time, prep_processor_queue_size, fsynctime, inflight_snap_count,
        reads_issued_from_session_queue, restore_time, learner_request_processor_queue_size, snapshottime,
        unavailable_time, startup_txns_loaded, reads_after_write_in_session_queue, requests_in_session_queue,
        write_commit_proc_issued, prep_process_time, pending_session_queue_size,
        time_waiting_empty_pool_in_commit_processor_read_ms, commit_process_time, dbinittime, inflight_diff_count,
        netty_queued_buffer_capacity, election_time, commit_commit_proc_req_queued, sync_processor_batch_size,
        node_children_watch_count, write_batch_time_in_commit_processor, read_commit_proc_issued,
        concurrent_request_processing_in_commit_processor, observer_sync_time, node_changed_watch_count,
        sync_process_time, startup_snap_load_time,
}

names! {
    /// The same, and percentiles.
    Advanced:
        prep_processor_queue_time_ms, jvm_pause_time_ms, close_session_prep_time, read_commitproc_time_ms,
        updatelatency, local_write_committed_time_ms, request_throttle_queue_time_ms, readlatency,
        quorum_ack_latency, om_commit_process_time_ms, read_final_proc_time_ms, commit_propagation_latency,
        dead_watchers_cleaner_latency, write_final_proc_time_ms, proposal_ack_creation_latency, proposal_latency,
        om_proposal_process_time_ms, sync_processor_queue_and_flush_time_ms, propagation_latency,
        server_write_committed_time_ms, sync_processor_queue_time_ms, sync_processor_queue_flush_time_ms,
        write_commitproc_time_ms,
}

/// All counts of one server.
#[derive(Debug)]
pub struct Metrics {
    counters: Vec<AtomicU64>,
    basic: Vec<Summary>,
    advanced: Vec<Summary>,
    namespaces: Arc<Namespaces>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            counters: Counter::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            basic: Basic::ALL.iter().map(|_| Summary::default()).collect(),
            advanced: Advanced::ALL.iter().map(|_| Summary::default()).collect(),
            namespaces: Arc::default(),
        }
    }
}

impl Metrics {
    /// Adds to a counter.
    pub fn count(&self, counter: Counter, more: u64) {
        self.counters[counter as usize].fetch_add(more, Relaxed);
    }

    /// Sets a counter to what somebody else has counted.
    pub fn set(&self, counter: Counter, value: u64) {
        self.counters[counter as usize].store(value, Relaxed);
    }

    /// A counter's value.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }

    /// Adds a sample.
    pub fn sample(&self, summary: Basic, value: u64) {
        self.basic[summary as usize].add(value);
    }

    /// A summary. Prometheus wants the median of these as well.
    #[must_use]
    pub fn basic(&self, summary: Basic) -> &Summary {
        &self.basic[summary as usize]
    }

    /// Adds a sample to a summary with percentiles.
    pub fn observe(&self, summary: Advanced, value: u64) {
        self.advanced[summary as usize].add(value);
    }

    /// A summary with percentiles.
    #[must_use]
    pub fn advanced(&self, summary: Advanced) -> &Summary {
        &self.advanced[summary as usize]
    }

    /// What is counted by namespace.
    #[must_use]
    pub const fn namespaces(&self) -> &Arc<Namespaces> {
        &self.namespaces
    }

    /// `srst`: all begin anew.
    pub fn reset(&self) {
        self.counters.iter().for_each(|counter| counter.store(0, Relaxed));
        self.basic.iter().for_each(Summary::reset);
        self.advanced.iter().for_each(Summary::reset);
        self.namespaces.reset();
    }
}
