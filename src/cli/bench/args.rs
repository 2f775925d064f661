//! The arguments of `zkd bench`, one flat list for all modes.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use super::mix::{BenchOp, Mix};
use super::shape::Shape;
use super::znodes::Znodes;

/// What `zkd bench` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mode {
    /// Keep every connection busy with the operation mix for a time or a count.
    Load,
    /// The same with one connection and one request in flight.
    Latency,
    /// Create `--znodes` znodes of `--size` bytes below `--root` and leave them there.
    Fill,
    /// Delete `--root` and all below it.
    Clean,
    /// Open `--connections` sessions that only ping, hold them for `--seconds`.
    Idle,
    /// `--connections` watchers of `--znodes` znodes: register, write each znode once, wait for the last event; `--count` times.
    Watch,
    /// `--connections` clients that ask for all they can and read `--read-rate` bytes a second of it.
    Slow,
    /// Wait until the server answers a read of `--root`, at most for `--seconds`.
    Wait,
    /// Be a server that knows the answers beforehand: what a request costs when nothing is decided.
    Floor,
}

/// What one of several processes does in a `watch`: one has not always descriptors for all watchers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Part {
    /// There is only this one.
    All,
    /// It makes the znodes, writes each once for every line on standard input, and removes them in the end.
    Write,
    /// It registers `--connections` watchers for every line, and waits for their events.
    Watch,
}

/// Where a connection goes, and from which address of this machine if that matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Route {
    /// The server.
    pub(super) server: SocketAddr,
    /// This side; `None` leaves it to the system.
    pub(super) source: Option<IpAddr>,
}

/// Arguments of `zkd bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// What to do.
    #[arg(value_enum, default_value = "load")]
    pub mode: Mode,
    /// Servers; connections are dealt out to them in turn.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2181", value_name = "HOST:PORT")]
    pub server: Vec<String>,
    /// Local addresses to connect from, dealt out in turn: one alone has ports for 28,000 connections to one server.
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    pub source: Vec<IpAddr>,
    /// Shares of get, set, exists, create, delete, children, multi10, multi100, ping, connect, ephemeral.
    #[arg(long, default_value = "get=70,set=30")]
    pub ops: Mix,
    /// Bytes of data in each znode.
    #[arg(long, default_value_t = 1024)]
    pub size: usize,
    /// Connections, each with a session of its own.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 1)]
    pub depth: usize,
    /// Operations a second over all connections, instead of as many as there can be. One that could not leave when it
    /// was due, because the one before was not answered, counts its wait as latency. Needs --depth 1.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Measure until this many operations were answered, instead of a time.
    #[arg(long)]
    pub count: Option<u64>,
    /// Seconds of the same load before measuring.
    #[arg(long, default_value_t = 2.0)]
    pub warmup: f64,
    /// Load threads; connections are dealt out to them in turn.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Znodes that gets and sets choose from; in `fill`, how many to create; in `watch`, how many to watch.
    #[arg(long, default_value_t = 1000)]
    pub znodes: u64,
    /// Children of the znode that `children` lists (10), or of each parent that `fill` makes (1000).
    #[arg(long)]
    pub children: Option<u64>,
    /// load: get and set the znodes that `fill` made with the same --root, --znodes, --children and --size.
    #[arg(long)]
    pub filled: bool,
    /// load: znodes that each connection finds to delete when it starts.
    #[arg(long, default_value_t = 0)]
    pub stock: u64,
    /// fill: what the tree looks like.
    #[arg(long, value_enum, default_value = "flat")]
    pub shape: Shape,
    /// load: also report each second by itself, and say on standard error when the first one begins.
    #[arg(long)]
    pub per_second: bool,
    /// idle and watch: sessions that are opened at the same time. Apache's listen backlog is 50.
    #[arg(long, default_value_t = 32)]
    pub opening: usize,
    /// watch: seconds to wait with all watches in place before anything is written.
    #[arg(long, default_value_t = 0.0)]
    pub hold: f64,
    /// watch: what this process does when several share the work. It then takes cues from standard input until that is
    /// closed, and says on standard error when it has done what.
    #[arg(long, value_enum, default_value = "all")]
    pub part: Part,
    /// slow: bytes a second that each client reads.
    #[arg(long, default_value_t = 0)]
    pub read_rate: u64,
    /// Where the znodes are made. `load` creates and removes it, so it must not exist.
    #[arg(long, default_value = "/bench")]
    pub root: String,
    /// Processes of the servers, for their CPU time and memory.
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub server_pid: Vec<u32>,
    /// Session timeout to ask for, ms.
    #[arg(long, default_value_t = 30_000)]
    pub timeout_ms: i32,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// floor: where to listen.
    #[arg(long, default_value = "127.0.0.1:2181")]
    pub listen: SocketAddr,
    /// floor: append writes to this file, one fdatasync for each batch, before they are answered.
    #[arg(long, value_name = "FILE")]
    pub sync_file: Option<PathBuf>,
}

