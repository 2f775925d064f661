//! A lane: one client's connection as the pipeline sees it. Requests come in, answers and events go out, in order.
//!
//! A write leaves a place in the lane until it is committed. A read with nothing before it is answered at once, on the
//! thread that received it; one behind a write waits in the lane, and is answered right after that write is applied,
//! before anything later is: so a client sees its own requests take effect one after the other (CL-56).

mod proving;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::audit::Note;
use super::database::Database;
use super::early::{EarlyRules, Refusal, refuse_early};
use super::read;
use super::statistics::{LaneStatistics, ServerStatistics};
use crate::auth::sasl::ServerExchange;
use crate::auth::{Identities, Identity};
use crate::ids::{ConnectionId, SessionId};
use crate::metrics::{Advanced, LastNamespace};
use crate::numbered::Numbered;
use crate::proto::{
    ConnectResponse, ErrorCode, OpCode, OpKind, ReplyHeader, RequestHeader, end_frame, start_frame, start_reply,
};
use crate::session::Heartbeat;
use crate::watch::WatcherId;

/// Bytes of events and replies that a client may leave unread before it is cut off.
pub(super) const UNREAD_BYTES_MAX: usize = 64 << 20;

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LanePhase {
    /// The first frame has not come.
    Greeting,
    /// It came, or a four-letter word, and the answer has not gone.
    Connecting,
    /// It speaks for a session.
    Open,
    /// What is in the out-buffer still goes, then the socket is closed. Nothing more is taken.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub struct Lane {
    /// Its number.
    pub id: ConnectionId,
    /// Where the client is; see [`Lane::address`].
    ip: IpAddr,
    port: u16,
    /// When it was accepted, ms since the Unix epoch.
    pub established_ms: i64,
    state: Mutex<LaneState>,
    statistics: Arc<ServerStatistics>,
}

impl Numbered for Lane {
    type Number = ConnectionId;

    fn number(&self) -> ConnectionId {
        self.id
    }
}

/// What changes of a connection.
#[derive(Debug)]
pub struct LaneState {
    phase: LanePhase,
    /// Whether nothing more goes out.
    is_cut: bool,
    /// Whether it is a TLS connection.
    secure: bool,
    session: SessionId,
    timeout_ms: i32,
    identities: Identities,
    /// In a box once it is needed, like the next: an idle connection is to be small.
    sasl: Option<Box<ServerExchange>>,
    /// Once it has written.
    queue: Option<Box<Queue>>,
    heartbeat: Option<Arc<Heartbeat>>,
    out: Vec<u8>,
    waker: Option<Waker>,
    pub(super) watcher: Option<WatcherId>,
    /// Where the last read was.
    pub(super) read: LastNamespace,
    statistics: LaneStatistics,
}

/// Requests that are not answered yet.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Their bytes.
    waiting_bytes: usize,
    /// Of the writes that the owner has, those that the audit log tells of; it does so also when the client is gone. There
    /// are none without an audit log.
    notes: VecDeque<Note>,
}

impl Queue {
    /// The next request, if it is a read.
    fn pop_read(&mut self) -> Option<WaitingRead> {
        let next = self.waiting.pop_front_if(|next| matches!(next, Waiting::Read(_)));
        let Some(Waiting::Read(read)) = next else { return None };
        self.waiting_bytes -= read.body.len();
        Some(*read)
    }

    /// The next request, if it is a write.
    fn pop_write(&mut self) -> Option<LargeRequest> {
        let next = self.waiting.pop_front_if(|next| matches!(next, Waiting::Write { .. }));
        let Some(Waiting::Write { bytes, size }) = next else { return None };
        self.waiting_bytes -= bytes;
        Some(size)
    }
}

#[derive(Debug)]
enum Waiting {
    /// A write that the owner has, of so many bytes.
    Write { bytes: usize, size: LargeRequest },
    /// A request behind one that this server answers itself. Boxed: whoever has written once keeps room for a few.
    Read(Box<WaitingRead>),
}

#[derive(Debug)]
struct WaitingRead {
    header: RequestHeader,
    body: Bytes,
    identities: Identities,
    received_ms: u64,
    refusal: Option<Refusal>,
    _size: LargeRequest,
}

