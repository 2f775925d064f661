//! `wchs`, `wchc`, `wchp`: who watches what. The data table only, as in the reference.

use std::fmt::Write;

use super::json::{Fields, Json, field};
use super::view::View;
use crate::ids::SessionId;
use crate::pipeline::Database;
use crate::watch::WatcherId;

pub(super) fn wchs(view: &View) -> String {
    let summary = view.database.read().with_watches(crate::watch::Watches::summary);
    let (watchers, paths, total) = (summary.watchers, summary.paths, summary.total);
    format!("{watchers} connections watching {paths} paths\nTotal watches:{total}\n")
}

pub(super) fn wchc(view: &View) -> String {
    let database = view.database.read();
    let by_watcher = database.with_watches(|watches| owned(watches.by_watcher()));
    let mut out = String::new();
    for (watcher, paths) in by_watcher {
        let _ = writeln!(out, "{}", session(&database, watcher));
        paths.iter().for_each(|path| {
            let _ = writeln!(out, "\t{path}");
        });
    }
    out.push('\n');
    out
}

pub(super) fn wchp(view: &View) -> String {
    let database = view.database.read();
    let mut out = String::new();
    for (path, watchers) in paths(&database) {
        let _ = writeln!(out, "{path}");
        watchers.iter().for_each(|watcher| {
            let _ = writeln!(out, "\t{}", session(&database, *watcher));
        });
    }
    out.push('\n');
    out
}

/// `watch_summary`.
pub(super) fn summary(view: &View) -> Fields {
    let summary = view.database.read().with_watches(crate::watch::Watches::summary);
    vec![
        field("num_connections", summary.watchers),
        field("num_paths", summary.paths),
        field("num_total_watches", summary.total),
    ]
}

/// `watches`.
pub(super) fn by_session(view: &View) -> Fields {
    let database = view.database.read();
    let by_watcher = database.with_watches(|watches| owned(watches.by_watcher()));
    let of = |(watcher, paths): (WatcherId, Vec<String>)| {
        (session(&database, watcher).0.to_string(), paths.into_iter().map(Json::from).collect())
    };
    vec![field("session_id_to_watched_paths", by_watcher.into_iter().map(of).collect::<Fields>())]
}

/// `watches_by_path`.
pub(super) fn by_path(view: &View) -> Fields {
    let database = view.database.read();
    let on = |(path, watchers): (String, Vec<WatcherId>)| {
        (path, watchers.into_iter().map(|watcher| Json::Int(session(&database, watcher).0)).collect())
    };
    vec![field("path_to_session_ids", paths(&database).into_iter().map(on).collect::<Fields>())]
}

fn paths(database: &Database) -> Vec<(String, Vec<WatcherId>)> {
    database.with_watches(|watches| {
        watches.by_path().into_iter().map(|(path, watchers)| (path.to_owned(), watchers)).collect()
    })
}

fn owned(by_watcher: std::collections::BTreeMap<WatcherId, Vec<&str>>) -> Vec<(WatcherId, Vec<String>)> {
    by_watcher.into_iter().map(|(id, paths)| (id, paths.into_iter().map(str::to_owned).collect())).collect()
}

fn session(database: &Database, watcher: WatcherId) -> SessionId {
    database.watcher(watcher).map_or(SessionId::NONE, |lane| lane.lock().session())
}
