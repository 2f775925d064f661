//! Tells the owner when it is time.
//!
//! A thread of its own sleeps until then. A timer on the owner's thread, set anew in every turn, would cost that thread
//! several system calls in every turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::net::Clock;

/// No tick is wanted.
const NEVER: u64 = u64::MAX;

/// The way to the thread.
pub(super) struct Ticker {
    /// When the next tick is wanted, steady clock, ms.
    due_ms: Arc<AtomicU64>,
    thread: Thread,
}

impl Ticker {
    /// Starts the thread. It lives as long as the process.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(super) fn start(clock: Arc<dyn Clock>, tick: impl Fn() + Send + 'static) -> io::Result<Self> {
        let due_ms = Arc::new(AtomicU64::new(NEVER));
        let due = Arc::clone(&due_ms);
        let work = move || {
            loop {
                let at = due.load(SeqCst);
                let now = clock.now().steady_ms;
                if at == NEVER {
                    thread::park();
                } else if now < at {
                    thread::park_timeout(Duration::from_millis(at - now));
                } else if due.compare_exchange(at, NEVER, SeqCst, SeqCst).is_ok() {
                    tick();
                }
            }
        };
        let thread = thread::Builder::new().name("ticker".to_owned()).spawn(work)?.thread().clone();
        Ok(Self { due_ms, thread })
    }

    /// Wants one tick at this time, and none before. The thread need not know at once of one that is put off.
    pub(super) fn tick_at(&self, due_ms: u64) {
        if due_ms < self.due_ms.swap(due_ms, SeqCst) {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use super::super::clock::SystemClock;
    use super::*;

    #[test]
    fn there_is_one_tick_when_it_is_time() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let (tick, ticks) = channel();
        let ticker = Ticker::start(Arc::clone(&clock), move || tick.send(()).unwrap_or_default()).expect("a thread");
        let began = Instant::now();
        let now = clock.now().steady_ms;
        ticker.tick_at(now + 60_000);
        ticker.tick_at(now + 20);
        ticker.tick_at(now + 40);
        ticks.recv().expect("a tick");
        assert!(began.elapsed() >= Duration::from_millis(39));
        ticker.tick_at(now);
        ticks.recv().expect("one that is late comes at once");
        assert!(ticks.try_recv().is_err(), "those that were put off do not come");
    }
}
