//! Is the code still shaped as ARCHITECTURE.md says? Imports point down, nothing below the waterline touches the world,
//! every file says what it is for.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up: a module may import those before it and none behind it.
const FLOORS: [&str; 22] = [
    "ids", "numbered", "path", "jute", "metrics", "proto", "txn", "config", "tree", "watch", "session", "auth",
    "storage", "pipeline", "zab", "peer", WATERLINE, "disk", "net", "admin", "node", "cli",
];
const WATERLINE: &str = "~~~~";

/// What only the rim may say, and what stands for it below.
const BELOW_WATERLINE: [(&str, &str); 14] = [
    ("tokio", "a state machine with inputs and outputs"),
    ("std::fs", "storage::Disk"),
    ("std::thread", "an output that the rim carries out"),
    ("thread::", "an output that the rim carries out"),
    ("Instant", "ids::Now as an argument"),
    ("SystemTime", "ids::Now as an argument"),
    ("TcpStream", "pipeline::Lane"),
    ("TcpListener", "pipeline::Lane"),
    ("UdpSocket", "pipeline::Lane"),
    ("std::env", "config"),
    ("std::process", "an error that the rim exits with"),
    ("RandomState", "a seed as an argument"),
    ("fastrand::u", "a seeded fastrand::Rng"),
    ("Rng::new()", "a seeded fastrand::Rng"),
];

const LINES_MAX: usize = 700;

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

impl Source {
    /// The code without its tests.
    fn code(&self) -> &str {
        let end = self.text.find("\n#[cfg(test)]\nmod tests").unwrap_or(self.text.len());
        &self.text[..end]
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs")
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |(_, line): &(usize, &str)| !line.trim_start().starts_with("//");
        (1..).zip(self.code().lines()).filter(code)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_some_and(|extension| extension == "rs") {
                let first = path.strip_prefix(&root).unwrap().iter().next().unwrap();
                let module = first.to_str().unwrap().trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                sources.push(Source { path, module, text });
            }
        }
    }
    assert!(sources.len() > 30, "only {} files were found", sources.len());
    sources
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|name| *name == module)
}

fn complain(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}:\n  {}", complaints.join("\n  "));
}

#[test]
fn every_module_has_a_floor() {
    let homeless = |source: &&Source| floor(&source.module).is_none() && !["lib", "main"].contains(&&*source.module);
    let complaints: Vec<_> =
        sources().iter().filter(homeless).map(|source| source.path.display().to_string()).collect();
    complain("modules that FLOORS does not name", &complaints);
}

#[test]
fn imports_point_down() {
    let mut complaints = Vec::new();
    for source in sources() {
        let Some(here) = floor(&source.module) else { continue };
        for (number, line) in source.lines() {
            for imported in line.match_indices("crate::").map(|(at, word)| &line[at + word.len()..]) {
                let imported = imported.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                if floor(imported).is_some_and(|there| there > here) {
                    complaints.push(format!(
                        "{}:{number}: {} imports {imported}",
                        source.path.display(),
                        source.module
                    ));
                }
            }
        }
    }
    complain("imports that point up", &complaints);
}

#[test]
fn nothing_below_the_waterline_touches_the_world() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if floor(&source.module).is_none_or(|here| here > floor(WATERLINE).unwrap()) {
            continue;
        }
        for (number, line) in source.lines() {
            for (word, instead) in BELOW_WATERLINE.iter().filter(|(word, _)| line.contains(word)) {
                complaints.push(format!("{}:{number}: {word}; say {instead}", source.path.display()));
            }
        }
    }
    complain("the world below the waterline", &complaints);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = |source: &&Source| !source.is_test() && !source.text.starts_with("//! ");
    let complaints: Vec<_> = sources().iter().filter(silent).map(|source| source.path.display().to_string()).collect();
    complain("files that do not begin with //!", &complaints);
}

#[test]
fn no_file_is_a_crowd() {
    let long = |source: &&Source| source.text.lines().count() > LINES_MAX;
    let complaints: Vec<_> = sources().iter().filter(long).map(|source| source.path.display().to_string()).collect();
    complain("files that are too long", &complaints);
}

#[test]
fn nothing_unwraps() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (number, line) in source.lines().filter(|(_, line)| line.contains(".unwrap()")) {
            complaints.push(format!("{}:{number}: {}", source.path.display(), line.trim()));
        }
    }
    complain("unwraps outside of tests", &complaints);
}

#[test]
fn planted_bugs_still_have_their_places() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/simulation/planted_bugs.toml")).unwrap();
    let bugs: toml::Table = text.parse().unwrap();
    let mut complaints = Vec::new();
    for bug in bugs["bug"].as_array().unwrap() {
        for edit in bug["edit"].as_array().unwrap() {
            let file = edit["file"].as_str().unwrap();
            let count = fs::read_to_string(root.join(file)).unwrap().matches(edit["old"].as_str().unwrap()).count();
            if count != 1 {
                complaints.push(format!("{}: {count} places in {file}", bug["name"]));
            }
        }
    }
    complain("planted bugs whose edits do not apply", &complaints);
}
