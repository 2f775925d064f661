//! `fill` makes many small znodes and leaves them there; `clean` removes what any mode left.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::task::JoinSet;

use super::args::BenchArgs;
use super::link::Link;
use super::load::single_thread;
use super::process::Usage;
use super::report::Report;
use super::request;
use super::znodes::{FILL_CHILDREN, Place, Znodes, remove};

/// Makes `--znodes` znodes, [`FILL_CHILDREN`] below each parent, over all connections at once.
///
/// # Errors
/// When the root exists or a create fails.
pub(super) fn fill(args: &BenchArgs) -> anyhow::Result<Report> {
    let before = (Usage::of(&args.server_pid)?, Usage::own()?);
    let start = Instant::now();
    single_thread()?.block_on(fill_all(args))?;
    let elapsed = start.elapsed();
    let after = (Usage::of(&args.server_pid)?, Usage::own()?);
    let mut report = Report::default();
    report.count("znodes", args.znodes);
    report.count("size_bytes", args.size as u64);
    report.number("seconds", elapsed.as_secs_f64());
    report.number("znodes_per_second", args.znodes as f64 / elapsed.as_secs_f64());
    if !args.server_pid.is_empty() {
        report.cpu("server", before.0, after.0, args.znodes, elapsed);
        report.memory(before.0, after.0);
        let grown = after.0.resident.saturating_sub(before.0.resident);
        report.number("server_bytes_per_znode", grown as f64 / args.znodes as f64);
    }
    report.cpu("bench", before.1, after.1, args.znodes, elapsed);
    Ok(report)
}

async fn fill_all(args: &BenchArgs) -> anyhow::Result<()> {
    let addresses = args.addresses()?;
    let znodes = Arc::new(Znodes::new(&args.root, args.znodes, args.size));
    let mut first = Link::open(addresses[0], args.timeout_ms).await?;
    znodes.make_root(&mut first).await?;
    first.close().await?;
    let connections = (args.connections as u64).min(args.znodes.div_ceil(FILL_CHILDREN));
    let mut filling = JoinSet::new();
    for i in 0..connections {
        let address = addresses[i as usize % addresses.len()];
        let (znodes, timeout_ms, depth) = (znodes.clone(), args.timeout_ms, args.depth);
        filling.spawn(async move {
            let mut link = Link::open(address, timeout_ms).await?;
            link.call(|xid, out| request::sync(out, xid, &znodes.root)).await?;
            fill_some(&mut link, &znodes, (i, connections), depth).await?;
            link.close().await
        });
    }
    while let Some(ended) = filling.join_next().await {
        ended??;
    }
    Ok(())
}

/// Fills every `step`th parent from `first` on. A parent and its children follow each other in one pipeline.
async fn fill_some(link: &mut Link, znodes: &Znodes, (first, step): (u64, u64), depth: usize) -> anyhow::Result<()> {
    let parents = znodes.count.div_ceil(FILL_CHILDREN);
    let mine: Vec<u64> = (first..parents).step_by(step as usize).collect();
    let below = |parent: u64| (parent * FILL_CHILDREN)..((parent + 1) * FILL_CHILDREN).min(znodes.count);
    let places = mine
        .into_iter()
        .flat_map(|parent| std::iter::once(Place::FillParent(parent)).chain(below(parent).map(Place::Filled)));
    let mut places = places.collect::<Vec<_>>().into_iter();
    let count = places.len() as u64;
    let create = |_, xid, out: &mut Vec<u8>| match places.next() {
        Some(Place::Filled(index)) => request::create(out, xid, znodes, Place::Filled(index), index),
        Some(place) => request::create_parent(out, xid, znodes, place),
        None => {}
    };
    link.call_all(count, depth, create).await.context("fill")
}

/// Deletes the root and all below it.
///
/// # Errors
/// When there is none, or a list or delete fails.
pub(super) fn clean(args: &BenchArgs) -> anyhow::Result<Report> {
    let address = *args.addresses()?.first().context("no server")?;
    let start = Instant::now();
    let removed = single_thread()?.block_on(async {
        let mut link = Link::open(address, args.timeout_ms).await?;
        let removed = remove(&mut link, &args.root).await?;
        link.close().await?;
        anyhow::Ok(removed)
    })?;
    let mut report = Report::default();
    report.count("removed_znodes", removed);
    report.number("seconds", start.elapsed().as_secs_f64());
    Ok(report)
}
