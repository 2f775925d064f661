//! A load run: make the znodes, start the threads, warm up, measure, stop, remove the znodes, report.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::runtime::Runtime;

use super::args::BenchArgs;
use super::link::Link;
use super::process::Usage;
use super::report::Report;
use super::tally::Tally;
use super::worker::{Event, Phase, Plan, Seat, run_thread};
use super::znodes::{Znodes, remove};

/// How long the connections may take to open, and to drain in the end.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// How long a run by count may take.
const COUNT_MAX: Duration = Duration::from_secs(3600);

/// Runs the load and reports it.
///
/// # Errors
/// When the server fails, or answers what was not expected.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let address = *args.addresses()?.first().context("no server")?;
    let runtime = single_thread()?;
    let znodes = Znodes::new(&args.root, args.znodes, args.size);
    runtime.block_on(async {
        let mut link = Link::open(address, args.timeout_ms).await?;
        znodes.prepare(&mut link, args.connections).await?;
        link.close().await
    })?;
    let measured = measure(args, znodes);
    let removed = runtime.block_on(async {
        let mut link = Link::open(address, args.timeout_ms).await?;
        remove(&mut link, &args.root).await?;
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
        depth: args.depth,
        timeout_ms: args.timeout_ms,
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
    let addresses = args.addresses()?;
    let mut seats = vec![Vec::new(); threads];
    for i in 0..args.connections {
        let connections = args.connections as u64;
        let extra = |count: u64| u64::from((i as u64) < count % connections);
        let quota = args.count.map_or(u64::MAX, |count| count / connections + extra(count));
        seats[i % threads].push(Seat { number: i as u64, address: addresses[i % addresses.len()], quota });
    }
    Ok(seats)
}

fn watch(args: &BenchArgs, plan: &Plan, events: &Receiver<Event>, threads: usize) -> anyhow::Result<Report> {
    for _ in 0..threads {
        expect_event(events, SETTLE_MAX, |event| matches!(event, Event::Ready)).context("open the connections")?;
    }
    pass_time(events, Duration::from_secs_f64(args.warmup)).context("warm up")?;
    let before = (Usage::of(&args.server_pid)?, Usage::own()?);
    let start = Instant::now();
    plan.phase.store(Phase::Measure as u8, Ordering::Relaxed);
    if args.count.is_some() {
        expect_event(events, COUNT_MAX, |event| matches!(event, Event::Counted)).context("measure")?;
    } else {
        pass_time(events, args.measure_time()).context("measure")?;
    }
    plan.phase.store(Phase::Stop as u8, Ordering::Relaxed);
    let elapsed = start.elapsed();
    let after = (Usage::of(&args.server_pid)?, Usage::own()?);
    let mut tally = Tally::default();
    for _ in 0..threads {
        tally.merge(&next_tally(events)?);
    }
    Ok(report(args, &tally, elapsed, before, after))
}

/// Waits for one event; a thread that ended ends the run.
fn expect_event(events: &Receiver<Event>, max: Duration, wanted: fn(&Event) -> bool) -> anyhow::Result<()> {
    match events.recv_timeout(max) {
        Ok(event) if wanted(&event) => Ok(()),
        Ok(Event::Done(Err(error))) => Err(error),
        Ok(_) => bail!("a load thread is out of step"),
        Err(_) => bail!("nothing happened for {} s", max.as_secs()),
    }
}

/// Lets time pass; a thread that ended ends the run.
fn pass_time(events: &Receiver<Event>, time: Duration) -> anyhow::Result<()> {
    match events.recv_timeout(time) {
        Err(RecvTimeoutError::Timeout) => Ok(()),
        Ok(Event::Done(Err(error))) => Err(error),
        Ok(_) | Err(RecvTimeoutError::Disconnected) => bail!("a load thread ended early"),
    }
}

fn next_tally(events: &Receiver<Event>) -> anyhow::Result<Tally> {
    match events.recv_timeout(SETTLE_MAX) {
        Ok(Event::Done(tally)) => tally.map(|tally| *tally),
        Ok(Event::Ready | Event::Counted) => bail!("a load thread is out of step"),
        Err(_) => bail!("a load thread got no answers for {} s", SETTLE_MAX.as_secs()),
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
