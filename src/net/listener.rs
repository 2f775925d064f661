//! Accepting connections and spreading them over the threads that carry them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::ClientContext;
use super::connection::Connection;

/// Connections accepted and not yet taken by a thread.
const HANDOVER_MAX: usize = 1024;
/// How long to wait when the process has no file descriptor left.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(50);
/// How often connections without a session are looked for: the reference rounds up to ten seconds.
const SWEEP: Duration = Duration::from_secs(1);

/// Why the client port is not open.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for clients on {address}")]
pub struct ListenError {
    /// The address asked for.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// An open client port. Dropping it closes the port; connections are closed by whoever closes their lanes.
#[derive(Debug)]
pub struct ClientPort {
    /// The address it listens on.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl ClientPort {
    /// Stops accepting. Connections go on.
    pub fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }

    /// The threads that carry connections.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }
}

/// Opens the client port. `backlog` is `clientPortListenBacklog`, -1 for the system's own.
///
/// # Errors
/// When the address cannot be had, or no thread can be made.
pub fn listen(
    context: &Arc<ClientContext>,
    address: SocketAddr,
    backlog: i32,
    threads: usize,
) -> Result<ClientPort, ListenError> {
    let fail = |source| ListenError { address, source };
    let socket = bind_dual(address, backlog).map_err(fail)?;
    let bound = socket.local_addr().map_err(fail)?.as_socket().unwrap_or(address);
    let (stop, stopped) = watch::channel(false);
    let mut carriers = Vec::new();
    let mut handles = Vec::new();
    for number in 0..threads.max(1) {
        let (sender, receiver) = mpsc::channel(HANDOVER_MAX);
        carriers.push(sender);
        let context = Arc::clone(context);
        handles.push(spawn(format!("clients-{number}"), carry(context, receiver)).map_err(fail)?);
    }
    let context = Arc::clone(context);
    let listener: std::net::TcpListener = socket.into();
    handles.push(spawn("accept".to_owned(), accept(context, listener, carriers, stopped)).map_err(fail)?);
    Ok(ClientPort { address: bound, stop, threads: handles })
}

fn spawn(name: String, work: impl Future<Output = ()> + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(name).spawn(move || runtime.block_on(work))
}

/// Where there is no IPv6, all addresses are those of IPv4.
fn bind_dual(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let all_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    match bind(address, backlog) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse && address.ip() == Ipv6Addr::UNSPECIFIED => {
            bind(all_v4, backlog)
        }
        bound => bound,
    }
}

fn bind(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Clients of both families come in on the wildcard address, as with Java's sockets.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(if backlog > 0 { backlog } else { 4096 })?;
    Ok(socket)
}

async fn accept(
    context: Arc<ClientContext>,
    listener: std::net::TcpListener,
    carriers: Vec<mpsc::Sender<(std::net::TcpStream, SocketAddr)>>,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the client port cannot be watched");
            return;
        }
    };
    let mut sweep = tokio::time::interval(SWEEP);
    let mut next = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = sweep.tick() => {
                let now = context.clock.now();
                context.connections.expire_sessionless(&context.limits, now.steady_ms);
                continue;
            }
            _ = stopped.changed() => return,
        };
        match accepted.and_then(|(stream, client)| Ok((stream.into_std()?, client))) {
            Ok(accepted) => {
                next = (next + 1) % carriers.len();
                if carriers[next].send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
}

/// Carries the connections of one thread.
async fn carry(context: Arc<ClientContext>, mut accepted: mpsc::Receiver<(std::net::TcpStream, SocketAddr)>) {
    while let Some((stream, client)) = accepted.recv().await {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let Some(lane) = context.connections.admit(&context.limits, client, context.clock.now(), &context.statistics)
        else {
            tracing::warn!(%client, "too many connections; closing");
            continue;
        };
        match set_up(stream, context.limits.keep_alive) {
            Ok(stream) => {
                tokio::spawn(Connection::new(Arc::clone(&context), lane, stream));
            }
            Err(error) => {
                tracing::debug!(%client, %error, "connection lost before it began");
                context.connections.remove(&lane);
            }
        }
    }
    // The port is closed; the connections of this thread go on until their lanes are closed.
    std::future::pending::<()>().await;
}

fn set_up(stream: std::net::TcpStream, keep_alive: bool) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_keepalive(keep_alive)?;
    TcpStream::from_std(stream)
}
