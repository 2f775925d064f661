//! TLS as zoo.cfg sets it: what stands under `ssl.` for clients, and under `ssl.quorum.` for the other servers (CF-78).
//!
//! Names and numbers alone; `net::tls` reads the files.

use std::fmt;
use std::path::PathBuf;

use super::keys::{Expected, expected, file, flag, list, number};
use super::{Config, ConfigError, NoteLevel, Place, Setting};

/// How long a connection that may be plaintext may take to show what it is, ms (SC-12).
const DETECTION_MS: u64 = 5000;

/// The cipher suites that there are, as Java names them: those of TLS 1.3, then those of TLS 1.2.
pub const CIPHER_SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];
/// How many of them are of TLS 1.3.
const CIPHER_SUITES_1_3: usize = 3;

/// A password. It is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A file that a setting names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedFile {
    /// The file.
    pub path: PathBuf,
    /// The setting's key as written.
    pub key: String,
    /// Where the setting stands.
    pub place: Place,
}

/// What a file of keys or certificates is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreType {
    /// Java's own; a PKCS#12 file is read as well, as Java does.
    Jks,
    /// Text.
    Pem,
    /// PKCS#12; a JKS file is read as well.
    Pkcs12,
}

impl StoreType {
    /// By the name of the file (SC-02).
    #[must_use]
    pub fn of_file(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "jks" => Some(Self::Jks),
            "pem" => Some(Self::Pem),
            "p12" => Some(Self::Pkcs12),
            _ => None,
        }
    }
}

/// `keyStore.*` or `trustStore.*`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreConfig {
    /// `location`.
    pub location: Option<NamedFile>,
    /// `password`; empty is none.
    pub password: Secret,
    /// `passwordPath`: it is in this file instead.
    pub password_file: Option<NamedFile>,
    /// `type`; `None` is what the name of the file says.
    pub kind: Option<StoreType>,
}

/// `clientAuth`: whether those who connect have to show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked, and may have none.
    Want,
    /// They must.
    #[default]
    Need,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What stands under one prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSide {
    /// `keyStore.*`: this server's key and certificates.
    pub key_store: StoreConfig,
    /// `trustStore.*`: whom it believes.
    pub trust_store: StoreConfig,
    /// `protocol`.
    pub protocol: Option<TlsVersion>,
    /// `enabledProtocols`; `None` follows from `protocol`.
    pub enabled_protocols: Option<Vec<TlsVersion>>,
    /// `ciphersuites`, those of [`CIPHER_SUITES`]; `None` is all.
    pub cipher_suites: Option<Vec<String>>,
    /// `clientAuth`.
    pub client_auth: ClientAuth,
    /// `hostnameVerification`.
    pub verify_hosts: bool,
    /// `clientHostnameVerification`; `None` is no for clients, and yes for servers.
    pub verify_client_hosts: Option<bool>,
    /// `handshakeDetectionTimeoutMillis`.
    pub detection_ms: u64,
}

impl Default for TlsSide {
    fn default() -> Self {
        Self {
            key_store: StoreConfig::default(),
            trust_store: StoreConfig::default(),
            protocol: None,
            enabled_protocols: None,
            cipher_suites: None,
            client_auth: ClientAuth::Need,
            verify_hosts: true,
            verify_client_hosts: None,
            detection_ms: DETECTION_MS,
        }
    }
}

/// Everything about TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsConfig {
    /// `secureClientPort`.
    pub client_port: Option<u16>,
    /// `secureClientPortAddress`; `None` is all addresses.
    pub client_host: Option<String>,
    /// `client.portUnification`: the client port takes both kinds.
    pub client_unification: bool,
    /// `client.certReload`.
    pub client_reload: bool,
    /// `ssl.*`.
    pub client: TlsSide,
    /// `sslQuorum`: this server dials others with TLS.
    pub quorum: bool,
    /// `portUnification`: the ports for servers take both kinds.
    pub quorum_unification: bool,
    /// `sslQuorumReloadCertFiles`.
    pub quorum_reload: bool,
    /// `ssl.quorum.*`.
    pub quorum_side: TlsSide,
    /// `fips-mode`: as in the reference, names of servers are not looked at while it is on (SC-13).
    pub fips: bool,
    /// Whether `authProvider.N` names the x509 provider.
    pub x509_provider: bool,
    /// `X509AuthenticationProvider.superUser`.
    pub x509_super: Option<String>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            client_port: None,
            client_host: None,
            client_unification: false,
            client_reload: false,
            client: TlsSide::default(),
            quorum: false,
            quorum_unification: false,
            quorum_reload: false,
            quorum_side: TlsSide::default(),
            fips: true,
            x509_provider: false,
            x509_super: None,
        }
    }
}

