//! The shell's session: one thread connects, reads and pings; requests leave from whoever asks.
//!
//! A request that was sent when a connection breaks fails with ConnectionLoss, since nobody knows what became of it.
//! One that was not sent waits until every server was tried once. The session goes on with the next server, with all
//! that was shown and all watches.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::print::{self, Printer};
use super::watches::{Kind, Watches, event_name};
use crate::cli::bench::request::frame;
use crate::ids::{SessionId, Zxid};
use crate::jute::{JuteWrite, int, text};
use crate::proto::{
    ConnectRequest, ConnectResponse, ErrorCode, EventType, OpCode, PASSWORD_LENGTH, ReplyHeader, WatcherType,
    end_frame, start_frame,
};

/// Where and how to connect.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// Hosts and ports, at least one.
    pub(super) servers: Vec<(String, u16)>,
    /// What stands before every path; empty for nothing.
    pub(super) chroot: String,
    /// What to ask for.
    pub(super) timeout: Duration,
    /// Whether a server without a quorum will do.
    pub(super) read_only: bool,
    /// How long a request may take, if not for ever.
    pub(super) request_max: Option<Duration>,
    /// Whether watches come back with a new connection.
    pub(super) keep_watches: bool,
}

/// The session's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Connecting,
    Connected,
    ReadOnly,
    Closed,
    AuthFailed,
}

impl Phase {
    /// Whether the session may still be of use.
    pub(super) const fn is_alive(self) -> bool {
        !matches!(self, Self::Closed | Self::AuthFailed)
    }

    /// As the prompt has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "CONNECTING",
            Self::Connected => "CONNECTED",
            Self::ReadOnly => "CONNECTEDREADONLY",
            Self::Closed => "CLOSED",
            Self::AuthFailed => "AUTH_FAILED",
        }
    }

    /// What a request fails with that was not answered in this state.
    const fn error(self) -> ErrorCode {
        match self {
            Self::AuthFailed => ErrorCode::AUTH_FAILED,
            Self::Closed => ErrorCode::SESSION_EXPIRED,
            _ => ErrorCode::CONNECTION_LOSS,
        }
    }
}

/// What an answer does to the watches.
#[derive(Debug)]
pub(super) enum Effect {
    None,
    Watch(Kind, String),
    Unwatch { path: String, which: WatcherType, local: bool },
}

/// The answer to a request: a server's, or none.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) error: ErrorCode,
    pub(super) body: Vec<u8>,
}

struct Request {
    xid: i32,
    /// The whole frame, until it is sent.
    unsent: Option<Vec<u8>>,
    effect: Effect,
}

struct State {
    phase: Phase,
    /// The last state that was told in an event without a path.
    told: &'static str,
    closing: bool,
    session: SessionId,
    password: [u8; PASSWORD_LENGTH],
    timeout: Duration,
    /// Whether a session of a server with a quorum has begun.
    begun: bool,
    seen: Zxid,
    next_xid: i32,
    /// In the order in which they were sent, and will be.
    requests: VecDeque<Request>,
    answers: HashMap<i32, Answer>,
    watches: Watches,
    shown: Vec<(String, Option<Vec<u8>>)>,
    heard: Instant,
}

struct Writer {
    stream: TcpStream,
    sent: Instant,
}

