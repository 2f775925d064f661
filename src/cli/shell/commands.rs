//! The commands by name: how each is used, which options and how many words it takes (TO-13 to TO-25).

use super::Shell;
use super::failure::Failure;
use super::options::{Group, Opt, Words, flag, parse, value};
use super::print::{err, out};
use super::{quota, read, session, write};

/// One command that needs a session.
struct Command {
    name: &'static str,
    usage: &'static str,
    options: &'static [Opt],
    group: Group,
    /// How many words it takes, its name among them, and whether those are understood.
    fits: fn(&Words) -> bool,
    run: fn(&mut Shell, &Words) -> Result<(), Failure>,
}

/// What the shell does without a session, and how it is used.
const OWN: [(&str, &str); 5] =
    [("connect", "host:port"), ("history", ""), ("printwatches", "on|off"), ("quit", ""), ("redo", "cmdno")];

/// Limits of which a quota has one at a time.
const LIMITS: [Opt; 4] = [limit("n"), limit("b"), limit("N"), limit("B")];
const NO_LIMITS: [Opt; 4] = [flag("n"), flag("b"), flag("N"), flag("B")];

const fn limit(name: &'static str) -> Opt {
    let about = match name.as_bytes() {
        b"n" => "num soft quota",
        b"b" => "bytes soft quota",
        b"N" => "num hard quota",
        _ => "bytes hard quota",
    };
    Opt { about, ..value(name) }
}

const fn command(
    name: &'static str,
    usage: &'static str,
    options: &'static [Opt],
    fits: fn(&Words) -> bool,
    run: fn(&mut Shell, &Words) -> Result<(), Failure>,
) -> Command {
    Command { name, usage, options, group: Group::No, fits, run }
}

fn any(_: &Words) -> bool {
    true
}

fn one(words: &Words) -> bool {
    words.words.len() >= 2
}

fn two(words: &Words) -> bool {
    words.words.len() >= 3
}

const RECONFIG_USAGE: &str = "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
                              [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]";
const ADD_WATCH_USAGE: &str =
    "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE";

static COMMANDS: [Command; 23] = [
    command("addWatch", ADD_WATCH_USAGE, &[value("m")], fits_add_watch, session::add_watch),
    command("addauth", "scheme auth", &[], one, session::add_auth),
    command("close", "", &[], any, session::close),
    command("config", "[-c] [-w] [-s]", &[flag("s"), flag("w"), flag("c")], any, read::config),
    command(
        "create",
        "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        &[flag("e"), flag("s"), flag("c"), value("t")],
        one,
        write::create,
    ),
    command("delete", "[-v version] path", &[value("v")], one, write::delete),
    command("deleteall", "path [-b batch size]", &[value("b")], one, write::delete_all),
    Command { group: Group::AtMostOne, ..command("delquota", "[-n|-b|-N|-B] path", &NO_LIMITS, one, quota::delete) },
    command("get", "[-s] [-w] [-b] [-x] path", &[flag("s"), flag("w"), flag("b"), flag("x")], one, read::get),
    command("getAcl", "[-s] path", &[flag("s")], one, read::get_acl),
    command("getAllChildrenNumber", "path", &[], one, read::count),
    command("getEphemerals", "path", &[], any, read::ephemerals),
    command("listquota", "path", &[], one, quota::list),
    command("ls", "[-s] [-w] [-R] path", &[flag("?"), flag("s"), flag("w"), flag("R")], one, read::ls),
    command(
        "reconfig",
        RECONFIG_USAGE,
        &[flag("s"), value("v"), value("file"), value("members"), value("add"), value("remove")],
        write::reconfig_is_complete,
        write::reconfig,
    ),
    command(
        "removewatches",
        "path [-c|-d|-a] [-l]",
        &[flag("c"), flag("d"), flag("p"), flag("r"), flag("a"), flag("l")],
        one,
        session::remove_watches,
    ),
    command("set", "path data [-s] [-v version] [-b]", &[flag("s"), value("v"), flag("b")], two, write::set),
    command("setAcl", "[-s] [-v version] [-R] path acl", &[flag("s"), value("v"), flag("R")], two, write::set_acl),
    Command { group: Group::One, ..command("setquota", "-n|-b|-N|-B val path", &LIMITS, one, quota::set) },
    command("stat", "[-w] path", &[flag("w")], one, read::stat),
    command("sync", "path", &[], one, session::sync),
    command("version", "", &[], |words| words.words.len() == 1, session::version),
    command("whoami", "", &[], any, session::who_am_i),
];

