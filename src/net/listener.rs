//! Accepting connections and spreading them over the threads that carry them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::Either;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::ClientContext;
use super::carrier::Carrier;
use super::connection::Connection;
use super::sockets::{self, listen_on};
use super::tls::{Gate, Stream, Tls};
use super::words::WordDesk;
use crate::metrics::Counter;
use crate::pipeline::Lane;

/// Connections accepted and not yet taken by a thread.
const HANDOVER_MAX: usize = 1024;
/// How long to wait when the process has no file descriptor left.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(50);
/// How long to wait before a new address is tried again.
const BIND_RETRY: Duration = Duration::from_secs(1);

/// Why the client port is not open.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for clients on {address}")]
pub struct ListenError {
    /// The address asked for, `host:port`.
    pub address: String,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Where clients come in.
#[derive(Clone, Debug, Default)]
pub struct ClientPlaces {
    /// The client port, `host:port`; `None` is nowhere, until it moves.
    pub plain: Option<String>,
    /// The secure client port, likewise.
    pub secure: Option<String>,
    /// What handshakes are made with, wherever there may be any.
    pub tls: Option<Arc<Tls>>,
    /// `client.portUnification`: the client port takes both kinds.
    pub either: bool,
}

/// The ports for clients. Dropping it closes them; connections are closed by whoever closes their lanes.
#[derive(Clone, Debug)]
pub struct ClientPort {
    /// Where to listen, `host:port`; `None` is nowhere.
    place: Arc<watch::Sender<Option<String>>>,
    /// The same for the secure port.
    secure: Arc<watch::Sender<Option<String>>>,
}

impl ClientPort {
    /// Stops accepting at the client port. Connections go on.
    pub fn stop_accepting(&self) {
        self.place.send_replace(None);
    }

    /// The same, and at the secure port as well.
    pub fn stop_all(&self) {
        self.stop_accepting();
        self.secure.send_replace(None);
    }

