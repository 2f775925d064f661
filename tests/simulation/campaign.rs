//! Running many seeds, and one again.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::world::World;

/// Seeds that once showed a bug, each with what it was.
const REGRESSIONS: &str = include_str!("regressions.txt");
/// Seeds that `cargo test` runs.
const TEST_SEEDS: u64 = 40;
/// How often a campaign says how it goes.
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// What was asked for.
pub(crate) struct Options {
    /// This one only.
    pub(crate) seed: Option<u64>,
    pub(crate) trace: bool,
    /// Somebody only asks which tests there are.
    pub(crate) list: bool,
    from: u64,
    seeds: Option<u64>,
    minutes: Option<u64>,
    threads: usize,
    /// Stop at the first failure.
    until_failure: bool,
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            seed: None,
            trace: false,
            list: false,
            from: 1,
            seeds: None,
            minutes: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            until_failure: false,
        };
        while let Some(arg) = args.next() {
            let mut number = || {
                let value = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
                value.parse::<u64>().map_err(|error| format!("{arg} {value}: {error}"))
            };
            match arg.as_str() {
                "--seed" => options.seed = Some(number()?),
                "--from" => options.from = number()?,
                "--seeds" => options.seeds = Some(number()?),
                "--minutes" => options.minutes = Some(number()?),
                "--threads" => options.threads = usize::try_from(number()?).map_err(|error| error.to_string())?.max(1),
                "--trace" => options.trace = true,
                "--until-failure" => options.until_failure = true,
                "--list" => options.list = true,
                // What test harnesses are told.
                _ => {}
            }
        }
        Ok(options)
    }
}

/// What came of one seed.
pub(crate) struct Outcome {
    failure: Option<String>,
    fingerprint: u64,
    simulated_us: u64,
    events: u64,
    writes: u64,
    reads: u64,
    epochs: i32,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics are failures of a seed; what they say is kept for the report.
fn keep_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!(" ({}:{})", at.file(), at.line())).unwrap_or_default();
        let text = info.payload_as_str().unwrap_or("a panic without words");
        PANIC.set(Some(format!("{text}{place}")));
    }));
}

/// Runs one seed.
fn run(seed: u64, trace: bool) -> Outcome {
    let mut world = World::new(seed, trace);
    let ended = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    let failure = ended.is_err().then(|| PANIC.take().unwrap_or_else(|| "a panic without words".to_owned()));
    Outcome {
        failure,
        fingerprint: world.fingerprint,
        simulated_us: world.now,
        events: world.events,
        writes: world.oracle.writes_answered,
        reads: world.oracle.reads_answered,
        epochs: world.oracle.leaders.newest().map_or(0, |(epoch, _)| epoch),
    }
}

