//! Server lines: `server.N=host:quorumPort:electionPort[:role][;[clientHost:]clientPort]`, several addresses with `|`.
//!
//! What is read is kept as the reference writes it, so that a line that was read and written once stays as it is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Whether a server votes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerRole {
    /// It votes.
    Participant,
    /// It follows without a vote.
    Observer,
}

impl fmt::Display for ServerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Participant => "participant",
            Self::Observer => "observer",
        })
    }
}

/// One address of a server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServerAddress {
    /// Name or address, resolved when connecting.
    pub host: String,
    /// Where learners connect.
    pub quorum_port: u16,
    /// Where elections are held.
    pub election_port: u16,
}

/// Where clients connect to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientAddress {
    /// Name or address; `0.0.0.0` if the line has none.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One server of an ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerSpec {
    /// Its `myid`.
    pub id: u8,
    /// Its addresses, at least one, in order of their hosts.
    pub addresses: Vec<ServerAddress>,
    /// Whether it votes.
    pub role: ServerRole,
    /// Where clients connect, if the line says so.
    pub client: Option<ClientAddress>,
    /// Where clients connect with TLS. Servers before 3.10 refuse a line that has this part.
    pub secure_client: Option<ClientAddress>,
}

pub(super) const FORM: &str =
    "host:quorumPort:electionPort[:participant|:observer][;[clientHost:]clientPort], with two different ports";

impl ServerSpec {
    /// Reads what stands behind `server.N=`.
    #[must_use]
    pub fn parse(id: u8, text: &str) -> Option<Self> {
        let mut parts = text.trim_end_matches([';', ' ']).split(';');
        let mut addresses = Vec::new();
        let mut roles = Vec::new();
        for address in parts.next()?.split('|') {
            let (address, role) = parse_address(address)?;
            addresses.push(address);
            roles.extend(role);
        }
        addresses.sort();
        addresses.dedup();
        let role = roles.first().copied().unwrap_or(ServerRole::Participant);
        if roles.iter().any(|other| *other != role) {
            return None;
        }
        let mut client = || match parts.next().map(str::trim) {
            None | Some("") => Some(None),
            Some(text) => parse_client(text).map(Some),
        };
        let (client, secure_client) = (client()?, client()?);
        parts.next().is_none().then_some(Self { id, addresses, role, client, secure_client })
    }
}

impl ServerAddress {
    /// `host:port` for one of its ports, as sockets and peers take it.
    #[must_use]
    pub fn at(&self, port: u16) -> String {
        format!("{}:{port}", Host(&self.host))
    }
}

impl ServerSpec {
    /// Where this server listens for other servers: on its addresses, or on all of the machine's.
    #[must_use]
    pub fn listen(&self, on_all: bool, port: impl Fn(&ServerAddress) -> u16) -> Vec<String> {
        let mut places: Vec<_> = self
            .addresses
            .iter()
            .map(|address| if on_all { format!("[::]:{}", port(address)) } else { address.at(port(address)) })
            .collect();
        places.dedup();
        places
    }
}

/// What stands behind `server.N=`, as the reference writes it (election.md 6).
impl fmt::Display for ServerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.addresses.iter().enumerate() {
            let between = if at == 0 { "" } else { "|" };
            write!(f, "{between}{}:{}:{}", Host(&address.host), address.quorum_port, address.election_port)?;
        }
        write!(f, ":{}", self.role)?;
        match (&self.client, &self.secure_client) {
            (None, None) => Ok(()),
            (Some(client), None) => write!(f, ";{client}"),
            (None, Some(secure)) => write!(f, ";;{secure}"),
            (Some(client), Some(secure)) => write!(f, ";{client};{secure}"),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Host(&self.host), self.port)
    }
}

impl ClientAddress {
    /// Where to listen, `host:port`: all addresses of the machine are those of both families.
    #[must_use]
    pub fn listen(&self) -> String {
        let is_all = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        if is_all { format!("[::]:{}", self.port) } else { self.to_string() }
    }
}

/// A host before a port.
struct Host<'a>(&'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

fn parse_address(text: &str) -> Option<(ServerAddress, Option<ServerRole>)> {
    let (host, rest) = split_host(text)?;
    let mut parts = rest.split(':');
    let quorum_port = parts.next()?.trim().parse().ok()?;
    let election_port = parts.next()?.trim().parse().ok()?;
    let role = match parts.next().map(|role| role.trim().to_ascii_lowercase()) {
        None => None,
        Some(role) if role == "participant" => Some(ServerRole::Participant),
        Some(role) if role == "observer" => Some(ServerRole::Observer),
        Some(_) => return None,
    };
    let is_whole = parts.next().is_none() && quorum_port != election_port;
    is_whole.then_some((ServerAddress { host, quorum_port, election_port }, role))
}

