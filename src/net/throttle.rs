//! Holding clients back: how many may ask for a session in a time (TH-03), and how many requests may be in process at
//! once (TH-05). What is asked of these is told in `mntr` under the reference's names.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed, fence};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Sleep, sleep};

use crate::ids::SessionId;
use crate::metrics::{Advanced, Basic, Counter, Metrics};
use crate::pipeline::ServerStatistics;

/// How many clients may ask for a session.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ConnectionThrottleRules {
    /// `zookeeper.connection_throttle_tokens`: what the bucket holds; 0 is no limit. Weights are in it already.
    pub tokens_max: u32,
    /// `zookeeper.connection_throttle_fill_count`: tokens that come in each `fill_ms`.
    pub fill_count: u32,
    /// `zookeeper.connection_throttle_fill_time`, ms.
    pub fill_ms: u64,
    /// `zookeeper.connection_throttle_freeze_time`, ms: how often the chance to be dropped changes; `None`: there is none.
    pub freeze_ms: Option<u64>,
    /// `zookeeper.connection_throttle_drop_increase`: by how much it grows while the bucket is empty.
    pub drop_increase: f64,
    /// `zookeeper.connection_throttle_drop_decrease`: by how much it shrinks while few tokens are missing.
    pub drop_decrease: f64,
    /// `zookeeper.connection_throttle_decrease_ratio`: which part of the bucket may be missing then.
    pub decrease_ratio: f64,
    /// Tokens that a new session takes.
    pub new_session_weight: u32,
    /// Tokens that a session takes whose client comes back.
    pub renewed_session_weight: u32,
}

/// How many requests may be in process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestThrottleRules {
    /// `zookeeper.request_throttle_max_requests`; 0 is no limit.
    pub requests_max: i64,
    /// `zookeeper.request_throttle_stall_time`: how long one waits before it looks again.
    pub stall: Duration,
    /// `zookeeper.request_throttle_drop_stale`: a stale one ends its connection.
    pub drop_stale: bool,
    /// `zookeeper.request_stale_connection_check`: a request is stale when its client is gone.
    pub stale_connection: bool,
    /// `zookeeper.request_stale_latency_check`: a request is stale when it has waited for longer than its session lives.
    pub stale_latency: bool,
}

impl Default for ConnectionThrottleRules {
    /// No limit.
    fn default() -> Self {
        Self {
            tokens_max: 0,
            fill_count: 1,
            fill_ms: 1,
            freeze_ms: None,
            drop_increase: 0.0,
            drop_decrease: 0.0,
            decrease_ratio: 0.0,
            new_session_weight: 1,
            renewed_session_weight: 1,
        }
    }
}

impl Default for RequestThrottleRules {
    /// No limit.
    fn default() -> Self {
        Self {
            requests_max: 0,
            stall: Duration::from_millis(100),
            drop_stale: true,
            stale_connection: true,
            stale_latency: false,
        }
    }
}

/// Both.
#[derive(Debug)]
pub struct Throttles {
    connections: ConnectionThrottleRules,
    bucket: Mutex<Bucket>,
    pub(super) requests: RequestThrottleRules,
    statistics: Arc<ServerStatistics>,
    pub(super) metrics: Arc<Metrics>,
    stalled: Mutex<BTreeMap<u64, Waker>>,
    has_stalled: AtomicBool,
    next_place: AtomicU64,
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    filled_ms: u64,
    drop_chance: f64,
    changed_ms: u64,
}

impl Throttles {
    /// With a full bucket.
    #[must_use]
    pub fn new(
        connections: ConnectionThrottleRules,
        requests: RequestThrottleRules,
        statistics: Arc<ServerStatistics>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let bucket = Bucket { tokens: connections.tokens_max, filled_ms: 0, drop_chance: 0.0, changed_ms: 0 };
        Self {
            connections,
            bucket: Mutex::new(bucket),
            requests,
            statistics,
            metrics,
            stalled: Mutex::default(),
            has_stalled: AtomicBool::new(false),
            next_place: AtomicU64::new(0),
        }
    }

