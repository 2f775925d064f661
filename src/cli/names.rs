//! The names of Apache's scripts, and of its image's entry point: the binary does what the one does by whose name it is
//! called.

use std::process::ExitCode;

use super::container;
use super::script::{cleanup, initialize, server};
use super::shell;

/// Runs the script that the binary is called by the name of, if it is one.
pub(super) fn run_as_called() -> Option<ExitCode> {
    let called = called()?;
    let args = words().skip(1).collect();
    match called.rsplit('/').next()? {
        "zkServer.sh" => Some(server::run(&called, &called, args)),
        "zkServer-initialize.sh" => Some(initialize::run(&called, args)),
        "docker-entrypoint.sh" => Some(container::run(&std::env::args_os().skip(1).collect::<Vec<_>>())),
        "zkCli.sh" => Some(shell::run(&std::env::args_os().skip(1).collect::<Vec<_>>())),
        "zkCleanup.sh" => Some(cleanup::run(&called, args)),
        _ => None,
    }
}

/// The first word of the command line.
pub(super) fn called() -> Option<String> {
    words().next()
}

fn words() -> impl Iterator<Item = String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned())
}
