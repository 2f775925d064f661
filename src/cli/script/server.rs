//! `zkServer.sh`: start, stop and ask a server of this machine (TO-01, TO-02, TO-04, TO-05).

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, test_kill_process};

use super::{ScriptEnv, complain, say, status};
use crate::admin::VERSION;

/// A server that lives for so long has started.
const START_WAIT: Duration = Duration::from_secs(1);
/// For all that a server does when it is told to stop.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// `called` is the first word of the command line, `shown` what the usage begins with.
pub(crate) fn run(called: &str, shown: &str, mut args: Vec<String>) -> ExitCode {
    let mut env = ScriptEnv::new(called, &mut args);
    if let Some(name) = args.get(1).filter(|name| !name.is_empty()) {
        env.config = env.config_named(name);
    }
    Script { env, shown: shown.to_owned() }.act(args.first().map_or("", String::as_str))
}

struct Script {
    env: ScriptEnv,
    shown: String,
}

impl Script {
    fn act(&self, action: &str) -> ExitCode {
        let jmx_is_off = self.env.variable("JMXDISABLE").is_some_and(|value| value != "false");
        complain(if jmx_is_off { "JMX disabled by user request" } else { "ZooKeeper JMX enabled by default" });
        if !jmx_is_off && self.env.variable("JMXPORT").is_some() {
            complain("zkd: there is no JMX, so JMXPORT has no effect");
        }
        complain(format!("Using config: {}", self.env.config));
        let text = self.env.config_text();
        if let Some(missing) = self.missing_directory(&text) {
            say(&missing);
            return ExitCode::FAILURE;
        }
        match action {
            "start" => self.start(&text),
            "start-foreground" => self.start_foreground(&text),
            "stop" => self.stop(&text),
            "restart" => {
                self.act("stop");
                self.act("start")
            }
            "status" => status::run(&self.env, &text),
            "version" => {
                let (version, built) = VERSION.split_once(", built on ").unwrap_or((VERSION, ""));
                say(&format!("Apache ZooKeeper, version {version} {built}\n"));
                ExitCode::SUCCESS
            }
            "print-cmd" => self.print_command(&text),
            _ => {
                let actions = "start|start-foreground|stop|version|restart|status|print-cmd";
                complain(format!("Usage: {} [--config <conf-dir>] {{{actions}}}", self.shown));
                ExitCode::SUCCESS
            }
        }
    }

    /// What to say if a directory is missing that must not be made.
    fn missing_directory(&self, text: &str) -> Option<String> {
        self.env.variable("ZOO_DATADIR_AUTOCREATE_DISABLE")?;
        let is_missing = |dir: &str| !Path::new(dir).join("version-2").is_dir();
        let data = Some(self.env.directory(text, "dataDir").unwrap_or_default()).filter(|dir| is_missing(dir));
        let logs = || self.env.directory(text, "dataLogDir").filter(|dir| is_missing(dir)).map(|dir| ("txnlog", dir));
        let (what, dir) = data.map(|dir| ("data", dir)).or_else(logs)?;
        Some(format!("ZooKeeper {what} directory is missing at {dir} fix the path or run initialize\n"))
    }

    fn pid_file(&self, text: &str) -> PathBuf {
        let in_data_dir =
            || format!("{}/zookeeper_server.pid", self.env.directory(text, "dataDir").unwrap_or_default());
        self.env.variable("ZOOPIDFILE").unwrap_or_else(in_data_dir).into()
    }