/// Those that once took a word behind the path to leave a watch, and what they are told to take instead.
const ONCE_WATCHED: [(&str, &str); 3] =
    [("get", "get [-s] [-w] path"), ("ls", "ls [-w] path"), ("stat", "stat [-w] path")];

/// Those that look at none of their words.
const HEEDLESS: [&str; 2] = ["close", "whoami"];

fn fits_add_watch(words: &Words) -> bool {
    words.words.len() == 2 && session::watch_mode(words).is_some()
}

/// Whether there is such a command.
pub(super) fn is_known(name: &str) -> bool {
    OWN.iter().any(|(own, _)| *own == name) || COMMANDS.iter().any(|command| command.name == name)
}

/// The list of all commands.
pub(super) fn usage() -> String {
    let all = COMMANDS.iter().map(|command| (command.name, command.usage)).chain(OWN);
    let mut lines: Vec<_> = all.map(|(name, usage)| format!("\t{name} {usage}")).collect();
    lines.sort_unstable();
    format!("ZooKeeper -server host:port -client-configuration properties-file cmd args\n{}", lines.join("\n"))
}

/// Runs a command that needs a session; one of the shell's own has nothing more to do.
pub(super) fn run(shell: &mut Shell, words: &[String]) -> Result<(), Failure> {
    let name = words.first().map_or("", String::as_str);
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else { return Ok(()) };
    let mut parsed = if HEEDLESS.contains(&name) {
        Words::without_options(words)
    } else {
        parse(command.options, command.group, words)?
    };
    if parsed.has("?") {
        out("usage: ls [options] path\n -?   help\n -R   recurse\n -s   stat\n -w   watch");
    }
    if parsed.words.len() > 2
        && let Some((name, instead)) = ONCE_WATCHED.iter().find(|(once, _)| *once == name)
    {
        let mut words = words.to_vec();
        words[2] = "-w".to_owned();
        err(format!("'{name} path [watch]' has been deprecated. Please use '{instead}' instead."));
        parsed = parse(command.options, command.group, &words)?;
    }
    if !(command.fits)(&parsed) {
        return Err(Failure::Text(command.help()));
    }
    (command.run)(shell, &parsed)
}

impl Command {
    /// How it is used; two of them tell of their options as well.
    fn help(&self) -> String {
        let options = match self.name {
            "get" => {
                " -b   Output data in base64 format\n \
                 -s   Print znode stats additionally\n \
                 -w   Watch for changes on the znode\n \
                 -x   Output data in hexdump format\n"
            }
            "set" => {
                " -b         Supply data in base64 format\n \
                 -s         Print znode stats additionally\n \
                 -v <arg>   Set with an expected version\n"
            }
            _ => return format!("{} {}", self.name, self.usage),
        };
        format!("{} {}\n{options}", self.name, self.usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_commands_is_in_order() {
        let usage = usage();
        let names: Vec<_> = usage.lines().skip(1).filter_map(|line| line.trim().split(' ').next()).collect();
        assert_eq!(names.len(), COMMANDS.len() + OWN.len());
        assert!(names.is_sorted(), "{names:?}");
        assert!(usage.contains("\n\tclose \n\tconfig [-c] [-w] [-s]\n\tconnect host:port\n"), "{usage}");
        assert!(names.iter().all(|name| is_known(name)) && !is_known("help"));
    }
}
