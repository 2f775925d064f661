//! One connection: a future that reads what the client sends, lets `pipeline` answer, and writes.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::carrier::Carrier;
use super::connections::{UNSENT_BYTES_MAX, WAITING_BYTES_MAX, WAITING_MAX};
use super::throttle::Stall;
use super::tls::Stream;
use super::words::say_and_close;
use super::{ClientContext, WordAnswer};
use crate::metrics::Counter;
use crate::pipeline::{Arrival, Lane, LanePhase, LaneState, Received, disconnect, greet, receive};
use crate::proto::OpCode;

const SCRATCH_BYTES: usize = 64 * 1024;
/// A sent buffer up to this size stays with its connection, a larger one is given back.
const KEPT_BYTES_MAX: usize = 1024;
/// A smaller one is quickly made anew: an idle client, who is sent a pong now and then, holds none.
const KEPT_BYTES_MIN: usize = 256;
/// Room for a frame that has begun, at least.
const ROOM_BYTES_MIN: usize = 4096;
/// How long frames of one connection are taken at a time, ms: meanwhile no txn is applied.
const TURN_MS: u64 = 2;
/// Turns of read, answer, write before other connections of the thread get theirs.
const TURNS_MAX: usize = 4;
/// Writes to the socket in one of them: events may come as fast as they are sent.
const WRITES_MAX: usize = 16;
/// For how long a client that does not take the rest keeps a connection that is to be closed.
const FAREWELL: Duration = Duration::from_secs(10);

