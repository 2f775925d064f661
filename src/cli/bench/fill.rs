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
use super::shape::Shape;
use super::znodes::{Place, Znodes, remove};

/// Makes `--znodes` znodes in the `--shape`, over all connections at once.
///
/// # Errors
/// When the root exists or a create fails.
pub(super) fn fill(args: &BenchArgs) -> anyhow::Result<Report> {
    let before = (Usage::of(&args.server_pid)?, Usage::own()?);
    let start = Instant::now();
    let znodes = Arc::new(args.filled_znodes());
    single_thread()?.block_on(fill_all(args, &znodes))?;
    let elapsed = start.elapsed();
    let after = (Usage::of(&args.server_pid)?, Usage::own()?);
    let mut report = Report::default();
    report.count("znodes", args.znodes);
    report.count("size_bytes", args.size as u64);
    report.number("seconds", elapsed.as_secs_f64());
    report.number("ops_per_second", args.znodes as f64 / elapsed.as_secs_f64());
    if !args.server_pid.is_empty() {
        report.cpu("server", before.0, after.0, args.znodes, elapsed);
        report.memory(before.0, after.0);
        let grown = after.0.resident.saturating_sub(before.0.resident);
        report.number("server_bytes_per_znode", grown as f64 / args.znodes as f64);
    }
    report.cpu("bench", before.1, after.1, args.znodes, elapsed);
    report.text("last_path", last_path(&znodes));
    Ok(report)
}

/// Whoever can read this znode has all of the tree.
fn last_path(znodes: &Znodes) -> String {
    let mut path = Vec::new();
    znodes.put_path(&mut path, Place::Filled(znodes.count - 1));
    String::from_utf8_lossy(&path[4..]).into_owned()
}

async fn fill_all(args: &BenchArgs, znodes: &Arc<Znodes>) -> anyhow::Result<()> {
    let routes = args.routes()?;
    let mut first = Link::open(routes[0], args.timeout_ms).await?;
    znodes.make_root(&mut first).await?;
    let mut above = znodes.root.clone();
    for level in znodes.shape.levels() {
        above.push_str(level);
        first.call(|xid, out| request::create_path(out, xid, &above)).await.context("create the levels above")?;
    }
    first.close().await?;
    let connections = (args.connections as u64).min(znodes.shape.parents(znodes));
    let mut filling = JoinSet::new();
    for i in 0..connections {
        let route = routes[i as usize % routes.len()];
        let (znodes, timeout_ms, depth) = (znodes.clone(), args.timeout_ms, args.depth);
        filling.spawn(async move {
            let mut link = Link::open(route, timeout_ms).await?;
            link.call(|xid, out| request::sync(out, xid, &znodes.root)).await?;
            fill_some(&mut link, &znodes, (i, connections), depth).await?;
            if znodes.shape == Shape::Flat {
                link.close().await?;
            }
            // Otherwise the ephemeral znodes stay until the session expires.
            anyhow::Ok(())
        });
    }
    while let Some(ended) = filling.join_next().await {
        ended??;
    }
    Ok(())
}

/// Fills every `step`th parent from `first` on. A parent and its children follow each other in one pipeline.
async fn fill_some(link: &mut Link, znodes: &Znodes, (first, step): (u64, u64), depth: usize) -> anyhow::Result<()> {
    let (shape, parents) = (znodes.shape, (first..znodes.shape.parents(znodes)).step_by(step as usize));
    let count = parents.clone().map(|parent| 1 + shape.below(znodes, parent).count() as u64).sum();
    let mut places = parents.flat_map(|parent| {
        std::iter::once(Place::FillParent(parent)).chain(shape.below(znodes, parent).map(Place::Filled))
    });
    let create = |_, xid, out: &mut Vec<u8>| match places.next() {
        Some(Place::Filled(index)) if shape.is_ephemeral(index) => {
            request::create_ephemeral(out, xid, znodes, Place::Filled(index), index);
        }
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
    let route = args.first_route()?;
    let start = Instant::now();
    let removed = single_thread()?.block_on(async {
        let mut link = Link::open(route, args.timeout_ms).await?;
        let removed = remove(&mut link, &args.root).await?;
        link.close().await?;
        anyhow::Ok(removed)
    })?;
    let mut report = Report::default();
    report.count("removed_znodes", removed);
    report.number("seconds", start.elapsed().as_secs_f64());
    Ok(report)
}
