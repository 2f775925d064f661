//! Elections among servers that hear each other at once.

use std::collections::BTreeMap;

use super::*;
use crate::config::ServerSpec;

const fn at(steady_ms: u64) -> Now {
    Now { steady_ms, wall_ms: 0 }
}

fn ensemble(servers: u8) -> Ensemble {
    Ensemble::new(0, (1..=servers).filter_map(|id| ServerSpec::parse(id, "h:1:2")))
}

const fn quorums(committed: &Ensemble) -> Quorums<'_> {
    Quorums { committed, proposed: None, rumoured: None }
}

/// Servers that hear each other at once, and the leader that each has decided for.
struct Room {
    ensemble: Ensemble,
    /// Servers with other lines.
    astray: BTreeMap<Sid, Ensemble>,
    elections: BTreeMap<Sid, Election>,
    decided: BTreeMap<Sid, i64>,
    /// What each has said last to each other: it is said again to one that comes, as the election port does.
    said: BTreeMap<(Sid, Sid), Notification>,
    now_ms: u64,
}

impl Room {
    fn new(servers: u8) -> Self {
        let ensemble = ensemble(servers);
        let (astray, elections, decided, said) = Default::default();
        Self { ensemble, astray, elections, decided, said, now_ms: 0 }
    }

    /// The members as this server knows them.
    fn lines(&self, sid: Sid) -> Ensemble {
        self.astray.get(&sid).unwrap_or(&self.ensemble).clone()
    }

    fn start(&mut self, sid: u8, zxid: Zxid, epoch: Epoch) {
        let mut election = Election::new(Sid(sid), ElectionRules::default());
        let lines = self.lines(Sid(sid));
        let vote = election.look(at(self.now_ms), Candidacy { zxid, epoch }, quorums(&lines));
        self.elections.insert(Sid(sid), election);
        self.decide(Sid(sid), vote);
        let last: Vec<_> = self.said.iter().filter(|((_, to), _)| *to == Sid(sid)).collect();
        let last: Vec<_> = last.into_iter().map(|((from, _), said)| (*from, said.clone())).collect();
        for (from, said) in last {
            self.deliver(from, Sid(sid), &said);
        }
        self.talk();
    }

    /// One that followed, or led, has left that.
    fn look_again(&mut self, sid: u8, zxid: Zxid, epoch: Epoch) {
        let lines = self.lines(Sid(sid));
        let Some(election) = self.elections.get_mut(&Sid(sid)) else { return };
        let vote = election.look(at(self.now_ms), Candidacy { zxid, epoch }, quorums(&lines));
        self.decided.remove(&Sid(sid));
        self.decide(Sid(sid), vote);
        self.talk();
    }

    fn deliver(&mut self, from: Sid, to: Sid, message: &Notification) {
        let now = at(self.now_ms);
        let lines = self.lines(to);
        let Some(election) = self.elections.get_mut(&to) else { return };
        let vote = election.receive(now, from, message, quorums(&lines));
        self.decide(to, vote);
    }

    fn decide(&mut self, sid: Sid, vote: Option<Vote>) {
        let (Some(vote), Some(election)) = (vote, self.elections.get_mut(&sid)) else { return };
        let leads = vote.leader == i64::from(sid.0);
        election.settle(if leads { PeerState::Leading } else { PeerState::Following }, vote);
        self.decided.insert(sid, vote.leader);
    }