impl TlsConfig {
    /// Whether clients can come with TLS.
    #[must_use]
    pub const fn serves_clients(&self) -> bool {
        self.client_port.is_some() || self.client_unification
    }

    /// Whether servers can come with TLS.
    #[must_use]
    pub const fn serves_servers(&self) -> bool {
        self.quorum || self.quorum_unification
    }

    /// Whether the scheme x509 counts in ACLs: with any way for clients to show a certificate, or when it is asked for (SC-07).
    #[must_use]
    pub const fn knows_x509(&self) -> bool {
        self.serves_clients() || self.x509_provider
    }

    /// What does not go together.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.client_host.is_some() && self.client_port.is_none() {
            return Err("secureClientPortAddress is set but secureClientPort is not".to_owned());
        }
        if self.serves_clients() {
            let why = if self.client_port.is_some() { "secureClientPort" } else { "client.portUnification" };
            self.client.check(why, "ssl.", self.client.client_auth != ClientAuth::None)?;
        }
        if self.serves_servers() {
            let why = if self.quorum { "sslQuorum" } else { "portUnification" };
            self.quorum_side.check(why, "ssl.quorum.", true)?;
        }
        Ok(())
    }

    /// Whether the names of other servers are not looked at although nothing was said about them.
    pub(super) fn leaves_names_unchecked(&self) -> bool {
        self.serves_servers() && self.fips && self.quorum_side.verify_hosts
    }
}

impl TlsSide {
    /// Which versions there are. On the port for clients the reference has the one that `protocol` names; between servers, that
    /// one and those before it (SC-04). Where nothing is said it has 1.3 for clients, or 1.2 (3.8); here both are taken.
    #[must_use]
    pub fn versions(&self, older_too: bool) -> Vec<TlsVersion> {
        match &self.enabled_protocols {
            Some(enabled) => enabled.clone(),
            None => match self.protocol {
                Some(version) if version == TlsVersion::V1_2 || !older_too => vec![version],
                Some(_) | None => vec![TlsVersion::V1_3, TlsVersion::V1_2],
            },
        }
    }

    pub(super) fn check(&self, why: &str, prefix: &str, trusts: bool) -> Result<(), String> {
        if self.key_store.location.is_none() {
            return Err(format!("{why} needs {prefix}keyStore.location: this server's key and certificates"));
        }
        if trusts && self.trust_store.location.is_none() {
            let unless = if prefix == "ssl." { ", or ssl.clientAuth=none" } else { "" };
            return Err(format!("{why} needs {prefix}trustStore.location: the certificates it believes{unless}"));
        }
        let versions = self.versions(prefix != "ssl.");
        let suits = |name: &String| {
            let of_1_3 = CIPHER_SUITES[..CIPHER_SUITES_1_3].contains(&name.as_str());
            versions.contains(if of_1_3 { &TlsVersion::V1_3 } else { &TlsVersion::V1_2 })
        };
        match &self.cipher_suites {
            Some(suites) if !suites.iter().any(suits) => {
                Err(format!("{prefix}ciphersuites has none for the enabled protocols"))
            }
            _ => Ok(()),
        }
    }
}

/// Puts a setting where it belongs; `None`: it is not about TLS.
pub(super) fn apply(config: &mut Config, setting: &Setting) -> Option<Result<(), ConfigError>> {
    let (key, value) = (setting.name(), setting.value.as_str());
    let tls = &mut config.tls;
    let mut note = None;
    let applied = match key {
        "secureClientPort" => number(value, 0..=65_535).map(|v| tls.client_port = Some(v)),
        "secureClientPortAddress" => {
            super::keys::host(value).map(|v| tls.client_host = Some(v.unwrap_or_else(|| "0.0.0.0".to_owned())))
        }
        "client.portUnification" => flag(value).map(|v| tls.client_unification = v),
        "client.certReload" => flag(value).map(|v| tls.client_reload = v),
        "sslQuorum" => flag(value).map(|v| tls.quorum = v),
        "portUnification" => flag(value).map(|v| tls.quorum_unification = v),
        "sslQuorumReloadCertFiles" => flag(value).map(|v| tls.quorum_reload = v),
        "fips-mode" => flag(value).map(|v| tls.fips = v),
        "X509AuthenticationProvider.superUser" => {
            tls.x509_super = Some(value.to_owned());
            Ok(())
        }
        _ => {
            let (side, name) = match key.strip_prefix("ssl.quorum.") {
                Some(name) => (&mut tls.quorum_side, name),
                None => (&mut tls.client, key.strip_prefix("ssl.")?),
            };
            side.set(name, setting, &mut note)?
        }
    };
    if let Some(text) = note {
        config.note(NoteLevel::Warning, format!("{}: {}: {text}", setting.place, setting.key));
    }
    Some(applied.map_err(|Expected(expected)| setting.refuse(expected)))
}

