//! `idle`: many sessions that only ping, and what they cost the server while nothing happens.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use super::args::BenchArgs;
use super::link::Link;
use super::load::single_thread;
use super::process::{Usage, raise_descriptors};
use super::report::Report;
use super::request;
use crate::proto::ReplyHeader;

/// Pings in one session timeout, as the Java client sends them.
const PINGS_PER_TIMEOUT: u32 = 3;

/// Opens the sessions, holds them, reports.
///
/// # Errors
/// When a session cannot be opened or is lost, or a ping is answered wrongly.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    raise_descriptors(args.connections)?;
    single_thread()?.block_on(hold(args))
}

async fn hold(args: &BenchArgs) -> anyhow::Result<Report> {
    let before = Usage::of(&args.server_pid)?;
    let start = Instant::now();
    let links = open_all(args).await?;
    let opened = start.elapsed();
    let half_ms = args.timeout_ms as u128 / 2;
    ensure!(opened.as_millis() < half_ms, "opening took longer than half of --timeout-ms, the first sessions are gone");
    // A script that waits for this line may look at the server meanwhile.
    writeln!(std::io::stderr().lock(), "holding {} sessions", links.len())?;
    let (holding, own) = (Usage::of(&args.server_pid)?, Usage::own()?);
    let (links, pings) = ping_all(links, args).await?;
    let (after, own_after) = (Usage::of(&args.server_pid)?, Usage::own()?);
    close_all(links).await?;
    let mut report = Report::default();
    report.count("sessions", args.connections as u64);
    report.number("opened_per_second", args.connections as f64 / opened.as_secs_f64());
    report.number("held_seconds", args.seconds);
    report.count("pings", pings);
    if !args.server_pid.is_empty() {
        let time = args.measure_time();
        report.cpu("server", holding, after, pings, time);
        report.memory(before, after);
        let grown = after.resident.saturating_sub(before.resident);
        report.number("server_bytes_per_session", grown as f64 / args.connections as f64);
    }
    report.cpu("bench", own, own_after, pings, args.measure_time());
    Ok(report)
}

/// Opens all sessions, `--opening` at a time.
///
/// # Errors
/// When one of them is not opened.
pub(super) async fn open_all(args: &BenchArgs) -> anyhow::Result<Vec<Link>> {
    let routes = args.routes()?;
    let mut links = Vec::with_capacity(args.connections);
    while links.len() < args.connections {
        let mut opening = JoinSet::new();
        for i in links.len()..args.connections.min(links.len() + args.opening) {
            opening.spawn(Link::open(routes[i % routes.len()], args.timeout_ms));
        }
        while let Some(opened) = opening.join_next().await {
            links.push(opened?.with_context(|| format!("after {} sessions", links.len()))?);
        }
    }
    Ok(links)
}

/// Pings each session a few times in its timeout, evenly spread, until the time is over; how many pings there were.
async fn ping_all(links: Vec<Link>, args: &BenchArgs) -> anyhow::Result<(Vec<Link>, u64)> {
    let interval = Duration::from_millis(args.timeout_ms.max(1) as u64) / PINGS_PER_TIMEOUT;
    let (start, count) = (tokio::time::Instant::now(), links.len() as u32);
    let end = start + args.measure_time();
    let mut pinging = JoinSet::new();
    for (i, mut link) in links.into_iter().enumerate() {
        let mut due = start + interval * (i as u32) / count;
        pinging.spawn(async move {
            let mut pings = 0;
            while due < end {
                tokio::time::sleep_until(due).await;
                link.queue(request::ping);
                let reply = link.wait_frame().await?;
                super::reply::Header::expect(link.bytes(reply), ReplyHeader::PING_XID)?;
                pings += 1;
                due += interval;
            }
            tokio::time::sleep_until(end).await;
            anyhow::Ok((link, pings))
        });
    }
    let (mut idle, mut pings) = (Vec::new(), 0);
    while let Some(ended) = pinging.join_next().await {
        let (link, n) = ended??;
        pings += n;
        idle.push(link);
    }
    Ok((idle, pings))
}

/// Closes all sessions.
///
/// # Errors
/// When one of them is not closed in order.
pub(super) async fn close_all(links: Vec<Link>) -> anyhow::Result<()> {
    let mut closing: JoinSet<_> = links.into_iter().map(Link::close).collect();
    while let Some(closed) = closing.join_next().await {
        closed??;
    }
    Ok(())
}
