//! What a server counts of its clients: the numbers of `srvr`, `stat` and `cons`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::metrics::Summary;

/// Counts over all connections (ops-surface.md 1.3).
#[derive(Debug)]
pub struct ServerStatistics {
    packets_received: AtomicU64,
    packets_sent: AtomicU64,
    latency_ms: Summary,
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

impl Default for ServerStatistics {
    fn default() -> Self {
        Self {
            packets_received: AtomicU64::new(0),
            packets_sent: AtomicU64::new(0),
            latency_ms: Summary::default(),
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
}

impl ServerStatistics {
    /// Counts frames that came in.
    pub fn received(&self, packets: u64) {
        self.packets_received.fetch_add(packets, Relaxed);
    }

    /// Counts a reply of so many bytes to a request that came so many ms ago.
    pub fn replied(&self, bytes: usize, latency_ms: u64) {
        self.latency_ms.add(latency_ms);
        self.sent();
        let bytes = bytes as i64;
        self.response_last.store(bytes, Relaxed);
        self.response_max.fetch_max(bytes, Relaxed);
        if bytes < self.response_min.load(Relaxed) || self.response_min.load(Relaxed) == -1 {
            self.response_min.store(bytes, Relaxed);
        }
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

    /// Times from request to reply, ms.
    #[must_use]
    pub const fn latency_ms(&self) -> &Summary {
        &self.latency_ms
    }

    /// Last, smallest and largest reply, bytes; -1 before the first.
    #[must_use]
    pub fn response_bytes(&self) -> (i64, i64, i64) {
        (self.response_last.load(Relaxed), self.response_min.load(Relaxed), self.response_max.load(Relaxed))
    }

    /// `srst`: counts begin anew.
    pub fn reset(&self) {
        self.packets_received.store(0, Relaxed);
        self.packets_sent.store(0, Relaxed);
        self.latency_ms.reset();
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
    pub last_cxid: i64,
    /// The zxid in the last reply.
    pub last_zxid: i64,
    /// When the last reply was made, steady clock, ms.
    pub last_response_ms: u64,
    /// How long the last request took, ms.
    pub last_latency_ms: u64,
    /// The shortest, ms.
    pub min_latency_ms: u64,
    /// The longest, ms.
    pub max_latency_ms: u64,
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
        self.last_cxid = i64::from(xid);
        self.last_zxid = zxid;
        self.last_response_ms = now_ms;
        self.last_latency_ms = latency_ms;
        self.min_latency_ms = if self.count == 0 { latency_ms } else { self.min_latency_ms.min(latency_ms) };
        self.max_latency_ms = self.max_latency_ms.max(latency_ms);
        self.sum_latency_ms += latency_ms;
        self.count += 1;
    }
}
