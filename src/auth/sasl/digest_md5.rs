//! The mechanism itself (RFC 2831): a challenge, a response that shows that a password is known, and an answer that shows the
//! same of the server. Each side is a value without I/O and chance; nonces come in.
//!
//! ```text
//! client                                             server
//!   any token ───────────────────────────────────────► ServerExchange::Initial
//!   respond ◄──────────────── realm, nonce ─────────── Challenged
//!   expects ── username, nonce, cnonce, response ────► Over: who it is
//!   accept  ◄──────────────── rspauth ────────────────
//! ```

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::SaslError;
use super::directives::{Directives, push_quoted};
use crate::config::{Credentials, Users};

/// The longest response that is looked at, bytes: as with Java.
const RESPONSE_BYTES_MAX: usize = 4096;
/// The longest challenge that is looked at, bytes: as with Java.
const CHALLENGE_BYTES_MAX: usize = 2048;
/// Each nonce is used once.
const NONCE_COUNT: &str = "00000001";
/// Who one is, and nothing about what follows.
const QOP: &str = "auth";
const CHARSET: &str = "utf-8";
const ALGORITHM: &str = "md5-sess";
/// Chance in a nonce, bytes: a multiple of three, as in Java.
const NONCE_BYTES: usize = 30;

/// What is asked for a password: both go into the digest, and the name is the realm as well.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The protocol.
    pub protocol: &'static str,
    /// The name that stands for every server.
    pub name: &'static str,
}

impl Service {
    /// The client port (client-protocol.md 9.2).
    pub const CLIENTS: Self = Self { protocol: "zookeeper", name: "zk-sasl-md5" };
    /// The ports for other servers (election.md 7).
    pub const SERVERS: Self = Self { protocol: "zookeeper-quorum", name: "zk-quorum-sasl-md5" };

    fn uri(self) -> String {
        format!("{}/{}", self.protocol, self.name)
    }
}

/// Something that nobody could know before: 40 letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nonce(Box<str>);

/// Where nonces come from: a secret that is drawn once, and numbers that are used once.
#[derive(Clone)]
pub struct Nonces([u8; 32]);

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces")
    }
}

impl Nonces {
    /// From a secret of the process.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The nonce of this number.
    #[must_use]
    pub fn nonce(&self, number: u64) -> Nonce {
        let hash = Sha256::new().chain_update(self.0).chain_update(number.to_be_bytes()).finalize();
        Nonce(BASE64_STANDARD.encode(&hash[..NONCE_BYTES]).into())
    }
}

/// The server's side of one exchange.
#[derive(Debug, Default)]
pub enum ServerExchange {
    /// Nobody has asked.
    #[default]
    Initial,
    /// A challenge is out.
    Challenged(Nonce),
    /// It has succeeded or failed; there is no second one.
    Over,
}

/// What the server says next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A challenge.
    Challenge(Vec<u8>),
    /// Nothing more is wanted.
    Done {
        /// Whose password it was.
        user: String,
        /// Who they want to be.
        acts_as: String,
        /// The last token, `rspauth=…`.
        token: Vec<u8>,
    },
}

impl ServerExchange {
    /// Takes the client's next token. The first one is for asking, whatever is in it. `nonce` is for the challenge.
    ///
    /// # Errors
    /// See [`SaslError`]. The exchange is over then, unless the token was too long to be looked at.
    pub fn step(
        &mut self,
        service: Service,
        users: &Users,
        token: &[u8],
        nonce: impl FnOnce() -> Nonce,
    ) -> Result<Step, SaslError> {
        if token.len() > RESPONSE_BYTES_MAX {
            return Err(SaslError::Long(token.len()));
        }
        match std::mem::replace(self, Self::Over) {
            Self::Initial => {
                let nonce = nonce();
                let mut challenge = Vec::with_capacity(128);
                push_quoted(&mut challenge, "realm", service.name.as_bytes());
                challenge.push(b',');
                push_quoted(&mut challenge, "nonce", nonce.0.as_bytes());
                challenge.extend_from_slice(format!(",charset={CHARSET},algorithm={ALGORITHM}").as_bytes());
                *self = Self::Challenged(nonce);
                Ok(Step::Challenge(challenge))
            }
            Self::Challenged(nonce) => judge(service, users, &nonce, token),
            Self::Over => Err(SaslError::Over),
        }
    }
}

/// Whether a response is right. Like Java this takes any `nc`, `cipher` and whatever else nothing depends on.
fn judge(service: Service, users: &Users, nonce: &Nonce, response: &[u8]) -> Result<Step, SaslError> {
    let said = Directives::parse(response)?;
    if said.one("charset")?.is_some_and(|charset| charset != CHARSET.as_bytes()) {
        return Err(SaslError::Wrong("charset"));
    }
    let is_number = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| text.parse::<i32>().is_ok());
    if said.one("maxbuf")?.is_some_and(|bytes| !is_number(bytes)) {
        return Err(SaslError::Wrong("maxbuf"));
    }
    let user = String::from_utf8_lossy(said.required("username")?).into_owned();
    must_be(&said, "realm", service.name.as_bytes())?;
    must_be(&said, "nonce", nonce.0.as_bytes())?;
    if said.one("qop")?.is_some_and(|qop| qop != QOP.as_bytes()) {
        return Err(SaslError::Wrong("qop"));
    }
    let uri = said.required("digest-uri")?;
    if !uri.eq_ignore_ascii_case(service.uri().as_bytes()) {
        return Err(SaslError::Wrong("digest-uri"));
    }
    let authzid = said.one("authzid")?;
    let password = users.get(&user).ok_or(SaslError::Password)?;
    let claim = Claim {
        user: &user,
        realm: service.name,
        nonce: nonce.0.as_bytes(),
        cnonce: said.required("cnonce")?,
        uri,
        authzid,
    };
    let key = claim.key(&password.0);
    if !is_same(said.required("response")?, claim.response(&key, "AUTHENTICATE").as_bytes()) {
        return Err(SaslError::Password);
    }
    let acts_as = authzid.map_or_else(|| user.clone(), |authzid| String::from_utf8_lossy(authzid).into_owned());
    let token = format!("rspauth={}", claim.response(&key, "")).into_bytes();
    Ok(Step::Done { user, acts_as, token })
}

