//! `zkServer-initialize.sh`: directories for a server that has no data yet (TO-06).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{ScriptEnv, complain, say, setting};
use crate::disk::{Directories, OpenError, RealDisk};

#[derive(Default)]
struct Asked {
    my_id: Option<String>,
    force: bool,
}

pub(crate) fn run(called: &str, mut args: Vec<String>) -> ExitCode {
    let mut env = ScriptEnv::new(called, &mut args);
    let mut asked = Asked::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let (name, value) = split(&arg);
        let mut value = || value.map(str::to_owned).or_else(|| args.next());
        match name {
            "--configfile" => env.config = value().unwrap_or_default(),
            "--myid" => asked.my_id = value(),
            "--force" => asked.force = true,
            "-h" | "--help" => return usage(called),
            _ => {
                say(&format!("Unknown option: {arg}\n"));
                return usage(called);
            }
        }
    }
    match initialize(&env.config, &asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal::Said(text)) => {
            say(&format!("{text}\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(format!("zkd: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// An option and what stands behind its `=`: two have a value, and `--force=no` is not `--force`.
fn split(arg: &str) -> (&str, Option<&str>) {
    match arg.split_once('=') {
        Some((name @ ("--configfile" | "--myid"), value)) if !value.is_empty() => (name, Some(value)),
        _ => (arg, None),
    }
}

fn usage(called: &str) -> ExitCode {
    say(&format!(
        "usage: {called} [--configfile FILE] [--myid N] [--force]\n\
         Makes empty data directories for the server of FILE; with --force it deletes what is there.\n"
    ));
    ExitCode::FAILURE
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Said(String),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error(transparent)]
    InUse(OpenError),
}

fn initialize(config: &str, asked: &Asked) -> Result<(), Refusal> {
    if !Path::new(config).exists() {
        return Err(Refusal::Said(format!("Unable to find config file at {config}")));
    }
    let text = fs::read(config).map_err(|error| at(Path::new(config), error))?;
    let text = String::from_utf8_lossy(&text);
    let Some(data_dir) = setting(&text, "dataDir") else {
        return Err(Refusal::Said(format!("Unable to determine dataDir from {config}")));
    };
    let log_dir = setting(&text, "dataLogDir");
    if asked.force {
        say("Force enabled, data/txnlog directories will be re-initialized\n");
    }
    let dirs = [("data", Some(&data_dir)), ("txnlog", log_dir.as_ref())];
    for (what, dir) in dirs {
        let Some(dir) = dir.filter(|dir| Path::new(dir).join("version-2").is_dir()) else { continue };
        if !asked.force {
            return Err(Refusal::Said(format!(
                "ZooKeeper {what} directory already exists at {dir} (or use --force to force re-initialization)"
            )));
        }
        refuse_in_use(dir)?;
    }
    for (_, dir) in dirs {
        let Some(dir) = dir else { continue };
        remove(Path::new(dir))?;
        let data = Path::new(dir).join("version-2");
        fs::create_dir_all(&data).map_err(|error| at(&data, error))?;
    }
    match asked.my_id.as_deref().filter(|id| !id.is_empty()) {
        Some(my_id) => {
            say(&format!("Using myid of {my_id}\n"));
            let file = Path::new(&data_dir).join("myid");
            fs::write(&file, format!("{my_id}\n")).map_err(|error| at(&file, error))?;
        }
        None => say(&format!("No myid provided, be sure to specify it in {data_dir}/myid if using non-standalone\n")),
    }
    let marker = Path::new(&data_dir).join("initialize");
    File::create(&marker).map(drop).map_err(|error| at(&marker, error))
}

/// Of a zkd that is running; an Apache server says nothing.
fn refuse_in_use(dir: &str) -> Result<(), Refusal> {
    let dir = PathBuf::from(dir);
    match RealDisk::lock(&Directories { data_dir: dir.clone(), data_log_dir: dir, autocreate: false }) {
        Err(error @ OpenError::Locked(_)) => Err(Refusal::InUse(error)),
        _ => Ok(()),
    }
}

/// What cannot go because something is mounted there stays, and is empty.
fn remove(dir: &Path) -> Result<(), Refusal> {
    let (my_id, data) = (dir.join("myid"), dir.join("version-2"));
    gone(&my_id, fs::remove_file(&my_id))?;
    match fs::symlink_metadata(&data) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return gone(&data, fs::remove_file(&data)),
        Err(error) => return gone(&data, Err(error)),
    }
    for entry in fs::read_dir(&data).map_err(|error| at(&data, error))? {
        let entry = entry.map_err(|error| at(&data, error))?;
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let remove = if is_dir { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        remove.map_err(|error| at(&entry.path(), error))?;
    }
    gone(&data, fs::remove_dir(&data))
}

/// Whether it is, or can stay.
fn gone(path: &Path, removed: io::Result<()>) -> Result<(), Refusal> {
    use io::ErrorKind::{DirectoryNotEmpty, NotFound, ResourceBusy};
    match removed {
        Err(error) if !matches!(error.kind(), NotFound | ResourceBusy | DirectoryNotEmpty) => Err(at(path, error)),
        _ => Ok(()),
    }
}

fn at(path: &Path, error: io::Error) -> Refusal {
    Refusal::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_options_have_a_value() {
        assert_eq!(split("--myid=7"), ("--myid", Some("7")));
        assert_eq!(split("--configfile=/a=b"), ("--configfile", Some("/a=b")));
        for whole in ["--force", "--force=false", "--help=1", "--myid=", "--myid", "-h=x"] {
            assert_eq!(split(whole), (whole, None));
        }
    }
}
