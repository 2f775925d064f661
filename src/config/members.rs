//! Who the servers are: the lines `server.N`, `group.G` and `weight.N`, which stand in zoo.cfg, in a dynamic file, and in
//! the text that servers send each other (election.md 6).

use std::collections::BTreeMap;

use super::servers::FORM;
use super::{ConfigError, ServerRole, ServerSpec, properties};
use crate::ids::Sid;

/// The servers of an ensemble, and what each vote weighs if they do not weigh the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// `version`: the zxid that established these members, 0 if none did.
    pub version: i64,
    /// `server.N`, in order of their ids.
    pub servers: BTreeMap<Sid, ServerSpec>,
    /// `group.G`.
    pub groups: BTreeMap<u64, Vec<Sid>>,
    /// `weight.N`.
    pub weights: BTreeMap<Sid, u64>,
}

impl Members {
    /// Reads a text that holds such lines and a version and nothing else; `file` is what errors call it.
    ///
    /// # Errors
    /// Of the first line that is none of these.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let mut members = Self::default();
        for setting in properties::parse(file, text)? {
            let result = match setting.key.as_str() {
                "version" => members.set_version(&setting.value),
                key => members.set(key, &setting.value).unwrap_or_else(|| Err(LINES.to_owned())),
            };
            result.map_err(|expected| setting.refuse(expected))?;
        }
        Ok(members)
    }

    /// The same for a dynamic file, which has its version in its name: `zoo.cfg.dynamic.100000000` (storage.md 9).
    pub(super) fn parse_dynamic(file: &str, text: &str) -> Result<Self, ConfigError> {
        if let Some(setting) = properties::parse(file, text)?.iter().find(|setting| setting.key == "version") {
            return Err(setting.refuse("it in the name of the file and not inside".to_owned()));
        }
        let mut members = Self::parse(file, text)?;
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        members.version = hexadecimal(extension).unwrap_or(0);
        Ok(members)
    }

    /// Takes one line; `None` if it is about something else, and otherwise what was expected if it makes no sense.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
        let (kind, name) = key.split_once('.').filter(|_| Self::is_about(key))?;
        Some(match kind {
            "server" => self.set_server(name, value),
            "group" => self.set_group(name, value),
            _ => self.set_weight(name, value),
        })
    }

    /// Whether a key says something about members.
    pub(super) fn is_about(key: &str) -> bool {
        // `server.realm` and its like are settings of Kerberos.
        let is_number = |name: &str| name.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        match key.split_once('.') {
            Some(("server", name)) => is_number(name),
            Some((kind, _)) => ["group", "weight"].contains(&kind),
            None => false,
        }
    }

    /// Whether no line was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.groups.is_empty() && self.weights.is_empty()
    }

    /// How many servers have this role.
    #[must_use]
    pub fn count(&self, role: ServerRole) -> usize {
        self.servers.values().filter(|server| server.role == role).count()
    }

    fn set_server(&mut self, name: &str, value: &str) -> Result<(), String> {
        let Sid(id) = sid(name)?;
        let server = ServerSpec::parse(id, value).ok_or_else(|| FORM.to_owned())?;
        self.servers.insert(Sid(id), server);
        Ok(())
    }

    fn set_group(&mut self, name: &str, value: &str) -> Result<(), String> {
        let group = whole(name).ok_or_else(|| "a number behind group.".to_owned())?;
        let sids = value.trim_end_matches([':', ' ']).split(':').map(sid).collect::<Result<Vec<_>, _>>()?;
        self.groups.insert(group, sids);
        Ok(())
    }

    fn set_weight(&mut self, name: &str, value: &str) -> Result<(), String> {
        let weight = whole(value).ok_or_else(|| "a whole number of 0 or more".to_owned())?;
        self.weights.insert(sid(name)?, weight);
        Ok(())
    }

    fn set_version(&mut self, value: &str) -> Result<(), String> {
        self.version = hexadecimal(value).ok_or_else(|| "a hexadecimal number".to_owned())?;
        Ok(())
    }
}

const LINES: &str = "only server.N, group.G, weight.N and version here";

fn sid(text: &str) -> Result<Sid, String> {
    text.trim().parse().map(Sid).map_err(|_| "ids of servers from 0 to 255".to_owned())
}

/// As large as the reference can read it.
fn whole(text: &str) -> Option<u64> {
    text.trim().parse::<i64>().ok().and_then(|number| u64::try_from(number).ok())
}

fn hexadecimal(text: &str) -> Option<i64> {
    i64::from_str_radix(text, 16).ok().filter(|version| *version >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        Members::parse("text", text).expect_err("refused").to_string()
    }

    #[test]
    fn servers_groups_weights_and_a_version() {
        let text = "server.2=b:1:2\nserver.1=a:1:2\ngroup.7=1:2:\nweight.1=3\nversion=1A0";
        let members = Members::parse("text", text).unwrap();
        assert_eq!(members.servers.keys().copied().collect::<Vec<_>>(), [Sid(1), Sid(2)]);
        assert_eq!((members.groups[&7].as_slice(), members.weights[&Sid(1)]), ([Sid(1), Sid(2)].as_slice(), 3));
        assert_eq!((members.version, members.count(ServerRole::Participant)), (0x1a0, 2));
        assert!(Members::parse("text", "").unwrap().is_empty());
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        assert!(message("server.1=a:1:2\nserver.300=b:1:2").starts_with("text:2: server.300=b:1:2: expected ids"));
        assert!(message("server.-1=b:1:2").contains("ids of servers"));
        assert!(message("server.realm=b:1:2").contains("only server.N"));
        assert!(message("tickTime=5").contains("only server.N"));
        assert!(message("group.1=").contains("ids of servers"));
        assert!(message("group.1=1::2").contains("ids of servers"));
        assert!(message("group.x=1").contains("a number"));
        assert!(message("weight.1=-1").contains("0 or more"));
        for version in ["", "xyz", "-1", "ffffffffffffffff", "10000000000000000"] {
            assert!(message(&format!("version={version}")).contains("hexadecimal"), "{version}");
        }
    }

    #[test]
    fn the_version_of_a_dynamic_file_is_in_its_name() {
        let version = |file| Members::parse_dynamic(file, "server.1=a:1:2").unwrap().version;
        assert_eq!(version("zoo.cfg.dynamic.100000000"), 0x1_0000_0000);
        assert_eq!((version("zoo.cfg.dynamic"), version("members"), version("x.")), (0, 0, 0));
        let inside = Members::parse_dynamic("d", "server.1=a:1:2\nversion=1").unwrap_err().to_string();
        assert_eq!(inside, "d:2: version=1: expected it in the name of the file and not inside");
    }
}
