//! Who the servers of an ensemble are, and which of them together are a quorum (election.md 4 and 6).
//!
//! A quorum is a majority of the voters; or, where the configuration has groups, a majority of the weight in each of a
//! majority of the groups. Two quorums always have a voter in common, and everything that is promised rests on that.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::config::{Config, ConfigError, Members, ServerRole, ServerSpec};
use crate::ids::{Sid, Zxid};

/// Who the servers are and what a quorum is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ensemble {
    version: i64,
    servers: BTreeMap<Sid, ServerSpec>,
    groups: Option<Groups>,
}

/// Voters in groups.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Groups {
    /// The group of each server.
    of: BTreeMap<Sid, u64>,
    /// What each server weighs.
    weights: BTreeMap<Sid, u64>,
}

/// Servers that can not be an ensemble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnsembleError {
    /// A text that is no configuration.
    #[error(transparent)]
    Text(#[from] ConfigError),
    /// Nobody could ever be elected.
    #[error("no server is a participant")]
    NoParticipants,
    /// Its vote would count twice.
    #[error("server {} is in more than one place in the groups", .0.0)]
    GroupedTwice(Sid),
    /// Its vote would count nowhere.
    #[error("server {} is in no group, and with groups or weights every participant must be in one", .0.0)]
    Ungrouped(Sid),
    /// It has no vote, and nothing says what it weighs instead.
    #[error("server {} is in a group, but it is no participant and has no weight", .0.0)]
    Weightless(Sid),
}

impl Ensemble {
    /// An ensemble whose quorums are the majorities of its participants.
    #[must_use]
    pub fn new(version: i64, servers: impl IntoIterator<Item = ServerSpec>) -> Self {
        let servers = servers.into_iter().map(|server| (Sid(server.id), server)).collect();
        Self { version, servers, groups: None }
    }

    /// The same servers in groups; a participant without a weight weighs 1.
    ///
    /// # Errors
    /// Every participant must be in one group, and whoever else is in one must have a weight.
    pub fn with_groups(
        mut self,
        groups: impl IntoIterator<Item = (u64, Vec<Sid>)>,
        weights: impl IntoIterator<Item = (Sid, u64)>,
    ) -> Result<Self, EnsembleError> {
        let mut of = BTreeMap::new();
        for (group, sids) in groups {
            for sid in sids {
                if of.insert(sid, group).is_some() {
                    return Err(EnsembleError::GroupedTwice(sid));
                }
            }
        }
        let mut weights: BTreeMap<_, _> = weights.into_iter().collect();
        for sid in self.voters() {
            weights.entry(sid).or_insert(1);
            if !of.contains_key(&sid) {
                return Err(EnsembleError::Ungrouped(sid));
            }
        }
        if let Some(sid) = of.keys().find(|sid| !weights.contains_key(sid)) {
            return Err(EnsembleError::Weightless(*sid));
        }
        self.groups = Some(Groups { of, weights });
        Ok(self)
    }

    /// What the configuration of this server says.
    ///
    /// # Errors
    /// See [`EnsembleError`].
    pub fn from_config(config: &Config) -> Result<Self, EnsembleError> {
        Self::from_members(config.members.clone())
    }

    /// Reads the text that servers send each other. It may hold anything.
    ///
    /// # Errors
    /// See [`EnsembleError`]. An empty text is an error as well: it has no participants.
    pub fn parse(text: &str) -> Result<Self, EnsembleError> {
        Self::from_members(Members::parse("configuration", text)?)
    }

    /// Those servers, groups and weights.
    ///
    /// # Errors
    /// See [`EnsembleError`].
    pub fn from_members(Members { version, servers, groups, weights }: Members) -> Result<Self, EnsembleError> {
        let ensemble = Self { version, servers, groups: None };
        // The reference can not read a configuration without participants: its election would stop for good.
        if ensemble.voters().next().is_none() {
            return Err(EnsembleError::NoParticipants);
        }
        if groups.is_empty() && weights.is_empty() { Ok(ensemble) } else { ensemble.with_groups(groups, weights) }
    }

    /// The text that servers send each other, which is also what clients find in `/zookeeper/config`.
    #[must_use]
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// The zxid that established this configuration; 0 if it was never established.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The same as a zxid.
    #[must_use]
    pub fn zxid(&self) -> Zxid {
        Zxid(self.version)
    }

    /// Whether quorums are majorities of the voters.
    #[must_use]
    pub fn is_majority(&self) -> bool {
        self.groups.is_none()
    }

    /// Says what established it.
    pub fn set_version(&mut self, version: i64) {
        self.version = version;
    }