/// A session and whoever keeps it.
pub(super) struct Connection {
    route: Route,
    print_events: Arc<AtomicBool>,
    printer: Mutex<Option<Printer>>,
    /// Taken before the state. While there is one, nothing is unsent.
    writer: Mutex<Option<Writer>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// The session is not there any more.
struct Expired;

const AUTH_XID: i32 = -4;
const SET_WATCHES_XID: i32 = -8;
/// A longer answer is a mistake.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// An idle client pings at least so often.
const PING_MAX: Duration = Duration::from_secs(10);
/// What it waits when all servers have been tried.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

impl Connection {
    /// Begins to connect.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(route: Route, print_events: Arc<AtomicBool>) -> io::Result<Arc<Self>> {
        let state = State {
            phase: Phase::Connecting,
            told: "Disconnected",
            closing: false,
            session: SessionId::NONE,
            password: [0; PASSWORD_LENGTH],
            timeout: route.timeout,
            begun: false,
            seen: Zxid::ZERO,
            next_xid: 1,
            requests: VecDeque::new(),
            answers: HashMap::new(),
            watches: Watches::default(),
            shown: Vec::new(),
            heard: Instant::now(),
        };
        let connection = Arc::new(Self {
            route,
            print_events,
            printer: Mutex::new(Some(Printer::start()?)),
            writer: Mutex::new(None),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let keeper = Arc::clone(&connection);
        std::thread::Builder::new().name("session".to_owned()).spawn(move || keeper.keep())?;
        Ok(connection)
    }

    pub(super) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// Whether a connection is there within the time that a session may be without.
    pub(super) fn wait_connected(&self) -> bool {
        let deadline = Instant::now() + self.route.timeout;
        let mut state = self.state.lock();
        while state.phase != Phase::Connected {
            if !state.phase.is_alive() || self.changed.wait_until(&mut state, deadline).timed_out() {
                return state.phase == Phase::Connected;
            }
        }
        true
    }

    /// A request and its answer.
    pub(super) fn call(&self, op: OpCode, effect: Effect, body: impl FnOnce(&mut Vec<u8>)) -> Answer {
        let xid = self.send(op, effect, body);
        self.wait(xid)
    }

    /// Sends a request, at once or when there is a connection.
    pub(super) fn send(&self, op: OpCode, effect: Effect, body: impl FnOnce(&mut Vec<u8>)) -> i32 {
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        let xid = state.next_xid;
        state.next_xid = xid.checked_add(1).unwrap_or(1);
        let mut bytes = Vec::new();
        frame(&mut bytes, xid, op, body);
        let fits = bytes.len() <= FRAME_BYTES_MAX;
        if !state.phase.is_alive() || state.closing || !fits {
            let error = state.phase.error();
            state.answers.insert(xid, Answer { error, body: Vec::new() });
            return xid;
        }
        let unsent = if writer.is_none() { Some(std::mem::take(&mut bytes)) } else { None };
        state.requests.push_back(Request { xid, unsent, effect });
        drop(state);
        if let Some(writer) = writer.as_mut() {
            writer.write(&bytes);
        }
        xid
    }

    /// Waits for the answer to a request.
    pub(super) fn wait(&self, xid: i32) -> Answer {
        let deadline = self.route.request_max.map(|longest| Instant::now() + longest);
        let mut state = self.state.lock();
        loop {
            if let Some(answer) = state.answers.remove(&xid) {
                return answer;
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        drop(state);
                        return self.give_up(xid);
                    }
                }
            }
        }
    }

    /// The answer to a request that has taken too long, with which all others are over, too: nothing of it is sent later.
    fn give_up(&self, xid: i32) -> Answer {
        let writer = self.writer.lock();
        let mut state = self.state.lock();
        if let Some(answer) = state.answers.remove(&xid) {
            return answer;
        }
        self.fail(&mut state, false);
        state.answers.remove(&xid);
        if let Some(writer) = writer.as_ref() {
            let _already = writer.stream.shutdown(Shutdown::Both);
        }
        Answer { error: ErrorCode::REQUEST_TIMEOUT, body: Vec::new() }
    }

    /// Shows a server who this is, now and on every new connection.
    pub(super) fn show(&self, scheme: &str, auth: Option<&[u8]>) {
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        if !state.phase.is_alive() {
            return;
        }
        state.shown.push((scheme.to_owned(), auth.map(<[u8]>::to_vec)));
        drop(state);
        if let Some(writer) = writer.as_mut() {
            let mut bytes = Vec::new();
            put_auth(&mut bytes, scheme, auth);
            writer.write(&bytes);
        }
    }

