//! What connects servers: notifications for elections, and the quorum port, each direction in order. A direction that
//! a story holds keeps its mail until it is let go.

use bytes::{Bytes, BytesMut};
use zkd::ids::{LinkId, Sid};
use zkd::peer::{Door, Input};
use zkd::zab::{Arrival, LeaderStream, LearnerStream, Notification, Packet};

use super::history::TREE;
use super::words;
use super::world::{DIAL_TIMEOUT_MS, Event, Node, World};

/// Something on its way.
pub(crate) enum Mail {
    Notification(Vec<u8>),
    /// Over the quorum connection of this number.
    Bytes(usize, Vec<u8>),
    /// That connection is closed at the other end.
    Closed(usize),
}

/// A connection to a quorum port.
pub(crate) struct Link {
    pub(crate) learner: Node,
    pub(crate) leader: Node,
    learner_link: LinkId,
    leader_link: LinkId,
    /// Whether each end is open, the learner's first.
    open: [bool; 2],
    from_leader: (LearnerStream, BytesMut),
    from_learner: (LeaderStream, BytesMut),
}

/// The longest field on the wire, bytes.
const FIELD_BYTES_MAX: usize = 2 << 20;

fn pair(a: Node, b: Node) -> (Node, Node) {
    (a.min(b), a.max(b))
}

impl World {
    pub(crate) fn post(&mut self, from: Node, to: Node, mail: Mail) {
        match self.held.get_mut(&(from, to)) {
            Some(waiting) => waiting.push(mail),
            None => self.after(1, Event::Mail(from, to, mail)),
        }
    }

    pub(crate) fn deliver(&mut self, from: Node, to: Node, mail: Mail) {
        match mail {
            Mail::Notification(bytes) => self.hear(from, to, &bytes),
            Mail::Bytes(id, bytes) => self.take_bytes(id, to, &bytes),
            Mail::Closed(id) => {
                let end = usize::from(self.links[id].leader == to);
                if std::mem::replace(&mut self.links[id].open[end], false) {
                    self.lost(id, end);
                }
            }
        }
    }

    /// Lets go what was held.
    pub(crate) fn release(&mut self, from: Node, to: Node) {
        for mail in self.held.remove(&(from, to)).unwrap_or_default() {
            self.after(1, Event::Mail(from, to, mail));
        }
    }

    // Elections.

    pub(crate) fn notify(&mut self, node: Node, to: Node, bytes: Vec<u8>) {
        self.notified.insert((node, to), bytes.clone());
        if self.acquainted.contains(&pair(node, to)) {
            self.post(node, to, Mail::Notification(bytes));
        } else if let Some(server) = self.servers.get(&node) {
            let wait = if self.is_cut(node, to) { DIAL_TIMEOUT_MS } else { 2 };
            self.after(wait, Event::DialElection(node, server.boot, to));
        } else {
            self.dial_election(node, to);
        }
    }

    pub(crate) fn dial_election(&mut self, node: Node, to: Node) {
        if self.acquainted.contains(&pair(node, to)) {
            return;
        }
        if !self.is_up(to) || self.is_cut(node, to) {
            self.give(node, Input::Reachable(Sid(to), false));
            return;
        }
        self.acquainted.insert(pair(node, to));
        for (a, b) in [(node, to), (to, node)] {
            self.give(a, Input::Reachable(Sid(b), true));
            if let Some(last) = self.notified.get(&(a, b)).cloned() {
                self.post(a, b, Mail::Notification(last));
            }
        }
    }

    fn hear(&mut self, from: Node, to: Node, bytes: &[u8]) {
        if self.actors.contains_key(&to) {
            self.actor_hears(from, to, bytes);
            return;
        }
        match Notification::decode(&Bytes::copy_from_slice(&bytes[4..])) {
            Ok(notification) => self.give(to, Input::Notified(Sid(from), notification)),
            // As `net::election`: the message is ignored, the connection stays.
            Err(error) => self.tell(format!("{to} ignores what {from} says for elections: {error}")),
        }
    }

    // The quorum port.

    /// A learner wants to connect.
    pub(crate) fn dial_leader(&mut self, node: Node, link: LinkId, to: Node, door: Door) {
        let listens = match self.servers.get(&to) {
            Some(server) => server.process.as_ref().is_some_and(|process| process.listens == Some(door)),
            None => self.actors.contains_key(&to),
        };
        if !listens || self.is_cut(node, to) {
            self.give(node, Input::LeaderGone(link));
            return;
        }
        let id = self.connect(node, link, to);
        self.give(node, Input::LeaderConnected(link));
        if let Some(process) = self.servers.get_mut(&node).and_then(|server| server.process.as_mut()) {
            process.leader = Some(id);
        }
    }

    pub(crate) fn connect(&mut self, learner: Node, learner_link: LinkId, leader: Node) -> usize {
        let id = self.links.len();
        let leader_link = LinkId(id as u64 + 1000);
        self.links.push(Link {
            learner,
            leader,
            learner_link,
            leader_link,
            open: [true; 2],
            from_leader: (LearnerStream::new(FIELD_BYTES_MAX, TREE), BytesMut::new()),
            from_learner: (LeaderStream::new(FIELD_BYTES_MAX), BytesMut::new()),
        });
        self.give(leader, Input::LearnerConnected(leader_link));
        id
    }

