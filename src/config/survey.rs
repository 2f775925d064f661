//! What becomes of each setting of a file, one by one: for those who come from another server and want to know before.

use std::path::PathBuf;

use super::{Config, ConfigError, Setting, is_toml, keys, properties, tomlfile};

/// What becomes of a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It has its effect.
    Obeyed,
    /// It has none, or not all of it: why.
    Noted(String),
    /// With it the server does not start: why.
    Refused(String),
}

impl Config {
    /// Every setting of `text`, which stands in `file`, as its key is written there, in order. Of a key that comes twice
    /// the last one counts.
    ///
    /// # Errors
    /// When the text is not in the syntax of the file.
    pub fn survey(file: &str, text: &str) -> Result<Vec<(String, Verdict)>, ConfigError> {
        let settings = settings(file, text)?;
        let counts = |(at, setting): (usize, &Setting)| {
            let comes_again = settings[at + 1..].iter().any(|later| later.key == setting.key);
            (!comes_again).then(|| (setting.key.clone(), judge(setting)))
        };
        Ok(settings.iter().enumerate().filter_map(counts).collect())
    }
}

/// Reads a file's settings: TOML if its name ends in `.toml`, else zoo.cfg.
pub(super) fn settings(file: &str, text: &str) -> Result<Vec<Setting>, ConfigError> {
    if is_toml(file) { tomlfile::parse(file, text) } else { properties::parse(file, text) }
}

fn judge(setting: &Setting) -> Verdict {
    let mut config = Config { data_dir: PathBuf::new(), ..Config::bare() };
    match keys::apply(&mut config, setting) {
        Err(error) => Verdict::Refused(error.to_string()),
        Ok(()) => config.notes.pop().map_or(Verdict::Obeyed, |note| Verdict::Noted(note.text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_gets_its_verdict() {
        let text = "tickTime=x\ntickTime=5\ncommitProcessor.numWorkerThreads=4\nfrob=1\nssl.crl=true\n";
        let survey = Config::survey("zoo.cfg", text).expect("readable");
        let keys: Vec<_> = survey.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["tickTime", "commitProcessor.numWorkerThreads", "frob", "ssl.crl"]);
        assert_eq!(survey[0].1, Verdict::Obeyed);
        assert!(matches!(&survey[1].1, Verdict::Noted(why) if why.ends_with("has no effect here")));
        assert!(matches!(&survey[2].1, Verdict::Noted(why) if why.contains("unknown key")));
        assert!(matches!(&survey[3].1, Verdict::Refused(why) if why.starts_with("zoo.cfg:5: ")));
    }
}
