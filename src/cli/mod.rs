//! The tools beside the server: what a subcommand of the `zkd` binary does once its arguments are read.

pub mod bench;
