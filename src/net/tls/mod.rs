//! TLS: the one place that knows which library does it. Keys and certificates become what a handshake is made with, and are
//! read again when their files change; a socket becomes a [`Stream`].

mod gates;
mod jks;
mod names;
mod stores;
mod stream;
mod verify;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCertUsingSni};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use gates::{Gate, Security};
pub use stream::Stream;
pub(super) use stream::{ReadSide, WriteSide};

use self::verify::Trust;
use crate::config::{ClientAuth, NamedFile, TlsSide, TlsVersion};

/// How often the files are looked at (SC-10).
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be used.
    #[error("{}: {}={}: {reason}", .file.place, .file.key, .file.path.display())]
    File {
        /// Which, and the setting that names it.
        file: Box<NamedFile>,
        /// Why not.
        reason: String,
    },
    /// A store that no setting names: the configuration was not checked.
    #[error("no store is set")]
    Missing,
}

impl TlsError {
    fn new(file: &NamedFile, reason: String) -> Self {
        Self::File { file: Box::new(file.clone()), reason }
    }
}

/// One set of keys and certificates, and the rules for handshakes with them.
#[derive(Debug)]
pub struct Tls {
    side: TlsSide,
    purpose: Purpose,
    current: RwLock<Configs>,
    /// What the files looked like when they were read.
    seen: Mutex<Vec<Option<Look>>>,
}

/// Whose connections these are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// Clients'.
    Clients,
    /// Other servers', which are also dialled.
    Servers,
    /// Those of whoever asks the admin server.
    Admin,
    /// This host's own, to the server's port for clients.
    OwnClient,
}

/// What is made of the files.
#[derive(Clone, Debug)]
struct Configs {
    accept: Arc<ServerConfig>,
    dial: Option<Arc<ClientConfig>>,
    trust: Option<Arc<Trust>>,
}

/// What tells that a file has changed: when, how long it is, and which it is where links are turned.
type Look = (SystemTime, u64, PathBuf);

