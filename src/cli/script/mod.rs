//! What Apache's scripts share: where the configuration is, and what stands around it (TO-05).

mod assignments;
pub(super) mod cleanup;
pub(super) mod initialize;
pub(super) mod server;
mod status;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::shell::print::{err as complain, part as say};

/// What zkEnv.sh finds out.
#[derive(Debug)]
struct ScriptEnv {
    /// As the script was called.
    called: String,
    /// Where the script stands.
    bin_dir: String,
    /// What the files beside the configuration assign.
    assigned: BTreeMap<String, String>,
    /// `ZOOCFGDIR`.
    config_dir: String,
    /// `ZOOCFG` in that directory.
    config: String,
}

impl ScriptEnv {
    /// Takes `--config DIR` from the front of `args`.
    fn new(called: &str, args: &mut Vec<String>) -> Self {
        let bin_dir = bin_dir(called);
        let (config_dir, config) = (String::new(), String::new());
        let mut this = Self { called: called.to_owned(), bin_dir, assigned: BTreeMap::new(), config_dir, config };
        let is_given = args.len() > 1 && args[0] == "--config";
        this.config_dir = match is_given.then(|| args.drain(..2).next_back()).flatten() {
            Some(dir) => dir,
            None => this.variable("ZOOCFGDIR").unwrap_or_default(),
        };
        if this.config_dir.is_empty() {
            let beside = format!("{}/../conf", this.bin_dir);
            let otherwise = format!("{}/../etc/zookeeper", this.bin_dir);
            this.config_dir = if Path::new(&beside).exists() { beside } else { otherwise };
        }
        this.take_assignments("zookeeper-env.sh");
        if let Some(dir) = this.assigned.get("ZOOCFGDIR") {
            this.config_dir.clone_from(dir);
        }
        this.take_assignments("java.env");
        let name = this.variable("ZOOCFG").unwrap_or_else(|| "zoo.cfg".to_owned());
        this.config = this.config_named(&name);
        this
    }

    /// A name is one in the directory of configurations; anything longer is a path.
    fn config_named(&self, name: &str) -> String {
        if name.contains('/') { name.to_owned() } else { format!("{}/{name}", self.config_dir.trim_end_matches('/')) }
    }

    /// A variable that is not empty.
    fn variable(&self, name: &str) -> Option<String> {
        let value = self.assigned.get(name).cloned().or_else(|| env::var(name).ok());
        value.filter(|value| !value.is_empty())
    }

    /// As if a shell had read the file, if there is one.
    fn take_assignments(&mut self, name: &str) {
        let path = format!("{}/{name}", self.config_dir);
        let Ok(text) = fs::read(&path) else { return };
        if let Some(line) = assignments::take(&String::from_utf8_lossy(&text), &mut self.assigned) {
            complain(format!("{path}: only assignments are understood; nothing is taken from here on: {line}"));
        }
    }

    /// `ZOO_LOG_DIR`.
    fn log_dir(&self) -> String {
        self.variable("ZOO_LOG_DIR").unwrap_or_else(|| format!("{}/../logs", self.bin_dir))
    }

    /// `dataDir` or `dataLogDir`. Where the configuration leaves it to its surroundings, the container's variables say it.
    fn directory(&self, text: &str, key: &str) -> Option<String> {
        let name = if key == "dataDir" { "ZOO_DATA_DIR" } else { "ZOO_DATA_LOG_DIR" };
        let is_left = setting(text, "dataDir").is_none();
        setting(text, key).or_else(|| self.variable(name).filter(|_| is_left))
    }