    /// Ends the session.
    pub(super) fn close(&self) {
        if !self.phase().is_alive() {
            return self.print_all();
        }
        let xid = self.send(OpCode::CLOSE_SESSION, Effect::None, |_| ());
        let mut state = self.state.lock();
        state.closing = true;
        // One that is not sent is not answered either: nobody connects any more.
        if !state.requests.iter().any(|request| request.xid == xid && request.unsent.is_some()) {
            drop(state);
            self.wait(xid);
            state = self.state.lock();
        }
        state.phase = Phase::Closed;
        self.fail(&mut state, false);
        self.tell(&mut state, "Closed");
        drop(state);
        self.cut();
        self.print_all();
    }

    /// Waits until all events are printed; there are no more.
    pub(super) fn print_all(&self) {
        let printer = self.printer.lock().take();
        if let Some(printer) = printer {
            printer.finish();
        }
    }

    /// Lets the keeper find the connection broken.
    fn cut(&self) {
        if let Some(writer) = self.writer.lock().as_ref() {
            let _already = writer.stream.shutdown(Shutdown::Both);
        }
    }

    /// What the thread does, until the session has ended.
    fn keep(&self) {
        let mut servers = self.route.servers.clone();
        fastrand::shuffle(&mut servers);
        let mut failed = 0;
        for (host, port) in servers.iter().cycle() {
            if self.is_over() {
                return;
            }
            match self.open(host, *port) {
                Ok(Ok(stream)) => {
                    failed = 0;
                    let _why = self.serve(&stream);
                    self.lose(&stream);
                    self.pause(Duration::from_millis(fastrand::u64(..ROUND_PAUSE.as_millis() as u64)));
                }
                Ok(Err(Expired)) => return self.expire(),
                Err(_) => failed += 1,
            }
            if failed >= servers.len() {
                failed = 0;
                self.fail(&mut self.state.lock(), false);
                self.pause(ROUND_PAUSE);
            }
        }
    }

    /// Whether nothing is left to be kept; a session that no server was heard of for too long is not.
    fn is_over(&self) -> bool {
        let state = self.state.lock();
        let lost = state.session != SessionId::NONE && state.heard.elapsed() >= state.timeout * 4 / 3;
        let over = !state.phase.is_alive() || state.closing;
        drop(state);
        if lost && !over {
            self.expire();
        }
        over || lost
    }

    fn expire(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Closed;
        self.fail(&mut state, false);
        self.tell(&mut state, "Expired");
    }

