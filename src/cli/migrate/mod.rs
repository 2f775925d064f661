//! `zkd migrate`: coming from Apache ZooKeeper.

mod check;
mod report;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use check::{CheckArgs, check};
pub use report::Report;

use super::INVOCATION_ERROR;

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Tell whether zkd can take the place of the Apache server with this configuration, and change nothing. Exit code
    /// 0: it can; 2: it can not.
    Check(CheckArgs),
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the command is for")]
pub(super) fn run(args: &MigrateArgs) -> ExitCode {
    let Step::Check(args) = &args.step;
    let report = match check(args) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("zkd: {error:#}");
            return ExitCode::from(INVOCATION_ERROR);
        }
    };
    if args.json {
        match serde_json::to_string_pretty(&report) {
            Ok(json) => println!("{json}"),
            Err(error) => eprintln!("zkd: {error}"),
        }
    } else {
        print!("{report}");
    }
    ExitCode::from(if report.ready { 0 } else { INVOCATION_ERROR })
}
