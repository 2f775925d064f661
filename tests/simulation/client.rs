//! A client: it keeps a session over many connections, asks for random things, watches, and tells the oracle what it
//! was promised.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use zkd::ids::{SessionId, Zxid};
use zkd::proto::{ConnectRequest, ConnectResponse, OpCode, ReplyHeader, RequestHeader};
use zkd::session::password;

use super::invariants::reads::Reads;
use super::invariants::watches::Watches;
use super::network::ConnId;
use super::requests::{Asked, draw, draw_reconfig, set_watches};
use super::schedule::{Event, Purpose, Us, ms};
use super::world::{Phase, World};

/// Where a client's connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// There is none.
    Idle,
    /// It dials.
    Dialling,
    /// It has asked for its session.
    Greeting(ConnId),
    /// It may ask.
    Open(ConnId),
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) xid: i32,
    pub(crate) asked: Asked,
    /// The highest zxid that any client had been told of when this was asked.
    pub(crate) floor: Zxid,
}

/// One client.
pub(crate) struct Client {
    pub(crate) node: usize,
    state: State,
    session: SessionId,
    timeout: Us,
    input: BytesMut,
    xid: i32,
    pending: VecDeque<Pending>,
    reads: Reads,
    watches: Watches,
    heard_at: Us,
    sent_at: Us,
    server: usize,
    /// Writes that were answered since all became well.
    pub(crate) served: u32,
    /// It asks for nothing any more.
    pub(crate) retired: bool,
}

/// Requests without an answer at a time.
const PENDING_MAX: usize = 4;
/// The xid of setWatches, as clients have it.
const SET_WATCHES_XID: i32 = -8;