    /// Until nobody has anything to say.
    fn talk(&mut self) {
        let sids: Vec<_> = self.elections.keys().copied().collect();
        let mut quiet = false;
        let mut messages = 0;
        while !quiet {
            quiet = true;
            for from in &sids {
                while let Some((to, message)) = self.elections.get_mut(from).and_then(Election::poll_send) {
                    quiet = false;
                    messages += 1;
                    assert!(messages < 1000, "they go on for ever");
                    self.deliver(*from, to, &message);
                    self.said.insert((*from, to), message);
                }
            }
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        for sid in self.elections.keys().copied().collect::<Vec<_>>() {
            let now = at(self.now_ms);
            let lines = self.lines(sid);
            let vote = self.elections.get_mut(&sid).and_then(|election| election.tick(now, quorums(&lines)));
            self.decide(sid, vote);
        }
        self.talk();
    }

    fn lose(&mut self, sid: u8) {
        self.elections.remove(&Sid(sid));
        self.said.retain(|(from, _), _| *from != Sid(sid));
        self.decided.remove(&Sid(sid));
        for other in self.elections.keys().copied().collect::<Vec<_>>() {
            let now = at(self.now_ms);
            let lines = self.lines(other);
            let quorums = quorums(&lines);
            let vote = self.elections.get_mut(&other).and_then(|e| e.reachable(now, Sid(sid), false, quorums));
            self.decide(other, vote);
        }
        self.talk();
    }

    fn leaders(&self) -> Vec<(u8, i64)> {
        self.decided.iter().map(|(sid, leader)| (sid.0, *leader)).collect()
    }
}

#[test]
fn five_servers_started_in_order_1_and_2_look_3_leads_4_and_5_follow() {
    let mut room = Room::new(5);
    room.start(1, Zxid::ZERO, 0);
    room.start(2, Zxid::ZERO, 0);
    room.wait(1000);
    assert_eq!(room.leaders(), [], "two of five are no quorum");
    room.start(3, Zxid::ZERO, 0);
    assert_eq!(room.leaders(), [], "4 and 5 may still say something better");
    room.wait(200);
    assert_eq!(room.leaders(), [(1, 3), (2, 3), (3, 3)]);
    room.start(4, Zxid::ZERO, 0);
    room.start(5, Zxid::ZERO, 0);
    assert_eq!(room.leaders(), [(1, 3), (2, 3), (3, 3), (4, 3), (5, 3)]);
}

#[test]
fn nobody_waits_for_servers_that_cannot_be_reached() {
    let mut room = Room::new(3);
    room.start(1, Zxid::ZERO, 0);
    room.start(2, Zxid::ZERO, 0);
    assert_eq!(room.leaders(), []);
    room.lose(3);
    assert_eq!(room.leaders(), [(1, 2), (2, 2)]);
}

/// A vote is lost on one that still follows: it gets it again when it looks, and not only when votes are repeated.
#[test]
fn who_misses_the_leader_later_than_others_is_not_waited_for() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut room = Room::new(3);
        for sid in 1..=3 {
            room.start(sid, Zxid::ZERO, 0);
        }
        assert_eq!(room.leaders(), [(1, 3), (2, 3), (3, 3)]);
        room.lose(3);
        room.look_again(first, Zxid::ZERO, 1);
        assert_eq!(room.leaders(), [(second, 3)]);
        room.look_again(second, Zxid::ZERO, 1);
        assert_eq!(room.leaders(), [(1, 2), (2, 2)], "{first} looked first");
    }
}

/// Voters answer an observer whatever it votes; one that was added to the lines of one server only takes itself for a voter.
#[test]
fn outsiders_and_voters_come_to_an_end() {
    for (outsider, its_lines) in [(9, 5), (6, 6)] {
        let mut room = Room::new(5);
        room.astray.insert(Sid(outsider), ensemble(its_lines));
        room.start(2, Zxid::ZERO, 0);
        room.start(outsider, Zxid::ZERO, 0);
        room.lose(2);
        room.start(1, Zxid::ZERO, 0);
        room.wait(1000);
        assert_eq!(room.leaders(), []);
        room.start(3, Zxid::ZERO, 0);
        room.start(4, Zxid::ZERO, 0);
        room.wait(1000);
        assert_eq!(
            room.leaders().into_iter().filter(|(sid, _)| *sid < 5).collect::<Vec<_>>(),
            [(1, 4), (3, 4), (4, 4)]
        );
    }
}

#[test]
fn when_all_have_voted_there_is_nothing_to_wait_for() {
    let mut room = Room::new(3);
    room.start(1, Zxid::new(1, 9), 1);
    room.start(2, Zxid::new(1, 7), 1);
    room.start(3, Zxid::new(1, 8), 1);
    assert_eq!(room.leaders(), [(1, 1), (2, 1), (3, 1)]);
}

#[test]
fn the_epoch_counts_before_the_zxid_and_the_zxid_before_the_number() {
    let three = ensemble(3);
    let vote = |epoch, zxid, leader| Vote { leader, zxid, round: 1, epoch };
    let order =
        [vote(1, Zxid::new(1, 5), 3), vote(1, Zxid::new(1, 6), 1), vote(1, Zxid::new(1, 6), 2), vote(2, Zxid::ZERO, 1)];
    for pair in order.windows(2) {
        assert!(beats(pair[1], pair[0], quorums(&three)) && !beats(pair[0], pair[1], quorums(&three)));
    }
    assert!(!beats(order[0], order[0], quorums(&three)));
}

#[test]
fn who_weighs_nothing_never_leads() {
    let text = "server.1=h:1:2\nserver.2=h:3:4\nserver.3=h:5:6\ngroup.1=1:2:3\nweight.1=1\nweight.2=1\nweight.3=0";
    let grouped = Ensemble::parse(text).expect("an ensemble");
    let mut room = Room { ensemble: grouped, ..Room::new(0) };
    for sid in 1..=3 {
        room.start(sid, Zxid::ZERO, 0);
    }
    room.wait(200);
    assert_eq!(room.leaders(), [(1, 2), (2, 2), (3, 2)]);
}