/// A request counts towards the bytes of large requests in flight as long as this lives; most are not large (TH-07).
#[derive(Debug, Default)]
struct LargeRequest(Option<(Arc<ServerStatistics>, i64)>);

impl Drop for LargeRequest {
    fn drop(&mut self) {
        if let Some((statistics, bytes)) = &self.0 {
            statistics.large_request_bytes.fetch_sub(*bytes, Relaxed);
        }
    }
}

/// A request that is answered from the database, or refused without asking anybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadRequest<'a> {
    pub(super) header: RequestHeader,
    pub(super) body: &'a [u8],
    pub(super) identities: &'a [Identity],
    pub(super) received_ms: u64,
    pub(super) refusal: Option<Refusal>,
}

/// A write on its way to the owner.
#[derive(Debug)]
pub struct WriteRequest {
    /// Who asked, and waits.
    pub lane: Arc<Lane>,
    /// Its session.
    pub session: SessionId,
    /// The client's number.
    pub xid: i32,
    /// The operation.
    pub op: OpCode,
    /// The record.
    pub body: Bytes,
    /// Who the client was when it came in.
    pub identities: Identities,
    /// When it came in, steady clock, ms.
    pub received_ms: u64,
}

/// What a report may tell of a connection.
#[derive(Clone, Debug)]
pub struct LaneInfo {
    /// The client's address.
    pub address: SocketAddr,
    /// Whether it is a TLS connection.
    pub secure: bool,
    /// When it was accepted, ms since the Unix epoch.
    pub established_ms: i64,
    /// Its session, if it has one.
    pub session: Option<SessionId>,
    /// The session's timeout, ms.
    pub timeout_ms: i32,
    /// Requests not yet answered.
    pub queued: usize,
    /// Counts.
    pub statistics: LaneStatistics,
}

/// How many bytes of large requests may be in flight (TH-07).
#[derive(Clone, Copy, Debug)]
pub struct LargeRequestRules {
    /// `zookeeper.largeRequestThreshold`: a request of more bytes is large; `None`: none is.
    pub threshold: Option<usize>,
    /// `zookeeper.largeRequestMaxBytes`: one more that goes above is refused, and its connection closed.
    pub bytes_max: usize,
}

/// What receiving must know of the server.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveRules {
    /// How many bytes of large requests may be in flight.
    pub large: LargeRequestRules,
    /// What is refused before anybody is asked.
    pub early: EarlyRules,
}

/// When a frame came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Now, steady clock, ms.
    pub now_ms: u64,
    /// How long it was held back because too many requests were in process, ms.
    pub waited_ms: u64,
}

impl Arrival {
    /// It was not held back.
    #[must_use]
    pub const fn at(now_ms: u64) -> Self {
        Self { now_ms, waited_ms: 0 }
    }
}

/// What the one who received a frame has to do next.
#[derive(Debug)]
pub enum Received {
    /// Nothing: it was answered, or waits.
    Done,
    /// Give this to the owner.
    Write(WriteRequest),
}

impl Lane {
    /// A connection just accepted.
    #[must_use]
    pub fn new(
        id: ConnectionId,
        address: SocketAddr,
        established_ms: i64,
        statistics: Arc<ServerStatistics>,
    ) -> Arc<Self> {
        let identities = [Identity::ip(address.ip())].into();
        Self::of(identities, id, address, established_ms, statistics)
    }

    /// The same for somebody whose identities are known: those of one address can share them.
    #[must_use]
    pub fn of(
        identities: Identities,
        id: ConnectionId,
        address: SocketAddr,
        established_ms: i64,
        statistics: Arc<ServerStatistics>,
    ) -> Arc<Self> {
        let state = LaneState {
            phase: LanePhase::Greeting,
            is_cut: false,
            secure: false,
            session: SessionId::NONE,
            timeout_ms: 0,
            identities,
            sasl: None,
            queue: None,
            heartbeat: None,
            out: Vec::new(),
            waker: None,
            watcher: None,
            read: None,
            statistics: LaneStatistics::default(),
        };
        let (ip, port) = (address.ip(), address.port());
        Arc::new(Self { id, ip, port, established_ms, state: Mutex::new(state), statistics })
    }

