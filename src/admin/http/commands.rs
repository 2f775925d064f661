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
        monitor::reset(view);
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::super::json::Json;
    use super::super::super::tests::{member_view, view_of};
    use super::*;
    use crate::peer::{ExpirySets, Standing};

    /// Whether a value looks like one that a real server gave; `<…>` stands where it varies.
    fn fits(recorded: &Value, value: &Json) -> bool {
        match (recorded, value) {
            (Value::Null, Json::Null) | (Value::Array(_), Json::List(_)) => true,
            (Value::Bool(recorded), Json::Bool(value)) => recorded == value,
            (Value::String(form), Json::Int(_)) => form == "<int>",
            (Value::String(form), Json::Real(_)) => form == "<float>",
            (Value::String(form), Json::Text(_)) => !["<int>", "<float>"].contains(&&**form),
            (Value::Object(recorded), Json::Object(fields)) => {
                // Names that are ids are different ones here.
                recorded.keys().all(|name| name.starts_with(['<', '/']) || name.parse::<u64>().is_ok())
                    || recorded.len() == fields.len()
                        && fields.iter().all(|(name, value)| recorded.get(name).is_some_and(|form| fits(form, value)))
            }
            _ => false,
        }
    }

    #[test]
    fn every_command_has_the_members_of_a_real_servers_answer() {
        let sets = || Some(ExpirySets::default());
        let member = |mode| member_view(mode, sets());
        let recordings = [
            (
                view_of("*", Standing::default(), None, sets()),
                include_str!("../../../tests/golden/ops/admin-standalone.json"),
            ),
            (member(Mode::Leader), include_str!("../../../tests/golden/ops/admin-leader.json")),
            (member(Mode::Follower), include_str!("../../../tests/golden/ops/admin-follower.json")),
            (member(Mode::Observer), include_str!("../../../tests/golden/ops/admin-observer.json")),
            (member(Mode::ReadOnly), include_str!("../../../tests/golden/ops/admin-readonly.json")),
        ];
        for (view, recorded) in recordings {
            let recorded: Value = serde_json::from_str(recorded).expect("JSON");
            for command in &COMMANDS {
                let Act::Report(report) = command.act else { continue };
                let (name, mode) = (command.primary(), view.mode());
                let mut body = recorded[name]["body"].as_object().expect(name).clone();
                body.remove("command");
                if body.get("error") == Some(&Value::Null) {
                    body.remove("error");
                }
                // Properties are a server's own; what is counted by namespace and by learner appears with its first sample.
                let is_set = |name: &String| name.contains("_per_namespace") || name.contains("_learner_handler_qp_");
                body.retain(|name, _| name != "<property>" && !is_set(name));
                let fields = report(&view);
                for (field, form) in &body {
                    let value = fields.iter().find(|(name, _)| name == field);
                    let (_, value) = value.unwrap_or_else(|| panic!("{name} of a {mode:?} lacks {field}"));
                    assert!(fits(form, value), "{field} in {name} of a {mode:?} is {value:?} and not like {form}");
                }
                assert!(name == "system_properties" || fields.len() == body.len(), "{name} of a {mode:?}: {fields:?}");
            }
        }
    }

    #[test]
    fn names_are_sorted_and_mean_one_command() {
        let mut names: Vec<_> = COMMANDS.iter().map(Command::primary).collect();
        assert!(names.is_sorted());
        names = COMMANDS.iter().flat_map(|command| command.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
