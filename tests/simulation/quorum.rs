//! The quorum port, as `net::quorum` has it: learners' connections while this server leads, and the one to the leader
//! while it follows.

use bytes::BytesMut;
use zkd::ids::{LinkId, Sid};
use zkd::peer::{Door, Input};
use zkd::tree::Walked;
use zkd::zab::{Arrival, LeaderStream, LearnerStream, Packet, SNAPSHOT_SIGNATURE};

use super::network::{ConnId, Kind};
use super::plan::node as node_of;
use super::rim::Piece;
use super::schedule::{Event, Purpose, ms};
use super::server::{LeaderLink, LearnerLink};
use super::world::World;

/// The longest field on the wire, bytes.
const FIELD_BYTES_MAX: usize = 2 << 20;
/// How much of a tree goes out in one step, bytes.
const STEP_BYTES: usize = 1500;

impl World {
    pub(crate) fn new_learner_link(&mut self, node: usize) -> LinkId {
        let process = self.process(node);
        process.next_link += 1;
        LinkId(process.next_link)
    }

    /// Opens this door and no other, and closes all connections of learners.
    pub(crate) fn listen(&mut self, node: usize, door: Option<Door>) {
        let process = self.process(node);
        process.listens = door;
        for link in std::mem::take(&mut process.learners).into_values() {
            self.drop_learner(node, link);
        }
    }

    fn drop_learner(&mut self, node: usize, link: LearnerLink) {
        self.hang_up(link.conn, 1);
        let waiting = link.out.into_iter().filter_map(|piece| match piece {
            Piece::Database(start) => Some(start),
            Piece::Bytes(_) => None,
        });
        for start in link.walk.into_iter().chain(waiting) {
            self.give(node, Input::WalkEnded(start.walk, false));
        }
    }

    pub(crate) fn for_learner(&mut self, node: usize, link: LinkId, piece: Piece) {
        match self.process(node).learners.get_mut(&link) {
            Some(learner) => {
                learner.out.push_back(piece);
                self.pump_learner(node, link);
            }
            None => {
                if let Piece::Database(start) = piece {
                    self.give(node, Input::WalkEnded(start.walk, false));
                }
            }
        }
    }

    /// Sends what waits, up to a database.
    fn pump_learner(&mut self, node: usize, link: LinkId) {
        loop {
            let Some(learner) = self.process(node).learners.get_mut(&link) else { return };
            if learner.walk.is_some() {
                return;
            }
            let conn = learner.conn;
            match learner.out.pop_front() {
                None => return,
                Some(Piece::Bytes(bytes)) => self.send(conn, 1, bytes),
                Some(Piece::Database(start)) => {
                    let mut bytes = Packet::Snap(start.zxid).to_bytes().to_vec();
                    bytes.extend_from_slice(&start.head);
                    learner.walk = Some(start);
                    self.send(conn, 1, bytes);
                    self.plan_database_step(node, link);
                }
            }
        }
    }

    fn plan_database_step(&mut self, node: usize, link: LinkId) {
        let (at, boot) = (self.now + self.random.u64(20..ms(3)), self.boot_of(node));
        self.schedule.at(at, Event::DatabaseStep { node, boot, link });
    }

    pub(crate) fn database_step(&mut self, node: usize, link: LinkId) {
        let process = self.process(node);
        let Some(learner) = process.learners.get_mut(&link) else { return };
        let Some(walk) = learner.walk.as_ref().map(|start| start.walk) else { return };
        let (conn, mut bytes) = (learner.conn, Vec::new());
        let walked = process.database.read().continue_snapshot(walk, STEP_BYTES, &mut bytes);
        match walked {
            Walked::More => {
                self.send(conn, 1, bytes);
                self.give(node, Input::LearnerTakes(link));
                self.plan_database_step(node, link);
            }
            Walked::Done => {
                bytes.extend_from_slice(SNAPSHOT_SIGNATURE);
                learner.walk = None;
                self.send(conn, 1, bytes);
                self.give(node, Input::LearnerTakes(link));
                self.give(node, Input::WalkEnded(walk, true));
                self.pump_learner(node, link);
            }
            Walked::Lost => {
                if let Some(learner) = process.learners.remove(&link) {
                    self.drop_learner(node, learner);
                }
                self.give(node, Input::LearnerGone(link));
            }
        }
    }

