//! What the connections of one thread do together: they are polled by one task, their writes leave for the owner in one
//! message, and whoever wakes many of them wakes that task once. One by one, each would be a switch between threads, or a
//! system call.

use std::sync::Arc;
use std::task::{Context, Poll};

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
}

impl Carrier {
    pub(super) fn new(owner: Arc<dyn Owner>, words: WordDesk) -> Arc<Self> {
        Arc::new(Self { owner, words, writes: Mutex::default() })
    }

    /// Carries what `begin` makes of those that arrive. Never ends: those that are here may go on when nobody arrives any more.
    pub(super) async fn carry<A, C: Future<Output = ()>>(
        &self,
        mut arriving: mpsc::Receiver<A>,
        mut begin: impl FnMut(A) -> Option<C>,
    ) {
        let mut connections = FuturesUnordered::new();
        let turn = |cx: &mut Context<'_>| {
            loop {
                while let Poll::Ready(Some(())) = connections.poll_next_unpin(cx) {}
                self.hand_over();
                match arriving.poll_recv(cx) {
                    Poll::Ready(Some(arrived)) => connections.extend(begin(arrived)),
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                }
            }
        };
        // Each of them sees to it that the others get their turn.
        unconstrained(std::future::poll_fn(turn)).await
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

    #[tokio::test]
    async fn what_happens_in_one_turn_of_the_thread_goes_together() {
        let owner = Arc::new(Batches::default());
        let carrier = Carrier::new(owner.clone(), WordDesk::open().expect("a thread"));
        let (arrive, arriving) = mpsc::channel(3);
        let again = Arc::new(Notify::new());
        let begin = {
            let (carrier, again) = (carrier.clone(), again.clone());
            move |()| {
                let (carrier, again) = (carrier.clone(), again.clone());
                Some(async move {
                    loop {
                        again.notified().await;
                        carrier.write(vec![write(), write()]);
                    }
                })
            }
        };
        let carries = carrier.clone();
        tokio::spawn(async move { carries.carry(arriving, begin).await });
        for _ in 0..3 {
            arrive.send(()).await.expect("somebody carries");
        }
        tokio::task::yield_now().await;
        again.notify_waiters();
        assert!(owner.0.lock().is_empty());
        tokio::task::yield_now().await;
        assert_eq!(*owner.0.lock(), [6]);
        carrier.write(vec![write()]);
        carrier.hand_over();
        carrier.hand_over();
        assert_eq!(*owner.0.lock(), [6, 1], "at once, and not again");
    }
}
