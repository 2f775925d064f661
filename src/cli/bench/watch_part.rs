//! `watch --part`: several processes share the watchers of the same znodes, and one more writes. Whoever started them
//! gives the cues, one line on standard input for each step, and reads from standard error when a step is done. Times
//! are those of the clock that all processes share. A process ends when it looks for a cue and standard input is closed.

use std::io::{BufRead, Write};
use std::time::{Instant, SystemTime};

use anyhow::Context;

use super::args::{BenchArgs, Part};
use super::idle::{close_all, open_all};
use super::link::Link;
use super::load::single_thread;
use super::process::raise_descriptors;
use super::report::Report;
use super::watch::{join_events, register, wait_for_events, write_each};
use super::znodes::remove;

/// Takes part until standard input is closed.
///
/// # Errors
/// When a session is lost, a request fails, or an event is missing, of another znode, or too many.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    take_part(args, &mut std::io::stdin().lock(), &mut std::io::stderr().lock())
}

/// The same with other ends than those of the process.
///
/// # Errors
/// As [`run`].
pub(super) fn take_part(args: &BenchArgs, cues: &mut impl BufRead, told: &mut impl Write) -> anyhow::Result<Report> {
    raise_descriptors(args.connections)?;
    single_thread()?.block_on(async {
        match args.part {
            Part::Write => write(args, cues, told).await,
            Part::All | Part::Watch => watch(args, cues, told).await,
        }
    })
}

/// For each cue, writes each znode once, and says when the first write left.
async fn write(args: &BenchArgs, cues: &mut impl BufRead, told: &mut impl Write) -> anyhow::Result<Report> {
    let znodes = args.loaded_znodes();
    let mut writer = Link::open(args.first_route()?, args.timeout_ms).await?;
    znodes.prepare_znodes(&mut writer).await?;
    writeln!(told, "holding {} znodes", znodes.count)?;
    let mut cycles = 0;
    while cue(cues)? {
        let since = Instant::now();
        write_each(args, &mut writer, &znodes).await?;
        writeln!(told, "wrote {}", unix_us(since))?;
        cycles += 1;
    }
    remove(&mut writer, &znodes.root).await?;
    writer.close().await?;
    let mut report = Report::default();
    report.count("znodes", znodes.count);
    report.count("cycles", cycles);
    Ok(report)
}

/// For each cue, registers all watchers, and says when the last of their events came.
async fn watch(args: &BenchArgs, cues: &mut impl BufRead, told: &mut impl Write) -> anyhow::Result<Report> {
    let znodes = args.loaded_znodes();
    let mut watchers = open_all(args).await?;
    writeln!(told, "holding {} sessions", watchers.len())?;
    let mut cycles = 0;
    // Nothing comes from a server between an event and the next registration, so that nobody has to read meanwhile.
    while cue(cues)? {
        watchers = register(watchers, &znodes).await?;
        let watching = wait_for_events(watchers, &znodes).await;
        writeln!(told, "registered")?;
        let (links, last) = join_events(watching).await?;
        watchers = links;
        writeln!(told, "events {}", unix_us(last))?;
        cycles += 1;
    }
    close_all(watchers).await?;
    let mut report = Report::default();
    report.count("watchers", args.connections as u64);
    report.count("cycles", cycles);
    Ok(report)
}

/// Waits for the next line; false when there will be none.
fn cue(cues: &mut impl BufRead) -> anyhow::Result<bool> {
    Ok(cues.read_line(&mut String::new()).context("wait for a cue")? > 0)
}

/// A moment on the clock of the machine, µs since 1970.
fn unix_us(moment: Instant) -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.saturating_sub(moment.elapsed()).as_micros()
}
