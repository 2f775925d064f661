//! Commands about the session and its watches: addauth, whoami, sync, close, version, addWatch, removewatches (TO-20 to
//! TO-25).

use super::Shell;
use super::failure::Failure;
use super::options::Words;
use super::print::out;
use crate::admin::VERSION;
use crate::proto::{AddWatchMode, ErrorCode, WatcherType};

/// addauth.
pub(super) fn add_auth(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let auth = words.words.get(2).map(String::as_bytes);
    shell.client()?.connection().show(words.word(1), auth);
    Ok(())
}

/// whoami.
pub(super) fn who_am_i(shell: &mut Shell, _: &Words) -> Result<(), Failure> {
    let infos = shell.client()?.who_am_i()?;
    out("Auth scheme: User");
    infos.iter().for_each(|(scheme, user)| out(format!("{scheme}: {user}")));
    Ok(())
}

/// sync.
pub(super) fn sync(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    match shell.client()?.sync(words.word(1))? {
        ErrorCode::OK => out("Sync is OK"),
        ErrorCode(code) => out(format!("Sync has failed. rc={code}")),
    }
    Ok(())
}

/// close.
pub(super) fn close(shell: &mut Shell, _: &Words) -> Result<(), Failure> {
    shell.client()?.connection().close();
    Ok(())
}

/// version.
pub(super) fn version(_: &mut Shell, _: &Words) -> Result<(), Failure> {
    out(format!("ZooKeeper CLI version: {VERSION}"));
    Ok(())
}

/// Which mode addWatch is asked for; `None` for one that there is not.
pub(super) fn watch_mode(words: &Words) -> Option<AddWatchMode> {
    match words.value("m").map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => Some(AddWatchMode::PersistentRecursive),
        Some("PERSISTENT") => Some(AddWatchMode::Persistent),
        Some(_) => None,
    }
}

/// addWatch.
pub(super) fn add_watch(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let mode = watch_mode(words).unwrap_or(AddWatchMode::PersistentRecursive);
    shell.client()?.add_watch(words.word(1), mode)
}

/// removewatches.
pub(super) fn remove_watches(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let kinds = [
        ("c", WatcherType::Children),
        ("d", WatcherType::Data),
        ("p", WatcherType::Persistent),
        ("r", WatcherType::PersistentRecursive),
    ];
    let which = kinds.iter().find(|(option, _)| words.has(option)).map_or(WatcherType::Any, |(_, which)| *which);
    shell.client()?.remove_watches(words.word(1), which, words.has("l"))
}
