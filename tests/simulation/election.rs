//! The election port, as `net::election` has it: one connection to each other server, and of the messages to it only
//! the newest; on a new connection the last one is sent again.

use zkd::ids::Sid;
use zkd::peer::Input;
use zkd::zab::Notification;

use super::network::ConnId;
use super::plan::{node as node_of, sid};
use super::schedule::{Event, Purpose};
use super::world::World;

/// What there is of another server.
#[derive(Default)]
pub(crate) struct ElectionPeer {
    /// To be sent.
    message: Option<Vec<u8>>,
    /// Sent last.
    last: Option<Vec<u8>>,
    conn: Option<(ConnId, usize)>,
    dialling: bool,
    /// A look at the message is planned.
    sending: bool,
}

impl World {
    fn election_peer(&mut self, node: usize, other: Sid) -> &mut ElectionPeer {
        self.process(node).election.entry(other).or_default()
    }

    /// Tells another server something, in place of anything older that is still here.
    pub(crate) fn notify(&mut self, node: usize, to: Sid, notification: &Notification) {
        let mut bytes = Vec::new();
        notification.encode(&mut bytes);
        let peer = self.election_peer(node, to);
        peer.message = Some(bytes);
        if peer.conn.is_some() {
            self.plan_notify(node, to);
        } else {
            self.dial_election(node, to);
        }
    }

    fn dial_election(&mut self, node: usize, to: Sid) {
        if !std::mem::replace(&mut self.election_peer(node, to).dialling, true) {
            self.dial(node, node_of(to), Purpose::Election);
        }
    }

    fn plan_notify(&mut self, node: usize, to: Sid) {
        if std::mem::replace(&mut self.election_peer(node, to).sending, true) {
            return;
        }
        let (at, boot) = (self.now + self.random.u64(1..200), self.boot_of(node));
        self.schedule.at(at, Event::Notify { node, boot, to: node_of(to) });
    }

    pub(crate) fn notify_now(&mut self, node: usize, to: usize) {
        let peer = self.election_peer(node, sid(to));
        peer.sending = false;
        let Some((conn, end)) = peer.conn else { return };
        if let Some(message) = peer.message.take() {
            peer.last = Some(message.clone());
            self.send(conn, end, message);
        }
    }

    pub(crate) fn election_connected(&mut self, conn: ConnId) {
        for end in [0, 1] {
            let ends = &self.network.conns[conn].ends;
            let (node, other) = (ends[end].node, sid(ends[1 - end].node));
            let peer = self.election_peer(node, other);
            peer.dialling &= end != 0;
            let old = peer.conn.replace((conn, end));
            if peer.message.is_none() {
                peer.message = peer.last.clone();
            }
            if let Some((old, old_end)) = old {
                self.hang_up(old, old_end);
            }
            self.give(node, Input::Reachable(other, true));
            self.plan_notify(node, other);
        }
    }

    pub(crate) fn election_bytes(&mut self, conn: ConnId, end: usize, bytes: &[u8]) {
        let ends = &self.network.conns[conn].ends;
        let (node, from) = (ends[end].node, sid(ends[1 - end].node));
        let body = bytes::Bytes::copy_from_slice(&bytes[4..]);
        let notification = Notification::decode(&body).expect("a notification that was just encoded");
        self.give(node, Input::Notified(from, notification));
    }

    pub(crate) fn election_lost(&mut self, conn: ConnId, end: usize) {
        let ends = &self.network.conns[conn].ends;
        let (node, other) = (ends[end].node, sid(ends[1 - end].node));
        let peer = self.election_peer(node, other);
        if peer.conn.take_if(|(known, _)| *known == conn).is_none() {
            return;
        }
        let again = peer.message.is_some();
        self.give(node, Input::Reachable(other, false));
        if again {
            self.dial_election(node, other);
        }
    }

    pub(crate) fn election_refused(&mut self, node: usize, to: usize) {
        if self.servers[node].process.is_some() {
            self.election_peer(node, sid(to)).dialling = false;
            self.give(node, Input::Reachable(sid(to), false));
        }
    }
}
