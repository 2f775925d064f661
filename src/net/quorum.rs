//! The quorum port: learners connect to it while this server leads; the port of an observer master, while it follows; and
//! the connection to whom it learns from.
//!
//! Nothing is decided here: bytes become packets for the owner, and what the owner sends goes out in its order.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::timeout;

use super::peers::Addresses;
use super::sasl::ServerSasl;
use super::sockets::{connect, keep_listening, listen_for_servers};
use super::tls::{ReadSide, Security, Stream, WriteSide};
use super::{Hold, Inbox};
use crate::ids::{LinkId, Sid};
use crate::peer::{Door, Input, SnapshotStart};
use crate::pipeline::SharedDatabase;
use crate::tree::{TreeOptions, Walked};
use crate::zab::{LeaderStream, LearnerStream, Packet, SNAPSHOT_SIGNATURE};

/// Bytes on their way to one learner, above which it is given up: it reads too slowly to ever catch up.
const UNSENT_BYTES_MAX: usize = 512 << 20;
/// Bytes that go out with one call, about.
const BATCH_BYTES: usize = 256 * 1024;
/// How much of the tree is encoded under one shared lock, bytes.
const STEP_BYTES: usize = 64 * 1024;
/// Of what the owner is told of one that is not whole yet, bytes: a database may take longer than anybody may be silent.
const PROGRESS_BYTES: usize = 256 * 1024;
/// More at once is a part of the leader's history, and not what is written meanwhile.
const MUCH_BYTES: usize = 4 << 20;
/// Room for what comes in, bytes.
const ROOM_BYTES: usize = 64 * 1024;
/// How many such pieces may wait for the owner; then the socket is not read.
const UNHANDLED_MAX: usize = 64;
/// How long to wait before the quorum port is tried again, and before another learner is accepted after a failure.
const BIND_RETRY: Duration = Duration::from_millis(50);
/// How many times that it waits at the most, after so many attempts.
const BIND_RETRY_SLOWDOWN_MAX: u32 = 20;

/// What connections between servers must know.
#[derive(Clone, Debug)]
pub struct QuorumNet {
    /// How long dialling the leader may take.
    pub connect: Duration,
    /// `jute.maxbuffer` and its extra size.
    pub field_bytes_max: usize,
    /// What a database that comes is made with.
    pub tree: TreeOptions,
    /// `zookeeper.tcpKeepAlive`.
    pub keep_alive: bool,
    /// What is done with a socket before it is used.
    pub security: Security,
    /// The password that is shown behind that.
    pub sasl: ServerSasl,
}

/// Connections between this server and its learners, or its leader.
pub struct QuorumPort {
    rules: QuorumNet,
    addresses: Arc<Addresses>,
    database: SharedDatabase,
    inbox: Arc<dyn Inbox>,
    runtime: Handle,
    learners: Arc<Learners>,
    /// Which door is open to learners.
    door: Option<Door>,
    /// Where they can connect now.
    places: watch::Sender<Vec<String>>,
    leader: Option<(LinkId, Link)>,
}

#[derive(Default)]
struct Learners {
    next: AtomicU64,
    links: Mutex<BTreeMap<LinkId, Link>>,
}

/// One connection.
struct Link {
    out: mpsc::UnboundedSender<Piece>,
    unsent: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Something on its way out.
enum Piece {
    Bytes(Vec<u8>),
    Database(SnapshotStart),
    /// Nothing more follows.
    End,
}

impl QuorumPort {
    /// Nobody listens and nobody is dialled yet.
    #[must_use]
    pub fn new(
        rules: QuorumNet,
        addresses: Arc<Addresses>,
        database: SharedDatabase,
        inbox: Arc<dyn Inbox>,
        runtime: Handle,
    ) -> Self {
        let (places, wanted) = watch::channel(Vec::new());
        let learners: Arc<Learners> = Arc::default();
        let (net, tree) = (rules.clone(), Arc::clone(&database));
        let (heard, admitted) = (Arc::clone(&inbox), Arc::clone(&learners));
        let known = Arc::clone(&addresses);
        runtime.spawn(keep_listening(wanted, move |address| {
            let (heard, admitted) = (Arc::clone(&heard), Arc::clone(&admitted));
            accept(address, net.clone(), Arc::clone(&known), Arc::clone(&tree), heard, admitted)
        }));
        Self { rules, addresses, database, inbox, runtime, learners, door: None, places, leader: None }
    }

