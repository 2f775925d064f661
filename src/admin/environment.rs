//! `envi`, `environment`, `system_properties`: the reference's keys, with what has a counterpart here.

use std::collections::BTreeMap;
use std::fs;

use super::VERSION;
use super::json::{Fields, field};
use super::view::View;

/// What stands where Java has something and zkd has nothing.
const NOTHING: &str = "<NA>";

pub(super) fn envi(_: &View) -> String {
    let lines: String = environment().iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    format!("Environment:\n{lines}")
}

/// The same as JSON.
pub(super) fn fields(_: &View) -> Fields {
    environment().into_iter().map(|(key, value)| field(key, value)).collect()
}

/// What Java calls system properties: those of the process that have a counterpart, and the settings that the reference
/// keeps there. Secrets are not among them (SC-16).
pub(super) fn system_properties(view: &View) -> Fields {
    let same = |name: &str| {
        matches!(name, "java.io.tmpdir" | "os.name" | "os.arch" | "os.version") || name.starts_with("user.")
    };
    let environment = environment().into_iter().filter(|(name, _)| same(name));
    let fixed = [("file.separator", "/"), ("line.separator", "\n"), ("path.separator", ":")];
    let mut properties: BTreeMap<String, String> = view.facts.properties.iter().cloned().collect();
    properties.extend(environment.map(|(name, value)| (name.to_owned(), value)));
    properties.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    properties.into_iter().map(|(name, value)| (name, value.into())).collect()
}

fn environment() -> [(&'static str, String); 18] {
    let system = rustix::system::uname();
    let megabytes = |name: &str| memory_kb(name).map_or_else(|| NOTHING.to_owned(), |kb| format!("{}MB", kb / 1024));
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| NOTHING.to_owned());
    let directory = std::env::current_dir().map_or_else(|_| NOTHING.to_owned(), |dir| dir.display().to_string());
    [
        ("zookeeper.version", VERSION.to_owned()),
        ("host.name", system.nodename().to_string_lossy().into_owned()),
        ("java.version", NOTHING.to_owned()),
        ("java.vendor", NOTHING.to_owned()),
        ("java.home", NOTHING.to_owned()),
        ("java.class.path", NOTHING.to_owned()),
        ("java.library.path", NOTHING.to_owned()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", NOTHING.to_owned()),
        ("os.name", system.sysname().to_string_lossy().into_owned()),
        ("os.arch", system.machine().to_string_lossy().into_owned()),
        ("os.version", system.release().to_string_lossy().into_owned()),
        ("user.name", user_name()),
        ("user.home", variable("HOME")),
        ("user.dir", directory),
        ("os.memory.free", megabytes("MemAvailable:")),
        ("os.memory.max", megabytes("MemTotal:")),
        ("os.memory.total", megabytes("MemTotal:")),
    ]
}

/// Who runs this process: a name, or a number that has none.
#[must_use]
pub fn user_name() -> String {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_own = |line: &&str| line.split(':').nth(2) == Some(&*id);
    let name = users.lines().find(is_own).and_then(|line| line.split(':').next()).map(str::to_owned);
    name.unwrap_or(id)
}

fn memory_kb(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
