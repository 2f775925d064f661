//! `slow`: clients that ask for all they can and read little of it, or nothing. What a server does then shows in what
//! others get meanwhile, and in its memory.

use std::io::{ErrorKind, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::args::BenchArgs;
use super::idle::open_all;
use super::link::Link;
use super::load::single_thread;
use super::process::{Usage, raise_descriptors};
use super::report::Report;
use super::request;
use super::znodes::remove;
use crate::proto::OpCode;

/// Between two looks at the socket.
const PAUSE: Duration = Duration::from_millis(50);
/// Requests that are encoded at once.
const BATCH: u64 = 64;

/// Asks and does not read until the time is over, or the server has had enough of all clients.
///
/// # Errors
/// When the server cannot be reached; that it closes the connections is no error.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    raise_descriptors(args.connections)?;
    single_thread()?.block_on(hold(args))
}

async fn hold(args: &BenchArgs) -> anyhow::Result<Report> {
    let znodes = args.loaded_znodes();
    let mut link = Link::open(args.first_route()?, args.timeout_ms).await?;
    znodes.prepare_znodes(&mut link).await?;
    let links = open_all(args).await?;
    let before = Usage::of(&args.server_pid)?;
    // A script that waits for this line starts its load then.
    writeln!(std::io::stderr().lock(), "holding {} clients", links.len())?;
    let mut batch = Vec::new();
    for index in 0..BATCH {
        request::read(&mut batch, index as i32 + 1, OpCode::GET_DATA, &znodes, znodes.place(index % znodes.count));
    }
    let (start, end) = (Instant::now(), Instant::now() + args.measure_time());
    let mut clients = JoinSet::new();
    for link in links {
        let client = Client { stream: link.into_stream(), batch: batch.clone(), sent: 0, read: 0 };
        clients.spawn(client.run(args.read_rate, end));
    }
    let (mut sent, mut read, mut closed, mut most) = (0, 0, 0, before.resident);
    while !clients.is_empty() {
        if let Ok(Some(ended)) = tokio::time::timeout(PAUSE, clients.join_next()).await {
            let (client, open) = ended??;
            sent += client.sent;
            read += client.read;
            closed += u64::from(!open);
        }
        most = most.max(Usage::of(&args.server_pid)?.resident);
    }
    let seconds = start.elapsed().as_secs_f64();
    remove(&mut link, &znodes.root).await?;
    link.close().await?;
    let mut report = Report::default();
    report.count("clients", args.connections as u64);
    report.count("closed_by_server", closed);
    report.number("seconds", seconds);
    report.count("sent_bytes", sent);
    report.count("read_bytes", read);
    if !args.server_pid.is_empty() {
        report.count("server_rss_before_bytes", before.resident);
        report.count("server_rss_most_bytes", most);
    }
    Ok(report)
}

struct Client {
    stream: TcpStream,
    batch: Vec<u8>,
    sent: u64,
    read: u64,
}

impl Client {
    /// Until the end or the server's; whether the connection was open then.
    async fn run(mut self, read_rate: u64, end: Instant) -> anyhow::Result<(Self, bool)> {
        let (start, mut input) = (Instant::now(), vec![0; 64 << 10]);
        while Instant::now() < end {
            let allowed = (start.elapsed().as_secs_f64() * read_rate as f64) as u64;
            if !self.send_all()? || !self.receive(&mut input, allowed)? {
                return Ok((self, false));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok((self, true))
    }

    /// Sends until the socket takes no more; false when the server has closed it.
    fn send_all(&mut self) -> anyhow::Result<bool> {
        loop {
            let from = (self.sent % self.batch.len() as u64) as usize;
            match self.stream.try_write(&self.batch[from..]) {
                Ok(n) => self.sent += n as u64,
                Err(e) => return went_on(e, "send"),
            }
        }
    }

    /// Reads up to the total that is allowed; false when the server has closed the connection.
    fn receive(&mut self, input: &mut [u8], allowed: u64) -> anyhow::Result<bool> {
        while self.read < allowed {
            let most = input.len().min((allowed - self.read) as usize);
            match self.stream.try_read(&mut input[..most]) {
                Ok(0) => return Ok(false),
                Ok(n) => self.read += n as u64,
                Err(e) => return went_on(e, "receive"),
            }
        }
        Ok(true)
    }
}

/// Whether the connection is still open behind this error.
fn went_on(error: std::io::Error, what: &'static str) -> anyhow::Result<bool> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(true),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(false),
        _ => Err(error).context(what),
    }
}