    /// The client's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Its state, alone.
    pub fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock()
    }

    /// The server's counts.
    #[must_use]
    pub const fn statistics(&self) -> &Arc<ServerStatistics> {
        &self.statistics
    }

    /// What reports tell of it.
    #[must_use]
    pub fn info(&self) -> LaneInfo {
        let state = self.lock();
        LaneInfo {
            address: self.address(),
            secure: state.secure,
            established_ms: self.established_ms,
            session: (state.session != SessionId::NONE).then_some(state.session),
            timeout_ms: state.timeout_ms,
            queued: state.waiting(),
            statistics: state.statistics,
        }
    }

    /// It is a TLS connection, and this is who has shown a certificate, if anybody has.
    pub fn secure(&self, identities: Vec<Identity>) {
        let mut state = self.lock();
        state.secure = true;
        state.identities = state.identities.iter().cloned().chain(identities).collect();
    }

    /// `crst`: its counts begin anew.
    pub fn reset_statistics(&self) {
        self.lock().statistics = LaneStatistics { last_cxid: -1, ..LaneStatistics::default() };
    }

    /// Answers the connect request with a session: requests may follow. What they read waits like that behind a write, if this
    /// is `behind` something; [`Origin::Back`](super::Origin::Back) says when that is over.
    pub fn open(
        &self,
        session: SessionId,
        timeout_ms: i32,
        heartbeat: Arc<Heartbeat>,
        read_only: Option<bool>,
        behind: bool,
    ) -> Option<Waker> {
        let mut state = self.lock();
        if state.phase != LanePhase::Connecting {
            return None;
        }
        state.phase = LanePhase::Open;
        if behind {
            let barrier = Waiting::Write { bytes: 0, size: LargeRequest::default() };
            state.queue.get_or_insert_default().waiting.push_back(barrier);
        }
        (state.session, state.timeout_ms, state.heartbeat) = (session, timeout_ms, Some(heartbeat));
        let password = crate::session::password(session);
        state.push_connect_response(&ConnectResponse { timeout_ms, session, password, read_only });
        state.statistics.last_op = Some(OpCode::CREATE_SESSION);
        state.statistics.last_cxid = -1;
        self.statistics.sent();
        state.take_waker()
    }

    /// Answers the connect request: the session is not valid. The connection is closed behind it (CL-11).
    pub fn refuse(&self, read_only: Option<bool>) -> Option<Waker> {
        let mut state = self.lock();
        state.push_connect_response(&ConnectResponse::invalid(read_only));
        self.statistics.sent();
        state.close()
    }
}

impl LaneState {
    /// Where it stands.
    #[must_use]
    pub const fn phase(&self) -> LanePhase {
        self.phase
    }

