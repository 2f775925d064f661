//! `floor`: a server that decides nothing. It finds the end of each request and answers from the request itself, on
//! one thread; writes wait for one fdatasync together. What a request costs here, no server can save.
//!
//! It answers what the generator asks of it, rightly enough for the generator's checks, and nothing else. From the creates
//! before a load it learns how long its answers must be.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::args::BenchArgs;
use super::floor_log::FloorLog;
use super::floor_watch::{Events, FloorWatches};
use super::load::single_thread;
use super::znodes::{Znodes, put_number};
use crate::ids::{SessionId, Zxid};
use crate::jute::{JuteWrite, buffer, text, ustring};
use crate::proto::{
    ConnectRequest, ConnectResponse, ErrorCode, MultiHeader, OpCode, PASSWORD_LENGTH, ReplyHeader, RequestHeader, Stat,
    end_frame, start_frame, start_reply,
};

/// What is read at once.
const INPUT_BYTES: usize = 256 << 10;
/// No request of the generator is longer.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Serves until the process is ended.
///
/// # Errors
/// When it cannot listen, or cannot open the file.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    single_thread()?.block_on(async {
        let listener = TcpListener::bind(args.listen).await.with_context(|| format!("listen on {}", args.listen))?;
        serve(listener, args).await
    })
}

/// Takes connections, each a task on this thread.
///
/// # Errors
/// When the file cannot be opened or the listener fails.
pub(super) async fn serve(listener: TcpListener, args: &BenchArgs) -> anyhow::Result<()> {
    let log = args.sync_file.as_deref().map(FloorLog::open).transpose()?.map(Arc::new);
    if let Some(log) = &log {
        tokio::spawn(log.clone().flush_always());
    }
    let floor =
        Arc::new(Floor { znodes: Mutex::new(Arc::new(args.loaded_znodes())), watches: FloorWatches::default() });
    loop {
        let (stream, _) = listener.accept().await.context("accept")?;
        let (znodes, floor, log, events) = (floor.known(), floor.clone(), log.clone(), Arc::default());
        let connection = FloorConnection { floor, znodes, events, log, greeted: false, closing: false };
        // A client that goes away or asks for more than there is ends its own connection and nothing else.
        tokio::spawn(connection.run(stream));
    }
}

/// What all connections share.
struct Floor {
    /// What the answers look like. The connection that prepares a load is closed before the load's are opened.
    znodes: Mutex<Arc<Znodes>>,
    watches: FloorWatches,
}

impl Floor {
    fn known(&self) -> Arc<Znodes> {
        self.znodes.lock().clone()
    }

    /// Learns from a create how long a znode's data is, or how many children the directory has.
    fn learn(&self, body: &[u8], path: &str) -> anyhow::Result<()> {
        let mut znodes = self.znodes.lock();
        let below = path.strip_prefix(znodes.root.as_str()).unwrap_or_default();
        if below == "/z/0000000000" {
            let (_, data) = ustring(body).and_then(|(rest, _)| buffer(rest)).ok().context("no data")?;
            let size = data.map_or(0, <[u8]>::len);
            *znodes = Arc::new(Znodes { children: znodes.children, ..Znodes::new(&znodes.root, znodes.count, size) });
        } else if let Some(number) = below.strip_prefix("/dir/") {
            let children = number.parse::<u64>().context("no number of a child")? + 1;
            *znodes = Arc::new(Znodes { children, ..Znodes::clone(&znodes) });
        }
        Ok(())
    }
}

struct FloorConnection {
    floor: Arc<Floor>,
    znodes: Arc<Znodes>,
    /// What other connections have for this one.
    events: Arc<Events>,
    log: Option<Arc<FloorLog>>,
    greeted: bool,
    closing: bool,
}

impl FloorConnection {
    async fn run(mut self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let (mut input, mut filled) = (vec![0; INPUT_BYTES], 0);
        let mut out = Vec::new();
        while !self.closing {
            let n = tokio::select! {
                n = stream.read(&mut input[filled..]) => n?,
                events = self.events.take() => {
                    stream.write_all(&events).await?;
                    continue;
                }
            };
            if n == 0 {
                return Ok(());
            }
            filled += n;
            let (used, written) = self.answer_all(&input[..filled], &mut out)?;
            if let (Some(log), true) = (&self.log, written > 0) {
                log.append(&input[..written]).await;
            }
            stream.write_all(&out).await?;
            out.clear();
            input.copy_within(used..filled, 0);
            filled -= used;
            if filled == input.len() {
                input.resize((filled * 2).min(REQUEST_BYTES_MAX + 4), 0);
            }
        }
        Ok(())
    }

