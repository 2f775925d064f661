//! Which of the servers this one is: the file `myid`, and what the server line of that id says.

use super::keys::host;
use super::{Config, ConfigError, NoteLevel};
use crate::ids::Sid;

/// Reads the file `myid`: a number from 0 to 255 in its first line.
///
/// # Errors
/// Anything else.
pub fn parse_myid(text: &str) -> Result<u8, MyIdError> {
    let line = text.lines().next().unwrap_or_default().trim();
    line.parse().map_err(|_| MyIdError(line.chars().take(40).collect()))
}

/// A `myid` that is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("myid holds {0:?}, expected a number from 0 to 255")]
pub struct MyIdError(pub String);

impl Config {
    /// Says who this server is; `None` if its data directory has no `myid`. `file` is what errors call the configuration.
    ///
    /// # Errors
    /// A server of an ensemble must know its id (EN-02), and the client port of its server line must not differ from
    /// `clientPort` (CF-05).
    pub fn identify(&mut self, file: &str, my_id: Option<u8>) -> Result<(), ConfigError> {
        let refuse = |reason: String| Err(ConfigError::Together { file: file.to_owned(), reason });
        let Some(id) = my_id else {
            let path = self.data_dir.join("myid");
            let reason = || format!("an ensemble needs a file {} with the id of this server", path.display());
            return if self.is_distributed() { refuse(reason()) } else { Ok(()) };
        };
        if self.extended_types && id > TTL_ID_MAX && self.is_distributed() {
            return refuse(format!("with extendedTypesEnabled ids go up to {TTL_ID_MAX}, and myid is {id}"));
        }
        self.my_id = Some(Sid(id));
        let Some(server) = self.members.servers.get(&Sid(id)).cloned() else {
            if self.is_distributed() {
                let text = format!("{file}: no server.{id} is named, so this server has no vote until it is added");
                self.note(NoteLevel::Warning, text);
            }
            return Ok(());
        };
        if let Some(peer_role) = self.quorum.peer_role.filter(|role| *role != server.role) {
            let text = format!("{file}: peerType is {peer_role}, but server.{id} is a {}, which counts", server.role);
            self.note(NoteLevel::Warning, text);
        }
        let Some(client) = server.client else { return Ok(()) };
        let Ok(line_host) = host(&client.host) else {
            return refuse(format!("server.{id}: {client}: expected a name or an address before the client port"));
        };
        let is_same_host = self.client_host.is_none() || self.client_host == line_host;
        if self.client_port.is_some_and(|port| port != client.port || !is_same_host) {
            return refuse(format!("clientPort is not that of server.{id}, {client}; leave it out"));
        }
        (self.client_port, self.client_host) = (Some(client.port), line_host);
        Ok(())
    }
}

/// With TTL znodes, 255 in the top byte of an owner has a meaning of its own.
const TTL_ID_MAX: u8 = 254;

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &str = "initLimit=5\nsyncLimit=2\nserver.1=a:1:2;2181\nserver.2=b:1:2;127.0.0.1:2181\n\
                         server.3=c:1:2:observer\nserver.4=d:1:2;name:2181\nserver.255=e:1:2\n";

    fn identified(text: &str, my_id: Option<u8>) -> Result<Config, String> {
        let mut config = Config::parse("zoo.cfg", &format!("dataDir=/d\n{text}"), &[]).unwrap();
        config.identify("zoo.cfg", my_id).map(|()| config).map_err(|error| error.to_string())
    }

    fn three(text: &str, my_id: u8) -> Result<Config, String> {
        identified(&format!("{THREE}{text}"), Some(my_id))
    }

    #[test]
    fn myid_is_a_number_in_the_first_line() {
        for (text, id) in [("1", 1), ("255\n", 255), (" 0 \r\nmore", 0), ("007", 7)] {
            assert_eq!(parse_myid(text), Ok(id));
        }
        for text in ["", "\n1", "256", "-1", "one", "1 2", "0x1"] {
            assert!(parse_myid(text).is_err(), "{text}");
        }
        let long = parse_myid(&"x".repeat(1000)).unwrap_err().to_string();
        assert!(long.len() < 100 && long.ends_with("expected a number from 0 to 255"), "{long}");
    }

    #[test]
    fn a_server_of_an_ensemble_must_know_its_id() {
        let error = identified(THREE, None).unwrap_err();
        assert_eq!(error, "zoo.cfg: an ensemble needs a file /d/myid with the id of this server");
        assert_eq!(identified("", None).unwrap().my_id, None);
        assert_eq!(three("", 1).unwrap().my_id, Some(Sid(1)));
        assert!(three("", 255).is_ok() && three("extendedTypesEnabled=true", 255).unwrap_err().contains("254"));
    }

    #[test]
    fn the_client_port_may_stand_in_the_server_line() {
        let client = |text, id| three(text, id).map(|config| (config.client_port, config.client_host));
        assert_eq!(client("", 1), Ok((Some(2181), None)));
        assert_eq!(client("clientPort=2181", 2), Ok((Some(2181), Some("127.0.0.1".to_owned()))));
        assert_eq!(client("clientPort=2182", 3), Ok((Some(2182), None)));
        assert!(client("clientPort=2182", 1).unwrap_err().contains("not that of server.1, 0.0.0.0:2181"));
        assert!(client("clientPort=2181\nclientPortAddress=127.0.0.2", 2).unwrap_err().contains("not that of"));
        assert_eq!(client("clientPortAddress=localhost\nclientPort=2181", 2), client("", 2));
        assert_eq!(client("", 4), Ok((Some(2181), Some("name".to_owned()))));
        assert!(client("clientPort=2181\nclientPortAddress=other", 4).unwrap_err().contains("not that of server.4"));
        let alone = identified("server.1=a:1:2;2181", Some(1)).unwrap();
        assert_eq!(alone.client_port, Some(2181), "also for a server alone, as in the container image");
    }

    #[test]
    fn of_two_roles_the_one_of_the_server_line_counts() {
        let notes = |text, id| three(text, id).unwrap().notes.into_iter().map(|note| note.text).collect::<Vec<_>>();
        let other = "zoo.cfg: peerType is observer, but server.1 is a participant, which counts".to_owned();
        assert!(notes("peerType=observer", 1).contains(&other));
        assert_eq!(notes("peerType=observer", 3), notes("", 1));
        let stranger = "zoo.cfg: no server.9 is named, so this server has no vote until it is added".to_owned();
        assert!(notes("", 9).contains(&stranger));
    }
}
