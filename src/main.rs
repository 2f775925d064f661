//! The `zkd` binary: run the server, or one of its tools.

fn main() {}
