//! The election port: one connection to each other server, dialled by the one with the larger number (election.md 2).
//!
//! Only the newest message to a server is kept: an older vote is worth nothing once there is a newer one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Inbox;
use super::peers::{Addresses, Change};
use super::sasl::ServerSasl;
use super::sockets::{connect, keep_listening, listen_for_servers, remember};
use super::tls::{Security, Stream};
use crate::ids::Sid;
use crate::peer::Input;
use crate::zab::{HELLO_ADDRESS_BYTES_MAX, Hello, Membership, NOTIFICATION_BYTES_MAX, Notification};

/// How long to wait before an address is tried again that cannot be listened on, ...
const BIND_RETRY: Duration = Duration::from_secs(1);
/// ... and after the attempts that the configuration allows at the start.
const BIND_RETRY_LATER: Duration = Duration::from_secs(10);

/// How servers connect for elections.
#[derive(Clone, Debug)]
pub struct ElectionNet {
    /// `zookeeper.cnxTimeout`: how long dialling may take.
    pub connect: Duration,
    /// How long the other side may take to say who it is.
    pub hello: Duration,
    /// `zookeeper.electionPortBindRetry`; `None` is for ever.
    pub bind_tries: Option<u32>,
    /// `zookeeper.tcpKeepAlive`.
    pub keep_alive: bool,
    /// What is done with a socket before it is used.
    pub security: Security,
    /// The password that is shown behind that.
    pub sasl: ServerSasl,
}

/// The election port of a running server.
#[derive(Clone)]
pub struct ElectionPort {
    shared: Arc<Shared>,
}

struct Shared {
    rules: ElectionNet,
    /// Where this server listens.
    places: watch::Sender<Vec<String>>,
    addresses: Arc<Addresses>,
    inbox: Arc<dyn Inbox>,
    runtime: Handle,
    peers: Mutex<BTreeMap<Sid, Peer>>,
}

/// What there is of another server.
#[derive(Default)]
struct Peer {
    /// To be sent.
    message: Option<Bytes>,
    /// Sent last; sent again on a new connection, because the old one may have lost it.
    last: Option<Bytes>,
    connection: Option<Connection>,
    /// How many there were before.
    connections: u64,
    dialling: bool,
    /// Where it said that it can be reached.
    said: Vec<String>,
}

struct Connection {
    number: u64,
    wake: Arc<Notify>,
    task: AbortHandle,
}

impl ElectionPort {
    /// Opens the port on every address of this server's that can be had.
    ///
    /// # Errors
    /// When none of them can be had, after `bind_tries` attempts at each.
    pub async fn open(rules: ElectionNet, addresses: Arc<Addresses>, inbox: Arc<dyn Inbox>) -> io::Result<Self> {
        let listen_at = addresses.listen_elections();
        let count = listen_at.len();
        let (places, wanted) = watch::channel(listen_at);
        let (runtime, peers) = (Handle::current(), Mutex::default());
        let shared = Arc::new(Shared { rules, places, addresses, inbox, runtime, peers });
        let (said, mut heard) = mpsc::unbounded_channel();
        let listener = Arc::clone(&shared);
        let at = move |place| accept(Arc::clone(&listener), place, said.clone());
        shared.runtime.spawn(keep_listening(wanted, at));
        let mut failure = io::Error::other("this server has no election address");
        for _ in 0..count {
            match heard.recv().await {
                Some(Err(error)) => failure = error,
                Some(Ok(())) | None => return Ok(Self { shared }),
            }
        }
        Err(failure)
    }

    /// The members have changed: this server listens where they say, gets to know the new ones, and lets go of those that
    /// are none any more.
    pub fn set_members(&self, membership: Membership) {
        let shared = &self.shared;
        let Change { joined, left } = shared.addresses.set(membership);
        let places = shared.addresses.listen_elections();
        shared.places.send_if_modified(|before| {
            let moves = *before != places;
            *before = places;
            moves
        });
        let mut peers = shared.peers.lock();
        for sid in left {
            let Some(peer) = peers.get_mut(&sid) else { continue };
            (peer.message, peer.last) = (None, None);
            peer.disconnect();
        }
        for sid in joined {
            let peer = peers.entry(sid).or_default();
            if peer.connection.is_none() {
                shared.dial(sid, peer);
            }
        }
    }

    /// Sends a message to another server, in place of any older one that is still on its way.
    pub fn notify(&self, sid: Sid, notification: &Notification) {
        let mut message = BytesMut::new();
        notification.encode(&mut message);
        let mut peers = self.shared.peers.lock();
        let peer = peers.entry(sid).or_default();
        peer.message = Some(message.freeze());
        match &peer.connection {
            Some(connection) => connection.wake.notify_one(),
            None => self.shared.dial(sid, peer),
        }
    }
}