    /// Accepts at another address, `host:port`, from now on, and no longer at the old one. Connections go on (EN-33).
    pub fn move_to(&self, address: String) {
        self.place.send_replace(Some(address));
    }
}

/// Whether a client port can be had at `address`. It is not taken yet: nobody is to wait there before somebody can be served.
///
/// # Errors
/// When it cannot.
pub fn find_free(address: &str, thread: &Handle) -> Result<(), ListenError> {
    thread.block_on(sockets::find_free(address)).map_err(|source| ListenError { address: address.to_owned(), source })
}

/// Opens the ports for clients, and answers where they are, the client port first; nowhere until it moves, if there is none.
/// `backlog` is `clientPortListenBacklog`, -1 for the system's own. The thread `accepting` deals the connections out to
/// `threads`.
///
/// # Errors
/// When an address cannot be had, or no thread can be made.
pub fn listen(
    context: &Arc<ClientContext>,
    places: ClientPlaces,
    backlog: i32,
    accepting: &Handle,
    threads: &[Handle],
) -> Result<(ClientPort, [Option<SocketAddr>; 2]), ListenError> {
    let fail = |source| ListenError { address: places.plain.clone().unwrap_or_default(), source };
    let words = WordDesk::open().map_err(fail)?;
    let carriers: Vec<_> = threads.iter().map(|thread| carrier_on(thread, context, &words)).collect();
    let counts_plain = places.tls.is_some();
    let at_home = threads.iter().all(|thread| thread.id() == accepting.id());
    let port = |gate| Port {
        context: Arc::clone(context),
        backlog,
        carriers: carriers.clone(),
        next: 0,
        at_home,
        gate,
        counts_plain,
    };
    let gate = match &places.tls {
        Some(tls) if places.either => Gate::Either(Arc::clone(tls)),
        Some(_) | None => Gate::Plain,
    };
    let (place, bound) = open(accepting, port(gate), places.plain.clone())?;
    let secure = places.tls.as_ref().zip(places.secure.clone());
    let (secure, bound_secure) = match secure {
        Some((tls, address)) => open(accepting, port(Gate::Secure(Arc::clone(tls))), Some(address))?,
        None => (watch::channel(None).0, None),
    };
    Ok((ClientPort { place: Arc::new(place), secure: Arc::new(secure) }, [bound, bound_secure]))
}

/// Lets a thread carry the connections that are sent there.
fn carrier_on(thread: &Handle, context: &Arc<ClientContext>, words: &WordDesk) -> mpsc::Sender<Accepted> {
    let (sender, receiver) = mpsc::channel(HANDOVER_MAX);
    thread.spawn(carry(Arc::clone(context), words.clone(), receiver));
    sender
}

/// One port, served by `thread`.
fn open(
    thread: &Handle,
    port: Port,
    address: Option<String>,
) -> Result<(watch::Sender<Option<String>>, Option<SocketAddr>), ListenError> {
    let fail = |source| ListenError { address: address.clone().unwrap_or_default(), source };
    let listener = match &address {
        Some(address) => Some(thread.block_on(listen_on(address, port.backlog)).map_err(fail)?),
        None => None,
    };
    let bound = listener.as_ref().map(TcpListener::local_addr).transpose().map_err(fail)?;
    let (place, wanted) = watch::channel(address.clone());
    thread.spawn(port.serve(listener, wanted));
    Ok((place, bound))
}

/// Accepts connections, wherever that is.
struct Port {
    context: Arc<ClientContext>,
    backlog: i32,
    carriers: Vec<mpsc::Sender<Accepted>>,
    next: usize,
    /// Whether the thread that accepts is the one that carries.
    at_home: bool,
    gate: Gate,
    /// As in the reference, connections without TLS are counted where there is TLS.
    counts_plain: bool,
}

/// A connection on its way to the thread that carries it.
struct Accepted {
    stream: Arrived,
    client: SocketAddr,
    gate: Gate,
}

/// A connection, and where it was accepted: by the thread that carries it, or by another, which wants to know no more of it.
enum Arrived {
    Here(TcpStream),
    Elsewhere(std::net::TcpStream),
}

impl Port {
    async fn serve(mut self, first: Option<TcpListener>, mut wanted: watch::Receiver<Option<String>>) {
        let mut listener = first;
        loop {
            tokio::select! {
                accepted = accept(listener.as_ref()) => self.hand_over(accepted).await,
                changed = wanted.changed() => {
                    // The old place is free before the new one is taken: a port may stay while its host changes.
                    drop(listener.take());
                    if changed.is_err() {
                        return;
                    }
                    listener = self.listen_anew(&mut wanted).await;
                }
            }
        }
    }

    /// Listens where it is wanted, as soon as that can be done; nowhere, if it is wanted nowhere.
    async fn listen_anew(&self, wanted: &mut watch::Receiver<Option<String>>) -> Option<TcpListener> {
        loop {
            let address = wanted.borrow_and_update().clone()?;
            match listen_on(&address, self.backlog).await {
                Ok(listener) => {
                    tracing::info!(address, "listening for clients");
                    return Some(listener);
                }
                Err(error) => tracing::error!(address, %error, "cannot listen for clients any more; trying again"),
            }
            if let Ok(Err(_closed)) = timeout(BIND_RETRY, wanted.changed()).await {
                return None;
            }
        }
    }