    /// Answers all whole requests; how many bytes they took, and up to where there were writes.
    fn answer_all(&mut self, input: &[u8], out: &mut Vec<u8>) -> anyhow::Result<(usize, usize)> {
        let (mut used, mut written) = (0, 0);
        while let Some(frame) = next_frame(input, used)? {
            used = frame.end;
            if self.answer(&input[frame], out)? {
                written = used;
            }
        }
        Ok((used, written))
    }

    /// Answers one request; whether it was a write.
    fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) -> anyhow::Result<bool> {
        if !self.greeted {
            self.greeted = true;
            greet(request, out)?;
            return Ok(true);
        }
        let (body, header) = RequestHeader::decode(request).ok().context("cannot read a header")?;
        let frame = start_reply(out, ReplyHeader { xid: header.xid, zxid: Zxid(1), error: ErrorCode::OK });
        match header.op {
            OpCode::GET_DATA => {
                if body.last() == Some(&1) {
                    self.floor.watches.add(&path_of(body)?, &self.events);
                }
                self.znodes.put_data(out, last_number(body)?);
                self.put_stat(out);
            }
            OpCode::SET_DATA => {
                self.floor.watches.written(&path_of(body)?);
                self.put_stat(out);
            }
            OpCode::EXISTS => self.put_stat(out),
            OpCode::CREATE => {
                let path = path_of(body)?;
                self.floor.learn(body, &path)?;
                out.ustring(&path);
            }
            OpCode::SYNC => out.ustring(&path_of(body)?),
            OpCode::GET_CHILDREN => self.put_children(body, out)?,
            OpCode::MULTI => self.put_multi(body, out),
            OpCode::DELETE | OpCode::PING => {}
            OpCode::CLOSE_SESSION => self.closing = true,
            other => bail!("the floor has no answer to {other:?}"),
        }
        end_frame(out, frame);
        let writes = [OpCode::SET_DATA, OpCode::CREATE, OpCode::DELETE, OpCode::MULTI, OpCode::CLOSE_SESSION];
        Ok(writes.contains(&header.op))
    }

    fn put_stat(&self, out: &mut Vec<u8>) {
        Stat { data_length: self.znodes.size() as i32, ..Stat::default() }.encode(out);
    }

    /// All operations of the generator's multis are setData of one size, so their number follows from the length.
    fn put_multi(&self, body: &[u8], out: &mut Vec<u8>) {
        let path = 4 + self.znodes.root.len() + "/z/0123456789".len();
        let one = MULTI_HEADER_LENGTH + path + 4 + self.znodes.size() + 4;
        for _ in 0..body.len() / one {
            MultiHeader { op: OpCode::SET_DATA, done: false, error: 0 }.encode(out);
            self.put_stat(out);
        }
        MultiHeader::END.encode(out);
    }

    /// The directory that a load lists has children; everything else has none, so that a removal finds nothing more.
    fn put_children(&self, body: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
        let count = if path_of(body)?.ends_with("/dir") { self.znodes.children } else { 0 };
        out.int(count as i32);
        for i in 0..count {
            let start = out.len();
            put_number(out, &[0; 4], i);
            out[start + 3] = 10;
        }
        Ok(())
    }
}

/// Bytes of a [`MultiHeader`].
const MULTI_HEADER_LENGTH: usize = 9;

fn next_frame(input: &[u8], from: usize) -> anyhow::Result<Option<Range<usize>>> {
    let Some(length) = input[from..].first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > REQUEST_BYTES_MAX {
        bail!("a request of {length} bytes");
    }
    let frame = from + 4..from + 4 + length;
    Ok((frame.end <= input.len()).then_some(frame))
}

fn greet(request: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
    let (_, request) = ConnectRequest::decode(request).ok().context("cannot read the connect request")?;
    let frame = start_frame(out);
    let timeout_ms = request.timeout_ms;
    let password = [0; PASSWORD_LENGTH];
    ConnectResponse { timeout_ms, session: SessionId(1), password, read_only: request.read_only }.encode(out);
    end_frame(out, frame);
    Ok(())
}

/// The digits at the end of a path: the znode's index, and so what its data begins with.
fn last_number(body: &[u8]) -> anyhow::Result<u64> {
    let path = path_of(body)?;
    let digits = path.rsplit('/').next().unwrap_or_default();
    digits.parse().with_context(|| format!("no number at the end of {path}"))
}

/// The path that a request begins with.
fn path_of(body: &[u8]) -> anyhow::Result<Cow<'_, str>> {
    Ok(text(body).ok().context("cannot read a path")?.1)
}
