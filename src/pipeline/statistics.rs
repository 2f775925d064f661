//! What a server counts of its clients: the numbers of `srvr`, `stat` and `cons`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::auth::Meant;
use crate::metrics::{Advanced, Basic, Counter, Metrics};
use crate::proto::EventType;

/// Counts over all connections (ops-surface.md 1.3).
#[derive(Debug)]
pub struct ServerStatistics {
    packets_received: AtomicU64,
    packets_sent: AtomicU64,
    /// Holds `readlatency` and `updatelatency`.
    metrics: Arc<Metrics>,
    /// The shortest and the longest latency since the counts began, ms.
    latency_min_ms: AtomicU64,
    latency_max_ms: AtomicU64,
    /// Number and sum of the latencies before.
    latency_before: (AtomicU64, AtomicU64),
    /// Size of the last, smallest and largest reply, bytes; -1 before the first.
    response_last: AtomicI64,
    response_min: AtomicI64,
    response_max: AtomicI64,
    /// Auth packets that were refused.
    pub auth_failed: AtomicU64,
    /// Requests taken from clients and not yet answered.
    pub outstanding: AtomicI64,
    /// Bytes of large requests in flight.
    pub large_request_bytes: AtomicI64,
    /// Large requests refused.
    pub large_requests_rejected: AtomicU64,
    /// Requests refused because they were held back for too long.
    pub throttled_ops: AtomicU64,
    /// Flushes of the log that took longer than `fsync.warningthresholdms`.
    pub slow_flushes: AtomicU64,
}

/// Times from request to reply.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Latency {
    /// The shortest, ms; 0 without any.
    pub min_ms: u64,
    /// The mean, ms; 0 without any.
    pub mean_ms: f64,
    /// The longest, ms.
    pub max_ms: u64,
}

impl Default for ServerStatistics {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl ServerStatistics {
    /// All counts at zero; latencies go into `metrics` as well.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            packets_received: AtomicU64::new(0),
            packets_sent: AtomicU64::new(0),
            metrics,
            latency_min_ms: AtomicU64::new(u64::MAX),
            latency_max_ms: AtomicU64::new(0),
            latency_before: (AtomicU64::new(0), AtomicU64::new(0)),
            response_last: AtomicI64::new(-1),
            response_min: AtomicI64::new(-1),
            response_max: AtomicI64::new(-1),
            auth_failed: AtomicU64::new(0),
            outstanding: AtomicI64::new(0),
            large_request_bytes: AtomicI64::new(0),
            large_requests_rejected: AtomicU64::new(0),
            throttled_ops: AtomicU64::new(0),
            slow_flushes: AtomicU64::new(0),
        }
    }

    /// Counts frames that came in.
    pub fn received(&self, packets: u64) {
        self.packets_received.fetch_add(packets, Relaxed);
    }

    /// Counts a reply of so many bytes to a request that came so many ms ago, which is told of reads or of updates; of what
    /// is answered outside the order of requests it is not told.
    pub fn replied(&self, bytes: usize, kind: Option<Advanced>, latency_ms: u64) {
        if let Some(kind) = kind {
            self.metrics.observe(kind, latency_ms);
            if latency_ms < self.latency_min_ms.load(Relaxed) {
                self.latency_min_ms.fetch_min(latency_ms, Relaxed);
            }
            if latency_ms > self.latency_max_ms.load(Relaxed) {
                self.latency_max_ms.fetch_max(latency_ms, Relaxed);
            }
        }
        self.sent();
        self.metrics.count(Counter::response_bytes, bytes as u64);
        let bytes = bytes as i64;
        self.response_last.store(bytes, Relaxed);
        self.response_max.fetch_max(bytes, Relaxed);
        if bytes < self.response_min.load(Relaxed) || self.response_min.load(Relaxed) == -1 {
            self.response_min.store(bytes, Relaxed);
        }
    }

    /// Counts a client by which ensemble it means.
    pub fn met(&self, meant: Meant) {
        let counter = match meant {
            Meant::Any => Counter::ensemble_auth_skip,
            Meant::This => Counter::ensemble_auth_success,
            Meant::Another => Counter::ensemble_auth_fail,
        };
        self.metrics.count(counter, 1);
    }

    /// Counts an event: so many watches, and those that were told of it with one frame of so many bytes.
    pub fn fired(&self, event: EventType, watches: usize, (told, frame_bytes): (usize, usize)) {
        let kind = match event {
            EventType::Created => Basic::node_created_watch_count,
            EventType::Deleted => Basic::node_deleted_watch_count,
            EventType::DataChanged => Basic::node_changed_watch_count,
            EventType::ChildrenChanged => Basic::node_children_watch_count,
        };
        self.metrics.sample(kind, watches as u64);
        self.notified(told, frame_bytes);
    }

    /// Counts a frame that goes out so many times; the length in front of it is not among the bytes of events.
    pub fn notified(&self, told: usize, frame_bytes: usize) {
        self.packets_sent.fetch_add(told as u64, Relaxed);
        self.metrics.count(Counter::watch_bytes, (told * frame_bytes.saturating_sub(4)) as u64);
    }

    /// Counts a frame that went out and is no reply to a request.
    pub fn sent(&self) {
        self.packets_sent.fetch_add(1, Relaxed);
    }

    /// Frames that came in.
    #[must_use]
    pub fn packets_received(&self) -> u64 {
        self.packets_received.load(Relaxed)
    }

    /// Frames that went out.
    #[must_use]
    pub fn packets_sent(&self) -> u64 {
        self.packets_sent.load(Relaxed)
    }

    /// Times from request to reply, of reads and updates together.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let (count, sum) = self.latencies();
        let before = (self.latency_before.0.load(Relaxed), self.latency_before.1.load(Relaxed));
        // The metrics may have been forgotten meanwhile.
        match (count.saturating_sub(before.0), sum.saturating_sub(before.1)) {
            (0, _) => Latency { min_ms: 0, mean_ms: 0.0, max_ms: 0 },
            (count, sum) => Latency {
                min_ms: self.latency_min_ms.load(Relaxed),
                mean_ms: sum as f64 / count as f64,
                max_ms: self.latency_max_ms.load(Relaxed),
            },
        }
    }

    /// How many were measured since the metrics began, and their sum, ms.
    fn latencies(&self) -> (u64, u64) {
        let [reads, updates] = [Advanced::readlatency, Advanced::updatelatency].map(|kind| self.metrics.advanced(kind));
        (reads.count() + updates.count(), reads.sum() + updates.sum())
    }

    /// Last, smallest and largest reply, bytes; -1 before the first.
    #[must_use]
    pub fn response_bytes(&self) -> (i64, i64, i64) {
        (self.response_last.load(Relaxed), self.response_min.load(Relaxed), self.response_max.load(Relaxed))
    }

    /// `srst`: counts begin anew. If the metrics do so, too, they have to come first.
    pub fn reset(&self) {
        self.packets_received.store(0, Relaxed);
        self.packets_sent.store(0, Relaxed);
        self.latency_min_ms.store(u64::MAX, Relaxed);
        self.latency_max_ms.store(0, Relaxed);
        let (count, sum) = self.latencies();
        self.latency_before.0.store(count, Relaxed);
        self.latency_before.1.store(sum, Relaxed);
        for size in [&self.response_last, &self.response_min, &self.response_max] {
            size.store(-1, Relaxed);
        }
    }
}

