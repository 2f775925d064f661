//! `zkd bench` by itself, until the binary has the subcommand.

use clap::Parser;
use zkd::cli::bench::{BenchArgs, run};

#[derive(Parser)]
#[command(name = "zkd bench")]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn main() -> anyhow::Result<()> {
    run(&Cli::parse().bench)
}
