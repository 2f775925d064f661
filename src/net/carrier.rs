//! What the connections of one thread do together: they are polled by one task, their writes leave for the owner in one
//! message, and whoever wakes many of them wakes that task once. One by one, each would be a switch between threads, or a
//! system call.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::unconstrained;

use super::Owner;
use super::words::WordDesk;
use crate::pipeline::WriteRequest;

/// One thread's.
pub(super) struct Carrier {
    owner: Arc<dyn Owner>,
    words: WordDesk,
    /// Writes that came in during this turn of the thread.
    writes: Mutex<Vec<WriteRequest>>,
    /// How many connections may still have theirs in it, and until when.
    turns_left: AtomicUsize,
    turns_end: Mutex<Instant>,
    /// How many handshakes may still take a step in it, and those that have come too late for that.
    steps_left: AtomicUsize,
    steps: Mutex<VecDeque<Waker>>,
}

/// Connections that are polled, and such that arrive, before other tasks of the thread go on.
const TURNS_MAX: usize = 256;

/// How long all of them may take, once the first has begun: whoever can be answered without the owner may ask for much.
const TURNS_TIME: Duration = Duration::from_millis(10);

/// Steps of handshakes before all who are ready, and other tasks, go on: each takes milliseconds.
const STEPS_MAX: usize = 1;

impl Carrier {
    pub(super) fn new(owner: Arc<dyn Owner>, words: WordDesk) -> Arc<Self> {
        let turns_end = Mutex::new(Instant::now());
        let (writes, turns_left, steps_left, steps) = Default::default();
        Arc::new(Self { owner, words, writes, turns_left, turns_end, steps_left, steps })
    }

