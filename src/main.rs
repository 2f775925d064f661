//! The `zkd` binary: run the server, or one of its tools.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    zkd::cli::main()
}