    /// Opens this door and no other, and closes all connections of learners.
    pub fn listen(&mut self, door: Option<Door>) {
        self.learners.links.lock().clear();
        self.door = door;
        self.places.send_replace(door.map_or_else(Vec::new, |door| self.addresses.listen_learners(door)));
    }

    /// This server may have another address now. Learners that are connected stay.
    pub fn follow_address(&self) {
        let Some(door) = self.door else { return };
        let places = self.addresses.listen_learners(door);
        self.places.send_if_modified(|before| {
            let moves = !before.is_empty() && *before != places;
            if moves {
                *before = places;
            }
            moves
        });
    }

    /// Sends bytes to a learner.
    pub fn to_learner(&self, link: LinkId, bytes: Vec<u8>) {
        let mut links = self.learners.links.lock();
        if let Some(learner) = links.get(&link)
            && !learner.send(bytes)
        {
            tracing::warn!(?link, "a learner does not read what it is sent; closing");
            links.remove(&link);
            self.inbox.give(Input::LearnerGone(link));
        }
    }

    /// Sends the database to a learner.
    pub fn database_to_learner(&self, link: LinkId, start: SnapshotStart) {
        let walk = start.walk;
        let sent = match self.learners.links.lock().get(&link) {
            Some(learner) => learner.out.send(Piece::Database(start)).is_ok(),
            None => false,
        };
        if !sent {
            self.inbox.give(Input::WalkEnded(walk, false));
        }
    }

    /// Closes a learner's connection.
    pub fn close_learner(&self, link: LinkId) {
        self.learners.links.lock().remove(&link);
    }

    /// Sends learners what is on its way, for `patience` at the most, and closes everything.
    pub async fn finish(&mut self, patience: Duration) {
        self.places.send_replace(Vec::new());
        self.leader = None;
        let links = std::mem::take(&mut *self.learners.links.lock());
        let sent = async {
            for link in links.values() {
                let _closed = link.out.send(Piece::End);
                link.out.closed().await;
            }
        };
        let _late = timeout(patience, sent).await;
    }

    /// Connects to a server to learn from, in place of any other.
    pub fn dial(&mut self, link: LinkId, sid: Sid, door: Door) {
        self.leader = None;
        let (out, pieces) = mpsc::unbounded_channel();
        let unsent = Arc::new(AtomicUsize::new(0));
        let (addresses, rules, inbox) = (self.addresses.quorum(sid, door), self.rules.clone(), Arc::clone(&self.inbox));
        let (database, counted) = (Arc::clone(&self.database), Arc::clone(&unsent));
        let task = self.runtime.spawn(async move {
            let ended = async {
                let socket = connect(&addresses, rules.connect).await?;
                socket2::SockRef::from(&socket).set_keepalive(rules.keep_alive)?;
                let mut stream = rules.security.dial(socket, &addresses).await?;
                rules.sasl.dial(&mut stream, rules.connect).await?;
                inbox.give(Input::LeaderConnected(link));
                let (reader, writer) = stream.into_split();
                let write = write(writer, link, pieces, &counted, &database, &inbox);
                let read = read_leader(reader, LearnerStream::new(rules.field_bytes_max, rules.tree), link, &inbox);
                tokio::select! {
                    ended = read => ended,
                    ended = write => ended,
                }
            };
            if let Err(error) = ended.await {
                tracing::debug!(?sid, %error, "no connection to the leader");
            }
            inbox.give(Input::LeaderGone(link));
        });
        self.leader = Some((link, Link { out, unsent, task: task.abort_handle() }));
    }

    /// Sends bytes to the leader.
    pub fn to_leader(&self, link: LinkId, bytes: Vec<u8>) {
        if let Some((_, leader)) = self.leader.as_ref().filter(|(of, _)| *of == link) {
            leader.send(bytes);
        }
    }