    /// Whether a client may ask for this session now. `dice` is a random number from 0 to below 1.
    pub fn admit(&self, session: SessionId, now_ms: u64, dice: f64) -> bool {
        let rules = &self.connections;
        let is_new = session == SessionId::NONE;
        let need = if is_new { rules.new_session_weight } else { rules.renewed_session_weight };
        let deficit = {
            let mut bucket = self.bucket.lock();
            if rules.tokens_max > 0 && !bucket.take(rules, need, now_ms, dice) {
                return false;
            }
            rules.tokens_max - bucket.tokens
        };
        self.metrics.sample(Basic::connection_token_deficit, deficit.into());
        self.metrics.count(Counter::connection_request_count, 1);
        true
    }

    /// The chance that a client is dropped though there are tokens.
    #[must_use]
    pub fn drop_chance(&self) -> f64 {
        self.bucket.lock().drop_chance
    }

    /// Whether one more request may be processed.
    pub(super) fn has_room(&self) -> bool {
        self.requests.requests_max <= 0 || self.statistics.outstanding.load(Relaxed) < self.requests.requests_max
    }

    /// Lets as many go on as there is room for, the longest-waiting first. The owner calls this when it has answered.
    pub fn release(&self) {
        // Either this sees who waits, or they see the room: the other fence is in `wait`.
        fence(Ordering::SeqCst);
        if !self.has_stalled.load(Relaxed) {
            return;
        }
        let room = self.requests.requests_max - self.statistics.outstanding.load(Relaxed);
        let mut stalled = self.stalled.lock();
        for _ in 0..room.max(0) {
            let Some((_, waker)) = stalled.pop_first() else { break };
            waker.wake();
        }
        self.has_stalled.store(!stalled.is_empty(), Relaxed);
    }

    fn wait(&self, place: u64, waker: &Waker) {
        let mut stalled = self.stalled.lock();
        stalled.insert(place, waker.clone());
        self.has_stalled.store(true, Relaxed);
        fence(Ordering::SeqCst);
    }

    /// One goes on or is gone. If it has left room, that is for the next one.
    fn forget(&self, place: u64) {
        self.stalled.lock().remove(&place);
        self.release();
    }

    pub(super) fn waited(&self, waited_ms: u64) {
        if self.requests.requests_max > 0 {
            self.metrics.observe(Advanced::request_throttle_queue_time_ms, waited_ms);
        }
    }
}

impl Bucket {
    fn take(&mut self, rules: &ConnectionThrottleRules, need: u32, now_ms: u64, dice: f64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        if passed_ms > rules.fill_ms {
            let fresh = passed_ms.saturating_mul(rules.fill_count.into()) / rules.fill_ms.max(1);
            let tokens = u64::from(self.tokens).saturating_add(fresh).min(rules.tokens_max.into());
            self.tokens = u32::try_from(tokens).unwrap_or(rules.tokens_max);
            self.filled_ms = now_ms;
        }
        if let Some(freeze_ms) = rules.freeze_ms
            && self.is_dropped(rules, freeze_ms, now_ms, dice)
        {
            return false;
        }
        let left = self.tokens.checked_sub(need);
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }

    fn is_dropped(&mut self, rules: &ConnectionThrottleRules, freeze_ms: u64, now_ms: u64, dice: f64) -> bool {
        let missing = f64::from(rules.tokens_max - self.tokens);
        if now_ms.saturating_sub(self.changed_ms) > freeze_ms {
            if self.tokens == 0 {
                self.drop_chance = (self.drop_chance + rules.drop_increase).min(1.0);
            } else if missing <= (f64::from(rules.tokens_max) * rules.decrease_ratio).round() {
                self.drop_chance = (self.drop_chance - rules.drop_decrease).max(0.0);
            }
            self.changed_ms = now_ms;
        }
        dice < self.drop_chance
    }
}

/// A connection whose requests wait for room.
#[derive(Debug)]
pub(super) struct Stall {
    throttles: Arc<Throttles>,
    place: u64,
    sleep: Pin<Box<Sleep>>,
    /// Since when, steady clock, ms.
    pub(super) since_ms: u64,
    /// The client is gone meanwhile.
    pub(super) client_is_gone: bool,
}

