//! The network: connections as streams of bytes, each direction in order, with delays, partitions and breaks.
//!
//! A direction that a partition closes holds its bytes back, as TCP would with its repetitions, and lets them through
//! later unless somebody has given up meanwhile.

use std::collections::VecDeque;

use zkd::ids::LinkId;

use super::schedule::{Event, Purpose, Us, ms};
use super::world::World;

/// The number of a connection.
pub(crate) type ConnId = usize;

/// What goes over a connection.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The other end has closed, or knows nothing of this connection.
    End,
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Elections.
    Election,
    /// Learner at end 0, leader at end 1: each has a number of its own for it.
    Quorum(LinkId, LinkId),
    /// Client at end 0, server at end 1.
    Client,
}

pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) boot: u32,
    pub(crate) open: bool,
}

#[derive(Default)]
struct Wire {
    next_at: Us,
    held: VecDeque<Piece>,
    releasing: bool,
    /// Something was lost: no more bytes come through, for a stream has no gaps.
    lost: bool,
}

pub(crate) struct Conn {
    pub(crate) kind: Kind,
    pub(crate) ends: [End; 2],
    /// `wires[0]` leads from end 0 to end 1.
    wires: [Wire; 2],
}

/// All connections, and what is wrong between the machines.
pub(crate) struct Network {
    nodes: usize,
    blocked: Vec<bool>,
    slow: Vec<Us>,
    pub(crate) conns: Vec<Conn>,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, blocked: vec![false; nodes * nodes], slow: vec![0; nodes * nodes], conns: Vec::new() }
    }

    pub(crate) fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked[from * self.nodes + to]
    }

    pub(crate) fn block(&mut self, from: usize, to: usize) {
        self.blocked[from * self.nodes + to] = true;
    }

    pub(crate) fn slow_down(&mut self, from: usize, to: usize, by: Us) {
        self.slow[from * self.nodes + to] = by;
    }

    pub(crate) fn speed_up(&mut self) {
        self.slow.fill(0);
    }

    fn is_open(&self, a: usize, b: usize) -> bool {
        !self.is_blocked(a, b) && !self.is_blocked(b, a)
    }

    /// The connections with an open end in this process, and which end it is.
    pub(crate) fn ends_of(&self, node: usize, boot: u32) -> Vec<(ConnId, usize)> {
        let mut found = Vec::new();
        for (id, conn) in self.conns.iter().enumerate() {
            for (at, end) in conn.ends.iter().enumerate() {
                if end.open && end.node == node && end.boot == boot {
                    found.push((id, at));
                }
            }
        }
        found
    }
}

/// How long a dial waits for an answer.
const DIAL_TIMEOUT: Us = ms(800);

impl World {
    fn latency(&mut self, from: usize, to: usize) -> Us {
        let mean = self.plan.latency;
        let extra = self.network.slow[from * self.network.nodes + to];
        mean / 4 + self.random.u64(0..=mean * 3 / 2) + extra + 1
    }

    /// Begins to connect; what comes of it is an event.
    pub(crate) fn dial(&mut self, from: usize, to: usize, purpose: Purpose) {
        let boot = self.boot_of(from);
        let at = self.now + self.latency(from, to) + self.latency(to, from);
        self.schedule.at(at, Event::Dialled { from, boot, to, purpose });
    }

    pub(crate) fn dialled(&mut self, from: usize, boot: u32, to: usize, purpose: Purpose) {
        if self.boot_of(from) != boot {
            return;
        }
        if !self.network.is_open(from, to) || !self.is_powered(to) {
            let at = self.now + DIAL_TIMEOUT;
            self.schedule.at(at, Event::DialFailed { from, boot, to, purpose });
            return;
        }
        if !self.accepts(to, purpose) {
            self.dial_failed(from, to, purpose);
            return;
        }
        let kind = match purpose {
            Purpose::Election => Kind::Election,
            Purpose::Follow(link, ..) => Kind::Quorum(link, self.new_learner_link(to)),
            Purpose::Client => Kind::Client,
        };
        let end = |node, boot| End { node, boot, open: true };
        let ends = [end(from, boot), end(to, self.boot_of(to))];
        let conn = self.network.conns.len();
        self.network.conns.push(Conn { kind, ends, wires: [Wire::default(), Wire::default()] });
        self.connected(conn, purpose);
    }

    /// Sends bytes from one end, in one piece or several.
    pub(crate) fn send(&mut self, conn: ConnId, end: usize, bytes: Vec<u8>) {
        if bytes.is_empty() || !self.network.conns[conn].ends[end].open {
            return;
        }
        let splits = self.network.conns[conn].kind != Kind::Election && bytes.len() > 1 && self.random.u32(0..8) == 0;
        if splits {
            let at = self.random.usize(1..bytes.len());
            self.transmit(conn, end, Piece::Bytes(bytes[..at].to_vec()));
            self.transmit(conn, end, Piece::Bytes(bytes[at..].to_vec()));
        } else {
            self.transmit(conn, end, Piece::Bytes(bytes));
        }
    }

