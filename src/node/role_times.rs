//! How long elections took, how long nobody was served, and how long it took to follow (ME-10).

use std::sync::Arc;
use std::time::Instant;

use super::clock::millis;
use crate::metrics::{Basic, Counter, Metrics};
use crate::peer::Mode;

/// Since when a server is what it is, as far as it has no role.
#[derive(Debug)]
pub(super) struct RoleTimes {
    metrics: Arc<Metrics>,
    mode: Mode,
    looks: Option<Instant>,
    is_elected: Option<Instant>,
    is_away: Option<Instant>,
}

impl RoleTimes {
    /// Of a server that has not begun.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, mode: Mode::default(), looks: None, is_elected: None, is_away: None }
    }

    /// It has chosen a leader.
    pub(super) fn elected(&mut self, now: Instant) {
        self.since(Basic::election_time, self.looks, now);
        (self.looks, self.is_elected) = (None, Some(now));
    }

    /// It looks for a leader, or serves.
    pub(super) fn stands(&mut self, now: Instant, mode: Mode) {
        if mode == std::mem::replace(&mut self.mode, mode) {
            return;
        }
        match mode {
            Mode::Looking => {
                self.metrics.count(Counter::looking_count, 1);
                self.looks = Some(now);
                self.is_away.get_or_insert(now);
            }
            Mode::Leader | Mode::Follower | Mode::Observer => self.serves(now),
            Mode::Standalone | Mode::ReadOnly => {}
        }
    }

    fn serves(&mut self, now: Instant) {
        let (away, elected) = (self.is_away.take(), self.is_elected.take());
        self.since(Basic::unavailable_time, away, now);
        match self.mode {
            Mode::Leader => self.since(Basic::leader_unavailable_time, away, now),
            Mode::Observer => self.since(Basic::observer_sync_time, elected, now),
            _ => self.since(Basic::follower_sync_time, elected, now),
        }
    }

    fn since(&self, time: Basic, began: Option<Instant>, now: Instant) {
        if let Some(began) = began {
            self.metrics.sample(time, millis(now.duration_since(began)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_between_roles() {
        let metrics = Arc::<Metrics>::default();
        let mut times = RoleTimes::new(Arc::clone(&metrics));
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let sums = || {
            [Basic::election_time, Basic::unavailable_time, Basic::leader_unavailable_time, Basic::follower_sync_time]
                .map(|time| (metrics.basic(time).count(), metrics.basic(time).sum()))
        };
        times.stands(at(0), Mode::Looking);
        times.stands(at(1), Mode::Looking);
        times.elected(at(20));
        times.stands(at(50), Mode::Follower);
        times.stands(at(60), Mode::Follower);
        assert_eq!(sums(), [(1, 20), (1, 50), (0, 0), (1, 30)]);
        // The second election leads to something.
        for (begins, ends) in [(100, 105), (110, 117)] {
            times.stands(at(begins), Mode::Looking);
            times.elected(at(ends));
            times.stands(at(ends), Mode::ReadOnly);
        }
        times.stands(at(120), Mode::Leader);
        assert_eq!(sums(), [(3, 32), (2, 70), (1, 20), (1, 30)]);
        assert_eq!(metrics.counter(Counter::looking_count), 3);
    }
}
