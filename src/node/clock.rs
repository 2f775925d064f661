//! The only place that reads a clock for the core.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ids::Now;
use crate::net::Clock;

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    start_ms: u64,
}

impl Default for SystemClock {
    /// The steady clock starts where the wall clock stands, so that session ids differ between runs.
    fn default() -> Self {
        Self { start: Instant::now(), start_ms: wall_ms().unsigned_abs() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let elapsed_ms = millis(self.start.elapsed());
        Now { steady_ms: self.start_ms.saturating_add(elapsed_ms), wall_ms: wall_ms() }
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A time in whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