fn parse_client(text: &str) -> Option<ClientAddress> {
    let (host, port) = split_host(text).unwrap_or_else(|| ("0.0.0.0".to_owned(), text));
    Some(ClientAddress { host, port: port.trim().parse().ok()? })
}

/// The host before the first colon outside of brackets, and what follows it.
fn split_host(text: &str) -> Option<(String, &str)> {
    let text = text.trim();
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            (host, rest.strip_prefix(':')?)
        }
        None => text.split_once(':')?,
    };
    // What would not survive being written and read again, by us or by others, is no host.
    let strange = |c: char| c.is_control() || c.is_whitespace() || "=;|[]\\".contains(c);
    (!host.is_empty() && !host.contains(strange)).then(|| (spell(host), rest))
}

/// Java writes an IPv6 address without `::`, and one that holds an IPv4 address as that.
fn spell(host: &str) -> String {
    let Ok(address) = host.parse::<Ipv6Addr>() else { return host.to_owned() };
    match address.to_ipv4_mapped() {
        Some(address) => address.to_string(),
        None => address.segments().map(|segment| format!("{segment:x}")).as_slice().join(":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Option<ServerSpec> {
        ServerSpec::parse(1, text)
    }

    #[test]
    fn all_forms_of_a_server_line() {
        let client = |host: &str, port| Some(ClientAddress { host: host.to_owned(), port });
        let plain = spec("a:2888:3888").unwrap();
        assert_eq!((plain.role, plain.client), (ServerRole::Participant, None));
        let full = spec("b:1:2:observer|[::1]:3:4:observer;0.0.0.0:2181").unwrap();
        let local = ServerAddress { host: "0:0:0:0:0:0:0:1".to_owned(), quorum_port: 3, election_port: 4 };
        assert_eq!(full.addresses[0], local);
        assert_eq!((full.role, full.client), (ServerRole::Observer, client("0.0.0.0", 2181)));
        assert_eq!(spec("a:1:2;2181").unwrap().client, client("0.0.0.0", 2181));
        assert_eq!(spec("a:1:2;;2281").unwrap().secure_client, client("0.0.0.0", 2281));
    }

    #[test]
    fn all_addresses_are_those_of_both_families() {
        let listen = |text: &str| spec(text).unwrap().client.unwrap().listen();
        assert_eq!((listen("a:1:2;5"), listen("a:1:2;[::]:5")), ("[::]:5".to_owned(), "[::]:5".to_owned()));
        assert_eq!(
            (listen("a:1:2;b:5"), listen("a:1:2;[::1]:5")),
            ("b:5".to_owned(), "[0:0:0:0:0:0:0:1]:5".to_owned())
        );
    }

    #[test]
    fn lines_are_written_as_the_reference_writes_them() {
        for (read, written) in [
            ("a:1:2", "a:1:2:participant"),
            ("a:1:2;", "a:1:2:participant"),
            ("a:1:2:Observer;2181", "a:1:2:observer;0.0.0.0:2181"),
            ("b:1:2|a:3:4:participant;[::1]:5;x:6", "a:3:4|b:1:2:participant;[0:0:0:0:0:0:0:1]:5;x:6"),
            ("[::ffff:10.0.0.1]:1:2", "10.0.0.1:1:2:participant"),
            ("[a]:1:2;;[::]:7", "a:1:2:participant;;[0:0:0:0:0:0:0:0]:7"),
            ("a:1:2|a:1:2", "a:1:2:participant"),
        ] {
            let once = spec(read).unwrap();
            assert_eq!(once.to_string(), written);
            assert_eq!(spec(written), Some(once));
        }
    }

    #[test]
    fn what_is_no_server_line() {
        for bad in [
            "",
            "a",
            "a:1",
            "a:1:2:voter",
            "a:x:2",
            ":1:2",
            "a:1:1",
            "a:1:2:observer:5",
            "a:1:2;x",
            "a:1:2;3;4;5",
            "a:1:2:observer|b:1:2:participant",
            "a b:1:2",
            "a=b:1:2",
            "::1:2:3",
            "[::1:2:3",
            "a:1:70000",
        ] {
            assert_eq!(spec(bad), None, "{bad}");
        }
    }
}