    /// Carries what `begin` makes of those that arrive. Never ends: those that are here may go on when nobody arrives any more.
    pub(super) async fn carry<A, C: Future<Output = ()>>(
        &self,
        mut arriving: mpsc::Receiver<A>,
        mut begin: impl FnMut(A) -> Option<C>,
    ) {
        let mut connections = FuturesUnordered::new();
        let turn = |cx: &mut Context<'_>| {
            self.turns_left.store(TURNS_MAX, Relaxed);
            *self.turns_end.lock() = Instant::now() + TURNS_TIME;
            self.grant_steps();
            for _ in 0..TURNS_MAX {
                while let Poll::Ready(Some(())) = connections.poll_next_unpin(cx) {}
                self.hand_over();
                match arriving.poll_recv(cx) {
                    Poll::Ready(Some(arrived)) => connections.extend(begin(arrived)),
                    Poll::Ready(None) | Poll::Pending if self.steps.lock().is_empty() => return Poll::Pending,
                    Poll::Ready(None) | Poll::Pending => break,
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        };
        // What it may do in one turn is counted here.
        unconstrained(poll_fn(turn)).await
    }

    /// Whether one more connection may have its turn now. One that may not wakes itself; when two have done that, this turn
    /// of the thread is over.
    pub(super) fn grants_turn(&self) -> bool {
        let left = self.turns_left.load(Relaxed);
        let left = if Instant::now() < *self.turns_end.lock() { left } else { 0 };
        self.turns_left.store(left.saturating_sub(1), Relaxed);
        left > 0
    }

    /// Goes through a handshake, few steps of all of them in one turn. One that has to wait is not among those that are ready
    /// meanwhile: connections do not wait behind it.
    pub(super) async fn in_steps<H: Future>(&self, handshake: H) -> H::Output {
        let mut handshake = pin!(handshake);
        poll_fn(|cx| {
            let left = self.steps_left.load(Relaxed);
            if left == 0 {
                self.steps.lock().push_back(cx.waker().clone());
                return Poll::Pending;
            }
            self.steps_left.store(left - 1, Relaxed);
            handshake.as_mut().poll(cx)
        })
        .await
    }

    fn grant_steps(&self) {
        self.steps_left.store(STEPS_MAX, Relaxed);
        let mut steps = self.steps.lock();
        let granted = steps.len().min(STEPS_MAX);
        steps.drain(..granted).for_each(Waker::wake);
    }

    /// Where four-letter words are answered.
    pub(super) fn words(&self) -> &WordDesk {
        &self.words
    }

    /// Takes writes to the owner, at the end of this turn.
    pub(super) fn write(&self, requests: Vec<WriteRequest>) {
        self.writes.lock().extend(requests);
    }

    /// Takes them now: what a connection says next must not overtake them.
    pub(super) fn hand_over(&self) {
        let writes = std::mem::take(&mut *self.writes.lock());
        if !writes.is_empty() {
            self.owner.write(writes);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::ids::{ConnectionId, SessionId};
    use crate::pipeline::{Greeting, Lane, ServerStatistics};
    use crate::proto::OpCode;

    #[derive(Default)]
    struct Batches(Mutex<Vec<usize>>);

    impl Owner for Batches {
        fn connect(&self, _lane: Arc<Lane>, _greeting: Greeting) {}

        fn write(&self, requests: Vec<WriteRequest>) {
            self.0.lock().push(requests.len());
        }

        fn disconnected(&self, _connection: ConnectionId) {}
    }

    fn write() -> WriteRequest {
        let address = ([127, 0, 0, 1], 1).into();
        let lane = Lane::new(ConnectionId(1), address, 0, Arc::new(ServerStatistics::default()));
        let (session, op) = (SessionId::NONE, OpCode::SET_DATA);
        WriteRequest { lane, session, xid: 1, op, body: Default::default(), identities: [].into(), received_ms: 0 }
    }

    type Trace = Arc<Mutex<Vec<&'static str>>>;

    /// A carrier of so many connections, each of which writes when it is told to, and says so.
    async fn carried(count: usize, again: &Arc<Notify>, trace: &Trace) -> (Arc<Carrier>, Arc<Batches>) {
        let owner = Arc::new(Batches::default());
        let carrier = Carrier::new(owner.clone(), WordDesk::open().expect("a thread"));
        let (arrive, arriving) = mpsc::channel(count);
        let begin = {
            let (carrier, again, trace) = (carrier.clone(), again.clone(), trace.clone());
            move |()| {
                let (carrier, again, trace) = (carrier.clone(), again.clone(), trace.clone());
                Some(async move {
                    loop {
                        again.notified().await;
                        poll_fn(|cx| match carrier.grants_turn() {
                            true => Poll::Ready(()),
                            false => {
                                cx.waker().wake_by_ref();
                                Poll::Pending
                            }
                        })
                        .await;
                        trace.lock().push("connection");
                        carrier.write(vec![write(), write()]);
                    }
                })
            }
        };
        let carries = carrier.clone();
        tokio::spawn(async move { carries.carry(arriving, begin).await });
        for _ in 0..count {
            arrive.send(()).await.expect("somebody carries");
        }
        // Nobody arrives any more; those that are here go on.
        drop(arrive);
        for _ in 0..2 + count / TURNS_MAX {
            tokio::task::yield_now().await;
        }
        (carrier, owner)
    }

    #[tokio::test]
    async fn what_happens_in_one_turn_of_the_thread_goes_together() {
        let again = Arc::new(Notify::new());
        let (carrier, owner) = carried(3, &again, &Trace::default()).await;
        again.notify_waiters();
        assert!(owner.0.lock().is_empty());
        tokio::task::yield_now().await;
        assert_eq!(*owner.0.lock(), [6]);
        carrier.write(vec![write()]);
        carrier.hand_over();
        carrier.hand_over();
        assert_eq!(*owner.0.lock(), [6, 1], "at once, and not again");
    }

    #[tokio::test]
    async fn connections_do_not_wait_behind_many_handshakes() {
        const HANDSHAKES: usize = 100;
        let (again, trace) = (Arc::new(Notify::new()), Trace::default());
        let carrier = Carrier::new(Arc::new(Batches::default()), WordDesk::open().expect("a thread"));
        let (arrive, arriving) = mpsc::channel(HANDSHAKES + 1);
        let carries = (carrier.clone(), again.clone(), trace.clone());
        tokio::spawn(async move {
            let (carrier, again, trace) = carries;
            let begin = |is_handshake| {
                let (carrier, again, trace) = (carrier.clone(), again.clone(), trace.clone());
                Some(async move {
                    again.notified().await;
                    match is_handshake {
                        true => carrier.in_steps(async { trace.lock().push("handshake") }).await,
                        false => trace.lock().push("connection"),
                    }
                })
            };
            carrier.carry(arriving, begin).await;
        });
        for number in 0..=HANDSHAKES {
            arrive.send(number < HANDSHAKES).await.expect("somebody carries");
        }
        tokio::task::yield_now().await;
        again.notify_waiters();
        while trace.lock().len() <= HANDSHAKES {
            tokio::task::yield_now().await;
        }
        let before = trace.lock().iter().position(|who| *who == "connection");
        assert_eq!(before, Some(STEPS_MAX));
    }

    #[tokio::test]
    async fn connections_that_ask_for_much_let_others_of_the_thread_go_on() {
        const EACH: Duration = Duration::from_millis(1);
        const COUNT: usize = 100;
        let (again, trace) = (Arc::new(Notify::new()), Trace::default());
        let carrier = Carrier::new(Arc::new(Batches::default()), WordDesk::open().expect("a thread"));
        let (arrive, arriving) = mpsc::channel(COUNT);
        let (carries, all, told) = (carrier.clone(), again.clone(), trace.clone());
        tokio::spawn(async move {
            let begin = |()| {
                let (carrier, again, trace) = (carries.clone(), all.clone(), told.clone());
                Some(async move {
                    again.notified().await;
                    poll_fn(|cx| match carrier.grants_turn() {
                        true => Poll::Ready(()),
                        false => {
                            cx.waker().wake_by_ref();
                            Poll::Pending
                        }
                    })
                    .await;
                    // As long as it would take to answer.
                    let end = Instant::now() + EACH;
                    while Instant::now() < end {}
                    trace.lock().push("connection");
                })
            };
            carries.carry(arriving, begin).await;
        });
        for _ in 0..COUNT {
            arrive.send(()).await.expect("somebody carries");
        }
        tokio::task::yield_now().await;
        again.notify_waiters();
        let other = trace.clone();
        tokio::spawn(async move { other.lock().push("other") }).await.expect("it ends well");
        let before = trace.lock().iter().position(|who| *who == "other");
        let most = (TURNS_TIME.as_millis() / EACH.as_millis()) as usize;
        assert!(before.is_some_and(|before| before <= most), "{before:?}");
    }

    #[tokio::test]
    async fn many_connections_that_are_ready_let_others_of_the_thread_go_on() {
        let (again, trace) = (Arc::new(Notify::new()), Trace::default());
        let (_carrier, owner) = carried(10 * TURNS_MAX, &again, &trace).await;
        again.notify_waiters();
        let other = trace.clone();
        tokio::spawn(async move { other.lock().push("other") }).await.expect("it ends well");
        let before = trace.lock().iter().position(|who| *who == "other");
        assert!(before.is_some_and(|before| before <= TURNS_MAX), "{before:?}");
        while trace.lock().len() < 10 * TURNS_MAX + 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(owner.0.lock().iter().sum::<usize>(), 20 * TURNS_MAX);
    }
}