impl Tls {
    /// For clients: `ssl.*`.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn for_clients(side: &TlsSide) -> Result<Self, TlsError> {
        Self::load(side, Purpose::Clients)
    }

    /// For other servers: `ssl.quorum.*`.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn for_servers(side: &TlsSide) -> Result<Self, TlsError> {
        Self::load(side, Purpose::Servers)
    }

    /// For the admin server: `ssl.quorum.*`, and whether it asks for certificates.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn for_admin(side: &TlsSide, needs_certificates: bool) -> Result<Self, TlsError> {
        let client_auth = if needs_certificates { ClientAuth::Need } else { ClientAuth::None };
        Self::load(&TlsSide { client_auth, ..side.clone() }, Purpose::Admin)
    }

    /// For whoever runs the server and asks it something at its port for clients, with the server's own certificate: `ssl.*`.
    /// Nobody has to believe in it: the certificate that the server shows may be the very same. Without a key store nothing
    /// is shown to the server.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn for_own_clients_port(side: &TlsSide) -> Result<Self, TlsError> {
        Self::load(side, Purpose::OwnClient)
    }

    fn load(side: &TlsSide, purpose: Purpose) -> Result<Self, TlsError> {
        let seen = Mutex::new(look_at(side));
        let current = RwLock::new(configs(side, purpose)?);
        Ok(Self { side: side.clone(), purpose, current, seen })
    }

    /// Reads the files again if they have changed. New handshakes are made with what they say; as long as they make no
    /// sense, with what they said before.
    pub fn reload(&self) {
        let look = look_at(&self.side);
        let mut seen = self.seen.lock();
        if *seen == look {
            return;
        }
        *seen = look;
        match configs(&self.side, self.purpose) {
            Ok(configs) => {
                *self.current.write() = configs;
                tracing::info!(purpose = ?self.purpose, "keys and certificates read again");
            }
            Err(error) => tracing::warn!(%error, "the changed keys or certificates are not used"),
        }
    }

    /// Reads the files of all these again whenever they change, for as long as the process runs.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn keep_reloading(all: Vec<Arc<Self>>) -> io::Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        let work = move || {
            loop {
                thread::sleep(RELOAD_INTERVAL);
                all.iter().for_each(|tls| tls.reload());
            }
        };
        thread::Builder::new().name("certificates".to_owned()).spawn(work).map(drop)
    }

    /// The subject of the certificate that somebody has shown, if it is believed here too, whoever has made the handshake.
    #[must_use]
    pub fn vouches_for(&self, stream: &Stream) -> Option<String> {
        let trust = self.current.read().trust.clone()?;
        let (certificate, others) = stream.certificates().split_first()?;
        trust.verify_client_cert(certificate, others, UnixTime::now()).ok()?;
        names::subject(certificate)
    }

    /// The handshake with somebody who has connected.
    async fn accept(&self, socket: TcpStream) -> io::Result<Stream> {
        let config = Arc::clone(&self.current.read().accept);
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    /// The handshake with a server that was dialled.
    ///
    /// # Errors
    /// When it fails, or these keys are not for dialling.
    pub async fn dial(&self, socket: TcpStream) -> io::Result<Stream> {
        let config = self.current.read().dial.clone();
        let config = config.ok_or_else(|| io::Error::other("these keys are not for dialling"))?;
        // Names are looked at afterwards: a server may have several, and its address counts as well.
        let name = ServerName::IpAddress(socket.peer_addr()?.ip().into());
        let stream = TlsConnector::from(config).connect(name, socket).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

fn configs(side: &TlsSide, purpose: Purpose) -> Result<Configs, TlsError> {
    let (dials, between_servers) =
        (matches!(purpose, Purpose::Servers | Purpose::OwnClient), purpose == Purpose::Servers);
    let shows_none = purpose == Purpose::OwnClient && side.key_store.location.is_none();
    let key_file = if shows_none { &side.trust_store.location } else { &side.key_store.location };
    let key_file = key_file.as_ref().ok_or(TlsError::Missing)?;
    let fail =
        |error: rustls::Error| TlsError::new(key_file, format!("expected a key that fits its certificate: {error}"));
    let identity = if shows_none { None } else { Some(stores::read_key_store(&side.key_store)?) };
    let provider = Arc::new(provider(side));
    let versions = versions(&side.versions(matches!(purpose, Purpose::Servers | Purpose::Admin)));
    let asks = side.client_auth != ClientAuth::None;
    let trust = if asks || dials {
        let own = identity.as_ref().filter(|_| purpose == Purpose::OwnClient);
        let own = own.map_or(&[][..], |(_, chain)| chain.as_slice());
        let (trust_file, mut certificates) = match side.trust_store.location.as_ref() {
            Some(file) => (file, stores::read_trust_store(&side.trust_store)?),
            None if !own.is_empty() => (key_file, Vec::new()),
            None => return Err(TlsError::Missing),
        };
        certificates.extend_from_slice(own);
        let trust = Trust::new(certificates, side.client_auth == ClientAuth::Need, &provider);
        Some(Arc::new(trust.map_err(|reason| TlsError::new(trust_file, reason))?))
    } else {
        None
    };
    let server =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions).map_err(fail)?;
    let server = match &trust {
        Some(trust) if asks => server.with_client_cert_verifier(Arc::clone(trust) as _),
        _ => server.with_no_client_auth(),
    };
    let mut accept = match &identity {
        Some((key, chain)) => server.with_single_cert(chain.clone(), key.clone_key()).map_err(fail)?,
        None => server.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new())),
    };
    if between_servers {
        // Few connections that last: each shows its certificate.
        accept.session_storage = Arc::new(NoServerSessionStorage {});
        accept.send_tls13_tickets = 0;
    }
    let dial = match &trust {
        Some(trust) if dials => {
            let client =
                ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).map_err(fail)?;
            let client = client.dangerous().with_custom_certificate_verifier(Arc::clone(trust) as _);
            let mut client = match identity {
                Some((key, chain)) => client.with_client_auth_cert(chain, key).map_err(fail)?,
                None => client.with_no_client_auth(),
            };
            client.enable_sni = false;
            client.resumption = Resumption::disabled();
            Some(Arc::new(client))
        }
        _ => None,
    };
    Ok(Configs { accept: Arc::new(accept), dial, trust })
}

/// What there is of cryptography, without the suites that are not wanted.
fn provider(side: &TlsSide) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(wanted) = &side.cipher_suites {
        provider.cipher_suites.retain(|suite| wanted.contains(&java_name(suite.suite())));
    }
    provider
}

/// The name that Java has for a suite: those of TLS 1.3 are not named after their version there.
fn java_name(suite: rustls::CipherSuite) -> String {
    format!("{suite:?}").replace("TLS13_", "TLS_")
}

fn versions(wanted: &[TlsVersion]) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::V1_3, &rustls::version::TLS13), (TlsVersion::V1_2, &rustls::version::TLS12)];
    all.into_iter().filter(|(version, _)| wanted.contains(version)).map(|(_, version)| version).collect()
}

fn look_at(side: &TlsSide) -> Vec<Option<Look>> {
    let stores = [&side.key_store, &side.trust_store];
    let files = stores.into_iter().flat_map(|store| [&store.location, &store.password_file]).flatten();
    let look = |file: &NamedFile| {
        let path = fs::canonicalize(&file.path).ok()?;
        let data = fs::metadata(&path).ok()?;
        Some((data.modified().ok()?, data.len(), path))
    };
    files.map(look).collect()
}

#[cfg(test)]
mod tests;
