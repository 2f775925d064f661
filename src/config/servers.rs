//! Server lines: `server.N=host:quorumPort:electionPort[:role][;[clientHost:]clientPort]`, several addresses with `|`.

/// Whether a server votes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerRole {
    /// It votes.
    Participant,
    /// It follows without a vote.
    Observer,
}

/// One address of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerAddress {
    /// Name or address, resolved when connecting.
    pub host: String,
    /// Where learners connect.
    pub quorum_port: u16,
    /// Where elections are held.
    pub election_port: u16,
}

/// One server of an ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerSpec {
    /// Its `myid`.
    pub id: u8,
    /// Its addresses, at least one.
    pub addresses: Vec<ServerAddress>,
    /// Whether it votes.
    pub role: ServerRole,
    /// Host, if given, and port for clients.
    pub client: Option<(Option<String>, u16)>,
}

pub(super) const FORM: &str = "host:quorumPort:electionPort[:participant|:observer][;[clientHost:]clientPort]";

impl ServerSpec {
    /// Reads what stands behind `server.N=`.
    #[must_use]
    pub fn parse(id: u8, text: &str) -> Option<Self> {
        let (server, client) = match text.split_once(';') {
            Some((server, client)) => (server, Some(parse_client(client)?)),
            None => (text, None),
        };
        let mut addresses = Vec::new();
        let mut role = ServerRole::Participant;
        for address in server.split('|') {
            let (parsed, of) = parse_address(address)?;
            addresses.push(parsed);
            role = of.unwrap_or(role);
        }
        Some(Self { id, addresses, role, client })
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
    parts.next().is_none().then_some((ServerAddress { host, quorum_port, election_port }, role))
}

fn parse_client(text: &str) -> Option<(Option<String>, u16)> {
    match split_host(text) {
        Some((host, port)) => Some((Some(host), port.trim().parse().ok()?)),
        None => Some((None, text.trim().parse().ok()?)),
    }
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
    (!host.is_empty()).then(|| (host.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_a_server_line() {
        let spec = |text| ServerSpec::parse(1, text);
        let plain = spec("a:2888:3888").unwrap();
        assert_eq!((plain.role, plain.client), (ServerRole::Participant, None));
        let full = spec("a:1:2:observer|[::1]:3:4:observer;0.0.0.0:2181").unwrap();
        assert_eq!(full.addresses[1], ServerAddress { host: "::1".to_owned(), quorum_port: 3, election_port: 4 });
        assert_eq!((full.role, full.client), (ServerRole::Observer, Some((Some("0.0.0.0".to_owned()), 2181))));
        assert_eq!(spec("a:1:2;2181").unwrap().client, Some((None, 2181)));
        for bad in ["", "a", "a:1", "a:1:2:voter", "a:x:2", ":1:2", "a:1:2:observer:5", "a:1:2;x"] {
            assert_eq!(spec(bad), None, "{bad}");
        }
    }
}
