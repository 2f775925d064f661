//! Where the servers of an ensemble are, this one among them.

use parking_lot::RwLock;

use crate::config::{ServerAddress, ServerSpec};
use crate::ids::Sid;
use crate::peer::Door;
use crate::zab::{Ensemble, Membership};

/// Where the servers are, as names. They are resolved when somebody connects or listens.
#[derive(Debug)]
pub struct Addresses {
    me: Sid,
    /// `quorumListenOnAllIPs`.
    listen_on_all: bool,
    /// `observerMasterPort`, which is the same everywhere.
    master_port: Option<u16>,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    membership: Membership,
    /// This server, as the last members that it was one of name it: who is removed stays where it is.
    own: Option<ServerSpec>,
}

/// Who has come and gone with new members.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Change {
    /// Those that were no members before.
    pub(super) joined: Vec<Sid>,
    /// Those that are no members any more.
    pub(super) left: Vec<Sid>,
}

impl Addresses {
    /// Those of an ensemble, in which this server is `me`.
    #[must_use]
    pub fn new(me: Sid, listen_on_all: bool, master_port: Option<u16>, membership: Membership) -> Self {
        let own = membership.committed.server(me).cloned();
        Self { me, listen_on_all, master_port, known: RwLock::new(Known { membership, own }) }
    }

    /// The members have changed.
    pub(super) fn set(&self, membership: Membership) -> Change {
        let mut known = self.known.write();
        let (before, after) = (sids(&known.membership), sids(&membership));
        let only = |these: &[Sid], those: &[Sid]| {
            these.iter().copied().filter(|sid| *sid != self.me && !those.contains(sid)).collect()
        };
        let change = Change { joined: only(&after, &before), left: only(&before, &after) };
        if let Some(own) = membership.committed.server(self.me) {
            known.own = Some(own.clone());
        }
        known.membership = membership;
        change
    }

    /// Who this server is.
    #[must_use]
    pub const fn me(&self) -> Sid {
        self.me
    }

    /// The election addresses of a server, `host:port` each; none for one that is not known. Where it is comes before where
    /// it will be (election.md 2.3).
    #[must_use]
    pub fn election(&self, sid: Sid) -> Vec<String> {
        self.of(sid, |address| address.election_port)
    }

    /// Where a server can be learnt from, likewise.
    #[must_use]
    pub fn quorum(&self, sid: Sid, door: Door) -> Vec<String> {
        self.port(door).map_or_else(Vec::new, |port| self.of(sid, port))
    }

    /// Where others find this server for elections.
    #[must_use]
    pub fn own_election(&self) -> Vec<String> {
        self.known.read().own.iter().flat_map(|own| at(own, |address| address.election_port)).collect()
    }

    /// Where this server listens for elections.
    #[must_use]
    pub fn listen_elections(&self) -> Vec<String> {
        self.listen(|address| address.election_port)
    }

    /// Where this server listens for learners.
    #[must_use]
    pub fn listen_learners(&self, door: Door) -> Vec<String> {
        self.port(door).map_or_else(Vec::new, |port| self.listen(port))
    }

    /// The port of a door; none if it is not configured.
    fn port(&self, door: Door) -> Option<impl Fn(&ServerAddress) -> u16> {
        let master = match door {
            Door::Leader => None,
            Door::Master => Some(self.master_port?),
        };
        Some(move |address: &ServerAddress| master.unwrap_or(address.quorum_port))
    }

    /// The hosts of all servers, names or addresses.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let known = self.known.read();
        let Membership { committed, proposed, rumoured: _ } = &known.membership;
        let ensembles = [Some(committed), proposed.as_ref()].into_iter().flatten();
        let servers = ensembles.flat_map(Ensemble::servers);
        servers.flat_map(|(_, server)| &server.addresses).map(|address| address.host.clone()).collect()
    }

    fn listen(&self, port: impl Fn(&ServerAddress) -> u16) -> Vec<String> {
        self.known.read().own.as_ref().map_or_else(Vec::new, |own| own.listen(self.listen_on_all, port))
    }

    fn of(&self, sid: Sid, port: impl Fn(&ServerAddress) -> u16) -> Vec<String> {
        let known = self.known.read();
        let mut places: Vec<String> = Vec::new();
        for server in all(&known.membership).filter_map(|some| some.server(sid)) {
            for place in at(server, &port) {
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        places
    }
}

fn at(server: &ServerSpec, port: impl Fn(&ServerAddress) -> u16) -> impl Iterator<Item = String> {
    server.addresses.iter().map(move |address| address.at(port(address)))
}

/// All servers that are members, or will be.
fn sids(membership: &Membership) -> Vec<Sid> {
    all(membership).flat_map(Ensemble::servers).map(|(sid, _)| sid).collect()
}

fn all(Membership { committed, proposed, rumoured }: &Membership) -> impl Iterator<Item = &Ensemble> {
    [Some(committed), proposed.as_ref(), rumoured.as_ref()].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(committed: &str, proposed: &str) -> Membership {
        let parse = |text| Ensemble::parse(text).ok();
        Membership { proposed: parse(proposed), ..Membership::settled(parse(committed).expect("members")) }
    }

    const TWO: &str = "server.1=a:1:2\nserver.2=b:1:2|c:3:4";

    #[test]
    fn a_server_is_where_it_is_or_else_where_it_will_be() {
        let addresses = Addresses::new(Sid(1), false, Some(7), members(TWO, "server.1=a:1:2\nserver.2=b:1:2|d:5:6"));
        assert_eq!(addresses.election(Sid(2)), ["b:2", "c:4", "d:6"]);
        assert_eq!(addresses.quorum(Sid(2), Door::Leader), ["b:1", "c:3", "d:5"]);
        assert_eq!(addresses.quorum(Sid(2), Door::Master), ["b:7", "c:7", "d:7"]);
        assert_eq!(addresses.listen_learners(Door::Master), ["a:7"]);
        assert!(addresses.election(Sid(9)).is_empty());
        assert_eq!(
            (addresses.own_election(), addresses.listen_learners(Door::Leader)),
            (vec!["a:2".to_owned()], vec!["a:1".into()])
        );
        let on_all = Addresses::new(Sid(2), true, None, members(TWO, ""));
        assert!(on_all.listen_learners(Door::Master).is_empty(), "nobody has said where");
        assert_eq!(
            (on_all.own_election().len(), on_all.listen_elections()),
            (2, vec!["[::]:2".into(), "[::]:4".into()])
        );
    }

    #[test]
    fn who_has_come_and_gone_is_seen() {
        let addresses = Addresses::new(Sid(1), false, None, members(TWO, ""));
        let change = |joined: &[u8], left: &[u8]| Change {
            joined: joined.iter().copied().map(Sid).collect(),
            left: left.iter().copied().map(Sid).collect(),
        };
        let three = "server.1=x:7:8\nserver.3=d:1:2";
        assert_eq!(addresses.set(members(TWO, three)), change(&[3], &[]), "a proposed member is one already");
        assert_eq!(addresses.listen_elections(), ["a:2"], "what is proposed may come to nothing");
        assert_eq!(addresses.set(members(three, "")), change(&[], &[2]));
        assert_eq!(addresses.listen_elections(), ["x:8"]);
        assert_eq!(addresses.set(members("server.3=d:1:2", "")), change(&[], &[]));
        assert_eq!(addresses.own_election(), ["x:8"], "one that was removed stays where it is");
    }
}
