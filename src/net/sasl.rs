//! The password that servers ask each other for (EN-40), on both of their ports: whoever has dialled shows it first.
//!
//! A server goes from none to required in three rounds: it takes a password from those that show one; then shows its own; then
//! takes nobody without.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::tls::Stream;
use crate::auth::sasl::{Nonce, Nonces, SaslError, ServerExchange, Service, Step, respond};
use crate::config::{Credentials, Users};
use crate::zab::{AUTH_HEAD_BYTES, AUTH_MAGIC, AuthPacket, AuthStatus};

/// What passwords this server takes and shows.
#[derive(Debug)]
pub struct Passwords {
    /// Whose there are.
    pub users: Users,
    /// `quorum.auth.serverRequireSasl`: whether nobody is taken without.
    pub required: bool,
    /// What is shown to those that are dialled; `None` without `quorum.auth.learnerRequireSasl`.
    pub own: Option<Credentials>,
    /// Where nonces come from.
    pub nonces: Nonces,
}

/// What is done with a connection between servers before it is used.
#[derive(Clone, Debug, Default)]
pub struct ServerSasl(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    passwords: Passwords,
    /// How many nonces there were.
    drawn: AtomicU64,
}

impl ServerSasl {
    /// `quorum.auth.enableSasl`.
    #[must_use]
    pub fn new(passwords: Passwords) -> Self {
        Self(Some(Arc::new(Shared { passwords, drawn: AtomicU64::new(0) })))
    }

    /// Takes the password of a server that has connected. What that has said instead comes back: it may be wanted.
    ///
    /// # Errors
    /// When a password is required, and not shown within `patience`, or wrong.
    pub(super) async fn accept(&self, stream: &mut Stream, patience: Duration) -> io::Result<Vec<u8>> {
        let Some(shared) = &self.0 else { return Ok(Vec::new()) };
        let Err(error) = in_time(patience, shared.judge(stream)).await else { return Ok(Vec::new()) };
        let from = stream.peer_address().ok();
        match error {
            _ if shared.passwords.required => {
                tracing::warn!(?from, %error, "a server shows no good password");
                Err(error.into())
            }
            Refusal::Nothing(said) => Ok(said),
            error => {
                tracing::warn!(?from, %error, "a server shows no good password, and is taken all the same");
                Ok(Vec::new())
            }
        }
    }

    /// Shows a server that was dialled this one's password.
    ///
    /// # Errors
    /// When it is not taken within `patience`, or by a server that does not know it itself.
    pub(super) async fn dial(&self, stream: &mut Stream, patience: Duration) -> io::Result<()> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let Some(own) = &shared.passwords.own else { return Ok(()) };
        let to = stream.peer_address().ok();
        in_time(patience, shared.show(own, stream)).await.map_err(|error| {
            tracing::warn!(?to, %error, "a server does not take this one's password");
            error.into()
        })
    }
}

impl Shared {
    /// The server's side, as often as the mechanism asks.
    async fn judge(&self, stream: &mut Stream) -> Result<(), Refusal> {
        let mut begin = [0; AUTH_MAGIC.len()];
        if stream.read_exact(&mut begin).await.is_err() {
            // Who only calls to be called back says nothing more.
            return Err(Refusal::Nothing(Vec::new()));
        }
        if begin != AUTH_MAGIC {
            return Err(Refusal::Nothing(begin.to_vec()));
        }
        let (_, mut token) = read_packet(stream, &begin).await?;
        let mut exchange = ServerExchange::default();
        loop {
            let step = exchange.step(Service::SERVERS, &self.passwords.users, &token, || self.nonce());
            match step {
                Ok(Step::Challenge(challenge)) => {
                    write_packet(stream, AuthStatus::InProgress, &challenge).await?;
                    token = read_packet(stream, &[]).await?.1;
                }
                Ok(Step::Done { user, acts_as, token }) if user == acts_as => {
                    return Ok(write_packet(stream, AuthStatus::Success, &token).await?);
                }
                other => {
                    write_packet(stream, AuthStatus::Error, b"").await?;
                    return Err(other.err().unwrap_or(SaslError::Authorization).into());
                }
            }
        }
    }

    /// The client's side.
    async fn show(&self, own: &Credentials, stream: &mut Stream) -> Result<(), Refusal> {
        write_packet(stream, AuthStatus::InProgress, b"").await?;
        let challenge = read_packet(stream, &[]).await?;
        let (response, expected) = match challenge {
            (AuthStatus::InProgress, challenge) => respond(Service::SERVERS, own, &challenge, &self.nonce())?,
            (AuthStatus::Success | AuthStatus::Error, _) => return Err(Refusal::Status),
        };
        write_packet(stream, AuthStatus::InProgress, &response).await?;
        match read_packet(stream, &[]).await? {
            (AuthStatus::Success, token) => Ok(expected.accept(&token)?),
            (AuthStatus::InProgress | AuthStatus::Error, _) => Err(Refusal::Status),
        }
    }

    fn nonce(&self) -> Nonce {
        self.passwords.nonces.nonce(self.drawn.fetch_add(1, Relaxed))
    }
}

/// Why an exchange has come to nothing.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it shows none")]
    Nothing(Vec<u8>),
    #[error("it refuses")]
    Status,
    #[error("a token that is null")]
    NoToken,
    #[error(transparent)]
    Sasl(#[from] SaslError),
    #[error(transparent)]
    Net(#[from] io::Error),
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Net(error) => error,
            refusal => Self::new(io::ErrorKind::PermissionDenied, refusal.to_string()),
        }
    }
}

async fn in_time<T>(patience: Duration, exchange: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    timeout(patience, exchange).await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// The next packet, of which `begin` was read already. What follows it stays in the socket.
async fn read_packet(stream: &mut Stream, begin: &[u8]) -> Result<(AuthStatus, Vec<u8>), Refusal> {
    let mut head = [0; AUTH_HEAD_BYTES];
    let (known, unknown) = head.split_at_mut(begin.len());
    known.copy_from_slice(begin);
    stream.read_exact(unknown).await?;
    let mut packet = head.to_vec();
    packet.resize(AuthPacket::length(&head).map_err(io::Error::other)?, 0);
    stream.read_exact(&mut packet[AUTH_HEAD_BYTES..]).await?;
    match AuthPacket::decode(&packet) {
        Ok((_, AuthPacket { status, token: Some(token) })) => Ok((status, token.to_vec())),
        Ok((_, AuthPacket { token: None, .. })) | Err(_) => Err(Refusal::NoToken),
    }
}

async fn write_packet(stream: &mut Stream, status: AuthStatus, token: &[u8]) -> io::Result<()> {
    let mut packet = Vec::with_capacity(AUTH_HEAD_BYTES + token.len());
    AuthPacket { status, token: Some(token) }.encode(&mut packet);
    stream.write_all(&packet).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests;
