//! A load thread: its connections, each a task that keeps its pipeline full until the run stops.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::args::Route;
use super::link::Link;
use super::mix::{BenchOp, Mix};
use super::reply::Asked;
use super::request;
use super::tally::Tally;
use super::znodes::{Place, Znodes};
use crate::proto::{OpCode, ReplyHeader};

/// Where a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The load runs, nothing is counted.
    Warmup = 0,
    /// What is answered counts.
    Measure = 1,
    /// Nothing more is asked.
    Stop = 2,
}

/// The numbers of ephemeral znodes begin here, those of the others at zero.
const EPHEMERAL_FIRST: u64 = 5_000_000_000;

/// What all connections share.
pub(super) struct Plan {
    /// The shares of operations.
    pub(super) mix: Mix,
    /// What they work on.
    pub(super) znodes: Znodes,
    /// Znodes that each connection finds to delete when it starts.
    pub(super) stock: u64,
    /// Requests in flight on each connection.
    pub(super) depth: usize,
    /// The session timeout to ask for, ms.
    pub(super) timeout_ms: i32,
    /// Between two operations of one connection; `None` for as soon as there is room.
    pub(super) interval: Option<Duration>,
    /// When measuring began, if each second is to be reported by itself.
    pub(super) seconds_since: OnceLock<Instant>,
    /// A [`Phase`].
    pub(super) phase: AtomicU8,
    /// Connections that have not yet counted their quota; they never do in a run by time.
    pub(super) counting: AtomicUsize,
}

impl Plan {
    /// Which second of the measured time it is; `None` when nobody wants to know.
    fn second(&self, now: Instant) -> Option<usize> {
        self.seconds_since.get().map(|since| now.saturating_duration_since(*since).as_secs() as usize)
    }
}

/// What a thread tells the run.
pub(super) enum Event {
    /// All its connections are open.
    Ready,
    /// The last connection of all has counted its quota.
    Counted,
    /// It has ended.
    Done(anyhow::Result<Box<Tally>>),
}

/// One connection to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// Its number in the whole run.
    pub(super) number: u64,
    /// Where it goes.
    pub(super) route: Route,
    /// How many answers it counts; `u64::MAX` in a run by time.
    pub(super) quota: u64,
    /// In a run by rate: how long after the start its first operation is due.
    pub(super) delay: Duration,
}

/// Connections that one thread opens at the same time: below Apache's listen backlog of 50.
const OPENING_MAX: usize = 32;

/// Runs one load thread to its end.
pub(super) fn run_thread(plan: &Arc<Plan>, seats: &[Seat], events: &Sender<Event>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime");
    let result = runtime.and_then(|runtime| runtime.block_on(drive_all(plan, seats, events)));
    // The run has given up when nobody listens.
    let _ = events.send(Event::Done(result));
}

async fn drive_all(plan: &Arc<Plan>, seats: &[Seat], events: &Sender<Event>) -> anyhow::Result<Box<Tally>> {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut connections = Vec::with_capacity(seats.len());
    for some in seats.chunks(OPENING_MAX) {
        let mut opening = JoinSet::new();
        for seat in some {
            opening.spawn(Connection::open(plan.clone(), *seat, tally.clone(), events.clone()));
        }
        while let Some(opened) = opening.join_next().await {
            connections.push(opened??);
        }
    }
    events.send(Event::Ready).ok().context("the run has given up")?;
    let mut running: JoinSet<_> = connections.into_iter().map(Connection::run).collect();
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let tally = Box::new(tally.lock().clone());
    Ok(tally)
}

struct Connection {
    plan: Arc<Plan>,
    seat: Seat,
    link: Link,
    tally: Arc<Mutex<Tally>>,
    events: Sender<Event>,
    random: fastrand::Rng,
    in_flight: VecDeque<(Asked, Instant)>,
    xid: i32,
    /// The numbers of the znodes that it created and has not deleted.
    created: Range<u64>,
    /// This operation, which is not one request, is due as soon as nothing is in flight.
    alone: Option<BenchOp>,
    /// How many sessions with an ephemeral znode there were.
    ephemerals: u64,
}

impl Connection {
    async fn open(
        plan: Arc<Plan>,
        seat: Seat,
        tally: Arc<Mutex<Tally>>,
        events: Sender<Event>,
    ) -> anyhow::Result<Self> {
        let mut link = Link::open(seat.route, plan.timeout_ms).await?;
        link.call(|xid, out| request::sync(out, xid, &plan.znodes.root)).await.context("sync")?;
        let random = fastrand::Rng::with_seed(seat.number);
        let in_flight = VecDeque::with_capacity(plan.depth);
        let created = 0..plan.stock;
        Ok(Self { plan, seat, link, tally, events, random, in_flight, xid: 0, created, alone: None, ephemerals: 0 })
    }