    /// Closes one end; the other hears of it behind what was sent.
    pub(crate) fn hang_up(&mut self, conn: ConnId, end: usize) {
        if std::mem::replace(&mut self.network.conns[conn].ends[end].open, false) {
            self.transmit(conn, end, Piece::End);
        }
    }

    fn transmit(&mut self, conn: ConnId, from_end: usize, piece: Piece) {
        let ends = &self.network.conns[conn].ends;
        let (from, to) = (ends[from_end].node, ends[1 - from_end].node);
        let latency = self.latency(from, to);
        let wire = &mut self.network.conns[conn].wires[from_end];
        let at = (self.now + latency).max(wire.next_at);
        wire.next_at = at;
        self.schedule.at(at, Event::Deliver { conn, from_end, piece });
    }

    pub(crate) fn deliver(&mut self, conn: ConnId, from_end: usize, piece: Piece) {
        let ends = &self.network.conns[conn].ends;
        let blocked = self.network.is_blocked(ends[from_end].node, ends[1 - from_end].node);
        let wire = &mut self.network.conns[conn].wires[from_end];
        if wire.lost && matches!(piece, Piece::Bytes(_)) {
            return;
        }
        if !blocked && wire.held.is_empty() {
            self.arrive(conn, 1 - from_end, piece);
            return;
        }
        wire.held.push_back(piece);
        if wire.held.len() == 1 {
            // Sooner or later TCP gives up.
            let patience = ms(self.random.u64(1000..8000));
            self.schedule.at(self.now + patience, Event::Broken { conn, end: from_end });
        }
    }

    fn arrive(&mut self, conn: ConnId, to_end: usize, piece: Piece) {
        let ends = &self.network.conns[conn].ends;
        if !ends[to_end].open {
            // Whoever runs there now knows nothing of this connection, and says so.
            if self.is_powered(ends[to_end].node) && ends[1 - to_end].open {
                self.transmit(conn, to_end, Piece::End);
            }
            return;
        }
        match piece {
            Piece::Bytes(bytes) => self.received(conn, to_end, &bytes),
            Piece::End => self.broken(conn, to_end),
        }
    }

    /// One end gives up, if bytes are still held back or lost.
    pub(crate) fn give_up(&mut self, conn: ConnId, end: usize) {
        let wire = &mut self.network.conns[conn].wires[end];
        if wire.held.is_empty() && !wire.lost {
            return;
        }
        wire.held.clear();
        wire.lost = true;
        if self.network.conns[conn].ends[end].open {
            self.transmit(conn, end, Piece::End);
        }
        self.broken(conn, end);
    }

    /// One end learns that the connection is gone.
    fn broken(&mut self, conn: ConnId, end: usize) {
        if std::mem::replace(&mut self.network.conns[conn].ends[end].open, false) {
            self.trace(|_| format!("connection {conn} is gone at end {end}"));
            self.lost(conn, end);
        }
    }

    /// A connection breaks: what is on its way is lost, and both ends learn of it.
    pub(crate) fn cut(&mut self, conn: ConnId) {
        for end in [0, 1] {
            let at = self.now + self.random.u64(0..ms(20));
            let wire = &mut self.network.conns[conn].wires[end];
            wire.held.clear();
            wire.lost = true;
            self.schedule.at(at, Event::Broken { conn, end });
        }
    }

    /// Partitions end.
    pub(crate) fn heal(&mut self) {
        if !self.network.blocked.contains(&true) {
            return;
        }
        self.trace(|_| "the network heals".to_owned());
        self.network.blocked.fill(false);
        for conn in 0..self.network.conns.len() {
            for from_end in [0, 1] {
                let wire = &mut self.network.conns[conn].wires[from_end];
                if wire.held.is_empty() || std::mem::replace(&mut wire.releasing, true) {
                    continue;
                }
                let at = self.now + self.random.u64(1..ms(200));
                self.schedule.at(at, Event::Release { conn, from_end });
            }
        }
    }

    pub(crate) fn release(&mut self, conn: ConnId, from_end: usize) {
        let ends = &self.network.conns[conn].ends;
        let blocked = self.network.is_blocked(ends[from_end].node, ends[1 - from_end].node);
        let wire = &mut self.network.conns[conn].wires[from_end];
        wire.releasing = false;
        if blocked {
            return;
        }
        for piece in std::mem::take(&mut wire.held) {
            self.arrive(conn, 1 - from_end, piece);
        }
    }
}
