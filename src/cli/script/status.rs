//! `zkServer.sh status`: where clients connect by what stands in the files, and in which mode the server is (TO-03).

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use super::super::status::{Place, ask, not_running, tls_of};
use super::{ScriptEnv, complain, properties, say, setting};

#[derive(Clone, PartialEq, Eq, Debug)]
struct Found {
    port: String,
    address: String,
    tls: bool,
}

pub(super) fn run(env: &ScriptEnv, text: &str) -> ExitCode {
    let read = |file: &str| fs::read_to_string(file).ok();
    let (words, found) = find(text, &env.directory(text, "dataDir").unwrap_or_default(), &read);
    for word in words {
        say(&format!("{word}\n"));
    }
    let Some(found) = found else { return ExitCode::FAILURE };
    let Found { port, address, tls } = &found;
    say(&format!("Client port found: {port}. Client address: {address}. Client SSL: {tls}.\n"));
    match place(env, text, &found).and_then(|place| ask(&place)) {
        Ok(Some(mode)) => {
            say(&format!("{mode}\n"));
            ExitCode::SUCCESS
        }
        Ok(None) => not_running(),
        Err(error) => {
            if *tls {
                complain(format!("zkd: {error:#}"));
            }
            not_running()
        }
    }
}

/// With TLS the server's own stores are shown, unless `CLIENT_JVMFLAGS` names others.
fn place(env: &ScriptEnv, text: &str, found: &Found) -> anyhow::Result<Place> {
    let client = || properties(&env.variable("CLIENT_JVMFLAGS").unwrap_or_default());
    let tls = found.tls.then(|| tls_of(Path::new(&env.config), env.settings(text), client())).transpose()?;
    Ok(Place { host: found.address.clone(), port: found.port.parse()?, tls })
}

/// What is said on the way, and what is found.
fn find(text: &str, data_dir: &str, read: &dyn Fn(&str) -> Option<String>) -> (Vec<&'static str>, Option<Found>) {
    let mut words = Vec::new();
    let mut address = setting(text, "clientPortAddress");
    let mut port = setting(text, "clientPort");
    if !port.as_deref().is_some_and(is_number) {
        let my_id = read(&format!("{data_dir}/myid")).map(|id| id.trim().to_owned()).filter(|id| is_number(id));
        match my_id {
            None => {
                words.push("myid could not be determined, will not able to locate clientPort in the server configs.");
            }
            Some(my_id) => {
                let own = |text: &str| {
                    let line = setting(text, &format!("server.{my_id}"))?;
                    // Behind it there may be a port for TLS.
                    line.split(';').nth(1).map(|client| client.trim().to_owned()).filter(|client| !client.is_empty())
                };
                let in_dynamic = |words: &mut Vec<_>| {
                    words.push("Client port not found in static config file. Looking in dynamic config file.");
                    own(&read(&setting(text, "dynamicConfigFile")?)?)
                };
                match own(text).or_else(|| in_dynamic(&mut words)) {
                    None => words.push("Client port not found in the server configs"),
                    Some(client) => {
                        let (host, own_port) = client.rsplit_once(':').unwrap_or(("", &client));
                        if !host.is_empty() {
                            address = Some(host.trim_matches(['[', ']']).to_owned());
                        }
                        port = Some(own_port.to_owned());
                    }
                }
            }
        }
    }
    let mut tls = false;
    if port.is_none() {
        words.push("Client port not found. Looking for secureClientPort in the static config.");
        port = setting(text, "secureClientPort");
        address = setting(text, "secureClientPortAddress");
        tls = true;
    }
    let Some(port) = port else {
        words.push("Unable to find either secure or unsecure client port in any configs. Terminating.");
        return (words, None);
    };
    let address = address.unwrap_or_else(|| "localhost".to_owned());
    (words, Some(Found { port, address, tls }))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (Vec<&'static str>, Option<(String, String, bool)>) {
        let read = |file: &str| match file {
            "/d/myid" => Some("2\n".to_owned()),
            "/dynamic" => Some("server.1=a:1:2;3\nserver.2=b:1:2:observer;[::1]:5\n".to_owned()),
            _ => None,
        };
        let (words, found) = find(text, &setting(text, "dataDir").unwrap_or_default(), &read);
        (words.iter().map(|word| &word[..word.len().min(20)]).collect(), found.map(|f| (f.port, f.address, f.tls)))
    }

    fn at(port: &str, address: &str, tls: bool) -> Option<(String, String, bool)> {
        Some((port.to_owned(), address.to_owned(), tls))
    }

    #[test]
    fn the_port_is_where_the_files_say() {
        assert_eq!(found("clientPort=1\nclientPortAddress=h"), (vec![], at("1", "h", false)));
        assert_eq!(found("clientPort=1\nsecureClientPort=2"), (vec![], at("1", "localhost", false)));
        assert_eq!(found("dataDir=/d\nserver.2=b:1:2;7"), (vec![], at("7", "localhost", false)));
        assert_eq!(found("dataDir=/d\nserver.2=b:1:2;7;8"), (vec![], at("7", "localhost", false)));
        assert_eq!(found("dataDir=/d\nserver.2=b:1:2;h:7;[::1]:8"), (vec![], at("7", "h", false)));
        assert_eq!(found("dataDir=/d\nserver.2=b:1:2;0.0.0.0:7"), (vec![], at("7", "0.0.0.0", false)));
    }

    #[test]
    fn what_is_not_found_is_said() {
        const STATIC: &str = "Client port not foun";
        const MYID: &str = "myid could not be de";
        assert_eq!(found("dataDir=/d\ndynamicConfigFile=/dynamic"), (vec![STATIC], at("5", "::1", false)));
        assert_eq!(found("dataDir=/d\nserver.1=b:1:2;7"), (vec![STATIC, STATIC, STATIC, "Unable to find eithe"], None));
        assert_eq!(found("dataDir=/n\nsecureClientPort=8"), (vec![MYID, STATIC], at("8", "localhost", true)));
        let both = "dataDir=/n\nsecureClientPort=8\nsecureClientPortAddress=s\nclientPortAddress=c";
        assert_eq!(found(both), (vec![MYID, STATIC], at("8", "s", true)));
    }
}