    /// Whether what it has not sent yet is of no use any more.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Its session; [`SessionId::NONE`] before there is one.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Who it is.
    #[must_use]
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// The session's timeout, ms; 0 before there is one.
    #[must_use]
    pub const fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    /// Requests that wait for a write, bytes.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.waiting_bytes)
    }

    /// Requests not yet answered.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.waiting.len())
    }

    /// The connect request is with the owner.
    pub fn connecting(&mut self) {
        self.statistics.received += 1;
        self.phase = LanePhase::Connecting;
    }

    /// What is to be sent, taken out; give the buffer back with [`LaneState::recycle`].
    pub fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Whether something is to be sent.
    #[must_use]
    pub fn has_out(&self) -> bool {
        !self.out.is_empty()
    }

    /// Answers and events not yet taken by [`LaneState::take_out`], bytes.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.out.len()
    }

    /// Sends bytes without a frame and closes: the answer to a four-letter word.
    pub fn say_and_close(&mut self, text: &[u8]) -> Option<Waker> {
        self.out.extend_from_slice(text);
        self.close()
    }

    /// Takes nothing more until the answer to a four-letter word is found.
    pub fn wait_for_words(&mut self) {
        if self.phase == LanePhase::Greeting {
            self.phase = LanePhase::Connecting;
        }
    }

    /// Gives a buffer back that was sent.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.out.capacity() == 0 {
            buffer.clear();
            self.out = buffer;
        }
    }

    /// Whom to wake when there is something to send or the connection shall close.
    pub fn set_waker(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// The waker, taken: the one who takes it wakes.
    pub fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Lets what is in the out-buffer go and then closes. Requests that wait are dropped.
    pub fn close(&mut self) -> Option<Waker> {
        self.phase = LanePhase::Closing;
        if let Some(queue) = &mut self.queue {
            queue.waiting.clear();
            queue.waiting_bytes = 0;
        }
        self.take_waker()
    }

    /// Closes without sending anything more.
    pub fn cut(&mut self) -> Option<Waker> {
        (self.out, self.is_cut) = (Vec::new(), true);
        self.close()
    }

    /// Cuts off a client that leaves too much unread, if it does with so many bytes more. Whoever comes by next wakes it.
    pub(super) fn is_too_much(&mut self, more: usize) -> bool {
        let is_too_much = self.out.len() + more > UNREAD_BYTES_MAX;
        if is_too_much {
            tracing::warn!(session = %self.session, unread = self.out.len(), "client does not read what it gets; closing");
            let waker = self.cut();
            self.waker = waker;
        }
        is_too_much
    }

    /// Nothing more is taken; whoever has the connection wakes it.
    pub(super) fn close_unwoken(&mut self) {
        let waker = self.close();
        self.waker = waker;
    }

    pub(super) fn push_event(&mut self, frame: &[u8]) {
        if self.phase != LanePhase::Open || self.is_too_much(frame.len()) {
            return;
        }
        self.statistics.sent += 1;
        self.out.extend_from_slice(frame);
    }

    fn push_connect_response(&mut self, response: &ConnectResponse) {
        let frame = start_frame(&mut self.out);
        response.encode(&mut self.out);
        end_frame(&mut self.out, frame);
        self.statistics.sent += 1;
    }

    /// Appends a reply: the header, and what `record` writes. How long it took is told of reads or of updates.
    pub(super) fn push_reply(
        &mut self,
        server: &ServerStatistics,
        kind: Option<Advanced>,
        (op, received_ms, now_ms): (OpCode, u64, u64),
        header: ReplyHeader,
        record: impl FnOnce(&mut Vec<u8>),
    ) {
        let frame = start_reply(&mut self.out, header);
        record(&mut self.out);
        end_frame(&mut self.out, frame);
        let latency_ms = now_ms.saturating_sub(received_ms);
        server.replied(self.out.len() - frame - 4, kind, latency_ms);
        self.statistics.replied(op, header.xid, header.zxid.0, now_ms, latency_ms);
    }

    /// What the audit log tells of this request.
    pub(super) fn pop_note(&mut self, xid: i32) -> Option<Note> {
        self.queue.as_mut()?.notes.pop_front_if(|note| note.xid == xid)
    }

    /// Takes the place of the write that was just committed. False when the lane is closed meanwhile.
    pub(super) fn pop_write(&mut self) -> bool {
        if self.phase != LanePhase::Open {
            return false;
        }
        let front = self.queue.as_mut().and_then(|queue| queue.pop_write());
        assert!(front.is_some(), "a write was committed that the lane does not wait for: {:?}", self.queue);
        true
    }
}

