//! The protocol as stories: each file tells what happens to an ensemble, and what its servers do about it. Whole servers
//! of the production core run here in one thread, in virtual time, over simulated disks; where a story needs an Apache
//! server that does something special, a scripted peer stands in its place and says what the story tells it to say.
//!
//! A file is made of paragraphs: steps, a line `----`, and what is to be seen. `UPDATE_SCENARIOS=1 cargo test --test
//! scenario` rewrites what is to be seen; the diff is what a reviewer reads. `SCENARIO=word` runs the files whose names
//! contain the word. `steps.rs` lists the steps.
#![allow(missing_docs, clippy::print_stderr, reason = "a test")]

mod actor;
mod client;
#[path = "../simulation/disk.rs"]
#[allow(dead_code, reason = "the simulator uses the rest")]
mod disk;
mod history;
mod journal;
#[path = "../simulation/log.rs"]
#[allow(dead_code, reason = "the simulator uses the rest")]
mod log;
mod rim;
mod server;
mod show;
mod steps;
mod text;
mod wire;
mod words;
mod world;

use std::path::{Path, PathBuf};

use text::Story;
use world::World;

/// Runs one story. Returns the text as it should be.
fn tell(story: &Story) -> String {
    let mut world = World::new();
    let mut told = Vec::new();
    for paragraph in &story.paragraphs {
        let seen = world.play(&paragraph.steps);
        told.push(paragraph.with(&seen));
    }
    told.join("\n\n") + "\n"
}

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenario");
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    let entries = std::fs::read_dir(folder).expect("the folder of this test");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    paths.retain(|path| path.to_string_lossy().contains(&wanted));
    paths.sort();
    assert!(!paths.is_empty(), "no scenario is called {wanted:?}");
    paths
}

/// The first line where they differ, with those around it.
fn difference(expected: &str, found: &str) -> String {
    let at = expected.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
    let cut = |text: &str| {
        text.lines().skip(at.saturating_sub(4)).take(14).map(|line| format!("    {line}\n")).collect::<String>()
    };
    format!("from line {} on, expected:\n{}  found:\n{}", at + 1, cut(expected), cut(found))
}

#[test]
fn every_scenario_reads_as_it_is_told() {
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut failures = String::new();
    for path in stories() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let expected = std::fs::read_to_string(&path).expect("a scenario");
        let story = Story::parse(&expected);
        let result = std::panic::catch_unwind(|| journal::listen(|| tell(&story)));
        match result {
            Ok(found) if found == expected => {}
            Ok(found) if update => std::fs::write(&path, found).expect("the scenario rewritten"),
            Ok(found) => failures += &format!("{name}, {}\n", difference(&expected, &found)),
            Err(_) => failures += &format!("{name} does not come to its end; see above\n"),
        }
    }
    assert!(failures.is_empty(), "\n{failures}UPDATE_SCENARIOS=1 writes down what was found");
}
