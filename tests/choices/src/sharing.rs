//! What each way to share the tree costs those who read all the time, while one thread writes batches at a fixed pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Figures;
use crate::process::cpu;
use crate::shape::SMALL;
use crate::ways::{Shared, share};

/// What can be measured.
pub(crate) const WAYS: [&str; 8] =
    ["parking_lot", "std", "mutex", "shards", "owner", "model-parking_lot", "model-papaya", "model-persistent"];

/// Threads that read, and how many reads each does at a time: a connection takes the lock once for all that has come.
const LOADS: [(usize, usize); 3] = [(1, 1), (2, 1), (2, 32)];
const DURATION: Duration = Duration::from_millis(800);
/// Between two batches.
const PACE: Duration = Duration::from_millis(1);
const BATCH: usize = 32;
/// Paths that are read, in this order, again and again: far more than a cache has room for.
const READS: usize = 1 << 16;
/// One group of reads in so many is timed.
const TIMED: usize = 8;

pub(crate) fn measure(way: &str) -> Option<Figures> {
    let mut rng = Rng::with_seed(4);
    let mut some = |count| -> Vec<String> { (0..count).map(|_| SMALL.some_leaf(&mut rng)).collect() };
    let (read, written) = (Arc::new(some(READS)), some(READS));
    let shared = share(way, &read)?;
    let figures = LOADS.iter().flat_map(|&(readers, group)| {
        let load = load(&*shared, &written, readers, group);
        load.map(|(name, value)| (format!("{readers}x{group}_{name}"), value))
    });
    Some(figures.collect())
}

fn load(shared: &dyn Shared, written: &[String], readers: usize, group: usize) -> [(&'static str, f64); 6] {
    let is_over = AtomicBool::new(false);
    let (start, cpu_before) = (Instant::now(), cpu());
    let (mut read, mut batches) = thread::scope(|scope| {
        let is_over = &is_over;
        let writer = scope.spawn(move || write(shared, written, is_over));
        let reading = |reader| move || read_on(shared, reader * READS / 2, group, is_over);
        let readers: Vec<_> = (0..readers).map(|reader| scope.spawn(reading(reader))).collect();
        thread::sleep(DURATION);
        is_over.store(true, Relaxed);
        let joined = readers.into_iter().map(|reader| reader.join().expect("it reads"));
        let read = joined.reduce(|(groups, mut times), (more, other)| {
            times.extend(other);
            (groups + more, times)
        });
        (read.expect("somebody reads"), writer.join().expect("it writes"))
    });
    let (elapsed, spent) = (start.elapsed().as_secs_f64(), (cpu() - cpu_before).as_secs_f64());
    let reads = (read.0 * group) as f64;
    [
        ("reads_per_second", reads / elapsed),
        ("cpu_ns", spent * 1e9 / reads),
        ("read_p99_us", quantile(&mut read.1, 0.99)),
        ("read_p999_us", quantile(&mut read.1, 0.999)),
        ("batch_p99_us", quantile(&mut batches, 0.99)),
        ("batches_per_second", batches.len() as f64 / elapsed),
    ]
}

/// Returns how many groups were read, and the nanoseconds of some.
fn read_on(shared: &dyn Shared, from: usize, group: usize, is_over: &AtomicBool) -> (usize, Vec<u64>) {
    let (mut out, mut times, mut groups) = (Vec::new(), Vec::new(), 0);
    while !is_over.load(Relaxed) {
        let at = (from + groups * group) % READS;
        let start = groups.is_multiple_of(TIMED).then(Instant::now);
        out.clear();
        shared.read(at..at + group, &mut out);
        assert!(out.len() > group * 100, "each reads a znode");
        times.extend(start.map(|start| start.elapsed().as_nanos() as u64));
        groups += 1;
    }
    (groups, times)
}

/// Returns the nanoseconds of each batch, from the first attempt to get in.
fn write(shared: &dyn Shared, written: &[String], is_over: &AtomicBool) -> Vec<u64> {
    let begin = Instant::now();
    let mut times = Vec::new();
    for (number, paths) in (1..).zip(written.chunks_exact(BATCH).cycle()) {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        thread::sleep((begin + PACE * number).saturating_duration_since(Instant::now()));
        if is_over.load(Relaxed) {
            break;
        }
        let start = Instant::now();
        shared.write(&paths, i64::from(number) + (1 << 32));
        times.push(start.elapsed().as_nanos() as u64);
    }
    times
}

/// In microseconds.
fn quantile(times: &mut [u64], share: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len() as f64 * share) as usize;
    times.get(at.min(times.len().saturating_sub(1))).map_or(0.0, |&ns| ns as f64 / 1e3)
}
