//! Everything here, and zkd, on mimalloc, as zkd has it.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    zkd_choices::main()
}