    /// Closes the connection to the leader.
    pub fn close_leader(&mut self, link: LinkId) {
        self.leader.take_if(|(of, _)| *of == link);
    }
}

impl Link {
    /// False when too much is on its way already.
    fn send(&self, bytes: Vec<u8>) -> bool {
        let unsent = self.unsent.fetch_add(bytes.len(), Relaxed);
        let _closed = self.out.send(Piece::Bytes(bytes));
        unsent <= UNSENT_BYTES_MAX
    }
}

async fn accept(
    address: String,
    rules: QuorumNet,
    addresses: Arc<Addresses>,
    database: SharedDatabase,
    inbox: Arc<dyn Inbox>,
    learners: Arc<Learners>,
) {
    let mut tried = 0;
    let listener = loop {
        match listen_for_servers(&address).await {
            Ok(listener) => break listener,
            Err(error) => {
                if tried % BIND_RETRY_SLOWDOWN_MAX == 0 {
                    tracing::warn!(address, %error, "cannot listen for learners");
                }
                tried += 1;
                tokio::time::sleep(BIND_RETRY * tried.min(BIND_RETRY_SLOWDOWN_MAX)).await;
            }
        }
    };
    tracing::info!(address, "listening for learners");
    loop {
        let accepted = listener.accept().await.and_then(|(stream, from)| {
            stream.set_nodelay(true)?;
            socket2::SockRef::from(&stream).set_keepalive(rules.keep_alive)?;
            Ok((stream, from))
        });
        match accepted {
            Ok((stream, from)) => {
                tracing::debug!(%from, "a learner connects");
                admit(stream, &rules, &addresses, &database, &inbox, &learners);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a learner");
                tokio::time::sleep(BIND_RETRY).await;
            }
        }
    }
}

fn admit(
    socket: TcpStream,
    rules: &QuorumNet,
    addresses: &Arc<Addresses>,
    database: &SharedDatabase,
    inbox: &Arc<dyn Inbox>,
    learners: &Arc<Learners>,
) {
    let link = LinkId(learners.next.fetch_add(1, Relaxed));
    let (out, pieces) = mpsc::unbounded_channel();
    let unsent = Arc::new(AtomicUsize::new(0));
    let (rules, addresses) = (rules.clone(), Arc::clone(addresses));
    let (database, inbox, learners_then) = (Arc::clone(database), Arc::clone(inbox), Arc::clone(learners));
    let counted = Arc::clone(&unsent);
    let mut links = learners.links.lock();
    let task = tokio::spawn(async move {
        let Ok((stream, said)) = rules.open(socket, &addresses).await else {
            learners_then.links.lock().remove(&link);
            return;
        };
        {
            // Under the lock: whoever closes all connections has closed this one as well, or does it after this.
            let links = learners_then.links.lock();
            if !links.contains_key(&link) {
                return;
            }
            inbox.give(Input::LearnerConnected(link));
        }
        let (reader, writer) = stream.into_split();
        let ended = tokio::select! {
            ended = read_learner(reader, &said, LeaderStream::new(rules.field_bytes_max), link, &inbox) => ended,
            ended = write(writer, link, pieces, &counted, &database, &inbox) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(?link, %error, "a learner's connection has ended");
        }
        learners_then.links.lock().remove(&link);
        inbox.give(Input::LearnerGone(link));
    });
    links.insert(link, Link { out, unsent, task: task.abort_handle() });
}

impl QuorumNet {
    /// Opens a connection that a learner has made; and what the learner has said already.
    async fn open(&self, socket: TcpStream, addresses: &Addresses) -> io::Result<(Stream, Vec<u8>)> {
        let mut stream = self.security.accept(socket, addresses).await?;
        let said = self.sasl.accept(&mut stream, self.connect).await?;
        Ok((stream, said))
    }
}

async fn read_learner(
    mut reader: ReadSide,
    said: &[u8],
    mut stream: LeaderStream,
    link: LinkId,
    inbox: &Arc<dyn Inbox>,
) -> io::Result<()> {
    let mut buffer = BytesMut::from(said);
    let room = Arc::new(Semaphore::new(UNHANDLED_MAX));
    loop {
        fill(&mut reader, &mut buffer).await?;
        let mut packets = Vec::new();
        stream.take(&mut buffer, &mut packets).map_err(io::Error::other)?;
        if !packets.is_empty() {
            inbox.give_holding(Input::FromLearner(link, packets), take(&room).await?);
        }
    }
}

async fn read_leader(
    mut reader: ReadSide,
    mut stream: LearnerStream,
    link: LinkId,
    inbox: &Arc<dyn Inbox>,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    let room = Arc::new(Semaphore::new(UNHANDLED_MAX));
    let mut untold = 0;
    loop {
        untold += fill(&mut reader, &mut buffer).await?;
        let mut arrivals = Vec::new();
        stream.take(&mut buffer, &mut arrivals).map_err(io::Error::other)?;
        if !arrivals.is_empty() || untold >= PROGRESS_BYTES {
            untold = 0;
            inbox.give_holding(Input::FromLeader(link, arrivals), take(&room).await?);
        }
    }
}

/// A place among what waits for the owner.
async fn take(room: &Arc<Semaphore>) -> io::Result<Hold> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    Ok(Box::new(place))
}