    async fn hand_over(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let arrived = |stream: TcpStream| {
            if self.at_home { Ok(Arrived::Here(stream)) } else { stream.into_std().map(Arrived::Elsewhere) }
        };
        match accepted.and_then(|(stream, client)| Ok((arrived(stream)?, client))) {
            Ok((stream, client)) => {
                let accepted = Accepted { stream, client, gate: self.gate.clone() };
                if self.counts_plain && matches!(self.gate, Gate::Plain) {
                    count_plain(&self.context, accepted.client);
                }
                self.next = (self.next + 1) % self.carriers.len();
                let _ended = self.carriers[self.next].send(accepted).await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
}

/// The next connection; never one where nobody listens.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Carries the connections of one thread. When the port is closed, they go on until their lanes are closed.
async fn carry(context: Arc<ClientContext>, words: WordDesk, accepted: mpsc::Receiver<Accepted>) {
    let carrier = Carrier::new(Arc::clone(&context.owner), words);
    carrier.carry(accepted, |accepted| begin(&context, &carrier, accepted)).await;
}

/// A connection that was accepted; `None`: it is closed again.
fn begin(context: &Arc<ClientContext>, carrier: &Arc<Carrier>, accepted: Accepted) -> Option<Carried> {
    let Accepted { stream, client, gate } = accepted;
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    let Some(lane) = context.connections.admit(&context.limits, client, context.clock.now(), &context.statistics)
    else {
        tracing::warn!(%client, "too many connections; closing");
        return None;
    };
    let (context, carrier) = (Arc::clone(context), Arc::clone(carrier));
    match set_up(stream, context.limits.keep_alive) {
        Ok(stream) if matches!(gate, Gate::Plain) => {
            Some(Either::Left(Connection::new(context, carrier, lane, Stream::Plain(stream))))
        }
        Ok(stream) => Some(Either::Right(Box::pin(carry_secure(context, carrier, lane, gate, stream)))),
        Err(error) => {
            tracing::debug!(%client, %error, "connection lost before it began");
            context.connections.remove(&lane);
            None
        }
    }
}

/// A connection, or one that may begin with a handshake.
type Carried = Either<Connection, Pin<Box<dyn Future<Output = ()> + Send>>>;

/// Carries a connection that may begin with a handshake: its certificate, if there is one, says who the client is (SC-06).
async fn carry_secure(
    context: Arc<ClientContext>,
    carrier: Arc<Carrier>,
    lane: Arc<Lane>,
    gate: Gate,
    socket: TcpStream,
) {
    let under_way = context.connections.handshakes.fetch_add(1, Relaxed);
    let opened = if under_way < context.limits.handshakes_max {
        carrier.in_steps(gate.open_for_client(socket)).await
    } else {
        context.throttles.metrics.count(Counter::tls_handshake_exceeded, 1);
        Err(io::Error::other("as many handshakes are under way as may be"))
    };
    context.connections.handshakes.fetch_sub(1, Relaxed);
    match opened {
        Ok(stream) => {
            if stream.is_secure() {
                let subject = stream.subject();
                let certified = |subject: String| context.database.read().auth().certified(&subject);
                lane.secure(subject.map(certified).unwrap_or_default());
            } else {
                count_plain(&context, lane.address());
            }
            Connection::new(context, carrier, lane, stream).await;
        }
        Err(error) => {
            match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                    tracing::debug!(client = %lane.address(), %error, "gone before the handshake was done");
                }
                _ => tracing::warn!(client = %lane.address(), %error, "a client's TLS connection came to nothing"),
            }
            lane.statistics().auth_failed.fetch_add(1, Relaxed);
            context.throttles.metrics.count(Counter::unsuccessful_handshake, 1);
            context.connections.remove(&lane);
        }
    }
}

fn count_plain(context: &ClientContext, client: SocketAddr) {
    let connections = &context.connections;
    let count =
        if client.ip().to_canonical().is_loopback() { &connections.plain_local } else { &connections.plain_remote };
    count.fetch_add(1, Relaxed);
}

fn set_up(stream: Arrived, keep_alive: bool) -> io::Result<TcpStream> {
    let stream = match stream {
        Arrived::Here(stream) => stream,
        Arrived::Elsewhere(stream) => TcpStream::from_std(stream)?,
    };
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_keepalive(keep_alive)?;
    Ok(stream)
}