    /// All servers in order of their ids.
    pub fn servers(&self) -> impl Iterator<Item = (Sid, &ServerSpec)> {
        self.servers.iter().map(|(sid, server)| (*sid, server))
    }

    /// One server.
    #[must_use]
    pub fn server(&self, sid: Sid) -> Option<&ServerSpec> {
        self.servers.get(&sid)
    }

    /// Whether this server has a vote.
    #[must_use]
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.server(sid).is_some_and(|server| server.role == ServerRole::Participant)
    }

    /// Whether this server is one of the ensemble and has no vote.
    #[must_use]
    pub fn is_observer(&self, sid: Sid) -> bool {
        self.server(sid).is_some_and(|server| server.role == ServerRole::Observer)
    }

    /// Whoever has a vote, in order of their ids.
    pub fn voters(&self) -> impl Iterator<Item = Sid> {
        self.servers().filter(|(_, server)| server.role == ServerRole::Participant).map(|(sid, _)| sid)
    }

    /// What a vote of this server weighs; a server that weighs nothing can not lead.
    #[must_use]
    pub fn weight(&self, sid: Sid) -> u64 {
        match &self.groups {
            Some(groups) => groups.weights.get(&sid).copied().unwrap_or(0),
            None => 1,
        }
    }

    /// Whether the voters that are `in_set` are a quorum. Others do not count, whatever `in_set` says of them.
    #[must_use]
    pub fn is_quorum(&self, in_set: impl Fn(Sid) -> bool) -> bool {
        match &self.groups {
            Some(groups) => groups.is_quorum(|sid| self.is_voter(sid) && in_set(sid)),
            None => self.voters().filter(|sid| in_set(*sid)).count() > self.voters().count() / 2,
        }
    }

    /// Whether both have the same quorums: the same voters with the same weights, wherever they are. Observers do not count.
    #[must_use]
    pub fn same_quorums(&self, other: &Self) -> bool {
        self.voters().eq(other.voters()) && self.groups == other.groups
    }

    /// Whether both are the same servers in the same roles, at the same addresses, with the same quorums. As in the
    /// reference, configurations of one version are taken for the same without a look.
    #[must_use]
    pub fn same_members(&self, other: &Self) -> bool {
        self.version == other.version || (&self.servers, &self.groups) == (&other.servers, &other.groups)
    }
}

/// The text of election.md 6: no line end behind the version.
impl fmt::Display for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sid, server) in self.servers() {
            writeln!(f, "server.{}={server}", sid.0)?;
        }
        if let Some(groups) = &self.groups {
            for (group, sids) in groups.lines() {
                writeln!(f, "group.{group}={sids}")?;
            }
            for (sid, weight) in &groups.weights {
                writeln!(f, "weight.{}={weight}", sid.0)?;
            }
        }
        write!(f, "version={:x}", self.version)
    }
}

impl Groups {
    /// A majority of the weight in a majority of the groups; groups that weigh nothing do not count.
    fn is_quorum(&self, in_set: impl Fn(Sid) -> bool) -> bool {
        // Weights are at most 2^63 and servers at most 256, so that sums of 128 bits can not overflow.
        let mut groups: BTreeMap<u64, (u128, u128)> = BTreeMap::new();
        for (sid, group) in &self.of {
            let weight = self.weights.get(sid).map_or(0, |weight| u128::from(*weight));
            let (sum, total) = groups.entry(*group).or_default();
            *total += weight;
            *sum += if in_set(*sid) { weight } else { 0 };
        }
        groups.retain(|_, (_, total)| *total > 0);
        groups.values().filter(|(sum, total)| *sum > *total / 2).count() > groups.len() / 2
    }

