//! Whole ensembles of the production core in one thread from one seed: machines, disks, networks, clocks and clients
//! are simulated, the servers are not.
//!
//! Each run has two halves. In the first everything goes wrong that may go wrong, and the invariants (one file each)
//! are checked after every step. In the second nothing goes wrong, and all must become well and hold every acknowledged
//! write. `cargo test` runs a fixed set of seeds; `scripts/simulate` runs campaigns and replays a seed.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a program of its own, which tells how it goes"
)]

mod calm;
mod campaign;
mod client;
mod disk;
mod election;
mod faults;
mod invariants;
mod lanes;
mod log;
mod model;
mod network;
mod plan;
mod quorum;
mod requests;
mod rim;
mod schedule;
mod server;
mod trace;
mod world;

use std::process::ExitCode;

use campaign::{Campaign, Options};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    if options.list {
        return ExitCode::SUCCESS;
    }
    match options.seed {
        Some(seed) => campaign::replay(seed, options.trace),
        None => Campaign::new(options).run(),
    }
}
