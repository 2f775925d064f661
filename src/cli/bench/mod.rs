//! `zkd bench`: drives any server that speaks the ZooKeeper protocol and says what it costs.
//!
//! One process, one runtime per load thread, one task per connection. A connection keeps `--depth` requests in
//! flight: whatever replies one read brought are checked, and as many new requests leave in one write. Every reply is
//! checked: order of xids, error 0, length, and the data of each get. One wrong reply ends the run.
//!
//! Not here: a client library. Nothing reconnects or retries except where a mode is about that.

mod args;
mod fill;
mod floor;
mod floor_log;
mod floor_watch;
mod idle;
mod link;
mod load;
mod mix;
mod process;
mod reply;
mod report;
pub(super) mod request;
mod shape;
mod slow;
mod tally;
#[cfg(test)]
mod tests;
mod wait;
mod watch;
mod watch_part;
mod worker;
mod znodes;

pub use args::{BenchArgs, Mode, Part};
pub use mix::{BenchOp, Mix};
pub use shape::Shape;

/// Runs one mode and prints its report to standard output.
///
/// # Errors
/// When the server cannot be reached, closes a connection, or answers anything but what was expected; when the
/// arguments do not fit together.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    args.check()?;
    let report = match args.mode {
        Mode::Load => load::run(args)?,
        Mode::Latency => load::run(&args.one_at_a_time())?,
        Mode::Fill => fill::fill(args)?,
        Mode::Clean => fill::clean(args)?,
        Mode::Idle => idle::run(args)?,
        Mode::Watch if args.part != Part::All => watch_part::run(args)?,
        Mode::Watch => watch::run(args)?,
        Mode::Slow => slow::run(args)?,
        Mode::Wait => wait::run(args)?,
        Mode::Floor => return floor::run(args),
    };
    report.print(args.json)
}
