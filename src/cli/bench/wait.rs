//! `wait`: tries until the server answers a read. A script that starts a server measures its restart with it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::args::BenchArgs;
use super::link::Link;
use super::load::single_thread;
use super::report::Report;
use super::request;
use crate::proto::OpCode;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// One try. Apache 3.8 may take a connection while it starts and then never answer it.
const TRY_MAX: Duration = Duration::from_millis(500);

/// Waits for the first answer to an exists of the root.
///
/// # Errors
/// When there was none within `--seconds`.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let route = args.first_route()?;
    let start = Instant::now();
    let trying = async {
        loop {
            let opened = tokio::time::timeout(TRY_MAX, Link::open(route, args.timeout_ms)).await;
            if let Ok(Ok(mut link)) = opened {
                let read = link.call(|xid, out| request::read_path(out, xid, OpCode::EXISTS, &args.root)).await;
                let waited = start.elapsed();
                read.with_context(|| format!("read {}", args.root))?;
                link.close().await?;
                return anyhow::Ok(waited);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = single_thread()?.block_on(async { tokio::time::timeout(args.measure_time(), trying).await });
    let Ok(waited) = waited else { bail!("{} did not answer for {} s", route.server, args.seconds) };
    let mut report = Report::default();
    report.number("waited_ms", waited?.as_secs_f64() * 1e3);
    Ok(report)
}