#[test]
fn who_is_only_to_be_a_voter_weighs_what_it_will() {
    let ensemble = |text: &str| Ensemble::parse(text).expect("an ensemble");
    let committed =
        ensemble("server.1=h:1:2\nserver.2=h:3:4\nserver.3=h:5:6\ngroup.1=1:2:3\nweight.1=1\nweight.2=1\nweight.3=1");
    let proposed =
        ensemble("server.3=h:5:6\nserver.4=h:7:8\nserver.5=h:9:10\ngroup.1=3:4:5\nweight.3=1\nweight.4=1\nweight.5=0");
    let vote = |leader, zxid| Vote { leader, zxid, round: 1, epoch: 1 };
    let beats = |leader| {
        let quorums = Quorums { committed: &committed, proposed: None, rumoured: Some(&proposed) };
        beats(vote(leader, Zxid::new(1, 6)), vote(2, Zxid::new(1, 5)), quorums)
    };
    assert!(beats(4), "nobody else has all that may be committed");
    assert!(!beats(5) && !beats(6));
}

#[test]
fn a_running_leader_is_not_challenged_by_a_better_vote() {
    let mut room = Room::new(3);
    room.start(1, Zxid::new(1, 1), 1);
    room.start(2, Zxid::new(1, 1), 1);
    room.wait(200);
    assert_eq!(room.leaders(), [(1, 2), (2, 2)]);
    room.start(3, Zxid::new(1, 7), 1);
    assert_eq!(room.leaders(), [(1, 2), (2, 2), (3, 2)]);
}

#[test]
fn nobody_follows_a_dead_leader_on_hearsay() {
    let mut room = Room::new(5);
    for sid in 1..=4 {
        room.start(sid, Zxid::ZERO, 0);
    }
    room.wait(200);
    assert_eq!(room.leaders(), [(1, 4), (2, 4), (3, 4), (4, 4)]);
    // 4 is gone, and 1 to 3 have not noticed: they still say that they follow it.
    room.elections.remove(&Sid(4));
    room.said.clear();
    room.start(5, Zxid::ZERO, 0);
    assert!(!room.decided.contains_key(&Sid(5)));
}

#[test]
fn votes_of_an_older_round_are_answered_and_do_not_count() {
    let three = ensemble(3);
    let mut election = Election::new(Sid(1), ElectionRules::default());
    let own = Candidacy { zxid: Zxid::ZERO, epoch: 0 };
    for _ in 0..3 {
        assert_eq!(election.look(at(0), own, quorums(&three)), None);
    }
    while election.poll_send().is_some() {}
    let old = Vote { leader: 3, zxid: Zxid::new(1, 1), round: 2, epoch: 1 };
    let heard = Notification { state: PeerState::Looking, vote: old, version: 2, config: None, proposed: None };
    assert_eq!(election.receive(at(1), Sid(3), &heard, quorums(&three)), None);
    let (to, answer) = election.poll_send().expect("an answer");
    assert_eq!((to, answer.vote.leader, answer.vote.round), (Sid(3), 1, 3));
    assert!(election.poll_send().is_none(), "the vote has not changed");
    let new = Notification { vote: Vote { round: 7, ..old }, ..heard };
    assert_eq!(election.receive(at(1), Sid(3), &new, quorums(&three)), None);
    assert_eq!((election.round(), election.poll_send().map(|(_, sent)| sent.vote.leader)), (7, Some(3)));
}

#[test]
fn a_server_that_lost_its_database_neither_counts_nor_leads() {
    let mut room = Room::new(3);
    room.start(1, Zxid(-1), -1);
    room.start(3, Zxid::new(1, 1), 1);
    room.wait(1000);
    assert_eq!(room.leaders(), []);
    room.start(2, Zxid::ZERO, 0);
    room.wait(200);
    assert_eq!(room.decided.get(&Sid(2)), Some(&3));
    room.wait(1000);
    assert_eq!(room.leaders(), [(1, 3), (2, 3), (3, 3)], "it follows whom the others follow");
}

#[test]
fn an_observer_is_told_and_follows() {
    let text = "server.1=h:1:2\nserver.2=h:3:4\nserver.3=h:5:6:observer";
    let mut room = Room { ensemble: Ensemble::parse(text).expect("an ensemble"), ..Room::new(0) };
    room.start(3, Zxid::ZERO, 0);
    room.start(1, Zxid::ZERO, 0);
    assert_eq!(room.leaders(), [], "an observer's vote counts for nothing");
    room.start(2, Zxid::ZERO, 0);
    room.wait(200);
    room.wait(1000);
    assert_eq!(room.leaders(), [(1, 2), (2, 2), (3, 2)]);
}

