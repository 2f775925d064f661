//! Which commands there are. Those that four-letter words have too are answered from the same place.

use std::sync::atomic::Ordering::Relaxed;

use super::super::json::{Fields, field};
use super::super::view::View;
use super::super::{connections, environment, members, monitor, sessions, status, watches};
use crate::peer::Mode;

/// One command.
pub(super) struct Command {
    /// Its names, the primary one first.
    pub(super) names: &'static [&'static str],
    /// Whether it is answered also by a server that does not serve.
    pub(super) always: bool,
    pub(super) act: Act,
}

/// What a command does.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Report(fn(&View) -> Fields),
    SetTraceMask,
    Snapshot,
    Restore,
}

impl Command {
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|command| command.names.contains(&name))
    }

    pub(super) fn primary(&self) -> &'static str {
        self.names[0]
    }
}

const fn report(names: &'static [&'static str], report: fn(&View) -> Fields) -> Command {
    Command { names, always: false, act: Act::Report(report) }
}

const fn always(names: &'static [&'static str], report: fn(&View) -> Fields) -> Command {
    Command { names, always: true, act: Act::Report(report) }
}

/// By primary name, as the index lists them.
pub(super) const COMMANDS: [Command; 28] = [
    report(&["configuration", "conf", "config"], status::configuration),
    report(&["connection_stat_reset", "crst"], |view| {
        connections::crst(view);
        Fields::new()
    }),
    report(&["connections", "cons"], |view| connections::fields(view, true)),
    report(&["dirs"], status::directories),
    report(&["dump"], sessions::fields),
    always(&["environment", "env", "envi"], environment::fields),
    always(&["get_trace_mask", "gtmk"], |view| vec![field("tracemask", view.trace_mask.load(Relaxed))]),
    report(&["hash"], status::digests),
    report(&["initial_configuration", "icfg"], |view| {
        vec![field("initial_configuration", view.facts.configuration.as_str())]
    }),
    report(&["is_read_only", "isro"], |view| vec![field("read_only", view.mode() == Mode::ReadOnly)]),
    report(&["last_snapshot", "lsnp"], status::last_snapshot),
    report(&["leader", "lead"], members::leader),
    report(&["monitor", "mntr"], monitor::monitor),
    report(&["observer_connection_stat_reset", "orst"], |_| Fields::new()),
    report(&["observers", "obsr"], members::observers),
    Command { names: &["restore", "rest"], always: false, act: Act::Restore },
    report(&["ruok"], |_| Fields::new()),
    report(&["server_stats", "srvr"], status::server_stats),
    Command { names: &["set_trace_mask", "stmk"], always: true, act: Act::SetTraceMask },
    Command { names: &["snapshot", "snap"], always: false, act: Act::Snapshot },
    report(&["stat_reset", "srst"], |view| {
        view.statistics.reset();
        Fields::new()
    }),
    report(&["stats", "stat"], status::stats),
    always(&["system_properties", "sysp"], environment::system_properties),
    report(&["voting_view"], members::voting_view),
    report(&["watch_summary", "wchs"], watches::summary),
    report(&["watches", "wchc"], watches::by_session),
    report(&["watches_by_path", "wchp"], watches::by_path),
    always(&["zabstate"], members::zabstate),
];