/// Runs one seed for somebody who looks on.
pub(crate) fn replay(seed: u64, trace: bool) -> ExitCode {
    keep_panics();
    if trace {
        tracing_subscriber::fmt().without_time().with_ansi(false).with_max_level(tracing::Level::DEBUG).init();
    }
    let outcome = run(seed, trace);
    println!(
        "seed {seed}: {} events, {:.1} s simulated, {} writes and {} reads answered, epoch {}, fingerprint {:016x}",
        outcome.events,
        outcome.simulated_us as f64 / 1e6,
        outcome.writes,
        outcome.reads,
        outcome.epochs,
        outcome.fingerprint
    );
    match outcome.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("FAILED: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Many seeds.
pub(crate) struct Campaign {
    options: Options,
    began: Instant,
    next: AtomicU64,
    done: AtomicU64,
    simulated_us: AtomicU64,
    events: AtomicU64,
    writes: AtomicU64,
    reads: AtomicU64,
    epochs: AtomicU64,
    failures: Mutex<Vec<u64>>,
    said: Mutex<Instant>,
}

impl Campaign {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            next: AtomicU64::new(options.from),
            options,
            began: Instant::now(),
            done: AtomicU64::new(0),
            simulated_us: AtomicU64::new(0),
            events: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            epochs: AtomicU64::new(0),
            failures: Mutex::default(),
            said: Mutex::new(Instant::now()),
        }
    }

    /// Runs to the end that was asked for.
    pub(crate) fn run(self) -> ExitCode {
        keep_panics();
        let is_test = self.options.seeds.is_none() && self.options.minutes.is_none();
        if is_test {
            self.regressions();
            self.same_seed_same_bytes();
        }
        std::thread::scope(|scope| {
            for _ in 0..self.options.threads {
                scope.spawn(|| while self.one_more(is_test) {});
            }
        });
        self.report();
        let failures = self.failures.into_inner().unwrap_or_default();
        let done = self.done.into_inner();
        println!("{} passed, {} failed", done - failures.len() as u64, failures.len());
        if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Runs the next seed; false when there is none.
    fn one_more(&self, is_test: bool) -> bool {
        let enough = self.options.until_failure && self.failures.lock().is_ok_and(|failures| !failures.is_empty());
        let late = self.options.minutes.is_some_and(|minutes| self.began.elapsed() > Duration::from_secs(minutes * 60));
        if enough || late {
            return false;
        }
        let seed = self.next.fetch_add(1, Relaxed);
        let seeds = if is_test { Some(TEST_SEEDS) } else { self.options.seeds };
        if seeds.is_some_and(|seeds| seed >= self.options.from + seeds) {
            return false;
        }
        self.count(seed, run(seed, false));
        if let Ok(mut said) = self.said.try_lock()
            && said.elapsed() > REPORT_EVERY
        {
            *said = Instant::now();
            self.report();
        }
        true
    }

    fn count(&self, seed: u64, outcome: Outcome) {
        self.done.fetch_add(1, Relaxed);
        self.simulated_us.fetch_add(outcome.simulated_us, Relaxed);
        self.events.fetch_add(outcome.events, Relaxed);
        self.writes.fetch_add(outcome.writes, Relaxed);
        self.reads.fetch_add(outcome.reads, Relaxed);
        self.epochs.fetch_add(u64::try_from(outcome.epochs).unwrap_or(0), Relaxed);
        if let Some(failure) = outcome.failure {
            println!("seed {seed} FAILED: {failure}\n  scripts/simulate --seed {seed} --trace");
            if let Ok(mut failures) = self.failures.lock() {
                failures.push(seed);
            }
        }
    }

    fn regressions(&self) {
        for line in REGRESSIONS.lines().filter(|line| !line.starts_with('#')) {
            if let Some(seed) = line.split_whitespace().next().and_then(|seed| seed.parse().ok()) {
                self.count(seed, run(seed, false));
            }
        }
    }

    /// A run tells the same story every time.
    fn same_seed_same_bytes(&self) {
        for seed in [3, 5] {
            let (first, again) = (run(seed, false), run(seed, false));
            self.done.fetch_add(1, Relaxed);
            if (first.fingerprint, first.events) != (again.fingerprint, again.events) {
                println!("seed {seed} FAILED: it does not tell the same story twice");
                if let Ok(mut failures) = self.failures.lock() {
                    failures.push(seed);
                }
            }
        }
    }

    fn report(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let done = self.done.load(Relaxed);
        let mean = |sum: &AtomicU64| sum.load(Relaxed) as f64 / done.max(1) as f64;
        println!(
            "{done} seeds in {seconds:.0} s: {:.1} seeds/s, {:.0} simulated seconds per second, per seed {:.0} events, {:.0} \
             writes, {:.0} reads, {:.1} epochs",
            done as f64 / seconds,
            self.simulated_us.load(Relaxed) as f64 / 1e6 / seconds,
            mean(&self.events),
            mean(&self.writes),
            mean(&self.reads),
            mean(&self.epochs)
        );
    }
}
