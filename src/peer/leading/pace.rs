//! How often a leader broadcasts. Each broadcast is a flush of every follower's log and wakes everybody twice, so with two of
//! them under way the next one waits, and takes along what is proposed meanwhile.

use std::collections::VecDeque;

use crate::ids::Zxid;

/// Broadcasts that are not committed as a whole, with which the next one waits.
const UNDER_WAY_MAX: usize = 2;
/// As long after the last one it does not wait any more, however far away the followers are, ms.
const WAIT_MS_MAX: u64 = 2;

/// The broadcasts of one reign.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Where each one under way ends.
    under_way: VecDeque<Zxid>,
    /// When the last one went out in its turn, steady clock.
    last_ms: u64,
}

impl Pace {
    /// One goes out that ends at `upto`, in its turn or not.
    pub(super) fn goes(&mut self, upto: Zxid) {
        self.under_way.push_back(upto);
    }

    /// Whether it is the next one's turn.
    pub(super) fn is_time(&mut self, committed: Zxid, now_ms: u64) -> bool {
        while self.under_way.pop_front_if(|upto| *upto <= committed).is_some() {}
        let is_time = self.under_way.len() < UNDER_WAY_MAX || self.due_ms() <= now_ms;
        if is_time {
            self.last_ms = now_ms;
        }
        is_time
    }

    /// When it is at the latest, steady clock.
    pub(super) const fn due_ms(&self) -> u64 {
        self.last_ms + WAIT_MS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_one_waits_for_the_first_or_for_two_milliseconds() {
        let mut pace = Pace::default();
        for upto in [3, 5] {
            assert!(pace.is_time(Zxid(0), 1000), "up to {upto}");
            pace.goes(Zxid(upto));
        }
        assert!(!pace.is_time(Zxid(2), 1001), "none is committed as a whole");
        assert_eq!(pace.due_ms(), 1002);
        assert!(pace.is_time(Zxid(3), 1001));
        pace.goes(Zxid(9));
        assert!(!pace.is_time(Zxid(3), 1002));
        assert!(pace.is_time(Zxid(3), 1003), "two milliseconds");
        pace.goes(Zxid(12));
        assert!(!pace.is_time(Zxid(5), 1004), "two are still under way");
        assert!(pace.is_time(Zxid(12), 1004));
    }
}
