//! Where the other servers are, and how to get there.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::RwLock;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::ids::Sid;
use crate::zab::Membership;

/// Where the other servers are: names, resolved again at every connection.
#[derive(Debug)]
pub struct Addresses {
    membership: RwLock<Membership>,
}

impl Addresses {
    /// Those of an ensemble.
    #[must_use]
    pub const fn new(membership: Membership) -> Self {
        Self { membership: RwLock::new(membership) }
    }

    /// The members have changed.
    pub fn set(&self, membership: Membership) {
        *self.membership.write() = membership;
    }

    /// The election addresses of a server, `host:port` each; none for one that is not known.
    #[must_use]
    pub fn election(&self, sid: Sid) -> Vec<String> {
        self.of(sid, |address| address.election_port)
    }

    /// The quorum addresses of a server.
    #[must_use]
    pub fn quorum(&self, sid: Sid) -> Vec<String> {
        self.of(sid, |address| address.quorum_port)
    }

    fn of(&self, sid: Sid, port: impl Fn(&crate::config::ServerAddress) -> u16) -> Vec<String> {
        let membership = self.membership.read();
        let Some(server) = membership.server(sid) else { return Vec::new() };
        server.addresses.iter().map(|address| address.at(port(address))).collect()
    }
}

/// Connects to the first of the addresses that can be reached. Each gets its share of `patience`.
///
/// # Errors
/// Those of the last one.
pub(super) async fn connect(addresses: &[String], patience: Duration) -> io::Result<TcpStream> {
    let patience = patience / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the configuration does not name that server");
    for address in addresses {
        let resolved = match lookup_host(address).await {
            Ok(resolved) => resolved,
            Err(error) => {
                failure = error;
                continue;
            }
        };
        for resolved in resolved {
            match timeout(patience, TcpStream::connect(resolved)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = error,
                Err(late) => failure = late.into(),
            }
        }
    }
    Err(failure)
}

/// Listens on `host:port`: on the first address of that name that can be had.
///
/// # Errors
/// Those of the last one.
pub(super) async fn listen_on(address: &str) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in lookup_host(address).await? {
        match bind(resolved) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}
