//! What zkd chose, measured beside what it might have chosen: allocators, layouts of the tree, ways to share it with
//! those who read. `scripts/choices` runs all of it and prints tables.
//!
//! There is one binary for each allocator. Each is zkd, too: with other arguments than these it does what zkd does.
//!
//! ```text
//! BINARY measure allocator
//! BINARY measure tree LAYOUT
//! BINARY measure sharing WAY
//! ```
//!
//! Each prints one JSON object of names and numbers. Whatever is not zkd's own code is called a model.

mod allocator;
mod layouts;
mod process;
mod shape;
mod sharing;
#[path = "../../standalone/mod.rs"]
mod standalone;
mod tree;
mod ways;

use std::process::ExitCode;

/// Names and numbers that were measured.
type Figures = Vec<(String, f64)>;

/// Measures, or is zkd.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let figures = match words[..] {
        ["measure", "allocator"] => Some(allocator::measure()),
        ["measure", "tree", layout] => tree::measure(layout),
        ["measure", "sharing", way] => sharing::measure(way),
        ["measure", ..] => None,
        _ => return zkd::cli::main(),
    };
    let Some(figures) = figures else {
        eprintln!("usage: measure allocator | measure tree LAYOUT | measure sharing WAY");
        eprintln!("LAYOUT: {:?}\nWAY: {:?}", tree::LAYOUTS, sharing::WAYS);
        return ExitCode::FAILURE;
    };
    let fields: Vec<_> = figures.iter().map(|(name, value)| format!("\"{name}\": {value:.3}")).collect();
    println!("{{{}}}", fields.join(", "));
    ExitCode::SUCCESS
}