impl Client {
    pub(crate) fn new(node: usize) -> Self {
        Self {
            node,
            state: State::Idle,
            session: SessionId::NONE,
            timeout: 0,
            input: BytesMut::new(),
            xid: 0,
            pending: VecDeque::new(),
            reads: Reads::default(),
            watches: Watches::default(),
            heard_at: 0,
            sent_at: 0,
            server: 0,
            served: 0,
            retired: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// It begins anew, without a session.
    fn forget(&mut self) {
        self.session = SessionId::NONE;
        self.pending.clear();
        (self.reads, self.watches) = (Reads::default(), Watches::default());
    }

    fn conn(&self) -> Option<ConnId> {
        match self.state {
            State::Greeting(conn) | State::Open(conn) => Some(conn),
            State::Idle | State::Dialling => None,
        }
    }
}

impl World {
    fn client(&mut self, node: usize) -> &mut Client {
        let at = node - self.servers.len();
        &mut self.clients[at]
    }

    /// Time passes for a client.
    pub(crate) fn client_turn(&mut self, number: usize) {
        let pause = self.random.u64(0..self.plan.think * 2).max(500);
        self.schedule.at(self.now + pause, Event::Client { client: number });
        let now = self.now;
        let client = &mut self.clients[number];
        let node = client.node;
        match client.state {
            State::Idle if client.retired && client.session == SessionId::NONE => {}
            State::Idle => {
                client.state = State::Dialling;
                let servers = self.servers.len();
                let server = self.random.usize(0..servers);
                self.clients[number].server = server;
                self.dial(node, server, Purpose::Client);
            }
            State::Dialling => {}
            State::Greeting(conn) | State::Open(conn)
                if now - client.heard_at > client.timeout.max(ms(300)) * 2 / 3 =>
            {
                self.leave(node, conn);
            }
            State::Greeting(_) => {}
            State::Open(conn) => self.ask_something(number, conn),
        }
    }

    fn ask_something(&mut self, number: usize, conn: ConnId) {
        let client = &self.clients[number];
        let idle = self.now - client.sent_at > client.timeout / 4;
        let closing = client.pending.back().is_some_and(|pending| matches!(pending.asked, Asked::Close));
        let busy = client.pending.len() >= PENDING_MAX || client.retired || closing || !self.oracle.takes_more();
        if client.retired && !closing {
            self.ask(number, conn, Asked::Close);
            return;
        }
        if busy {
            if idle {
                self.ask(number, conn, Asked::Ping);
            }
            return;
        }
        if self.phase == Phase::Faults && self.random.u32(0..100) == 0 {
            let node = client.node;
            self.leave(node, conn);
            return;
        }
        let reconfigures = self.plan.reconfigures && self.phase == Phase::Faults && self.random.u32(0..20) == 0;
        let asked = if reconfigures {
            draw_reconfig(&mut self.random, &self.plan, &self.oracle.members.in_force)
        } else {
            draw(&mut self.random, number, client.xid + 1)
        };
        self.ask(number, conn, asked);
    }

    /// Closes the connection and will look for another one.
    pub(crate) fn leave(&mut self, node: usize, conn: ConnId) {
        self.hang_up(conn, 0);
        self.client_lost(conn);
        self.trace(|world| format!("{} leaves its connection", world.name(node)));
    }

    /// A client dies: nobody speaks for its session any more. Another one takes its place.
    pub(crate) fn client_dies(&mut self, number: usize) {
        let node = self.clients[number].node;
        self.trace(|world| format!("{} dies", world.name(node)));
        if let Some(conn) = self.clients[number].conn() {
            self.leave(node, conn);
        }
        self.clients[number].forget();
    }

    fn ask(&mut self, number: usize, conn: ConnId, asked: Asked) {
        let floor = self.oracle.told();
        let now = self.now;
        let client = &mut self.clients[number];
        let xid = match asked {
            Asked::Ping => ReplyHeader::PING_XID,
            Asked::SetWatches => SET_WATCHES_XID,
            _ => {
                client.xid += 1;
                client.xid
            }
        };
        let mut frame = vec![0; 4];
        RequestHeader { xid, op: asked.op() }.encode(&mut frame);
        match &asked {
            Asked::SetWatches => set_watches(client.reads.seen(), &client.watches, &mut frame),
            asked => asked.encode(&mut frame),
        }
        let length = u32::try_from(frame.len() - 4).expect("a short frame");
        frame[..4].copy_from_slice(&length.to_be_bytes());
        client.sent_at = now;
        client.pending.push_back(Pending { xid, asked, floor });
        let node = client.node;
        self.trace(|world| {
            let pending = world.clients[number].pending.back();
            format!("{} asks {:?}", world.name(node), pending.map(|pending| (pending.xid, &pending.asked)))
        });
        self.send(conn, 0, frame);
    }

    /// The server was reached: the session is asked for.
    pub(crate) fn client_reached(&mut self, conn: ConnId) {
        let node = self.network.conns[conn].ends[0].node;
        let (now, tick_ms) = (self.now, self.plan.tick_ms);
        let timeout_ms = i32::try_from(tick_ms * self.random.u64(2..12)).expect("a short timeout");
        let client = self.client(node);
        if client.state != State::Dialling || client.retired && client.session == SessionId::NONE {
            client.state = State::Idle;
            self.hang_up(conn, 0);
            return;
        }
        client.state = State::Greeting(conn);
        (client.heard_at, client.sent_at) = (now, now);
        client.input.clear();
        let secret = password(client.session);
        let mut frame = vec![0; 4];
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: client.reads.seen(),
            timeout_ms,
            session: client.session,
            password: Some(&secret),
            read_only: Some(false),
        }
        .encode(&mut frame);
        let length = u32::try_from(frame.len() - 4).expect("a short frame");
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.send(conn, 0, frame);
    }

    pub(crate) fn client_refused(&mut self, node: usize) {
        let client = self.client(node);
        if client.state == State::Dialling {
            client.state = State::Idle;
        }
    }

    pub(crate) fn client_lost(&mut self, conn: ConnId) {
        let node = self.network.conns[conn].ends[0].node;
        let client = self.client(node);
        if client.conn() == Some(conn) {
            client.state = State::Idle;
            client.pending.clear();
            client.watches.disconnected();
        }
    }

    pub(crate) fn client_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let node = self.network.conns[conn].ends[0].node;
        let now = self.now;
        let client = self.client(node);
        if client.conn() != Some(conn) {
            return;
        }
        client.heard_at = now;
        client.input.extend_from_slice(bytes);
        loop {
            let client = self.client(node);
            if client.conn() != Some(conn) {
                return;
            }
            let Some(length) = client.input.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) else {
                return;
            };
            let Some(frame) = client.input.get(4..4 + length).map(<[u8]>::to_vec) else { return };
            client.input.advance(4 + length);
            if client.state == State::Greeting(conn) {
                self.welcomed(node, conn, &frame);
            } else {
                self.answered(node, conn, &frame);
            }
        }
    }

    fn welcomed(&mut self, node: usize, conn: ConnId, frame: &[u8]) {
        let (_, response) = ConnectResponse::decode(frame).expect("a connect response");
        let client = self.client(node);
        if response.timeout_ms == 0 {
            assert!(client.session != SessionId::NONE, "[sessions] a new session was refused");
            let session = client.session;
            client.forget();
            client.state = State::Idle;
            self.hang_up(conn, 0);
            self.trace(|world| format!("{} has lost its session {session}", world.name(node)));
            return;
        }
        let known = client.session;
        assert!(
            known == SessionId::NONE || known == response.session,
            "[sessions] {known} was asked for, and {} given",
            response.session
        );
        client.session = response.session;
        client.timeout = ms(u64::try_from(response.timeout_ms).expect("a timeout"));
        client.state = State::Open(conn);
        let again = !client.watches.is_empty();
        self.oracle.welcomed(response.session);
        self.trace(|world| format!("{} has session {}", world.name(node), response.session));
        if again {
            let number = node - self.servers.len();
            self.ask(number, conn, Asked::SetWatches);
        } else {
            self.client(node).watches.nothing_to_set();
        }
    }

    fn answered(&mut self, node: usize, conn: ConnId, frame: &[u8]) {
        let (body, header) = ReplyHeader::decode(frame).expect("a reply header");
        let number = node - self.servers.len();
        self.trace(|world| format!("{} hears {header:?}, {} bytes", world.name(node), body.len()));
        let client = &mut self.clients[number];
        if header.xid == ReplyHeader::NOTIFICATION_XID {
            client.watches.fired(header.zxid, body, &self.oracle.model);
            return;
        }
        let pending = client.pending.pop_front().expect("[sessions] an answer to nothing");
        assert_eq!(pending.xid, header.xid, "[sessions] answers come in the order of requests");
        let session = client.session;
        client.reads.answered(session, header.zxid);
        self.oracle.answered(session, &pending, &header, body);
        client.watches.answered(&pending, &header, &self.oracle.model);
        if pending.asked.op().kind() == zkd::proto::OpKind::Write && header.error == zkd::proto::ErrorCode::OK {
            client.served += 1;
        }
        if pending.asked.op() == OpCode::CLOSE_SESSION {
            client.forget();
            client.state = State::Idle;
            self.hang_up(conn, 0);
        }
    }

    /// A client asks for nothing any more: its session is closed, or left to expire.
    pub(crate) fn retire(&mut self, number: usize) {
        self.clients[number].retired = true;
        match self.clients[number].state {
            State::Open(conn) if self.random.bool() => self.ask(number, conn, Asked::Close),
            State::Open(_) | State::Greeting(_) | State::Dialling | State::Idle => self.client_dies(number),
        }
    }
}