    pub(crate) fn close_learner(&mut self, node: usize, link: LinkId) {
        if let Some(learner) = self.process(node).learners.remove(&link) {
            self.drop_learner(node, learner);
        }
    }

    /// Connects to whom it learns from, in place of any other.
    pub(crate) fn dial_leader(&mut self, node: usize, link: LinkId, to: Sid, door: Door) {
        let stream = LearnerStream::new(FIELD_BYTES_MAX, self.process(node).tree);
        let leader = LeaderLink { link, conn: None, stream, buffer: BytesMut::new() };
        if let Some(conn) = self.process(node).leader.replace(leader).and_then(|old| old.conn) {
            self.hang_up(conn, 0);
        }
        self.dial(node, node_of(to), Purpose::Follow(link, to, door));
    }

    pub(crate) fn for_leader(&mut self, node: usize, link: LinkId, bytes: Vec<u8>) {
        let leader = self.process(node).leader.as_ref().filter(|leader| leader.link == link);
        if let Some(conn) = leader.and_then(|leader| leader.conn) {
            self.oracle.told_leader(node, &bytes);
            self.send(conn, 0, bytes);
        }
    }

    pub(crate) fn close_leader(&mut self, node: usize, link: LinkId) {
        if let Some(conn) = self.process(node).leader.take_if(|leader| leader.link == link).and_then(|old| old.conn) {
            self.hang_up(conn, 0);
        }
    }

    pub(crate) fn leader_refused(&mut self, node: usize, link: LinkId) {
        self.give(node, Input::LeaderGone(link));
    }

    pub(crate) fn quorum_connected(&mut self, conn: ConnId) {
        let Kind::Quorum(link, learner_link) = self.network.conns[conn].kind else { return };
        let ends = &self.network.conns[conn].ends;
        let (learner, leader) = (ends[0].node, ends[1].node);
        let stream = LeaderStream::new(FIELD_BYTES_MAX);
        let entry = LearnerLink { conn, stream, buffer: BytesMut::new(), out: Default::default(), walk: None };
        self.process(leader).learners.insert(learner_link, entry);
        self.give(leader, Input::LearnerConnected(learner_link));
        match self.process(learner).leader.as_mut().filter(|leader| leader.link == link) {
            Some(leader) => {
                leader.conn = Some(conn);
                self.give(learner, Input::LeaderConnected(link));
            }
            // It has thought of something else meanwhile.
            None => self.hang_up(conn, 0),
        }
    }

    pub(crate) fn quorum_bytes(&mut self, conn: ConnId, end: usize, bytes: &[u8]) {
        let Kind::Quorum(link, learner_link) = self.network.conns[conn].kind else { return };
        let node = self.network.conns[conn].ends[end].node;
        if end == 1 {
            let Some(learner) = self.process(node).learners.get_mut(&learner_link) else { return };
            learner.buffer.extend_from_slice(bytes);
            let mut packets = Vec::new();
            learner.stream.take(&mut learner.buffer, &mut packets).expect("packets that a zkd has sent");
            if !packets.is_empty() {
                self.give(node, Input::FromLearner(learner_link, packets));
            }
            return;
        }
        let process = self.servers[node].process.as_mut().expect("a process that runs");
        let Some(leader) = process.leader.as_mut().filter(|leader| leader.link == link) else { return };
        leader.buffer.extend_from_slice(bytes);
        let mut arrivals = Vec::new();
        leader.stream.take(&mut leader.buffer, &mut arrivals).expect("packets that a zkd has sent");
        for arrival in &arrivals {
            match arrival {
                Arrival::Database(load) => process.installing = Some(load.last_zxid()),
                Arrival::Packet(Packet::LeaderInfo { zxid, .. }) => self.oracle.invited(node, zxid.epoch()),
                Arrival::Packet(_) => {}
            }
        }
        // Also when it is only a part of something.
        self.give(node, Input::FromLeader(link, arrivals));
    }

    pub(crate) fn quorum_lost(&mut self, conn: ConnId, end: usize) {
        let Kind::Quorum(link, learner_link) = self.network.conns[conn].kind else { return };
        let node = self.network.conns[conn].ends[end].node;
        if end == 1 {
            if let Some(learner) = self.process(node).learners.remove(&learner_link) {
                self.drop_learner(node, learner);
                self.give(node, Input::LearnerGone(learner_link));
            }
        } else if self.process(node).leader.as_ref().is_some_and(|leader| leader.link == link) {
            self.give(node, Input::LeaderGone(link));
        }
    }
}