#[test]
fn after_the_epoch_has_begun_its_number_is_told() {
    let three = ensemble(3);
    let mut election = Election::new(Sid(2), ElectionRules::default());
    let vote = Vote { leader: 2, zxid: Zxid::ZERO, round: 1, epoch: 0 };
    election.settle(PeerState::Leading, vote);
    election.joined(1);
    let heard = Notification { state: PeerState::Looking, vote, version: 2, config: None, proposed: None };
    assert_eq!(election.receive(at(0), Sid(1), &heard, quorums(&three)), None);
    let (_, answer) = election.poll_send().expect("an answer");
    assert_eq!((answer.state, answer.vote), (PeerState::Leading, Vote { epoch: 1, ..vote }));
}

fn looking(vote: Vote) -> Notification {
    Notification { state: PeerState::Looking, vote, version: 2, config: None, proposed: None }
}

#[test]
fn an_outsider_that_has_a_leader_is_told_nothing() {
    let three = ensemble(3);
    let mut election = Election::new(Sid(1), ElectionRules::default());
    election.look(at(0), Candidacy { zxid: Zxid::new(1, 5), epoch: 1 }, quorums(&three));
    while election.poll_send().is_some() {}
    let vote = Vote { leader: 2, zxid: Zxid::new(1, 5), round: 1, epoch: 1 };
    for (state, is_told) in [(PeerState::Observing, false), (PeerState::Following, false), (PeerState::Looking, true)] {
        election.receive(at(1), Sid(9), &Notification { state, ..looking(vote) }, quorums(&three));
        assert_eq!(election.poll_send().is_some(), is_told, "{state:?}");
    }
}

#[test]
fn a_voter_to_be_that_names_nobody_tells_its_round() {
    let (proposed, committed) = (ensemble(3), ensemble(1));
    let quorums = Quorums { committed: &committed, proposed: Some(&proposed), rumoured: None };
    let mut election = Election::new(Sid(1), ElectionRules::default());
    let own = Candidacy { zxid: Zxid::new(1, 5), epoch: 1 };
    assert_eq!(election.look(at(0), own, quorums), None, "the voters to be have to agree");
    let nobody = Vote { leader: NO_SERVER, zxid: Zxid::new(1, 5), round: 7, epoch: 1 };
    assert_eq!(election.receive(at(1), Sid(2), &looking(nobody), quorums), None);
    assert_eq!(election.round(), 7);
    let mine = Vote { leader: 1, ..nobody };
    election.receive(at(2), Sid(2), &looking(mine), quorums);
    assert_eq!(election.receive(at(3), Sid(3), &looking(mine), quorums), Some(mine));
}

#[test]
fn a_voter_to_be_names_itself_in_every_other_round() {
    let (proposed, committed) = (ensemble(3), ensemble(1));
    let quorums = Quorums { committed: &committed, proposed: Some(&proposed), rumoured: None };
    let mut election = Election::new(Sid(2), ElectionRules::default());
    election.look(at(0), Candidacy { zxid: Zxid::new(1, 6), epoch: 1 }, quorums);
    let behind = Vote { leader: 1, zxid: Zxid::new(1, 5), round: 1, epoch: 1 };
    election.receive(at(1), Sid(1), &looking(behind), quorums);
    let mut named = Vec::new();
    for ms in (0..20_000).step_by(100) {
        election.tick(at(ms), quorums);
        while let Some((_, message)) = election.poll_send() {
            named.push((message.vote.round, message.vote.leader));
        }
    }
    named.dedup();
    assert_eq!(named[..4], [(1, NO_SERVER), (2, 2), (3, NO_SERVER), (4, 2)]);
}

#[test]
fn who_has_heard_of_members_to_be_waits_for_those_who_have_to_agree_elsewhere() {
    let (rumoured, committed) = (ensemble(3), ensemble(2));
    let quorums = Quorums { committed: &committed, proposed: None, rumoured: Some(&rumoured) };
    let vote = |leader, counter| Vote { leader, zxid: Zxid::new(1, counter), round: 1, epoch: 1 };
    let mut election = Election::new(Sid(2), ElectionRules::default());
    election.look(at(0), Candidacy { zxid: Zxid::new(1, 4), epoch: 1 }, quorums);
    assert_eq!(election.receive(at(1), Sid(1), &looking(vote(1, 5)), quorums), None, "server 3 may know more");
    assert_eq!(election.receive(at(2), Sid(1), &looking(vote(3, 6)), quorums), None);
    assert_eq!(election.tick(at(201), quorums), None);
    assert_eq!(election.tick(at(202), quorums), Some(vote(3, 6)));
}
