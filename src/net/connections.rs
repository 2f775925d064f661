//! The connections there are, and how many there may be (TH-01, TH-02).

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::auth::{Identities, Identity};
use crate::ids::ConnectionId;
use crate::numbered::NumberedTable;
use crate::pipeline::{Lane, LanePhase, ReceiveRules, ServerStatistics};

/// The bounds of what clients may ask of a server.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// `jute.maxbuffer`: the longest frame, bytes.
    pub frame_bytes_max: usize,
    /// `maxClientCnxns`: connections from one address; 0 is no limit.
    pub per_address_max: usize,
    /// `maxCnxns`: connections in all; 0 is no limit.
    pub total_max: usize,
    /// `globalOutstandingLimit`: requests in process, above which a connection that has one is not read.
    pub outstanding_max: i64,
    /// What receiving a request must know.
    pub receive: ReceiveRules,
    /// `zookeeper.nio.sessionlessCnxnTimeout`, ms: how long a connection may stay without a session.
    pub sessionless_ms: u64,
    /// `zookeeper.netty.server.outstandingHandshake.limit`: TLS handshakes under way.
    pub handshakes_max: u64,
    /// `zookeeper.clientTcpKeepAlive`.
    pub keep_alive: bool,
}

/// Requests of one connection that wait for a write, above which it is not read.
pub(super) const WAITING_MAX: usize = 1000;
/// Their bytes, likewise.
pub(super) const WAITING_BYTES_MAX: usize = 16 << 20;
/// Bytes of answers not yet sent, above which a connection is not read.
pub(super) const UNSENT_BYTES_MAX: usize = 1 << 20;

/// All connections of a server.
#[derive(Debug, Default)]
pub struct Connections {
    lanes: Mutex<Lanes>,
    next: AtomicU64,
    /// Connections that were refused for their number.
    pub rejected: AtomicU64,
    /// Connections closed because they asked for no session in time.
    pub sessionless_expired: AtomicU64,
    /// TLS handshakes under way.
    pub handshakes: AtomicU64,
    /// Connections without TLS that there have been, from elsewhere.
    pub plain_remote: AtomicU64,
    /// And from this host.
    pub plain_local: AtomicU64,
    /// Bytes received.
    pub bytes_received: AtomicU64,
}

#[derive(Debug, Default)]
struct Lanes {
    all: NumberedTable<Arc<Lane>>,
    /// Those that may not have asked for a session yet, the oldest first, and since when they are here, ms.
    newcomers: VecDeque<(u64, ConnectionId)>,
    /// How many come from each address, and who they all are before they say more.
    per_address: HashMap<IpAddr, (usize, Identities)>,
}

impl Connections {
    /// Admits a new connection; `None`: there are too many.
    pub fn admit(
        &self,
        limits: &ConnectionLimits,
        address: SocketAddr,
        now: crate::ids::Now,
        statistics: &Arc<ServerStatistics>,
    ) -> Option<Arc<Lane>> {
        let mut lanes = self.lanes.lock();
        let from_here = lanes.per_address.get(&address.ip()).map_or(0, |(count, _)| *count);
        let over = |max: usize, count: usize| max > 0 && count >= max;
        if over(limits.per_address_max, from_here) || over(limits.total_max, lanes.all.len()) {
            self.rejected.fetch_add(1, Relaxed);
            return None;
        }
        let id = ConnectionId(self.next.fetch_add(1, Relaxed));
        let here = lanes.per_address.entry(address.ip());
        let (count, identities) = here.or_insert_with(|| (0, [Identity::ip(address.ip())].into()));
        *count += 1;
        let lane = Lane::of(Arc::clone(identities), id, address, now.wall_ms, Arc::clone(statistics));
        lanes.all.insert(Arc::clone(&lane));
        lanes.newcomers.push_back((now.steady_ms, id));
        Some(lane)
    }

    /// Forgets a connection that is gone.
    pub fn remove(&self, lane: &Lane) {
        let mut lanes = self.lanes.lock();
        if lanes.all.remove(lane.id).is_none() {
            return;
        }
        let ip = lane.address().ip();
        if let Some((count, _)) = lanes.per_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                lanes.per_address.remove(&ip);
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.lock().all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Lane>> {
        let mut all: Vec<_> = self.lanes.lock().all.iter().map(Arc::clone).collect();
        all.sort_unstable_by_key(|lane| lane.id);
        all
    }

    /// Closes the connections that have asked for no session for too long (SE-09). Each is looked at once: who has asked
    /// does not begin anew.
    pub fn expire_sessionless(&self, limits: &ConnectionLimits, steady_ms: u64) {
        let overdue: Vec<_> = {
            let Lanes { all, newcomers, .. } = &mut *self.lanes.lock();
            let is_old = |(since, _): &(u64, _)| steady_ms.saturating_sub(*since) > limits.sessionless_ms;
            let old = newcomers.iter().take_while(|newcomer| is_old(newcomer)).count();
            let overdue = newcomers.drain(..old).filter_map(|(_, id)| all.get(id).cloned()).collect();
            newcomers.shrink_to(2 * newcomers.len());
            overdue
        };
        for lane in overdue {
            let mut state = lane.lock();
            if state.phase() == LanePhase::Greeting {
                self.sessionless_expired.fetch_add(1, Relaxed);
                let waker = state.cut();
                drop(state);
                waker.into_iter().for_each(std::task::Waker::wake);
            }
        }
    }

    /// Closes all: the server stops or loses its role.
    pub fn close_all(&self) {
        for lane in self.all() {
            let waker = lane.lock().close();
            waker.into_iter().for_each(std::task::Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Now;
    use crate::pipeline::{EarlyRules, LargeRequestRules};

    const LIMITS: ConnectionLimits = ConnectionLimits {
        frame_bytes_max: 1000,
        per_address_max: 0,
        total_max: 0,
        outstanding_max: 1000,
        receive: ReceiveRules { large: LargeRequestRules { threshold: None, bytes_max: 0 }, early: EarlyRules::NONE },
        sessionless_ms: 10_000,
        handshakes_max: u64::MAX,
        keep_alive: false,
    };

    #[test]
    fn who_asks_for_no_session_in_time_is_closed_and_nobody_else() {
        let (connections, statistics) = (Connections::default(), Arc::default());
        let admit = |steady_ms| {
            let now = Now { steady_ms, wall_ms: 0 };
            connections.admit(&LIMITS, ([127, 0, 0, 1], 1).into(), now, &statistics).expect("room")
        };
        let (first, gone, second) = (admit(0), admit(0), admit(5000));
        connections.remove(&gone);
        let closing = |lane: &Lane| lane.lock().phase() == LanePhase::Closing;
        connections.expire_sessionless(&LIMITS, 10_000);
        assert_eq!((closing(&first), closing(&second)), (false, false), "not too long yet");
        connections.expire_sessionless(&LIMITS, 10_001);
        assert_eq!((closing(&first), closing(&second)), (true, false));
        connections.expire_sessionless(&LIMITS, 15_001);
        assert!(closing(&second));
        connections.expire_sessionless(&LIMITS, 60_000);
        assert_eq!(connections.sessionless_expired.load(Relaxed), 2);
    }
}
