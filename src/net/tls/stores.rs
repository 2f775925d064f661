//! Reading stores: a file of keys and certificates in one of the formats that the reference reads (SC-02, SC-03).

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use super::jks;
use crate::config::{NamedFile, StoreConfig, StoreType};

/// What a file holds.
#[derive(Default)]
pub(super) struct Store {
    /// The first key, and the certificates that go with it.
    pub(super) key: Option<(Vec<u8>, Vec<Vec<u8>>)>,
    /// The certificates that are believed.
    pub(super) trusted: Vec<Vec<u8>>,
}

/// This server's key and its certificates.
pub(super) type Identity = (PrivateKeyDer<'static>, Vec<CertificateDer<'static>>);

/// Reads a key store.
///
/// # Errors
/// See [`TlsError`].
pub(super) fn read_key_store(config: &StoreConfig) -> Result<Identity, TlsError> {
    let (location, store) = read(config)?;
    let fail = |reason: &str| TlsError::new(location, reason.to_owned());
    let (key, chain) =
        store.key.ok_or_else(|| fail("expected a private key with its certificates, and there is none"))?;
    if chain.is_empty() {
        return Err(fail("expected the certificates of the key as well, and there are none"));
    }
    let key = PrivateKeyDer::try_from(key).map_err(|_| fail("the key is of no known kind"))?;
    Ok((key, chain.into_iter().map(CertificateDer::from).collect()))
}

/// Reads a trust store.
///
/// # Errors
/// See [`TlsError`].
pub(super) fn read_trust_store(config: &StoreConfig) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (location, store) = read(config)?;
    if store.trusted.is_empty() {
        let reason = "expected certificates that are believed, and there are none";
        return Err(TlsError::new(location, reason.to_owned()));
    }
    Ok(store.trusted.into_iter().map(CertificateDer::from).collect())
}

fn read(config: &StoreConfig) -> Result<(&NamedFile, Store), TlsError> {
    let location = config.location.as_ref().ok_or(TlsError::Missing)?;
    let fail = |reason: String| TlsError::new(location, reason);
    let password = match &config.password_file {
        Some(file) => read_password(&file.path).map_err(|reason| TlsError::new(file, reason))?,
        None => config.password.0.clone(),
    };
    let Some(kind) = config.kind.or_else(|| StoreType::of_file(&location.path)) else {
        return Err(fail("expected a name that ends in .jks, .pem or .p12, or a type that says what it is".to_owned()));
    };
    let bytes = fs::read(&location.path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let store = match kind {
        StoreType::Pem => from_pem(&bytes, &password),
        // As in Java, a store of the one kind may stand where one of the other is expected.
        StoreType::Jks | StoreType::Pkcs12 if bytes.starts_with(&jks::MAGIC) => jks::read(&bytes, &password),
        StoreType::Jks | StoreType::Pkcs12 => from_pkcs12(&bytes, &password),
    };
    store.map(|store| (location, store)).map_err(fail)
}

/// The password in a file, without the end of its line.
fn read_password(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn from_pkcs12(bytes: &[u8], password: &str) -> Result<Store, String> {
    let keys = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Strict)
        .map_err(|error| format!("not a PKCS#12 or JKS store, or the password is wrong: {error}"))?;
    let mut store = Store::default();
    for (_, entry) in keys.entries() {
        match entry {
            KeyStoreEntry::PrivateKeyChain(chain) if store.key.is_none() => {
                let certificates = chain.certs().iter().map(|certificate| certificate.as_der().to_vec());
                store.key = Some((chain.key().as_der().to_vec(), certificates.collect()));
            }
            KeyStoreEntry::Certificate(certificate) => store.trusted.push(certificate.as_der().to_vec()),
            KeyStoreEntry::PrivateKeyChain(_) | KeyStoreEntry::Secret(_) => {}
        }
    }
    Ok(store)
}

fn from_pem(bytes: &[u8], password: &str) -> Result<Store, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut store = Store::default();
    let mut key = None;
    for (label, der) in read_pem(&text) {
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => store.trusted.push(der),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if key.is_none() => key = Some(der),
            "ENCRYPTED PRIVATE KEY" if key.is_none() => key = Some(decrypt(&der, password)?),
            _ => {}
        }
    }
    store.key = key.map(|key| (key, store.trusted.clone()));
    Ok(store)
}

fn decrypt(der: &[u8], password: &str) -> Result<Vec<u8>, String> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|error| format!("the key is encrypted in a way that zkd does not know: {error}"))?;
    match info.decrypt(password) {
        Ok(key) => Ok(key.as_bytes().to_vec()),
        Err(error) => Err(format!("the key cannot be decrypted; the password may be wrong: {error}")),
    }
}

/// What stands between lines of BEGIN and END, with its label. What is no base64 is left out.
pub(super) fn read_pem(text: &str) -> Vec<(&str, Vec<u8>)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let body: String = lines.by_ref().take_while(|line| !line.starts_with("-----END")).collect();
        if let Ok(der) = BASE64_STANDARD.decode(body) {
            blocks.push((label, der));
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Place, Secret};

    fn store(name: &str, password: &str) -> StoreConfig {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name);
        let location = NamedFile { path, key: "ssl.keyStore.location".to_owned(), place: Place::CommandLine };
        StoreConfig { location: Some(location), password: Secret(password.to_owned()), ..StoreConfig::default() }
    }

    #[test]
    fn every_format_has_the_same_key() {
        let (key, chain) = read_key_store(&store("server.pem", "")).unwrap();
        assert_eq!(chain.len(), 2);
        for (name, password) in [
            ("server-encrypted.pem", "secret"),
            ("server.jks", "secret"),
            ("server.p12", "secret"),
            ("server.pem", "secret"),
        ] {
            let (same_key, same_chain) = read_key_store(&store(name, password)).unwrap();
            assert_eq!((same_key.secret_der(), &same_chain), (key.secret_der(), &chain), "{name}");
        }
        let pem = read_trust_store(&store("ca.pem", "")).unwrap();
        for name in ["trust.jks", "trust.p12"] {
            assert_eq!(read_trust_store(&store(name, "secret")).unwrap(), pem, "{name}");
        }
        let misnamed = StoreConfig { kind: Some(StoreType::Jks), ..store("trust.p12", "secret") };
        assert_eq!(read_trust_store(&misnamed).unwrap(), pem);
    }

    #[test]
    fn what_is_wrong_is_told_and_no_password_is() {
        let why = |store: &StoreConfig| read_key_store(store).err().map(|error| error.to_string()).unwrap();
        for (name, said) in [
            ("server-encrypted.pem", "password may be wrong"),
            ("server.jks", "password is wrong"),
            ("server.p12", "password is wrong"),
            ("ca.pem", "expected a private key"),
            ("none.pem", "cannot be read"),
            ("make", "expected a name that ends in"),
        ] {
            let text = why(&store(name, "hush-hush"));
            assert!(text.starts_with("command line: ssl.keyStore.location=/") && text.contains(said), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }

    #[test]
    fn a_password_may_be_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, "secret\n").unwrap();
        let password_file = NamedFile { path, key: "ssl.keyStore.passwordPath".to_owned(), place: Place::CommandLine };
        // The file counts more than the setting.
        let store = StoreConfig { password_file: Some(password_file), ..store("server.jks", "other") };
        assert!(read_key_store(&store).is_ok());
        drop(directory);
        let text = read_key_store(&store).err().map(|error| error.to_string()).unwrap();
        assert!(text.contains("ssl.keyStore.passwordPath=") && text.contains("cannot be read"), "{text}");
    }
}
