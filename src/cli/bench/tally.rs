//! Counts and latencies of what was answered while the run was measuring.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::mix::BenchOp;
use super::report::Report;

/// Per operation: a histogram of latencies in nanoseconds, made when the first one comes.
#[derive(Clone, Default)]
pub(super) struct Tally {
    latencies: [Option<Histogram<u32>>; BenchOp::ALL.len()],
}

/// Longer latencies are recorded as this, ns.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Three digits: a latency is off by 0.1% at most.
const DIGITS: u8 = 3;

impl Tally {
    /// Records one answer.
    pub(super) fn add(&mut self, op: BenchOp, latency: Duration) {
        let slot = &mut self.latencies[op as usize];
        if slot.is_none() {
            *slot = Histogram::new_with_max(LATENCY_NS_MAX, DIGITS).ok();
        }
        if let Some(histogram) = slot {
            histogram.saturating_record(latency.as_nanos() as u64);
        }
    }

    /// Adds all that another tally has.
    pub(super) fn merge(&mut self, other: &Self) {
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
            a.add(BenchOp::Get, Duration::from_millis(ms));
            b.add(BenchOp::Set, Duration::from_millis(ms));
            b.add(BenchOp::Get, Duration::from_secs(3600));
        }
        a.merge(&b);
        assert_eq!(a.count(), 300);
    }
}
