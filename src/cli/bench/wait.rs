//! `wait`: tries until the server answers a read. A script that starts a server measures its restart with it.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::args::{BenchArgs, Route};
use super::link::Link;
use super::load::single_thread;
use super::report::Report;
use super::request;
use crate::proto::OpCode;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// One try. Apache 3.8 may take a connection while it starts and then never answer it, or no request on it.
const TRY_MAX: Duration = Duration::from_millis(500);

/// Waits for the first answer to an exists of the root.
///
/// # Errors
/// With the last try, when there was none within `--seconds`.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let route = args.first_route()?;
    let start = Instant::now();
    let trying = async {
        loop {
            let refused = match tokio::time::timeout(TRY_MAX, read(route, args)).await {
                Ok(Ok(answered)) => return Ok(answered - start),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            if start.elapsed() >= args.measure_time() {
                return Err(refused.unwrap_or_else(|| anyhow!("no answer")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = single_thread()?.block_on(trying);
    let waited = waited.with_context(|| format!("{} did not answer for {} s", route.server, args.seconds))?;
    let mut report = Report::default();
    report.number("waited_ms", waited.as_secs_f64() * 1e3);
    Ok(report)
}

/// Reads the root in a session of its own; when the answer came.
async fn read(route: Route, args: &BenchArgs) -> anyhow::Result<Instant> {
    let mut link = Link::open(route, args.timeout_ms).await?;
    let read = link.call(|xid, out| request::read_path(out, xid, OpCode::EXISTS, &args.root)).await;
    read.with_context(|| format!("read {}", args.root))?;
    let answered = Instant::now();
    link.close().await?;
    Ok(answered)
}
