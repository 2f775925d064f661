//! `zkd`: run a server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::logging::{self, LogArgs};
use super::signals::{self, Early, HangUp, Signals};
use super::{INVOCATION_ERROR, complain};
use crate::config::{self, Config, NoteLevel};
use crate::node::{Server, ServerError, Settings};
use crate::pipeline::audit_server;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// A zoo.cfg, or the same settings as TOML if the name ends in .toml. Without one: port 2181, data in ./zkd-data.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides a setting; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
    /// As the reference takes them: a configuration file, or PORT DATADIR [TICKTIME] [MAXCNXNS].
    #[arg(value_name = "CONFIG | PORT DATADIR", num_args = 0..=4)]
    positional: Vec<String>,
    /// In a session of its own: what `zkd server start` starts.
    #[arg(long, hide = true)]
    own_session: bool,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => Err("expected KEY=VALUE".to_owned()),
    }
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    let hang_up = HangUp::of(args.own_session);
    let early = match Early::listen(hang_up) {
        Ok(early) => early,
        Err(error) => {
            complain(&anyhow::Error::new(error).context("listen to signals"));
            return ExitCode::FAILURE;
        }
    };
    if args.own_session {
        // Whoever begins a group has one already, and no terminal to lose.
        let _has_one = rustix::process::setsid();
    }
    let configured = logging::start(&args.log).and_then(|()| configure(args));
    let settings = match configured.and_then(|config| Ok(Settings::from_config(&config)?)) {
        Ok(settings) => settings,
        Err(error) => {
            complain(&error);
            return ExitCode::from(INVOCATION_ERROR);
        }
    };
    take_descriptors();
    take_small_pages();
    match serve(&settings, early, hang_up) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Each connection takes a descriptor: as Java does, as many as the system gives.
fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Memory comes in pages of 4 KiB from here on: huge ones are cleared as a whole, and counted as a whole, for what little is
/// used of them (docs/performance.md).
fn take_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the system goes on with huge pages");
    }
}

fn configure(args: &ServeArgs) -> anyhow::Result<Config> {
    let mut overrides = Vec::new();
    let file = match (&args.config, args.positional.as_slice()) {
        (file, []) => file.clone(),
        (None, [file]) => Some(file.into()),
        (None, positional) => {
            // Without a file the reference's tick is not that of its sample file, nor has an address a limit (CF-02).
            overrides.push(("tickTime".to_owned(), "3000".to_owned()));
            overrides.push(("maxClientCnxns".to_owned(), "0".to_owned()));
            let keys = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
            overrides.extend(keys.map(str::to_owned).into_iter().zip(positional.iter().cloned()));
            None
        }
        (Some(_), _) => anyhow::bail!("give a configuration file once"),
    };
    overrides.extend(args.overrides.iter().cloned());
    let config = load(file.as_deref(), &overrides)?;
    for note in &config.notes {
        match note.level {
            NoteLevel::Info => tracing::info!("{}", note.text),
            NoteLevel::Warning => tracing::warn!("{}", note.text),
        }
    }
    Ok(config)
}

/// Reads the configuration, the dynamic one and the proposed one and the passwords if there are such, and `myid`.
pub(super) fn load(file: Option<&Path>, overrides: &[(String, String)]) -> anyhow::Result<Config> {
    let name = file.map_or_else(|| "embedded defaults".to_owned(), |file| file.display().to_string());
    let mut config = match file {
        Some(file) => Config::parse(&name, &read(file)?, overrides)?,
        None => Config::parse_embedded(overrides)?,
    };
    if let Some(dynamic) = config.dynamic_file.clone() {
        config.merge_dynamic(&dynamic.display().to_string(), &read(&dynamic)?)?;
        let next = format!("{name}.dynamic.next");
        if config.reconfig && Path::new(&next).is_file() {
            config.merge_proposed(&next, &read(Path::new(&next))?)?;
        }
    }
    if let Some(jaas) = config.sasl.file.clone() {
        let text = read(&jaas).context("java.security.auth.login.config")?;
        config.merge_jaas(&jaas.display().to_string(), &text)?;
    }
    config.identify(&name, my_id(&config)?)?;
    if let Some(file) = file {
        config.stands_in(std::path::absolute(file).context("find the current directory")?, overrides);
    }
    Ok(config)
}

pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What stands in `myid`, if there is such a file.
fn my_id(config: &Config) -> anyhow::Result<Option<u8>> {
    let file = config.data_dir.join("myid");
    if !file.is_file() {
        return Ok(None);
    }
    let my_id = config::parse_myid(&read(&file)?).with_context(|| format!("read {}", file.display()))?;
    Ok(Some(my_id))
}

/// Until the server serves, a signal is the matter of `early`.
fn serve(settings: &Settings, early: Early, hang_up: HangUp) -> Result<(), ServerError> {
    let runtime = signals::runtime()?;
    let server = Server::start(settings).inspect_err(|_| {
        if let Some(user) = &settings.audit {
            audit_server(user, "serverStart", "failure");
        }
    })?;
    runtime.block_on(async {
        let mut signals = Signals::listen(hang_up)?;
        drop(early);
        server.run(signals.asked_to_stop()).await
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;
    use super::*;

    fn config(words: &[&str]) -> anyhow::Result<Config> {
        let words = std::iter::once("zkd").chain(words.iter().copied());
        configure(&Cli::try_parse_from(words)?.serve)
    }

    #[test]
    fn a_server_is_called_as_the_reference_is() {
        let set = |words: &[&str]| {
            let config = config(words).expect("understood");
            (config.client_port, config.data_dir, config.tick_ms, config.connections_per_address_max)
        };
        let data = || "/nowhere/data".into();
        assert_eq!(set(&["2190", "/nowhere/data"]), (Some(2190), data(), 3000, 0));
        assert_eq!(set(&["2190", "/nowhere/data", "500"]), (Some(2190), data(), 500, 0));
        assert_eq!(set(&["2190", "/nowhere/data", "500", "7"]), (Some(2190), data(), 500, 7));
        assert_eq!(set(&["--set", "dataDir=/nowhere/data"]), (Some(2181), data(), 2000, 60));
        assert!(config(&["2190", "/nowhere/data", "500", "7", "8"]).is_err());
        assert!(config(&["2190", "/nowhere/data", "soon"]).is_err());
        assert!(config(&["/nowhere/zoo.cfg"]).is_err(), "one word is a file");
    }
}