/// Counts of one connection (ops-surface.md 1.5).
#[derive(Debug, Clone, Copy, Default)]
pub struct LaneStatistics {
    /// Frames that came in.
    pub received: u64,
    /// Frames that went out.
    pub sent: u64,
    /// What the last request asked for; `None` before the first.
    pub last_op: Option<crate::proto::OpCode>,
    /// The last request's xid; negative ones are not shown.
    pub last_cxid: i32,
    /// The zxid in the last reply.
    pub last_zxid: i64,
    /// When the last reply was made, steady clock, ms.
    pub last_response_ms: u64,
    /// How long the last request took, ms.
    pub last_latency_ms: u32,
    /// The shortest, ms.
    pub min_latency_ms: u32,
    /// The longest, ms.
    pub max_latency_ms: u32,
    /// Sum over all requests, ms.
    pub sum_latency_ms: u64,
    /// Requests answered.
    pub count: u64,
}

impl LaneStatistics {
    /// Counts one answered request.
    pub(super) fn replied(&mut self, op: crate::proto::OpCode, xid: i32, zxid: i64, now_ms: u64, latency_ms: u64) {
        self.sent += 1;
        self.last_op = Some(op);
        self.last_cxid = xid;
        self.last_zxid = zxid;
        self.last_response_ms = now_ms;
        let told_ms = u32::try_from(latency_ms).unwrap_or(u32::MAX);
        self.last_latency_ms = told_ms;
        self.min_latency_ms = if self.count == 0 { told_ms } else { self.min_latency_ms.min(told_ms) };
        self.max_latency_ms = self.max_latency_ms.max(told_ms);
        self.sum_latency_ms += latency_ms;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_those_of_reads_and_updates_since_the_counts_began() {
        let metrics = Arc::new(Metrics::default());
        let statistics = ServerStatistics::new(Arc::clone(&metrics));
        let told = || {
            let Latency { min_ms, mean_ms, max_ms } = statistics.latency();
            (min_ms, mean_ms, max_ms)
        };
        assert_eq!(told(), (0, 0.0, 0));
        statistics.replied(9, Some(Advanced::readlatency), 1);
        statistics.replied(9, Some(Advanced::updatelatency), 6);
        statistics.replied(9, None, 100);
        assert_eq!((told(), statistics.packets_sent()), ((1, 3.5, 6), 3));
        statistics.reset();
        assert_eq!((told(), metrics.advanced(Advanced::readlatency).count()), ((0, 0.0, 0), 1));
        statistics.replied(9, Some(Advanced::readlatency), 2);
        assert_eq!(told(), (2, 2.0, 2));
        metrics.reset();
        statistics.reset();
        statistics.replied(9, Some(Advanced::readlatency), 4);
        assert_eq!((told(), metrics.advanced(Advanced::readlatency).sum()), ((4, 4.0, 4), 4));
    }
}
