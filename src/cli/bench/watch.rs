//! `watch`: every connection watches every znode; then each znode is written once, and the last event is waited for.
//!
//! Watches are those of getData: an event ends one. A cycle registers them all again.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::args::BenchArgs;
use super::idle::{close_all, open_all};
use super::link::Link;
use super::load::single_thread;
use super::process::{Usage, raise_descriptors, thread_time};
use super::reply::check_event;
use super::report::Report;
use super::request;
use super::znodes::{Znodes, remove};

/// Registrations in flight on each connection.
const REGISTER_DEPTH: usize = 64;
/// Longer times until the last event are recorded as this, µs.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Runs the cycles and reports them.
///
/// # Errors
/// When a session is lost, or an event is missing, of another znode, or too many.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    raise_descriptors(args.connections)?;
    single_thread()?.block_on(cycles(args))
}

/// What the cycles cost together.
struct Sums {
    register: Duration,
    register_cpu: Duration,
    events: Duration,
    events_cpu: Duration,
    own_cpu: Duration,
    /// When the last event of a cycle came, counted from the first write.
    last: Histogram<u32>,
}

async fn cycles(args: &BenchArgs) -> anyhow::Result<Report> {
    let znodes = args.loaded_znodes();
    let mut writer = Link::open(args.first_route()?, args.timeout_ms).await?;
    znodes.prepare_znodes(&mut writer).await?;
    let opening = Instant::now();
    let mut watchers = open_all(args).await?;
    let opened = opening.elapsed();
    let mut sums = Sums {
        register: Duration::ZERO,
        register_cpu: Duration::ZERO,
        events: Duration::ZERO,
        events_cpu: Duration::ZERO,
        own_cpu: Duration::ZERO,
        last: Histogram::new_with_max(LATENCY_US_MAX, 3).context("make a histogram")?,
    };
    let before = Usage::of(&args.server_pid)?;
    let mut registered = None;
    let count = args.count.unwrap_or(1);
    for _ in 0..count {
        let (since, cpu) = (Instant::now(), thread_time(&args.server_pid)?);
        watchers = register(watchers, &znodes).await?;
        sums.register += since.elapsed();
        sums.register_cpu += thread_time(&args.server_pid)?.saturating_sub(cpu);
        if registered.is_none() {
            registered = Some(Usage::of(&args.server_pid)?);
            hold(args, &znodes).await?;
        }
        watchers = fire(args, watchers, &mut writer, &znodes, &mut sums).await?;
    }
    close_all(watchers).await?;
    remove(&mut writer, &znodes.root).await?;
    writer.close().await?;
    let after = registered.unwrap_or_default();
    Ok(report(args, &sums, opened, (before, after), args.connections as u64 * args.znodes, count))
}

/// Lets a script that waits for this line do something while all watches stand.
async fn hold(args: &BenchArgs, znodes: &Znodes) -> anyhow::Result<()> {
    if args.hold > 0.0 {
        writeln!(std::io::stderr().lock(), "holding {} watches", args.connections as u64 * znodes.count)?;
        tokio::time::sleep(Duration::from_secs_f64(args.hold)).await;
    }
    Ok(())
}

/// Each watcher reads each znode and leaves a watch there.
///
/// # Errors
/// When one of the reads fails.
pub(super) async fn register(watchers: Vec<Link>, znodes: &Znodes) -> anyhow::Result<Vec<Link>> {
    let mut registering = JoinSet::new();
    for mut link in watchers {
        let znodes = znodes.clone();
        registering.spawn(async move {
            let watch = |index, xid, out: &mut Vec<u8>| request::watch(out, xid, &znodes, index);
            link.call_all(znodes.count, REGISTER_DEPTH, watch).await.context("register")?;
            anyhow::Ok(link)
        });
    }
    join(registering).await
}

