//! Counts and latencies of what was answered while the run was measuring.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::mix::BenchOp;
use super::report::Report;

/// Per operation: a histogram of latencies in nanoseconds, made when the first one comes. Per second, if that is asked
/// for: one of all operations.
#[derive(Clone, Default)]
pub(super) struct Tally {
    latencies: [Option<Histogram<u32>>; BenchOp::ALL.len()],
    seconds: Vec<Histogram<u32>>,
}

/// Longer latencies are recorded as this, ns.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Three digits: a latency is off by 0.1% at most.
const DIGITS: u8 = 3;
/// A second's histogram is smaller: a latency is off by 1% at most.
const SECOND_DIGITS: u8 = 2;
/// Seconds that are reported by themselves at most; later ones are not.
const SECONDS_MAX: usize = 3600;

impl Tally {
    /// Records one answer, and in which second it came if that matters.
    pub(super) fn add(&mut self, op: BenchOp, latency: Duration, second: Option<usize>) {
        if let Some(second) = second.filter(|second| *second < SECONDS_MAX) {
            self.add_to_second(second, latency);
        }
        let slot = &mut self.latencies[op as usize];
        if slot.is_none() {
            *slot = Histogram::new_with_max(LATENCY_NS_MAX, DIGITS).ok();
        }
        if let Some(histogram) = slot {
            histogram.saturating_record(latency.as_nanos() as u64);
        }
    }

    fn add_to_second(&mut self, second: usize, latency: Duration) {
        while self.seconds.len() <= second {
            let Ok(histogram) = Histogram::new_with_max(LATENCY_NS_MAX, SECOND_DIGITS) else { return };
            self.seconds.push(histogram);
        }
        self.seconds[second].saturating_record(latency.as_nanos() as u64);
    }

    /// Adds all that another tally has.
    pub(super) fn merge(&mut self, other: &Self) {
        for (i, more) in other.seconds.iter().enumerate() {
            match self.seconds.get_mut(i) {
                Some(sum) => sum.add(more).unwrap_or_default(),
                None => self.seconds.push(more.clone()),
            }
        }
        for (slot, other) in self.latencies.iter_mut().zip(&other.latencies) {
            match (slot, other) {
                // Both have the same bounds, so the sum cannot be out of them.
                (Some(sum), Some(more)) => sum.add(more).unwrap_or_default(),
                (slot @ None, more) => slot.clone_from(more),
                (Some(_), None) => {}
            }
        }
    }

    /// How many answers there were.
    pub(super) fn count(&self) -> u64 {
        self.latencies.iter().flatten().map(Histogram::len).sum()
    }

    /// Adds throughput and latencies: all operations together, then each kind if there is more than one.
    pub(super) fn report(&self, elapsed: Duration, report: &mut Report) {
        report.number("seconds", elapsed.as_secs_f64());
        report.count("ops", self.count());
        report.number("ops_per_second", self.count() as f64 / elapsed.as_secs_f64().max(1e-9));
        if !self.seconds.is_empty() {
            report.numbers("second_ops", self.seconds.iter().map(|second| second.len() as f64));
            let p99 = |second: &Histogram<u32>| second.value_at_quantile(0.99) as f64 / 1e3;
            report.numbers("second_p99_us", self.seconds.iter().map(p99));
            report.numbers("second_max_us", self.seconds.iter().map(|second| second.max() as f64 / 1e3));
        }
        let kinds: Vec<_> = BenchOp::ALL.into_iter().zip(&self.latencies).collect();
        let kinds: Vec<_> = kinds.into_iter().filter_map(|(op, slot)| slot.as_ref().map(|h| (op, h))).collect();
        let Some(((_, first), rest)) = kinds.split_first() else { return };
        let mut all = (*first).clone();
        for (_, histogram) in rest {
            all.add(*histogram).unwrap_or_default();
        }
        report_latencies("", &all, report);
        if !rest.is_empty() {
            for (op, histogram) in &kinds {
                report.count(&format!("{}_ops", op.word()), histogram.len());
                report_latencies(&format!("{}_", op.word()), histogram, report);
            }
        }
    }
}

fn report_latencies(prefix: &str, histogram: &Histogram<u32>, report: &mut Report) {
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
        report.number(&format!("{prefix}{name}_us"), histogram.value_at_quantile(quantile) as f64 / 1e3);
    }
    report.number(&format!("{prefix}mean_us"), histogram.mean() / 1e3);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (mut a, mut b) = (Tally::default(), Tally::default());
        for ms in 1..=100 {
            a.add(BenchOp::Get, Duration::from_millis(ms), Some(0));
            b.add(BenchOp::Set, Duration::from_millis(ms), Some(2));
            b.add(BenchOp::Get, Duration::from_secs(3600), None);
        }
        a.merge(&b);
        assert_eq!(a.count(), 300);
        assert_eq!(a.seconds.iter().map(Histogram::len).collect::<Vec<_>>(), [100, 0, 100]);
    }
}