    fn pause(&self, how_long: Duration) {
        let deadline = Instant::now() + how_long;
        let mut state = self.state.lock();
        while state.phase.is_alive() && !state.closing {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Connects to one server, opens the session or goes on with it, and sends all that waits.
    fn open(&self, host: &str, port: u16) -> io::Result<Result<TcpStream, Expired>> {
        let (request, patience) = {
            let state = self.state.lock();
            let mut request = Vec::new();
            let start = start_frame(&mut request);
            ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: state.seen,
                timeout_ms: i32::try_from(self.route.timeout.as_millis()).unwrap_or(i32::MAX),
                // A session of a server without a quorum is unknown to the others.
                session: if state.begun { state.session } else { SessionId::NONE },
                password: Some(&state.password),
                read_only: Some(self.route.read_only),
            }
            .encode(&mut request);
            end_frame(&mut request, start);
            (request, (state.timeout / self.route.servers.len() as u32).max(Duration::from_millis(1)))
        };
        let mut stream = dial(host, port, patience)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(&request)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut reply = vec![0; frame_length(length)?];
        stream.read_exact(&mut reply)?;
        let Ok((_, response)) = ConnectResponse::decode(&reply) else { return Err(ErrorKind::InvalidData.into()) };
        if response.timeout_ms <= 0 {
            return Ok(Err(Expired));
        }
        self.opened(&stream, &response)?;
        Ok(Ok(stream))
    }

    fn opened(&self, stream: &TcpStream, response: &ConnectResponse) -> io::Result<()> {
        let mut new = Writer { stream: stream.try_clone()?, sent: Instant::now() };
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        if !state.phase.is_alive() || state.closing {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let read_only = response.read_only == Some(true);
        state.phase = if read_only { Phase::ReadOnly } else { Phase::Connected };
        state.begun |= !read_only;
        state.session = response.session;
        state.password = response.password;
        state.timeout = Duration::from_millis(u64::try_from(response.timeout_ms).unwrap_or_default());
        state.heard = Instant::now();
        let mut bytes = Vec::new();
        for (scheme, auth) in &state.shown {
            put_auth(&mut bytes, scheme, auth.as_deref());
        }
        if self.route.keep_watches {
            for (op, body) in state.watches.requests(state.seen.0, |path| self.full(path)) {
                frame(&mut bytes, SET_WATCHES_XID, op, |out| out.extend_from_slice(&body));
            }
        } else {
            state.watches = Watches::default();
        }
        for request in &mut state.requests {
            bytes.extend(request.unsent.take().unwrap_or_default());
        }
        self.tell(&mut state, if read_only { "ConnectedReadOnly" } else { "SyncConnected" });
        drop(state);
        new.write(&bytes);
        *writer = Some(new);
        Ok(())
    }

    /// Reads and pings until the connection is broken.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let timeout = self.state.lock().timeout;
        let (silence_max, ping_after) = (timeout * 2 / 3, (timeout / 3).min(PING_MAX));
        let mut input = Vec::new();
        let mut piece = vec![0; 64 << 10];
        let mut heard = Instant::now();
        loop {
            let now = Instant::now();
            let Some(rest) = silence_max.checked_sub(now - heard).filter(|rest| !rest.is_zero()) else {
                return Err(ErrorKind::TimedOut.into());
            };
            let to_ping = self.ping_if_due(now, ping_after);
            stream.set_read_timeout(Some(rest.min(to_ping).max(Duration::from_millis(1))))?;
            match (&*stream).read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    heard = Instant::now();
                    self.state.lock().heard = heard;
                    input.extend_from_slice(&piece[..length]);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                }
                Err(error) => return Err(error),
            }
            let mut begin = 0;
            while let Some(head) = input[begin..].first_chunk::<4>() {
                let end = begin + 4 + frame_length(*head)?;
                if end > input.len() {
                    break;
                }
                self.take(&input[begin + 4..end]).ok_or(ErrorKind::InvalidData)?;
                begin = end;
            }
            input.drain(..begin);
        }
    }

    /// Pings when nothing was sent for long enough; how long it is to the next time.
    fn ping_if_due(&self, now: Instant, ping_after: Duration) -> Duration {
        let mut writer = self.writer.lock();
        let Some(writer) = writer.as_mut() else { return ping_after };
        match ping_after.checked_sub(now - writer.sent).filter(|rest| !rest.is_zero()) {
            Some(rest) => rest,
            None => {
                let mut bytes = Vec::new();
                frame(&mut bytes, ReplyHeader::PING_XID, OpCode::PING, |_| ());
                writer.write(&bytes);
                ping_after
            }
        }
    }

    /// Takes one frame; `None` if the connection is of no more use.
    fn take(&self, frame: &[u8]) -> Option<()> {
        let (body, header) = ReplyHeader::decode(frame).ok()?;
        match header.xid {
            ReplyHeader::PING_XID | SET_WATCHES_XID => Some(()),
            ReplyHeader::NOTIFICATION_XID => self.take_event(header.zxid, body),
            AUTH_XID => {
                if header.error != ErrorCode::AUTH_FAILED {
                    return Some(());
                }
                let mut state = self.state.lock();
                state.phase = Phase::AuthFailed;
                self.tell(&mut state, "AuthFailed");
                None
            }
            xid => {
                let mut state = self.state.lock();
                let request = state.requests.pop_front_if(|request| request.xid == xid)?;
                if header.zxid > Zxid::ZERO {
                    state.seen = header.zxid;
                }
                self.answer(&mut state, request, header.error, body.to_vec());
                Some(())
            }
        }
    }

    fn take_event(&self, zxid: Zxid, body: &[u8]) -> Option<()> {
        let (body, kind) = int(body).ok()?;
        let (body, _state) = int(body).ok()?;
        let (_, path) = text(body).ok()?;
        let kinds = [EventType::Created, EventType::Deleted, EventType::DataChanged, EventType::ChildrenChanged];
        let kind = kinds.into_iter().find(|other| *other as i32 == kind)?;
        let path = self.own(&path).to_owned();
        if self.state.lock().watches.fire(kind, &path) {
            self.print(event_name(kind), "SyncConnected", Some(&path), zxid);
        }
        Some(())
    }

    /// Gives whoever waits for a request its answer.
    fn answer(&self, state: &mut State, request: Request, error: ErrorCode, body: Vec<u8>) {
        let error = match request.effect {
            Effect::None => error,
            Effect::Watch(kind, path) => {
                state.watches.answered(kind, &path, error);
                error
            }
            Effect::Unwatch { path, which, local } => match state.watches.remove(&path, which, local, error) {
                Ok(kinds) => {
                    let lost = [ErrorCode::CONNECTION_LOSS, ErrorCode::SESSION_EXPIRED].contains(&error);
                    for kind in kinds {
                        self.print(kind, if lost { "Disconnected" } else { "SyncConnected" }, Some(&path), Zxid(-1));
                    }
                    ErrorCode::OK
                }
                Err(error) => error,
            },
        };
        state.answers.insert(request.xid, Answer { error, body });
        self.changed.notify_all();
    }

    /// After a connection that is broken.
    fn lose(&self, stream: &TcpStream) {
        // First of all, so that whoever writes to it stops.
        let _already = stream.shutdown(Shutdown::Both);
        *self.writer.lock() = None;
        let mut state = self.state.lock();
        if state.phase.is_alive() {
            state.phase = Phase::Connecting;
        }
        self.fail(&mut state, true);
        if state.phase.is_alive() && !state.closing {
            self.tell(&mut state, "Disconnected");
        }
    }

    /// All that is waited for, or all of it that was sent, is not coming.
    fn fail(&self, state: &mut State, only_sent: bool) {
        let error = state.phase.error();
        while let Some(request) = state.requests.pop_front_if(|request| !only_sent || request.unsent.is_none()) {
            self.answer(state, request, error, Vec::new());
        }
        self.changed.notify_all();
    }

    /// An event about the session itself, unless it would be the same as the last.
    fn tell(&self, state: &mut State, what: &'static str) {
        if state.told != what {
            state.told = what;
            self.print("None", what, None, Zxid(-1));
        }
        self.changed.notify_all();
    }

    fn print(&self, kind: &str, state: &str, path: Option<&str>, zxid: Zxid) {
        if self.print_events.load(Ordering::Relaxed)
            && let Some(printer) = self.printer.lock().as_ref()
        {
            printer.print(print::event(state, kind, path, zxid.0));
        }
    }

    /// The path that a server knows.
    pub(super) fn full(&self, path: &str) -> String {
        match (self.route.chroot.as_str(), path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        }
    }

    /// The path that the user knows.
    pub(super) fn own<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.route.chroot.as_str()) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }
}

impl Writer {
    /// Sends, or breaks the connection for its reader to find.
    fn write(&mut self, bytes: &[u8]) {
        self.sent = Instant::now();
        if self.stream.write_all(bytes).is_err() {
            let _already = self.stream.shutdown(Shutdown::Both);
        }
    }
}

fn put_auth(out: &mut Vec<u8>, scheme: &str, auth: Option<&[u8]>) {
    frame(out, AUTH_XID, OpCode::AUTH, |out| {
        out.int(0);
        out.ustring(scheme);
        out.buffer(auth);
    });
}

fn frame_length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(head) as usize;
    if length <= FRAME_BYTES_MAX { Ok(length) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Connects to the first of a host's addresses that answers.
fn dial(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut last = ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
