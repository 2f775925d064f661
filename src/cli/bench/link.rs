//! One connection of the generator: a socket, what is queued for it, and what has come in.
//!
//! Requests are queued and leave together; replies are cut out of the read buffer in place.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};

use super::args::Route;
use super::reply::Header;
use super::request::frame;
use crate::ids::{SessionId, Zxid};
use crate::proto::{ConnectRequest, ConnectResponse, OpCode, PASSWORD_LENGTH, end_frame, start_frame};

/// A session on a socket of its own.
pub(super) struct Link {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    filled: Range<usize>,
}

/// A read buffer's length at first, and when it stops to grow for speed; one long frame may still make it longer.
const INPUT_BYTES_MIN: usize = 4 << 10;
const INPUT_BYTES_FAST: usize = 256 << 10;
/// A reply longer than this is a mistake.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// How long a server may take to open a session.
const OPEN_MAX: Duration = Duration::from_secs(20);

impl Route {
    async fn connect(self) -> std::io::Result<TcpStream> {
        let Some(source) = self.source else { return TcpStream::connect(self.server).await };
        let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(self.server).await
    }
}

impl Link {
    /// Connects and opens a new session; `timeout_ms` is what to ask for.
    ///
    /// # Errors
    /// When the server cannot be reached, closes, refuses, or takes longer than [`OPEN_MAX`].
    pub(super) async fn open(route: Route, timeout_ms: i32) -> anyhow::Result<Self> {
        let opening = tokio::time::timeout(OPEN_MAX, Self::connect(route, timeout_ms));
        let opened = opening.await.context("the server takes too long").and_then(|r| r);
        opened.with_context(|| format!("open {}", route.server))
    }

    async fn connect(route: Route, timeout_ms: i32) -> anyhow::Result<Self> {
        let stream = route.connect().await.context("connect")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        let input = vec![0; INPUT_BYTES_MIN];
        let mut link = Self { stream, out: Vec::new(), sent: 0, input, filled: 0..0 };
        link.queue(|out| {
            let frame = start_frame(out);
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid::ZERO,
                timeout_ms,
                session: SessionId::NONE,
                password: Some(&[0; PASSWORD_LENGTH]),
                read_only: Some(false),
            };
            request.encode(out);
            end_frame(out, frame);
        });
        let reply = link.wait_frame().await?;
        let response = ConnectResponse::decode(link.bytes(reply)).ok().context("cannot read the connect response")?.1;
        ensure!(response.timeout_ms > 0, "the server refuses a new session");
        Ok(link)
    }

    /// Appends to what leaves with the next exchange.
    pub(super) fn queue(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.out);
    }

    /// Sends what is queued and waits until something has come in.
    ///
    /// # Errors
    /// When the connection is closed or fails.
    pub(super) async fn exchange(&mut self) -> anyhow::Result<()> {
        loop {
            self.send_some()?;
            // A server that cannot write its replies stops reading requests: never wait for one direction alone.
            let interest =
                if self.out.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            self.stream.ready(interest).await.context("wait for the socket")?;
            if self.receive_some()? {
                return Ok(());
            }
        }
    }

    fn send_some(&mut self) -> anyhow::Result<()> {
        while self.sent < self.out.len() {
            match self.stream.try_write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e).context("send"),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads once; whether anything came.
    fn receive_some(&mut self) -> anyhow::Result<bool> {
        self.make_room();
        match self.stream.try_read(&mut self.input[self.filled.end..]) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(n) => {
                self.filled.end += n;
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e).context("receive"),
        }
    }

    /// Moves what is left to the front; grows a buffer that the last read filled to the end.
    fn make_room(&mut self) {
        let full = self.filled.end == self.input.len();
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if full && self.filled.start > 0 {
            self.input.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        if full && (self.input.len() < INPUT_BYTES_FAST || self.filled.end == self.input.len()) {
            self.input.resize(self.input.len() * 2, 0);
        }
    }

    /// Takes the next whole frame out of what has come in; its place is valid until the next exchange.
    ///
    /// # Errors
    /// When its length is impossible.
    pub(super) fn next_frame(&mut self) -> anyhow::Result<Option<Range<usize>>> {
        let Some(length) = self.input[self.filled.clone()].first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        ensure!(length <= REPLY_BYTES_MAX, "a reply of {length} bytes");
        let frame = self.filled.start + 4..self.filled.start + 4 + length;
        if frame.end > self.filled.end {
            return Ok(None);
        }
        self.filled.start = frame.end;
        Ok(Some(frame))
    }

    /// The bytes of a frame.
    pub(super) fn bytes(&self, frame: Range<usize>) -> &[u8] {
        &self.input[frame]
    }

    /// Exchanges until a whole frame is there.
    ///
    /// # Errors
    /// Those of [`Self::exchange`] and [`Self::next_frame`].
    pub(super) async fn wait_frame(&mut self) -> anyhow::Result<Range<usize>> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(frame);
            }
            self.exchange().await?;
        }
    }

    /// The socket alone, for a client that does not behave.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// One request, one reply with error 0.
    ///
    /// # Errors
    /// When the exchange fails or the reply is another one.
    pub(super) async fn call(&mut self, mut encode: impl FnMut(i32, &mut Vec<u8>)) -> anyhow::Result<()> {
        self.call_all(1, 1, |_, xid, out| encode(xid, out)).await
    }

    /// `count` requests with at most `depth` in flight; each reply must be in order and without an error.
    ///
    /// # Errors
    /// When the exchange fails or a reply is another one.
    pub(super) async fn call_all(
        &mut self,
        count: u64,
        depth: usize,
        encode: impl FnMut(u64, i32, &mut Vec<u8>),
    ) -> anyhow::Result<()> {
        self.call_each(count, depth, encode, |_, _| Ok(())).await
    }

    /// The same, and `take` gets the body of each reply.
    ///
    /// # Errors
    /// Those, and what `take` returns.
    pub(super) async fn call_each(
        &mut self,
        count: u64,
        depth: usize,
        mut encode: impl FnMut(u64, i32, &mut Vec<u8>),
        mut take: impl FnMut(u64, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let xid = |i: u64| (i % 0x4000_0000) as i32 + 1;
        let (mut asked, mut answered) = (0, 0);
        while answered < count {
            while asked < count && asked - answered < depth as u64 {
                encode(asked, xid(asked), &mut self.out);
                asked += 1;
            }
            self.exchange().await?;
            while let Some(reply) = self.next_frame()? {
                ensure!(answered < asked, "a reply to no request");
                let body = Header::expect(self.bytes(reply), xid(answered));
                take(answered, body.with_context(|| format!("request {answered}"))?)?;
                answered += 1;
            }
        }
        Ok(())
    }

    /// Closes the session; the server's answer is waited for.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        self.call(|xid, out| frame(out, xid, OpCode::CLOSE_SESSION, |_| ())).await.context("close the session")?;
        Ok(())
    }
}