thread_local! {
    /// What a read goes into first: only what is left of it when all whole frames are done needs a buffer of its own.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

pub(super) struct Connection {
    context: Arc<ClientContext>,
    carrier: Arc<Carrier>,
    lane: Arc<Lane>,
    stream: Stream,
    /// The beginning of a frame that has not come whole, or frames that have to wait.
    input: BytesMut,
    sending: Vec<u8>,
    sent: usize,
    /// Whether the first four bytes have come and were no four-letter word.
    wordless: bool,
    /// Set while the frames in `input` wait because too many requests are in process.
    stall: Option<Box<Stall>>,
    /// Set once the connection is to be closed and the client does not take the rest.
    farewell: Option<Pin<Box<Sleep>>>,
}

/// How reading went.
enum Progress {
    /// Something came.
    Some,
    /// The client is gone.
    End,
}

impl Connection {
    pub(super) fn new(context: Arc<ClientContext>, carrier: Arc<Carrier>, lane: Arc<Lane>, stream: Stream) -> Self {
        Self {
            context,
            carrier,
            lane,
            stream,
            input: BytesMut::new(),
            sending: Vec::new(),
            sent: 0,
            wordless: false,
            stall: None,
            farewell: None,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        let took_all = self.flush(cx)?.is_ready();
        if took_all && self.is_closing() {
            let is_over = self.stream.poll_goodbye(cx)?.is_ready() || self.has_waited(cx);
            return if is_over { Poll::Ready(Ok(Progress::End)) } else { Poll::Pending };
        }
        if !took_all && self.lane_is_closing(cx) {
            let is_over = self.lane.lock().is_cut() || self.has_waited(cx);
            return if is_over { Poll::Ready(Ok(Progress::End)) } else { Poll::Pending };
        }
        if self.is_congested() {
            return Poll::Pending;
        }
        if let Some(stall) = &mut self.stall {
            stall.client_is_gone |= is_gone(self.stream.socket(), cx);
            ready!(stall.poll(cx));
        }
        if !self.input.is_empty() && (self.process_input() || self.stall.is_some()) {
            return Poll::Ready(Ok(Progress::Some));
        }
        self.read(cx)
    }

    /// Sends what there is, until nothing is left, or others have to have their turn.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..WRITES_MAX {
            if self.sent == self.sending.len() && !self.next_buffer(cx) {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            let left = &self.sending[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => {
                    self.sent += sent;
                    self.farewell = None;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes the next buffer from the lane; false when there is nothing to send.
    fn next_buffer(&mut self, cx: &Context<'_>) -> bool {
        let sent = std::mem::take(&mut self.sending);
        self.sent = 0;
        let mut state = self.lane.lock();
        if (KEPT_BYTES_MIN..=KEPT_BYTES_MAX).contains(&sent.capacity()) {
            state.recycle(sent);
        }
        state.set_waker(cx.waker());
        self.sending = if state.has_out() { state.take_out() } else { Vec::new() };
        !self.sending.is_empty()
    }

    fn is_closing(&self) -> bool {
        self.sending.is_empty() && {
            let state = self.lane.lock();
            state.phase() == LanePhase::Closing && !state.has_out()
        }
    }

    /// Whether nothing more is taken from the client. Who closes the lane wakes this, also while the socket takes nothing.
    fn lane_is_closing(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lane.lock();
        state.set_waker(cx.waker());
        state.phase() == LanePhase::Closing
    }

    /// Whether the client of a connection that is to be closed has taken nothing of the rest for long enough.
    fn has_waited(&mut self, cx: &mut Context<'_>) -> bool {
        self.farewell.get_or_insert_with(|| Box::pin(sleep(FAREWELL))).as_mut().poll(cx).is_ready()
    }

    /// Whether the client has to wait before it is read again: it, or all together, have asked for too much.
    fn is_congested(&self) -> bool {
        if self.sending.len() - self.sent > UNSENT_BYTES_MAX {
            return true;
        }
        let state = self.lane.lock();
        let waiting = state.waiting();
        // Of one that has just been closed nothing more is read, and its last answer goes out in another turn.
        matches!(state.phase(), LanePhase::Connecting | LanePhase::Closing)
            || waiting >= WAITING_MAX
            || state.waiting_bytes() >= WAITING_BYTES_MAX
            // No frame is taken any more, so what is read would only lie in memory.
            || state.unsent() >= UNSENT_BYTES_MAX
            || (waiting > 0 && self.context.statistics.outstanding.load(Relaxed) >= self.context.limits.outstanding_max)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        let received = if self.input.is_empty() {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                let frames = buffer.filled();
                let done = self.process(frames);
                if done < frames.len() {
                    self.input = BytesMut::from(&frames[done..]);
                }
                Poll::Ready(io::Result::Ok(frames.len()))
            })
        } else {
            let wanted = self.wanted();
            self.input.reserve(wanted);
            let received = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
            self.process_input();
            Poll::Ready(Ok(received))
        };
        match ready!(received)? {
            0 => {
                self.context.throttles.metrics.count(Counter::connection_drop_count, 1);
                Poll::Ready(Ok(Progress::End))
            }
            received => {
                self.context.connections.bytes_received.fetch_add(received as u64, Relaxed);
                Poll::Ready(Ok(Progress::Some))
            }
        }
    }

    /// How much room to make for the frame that has begun: what is missing, but no more than has come already. A client
    /// that says a length and sends nothing gets nothing.
    fn wanted(&self) -> usize {
        let length = frame_length(&self.input).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let missing = (4 + length).saturating_sub(self.input.len());
        missing.clamp(64, self.input.len().max(ROOM_BYTES_MIN))
    }

    /// Processes what waits in the connection's own buffer; whether anything was done.
    fn process_input(&mut self) -> bool {
        let input = std::mem::take(&mut self.input);
        let done = self.process(&input);
        self.input = input;
        self.input.advance(done);
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        done > 0
    }

    /// Takes whole frames off `input` while the client may go on; returns how many bytes that were.
    fn process(&mut self, input: &[u8]) -> usize {
        if !self.wordless
            && let Some(done) = self.four_letter_word(input)
        {
            return done;
        }
        let mut writes = Vec::new();
        let mut done = 0;
        let mut packets = 0;
        let mut stalls = false;
        {
            let throttles = &self.context.throttles;
            let database = self.context.database.read();
            let mut state = self.lane.lock();
            let mut until_ms = u64::MAX;
            while let Some(frame) = self.next_frame(&mut state, &input[done..]) {
                let is_open = state.phase() == LanePhase::Open;
                stalls = is_open && !throttles.has_room();
                if stalls {
                    break;
                }
                done += 4 + frame.len();
                packets += 1;
                let now_ms = self.context.clock.now().steady_ms;
                until_ms = until_ms.min(now_ms + TURN_MS);
                if !is_open {
                    self.greet(&database, &mut state, frame, now_ms);
                    continue;
                }
                let waited_ms = self.stall.as_ref().map_or(0, |stall| now_ms.saturating_sub(stall.since_ms));
                throttles.waited(waited_ms);
                if self.is_stale(&mut state, frame, waited_ms) {
                    break;
                }
                let arrival = Arrival { now_ms, waited_ms };
                match receive(&database, &self.lane, &mut state, frame, arrival, self.context.limits.receive) {
                    Received::Done => {}
                    Received::Write(request) => writes.push(request),
                }
                // What was held back is not held back again.
                if now_ms >= until_ms && self.stall.is_none() {
                    break;
                }
            }
            if state.phase() == LanePhase::Closing {
                // Nothing more is taken; do not keep what came behind.
                done = input.len();
            }
        }
        self.context.statistics.received(packets);
        if !writes.is_empty() {
            self.carrier.write(writes);
        }
        // What has waited goes on waiting since then; what came behind it counts as having come with it.
        self.stall = stalls.then(|| {
            let now_ms = self.context.clock.now().steady_ms;
            self.stall.take().unwrap_or_else(|| Stall::new(&self.context.throttles, now_ms))
        });
        done
    }

    /// Whether nobody waits for the answer any more. Such a request ends the connection, unless the operator wants it
    /// answered all the same; the end of a session outlives its client.
    fn is_stale(&self, state: &mut LaneState, frame: &[u8], waited_ms: u64) -> bool {
        let throttles = &self.context.throttles;
        let rules = &throttles.requests;
        let is_gone = rules.stale_connection && self.stall.as_ref().is_some_and(|stall| stall.client_is_gone);
        let is_late = rules.stale_latency && i128::from(waited_ms) > i128::from(state.timeout_ms());
        if !(is_gone || is_late) || frame.get(4..8) == Some(&OpCode::CLOSE_SESSION.0.to_be_bytes()[..]) {
            return false;
        }
        if rules.drop_stale {
            throttles.metrics.count(Counter::stale_requests_dropped, 1);
            state.cut();
        } else {
            throttles.metrics.count(Counter::stale_requests, 1);
        }
        rules.drop_stale
    }

    /// The next whole frame, if the lane takes one now.
    fn next_frame<'a>(&self, state: &mut LaneState, input: &'a [u8]) -> Option<&'a [u8]> {
        let open = match state.phase() {
            LanePhase::Greeting => true,
            LanePhase::Open => state.waiting() < WAITING_MAX && state.unsent() < UNSENT_BYTES_MAX,
            LanePhase::Connecting | LanePhase::Closing => false,
        };
        if !open {
            return None;
        }
        let length = frame_length(input)?;
        match usize::try_from(length) {
            Ok(length) if length <= self.context.limits.frame_bytes_max => input.get(4..4 + length),
            Ok(_) | Err(_) => {
                tracing::debug!(client = %self.lane.address(), length, "closing: unreasonable frame length");
                state.cut();
                None
            }
        }
    }

    fn greet(&self, database: &crate::pipeline::Database, state: &mut LaneState, frame: &[u8], now_ms: u64) {
        let admit = |session| {
            let admitted = self.context.throttles.admit(session, now_ms, fastrand::f64());
            if !admitted {
                self.context.connections.rejected.fetch_add(1, Relaxed);
            }
            admitted
        };
        if !self.context.serving.load(Relaxed) {
            state.cut();
        } else if let Some(greeting) = greet(database, state, frame, admit) {
            // It may want a session whose last writes are still here.
            self.carrier.hand_over();
            self.context.owner.connect(Arc::clone(&self.lane), greeting);
        }
    }

    /// Answers a four-letter word. `None`: the bytes are no word. Otherwise, how many of them are done with.
    fn four_letter_word(&mut self, input: &[u8]) -> Option<usize> {
        let Some((word, rest)) = input.split_first_chunk::<4>() else { return Some(0) };
        match self.context.words.answer(*word, rest) {
            WordAnswer::NotAWord => {
                self.wordless = true;
                None
            }
            WordAnswer::Incomplete => Some(0),
            WordAnswer::Text(text) => {
                say_and_close(&self.lane, &text);
                Some(input.len())
            }
            WordAnswer::Work(work) => {
                self.carrier.words().answer(&self.lane, work);
                Some(input.len())
            }
        }
    }
}

/// Whether the client has closed its end, as far as one can see without reading.
fn is_gone(stream: &TcpStream, cx: &mut Context<'_>) -> bool {
    let mut byte = [0];
    match stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
        Poll::Pending => false,
        Poll::Ready(seen) => seen.map_or(true, |bytes| bytes == 0),
    }
}

fn frame_length(input: &[u8]) -> Option<i32> {
    input.first_chunk().map(|length| i32::from_be_bytes(*length))
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let turns = if self.carrier.grants_turn() { TURNS_MAX } else { 0 };
        for _ in 0..turns {
            match self.turn(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Progress::Some)) => {}
                Poll::Ready(Ok(Progress::End)) => return Poll::Ready(()),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(client = %self.lane.address(), %error, "connection lost");
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        disconnect(&self.context.database.read(), &self.lane);
        self.context.connections.remove(&self.lane);
        self.carrier.hand_over();
        self.context.owner.disconnected(self.lane.id);
    }
}