    /// What the server is told beside its configuration; of a key that is there twice the last one counts.
    fn settings(&self, text: &str) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        if self.variable("ZOO_DATADIR_AUTOCREATE_DISABLE").is_some() {
            settings.push(("zookeeper.datadir.autocreate".to_owned(), "false".to_owned()));
        }
        let directories = ["dataDir", "dataLogDir"].into_iter();
        settings.extend(directories.filter_map(|key| Some((key.to_owned(), self.directory(text, key)?))));
        for name in ["SERVER_JVMFLAGS", "JVMFLAGS"] {
            settings.extend(properties(&self.variable(name).unwrap_or_default()));
        }
        // As with Java, a system property counts where the file says nothing.
        let stands_in_file = |key: &str| {
            let bare = key.strip_prefix("zookeeper.").unwrap_or(key);
            [bare.to_owned(), format!("zookeeper.{bare}")].iter().any(|key| setting(text, key).is_some())
        };
        settings.retain(|(key, _)| !stands_in_file(key));
        settings
    }

    /// The text of the configuration; nothing if it cannot be read.
    fn config_text(&self) -> String {
        super::serve::read(Path::new(&self.config)).unwrap_or_else(|error| {
            complain(format!("zkd: {error:#}"));
            String::new()
        })
    }
}

/// A name without a directory was found in `PATH`.
fn bin_dir(called: &str) -> String {
    let in_path = || {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|dir| dir.join(called)).find(|file| file.is_file())
    };
    let file = if called.contains('/') { Some(PathBuf::from(called)) } else { in_path() };
    let file = file.map_or_else(env::current_exe, std::path::absolute).unwrap_or_default();
    file.parent().map_or_else(|| ".".to_owned(), |dir| dir.display().to_string())
}

/// What a line of zoo.cfg gives `key`, without reading the rest of it: the last one counts.
pub(super) fn setting(text: &str, key: &str) -> Option<String> {
    let value = |line: &str| {
        let rest = line.trim_start().strip_prefix(key)?;
        let is_end = rest.starts_with(|c: char| c.is_whitespace() || c == '=' || c == ':');
        // A file in TOML has quotes.
        is_end.then(|| rest.trim_start().trim_start_matches(['=', ':']).trim().trim_matches('"').to_owned())
    };
    text.lines().filter_map(value).next_back().filter(|value| !value.is_empty())
}

/// `-D` of what zkd has a key for, as pairs of key and value; other flags are Java's.
fn properties(flags: &str) -> Vec<(String, String)> {
    const BARE: [&str; 4] = ["jute.", "znode.container.", "readonlymode.", "java.security.auth.login.config"];
    let property = |flag: &str| {
        let (key, value) = flag.strip_prefix("-D")?.split_once('=')?;
        let own =
            key.strip_prefix("zookeeper.").or_else(|| BARE.iter().any(|bare| key.starts_with(bare)).then_some(key));
        own.filter(|own| !own.is_empty()).map(|_| (key.to_owned(), value.to_owned()))
    };
    flags.split_whitespace().filter_map(property).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_as_grep_finds_it() {
        let text = "#dataDir=/no\ndataDirectory=/no\ndataDir = /a \nserver.1=h:1:2;3\n  dataLogDir=/l\nclientPort=";
        assert_eq!(setting(text, "dataDir").as_deref(), Some("/a"));
        assert_eq!(setting(text, "dataLogDir").as_deref(), Some("/l"));
        assert_eq!(setting(text, "server.1").as_deref(), Some("h:1:2;3"));
        assert_eq!(setting(text, "clientPort"), None);
        assert_eq!(setting("dataDir=/a\ndataDir=/b", "dataDir").as_deref(), Some("/b"));
        assert_eq!(setting("dataDir = \"/a\"", "dataDir").as_deref(), Some("/a"));
    }

    #[test]
    fn system_properties_of_zookeeper_are_taken_from_flags() {
        let flags = "-Xmx1000m -Dzookeeper.snapCount=7 -Djute.maxbuffer=9 -Dcom.sun.management.jmxremote \
                     -Djava.net.preferIPv4Stack=true -Dzookeeper.=1";
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(properties(flags), [pair("zookeeper.snapCount", "7"), pair("jute.maxbuffer", "9")]);
    }
}