/// Writes each znode once; returns when each watcher has an event of each.
async fn fire(
    args: &BenchArgs,
    watchers: Vec<Link>,
    writer: &mut Link,
    znodes: &Znodes,
    sums: &mut Sums,
) -> anyhow::Result<Vec<Link>> {
    let watching = wait_for_events(watchers, znodes).await;
    let (cpu, own) = (thread_time(&args.server_pid)?, thread_time(&[std::process::id()])?);
    let since = Instant::now();
    write_each(args, writer, znodes).await?;
    let (links, last) = join_events(watching).await?;
    let last = last.saturating_duration_since(since);
    sums.events += last;
    sums.last.saturating_record(last.as_micros() as u64);
    sums.events_cpu += thread_time(&args.server_pid)?.saturating_sub(cpu);
    sums.own_cpu += thread_time(&[std::process::id()])?.saturating_sub(own);
    Ok(links)
}

/// What each watcher has in the end: its connection, and when its last event came.
pub(super) type Watching = JoinSet<anyhow::Result<(Link, Instant)>>;

/// Lets each watcher wait for one event of each znode. Many of them have not looked at their sockets when this returns.
pub(super) async fn wait_for_events(watchers: Vec<Link>, znodes: &Znodes) -> Watching {
    let mut watching = JoinSet::new();
    for mut link in watchers {
        let znodes = znodes.clone();
        watching.spawn(async move {
            let mut seen = vec![false; znodes.count as usize];
            for _ in 0..znodes.count {
                let frame = link.wait_frame().await?;
                let index = check_event(link.bytes(frame), &znodes)?;
                ensure!(!std::mem::replace(&mut seen[index as usize], true), "a second event of znode {index}");
            }
            anyhow::Ok((link, Instant::now()))
        });
    }
    tokio::task::yield_now().await;
    watching
}

/// Waits until each watcher has its events; the connections, and when the last event of all came.
///
/// # Errors
/// When a connection is lost, or an event is not one of those that were waited for.
pub(super) async fn join_events(watching: Watching) -> anyhow::Result<(Vec<Link>, Instant)> {
    let (links, times): (Vec<_>, Vec<_>) = join(watching).await?.into_iter().unzip();
    Ok((links, times.into_iter().max().context("no watchers")?))
}

/// Writes each znode once.
///
/// # Errors
/// When a write fails.
pub(super) async fn write_each(args: &BenchArgs, writer: &mut Link, znodes: &Znodes) -> anyhow::Result<()> {
    let set = |index, xid, out: &mut Vec<u8>| request::set(out, xid, znodes, index);
    writer.call_all(znodes.count, args.depth, set).await.context("write")
}

async fn join<T: Send + 'static>(mut tasks: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        all.push(ended??);
    }
    Ok(all)
}

fn report(
    args: &BenchArgs,
    sums: &Sums,
    opened: Duration,
    (before, after): (Usage, Usage),
    watches: u64,
    count: u64,
) -> Report {
    let mut report = Report::default();
    let events = watches * count;
    let each_us = |time: Duration| time.as_secs_f64() * 1e6 / events as f64;
    report.count("watchers", args.connections as u64);
    report.count("znodes", args.znodes);
    report.count("ops", events);
    report.number("opened_per_second", args.connections as f64 / opened.as_secs_f64().max(1e-9));
    report.number("ops_per_second", events as f64 / sums.events.as_secs_f64().max(1e-9));
    report.number("registered_per_second", events as f64 / sums.register.as_secs_f64().max(1e-9));
    report.number("last_event_ms", sums.last.value_at_quantile(0.5) as f64 / 1e3);
    report.number("last_event_max_ms", sums.last.max() as f64 / 1e3);
    report.number("bench_cpu_us_per_op", each_us(sums.own_cpu));
    if !args.server_pid.is_empty() {
        report.number("server_cpu_us_per_op", each_us(sums.events_cpu));
        report.number("server_cpu_us_per_registration", each_us(sums.register_cpu));
        report.memory(before, after);
        let grown = after.resident.saturating_sub(before.resident);
        report.number("server_bytes_per_watch", grown as f64 / watches as f64);
    }
    report
}