    /// Each group with its servers as `1:2:3`.
    fn lines(&self) -> BTreeMap<u64, String> {
        let mut lines: BTreeMap<u64, String> = BTreeMap::new();
        for (sid, group) in &self.of {
            let line = lines.entry(*group).or_default();
            let between = if line.is_empty() { "" } else { ":" };
            let _ = write!(line, "{between}{}", sid.0);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(participants: u8, observers: u8) -> Vec<ServerSpec> {
        let server = |id, role| ServerSpec::parse(id, &format!("host{id}:2888:3888:{role}"));
        let participants_and_observers = (1..=participants)
            .map(|id| server(id, ServerRole::Participant))
            .chain((participants + 1..=participants + observers).map(|id| server(id, ServerRole::Observer)));
        participants_and_observers.map(Option::unwrap).collect()
    }

    fn majority(participants: u8, observers: u8) -> Ensemble {
        Ensemble::new(0, servers(participants, observers))
    }

    fn sids(ids: &[u8]) -> Vec<Sid> {
        ids.iter().copied().map(Sid).collect()
    }

    fn is_quorum(ensemble: &Ensemble, ids: &[u8]) -> bool {
        ensemble.is_quorum(|sid| ids.contains(&sid.0))
    }

    const RECORDED: [&str; 4] = [
        "server.1=127.0.0.1:24021:24041:participant\nserver.2=127.0.0.1:24022:24042:participant\nversion=0",
        "server.2=127.0.0.1:24022:24042:participant;127.0.0.1:24002\n\
         server.4=127.0.0.1:24024:24044:observer;127.0.0.1:24004\nversion=100000006",
        "server.1=127.0.0.1:24021:24041|127.0.0.2:24021:24041:participant\nversion=0",
        "server.1=127.0.0.1:24021:24041:participant\nserver.2=127.0.0.1:24022:24042:participant\n\
         server.3=127.0.0.1:24023:24043:participant\nserver.4=127.0.0.1:24024:24044:participant\n\
         server.5=127.0.0.1:24025:24045:participant\ngroup.1=1:2:3\ngroup.2=4:5\n\
         weight.1=1\nweight.2=1\nweight.3=1\nweight.4=0\nweight.5=0\nversion=0",
    ];

    #[test]
    fn texts_of_the_reference_are_written_as_they_were_read() {
        for text in RECORDED {
            assert_eq!(Ensemble::parse(text).unwrap().text(), text);
        }
    }

    #[test]
    fn observers_change_no_quorum() {
        assert!(majority(3, 0).same_quorums(&majority(3, 2)) && !majority(3, 1).same_quorums(&majority(4, 0)));
    }

    #[test]
    fn a_majority_of_the_participants_is_a_quorum() {
        let ensemble = majority(4, 2);
        assert!(is_quorum(&ensemble, &[1, 2, 3]) && !is_quorum(&ensemble, &[1, 2]));
        assert!(!is_quorum(&ensemble, &[1, 2, 5, 6, 7]), "observers and strangers do not count");
        assert!(is_quorum(&majority(1, 0), &[1]) && !is_quorum(&majority(0, 3), &[1, 2, 3]));
        assert_eq!((ensemble.weight(Sid(5)), ensemble.voters().collect::<Vec<_>>()), (1, sids(&[1, 2, 3, 4])));
        assert!(ensemble.is_observer(Sid(5)) && !ensemble.is_observer(Sid(4)) && !ensemble.is_observer(Sid(7)));
    }

    #[test]
    fn with_groups_a_majority_of_the_groups_is_a_quorum_each_by_its_weight() {
        let groups = [(1, sids(&[1, 2, 3])), (2, sids(&[4, 5, 6])), (3, sids(&[7, 8, 9]))];
        let ensemble = majority(9, 1).with_groups(groups, [(Sid(4), 5), (Sid(10), 7)]).unwrap();
        assert!(is_quorum(&ensemble, &[1, 2, 4]), "server 4 alone outweighs its group");
        assert!(!is_quorum(&ensemble, &[1, 2, 5, 6]) && !is_quorum(&ensemble, &[1, 2, 3, 5, 7, 10]));
        assert_eq!((ensemble.weight(Sid(4)), ensemble.weight(Sid(1)), ensemble.weight(Sid(77))), (5, 1, 0));
    }

    #[test]
    fn groups_that_weigh_nothing_do_not_count() {
        let ensemble = Ensemble::parse(RECORDED[3]).unwrap();
        assert!(is_quorum(&ensemble, &[1, 2]) && !is_quorum(&ensemble, &[3, 4, 5]));
        let even = majority(2, 0).with_groups([(1, sids(&[1, 2]))], []).unwrap();
        assert!(is_quorum(&even, &[1, 2]) && !is_quorum(&even, &[1]), "half of the weight is not enough");
        let nothing = majority(1, 0).with_groups([(1, sids(&[1]))], [(Sid(1), 0)]).unwrap();
        assert!(!is_quorum(&nothing, &[1]));
    }

    #[test]
    fn every_participant_is_in_exactly_one_group() {
        let refused = |groups: &[(u64, &[u8])]| {
            majority(2, 1).with_groups(groups.iter().map(|(group, ids)| (*group, sids(ids))), []).unwrap_err()
        };
        assert_eq!(refused(&[(1, &[1])]), EnsembleError::Ungrouped(Sid(2)));
        assert_eq!(refused(&[(1, &[1, 2]), (2, &[2])]), EnsembleError::GroupedTwice(Sid(2)));
        assert_eq!(refused(&[(1, &[1, 2, 3])]), EnsembleError::Weightless(Sid(3)));
        let weights_alone = Ensemble::parse("server.1=a:1:2\nweight.1=1");
        assert_eq!(weights_alone, Err(EnsembleError::Ungrouped(Sid(1))));
    }

    #[test]
    fn texts_that_stop_the_election_of_the_reference_are_refused() {
        assert_eq!(Ensemble::parse(""), Err(EnsembleError::NoParticipants));
        assert_eq!(Ensemble::parse("server.1=a:1:2:observer"), Err(EnsembleError::NoParticipants));
        let version = Ensemble::parse("server.1=a:1:2\nversion=xyz").unwrap_err().to_string();
        assert_eq!(version, "configuration:2: version=xyz: expected a hexadecimal number");
        assert!(matches!(Ensemble::parse("server.1=a:1:2\nfoo=1"), Err(EnsembleError::Text(_))));
    }

    #[test]
    fn members_differ_when_a_role_an_address_or_a_weight_does() {
        let at = |version, text: &str| Ensemble::parse(&format!("{text}\nversion={version}")).unwrap();
        let here = at(0, "server.1=a:1:2");
        assert!(here.same_members(&at(5, "server.1=a:1:2:participant")));
        assert!(here.same_members(&at(0, "server.1=b:1:2")), "one version, one configuration");
        for other in [
            "server.1=b:1:2",
            "server.1=a:1:2;3",
            "server.1=a:1:2\nserver.2=b:1:2:observer",
            "server.1=a:1:2\ngroup.1=1",
        ] {
            assert!(!here.same_members(&at(5, other)), "{other}");
        }
        assert!(at(1, "server.1=a:1:2;3").same_members(&at(2, "server.1=a:1:2;0.0.0.0:3")));
    }

    #[test]
    fn the_configuration_of_a_server_says_who_they_are() {
        let text = "dataDir=/d\ninitLimit=5\nsyncLimit=2\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\n";
        let config = |groups: &str| Config::parse("zoo.cfg", &format!("{text}{groups}"), &[]).unwrap();
        let ensemble = Ensemble::from_config(&config("")).unwrap();
        assert_eq!((ensemble.version(), ensemble.servers().count(), ensemble.voters().count()), (0, 3, 2));
        let grouped = Ensemble::from_config(&config("group.1=1:2\nweight.2=3")).unwrap();
        assert_eq!((grouped.weight(Sid(2)), is_quorum(&grouped, &[2])), (3, true));
        assert_eq!(Ensemble::from_config(&config("group.1=1")), Err(EnsembleError::Ungrouped(Sid(2))));
    }

    fn line() -> impl Strategy<Value = String> {
        let server = "server\\.[0-9]{1,2}=[a-c]{1,2}:[1-3]:[4-6](\\|[a-c]:[1-3]:[4-6])?(:observer|:participant)?(;([a-c]:)?[0-9]{1,4}){0,2}";
        let group = "group\\.[12]=[0-9](:[0-9]){0,4}";
        prop_oneof![8 => server, 1 => group, 1 => "weight\\.[0-9]=[0-9]{1,2}", 1 => "version=[0-9a-f]{1,15}"]
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Ensemble::parse(&text);
        }

        #[test]
        fn what_was_read_is_written_so_that_it_reads_the_same(lines in prop::collection::vec(line(), 0..6)) {
            if let Ok(ensemble) = Ensemble::parse(&lines.join("\n")) {
                let again = Ensemble::parse(&ensemble.text());
                prop_assert_eq!(again.as_ref(), Ok(&ensemble));
                prop_assert_eq!(again.map(|again| again.text()), Ok(ensemble.text()));
            }
        }

        #[test]
        fn two_quorums_have_a_voter_in_common(
            votes in prop::collection::vec((0..3_u8, 0..4_u64, 0..4_u8), 1..9),
            in_groups in any::<bool>(),
        ) {
            let mut ensemble = majority(u8::try_from(votes.len()).unwrap(), 0);
            if in_groups {
                let of = |group| (1..).zip(&votes).filter(|(_, vote)| vote.0 == group).map(|(id, _)| Sid(id)).collect();
                let weights = (1..).zip(&votes).map(|(id, vote)| (Sid(id), vote.1));
                ensemble = ensemble.with_groups((0..3).map(|group| (u64::from(group), of(group))), weights).unwrap();
            }
            let side = |bit: u8| ensemble.is_quorum(|sid| votes[usize::from(sid.0) - 1].2 & bit != 0);
            let in_common = votes.iter().any(|vote| vote.2 == 3);
            prop_assert!(!(side(1) && side(2)) || in_common);
        }
    }
}
