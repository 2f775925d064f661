//! The names of Apache's scripts, and of its image's entry point: the binary does what the one does by whose name it is
//! called.

use std::env::args_os;
use std::ffi::OsStr;
use std::process::ExitCode;

use super::container;
use super::script::{cleanup, initialize, server};
use super::shell;

const SERVER: &str = "zkServer.sh";
const INITIALIZE: &str = "zkServer-initialize.sh";
const CLEANUP: &str = "zkCleanup.sh";
const CLIENT: &str = "zkCli.sh";
const ENTRY_POINT: &str = "docker-entrypoint.sh";

/// Whether this binary is the program of that name.
pub(super) fn is_own(name: &OsStr) -> bool {
    ["zkd", SERVER, INITIALIZE, CLEANUP, CLIENT].iter().any(|own| name == *own)
}

/// Whether that is a server, which a container does not run as root.
pub(super) fn is_server(name: &OsStr) -> bool {
    ["zkd", SERVER].iter().any(|own| name == *own)
}

/// Runs the script that the binary is called by the name of, if it is one.
pub(super) fn run_as_called() -> Option<ExitCode> {
    let called = called()?;
    let (args, raw): (Vec<_>, Vec<_>) = (words().skip(1).collect(), args_os().skip(1).collect());
    Some(match called.rsplit('/').next()? {
        SERVER => server::run(&called, &called, args),
        INITIALIZE => initialize::run(&called, args),
        CLEANUP => cleanup::run(&called, args),
        CLIENT => shell::run(&raw),
        ENTRY_POINT => container::run(&raw),
        _ => return None,
    })
}

/// The first word of the command line.
pub(super) fn called() -> Option<String> {
    words().next()
}

fn words() -> impl Iterator<Item = String> {
    args_os().map(|word| word.to_string_lossy().into_owned())
}