    /// What the server is called with, behind its own name.
    fn words(&self, text: &str) -> Vec<String> {
        let config = ["--config".to_owned(), self.env.config.clone()].into_iter();
        config
            .chain(
                self.env
                    .settings(text)
                    .into_iter()
                    .flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]),
            )
            .collect()
    }

    fn command(&self, text: &str) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg0("zkd").args(self.words(text)).envs(&self.env.assigned);
        Ok(command)
    }

    /// Where what a daemon says goes.
    fn out_file(&self) -> String {
        let user = self.env.variable("USER").unwrap_or_default();
        let system = rustix::system::uname();
        let host = self.env.variable("HOSTNAME").unwrap_or_else(|| system.nodename().to_string_lossy().into_owned());
        format!("{}/zookeeper-{user}-server-{host}.out", self.env.log_dir())
    }

    fn start(&self, text: &str) -> ExitCode {
        say("Starting zookeeper ... ");
        let pid_file = self.pid_file(text);
        if let Some(pid) = read_pid(&pid_file).filter(|pid| test_kill_process(*pid).is_ok()) {
            say(&format!("already running as process {pid}.\n"));
            return ExitCode::FAILURE;
        }
        let failed = |what: &str, error: Option<io::Error>| {
            if let Some(error) = error {
                complain(format!("zkd: {error}"));
            }
            say(&format!("{what}\n"));
            ExitCode::FAILURE
        };
        if !Path::new(&self.env.config).is_file() {
            return failed("FAILED TO START", None);
        }
        let mut child = match self.spawn(text) {
            Ok(child) => child,
            Err(error) => return failed("FAILED TO START", Some(error)),
        };
        if let Err(error) = make_parent(&pid_file).and_then(|()| fs::write(&pid_file, child.id().to_string())) {
            // Nobody could stop it.
            let _ended = child.kill();
            return failed("FAILED TO WRITE PID", Some(error));
        }
        let is_gone = pid_of(&child.id().to_string()).is_none_or(|pid| is_gone_within(pid, START_WAIT));
        // Whoever would take leave of it otherwise may not do so.
        if child.try_wait().is_ok_and(|ended| ended.is_some()) || is_gone {
            return failed("FAILED TO START", None);
        }
        say("STARTED\n");
        ExitCode::SUCCESS
    }

    /// In a session of its own, so that it outlives its caller's terminal.
    fn spawn(&self, text: &str) -> io::Result<std::process::Child> {
        let out_file = self.out_file();
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{out_file}: {error}"));
        make_parent(Path::new(&out_file)).map_err(named)?;
        let out = File::create(&out_file).map_err(named)?;
        let mut command = self.command(text)?;
        command.arg("--own-session").stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()
    }

    fn start_foreground(&self, text: &str) -> ExitCode {
        let error = match self.command(text) {
            Ok(mut command) => command.exec(),
            Err(error) => error,
        };
        complain(format!("zkd: {error}"));
        ExitCode::FAILURE
    }

    fn print_command(&self, text: &str) -> ExitCode {
        let program = std::env::current_exe().unwrap_or_else(|_| "zkd".into()).display().to_string();
        let words: Vec<_> = self.words(text).iter().map(|word| format!(" \"{word}\"")).collect();
        say(&format!("\"{program}\"{} > \"{}\" 2>&1 < /dev/null\n", words.concat(), self.out_file()));
        ExitCode::SUCCESS
    }

    fn stop(&self, text: &str) -> ExitCode {
        say("Stopping zookeeper ... ");
        let pid_file = self.pid_file(text);
        if !pid_file.is_file() {
            say(&format!("no zookeeper to stop (could not find file {})\n", pid_file.display()));
            return ExitCode::SUCCESS;
        }
        match read_pid(&pid_file) {
            None => complain(format!("{}: kill: there is no process id in {}", self.env.called, pid_file.display())),
            Some(pid) => match kill_process(pid, Signal::TERM) {
                Err(error) => {
                    let error = io::Error::from(error).to_string();
                    let reason = error.split(" (os error").next().unwrap_or_default();
                    complain(format!("{}: kill: ({pid}) - {reason}", self.env.called));
                }
                Ok(()) if !is_gone_within(pid, STOP_WAIT) => complain(format!("zkd: process {pid} has not ended yet")),
                Ok(()) => {}
            },
        }
        if let Err(error) = fs::remove_file(&pid_file) {
            complain(format!("zkd: {}: {error}", pid_file.display()));
        }
        say("STOPPED\n");
        ExitCode::SUCCESS
    }
}

fn read_pid(file: &Path) -> Option<Pid> {
    pid_of(&fs::read_to_string(file).ok()?)
}

fn pid_of(text: &str) -> Option<Pid> {
    text.trim().parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}

fn make_parent(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => fs::create_dir_all(dir),
        _ => Ok(()),
    }
}

/// Whether the process ends before the time is over.
fn is_gone_within(pid: Pid, time: Duration) -> bool {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => {
            let time = Timespec { tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
            poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready > 0)
        }
        // It is gone, or the kernel is too old to tell.
        Err(_) => {
            std::thread::sleep(if test_kill_process(pid).is_err() { Duration::ZERO } else { time });
            test_kill_process(pid).is_err()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(assigned: &[(&str, &str)]) -> Script {
        let mut env = ScriptEnv::new("/nowhere/bin/zkServer.sh", &mut vec!["--config".to_owned(), "/c/".to_owned()]);
        env.assigned = assigned.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Script { env, shown: String::new() }
    }

    #[test]
    fn system_properties_are_settings_where_the_file_says_nothing() {
        let flags = "-Dzookeeper.snapCount=7 -Dzookeeper.skipACL=yes -Djute.maxbuffer=9";
        let script = script(&[("SERVER_JVMFLAGS", flags), ("JVMFLAGS", "-Dzookeeper.skipACL=no")]);
        let words = script.words("snapCount=5\nzookeeper.jute.maxbuffer=8");
        assert_eq!(words[2..], ["--set", "zookeeper.skipACL=yes", "--set", "zookeeper.skipACL=no"]);
    }

    #[test]
    fn directories_are_those_of_the_container_where_the_file_has_none() {
        let script =
            script(&[("ZOO_DATA_DIR", "/data"), ("ZOO_DATA_LOG_DIR", "/datalog"), ("SERVER_JVMFLAGS", "-Xmx1g")]);
        assert_eq!(script.words("clientPort=1")[2..], ["--set", "dataDir=/data", "--set", "dataLogDir=/datalog"]);
        assert_eq!(script.pid_file("clientPort=1"), Path::new("/data/zookeeper_server.pid"));
        assert_eq!(script.words("dataLogDir=/l")[2..], ["--set", "dataDir=/data"]);
        assert_eq!(script.words("dataDir=/d").len(), 2, "the log is where the data are");
        assert_eq!(script.pid_file("dataDir=/d"), Path::new("/d/zookeeper_server.pid"));
    }

    #[test]
    fn a_name_is_one_in_the_directory_and_a_path_is_a_path() {
        let env = script(&[]).env;
        for (name, config) in
            [("z.cfg", "/c/z.cfg"), ("./z.cfg", "./z.cfg"), ("/z.cfg", "/z.cfg"), ("a/z.cfg", "a/z.cfg")]
        {
            assert_eq!(env.config_named(name), config);
        }
    }

    #[test]
    fn a_pid_is_a_number_above_zero() {
        assert_eq!(pid_of("12\n").map(|pid| pid.as_raw_pid()), Some(12));
        for text in ["", "0", "-1", "x", "99999999999"] {
            assert_eq!(pid_of(text), None, "{text}");
        }
    }
}
