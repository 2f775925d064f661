//! What has to happen with a connection before it is used: nothing, a handshake, or one if the first byte begins one.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::super::peers::Addresses;
use super::{Stream, Tls, names};

/// What a TLS connection begins with: the kind of its first record.
const HANDSHAKE: u8 = 0x16;
/// How long a handshake may take, as long as with Netty.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What a port takes.
#[derive(Clone, Debug, Default)]
pub enum Gate {
    /// Connections without TLS.
    #[default]
    Plain,
    /// Connections with TLS.
    Secure(Arc<Tls>),
    /// Both (SC-11, EN-38).
    Either(Arc<Tls>),
}

impl Gate {
    /// Opens a connection that was accepted. What is not TLS and shows nothing for a while is plaintext, as with the reference.
    ///
    /// # Errors
    /// When the handshake fails or takes too long.
    pub async fn open(&self, socket: TcpStream) -> io::Result<Stream> {
        self.open_after(socket, None).await
    }

    async fn open_after(&self, socket: TcpStream, detection: Option<Duration>) -> io::Result<Stream> {
        match self {
            Self::Plain => Ok(Stream::Plain(socket)),
            Self::Secure(tls) => in_time(tls.accept(socket)).await,
            Self::Either(tls) => {
                let mut first = [0];
                let detection = detection.unwrap_or_else(|| Duration::from_millis(tls.side.detection_ms));
                match timeout(detection, socket.peek(&mut first)).await {
                    Ok(Ok(1..)) if first[0] == HANDSHAKE => in_time(tls.accept(socket)).await,
                    Ok(_) | Err(_) => Ok(Stream::Plain(socket)),
                }
            }
        }
    }

    /// The port for clients: the address of a client that shows a certificate has to be in it, if that is asked for (SC-08).
    /// What says nothing may still say anything for as long as a handshake may take.
    ///
    /// # Errors
    /// When the handshake fails or takes too long, or the certificate is for somebody else.
    pub(in crate::net) async fn open_for_client(&self, socket: TcpStream) -> io::Result<Stream> {
        let stream = self.open_after(socket, Some(HANDSHAKE_MAX)).await?;
        let (Self::Secure(tls) | Self::Either(tls)) = self else { return Ok(stream) };
        let verifies = tls.side.verify_hosts && tls.side.verify_client_hosts.unwrap_or(false);
        if verifies && let Some(certificate) = stream.certificate() {
            let ip = stream.peer_address()?.ip().to_canonical();
            if !names::is_for(certificate, &ip.to_string()) {
                return Err(elsewhere(ip));
            }
        }
        Ok(stream)
    }
}

/// How connections between servers are secured.
#[derive(Clone, Debug, Default)]
pub struct Security {
    gate: Gate,
    /// Whether others are dialled with TLS, and with what.
    dial: Option<Arc<Tls>>,
    /// Whether the certificate of a server that was dialled has to be for that server, ...
    checks_dialled: bool,
    /// ... and that of a server that has connected for any host of the ensemble.
    checks_accepted: bool,
}

impl Security {
    /// `dials`: `sslQuorum`; `either`: `portUnification`; `fips`: nobody's name is looked at (SC-13).
    #[must_use]
    pub fn new(tls: Arc<Tls>, dials: bool, either: bool, fips: bool) -> Self {
        let checks = tls.side.verify_hosts && !fips;
        let checks_accepted = checks && tls.side.verify_client_hosts.unwrap_or(true);
        let dial = dials.then(|| Arc::clone(&tls));
        let gate = if either { Gate::Either(tls) } else { Gate::Secure(tls) };
        Self { gate, dial, checks_dialled: checks, checks_accepted }
    }

    /// Opens a connection that another server has made: its certificate has to be for the address that it comes from, or
    /// for a host of the ensemble that has this address.
    ///
    /// # Errors
    /// When the handshake fails or takes too long, or the certificate is for somebody else.
    pub(in crate::net) async fn accept(&self, socket: TcpStream, members: &Addresses) -> io::Result<Stream> {
        if matches!(self.gate, Gate::Plain) {
            return Ok(Stream::Plain(socket));
        }
        let from = socket.peer_addr()?;
        let opened = async {
            let stream = self.gate.open(socket).await?;
            if let Some(certificate) = stream.certificate().filter(|_| self.checks_accepted) {
                let ip = from.ip().to_canonical();
                if !names::is_for(certificate, &ip.to_string()) {
                    let hosts = members.hosts().into_iter().filter(|host| names::is_for(certificate, host));
                    if !has_any(ip, hosts).await {
                        return Err(elsewhere(ip));
                    }
                }
            }
            Ok(stream)
        };
        opened.await.inspect_err(|error| tracing::warn!(%from, %error, "a server's TLS connection came to nothing"))
    }

    /// Makes of a connection to another server what it should be. `addresses`, `host:port` each, are those that it was
    /// dialled at: the certificate has to be for one of the hosts, or for the address.
    ///
    /// # Errors
    /// When the handshake fails or takes too long, or the certificate is for somebody else.
    pub(in crate::net) async fn dial(&self, socket: TcpStream, addresses: &[String]) -> io::Result<Stream> {
        let Some(tls) = &self.dial else { return Ok(Stream::Plain(socket)) };
        let to = socket.peer_addr()?;
        let opened = async {
            let stream = in_time(tls.dial(socket)).await?;
            if let Some(certificate) = stream.certificate().filter(|_| self.checks_dialled) {
                let ip = to.ip().to_canonical();
                let hosts = addresses.iter().filter_map(|address| address.rsplit_once(':')).map(|(host, _)| host);
                if !names::is_for(certificate, &ip.to_string())
                    && !hosts.into_iter().any(|host| names::is_for(certificate, host))
                {
                    return Err(elsewhere(ip));
                }
            }
            Ok(stream)
        };
        opened.await.inspect_err(|error| tracing::warn!(%to, %error, "no TLS connection to a server"))
    }
}

async fn in_time(handshake: impl Future<Output = io::Result<Stream>>) -> io::Result<Stream> {
    match timeout(HANDSHAKE_MAX, handshake).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake takes too long")),
    }
}

/// Whether one of these hosts has this address.
async fn has_any(ip: IpAddr, hosts: impl Iterator<Item = String>) -> bool {
    for host in hosts {
        let host = host.trim_matches(['[', ']']);
        if let Ok(mut found) = lookup_host((host, 0)).await
            && found.any(|address| address.ip().to_canonical() == ip)
        {
            return true;
        }
    }
    false
}

fn elsewhere(ip: IpAddr) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("the certificate is not for {ip}, by none of its names"))
}