/// Frames above this are refused by a server with the default `jute.maxbuffer`.
const FRAME_BYTES_MAX: usize = 0xf_ffff;
/// Children of the znode that `children` lists, and of each parent that `fill` makes.
const LISTED_CHILDREN: u64 = 10;
const FILL_CHILDREN: u64 = 1000;
/// What part of a session timeout may pass between two operations of one connection: nothing pings meanwhile.
const INTERVALS_IN_TIMEOUT: f64 = 3.0;
const CONNECTIONS_MAX: usize = 1_000_000;
const DEPTH_MAX: usize = 100_000;
const OPENING_MAX: usize = 1000;

impl BenchArgs {
    /// Refuses what does not fit together.
    ///
    /// # Errors
    /// With the first thing that does not.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=CONNECTIONS_MAX).contains(&self.connections), "--connections is not in 1..={CONNECTIONS_MAX}");
        ensure!((1..=DEPTH_MAX).contains(&self.depth), "--depth is not in 1..={DEPTH_MAX}");
        ensure!((1..=256).contains(&self.threads), "--threads is not in 1..=256");
        ensure!((1..=OPENING_MAX).contains(&self.opening), "--opening is not in 1..={OPENING_MAX}");
        ensure!(self.znodes >= 1, "--znodes must be at least 1");
        ensure!(self.children != Some(0), "--children must be at least 1");
        ensure!(self.root.len() > 1 && self.root.starts_with('/') && !self.root.ends_with('/'), "--root is not a path");
        ensure!(!self.server.is_empty(), "--server is empty");
        for (name, seconds) in [("--seconds", self.seconds), ("--warmup", self.warmup), ("--hold", self.hold)] {
            ensure!((0.0..=86_400.0).contains(&seconds), "{name} is not in 0..=86400");
        }
        if self.rate.is_some() {
            ensure!(self.depth == 1, "--rate needs --depth 1");
            ensure!(
                self.interval()
                    .is_some_and(|i| i.as_secs_f64() * INTERVALS_IN_TIMEOUT <= f64::from(self.timeout_ms) / 1000.0),
                "--rate is below {INTERVALS_IN_TIMEOUT} in a session timeout per connection"
            );
        }
        let largest = BenchOp::ALL.into_iter().filter(|op| self.ops.has(*op)).map(|op| op.multi_length().max(1)).max();
        if largest.unwrap_or(1) * (self.size + self.root.len() + 64) > FRAME_BYTES_MAX {
            bail!("a request of this --size would be longer than {FRAME_BYTES_MAX} bytes");
        }
        Ok(())
    }

    /// The same arguments with one connection and one request in flight.
    pub(super) fn one_at_a_time(&self) -> Self {
        Self { connections: 1, depth: 1, threads: 1, ..self.clone() }
    }

    /// From where to where the connections go: each server in turn, and the next source after the last server. Each
    /// name is looked up once.
    ///
    /// # Errors
    /// When a name has no address.
    pub(super) fn routes(&self) -> anyhow::Result<Vec<Route>> {
        let address = |name: &String| {
            let found = std::net::ToSocketAddrs::to_socket_addrs(name.as_str());
            found.ok().and_then(|mut all| all.next()).with_context(|| format!("look up {name}"))
        };
        let servers = self.server.iter().map(address).collect::<anyhow::Result<Vec<_>>>()?;
        let sources = if self.source.is_empty() { vec![None] } else { self.source.iter().copied().map(Some).collect() };
        let all = sources.into_iter().flat_map(|source| servers.iter().map(move |&server| Route { server, source }));
        Ok(all.collect())
    }

    /// The first of them.
    ///
    /// # Errors
    /// As [`Self::routes`].
    pub(super) fn first_route(&self) -> anyhow::Result<Route> {
        self.routes()?.first().copied().context("no server")
    }

    /// What a load or a watch works on.
    pub(super) fn loaded_znodes(&self) -> Znodes {
        let children = if self.filled { FILL_CHILDREN } else { LISTED_CHILDREN };
        Znodes { filled: self.filled, ..self.znodes_of(self.children.unwrap_or(children)) }
    }

    /// What a fill makes.
    pub(super) fn filled_znodes(&self) -> Znodes {
        Znodes { filled: true, shape: self.shape, ..self.znodes_of(self.children.unwrap_or(FILL_CHILDREN)) }
    }

    fn znodes_of(&self, children: u64) -> Znodes {
        Znodes { children, ..Znodes::new(&self.root, self.znodes, self.size) }
    }

    /// How often each connection asks; `None` for as often as it can.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.rate.map(|rate| Duration::try_from_secs_f64(self.connections as f64 / rate).unwrap_or(Duration::MAX))
    }

    /// How long to measure or hold.
    pub(super) fn measure_time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}
