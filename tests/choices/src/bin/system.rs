//! Everything here, and zkd, on the C library's allocator.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: std::alloc::System = std::alloc::System;

fn main() -> ExitCode {
    zkd_choices::main()
}