impl Stall {
    pub(super) fn new(throttles: &Arc<Throttles>, now_ms: u64) -> Box<Self> {
        throttles.metrics.count(Counter::request_throttle_wait_count, 1);
        Box::new(Self {
            place: throttles.next_place.fetch_add(1, Relaxed),
            sleep: Box::pin(sleep(throttles.requests.stall)),
            throttles: Arc::clone(throttles),
            since_ms: now_ms,
            client_is_gone: false,
        })
    }

    /// Ready when there is room.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.throttles.has_room() {
                return Poll::Ready(());
            }
            self.throttles.wait(self.place, cx.waker());
            if self.throttles.has_room() {
                return Poll::Ready(());
            }
            ready!(self.sleep.as_mut().poll(cx));
            self.throttles.metrics.count(Counter::request_throttle_wait_count, 1);
            self.sleep = Box::pin(sleep(self.throttles.requests.stall));
        }
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.throttles.forget(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ConnectionThrottleRules = ConnectionThrottleRules {
        tokens_max: 2,
        fill_count: 1,
        fill_ms: 10,
        freeze_ms: None,
        drop_increase: 0.5,
        drop_decrease: 0.25,
        decrease_ratio: 0.5,
        new_session_weight: 1,
        renewed_session_weight: 2,
    };

    fn throttles(connections: ConnectionThrottleRules) -> Throttles {
        let requests = RequestThrottleRules { requests_max: 2, ..RequestThrottleRules::default() };
        Throttles::new(connections, requests, Arc::default(), Arc::default())
    }

    #[test]
    fn a_session_takes_tokens_that_come_back_with_time() {
        let throttles = throttles(RULES);
        let ask = |session, now_ms| throttles.admit(SessionId(session), now_ms, 0.0);
        assert!(ask(0, 1) && ask(0, 1), "the bucket is full at first");
        assert!(!ask(0, 5) && !ask(0, 10), "and empty then");
        assert!(ask(0, 11) && !ask(0, 12), "one more came");
        assert!(!ask(7, 22), "who comes back takes two");
        assert!(ask(7, 33), "and two are there now");
        assert!(!ask(0, 33));
        assert_eq!(throttles.metrics.counter(Counter::connection_request_count), 4);
        assert_eq!(throttles.metrics.basic(Basic::connection_token_deficit).max(), 2);
    }

    #[test]
    fn an_empty_bucket_makes_it_likelier_to_be_dropped() {
        let throttles = throttles(ConnectionThrottleRules { freeze_ms: Some(0), ..RULES });
        let ask = |now_ms, dice| throttles.admit(SessionId::NONE, now_ms, dice);
        assert!(ask(1, 0.0) && ask(2, 0.0), "nobody is dropped while there are tokens");
        assert!(!ask(3, 0.9));
        assert!((throttles.drop_chance() - 0.5).abs() < 1e-9);
        assert!(!ask(14, 0.2), "there is a token, but the dice are against it");
        assert!((throttles.drop_chance() - 0.25).abs() < 1e-9, "half of the bucket is missing: it shrinks");
        assert!(ask(15, 0.4));
    }

    #[test]
    fn no_limit_is_no_limit() {
        let throttles = throttles(ConnectionThrottleRules { tokens_max: 0, ..RULES });
        assert!((0..1000).all(|_| throttles.admit(SessionId::NONE, 1, 0.0)));
    }

    #[test]
    fn those_that_wait_go_on_in_turn_as_there_is_room() {
        struct Woken(Mutex<Vec<u64>>, u64);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.lock().push(self.1);
            }
        }
        let throttles = throttles(RULES);
        throttles.statistics.outstanding.store(2, Relaxed);
        assert!(!throttles.has_room());
        let wakers: Vec<_> = (0..3).map(|at| Arc::new(Woken(Mutex::default(), at))).collect();
        for (place, waker) in wakers.iter().enumerate() {
            throttles.wait(place as u64, &Waker::from(Arc::clone(waker)));
        }
        let woken = || wakers.iter().flat_map(|waker| waker.0.lock().clone()).collect::<Vec<_>>();
        throttles.release();
        assert_eq!(woken(), [0; 0]);
        throttles.forget(1);
        throttles.statistics.outstanding.store(1, Relaxed);
        throttles.release();
        assert_eq!(woken(), [0]);
        throttles.forget(0);
        assert_eq!(woken(), [0, 2], "the first one has left room");
    }
}