/// Reads more, and says how many bytes.
async fn fill(reader: &mut ReadSide, buffer: &mut BytesMut) -> io::Result<usize> {
    buffer.reserve(ROOM_BYTES);
    match reader.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        bytes => Ok(bytes),
    }
}

/// Ends a walk for a learner whatever becomes of its connection.
struct WalkEnd<'a> {
    number: u64,
    whole: bool,
    inbox: &'a Arc<dyn Inbox>,
}

impl Drop for WalkEnd<'_> {
    fn drop(&mut self) {
        self.inbox.give(Input::WalkEnded(self.number, self.whole));
    }
}

/// Walks that nobody will begin any more have ended as well.
struct Pieces<'a> {
    pieces: mpsc::UnboundedReceiver<Piece>,
    inbox: &'a Arc<dyn Inbox>,
}

impl Drop for Pieces<'_> {
    fn drop(&mut self) {
        self.pieces.close();
        while let Ok(piece) = self.pieces.try_recv() {
            if let Piece::Database(start) = piece {
                self.inbox.give(Input::WalkEnded(start.walk, false));
            }
        }
    }
}

async fn write(
    mut writer: WriteSide,
    link: LinkId,
    pieces: mpsc::UnboundedReceiver<Piece>,
    unsent: &AtomicUsize,
    database: &SharedDatabase,
    inbox: &Arc<dyn Inbox>,
) -> io::Result<()> {
    let mut pieces = Pieces { pieces, inbox };
    let mut batch = Vec::new();
    while let Some(first) = pieces.pieces.recv().await {
        let mut next = Some(first);
        while let Some(piece) = next.take() {
            match piece {
                Piece::Bytes(bytes) if batch.is_empty() => batch = bytes,
                Piece::Bytes(bytes) => batch.extend_from_slice(&bytes),
                Piece::Database(start) => {
                    send(&mut writer, link, &mut batch, unsent, inbox).await?;
                    write_database(&mut writer, link, start, database, inbox).await?;
                }
                Piece::End => {
                    send(&mut writer, link, &mut batch, unsent, inbox).await?;
                    return writer.shutdown().await;
                }
            }
            if batch.len() < BATCH_BYTES {
                next = pieces.pieces.try_recv().ok();
            }
        }
        send(&mut writer, link, &mut batch, unsent, inbox).await?;
    }
    Ok(())
}

/// A learner that takes much at once is not silent meanwhile.
async fn send(
    writer: &mut WriteSide,
    link: LinkId,
    batch: &mut Vec<u8>,
    unsent: &AtomicUsize,
    inbox: &Arc<dyn Inbox>,
) -> io::Result<()> {
    let is_much = batch.len() > MUCH_BYTES;
    for piece in batch.chunks(PROGRESS_BYTES) {
        writer.write_all(piece).await?;
        if is_much {
            inbox.give(Input::LearnerTakes(link));
        }
    }
    writer.flush().await?;
    unsent.fetch_sub(batch.len(), Relaxed);
    batch.clear();
    Ok(())
}

async fn write_database(
    writer: &mut WriteSide,
    link: LinkId,
    start: SnapshotStart,
    database: &SharedDatabase,
    inbox: &Arc<dyn Inbox>,
) -> io::Result<()> {
    let mut end = WalkEnd { number: start.walk, whole: false, inbox };
    writer.write_all(&Packet::Snap(start.zxid).to_bytes()).await?;
    writer.write_all(&start.head).await?;
    let mut step = Vec::with_capacity(STEP_BYTES * 2);
    let mut untold = 0;
    loop {
        step.clear();
        let walked = database.read().continue_snapshot(start.walk, STEP_BYTES, &mut step);
        writer.write_all(&step).await?;
        untold += step.len();
        if untold >= PROGRESS_BYTES || walked == Walked::Done {
            untold = 0;
            inbox.give(Input::LearnerTakes(link));
        }
        // The owner is on this thread.
        yield_now().await;
        match walked {
            Walked::More => {}
            Walked::Done => break,
            Walked::Lost => return Err(io::Error::other("another database took the place of this one")),
        }
    }
    writer.write_all(SNAPSHOT_SIGNATURE).await?;
    writer.flush().await?;
    end.whole = true;
    Ok(())
}
