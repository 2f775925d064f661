//! What the connections of one thread do together: their writes leave for the owner in one message, and all whom the owner
//! wakes are woken at once. One by one, each would be a switch between threads, or a system call.

use std::sync::Arc;
use std::task::{Wake, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Owner;
use super::words::WordDesk;
use crate::pipeline::WriteRequest;

/// One thread's.
pub(super) struct Carrier {
    owner: Arc<dyn Owner>,
    words: WordDesk,
    /// Writes that came in since the thread last was through with whoever had something to read.
    writes: Mutex<Vec<WriteRequest>>,
    /// Connections that have something to send.
    woken: Mutex<Vec<Arc<ConnectionWaker>>>,
    wanted: Notify,
}

impl Carrier {
    pub(super) fn new(owner: Arc<dyn Owner>, words: WordDesk) -> Arc<Self> {
        Arc::new(Self { owner, words, writes: Mutex::default(), woken: Mutex::default(), wanted: Notify::new() })
    }

    /// Has its turn behind all connections that were ready when it was wanted: what these do goes along. Never ends.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            self.wanted.notified().await;
            self.hand_over();
            let woken = std::mem::take(&mut *self.woken.lock());
            woken.iter().for_each(|waker| waker.connection.wake_by_ref());
        }
    }

    /// Where four-letter words are answered.
    pub(super) fn words(&self) -> &WordDesk {
        &self.words
    }

    /// Takes writes to the owner, soon.
    pub(super) fn write(&self, requests: Vec<WriteRequest>) {
        self.add(&self.writes, requests);
    }

    /// Takes them now: what a connection says next must not overtake them.
    pub(super) fn hand_over(&self) {
        let writes = std::mem::take(&mut *self.writes.lock());
        if !writes.is_empty() {
            self.owner.write(writes);
        }
    }

    /// Adds to a list. Whoever begins one wants the carrier's turn.
    fn add<T>(&self, list: &Mutex<Vec<T>>, more: impl IntoIterator<Item = T>) {
        let first = {
            let mut list = list.lock();
            let first = list.is_empty();
            list.extend(more);
            first
        };
        if first {
            self.wanted.notify_one();
        }
    }

    /// A waker of `connection` that wakes it together with others of its thread.
    pub(super) fn waker(self: &Arc<Self>, connection: &Waker) -> Waker {
        Arc::new(ConnectionWaker { carrier: Arc::clone(self), connection: connection.clone() }).into()
    }
}

struct ConnectionWaker {
    carrier: Arc<Carrier>,
    connection: Waker,
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        let carrier = Arc::clone(&self.carrier);
        carrier.add(&carrier.woken, [self]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn what_happens_in_one_turn_of_the_thread_goes_together() {
        let owner = Arc::new(Batches::default());
        let carrier = Carrier::new(owner.clone(), WordDesk::open().expect("a thread"));
        tokio::spawn(carrier.clone().run());
        tokio::task::yield_now().await;
        let woken = Arc::new(Woken::default());
        for _ in 0..3 {
            carrier.write(vec![write(), write()]);
            carrier.waker(&Waker::from(woken.clone())).wake();
        }
        assert_eq!((owner.0.lock().clone(), woken.0.load(Ordering::Relaxed)), (vec![], 0));
        tokio::task::yield_now().await;
        assert_eq!((owner.0.lock().clone(), woken.0.load(Ordering::Relaxed)), (vec![6], 3));
        carrier.write(vec![write()]);
        carrier.hand_over();
        tokio::task::yield_now().await;
        assert_eq!(*owner.0.lock(), [6, 1], "at once, and not again");
    }
}
