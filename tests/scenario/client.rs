//! Clients: each keeps one session, asks, and tells what it was answered. They are beside their server; no partition
//! comes between.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use zkd::ids::{ConnectionId, SessionId, Zxid};
use zkd::jute::JuteWrite;
use zkd::peer::Input;
use zkd::pipeline::{
    Arrival, EarlyRules, Lane, LanePhase, LargeRequestRules, ReceiveRules, Received, disconnect, greet, receive,
};
use zkd::proto::{
    ConnectRequest, ConnectResponse, ErrorCode, MultiHeader, OPEN_ACL, OpCode, ReplyHeader, RequestHeader,
};
use zkd::session::password;

use super::world::{Event, Node, World};

/// A client of a story, named by a letter.
pub(crate) struct Client {
    server: Node,
    connection: u32,
    open: bool,
    pub(crate) session: SessionId,
    timeout_ms: i32,
    silent: bool,
    seen: Zxid,
    xid: i32,
    pending: VecDeque<(i32, String)>,
    input: BytesMut,
}

/// A client's connection on its server.
pub(crate) struct ServerLane {
    lane: Arc<Lane>,
    input: BytesMut,
}

const RULES: ReceiveRules =
    ReceiveRules { large: LargeRequestRules { threshold: None, bytes_max: 0 }, early: EarlyRules::NONE };

