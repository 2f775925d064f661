//! The command line: the server by default, tools as subcommands.

pub mod bench;
mod container;
mod logging;
pub mod migrate;
mod names;
mod script;
mod serve;
mod shell;
mod signals;
mod status;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A coordination server compatible with Apache ZooKeeper.
#[derive(Debug, Parser)]
#[command(
    name = "zkd",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 stopped as asked, 1 unexpected error (the log or port failed, data that cannot be used), \
                  2 bad command line or configuration, 3 data directories that cannot be used, \
                  4 the admin server's port cannot be had, 10 the first snapshot cannot be written, \
                  14 the election port cannot be had."
)]
struct Cli {
    #[command(subcommand)]
    tool: Option<Tool>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Tell whether a server serves, and in which mode.
    Status(status::StatusArgs),
    /// Start, stop or ask a server of this machine, as zkServer.sh does.
    Server(ServerArgs),
    /// Write zoo.cfg and myid out of the variables ZOO_*, and run a command, as Apache's container image does.
    Container(container::ContainerArgs),
    /// Come from Apache ZooKeeper.
    Migrate(migrate::MigrateArgs),
    /// Drive any ZooKeeper server and tell what it costs.
    Bench(Box<bench::BenchArgs>),
    /// Ask a server, as zkCli.sh does.
    Cli(shell::ShellArgs),
}

#[derive(Debug, clap::Args)]
struct ServerArgs {
    /// [--config DIR] start|start-foreground|stop|version|restart|status|print-cmd [CFG].
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ACTION")]
    words: Vec<String>,
}

/// Runs what the command line asks for, or the script of Apache's that it is called by the name of.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = names::run_as_called() {
        return code;
    }
    match Cli::try_parse() {
        Ok(Cli { tool: Some(Tool::Status(args)), .. }) => status::run(&args),
        Ok(Cli { tool: Some(Tool::Server(args)), .. }) => {
            let called = names::called().unwrap_or_default();
            script::server::run(&called, "zkd server", args.words)
        }
        Ok(Cli { tool: Some(Tool::Container(args)), .. }) => container::run(&args.command),
        Ok(Cli { tool: Some(Tool::Migrate(args)), .. }) => migrate::run(&args),
        Ok(Cli { tool: Some(Tool::Bench(args)), .. }) => bench(&args),
        Ok(Cli { tool: Some(Tool::Cli(args)), .. }) => shell::run(&args.words),
        Ok(Cli { tool: None, serve }) => serve::run(&serve),
        Err(error) => {
            let help = !error.use_stderr();
            let _closed = error.print();
            ExitCode::from(if help { 0 } else { INVOCATION_ERROR })
        }
    }
}

fn bench(args: &bench::BenchArgs) -> ExitCode {
    match bench::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Tells whoever typed the command, if anybody listens.
fn complain(error: &anyhow::Error) {
    let _nobody = writeln!(io::stderr(), "zkd: {error:#}");
}

/// The command line or the configuration is bad (CF-01).
const INVOCATION_ERROR: u8 = 2;