impl Peer {
    fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.task.abort();
        }
    }
}

/// Whether an address can be had, for as long as somebody wants to know.
type Bound = mpsc::UnboundedSender<io::Result<()>>;

/// Listens at one address. Once this server has any, it goes on trying for the others.
async fn bind(address: &str, tries: Option<u32>, said: &Bound) -> TcpListener {
    for tried in 1.. {
        let error = match listen_for_servers(address).await {
            Ok(listener) => return listener,
            Err(error) => error,
        };
        tracing::warn!(address, %error, tried, "cannot listen for elections");
        if tries.is_some_and(|tries| tried >= tries.max(1)) {
            let _heard_enough = said.send(Err(io::Error::new(error.kind(), format!("{address}: {error}"))));
            tokio::time::sleep(BIND_RETRY_LATER).await;
        } else {
            tokio::time::sleep(BIND_RETRY).await;
        }
    }
    std::future::pending().await
}

async fn accept(shared: Arc<Shared>, address: String, said: Bound) {
    let listener = bind(&address, shared.rules.bind_tries, &said).await;
    let _heard_enough = said.send(Ok(()));
    tracing::info!(address, "listening for elections");
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(error) = shared.receive(stream).await {
                        tracing::debug!(%from, %error, "an election connection came to nothing");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an election connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Shared {
    /// Somebody has dialled: who it is decides which of the two connections stays.
    async fn receive(self: &Arc<Self>, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        self.set_up(&socket)?;
        let mut stream = self.rules.security.accept(socket, &self.addresses).await?;
        let hello = timeout(self.rules.hello, read_hello(&mut stream)).await??;
        let sid = u8::try_from(hello.sid).map(Sid).map_err(|_| io::Error::other("not the number of a server"))?;
        let said = self.rules.sasl.accept(&mut stream, self.rules.hello).await?;
        let me = self.addresses.me();
        if sid == me {
            return Err(io::Error::other("it says to be this server"));
        }
        if sid > me {
            self.keep(sid, stream, said);
            return Ok(());
        }
        // The larger number dials: this end calls back.
        drop(stream);
        let mut peers = self.peers.lock();
        let peer = peers.entry(sid).or_default();
        peer.disconnect();
        peer.said = hello.addresses.into_iter().filter(|address| !is_wildcard(address)).collect();
        self.dial(sid, peer);
        Ok(())
    }

    /// Dials a server, unless that is under way.
    fn dial(self: &Arc<Self>, sid: Sid, peer: &mut Peer) {
        if std::mem::replace(&mut peer.dialling, true) {
            return;
        }
        let shared = Arc::clone(self);
        let said = std::mem::take(&mut peer.said);
        self.runtime.spawn(async move {
            let dialled = shared.call(sid, said).await;
            if let Some(peer) = shared.peers.lock().get_mut(&sid) {
                peer.dialling = false;
            }
            match dialled {
                Ok(stream) if sid < shared.addresses.me() => shared.keep(sid, stream, Vec::new()),
                // It knows of this server now, and will call back.
                Ok(stream) => stream.leave().await,
                Err(error) => {
                    tracing::debug!(?sid, %error, "cannot reach a server for an election");
                    shared.inbox.give(Input::Reachable(sid, false));
                }
            }
        });
    }

    /// Where it has just said to be, or else where the configuration says (election.md 2.1).
    async fn call(&self, sid: Sid, said: Vec<String>) -> io::Result<Stream> {
        let known = self.addresses.election(sid);
        let addresses = if said.is_empty() { &known } else { &said };
        let socket = connect(addresses, self.rules.connect).await?;
        self.set_up(&socket)?;
        // Its certificate is for where the configuration has it, if that is known: what it says of itself is only said.
        let named = if known.is_empty() { &said } else { &known };
        let mut stream = self.rules.security.dial(socket, named).await?;
        stream.write_all(&self.hello()).await?;
        stream.flush().await?;
        self.rules.sasl.dial(&mut stream, self.rules.hello).await?;
        Ok(stream)
    }

    /// A network that has died without a word is given up after as long as a server may be silent: TCP alone would wait for a
    /// quarter of an hour, and the server may have another address.
    fn set_up(&self, socket: &TcpStream) -> io::Result<()> {
        let socket = socket2::SockRef::from(socket);
        socket.set_keepalive(self.rules.keep_alive)?;
        socket.set_tcp_user_timeout(Some(self.rules.hello))
    }

    /// What a server says first: who it is, and where it can be called back. Of too many addresses the first ones will do.
    fn hello(&self) -> Vec<u8> {
        let mut addresses = self.addresses.own_election();
        let fits = |addresses: &[String]| addresses.join("|").len() <= HELLO_ADDRESS_BYTES_MAX;
        while addresses.len() > 1 && !fits(&addresses) {
            addresses.pop();
        }
        let several = addresses.len() > 1;
        let mut hello = Vec::new();
        Hello { sid: self.addresses.me().0.into(), addresses, several }.encode(&mut hello);
        hello
    }

    /// From now on this is the connection to that server, which has begun to talk already.
    fn keep(self: &Arc<Self>, sid: Sid, stream: Stream, said: Vec<u8>) {
        let mut peers = self.peers.lock();
        let peer = peers.entry(sid).or_default();
        peer.disconnect();
        peer.connections += 1;
        let number = peer.connections;
        let wake = Arc::new(Notify::new());
        let (shared, woken) = (Arc::clone(self), Arc::clone(&wake));
        self.runtime.spawn(remember(self.addresses.election(sid)));
        let task = self.runtime.spawn(async move {
            shared.inbox.give(Input::Reachable(sid, true));
            let ended = shared.converse(sid, stream, &said, &woken).await;
            if let Err(error) = &ended {
                tracing::debug!(?sid, %error, "an election connection has ended");
            }
            shared.ended(sid, number, ended.is_err_and(|error| is_lost(error.kind())));
        });
        peer.connection = Some(Connection { number, wake, task: task.abort_handle() });
    }

    async fn converse(&self, sid: Sid, stream: Stream, said: &[u8], wake: &Notify) -> io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut reader = said.chain(reader);
        let listen = async {
            loop {
                let message = read_message(&mut reader).await?;
                match Notification::decode(&message) {
                    Ok(notification) => self.inbox.give(Input::Notified(sid, notification)),
                    Err(error) => tracing::warn!(?sid, %error, "ignoring a message on the election port"),
                }
            }
        };
        let talk = async {
            let mut next = self.first_message(sid);
            loop {
                if let Some(message) = next.take() {
                    writer.write_all(&message).await?;
                    writer.flush().await?;
                }
                next = self.next_message(sid);
                if next.is_none() {
                    wake.notified().await;
                    next = self.next_message(sid);
                }
            }
        };
        tokio::select! {
            ended = listen => ended,
            ended = talk => ended,
        }
    }

    fn first_message(&self, sid: Sid) -> Option<Bytes> {
        self.next_message(sid).or_else(|| self.peers.lock().get(&sid).and_then(|peer| peer.last.clone()))
    }

    fn next_message(&self, sid: Sid) -> Option<Bytes> {
        let mut peers = self.peers.lock();
        let peer = peers.get_mut(&sid)?;
        let message = peer.message.take()?;
        peer.last = Some(message.clone());
        Some(message)
    }

    /// What was said last is lost where the network was.
    fn ended(self: &Arc<Self>, sid: Sid, number: u64, is_lost: bool) {
        let mut peers = self.peers.lock();
        let Some(peer) = peers.get_mut(&sid) else { return };
        if peer.connection.as_ref().is_some_and(|connection| connection.number == number) {
            peer.connection = None;
            self.inbox.give(Input::Reachable(sid, false));
            if peer.message.is_some() || is_lost && peer.last.is_some() {
                self.dial(sid, peer);
            }
        }
    }
}

/// Whether what was said last has come to nobody: the network, or the other host, was gone.
const fn is_lost(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    matches!(error, TimedOut | HostUnreachable | NetworkUnreachable | NetworkDown)
}

/// Whether an address names no host.
fn is_wildcard(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

async fn read_hello(stream: &mut Stream) -> io::Result<Hello> {
    let mut bytes = BytesMut::with_capacity(64);
    loop {
        match Hello::decode(&bytes) {
            // Nothing follows before this end has answered with its choice; a message that came at once is lost, and
            // sent again by its sender's timer, as with the reference.
            Ok(Some((length, hello))) if length == bytes.len() => return Ok(hello),
            Ok(Some(_)) => return Err(io::Error::other("more than a hello")),
            Ok(None) => {}
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
        let wanted = wanted(&bytes);
        let mut piece = stream.take(wanted);
        if piece.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// How many bytes of a hello are missing, as far as that is known: what follows it must stay in the socket.
fn wanted(bytes: &[u8]) -> u64 {
    let have = bytes.len();
    let whole = match bytes.get(16..20).and_then(|length| length.first_chunk()) {
        Some(length) => 20 + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0),
        None if have < 8 => 8,
        None => 20,
    };
    whole.saturating_sub(have).max(1) as u64
}

async fn read_message(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Bytes> {
    let length = reader.read_i32().await?;
    let length = usize::try_from(length).ok().filter(|length| (1..=NOTIFICATION_BYTES_MAX).contains(length));
    let Some(length) = length else { return Err(io::Error::other("unreasonable length of a message")) };
    let mut message = Vec::new();
    // Memory grows with what really comes.
    if reader.take(length as u64).read_to_end(&mut message).await? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message.into())
}