fn framed(body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = vec![0; 4];
    body(&mut frame);
    let length = u32::try_from(frame.len() - 4).expect("a short frame");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// A request as a story writes it: its opcode and its record.
pub(crate) fn request(words: &[&str]) -> Result<(OpCode, Vec<u8>), String> {
    let mut body = Vec::new();
    let path = |at: usize| words.get(at).copied().ok_or("a path is missing");
    let op = match words[0] {
        op @ ("create" | "create2") => {
            let flags = i32::from(words.contains(&"ephemeral"));
            let data = words.get(2).filter(|word| **word != "ephemeral").copied().unwrap_or_default();
            body.ustring(path(1)?);
            body.buffer(Some(data.as_bytes()));
            body.extend_from_slice(OPEN_ACL.as_bytes());
            body.int(flags);
            if op == "create" { OpCode::CREATE } else { OpCode::CREATE2 }
        }
        "set" => {
            body.ustring(path(1)?);
            body.buffer(Some(words.get(2).copied().unwrap_or_default().as_bytes()));
            body.int(-1);
            OpCode::SET_DATA
        }
        "delete" => {
            body.ustring(path(1)?);
            body.int(-1);
            OpCode::DELETE
        }
        "get" => {
            body.ustring(path(1)?);
            body.boolean(words.contains(&"watch"));
            OpCode::GET_DATA
        }
        "sync" => {
            body.ustring("/");
            OpCode::SYNC
        }
        "check" => {
            body.ustring(path(1)?);
            body.int(-1);
            OpCode::CHECK
        }
        "multi" => {
            for part in words[1..].split(|word| *word == ",") {
                let (op, record) = request(part)?;
                MultiHeader { op, done: false, error: -1 }.encode(&mut body);
                body.extend_from_slice(&record);
            }
            MultiHeader::END.encode(&mut body);
            OpCode::MULTI
        }
        "reconfig" => {
            reconfig(&words[1..], &mut body)?;
            OpCode::RECONFIG
        }
        "close" => OpCode::CLOSE_SESSION,
        other => return Err(format!("nobody can ask for {other:?}")),
    };
    Ok((op, body))
}

/// `+4` joins, `+5o` as an observer, `+6@` at another address; `-1` leaves; `=2` is one of all that are to be there.
fn reconfig(words: &[&str], body: &mut Vec<u8>) -> Result<(), String> {
    let line = |text: &str| {
        let id = text.trim_end_matches(['o', '@']);
        let role = if text.ends_with('o') { "observer" } else { "participant" };
        let port = if text.ends_with('@') { 2889 } else { 2888 };
        format!("server.{id}=h{id}:{port}:3888:{role};2181")
    };
    let all = |sign: char| words.iter().filter_map(move |word| word.strip_prefix(sign));
    let lists =
        [all('+').map(line).collect::<Vec<_>>(), all('-').map(str::to_owned).collect(), all('=').map(line).collect()];
    for list in lists {
        body.ustring_or_null(Some(list.join(",")).filter(|list| !list.is_empty()).as_deref());
    }
    let version = words.iter().find_map(|word| word.strip_prefix("version=0x"));
    let version = version.map(|version| i64::from_str_radix(version, 16).map_err(|error| error.to_string()));
    body.long(version.transpose()?.unwrap_or(-1));
    Ok(())
}

impl World {
    /// A client connects, with its session if it has one. `unnoticed`: its old server hears nothing of that.
    pub(crate) fn client_connects(&mut self, name: char, to: Node, words: &[&str]) -> Result<(), String> {
        let known_ms = self.clients.get(&name).map_or(10_000, |client| client.timeout_ms);
        let timeout_ms = words.iter().find_map(|word| word.strip_suffix("ms")?.parse().ok()).unwrap_or(known_ms);
        let read_only = words.contains(&"read-only");
        if self.servers.get(&to).is_none_or(|server| server.process.is_none()) {
            self.tell(format!("{name}: {to} cannot be reached"));
            return Ok(());
        }
        if let Some(client) = self.clients.get(&name) {
            let connection = client.connection;
            if !words.contains(&"unnoticed") {
                self.client_leaves(name);
            }
            self.client_lost(name, connection);
        }
        let client = self.clients.entry(name).or_insert_with(|| Client {
            server: to,
            connection: 0,
            open: false,
            session: SessionId::NONE,
            timeout_ms,
            silent: false,
            seen: Zxid::ZERO,
            xid: 0,
            pending: VecDeque::new(),
            input: BytesMut::new(),
        });
        (client.server, client.open, client.silent) = (to, true, false);
        client.connection += 1;
        client.pending.clear();
        client.input.clear();
        client.pending.push_back((0, "connect".to_owned()));
        let secret = password(client.session);
        let (connection, session, last_zxid_seen) = (client.connection, client.session, client.seen);
        let frame = framed(|frame| {
            ConnectRequest {
                protocol_version: 0,
                last_zxid_seen,
                timeout_ms,
                session,
                password: Some(&secret),
                read_only: Some(read_only),
            }
            .encode(frame);
        });
        let id = ConnectionId(u64::from(u32::from(name)) << 32 | u64::from(connection));
        let process = self.process(to);
        let lane = Lane::new(id, ([127, 0, 0, 1], 1).into(), 0, Arc::clone(&process.statistics));
        process.lanes.insert((name, connection), ServerLane { lane, input: BytesMut::new() });
        self.after(1, Event::ClientFrame(name, connection, frame));
        Ok(())
    }

    /// A client asks for something.
    pub(crate) fn client_asks(&mut self, name: char, words: &[&str]) -> Result<(), String> {
        let (op, body) = request(words)?;
        let client = self.clients.get_mut(&name).ok_or("it is not connected")?;
        if !client.open {
            self.tell(format!("{name}: {}: not connected", words.join(" ")));
            return Ok(());
        }
        client.xid += 1;
        let xid = client.xid;
        client.pending.push_back((xid, words.join(" ")));
        self.client_sends(name, xid, op, &body);
        Ok(())
    }

    fn client_sends(&mut self, name: char, xid: i32, op: OpCode, body: &[u8]) {
        let frame = framed(|frame| {
            RequestHeader { xid, op }.encode(frame);
            frame.extend_from_slice(body);
        });
        let connection = self.clients[&name].connection;
        self.after(1, Event::ClientFrame(name, connection, frame));
    }

    /// A client says nothing any more, as if it were dead.
    pub(crate) fn client_falls_silent(&mut self, name: char) -> Result<(), String> {
        self.clients.get_mut(&name).ok_or("it is not connected")?.silent = true;
        Ok(())
    }

    /// A client closes its connection, not its session.
    pub(crate) fn client_leaves(&mut self, name: char) {
        let Some(client) = self.clients.get_mut(&name).filter(|client| client.open) else { return };
        client.open = false;
        let (server, connection) = (client.server, client.connection);
        let Some(process) = self.servers.get_mut(&server).and_then(|server| server.process.as_mut()) else { return };
        if let Some(ServerLane { lane, .. }) = process.lanes.remove(&(name, connection)) {
            disconnect(&process.database.read(), &lane);
            self.give(server, Input::Disconnected(lane.id));
        }
    }

    pub(crate) fn client_ping(&mut self, name: char, connection: u32) {
        let Some(client) = self.clients.get(&name) else { return };
        if client.connection == connection && client.open && !client.silent {
            let timeout_ms = u64::try_from(client.timeout_ms).expect("a timeout");
            self.client_sends(name, ReplyHeader::PING_XID, OpCode::PING, &[]);
            self.after(timeout_ms / 3, Event::ClientPing(name, connection));
        }
    }

    /// A frame comes to its server.
    pub(crate) fn client_frame(&mut self, name: char, connection: u32, bytes: &[u8]) {
        let node = self.clients[&name].server;
        let Some(process) = self.servers.get_mut(&node).and_then(|server| server.process.as_mut()) else { return };
        let Some(lane) = process.lanes.get_mut(&(name, connection)) else { return };
        lane.input.extend_from_slice(bytes);
        self.read_lane(node, name, connection);
        self.write_lane(node, name, connection);
    }

    fn read_lane(&mut self, node: Node, name: char, connection: u32) {
        let now_ms = self.clock().steady_ms;
        let (mut writes, mut greeting) = (Vec::new(), None);
        let process = self.process(node);
        let serves = process.serves;
        let Some(ServerLane { lane, input }) = process.lanes.get_mut(&(name, connection)) else { return };
        {
            let database = process.database.read();
            let mut state = lane.lock();
            while matches!(state.phase(), LanePhase::Greeting | LanePhase::Open)
                && let Some(length) = input.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
                && let Some(frame) = input.get(4..4 + length).map(<[u8]>::to_vec)
            {
                input.advance(4 + length);
                if state.phase() == LanePhase::Open {
                    match receive(&database, lane, &mut state, &frame, Arrival::at(now_ms), RULES) {
                        Received::Done => {}
                        Received::Write(request) => writes.push(request),
                    }
                } else if serves {
                    greeting =
                        greet(&database, &mut state, &frame, |_| true).map(|greeting| (Arc::clone(lane), greeting));
                } else {
                    state.cut();
                }
            }
        }
        if let Some((lane, greeting)) = greeting {
            self.give(node, Input::Connect(lane, greeting));
        }
        if !writes.is_empty() {
            self.give(node, Input::Writes(writes));
        }
    }

    fn write_lane(&mut self, node: Node, name: char, connection: u32) {
        let Some(lane) = self.process(node).lanes.get(&(name, connection)) else { return };
        let (out, closing) = {
            let mut state = lane.lane.lock();
            (state.take_out(), state.phase() == LanePhase::Closing)
        };
        self.client_hears(name, connection, &out);
        if closing {
            let process = self.process(node);
            if let Some(ServerLane { lane, .. }) = process.lanes.remove(&(name, connection)) {
                disconnect(&process.database.read(), &lane);
                self.give(node, Input::Disconnected(lane.id));
            }
            self.client_lost(name, connection);
        }
    }

    pub(crate) fn serve_lanes(&mut self, node: Node) {
        let lanes: Vec<_> = self.process(node).lanes.keys().copied().collect();
        for (name, connection) in lanes {
            self.write_lane(node, name, connection);
            self.read_lane(node, name, connection);
            self.write_lane(node, name, connection);
        }
    }

    /// A client learns that its connection is gone.
    pub(crate) fn client_lost(&mut self, name: char, connection: u32) {
        let Some(client) = self.clients.get_mut(&name) else { return };
        if client.connection != connection {
            self.tell(format!("{name}: an old connection is closed"));
            return;
        }
        let was_open = std::mem::replace(&mut client.open, false);
        let pending: Vec<_> = client.pending.drain(..).filter(|(xid, _)| *xid >= 0).map(|(_, asked)| asked).collect();
        for asked in &pending {
            self.tell(format!("{name}: {asked}: connection lost"));
        }
        if was_open && pending.is_empty() {
            self.tell(format!("{name}: connection lost"));
        }
    }

    fn client_hears(&mut self, name: char, connection: u32, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(&name).filter(|client| client.connection == connection) else { return };
        client.input.extend_from_slice(bytes);
        while let Some(client) = self.clients.get_mut(&name)
            && let Some(length) = client.input.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
            && let Some(frame) = client.input.get(4..4 + length).map(<[u8]>::to_vec)
        {
            client.input.advance(4 + length);
            if client.pending.front().is_some_and(|(xid, _)| *xid == 0) {
                client.pending.pop_front();
                self.client_welcomed(name, &frame);
            } else {
                self.client_answered(name, &frame);
            }
        }
    }

    fn client_welcomed(&mut self, name: char, frame: &[u8]) {
        let (_, response) = ConnectResponse::decode(frame).expect("a connect response");
        let client = self.clients.get_mut(&name).expect("a client of this story");
        if response.timeout_ms == 0 {
            (client.session, client.open) = (SessionId::NONE, false);
            self.tell(format!("{name}: session expired"));
            return;
        }
        let again = client.session != SessionId::NONE;
        client.session = response.session;
        client.timeout_ms = response.timeout_ms;
        let (server, connection) = (client.server, client.connection);
        let how = if response.read_only == Some(true) { ", read-only" } else { "" };
        let session = if again { "its session" } else { "a new session" };
        self.tell(format!("{name}: {session} at {server}{how}"));
        let pause = u64::try_from(response.timeout_ms).expect("a timeout") / 3;
        self.after(pause, Event::ClientPing(name, connection));
    }

    fn client_answered(&mut self, name: char, frame: &[u8]) {
        let (body, header) = ReplyHeader::decode(frame).expect("a reply header");
        let client = self.clients.get_mut(&name).expect("a client of this story");
        client.seen = client.seen.max(header.zxid);
        if header.xid == ReplyHeader::PING_XID {
            return;
        }
        if header.xid == ReplyHeader::NOTIFICATION_XID {
            let length = usize::from(body[11]);
            let path = String::from_utf8_lossy(&body[12..12 + length]).into_owned();
            let what = ["", "created", "deleted", "changed", "its children changed"][usize::from(body[3]).min(4)];
            self.tell(format!("{name}: watch: {path} {what}"));
            return;
        }
        let (_, asked) = client.pending.pop_front().expect("an answer to something");
        let answer = if header.error != ErrorCode::OK {
            format!("{:?}", header.error)
        } else if asked.starts_with("get") {
            let length = usize::from(body[2]) << 8 | usize::from(body[3]);
            format!("\"{}\"", String::from_utf8_lossy(&body[4..4 + length]).replace('\n', " "))
        } else if asked.starts_with("multi") && body[4] == 0 && body[..4] == [0xff; 4] {
            format!("failed: {}", multi_errors(body).join(", "))
        } else if asked == "sync" {
            "done".to_owned()
        } else {
            format!("done at {}", header.zxid)
        };
        if asked == "close" {
            (client.session, client.open) = (SessionId::NONE, false);
        }
        self.tell(format!("{name}: {asked}: {answer}"));
    }

    pub(crate) fn client_of(&self, session: SessionId) -> String {
        let of = self.clients.iter().find(|(_, client)| client.session == session);
        of.map_or_else(|| session.to_string(), |(name, _)| name.to_string())
    }
}

/// What a multi that failed answers for each of its parts.
fn multi_errors(mut body: &[u8]) -> Vec<String> {
    let mut errors = Vec::new();
    while let (rest, header) = MultiHeader::decode(body).expect("a multi header")
        && !header.done
    {
        body = &rest[4..];
        errors.push(format!("{:?}", ErrorCode(header.error)));
    }
    errors
}
