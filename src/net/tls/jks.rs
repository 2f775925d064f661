//! Java's own format of stores, as `keytool -storetype JKS` writes it: entries of keys and of certificates, and behind them a
//! hash over the password and all of it.

use sha1::{Digest, Sha1};

use super::stores::Store;

/// What a file begins with.
pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
const KEY: u32 = 1;
const CERTIFICATE: u32 = 2;
const HASH_BYTES: usize = 20;
const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
/// Stands in the hash, for a reason of the format's author.
const PHRASE: &[u8] = b"Mighty Aphrodite";

/// Reads a store. Without a password the hash is not looked at, as in Java, and keys cannot be read.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn read(file: &[u8], password: &str) -> Result<Store, String> {
    let (body, hash) = file.split_last_chunk::<HASH_BYTES>().ok_or_else(ends)?;
    let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
    if !password.is_empty()
        && Sha1::new().chain_update(&password).chain_update(PHRASE).chain_update(body).finalize()[..] != *hash
    {
        return Err("the password is wrong, or the file was changed".to_owned());
    }
    let mut input = Input(body);
    input.bytes(MAGIC.len())?;
    let version = input.number()?;
    if !(1..=2).contains(&version) {
        return Err(format!("version {version} of the format"));
    }
    let mut store = Store::default();
    for _ in 0..input.number()? {
        let kind = input.number()?;
        input.text()?;
        input.bytes(8)?;
        match kind {
            KEY => {
                let length = input.number()?;
                let protected = input.bytes(length as usize)?;
                let mut chain = Vec::new();
                for _ in 0..input.number()? {
                    chain.push(input.certificate(version)?);
                }
                if store.key.is_none() {
                    store.key = Some((reveal(protected, &password)?, chain));
                }
            }
            CERTIFICATE => store.trusted.push(input.certificate(version)?),
            other => return Err(format!("an entry of the unknown kind {other}")),
        }
    }
    Ok(store)
}

/// A key out of its protection: what is hidden, xored with hashes of the password that go on from a salt.
fn reveal(protected: &[u8], password: &[u8]) -> Result<Vec<u8>, String> {
    let hidden = element(protected, SEQUENCE).and_then(|(info, _)| {
        let (_, rest) = element(info, SEQUENCE)?;
        element(rest, OCTETS).map(|(octets, _)| octets)
    });
    let split = hidden.and_then(|hidden| {
        let (salt, rest) = hidden.split_first_chunk::<HASH_BYTES>()?;
        let (hidden, check) = rest.split_last_chunk::<HASH_BYTES>()?;
        Some((salt, hidden, check))
    });
    let Some((salt, hidden, check)) = split else { return Err("a key in an unknown protection".to_owned()) };
    let mut key = Vec::with_capacity(hidden.len());
    let mut pad = salt.to_vec();
    for piece in hidden.chunks(HASH_BYTES) {
        pad = Sha1::new().chain_update(password).chain_update(&pad).finalize().to_vec();
        key.extend(piece.iter().zip(&pad).map(|(hidden, pad)| hidden ^ pad));
    }
    if Sha1::new().chain_update(password).chain_update(&key).finalize()[..] != *check {
        return Err("the password is not that of the key: zkd wants the same for the store and its key".to_owned());
    }
    Ok(key)
}

/// The content of one DER element with this tag, and what is behind it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first > 0x80 {
        let count = usize::from(first & 0x7f);
        if count > 4 {
            return None;
        }
        let (bytes, behind) = rest.split_at_checked(count)?;
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = behind;
    }
    (found == tag).then(|| rest.split_at_checked(length)).flatten()
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or_else(ends)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, String> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(ends)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn text(&mut self) -> Result<&'a [u8], String> {
        let length = self.bytes(2)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.bytes(length)
    }

    fn certificate(&mut self, version: u32) -> Result<Vec<u8>, String> {
        if version == 2 {
            self.text()?;
        }
        let length = self.number()?;
        self.bytes(length as usize).map(<[u8]>::to_vec)
    }
}

fn ends() -> String {
    "the file ends too early".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &[u8] = include_bytes!("../../../tests/tls/server.jks");
    const TRUST: &[u8] = include_bytes!("../../../tests/tls/trust.jks");

    #[test]
    fn what_keytool_writes_is_read() {
        let (key, chain) = read(SERVER, "secret").unwrap().key.expect("has a key");
        assert_eq!((key[0], chain.len()), (SEQUENCE, 2));
        assert_eq!(read(TRUST, "secret").unwrap().trusted.len(), 1);
        assert_eq!(read(TRUST, "").unwrap().trusted.len(), 1, "certificates need no password");
    }

    #[test]
    fn a_wrong_password_is_told() {
        assert!(read(SERVER, "other").err().unwrap().contains("password is wrong"));
        assert!(read(SERVER, "").err().unwrap().contains("not that of the key"));
    }

    #[test]
    fn no_bytes_hurt() {
        for length in 0..SERVER.len() {
            assert!(read(&SERVER[..length], "").is_err(), "{length}");
        }
        for at in 0..SERVER.len() {
            let mut bytes = SERVER.to_vec();
            bytes[at] ^= 0xff;
            let _either = read(&bytes, "");
        }
    }
}