    async fn run(mut self) -> anyhow::Result<()> {
        let mut due = Instant::now() + self.seat.delay;
        loop {
            let mut since = Instant::now();
            if let (Some(interval), true) = (self.plan.interval, self.in_flight.is_empty()) {
                since = wait_until(due).await;
                due += interval;
            }
            self.refill(since);
            if !self.in_flight.is_empty() {
                self.link.exchange().await?;
                self.collect()?;
            } else if let Some(op) = self.alone.take() {
                self.with_new_session(op).await?;
            } else {
                return self.link.close().await;
            }
        }
    }

    fn phase(&self) -> u8 {
        self.plan.phase.load(Ordering::Relaxed)
    }

    /// Queues requests until the pipeline is full; their latency counts from `since`.
    fn refill(&mut self, since: Instant) {
        let room = self.plan.depth - self.in_flight.len();
        let quota = usize::try_from(self.seat.quota).unwrap_or(usize::MAX);
        let room = room.min(quota.saturating_sub(self.in_flight.len()));
        if room == 0 || self.alone.is_some() || self.phase() == Phase::Stop as u8 {
            return;
        }
        for _ in 0..room {
            let op = self.plan.mix.draw(&mut self.random);
            if matches!(op, BenchOp::Connect | BenchOp::Ephemeral) {
                self.alone = Some(op);
                return;
            }
            let asked = self.ask(op);
            self.in_flight.push_back((asked, since));
        }
    }

    fn ask(&mut self, op: BenchOp) -> Asked {
        self.xid = if self.xid == i32::MAX { 1 } else { self.xid + 1 };
        let (xid, znodes, owner) = (self.xid, &self.plan.znodes, self.seat.number);
        let random = &mut self.random;
        let index = random.u64(..znodes.count);
        let mut asked = Asked { op, xid, index };
        let created = &mut self.created;
        self.link.queue(|out| match op {
            BenchOp::Get => request::read(out, xid, OpCode::GET_DATA, znodes, znodes.place(index)),
            BenchOp::Exists => request::read(out, xid, OpCode::EXISTS, znodes, znodes.place(index)),
            BenchOp::Children => request::read(out, xid, OpCode::GET_CHILDREN, znodes, Place::Directory),
            BenchOp::Set => request::set(out, xid, znodes, index),
            BenchOp::Delete if !created.is_empty() => {
                request::delete(out, xid, znodes, Place::Owned(owner, created.start));
                created.start += 1;
            }
            BenchOp::Create | BenchOp::Delete => {
                asked.op = BenchOp::Create;
                request::create(out, xid, znodes, Place::Owned(owner, created.end), index);
                created.end += 1;
            }
            BenchOp::Multi10 | BenchOp::Multi100 => {
                let indexes = (0..op.multi_length()).map(|_| random.u64(..znodes.count));
                request::multi_set(out, xid, znodes, indexes);
            }
            BenchOp::Ping | BenchOp::Connect | BenchOp::Ephemeral => {
                asked.xid = ReplyHeader::PING_XID;
                request::ping(out);
            }
        });
        asked
    }

    /// Checks and counts all replies that are there.
    fn collect(&mut self) -> anyhow::Result<()> {
        let counts = self.phase() == Phase::Measure as u8;
        let now = Instant::now();
        let second = self.plan.second(now);
        let tally = self.tally.clone();
        let mut tally = tally.lock();
        while let Some(reply) = self.link.next_frame()? {
            let Some((asked, since)) = self.in_flight.pop_front() else {
                ensure!(false, "a reply to no request");
                break;
            };
            asked.check(self.link.bytes(reply), &self.plan.znodes)?;
            if counts {
                tally.add(asked.op, now - since, second);
                self.count_one();
            }
        }
        Ok(())
    }

    async fn with_new_session(&mut self, op: BenchOp) -> anyhow::Result<()> {
        let since = Instant::now();
        let mut fresh = Link::open(self.seat.route, self.plan.timeout_ms).await?;
        if op == BenchOp::Ephemeral {
            let place = Place::Owned(self.seat.number, EPHEMERAL_FIRST + self.ephemerals);
            self.ephemerals += 1;
            fresh.call(|xid, out| request::create_ephemeral(out, xid, &self.plan.znodes, place, 0)).await?;
            fresh.close().await?;
        } else {
            std::mem::replace(&mut self.link, fresh).close().await?;
        }
        if self.phase() == Phase::Measure as u8 {
            let now = Instant::now();
            self.tally.lock().add(op, now - since, self.plan.second(now));
            self.count_one();
        }
        Ok(())
    }

    fn count_one(&mut self) {
        if self.seat.quota == u64::MAX {
            return;
        }
        self.seat.quota -= 1;
        if self.seat.quota == 0 && self.plan.counting.fetch_sub(1, Ordering::Relaxed) == 1 {
            // The run has given up when nobody listens.
            let _ = self.events.send(Event::Counted);
        }
    }
}

/// Waits; from when the operation that is due then counts: from now, or from when it should have left.
async fn wait_until(due: Instant) -> Instant {
    if Instant::now() >= due {
        return due;
    }
    tokio::time::sleep_until(due.into()).await;
    Instant::now()
}
