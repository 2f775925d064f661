//! A port that answers requests over HTTP/1.1, on a thread of its own.
//!
//! Whatever comes, it costs little: a bounded number of connections, small headers, no body that nobody has asked for, and
//! nobody may be silent for longer than the idle timeout. Commands run on this one thread, so no more than one at a time.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, STRICT_TRANSPORT_SECURITY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, timeout};

use crate::net::{Gate, Stream, listen_on};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// The first line and all headers of a request, bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How much of a file is read and sent at a time, bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// How long to wait when the process has no file descriptor left.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(50);

/// What whoever came with TLS is told: to come so for a day, as Jetty tells them.
const COME_WITH_TLS: HeaderValue = HeaderValue::from_static("max-age=86400; includeSubDomains");

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// From where.
    pub(super) from: SocketAddr,
    /// Whose certificate was shown.
    pub(super) subject: Option<String>,
}

/// Who answers requests.
pub(super) trait Answers: Send + Sync + 'static {
    /// Whose certificate was shown on a connection that begins.
    fn meet(&self, _stream: &Stream) -> Option<String> {
        None
    }

    /// Answers one.
    fn answer(&self, request: Request<Incoming>, caller: Caller) -> impl Future<Output = Response<Content>> + Send;
}

/// A port that is open, and that nobody answers yet.
#[derive(Debug)]
pub(super) struct Port {
    runtime: Runtime,
    listener: TcpListener,
    gate: Gate,
    idle: Duration,
}

impl Port {
    /// Opens the port at `place`, `host:port`, for what `gate` takes.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(super) fn open(place: &str, gate: Gate, idle: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
        let listener = runtime.block_on(listen_on(place, BACKLOG))?;
        Ok(Self { runtime, listener, gate, idle })
    }

    /// Where it is.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers from now on, on a thread called `name`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn serve(self, name: &str, answers: Arc<impl Answers>) -> io::Result<()> {
        let Self { runtime, listener, gate, idle } = self;
        let serve = move || runtime.block_on(accept(&listener, &Arc::new(gate), idle, &answers));
        thread::Builder::new().name(name.to_owned()).spawn(serve).map(drop)
    }
}

async fn accept(listener: &TcpListener, gate: &Arc<Gate>, idle: Duration, answers: &Arc<impl Answers>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, from)) => {
                let (gate, answers) = (Arc::clone(gate), Arc::clone(answers));
                tokio::spawn(async move {
                    let _place = place;
                    match enter(&gate, socket, idle).await {
                        Ok(stream) => carry(stream, from, idle, answers).await,
                        Err(error) => tracing::debug!(%from, %error, "an HTTP connection has come to nothing"),
                    }
                });
            }
            Err(_) => sleep(EXHAUSTED_WAIT).await,
        }
    }
}

/// Before the first request nobody may be silent for longer, either.
async fn enter(gate: &Gate, socket: TcpStream, idle: Duration) -> io::Result<Stream> {
    timeout(idle, gate.open(socket)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn carry(stream: Stream, from: SocketAddr, idle: Duration, answers: Arc<impl Answers>) {
    let (caller, is_secure) = (Caller { from, subject: answers.meet(&stream) }, stream.is_secure());
    let answer = service_fn(|request| {
        let (answers, caller) = (Arc::clone(&answers), caller.clone());
        async move {
            let mut response = answers.answer(request, caller).await;
            if is_secure {
                response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, COME_WITH_TLS);
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Patient { stream, idle, waiting: None }), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%from, %error, "an HTTP connection has ended");
    }
}

/// A connection whose other end may not leave unread for longer than this what is sent.
struct Patient {
    stream: Stream,
    idle: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(self.idle)));
        waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, written)
    }
}

/// What is sent back.
pub(super) enum Content {
    /// All of it; nothing once it was sent.
    Bytes(Option<Bytes>),
    /// So many bytes of a file.
    File(File, u64),
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match &mut *self {
            Self::Bytes(bytes) => bytes.take().map(Ok),
            Self::File(_, 0) => None,
            Self::File(file, left) => Some(read_piece(file, left)),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Bytes(None) | Self::File(_, 0))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::File(_, left) => *left,
        })
    }
}

fn read_piece(file: &mut File, left: &mut u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(*left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
    let mut piece = vec![0; wanted];
    let count = file.read(&mut piece)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    piece.truncate(count);
    *left -= count as u64;
    Ok(piece.into())
}

/// An answer of one of the kinds that there are.
pub(super) fn reply(status: StatusCode, kind: Option<&'static str>, bytes: impl Into<Bytes>) -> Response<Content> {
    let bytes = bytes.into();
    let mut response = Response::new(Content::Bytes((!bytes.is_empty()).then_some(bytes)));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

/// There is nothing at that path.
pub(super) fn not_found() -> Response<Content> {
    reply(StatusCode::NOT_FOUND, Some("text/plain;charset=utf-8"), "Not Found\n")
}

/// Nobody may use that method; these may be used.
pub(super) fn not_allowed(methods: &'static str) -> Response<Content> {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, None, "");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
