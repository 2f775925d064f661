//! The shell's own options, and where they say to connect (TO-10).

use std::time::Duration;

use super::connection::Route;
use super::failure::Failure;
use super::print::err;
use crate::config::parse_properties;

/// What the command line says before the command.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) server: String,
    timeout: Duration,
    read_only: bool,
    /// Whether a command waits for the session first.
    pub(super) wait: bool,
    pub(super) help: bool,
    request_max: Option<Duration>,
    keep_watches: bool,
}

const CLIENT_PORT: u16 = 2181;

/// Tells the shell's options from the command, which begins with the first word without a dash. Options that nobody
/// knows are passed over, as the reference does.
///
/// # Errors
/// When the argument of one cannot be used.
pub(super) fn parse(words: &[String]) -> Result<(Settings, Vec<String>), Failure> {
    let mut settings = Settings {
        server: format!("localhost:{CLIENT_PORT}"),
        timeout: Duration::from_secs(30),
        read_only: false,
        wait: false,
        help: false,
        request_max: None,
        keep_watches: true,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-server" | "-timeout" | "-client-configuration" => {
                let Some(value) = words.next() else {
                    err(format!("Error: no argument found for option {word}"));
                    break;
                };
                match word.as_str() {
                    "-server" => settings.server.clone_from(value),
                    "-timeout" => settings.timeout = milliseconds(value)?,
                    _ => settings.read_file(value)?,
                }
            }
            "-r" => settings.read_only = true,
            "-waitforconnection" => settings.wait = true,
            "-h" | "-help" | "--help" => settings.help = true,
            option if option.starts_with('-') => {}
            _ => return Ok((settings, std::iter::once(word).chain(words).cloned().collect())),
        }
    }
    Ok((settings, Vec::new()))
}

fn milliseconds(text: &str) -> Result<Duration, Failure> {
    match text.parse::<i32>() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms.unsigned_abs().into())),
        _ => Err(Failure::Text(format!("expected milliseconds above 0, not \"{text}\""))),
    }
}

impl Settings {
    /// Takes what matters here out of a client's properties; the rest is about logins that this client does not have.
    fn read_file(&mut self, file: &str) -> Result<(), Failure> {
        let text = std::fs::read(file).map_err(|error| Failure::Configuration(format!("read {file}: {error}")))?;
        let settings = parse_properties(file, &String::from_utf8_lossy(&text))
            .map_err(|error| Failure::Configuration(error.to_string()))?;
        for (key, value) in settings {
            match key.as_str() {
                "zookeeper.client.secure" if value.eq_ignore_ascii_case("true") => {
                    return Err(Failure::Configuration(format!(
                        "{file}: zookeeper.client.secure: this client has no TLS"
                    )));
                }
                "zookeeper.disableAutoWatchReset" => self.keep_watches = !value.eq_ignore_ascii_case("true"),
                "zookeeper.request.timeout" if value == "0" => self.request_max = None,
                "zookeeper.request.timeout" => self.request_max = Some(milliseconds(&value)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Where a connect string leads: servers with commas between, and what stands before every path.
    ///
    /// # Errors
    /// When it makes no sense.
    pub(super) fn route(&self, text: &str) -> Result<Route, Failure> {
        let (servers, chroot) = text.find('/').map_or((text, ""), |slash| text.split_at(slash));
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() {
            super::client::validate(chroot)?;
        }
        let servers: Option<Vec<_>> =
            servers.split(',').map(str::trim).filter(|server| !server.is_empty()).map(place).collect();
        let servers = servers
            .filter(|servers| !servers.is_empty())
            .ok_or_else(|| Failure::Text(format!("expected HOST:PORT[,...][/CHROOT], not \"{text}\"")))?;
        Ok(Route {
            servers,
            chroot: chroot.to_owned(),
            timeout: self.timeout,
            read_only: self.read_only,
            request_max: self.request_max,
            keep_watches: self.keep_watches,
        })
    }
}

/// A host, in brackets if it has colons, and its port if it says one.
fn place(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { "" } else { rest.strip_prefix(':').filter(|port| !port.is_empty())? })
        }
        None => text.rsplit_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { CLIENT_PORT } else { port.parse().ok()? };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (Settings, Vec<String>) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words).expect("understood")
    }

    #[test]
    fn options_come_before_the_command() {
        let (settings, command) = parsed("-server a:1 -timeout 5000 -r -nothing -waitforconnection ls -s /");
        assert_eq!((settings.server.as_str(), settings.timeout), ("a:1", Duration::from_secs(5)));
        assert!(settings.read_only && settings.wait && !settings.help);
        assert_eq!(command, ["ls", "-s", "/"]);
        assert!(parsed("-help").0.help && parsed("").1.is_empty());
        assert!(parse(&["-timeout".to_owned(), "soon".to_owned()]).is_err());
    }

    #[test]
    fn a_connect_string_names_servers_and_a_chroot() {
        let settings = parsed("").0;
        let route = settings.route("a, [::1]:5,b:3,c:/x/y").expect("understood");
        let place = |host: &str, port| (host.to_owned(), port);
        assert_eq!(route.servers, [place("a", 2181), place("::1", 5), place("b", 3), place("c", 2181)]);
        assert_eq!((route.chroot.as_str(), settings.route("a/").expect("understood").chroot.as_str()), ("/x/y", ""));
        for bad in ["", ",", "a:x", "a:70000", "[::1", "[::1]:", "[::1]5", "a/x/", ":5"] {
            assert!(settings.route(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_of_properties_says_more() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("client.cfg");
        let read = |text: &str| {
            std::fs::write(&file, text).expect("written");
            let mut settings = parsed("").0;
            settings.read_file(&file.display().to_string()).map(|()| settings)
        };
        let settings =
            read("zookeeper.request.timeout = 700\nzookeeper.disableAutoWatchReset=true\nother=1").expect("read");
        assert_eq!((settings.request_max, settings.keep_watches), (Some(Duration::from_millis(700)), false));
        assert!(read("zookeeper.client.secure=true").expect_err("refused").to_string().ends_with("no TLS"));
        assert!(read("zookeeper.client.secure=false").is_ok());
    }
}
