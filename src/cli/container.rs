//! `zkd container`: what the entry point of Apache's container image does (TO-26, TO-27, TO-28).
//!
//! It writes zoo.cfg and `myid` out of the variables `ZOO_*` where there are none, and becomes the command it is given.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Args;

use super::names;
use super::script::setting;

#[derive(Debug, Args)]
pub(super) struct ContainerArgs {
    /// What to run then: zkServer.sh, zkCli.sh, zkd, or any other program.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

pub(super) fn run(command: &[OsString]) -> ExitCode {
    let Err(error) = go_on(command);
    super::complain(&error);
    ExitCode::FAILURE
}

/// Becomes the command.
fn go_on(command: &[OsString]) -> anyhow::Result<std::convert::Infallible> {
    let default = ["zkServer.sh".into(), "start-foreground".into()];
    let words = if command.is_empty() { &default } else { command };
    if names::is_server(name(&words[0]))
        && rustix::process::geteuid().is_root()
        && let Some(user) = user_named("zookeeper")
    {
        return as_user(user, words);
    }
    let conf_dir = variable("ZOO_CONF_DIR");
    let config = Path::new(&conf_dir).join("zoo.cfg");
    let data_dir = variable("ZOO_DATA_DIR");
    if config.is_file() {
        let text = super::serve::read(&config)?;
        if let Some(dir) = setting(&text, "dataDir").filter(|dir| Path::new(dir) != Path::new(&data_dir)) {
            super::complain(&anyhow::anyhow!("{} keeps data in {dir}, not in {data_dir}", config.display()));
        }
    } else {
        fs::write(&config, zoo_cfg(&variable)).with_context(|| format!("write {}", config.display()))?;
    }
    let my_id = Path::new(&data_dir).join("myid");
    if !my_id.is_file() {
        let id = Some(variable("ZOO_MY_ID")).filter(|id| !id.is_empty()).unwrap_or_else(|| "1".to_owned());
        fs::write(&my_id, format!("{id}\n")).with_context(|| format!("write {}", my_id.display()))?;
    }
    let mut command = command_of(words)?;
    // Of a zoo.cfg without dataDir the scripts take these.
    command.env("ZOO_DATA_DIR", data_dir).env("ZOO_DATA_LOG_DIR", variable("ZOO_DATA_LOG_DIR"));
    if env::var_os("ZOOCFGDIR").is_none() {
        command.env("ZOOCFGDIR", conf_dir);
    }
    Err(command.exec()).with_context(|| format!("run {}", words[0].display()))
}

/// Of a script of Apache's, or of zkd, this binary is the one; others are looked for in `PATH`.
fn command_of(words: &[OsString]) -> io::Result<Command> {
    let is_own = names::is_own(name(&words[0]));
    let mut command = Command::new(if is_own { env::current_exe()?.into() } else { words[0].clone() });
    command.arg0(&words[0]).args(&words[1..]);
    Ok(command)
}

fn name(program: &OsString) -> &OsStr {
    Path::new(program).file_name().unwrap_or_default()
}

/// The image's default where nothing is set.
fn variable(name: &str) -> String {
    let default = match name {
        "ZOO_CONF_DIR" => "/conf",
        "ZOO_DATA_DIR" => "/data",
        "ZOO_DATA_LOG_DIR" => "/datalog",
        "ZOO_LOG_DIR" => "/logs",
        "ZOO_TICK_TIME" => "2000",
        "ZOO_INIT_LIMIT" => "5",
        "ZOO_SYNC_LIMIT" => "2",
        "ZOO_AUTOPURGE_PURGEINTERVAL" => "0",
        "ZOO_AUTOPURGE_SNAPRETAINCOUNT" => "3",
        "ZOO_MAX_CLIENT_CNXNS" => "60",
        "ZOO_STANDALONE_ENABLED" | "ZOO_ADMINSERVER_ENABLED" => "true",
        _ => "",
    };
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// The lines in their order. There is no client port: it stands in the server's own line.
fn zoo_cfg(variable: &dyn Fn(&str) -> String) -> String {
    const LINES: [(&str, &str); 10] = [
        ("dataDir", "ZOO_DATA_DIR"),
        ("dataLogDir", "ZOO_DATA_LOG_DIR"),
        ("tickTime", "ZOO_TICK_TIME"),
        ("initLimit", "ZOO_INIT_LIMIT"),
        ("syncLimit", "ZOO_SYNC_LIMIT"),
        ("autopurge.snapRetainCount", "ZOO_AUTOPURGE_SNAPRETAINCOUNT"),
        ("autopurge.purgeInterval", "ZOO_AUTOPURGE_PURGEINTERVAL"),
        ("maxClientCnxns", "ZOO_MAX_CLIENT_CNXNS"),
        ("standaloneEnabled", "ZOO_STANDALONE_ENABLED"),
        ("admin.enableServer", "ZOO_ADMINSERVER_ENABLED"),
    ];
    let mut lines: Vec<_> = LINES.iter().map(|(key, name)| format!("{key}={}", variable(name))).collect();
    let servers = Some(variable("ZOO_SERVERS")).filter(|servers| !servers.is_empty());
    let servers = servers.unwrap_or_else(|| "server.1=localhost:2888:3888;2181".to_owned());
    lines.extend(servers.split_whitespace().map(str::to_owned));
    let words = variable("ZOO_4LW_COMMANDS_WHITELIST");
    if !words.is_empty() {
        lines.push(format!("4lw.commands.whitelist={words}"));
    }
    lines.extend(variable("ZOO_CFG_EXTRA").split_whitespace().map(str::to_owned));
    lines.join("\n") + "\n"
}

#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

fn user_named(name: &str) -> Option<User> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let fields: Vec<_> = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| line[0] == name)?;
    Some(User { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
}

/// Gives the directories to the user, and goes on as that one.
fn as_user(user: User, words: &[OsString]) -> anyhow::Result<std::convert::Infallible> {
    for name in ["ZOO_DATA_DIR", "ZOO_DATA_LOG_DIR", "ZOO_LOG_DIR"] {
        let dir = variable(name);
        give(Path::new(&dir), user).with_context(|| format!("give {dir} to the user zookeeper"))?;
    }
    let mut command = Command::new(env::current_exe()?);
    command.arg0("zkd").arg("container").args(words).uid(user.uid).gid(user.gid);
    Err(command.exec()).context("go on as the user zookeeper")
}

fn give(path: &Path, user: User) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.uid(), metadata.gid()) != (user.uid, user.gid) {
        lchown(path, Some(user.uid), Some(user.gid))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zoo_cfg_is_what_the_entry_point_writes() {
        let nothing_set = |name: &str| if env::var_os(name).is_some() { String::new() } else { variable(name) };
        let text = "dataDir=/data\ndataLogDir=/datalog\ntickTime=2000\ninitLimit=5\nsyncLimit=2\n\
                    autopurge.snapRetainCount=3\nautopurge.purgeInterval=0\nmaxClientCnxns=60\nstandaloneEnabled=true\n\
                    admin.enableServer=true\nserver.1=localhost:2888:3888;2181\n";
        assert_eq!(zoo_cfg(&nothing_set), text);
        let set = |name: &str| match name {
            "ZOO_SERVERS" => " server.1=a:2888:3888;2181  server.2=b:2888:3888;2181".to_owned(),
            "ZOO_4LW_COMMANDS_WHITELIST" => "srvr, mntr".to_owned(),
            "ZOO_CFG_EXTRA" => "a=b c.d=e".to_owned(),
            _ => variable(name),
        };
        let ends = "admin.enableServer=true\nserver.1=a:2888:3888;2181\nserver.2=b:2888:3888;2181\n\
                    4lw.commands.whitelist=srvr, mntr\na=b\nc.d=e\n";
        assert!(zoo_cfg(&set).ends_with(ends), "{}", zoo_cfg(&set));
    }
}