impl TlsSide {
    fn set(&mut self, name: &str, setting: &Setting, note: &mut Option<String>) -> Option<Result<(), Expected>> {
        if let Some(name) = name.strip_prefix("keyStore.") {
            return self.key_store.set(name, setting);
        }
        if let Some(name) = name.strip_prefix("trustStore.") {
            return self.trust_store.set(name, setting);
        }
        let value = setting.value.as_str();
        let done = match name {
            "protocol" => versions(&[value.to_owned()], note).map(|v| self.protocol = v.into_iter().max()),
            "enabledProtocols" => versions(&list(value), note).map(|v| self.enabled_protocols = Some(v)),
            "ciphersuites" => cipher_suites(&list(value), note).map(|v| self.cipher_suites = Some(v)),
            "clientAuth" => client_auth(value).map(|v| self.client_auth = v),
            "hostnameVerification" => flag(value).map(|v| self.verify_hosts = v),
            "clientHostnameVerification" => flag(value).map(|v| self.verify_client_hosts = Some(v)),
            "allowReverseDnsLookup" => flag(value).map(|v| {
                if v {
                    *note = Some("has no effect: zkd asks for the addresses of names alone".to_owned());
                }
            }),
            "handshakeDetectionTimeoutMillis" => {
                number(value, i64::from(i32::MIN)..=i64::from(i32::MAX)).map(|v: i64| {
                    // As in the reference, no time at all is the usual time.
                    self.detection_ms = u64::try_from(v).ok().filter(|ms| *ms > 0).unwrap_or(DETECTION_MS);
                })
            }
            "crl" | "ocsp" => match flag(value) {
                Ok(true) => expected("false: zkd does not ask whether certificates were revoked"),
                other => other.map(|_| ()),
            },
            "authProvider" if value == "x509" => Ok(()),
            "authProvider" => expected("x509; zkd does not run classes of Java"),
            "context.supplier.class" | "sslProvider" => {
                *note = Some("has no effect here: it is about Java".to_owned());
                Ok(())
            }
            _ => return None,
        };
        Some(done)
    }
}

impl StoreConfig {
    fn set(&mut self, name: &str, setting: &Setting) -> Option<Result<(), Expected>> {
        let value = setting.value.as_str();
        let named = || {
            let (key, place) = (setting.key.clone(), setting.place.clone());
            file(value).map(|path| Some(NamedFile { path, key, place }))
        };
        let done = match name {
            "location" => named().and_then(|location| {
                self.location = location;
                refuse_bcfks(value.ends_with(".bcfks"))
            }),
            "password" => {
                self.password = Secret(value.to_owned());
                Ok(())
            }
            "passwordPath" => named().map(|path| self.password_file = path),
            "type" => store_type(value).map(|kind| self.kind = kind),
            _ => return None,
        };
        Some(done)
    }
}

fn store_type(text: &str) -> Result<Option<StoreType>, Expected> {
    match text.to_ascii_uppercase().as_str() {
        "" => Ok(None),
        "JKS" => Ok(Some(StoreType::Jks)),
        "PEM" => Ok(Some(StoreType::Pem)),
        "PKCS12" => Ok(Some(StoreType::Pkcs12)),
        other => refuse_bcfks(other == "BCFKS").and_then(|()| expected("JKS, PEM or PKCS12")),
    }
}

fn refuse_bcfks(is_bcfks: bool) -> Result<(), Expected> {
    if is_bcfks {
        return expected(
            "JKS, PEM or PKCS12: zkd does not read BCFKS; keytool -importkeystore makes the one of the other",
        );
    }
    Ok(())
}

fn client_auth(text: &str) -> Result<ClientAuth, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "" | "need" => Ok(ClientAuth::Need),
        "want" => Ok(ClientAuth::Want),
        "none" => Ok(ClientAuth::None),
        _ => expected("none, want or need"),
    }
}

/// Versions by the names that Java has for them. Those that are too old are left out, with a word.
fn versions(names: &[String], note: &mut Option<String>) -> Result<Vec<TlsVersion>, Expected> {
    let mut versions = Vec::new();
    for name in names {
        match name.as_str() {
            "TLSv1.3" => versions.push(TlsVersion::V1_3),
            "TLSv1.2" => versions.push(TlsVersion::V1_2),
            "TLS" | "Default" => versions.extend([TlsVersion::V1_3, TlsVersion::V1_2]),
            "SSL" | "SSLv2" | "SSLv2Hello" | "SSLv3" | "TLSv1" | "TLSv1.1" => {
                *note = Some(format!("{name} is not offered: it is broken"));
            }
            _ => return expected("TLSv1.3 or TLSv1.2"),
        }
    }
    if versions.is_empty() { expected("TLSv1.3 or TLSv1.2 at least") } else { Ok(versions) }
}

