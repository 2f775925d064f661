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
    looks: Option<Instant>,
    is_elected: Option<Instant>,
    is_away: Option<Instant>,
}

impl RoleTimes {
    /// Of a server that has not begun.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, looks: None, is_elected: None, is_away: None }
    }

    /// An election begins.
    pub(super) fn looks(&mut self, now: Instant) {
        self.metrics.count(Counter::looking_count, 1);
        (self.looks, self.is_elected) = (Some(now), None);
        self.is_away.get_or_insert(now);
    }

    /// It has chosen a leader.
    pub(super) fn elected(&mut self, now: Instant) {
        let looks = self.looks.take();
        self.since(Basic::election_time, looks, now);
        self.is_elected = Some(now);
    }

    /// It has a role, or none.
    pub(super) fn stands(&mut self, now: Instant, mode: Mode) {
        let synchronised = match mode {
            Mode::Leader => Basic::leader_unavailable_time,
            Mode::Follower => Basic::follower_sync_time,
            Mode::Observer => Basic::observer_sync_time,
            Mode::Looking => {
                self.is_away.get_or_insert(now);
                return;
            }
            Mode::Standalone | Mode::ReadOnly => return,
        };
        let (away, elected) = (self.is_away.take(), self.is_elected.take());
        self.since(Basic::unavailable_time, away, now);
        self.since(synchronised, if mode == Mode::Leader { away } else { elected }, now);
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
        times.looks(at(0));
        times.stands(at(1), Mode::Looking);
        times.elected(at(20));
        times.stands(at(50), Mode::Follower);
        times.stands(at(60), Mode::Follower);
        assert_eq!(sums(), [(1, 20), (1, 50), (0, 0), (1, 30)]);
        // Nobody is served from the end of the role, and the first election comes to nothing.
        times.stands(at(100), Mode::Looking);
        times.looks(at(101));
        times.elected(at(105));
        times.stands(at(108), Mode::Looking);
        times.looks(at(110));
        times.stands(at(112), Mode::ReadOnly);
        times.stands(at(117), Mode::Looking);
        times.elected(at(117));
        times.stands(at(120), Mode::Leader);
        assert_eq!(sums(), [(3, 31), (2, 70), (1, 20), (1, 30)]);
        assert_eq!(metrics.counter(Counter::looking_count), 3);
        // No election is held for an heir.
        times.stands(at(200), Mode::Looking);
        times.stands(at(210), Mode::Leader);
        assert_eq!(sums(), [(3, 31), (3, 80), (2, 30), (1, 30)]);
    }
}
