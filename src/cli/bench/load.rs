//! A load run: make the znodes, start the threads, warm up, measure, stop, remove the znodes, report.

use std::io::Write as _;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use tokio::runtime::Runtime;

use super::args::BenchArgs;
use super::link::Link;
use super::process::{Usage, raise_descriptors};
use super::report::Report;
use super::tally::Tally;
use super::worker::{Event, Phase, Plan, Seat, run_thread};
use super::znodes::Znodes;

/// How long the connections may take to open, and to drain in the end.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// How long a run by count may take.
const COUNT_MAX: Duration = Duration::from_secs(3600);

/// Runs the load and reports it.
///
/// # Errors
/// When the server fails, or answers what was not expected.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    raise_descriptors(args.connections)?;
    let route = args.first_route()?;
    let runtime = single_thread()?;
    let znodes = args.loaded_znodes();
    runtime.block_on(async {
        let mut link = Link::open(route, args.timeout_ms).await?;
        znodes.prepare(&mut link, args.connections as u64, args.stock).await?;
        link.close().await
    })?;
    let measured = measure(args, znodes.clone());
    let removed = runtime.block_on(async {
        let mut link = Link::open(route, args.timeout_ms).await?;
        znodes.clean_up(&mut link).await?;
        link.close().await
    });
    let report = measured?;
    removed.context("remove the znodes of the run")?;
    Ok(report)
}

/// A runtime for one thread.
///
/// # Errors
/// When the system has no more descriptors.
pub(super) fn single_thread() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")
}

fn measure(args: &BenchArgs, znodes: Znodes) -> anyhow::Result<Report> {
    let plan = Arc::new(Plan {
        mix: args.ops.clone(),
        znodes,
        stock: args.stock,
        depth: args.depth,
        timeout_ms: args.timeout_ms,
        interval: args.interval(),
        seconds_since: OnceLock::new(),
        phase: AtomicU8::new(Phase::Warmup as u8),
        counting: AtomicUsize::new(args.connections),
    });
    let (sender, events) = channel();
    let threads = args.threads.min(args.connections);
    for seats in deal_seats(args, threads)? {
        let (plan, sender) = (plan.clone(), sender.clone());
        std::thread::Builder::new().name("load".into()).spawn(move || run_thread(&plan, &seats, &sender))?;
    }
    drop(sender);
    let result = watch(args, &plan, &events, threads);
    plan.phase.store(Phase::Stop as u8, Ordering::Relaxed);
    result
}

/// Deals the connections out to the threads, the servers to the connections, the count to both.
fn deal_seats(args: &BenchArgs, threads: usize) -> anyhow::Result<Vec<Vec<Seat>>> {
    let routes = args.routes()?;
    let mut seats = vec![Vec::new(); threads];
    for i in 0..args.connections {
        let connections = args.connections as u64;
        let extra = |count: u64| u64::from((i as u64) < count % connections);
        let quota = args.count.map_or(u64::MAX, |count| count / connections + extra(count));
        let delay = args.interval().unwrap_or_default() * i as u32 / args.connections as u32;
        seats[i % threads].push(Seat { number: i as u64, route: routes[i % routes.len()], quota, delay });
    }
    Ok(seats)
}

fn watch(args: &BenchArgs, plan: &Plan, events: &Receiver<Event>, threads: usize) -> anyhow::Result<Report> {
    let mut watch = Watch { events, tally: Tally::default(), ended: 0 };
    for _ in 0..threads {
        watch.expect(SETTLE_MAX, |event| matches!(event, Event::Ready)).context("open the connections")?;
    }
    watch.pass_time(Duration::from_secs_f64(args.warmup)).context("warm up")?;
    let before = (Usage::of(&args.server_pid)?, Usage::own()?);
    let (start, began) = (Instant::now(), SystemTime::now());
    if args.per_second {
        plan.seconds_since.get_or_init(|| start);
        // A script that waits for this line does something to the servers meanwhile.
        writeln!(std::io::stderr().lock(), "holding {} connections", args.connections)?;
    }
    plan.phase.store(Phase::Measure as u8, Ordering::Relaxed);
    if args.count.is_some() {
        watch.expect(COUNT_MAX, |event| matches!(event, Event::Counted)).context("measure")?;
    } else {
        watch.pass_time(args.measure_time()).context("measure")?;
    }
    plan.phase.store(Phase::Stop as u8, Ordering::Relaxed);
    let elapsed = start.elapsed();
    let after = (Usage::of(&args.server_pid)?, Usage::own()?);
    while watch.ended < threads {
        watch.expect(SETTLE_MAX, |event| matches!(event, Event::Done(_))).context("stop")?;
    }
    let mut report = report(args, &watch.tally, elapsed, before, after);
    report.count("began_unix_ms", began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64);
    Ok(report)
}

/// Listens to the threads. One that failed ends the run; in a run by count, one may end before the last has counted.
struct Watch<'a> {
    events: &'a Receiver<Event>,
    tally: Tally,
    ended: usize,
}

impl Watch<'_> {
    /// Waits for one event, and takes the tallies of threads that end meanwhile.
    fn expect(&mut self, max: Duration, wanted: fn(&Event) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + max;
        loop {
            let event = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let Ok(event) = event else { bail!("the load threads were silent for {} s", max.as_secs()) };
            let found = wanted(&event);
            if let Event::Done(tally) = event {
                self.tally.merge(&*tally?);
                self.ended += 1;
            }
            if found {
                return Ok(());
            }
        }
    }

    /// Lets time pass; nothing may happen meanwhile.
    fn pass_time(&mut self, time: Duration) -> anyhow::Result<()> {
        match self.events.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(Event::Done(Err(error))) => Err(error),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => bail!("a load thread ended early"),
        }
    }
}

fn report(args: &BenchArgs, tally: &Tally, elapsed: Duration, before: (Usage, Usage), after: (Usage, Usage)) -> Report {
    let mut report = Report::default();
    report.text("mix", args.ops.to_string());
    report.count("size_bytes", args.size as u64);
    report.count("connections", args.connections as u64);
    report.count("depth", args.depth as u64);
    report.count("threads", args.threads as u64);
    tally.report(elapsed, &mut report);
    if !args.server_pid.is_empty() {
        report.cpu("server", before.0, after.0, tally.count(), elapsed);
        report.memory(before.0, after.0);
    }
    report.cpu("bench", before.1, after.1, tally.count(), elapsed);
    report
}
