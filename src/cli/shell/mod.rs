//! `zkd cli`, and the same under the name zkCli.sh: the reference's command line client (TO-10 to TO-25).
//!
//! A command is the rest of the command line, or each line of standard input. What it prints, where, and what the shell
//! ends with are the reference's, since programs read them. A number that is none ends a command, and not the shell.

mod client;
mod commands;
mod connection;
mod failure;
mod line;
mod options;
pub(super) mod print;
mod quota;
mod read;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod watches;
mod write;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;

use client::Client;
use connection::Connection;
use failure::Failure;
use print::{err, out};
use settings::Settings;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct ShellArgs {
    /// As zkCli.sh takes them: -server HOST:PORT[,...][/CHROOT], -timeout MS, -r, -waitforconnection,
    /// -client-configuration FILE, then a command.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) words: Vec<OsString>,
}

/// The shell: a session, and what was typed.
struct Shell {
    settings: Settings,
    /// Where it is connected, as it was typed.
    host: String,
    client: Option<Client>,
    print_events: Arc<AtomicBool>,
    history: BTreeMap<usize, String>,
    count: usize,
    /// Of the last command.
    exit_code: u8,
}

/// Whether to go on behind a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Quit,
}

/// How many commands of before `history` tells.
const HISTORY: usize = 10;

/// Runs one command, or those that come in.
pub(super) fn run(words: &[OsString]) -> ExitCode {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (settings, command) = match settings::parse(&words) {
        Ok(parsed) => parsed,
        Err(failure) => return refuse(&failure),
    };
    if settings.help {
        err(commands::usage());
        return ExitCode::SUCCESS;
    }
    out(format!("Connecting to {}", settings.server));
    let mut shell = Shell {
        host: settings.server.clone(),
        settings,
        client: None,
        print_events: Arc::new(AtomicBool::new(true)),
        history: BTreeMap::new(),
        count: 0,
        exit_code: 0,
    };
    let server = shell.host.clone();
    if let Err(failure) = shell.connect(&server) {
        return refuse(&failure);
    }
    if command.is_empty() {
        shell.read_commands();
    } else {
        shell.process(&command);
    }
    if let Some(client) = &shell.client {
        client.connection().print_all();
    }
    ExitCode::from(shell.exit_code)
}

fn refuse(failure: &Failure) -> ExitCode {
    err(failure.to_string());
    ExitCode::from(failure.exit_code())
}

impl Shell {
    /// The session that commands use.
    fn client(&self) -> Result<&Client, Failure> {
        self.client.as_ref().ok_or_else(|| Failure::text("Not connected"))
    }

    /// Ends one session and begins another.
    fn connect(&mut self, host: &str) -> Result<(), Failure> {
        if let Some(client) = self.client.take() {
            client.connection().close();
        }
        host.clone_into(&mut self.host);
        let connection = Connection::start(self.settings.route(host)?, Arc::clone(&self.print_events))
            .map_err(|error| Failure::Text(format!("no thread for the session: {error}")))?;
        if self.settings.wait && !connection.wait_connected() {
            connection.close();
            return Err(Failure::text("KeeperErrorCode = ConnectionLoss"));
        }
        self.client = Some(Client::new(connection));
        Ok(())
    }

    fn read_commands(&mut self) {
        out("Welcome to ZooKeeper!");
        // Lines are not edited here. The reference says so where it cannot, and then has no prompt for a program.
        out("JLine support is disabled");
        let prompts = io::stdin().is_terminal();
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        loop {
            if prompts {
                print::part(&self.prompt());
            }
            line.clear();
            match input.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\r', '\n']);
            if !text.is_empty() && self.execute(text) == Next::Quit {
                return;
            }
        }
    }

    fn prompt(&self) -> String {
        let state = self.client.as_ref().map_or("CLOSED", |client| client.connection().phase().name());
        format!("[zk: {}({state}) {}] ", self.host, self.count)
    }

    /// One line that was typed.
    fn execute(&mut self, text: &str) -> Next {
        self.history.insert(self.count, text.to_owned());
        let next = self.process(&line::split(text));
        self.count += 1;
        next
    }

    fn process(&mut self, words: &[String]) -> Next {
        let Some(name) = words.first() else { return Next::GoOn };
        if name == "quit" {
            if let Some(client) = &self.client {
                client.connection().close();
            }
            return Next::Quit;
        }
        match self.command(name, words) {
            Ok(next) => {
                self.exit_code = 0;
                next
            }
            Err(failure) => {
                self.exit_code = failure.exit_code();
                err(failure.to_string());
                Next::GoOn
            }
        }
    }

    fn command(&mut self, name: &str, words: &[String]) -> Result<Next, Failure> {
        if !commands::is_known(name) {
            err(commands::usage());
            return Err(Failure::NoCommand(name.to_owned()));
        }
        let mut next = Next::GoOn;
        match (name, words.get(1)) {
            ("redo", Some(number)) => next = self.redo(number)?,
            ("history", _) => self.tell_history(),
            ("printwatches", Some(word)) => self.print_events.store(word == "on", Ordering::Relaxed),
            ("printwatches", None) => {
                let on = self.print_events.load(Ordering::Relaxed);
                out(format!("printwatches is {}", if on { "on" } else { "off" }));
            }
            ("connect", host) => {
                let host = host.unwrap_or(&self.host).clone();
                self.connect(&host)?;
            }
            _ => {}
        }
        if !self.client.as_ref().is_some_and(|client| client.connection().phase().is_alive()) {
            out("Not connected");
            return Ok(next);
        }
        commands::run(self, words)?;
        Ok(next)
    }

    fn redo(&mut self, number: &str) -> Result<Next, Failure> {
        let index: i64 = number.parse().map_err(|_| Failure::Text(format!("For input string: \"{number}\"")))?;
        let earlier = usize::try_from(index).ok().filter(|index| *index < self.count);
        let Some(text) = earlier.and_then(|index| self.history.get(&index)).cloned() else {
            return Err(Failure::text("Command index out of range"));
        };
        let words = line::split(&text);
        if words.first().is_some_and(|name| name == "redo") {
            return Err(Failure::text("No redoing redos"));
        }
        self.history.insert(self.count, text);
        Ok(self.process(&words))
    }

    fn tell_history(&self) {
        for (number, text) in self.history.range(self.count.saturating_sub(HISTORY)..) {
            out(format!("{number} - {text}"));
        }
    }
}
