//! `zkCleanup.sh`: removes old snapshots and logs, also beside a running server (TO-07).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::{ScriptEnv, complain, say};
use crate::disk::{Directories, LookingDisk};
use crate::node::old_files;
use crate::storage::retention::SNAPSHOTS_MIN;

pub(crate) fn run(called: &str, mut args: Vec<String>) -> ExitCode {
    let env = ScriptEnv::new(called, &mut args);
    let text = env.config_text();
    let dirs = [env.directory(&text, "dataLogDir"), env.directory(&text, "dataDir")];
    let words: Vec<_> = dirs.into_iter().flatten().chain(args).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let (logs, snapshots, count) = match *words.as_slice() {
        [dir, "-n", count] => (dir, dir, count),
        [logs, snapshots, "-n", count] => (logs, snapshots, count),
        _ => return usage(None),
    };
    for dir in [logs, snapshots] {
        if !Path::new(dir).exists() {
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
            return usage(Some(&format!("Path '{}' does not exist. ", dir.display())));
        }
    }
    let keep = match count.parse() {
        Ok(keep) if keep >= SNAPSHOTS_MIN => keep,
        Ok(_) => return usage(Some("count should be greater than or equal to 3")),
        Err(_) => return usage(Some(&format!("'{count}' can not be parsed to integer."))),
    };
    match purge(Path::new(logs), Path::new(snapshots), keep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format!("zkd: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn usage(error: Option<&str>) -> ExitCode {
    if let Some(error) = error {
        complain(error);
    }
    say("Usage: zkCleanup.sh [--config DIR] -n COUNT, with COUNT at least 3, where zoo.cfg names the directories\n");
    ExitCode::FAILURE
}

fn purge(logs: &Path, snapshots: &Path, keep: usize) -> anyhow::Result<()> {
    let directories = Directories { data_dir: snapshots.to_owned(), data_log_dir: logs.to_owned(), autocreate: false };
    let old = old_files(&LookingDisk::open(&directories)?, keep).context("find what is old")?;
    for (root, names) in [(logs, old.logs), (snapshots, old.snapshots)] {
        for name in names {
            let file = root.join("version-2").join(name);
            say(&format!("Removing file: {}\t{}\n", modified(&file), file.display()));
            if fs::remove_file(&file).is_err() {
                complain(format!("Failed to remove {}", file.display()));
            }
        }
    }
    Ok(())
}

/// As Java writes a date and a time.
fn modified(file: &PathBuf) -> String {
    let time = fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    let zoned = time.and_then(|time| jiff::Timestamp::try_from(time).ok());
    let zoned = zoned.map(|time| time.to_zoned(jiff::tz::TimeZone::system()));
    zoned.map_or_else(String::new, |time| time.strftime("%b %-d, %Y, %-I:%M:%S %p").to_string())
}