    /// The open connection between two, in either role.
    pub(crate) fn link_between(&self, a: Node, b: Node) -> Option<usize> {
        let joins = |link: &Link| pair(link.learner, link.leader) == pair(a, b) && link.open != [false; 2];
        self.links.iter().rposition(joins)
    }

    /// A leader's connection by the number it has there.
    pub(crate) fn link_of_leader(&self, node: Node, link: LinkId) -> Option<usize> {
        self.links.iter().position(|other| other.leader == node && other.leader_link == link && other.open[1])
    }

    pub(crate) fn link_of_learner(&self, node: Node, link: LinkId) -> Option<usize> {
        self.links.iter().position(|other| other.learner == node && other.learner_link == link && other.open[0])
    }

    pub(crate) fn learner_links(&self, node: Node) -> Vec<usize> {
        (0..self.links.len()).filter(|id| self.links[*id].leader == node && self.links[*id].open[1]).collect()
    }

    /// Sends from one end.
    pub(crate) fn send(&mut self, id: usize, from: Node, bytes: Vec<u8>) {
        let link = &self.links[id];
        let (end, to) = if link.learner == from { (0, link.leader) } else { (1, link.learner) };
        if link.open[end] && !bytes.is_empty() {
            self.post(from, to, Mail::Bytes(id, bytes));
        }
    }

    pub(crate) fn hang_up(&mut self, id: usize, from: Node) {
        let link = &mut self.links[id];
        let (end, to) = if link.learner == from { (0, link.leader) } else { (1, link.learner) };
        if std::mem::replace(&mut link.open[end], false) {
            self.post(from, to, Mail::Closed(id));
        }
    }

    /// A connection breaks: both ends learn of it.
    pub(crate) fn cut(&mut self, id: usize) {
        for end in [0, 1] {
            if std::mem::replace(&mut self.links[id].open[end], false) {
                self.lost(id, end);
            }
        }
    }

    /// A server is gone, and with it its ends of all connections.
    pub(crate) fn leave_network(&mut self, node: Node) {
        for id in 0..self.links.len() {
            if self.links[id].learner == node || self.links[id].leader == node {
                self.hang_up(id, node);
            }
        }
        self.notified.retain(|(from, _), _| *from != node);
        let all = self.settings.members.keys().chain(self.settings.outside.keys());
        let others: Vec<Node> = all.copied().filter(|other| *other != node).collect();
        for other in others {
            if self.acquainted.remove(&pair(node, other)) {
                self.give(other, Input::Reachable(Sid(node), false));
            }
        }
    }

    fn lost(&mut self, id: usize, end: usize) {
        let Link { learner, leader, learner_link, leader_link, .. } = self.links[id];
        match end {
            0 if self.actors.contains_key(&learner) => {
                self.tell(format!("{leader} closes its connection to {learner}"))
            }
            1 if self.actors.contains_key(&leader) => self.tell(format!("{learner} closes its connection to {leader}")),
            0 => self.give(learner, Input::LeaderGone(learner_link)),
            _ => self.give(leader, Input::LearnerGone(leader_link)),
        }
    }

    fn take_bytes(&mut self, id: usize, to: Node, bytes: &[u8]) {
        let link = &mut self.links[id];
        if to == link.learner {
            if !link.open[0] {
                return;
            }
            let (stream, buffer) = &mut link.from_leader;
            buffer.extend_from_slice(bytes);
            let mut arrivals = Vec::new();
            let taken = stream.take(buffer, &mut arrivals);
            let (from, number) = (link.leader, link.learner_link);
            for arrival in &arrivals {
                self.learner_sees(from, to, arrival);
            }
            if self.actors.contains_key(&to) {
                self.actor_answers_leader(id, to, &arrivals);
            } else if !arrivals.is_empty() {
                self.give(to, Input::FromLeader(number, arrivals));
            }
            if let Err(error) = taken {
                self.tell(format!("{to} cannot read what {from} sends: {error}"));
                self.cut(id);
            }
            return;
        }
        if !link.open[1] {
            return;
        }
        let (stream, buffer) = &mut link.from_learner;
        buffer.extend_from_slice(bytes);
        let mut packets = Vec::new();
        stream.take(buffer, &mut packets).expect("packets that a learner has sent");
        let (from, number) = (link.learner, link.leader_link);
        for packet in &packets {
            if self.actors.contains_key(&to) || self.watched.contains(&to) || self.watched.contains(&from) {
                self.see(from, to, packet);
            }
        }
        if !self.actors.contains_key(&to) && !packets.is_empty() {
            self.give(to, Input::FromLearner(number, packets));
        }
    }

    fn learner_sees(&mut self, from: Node, to: Node, arrival: &Arrival) {
        let all = self.actors.contains_key(&to) || self.watched.contains(&to) || self.watched.contains(&from);
        match arrival {
            Arrival::Packet(packet) if all => self.see(from, to, packet),
            Arrival::Packet(Packet::Diff(zxid)) => self.tell(format!("{to} DIFF up to {zxid}")),
            Arrival::Packet(Packet::Trunc(zxid)) => self.tell(format!("{to} TRUNC to {zxid}")),
            Arrival::Packet(Packet::Snap(zxid)) => self.tell(format!("{to} SNAP of {zxid}")),
            Arrival::Packet(_) | Arrival::Database(_) => {}
        }
    }

    fn see(&mut self, from: Node, to: Node, packet: &Packet) {
        if self.pings || !matches!(packet, Packet::Ping(_) | Packet::Pong { .. }) {
            self.tell(format!("{from} -> {to} {}", words::packet(packet)));
        }
    }
}
