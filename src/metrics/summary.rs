//! Summaries of samples.
//!
//! A sample is counted where its size belongs, so adding one takes no lock and keeps nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sizes below this are counted each for itself.
const EXACT: u64 = 128;
/// Above, so many counts share each doubling: a percentile is too low by no more than 1.6 %.
const PER_DOUBLING: u64 = EXACT / 2;
/// Larger samples count as if they had this size, in percentiles alone: 35 years in milliseconds.
const SIZE_MAX: u64 = (1 << 40) - 1;
/// How many counts there are.
const PLACES: usize = place(SIZE_MAX) + 1;

/// Mean, smallest, largest, number, sum and percentiles.
#[derive(Debug)]
pub struct Summary {
    min: AtomicU64,
    max: AtomicU64,
    sum: AtomicU64,
    /// How many samples of each size; most summaries never get one.
    counts: OnceLock<Box<[AtomicU64]>>,
}

impl Default for Summary {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { min: AtomicU64::new(u64::MAX), max: zero(), sum: zero(), counts: OnceLock::new() }
    }
}

impl Summary {
    /// Adds a sample.
    pub fn add(&self, value: u64) {
        // Few are smaller or larger than all before: a look costs less than a change.
        if value < self.min.load(Relaxed) {
            self.min.fetch_min(value, Relaxed);
        }
        if value > self.max.load(Relaxed) {
            self.max.fetch_max(value, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
        let counts = self.counts.get_or_init(|| (0..PLACES).map(|_| AtomicU64::new(0)).collect());
        counts[place(value)].fetch_add(1, Relaxed);
    }

    /// The mean; 0 without samples.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => self.sum() as f64 / count as f64,
        }
    }

    /// The smallest; 0 without samples.
    #[must_use]
    pub fn min(&self) -> u64 {
        if self.count() == 0 { 0 } else { self.min.load(Relaxed) }
    }

    /// The largest.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// How many samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts().iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// The values below which these shares of the samples lie; 0 without samples.
    #[must_use]
    pub fn at<const N: usize>(&self, shares: [f64; N]) -> [u64; N] {
        let counts: Vec<u64> = self.counts().iter().map(|count| count.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        shares.map(|share| {
            let wanted = ((share * total as f64).ceil() as u64).max(1);
            let mut seen = 0;
            let is_reached = |count: &u64| {
                seen += count;
                seen >= wanted
            };
            let found = counts.iter().position(is_reached);
            found.map_or(0, |place| smallest(place).max(self.min()))
        })
    }

    /// Forgets all samples.
    pub fn reset(&self) {
        self.min.store(u64::MAX, Relaxed);
        for zero in [&self.max, &self.sum].into_iter().chain(self.counts()) {
            zero.store(0, Relaxed);
        }
    }

    fn counts(&self) -> &[AtomicU64] {
        self.counts.get().map_or(&[], |counts| &**counts)
    }
}

/// Which count a sample goes to.
const fn place(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let value = if value > SIZE_MAX { SIZE_MAX } else { value };
    let doublings = value.ilog2() - EXACT.ilog2();
    // The leading bits: from 64 to 127.
    let leading = value >> (doublings + 1);
    (EXACT + doublings as u64 * PER_DOUBLING + leading - PER_DOUBLING) as usize
}

/// The smallest sample that goes there.
const fn smallest(place: usize) -> u64 {
    let place = place as u64;
    if place < EXACT {
        return place;
    }
    let (doublings, leading) = ((place - EXACT) / PER_DOUBLING, (place - EXACT) % PER_DOUBLING);
    (leading + PER_DOUBLING) << (doublings + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_without_samples_is_all_zero() {
        let summary = Summary::default();
        assert_eq!((summary.mean(), summary.min(), summary.max(), summary.count()), (0.0, 0, 0, 0));
        assert_eq!((summary.at([0.5, 0.99]), summary.sum()), ([0, 0], 0));
    }

    #[test]
    fn percentiles_come_from_the_samples() {
        let latency = Summary::default();
        (1..=100).for_each(|value| latency.add(value));
        assert_eq!(latency.at([0.5, 0.99, 0.999]), [50, 99, 100]);
        (0..100_000).for_each(|_| latency.add(5));
        assert_eq!((latency.at([0.5]), latency.count(), latency.min(), latency.max()), ([5], 100_100, 1, 100));
        latency.reset();
        assert_eq!((latency.at([0.5]), latency.count(), latency.min(), latency.max()), ([0], 0, 0, 0));
        latency.add(7);
        assert_eq!((latency.at([0.5]), latency.mean()), ([7], 7.0));
    }

    #[test]
    fn large_samples_are_told_to_a_part_of_their_size() {
        for value in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + (1 << bit >> 1)]) {
            let latency = Summary::default();
            latency.add(value);
            let [median] = latency.at([0.5]);
            assert_eq!(median, value, "one sample is its own median");
            latency.add(0);
            let told = latency.at([1.0])[0];
            let counted = value.min(SIZE_MAX);
            assert!(told <= counted && counted - told <= counted / 64, "{value} is told as {told}");
        }
        assert_eq!(place(u64::MAX), PLACES - 1);
        assert!((0..PLACES).all(|at| place(smallest(at)) == at));
    }
}
