//! Summaries of samples.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// Samples kept for percentiles; beyond, each new one takes the place of a random old one with the right chance.
const RESERVOIR: usize = 4096;

/// Mean, smallest, largest, number and sum.
#[derive(Debug)]
pub struct Summary {
    min: AtomicU64,
    max: AtomicU64,
    count: AtomicU64,
    sum: AtomicU64,
}

impl Default for Summary {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { min: AtomicU64::new(u64::MAX), max: zero(), count: zero(), sum: zero() }
    }
}

impl Summary {
    /// Adds a sample.
    pub fn add(&self, value: u64) {
        self.min.fetch_min(value, Relaxed);
        self.max.fetch_max(value, Relaxed);
        self.count.fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
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
        self.count.load(Relaxed)
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// Forgets all samples.
    pub fn reset(&self) {
        self.min.store(u64::MAX, Relaxed);
        for zero in [&self.max, &self.count, &self.sum] {
            zero.store(0, Relaxed);
        }
    }
}

/// A summary that also knows percentiles.
#[derive(Debug, Default)]
pub struct Percentiles {
    /// What does not need the samples.
    pub summary: Summary,
    reservoir: Mutex<Reservoir>,
}

#[derive(Debug)]
struct Reservoir {
    samples: Vec<u64>,
    random: fastrand::Rng,
}

impl Default for Reservoir {
    fn default() -> Self {
        Self { samples: Vec::new(), random: fastrand::Rng::with_seed(0) }
    }
}

impl Percentiles {
    /// Adds a sample.
    pub fn add(&self, value: u64) {
        self.summary.add(value);
        let Reservoir { samples, random } = &mut *self.reservoir.lock();
        if samples.len() < RESERVOIR {
            samples.push(value);
        } else if let Ok(place) = usize::try_from(random.u64(0..self.summary.count().max(1)))
            && place < RESERVOIR
        {
            samples[place] = value;
        }
    }

    /// The values below which these shares of the samples lie; 0 without samples.
    #[must_use]
    pub fn at<const N: usize>(&self, shares: [f64; N]) -> [u64; N] {
        let mut samples = self.reservoir.lock().samples.clone();
        samples.sort_unstable();
        shares.map(|share| {
            let place = (share * samples.len() as f64).ceil() as usize;
            samples.get(place.saturating_sub(1)).copied().unwrap_or(0)
        })
    }

    pub(super) fn reset(&self) {
        self.summary.reset();
        self.reservoir.lock().samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_without_samples_is_all_zero() {
        let summary = Summary::default();
        assert_eq!((summary.mean(), summary.min(), summary.max(), summary.count()), (0.0, 0, 0, 0));
    }

    #[test]
    fn percentiles_come_from_the_samples() {
        let latency = Percentiles::default();
        (1..=1000).for_each(|value| latency.add(value));
        assert_eq!(latency.at([0.5, 0.99, 0.999]), [500, 990, 999]);
        (0..100_000).for_each(|_| latency.add(5));
        assert_eq!((latency.at([0.5]), latency.summary.count()), ([5], 101_000));
    }
}