/// Suites by the names that Java has for them. Those that there are not are left out, with a word.
fn cipher_suites(names: &[String], note: &mut Option<String>) -> Result<Vec<String>, Expected> {
    let (known, others): (Vec<_>, Vec<_>) =
        names.iter().cloned().partition(|name| CIPHER_SUITES.contains(&name.as_str()));
    if let Some(nonsense) = others.iter().find(|name| !name.starts_with("TLS_") && !name.starts_with("SSL_")) {
        return expected(&format!("names of cipher suites, and not {nonsense}"));
    }
    if known.is_empty() {
        return expected(&format!("one of {} at least", CIPHER_SUITES.join(", ")));
    }
    if !others.is_empty() {
        *note =
            Some(format!("not offered: {}: only suites with GCM or ChaCha20 and fresh keys are", others.join(", ")));
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Result<Config, String> {
        let text = format!("dataDir=/d\n{lines}");
        Config::parse("zoo.cfg", &text, &[]).map_err(|error| error.to_string())
    }

    const STORES: &str = "ssl.keyStore.location=/k.jks\nssl.keyStore.password=hush\nssl.trustStore.location=/t.pem\n";

    #[test]
    fn both_prefixes_and_both_spellings_are_read() {
        let text = format!(
            "{STORES}secureClientPort=2281\nzookeeper.ssl.quorum.clientAuth=WANT\nssl.quorum.keyStore.type=pem"
        );
        let tls = parse(&text).unwrap().tls;
        assert_eq!((tls.client_port, tls.client.client_auth), (Some(2281), ClientAuth::Need));
        assert_eq!(
            (tls.quorum_side.client_auth, tls.quorum_side.key_store.kind),
            (ClientAuth::Want, Some(StoreType::Pem))
        );
        let store = tls.client.key_store.location.unwrap();
        assert_eq!((store.key.as_str(), store.place.to_string()), ("ssl.keyStore.location", "zoo.cfg:2".to_owned()));
        assert_eq!(tls.client.key_store.password, Secret("hush".to_owned()));
    }

    #[test]
    fn passwords_are_not_shown() {
        let config = parse(&format!("{STORES}secureClientPort=2281")).unwrap();
        assert!(!format!("{:?}", config.tls).contains("hush"));
    }

    #[test]
    fn what_is_missing_is_told() {
        let needs = |text: &str| parse(text).unwrap_err();
        assert!(needs("secureClientPort=2281").contains("secureClientPort needs ssl.keyStore.location"));
        let without_trust = "secureClientPort=2281\nssl.keyStore.location=/k.p12";
        assert!(needs(without_trust).contains("needs ssl.trustStore.location"));
        assert!(parse(&format!("{without_trust}\nssl.clientAuth=none")).is_ok());
        assert!(needs("sslQuorum=true").contains("sslQuorum needs ssl.quorum.keyStore.location"));
        assert!(needs("secureClientPortAddress=127.0.0.1").contains("secureClientPort is not"));
        assert_eq!(
            needs("ssl.keyStore.location=/k.bcfks"),
            "zoo.cfg:2: ssl.keyStore.location=/k.bcfks: expected JKS, PEM or PKCS12: zkd does not read BCFKS; keytool \
             -importkeystore makes the one of the other"
        );
        assert!(needs("ssl.trustStore.type=BCFKS").contains("does not read BCFKS"));
        assert!(needs("ssl.crl=true").contains("revoked"));
    }

    #[test]
    fn javas_names_of_suites_and_versions_are_known() {
        let mut note = None;
        let names = ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"].map(str::to_owned);
        assert_eq!(cipher_suites(&names, &mut note).ok(), Some(vec!["TLS_AES_128_GCM_SHA256".to_owned()]));
        assert!(note.take().unwrap().contains("_CBC_"));
        assert!(cipher_suites(&names[1..], &mut note).is_err());
        assert!(cipher_suites(&["AES".to_owned()], &mut note).is_err());
        let two = versions(&["TLSv1.2".to_owned(), "TLSv1.1".to_owned()], &mut note);
        assert_eq!(two.ok(), Some(vec![TlsVersion::V1_2]));
        assert!(note.unwrap().contains("TLSv1.1"));
        let side = TlsSide::default();
        assert_eq!((side.versions(false).len(), side.versions(true).len()), (2, 2));
        let side = TlsSide { protocol: Some(TlsVersion::V1_3), ..side };
        assert_eq!((side.versions(false).len(), side.versions(true).len()), (1, 2));
        let ciphers = "ssl.ciphersuites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        let text = format!("{STORES}secureClientPort=1\nssl.protocol=TLSv1.3\n{ciphers}");
        assert!(parse(&text).unwrap_err().contains("none for the enabled protocols"));
    }
}