fn must_be(said: &Directives<'_>, name: &'static str, wanted: &[u8]) -> Result<(), SaslError> {
    if said.required(name)? == wanted { Ok(()) } else { Err(SaslError::Wrong(name)) }
}

/// Compares in a time that tells nothing.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// What a client has to hear from a server that knows its password.
#[derive(Debug)]
pub struct Expected(String);

/// A client's response to a challenge, byte by byte that of Java; and what to expect then.
///
/// # Errors
/// See [`SaslError`].
pub fn respond(
    service: Service,
    credentials: &Credentials,
    challenge: &[u8],
    cnonce: &Nonce,
) -> Result<(Vec<u8>, Expected), SaslError> {
    if challenge.len() > CHALLENGE_BYTES_MAX {
        return Err(SaslError::Long(challenge.len()));
    }
    let said = Directives::parse(challenge)?;
    must_be(&said, "charset", CHARSET.as_bytes())?;
    must_be(&said, "algorithm", ALGORITHM.as_bytes())?;
    must_be(&said, "realm", service.name.as_bytes())?;
    let offers = |qop: &[u8]| qop.split(|byte| *byte == b',').any(|one| one.trim_ascii() == QOP.as_bytes());
    if said.one("qop")?.is_some_and(|qop| !offers(qop)) {
        return Err(SaslError::Wrong("qop"));
    }
    let (user, uri) = (credentials.user.as_str(), service.uri());
    let claim = Claim {
        user,
        realm: service.name,
        nonce: said.required("nonce")?,
        cnonce: cnonce.0.as_bytes(),
        uri: uri.as_bytes(),
        authzid: Some(user.as_bytes()),
    };
    let key = claim.key(&credentials.password.0);
    let mut out = format!("charset={CHARSET},").into_bytes();
    push_quoted(&mut out, "username", user.as_bytes());
    out.push(b',');
    push_quoted(&mut out, "realm", claim.realm.as_bytes());
    out.push(b',');
    push_quoted(&mut out, "nonce", claim.nonce);
    out.extend_from_slice(format!(",nc={NONCE_COUNT},").as_bytes());
    push_quoted(&mut out, "cnonce", claim.cnonce);
    out.push(b',');
    push_quoted(&mut out, "digest-uri", claim.uri);
    let response = claim.response(&key, "AUTHENTICATE");
    out.extend_from_slice(format!(",maxbuf=65536,response={response},qop={QOP},").as_bytes());
    push_quoted(&mut out, "authzid", user.as_bytes());
    Ok((out, Expected(claim.response(&key, ""))))
}

impl Expected {
    /// Whether the server's last token is that of a server that knows the password.
    ///
    /// # Errors
    /// See [`SaslError`].
    pub fn accept(&self, token: &[u8]) -> Result<(), SaslError> {
        if token.len() > CHALLENGE_BYTES_MAX {
            return Err(SaslError::Long(token.len()));
        }
        let said = Directives::parse(token)?;
        if is_same(said.required("rspauth")?, self.0.as_bytes()) { Ok(()) } else { Err(SaslError::Password) }
    }
}

/// What both sides know of an exchange, but for the password.
struct Claim<'a> {
    user: &'a str,
    realm: &'a str,
    nonce: &'a [u8],
    cnonce: &'a [u8],
    uri: &'a [u8],
    authzid: Option<&'a [u8]>,
}

impl Claim<'_> {
    /// HEX(H(A1)) of the RFC.
    fn key(&self, password: &str) -> String {
        let user = hash(&[&latin_1(self.user), b":", &latin_1(self.realm), b":", &latin_1(password)]);
        let authzid = self.authzid.map_or(&[][..], |_| b":");
        hex(&hash(&[&user, b":", self.nonce, b":", self.cnonce, authzid, self.authzid.unwrap_or_default()]))
    }

    /// The response-value; `method` is empty in the server's answer.
    fn response(&self, key: &str, method: &str) -> String {
        let asked = hex(&hash(&[method.as_bytes(), b":", self.uri]));
        let count = format!(":{NONCE_COUNT}:");
        let behind = format!(":{QOP}:{asked}");
        hex(&hash(&[key.as_bytes(), b":", self.nonce, count.as_bytes(), self.cnonce, behind.as_bytes()]))
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 16] {
    parts.iter().fold(Md5::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

fn hex(hash: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*hash))
}

/// Names and passwords go into the digest in ISO 8859-1 if they have no other letters, and in UTF-8 if they do.
fn latin_1(text: &str) -> Vec<u8> {
    let letters: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(letter).ok()).collect();
    letters.unwrap_or_else(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests;