/// Takes one frame of an open lane: answers it, lets it wait, or hands it on as a write.
pub fn receive(
    database: &Database,
    lane: &Arc<Lane>,
    state: &mut LaneState,
    frame: &[u8],
    arrival: Arrival,
    rules: ReceiveRules,
) -> Received {
    let now_ms = arrival.now_ms;
    if state.phase != LanePhase::Open {
        return Received::Done;
    }
    state.statistics.received += 1;
    let Some(size) = admit_size(lane, frame.len(), rules.large) else {
        state.cut();
        return Received::Done;
    };
    let Ok((body, header)) = RequestHeader::decode(frame) else {
        state.cut();
        return Received::Done;
    };
    if header.op.kind() == OpKind::Connection {
        proving::authenticate(database, lane, state, header, body);
        return Received::Done;
    }
    if !database.auth().admits(&state.identities) {
        let reply = proving::connection_reply(header.xid, ErrorCode::SESSION_CLOSED_REQUIRE_AUTH);
        state.push_reply(&lane.statistics, None, (header.op, now_ms, now_ms), reply, |_| ());
        state.close();
        return Received::Done;
    }
    if let Some(heartbeat) = &state.heartbeat {
        heartbeat.touch(now_ms);
    }
    let identities = Arc::clone(&state.identities);
    let received_ms = now_ms.saturating_sub(arrival.waited_ms);
    let refusal = refuse_early(database, &identities, (header.op, body), arrival.waited_ms, rules.early);
    if refusal == Some(Refusal::Throttled) {
        lane.statistics.throttled_ops.fetch_add(1, Relaxed);
    }
    let asks_owner = header.op.kind() == OpKind::Write || header.op == OpCode::SYNC;
    if asks_owner && refusal.is_none() {
        let queue = state.queue.get_or_insert_default();
        queue.waiting_bytes += body.len();
        queue.waiting.push_back(Waiting::Write { bytes: body.len(), size });
        if database.audits() {
            let asked = (header.op, header.xid, body);
            queue.notes.extend(Note::new(asked, state.session, lane.ip, (database.auth(), &identities)));
        }
        lane.statistics.outstanding.fetch_add(1, Relaxed);
        return Received::Write(WriteRequest {
            lane: Arc::clone(lane),
            session: state.session,
            xid: header.xid,
            op: header.op,
            body: Bytes::copy_from_slice(body),
            identities,
            received_ms,
        });
    }
    match state.queue.as_mut().filter(|queue| !queue.waiting.is_empty()) {
        Some(queue) => {
            let body = Bytes::copy_from_slice(body);
            queue.waiting_bytes += body.len();
            let read = WaitingRead { header, body, identities, received_ms, refusal, _size: size };
            queue.waiting.push_back(Waiting::Read(Box::new(read)));
        }
        None => {
            let request = ReadRequest { header, body, identities: &identities, received_ms, refusal };
            read::answer(database, lane, state, &request, now_ms);
        }
    }
    Received::Done
}

/// Counts a request if it is large; `None`: there are too many bytes of large ones in flight.
fn admit_size(lane: &Lane, bytes: usize, rules: LargeRequestRules) -> Option<LargeRequest> {
    if rules.threshold.is_none_or(|threshold| bytes <= threshold) {
        return Some(LargeRequest::default());
    }
    let statistics = &lane.statistics;
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let in_flight = statistics.large_request_bytes.fetch_add(bytes, Relaxed).saturating_add(bytes);
    let counted = LargeRequest(Some((Arc::clone(statistics), bytes)));
    if usize::try_from(in_flight).is_ok_and(|in_flight| in_flight <= rules.bytes_max) {
        return Some(counted);
    }
    statistics.large_requests_rejected.fetch_add(1, Relaxed);
    tracing::warn!(client = %lane.address(), bytes, in_flight, "closing: too many bytes of large requests in flight");
    None
}

/// The socket is gone: nothing more goes out, and its watches go with it.
pub fn disconnect(database: &Database, lane: &Lane) {
    let mut state = lane.lock();
    let _closed_already = state.cut();
    if let Some(watcher) = state.watcher.take() {
        database.forget_watcher(watcher);
    }
}

/// Answers the reads that waited for the write before them.
pub(super) fn answer_waiting(database: &Database, lane: &Arc<Lane>, state: &mut LaneState, now_ms: u64) {
    while let Some(read) = state.queue.as_mut().and_then(|queue| queue.pop_read()) {
        let WaitingRead { header, body, identities, received_ms, refusal, _size } = read;
        let request = ReadRequest { header, body: &body, identities: &identities, received_ms, refusal };
        read::answer(database, lane, state, &request, now_ms);
        // Each asks for little, and may get a mebibyte.
        if state.is_too_much(0) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lane;

    /// With the two counts of its `Arc` it fits into 256 bytes, above which the allocator gives 320.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Lane>() + 2 * size_of::<usize>() <= 256, "{}", size_of::<Lane>());
    }
}
