//! The hash in ids of the scheme digest: `zookeeper.DigestAuthenticationProvider.digestAlg` (CF-74).

use super::keys::Expected;

/// One of Java's hashes, by the names that it has there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DigestAlgorithm {
    /// SHA1, the default.
    #[default]
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/224.
    Sha512To224,
    /// SHA-512/256.
    Sha512To256,
    /// MD5.
    Md5,
}

const NAMES: &[(&str, DigestAlgorithm)] = &[
    ("SHA1", DigestAlgorithm::Sha1),
    ("SHA-1", DigestAlgorithm::Sha1),
    ("SHA", DigestAlgorithm::Sha1),
    ("SHA-224", DigestAlgorithm::Sha224),
    ("SHA-256", DigestAlgorithm::Sha256),
    ("SHA-384", DigestAlgorithm::Sha384),
    ("SHA-512", DigestAlgorithm::Sha512),
    ("SHA-512/224", DigestAlgorithm::Sha512To224),
    ("SHA-512/256", DigestAlgorithm::Sha512To256),
    ("MD5", DigestAlgorithm::Md5),
];

/// The hash of this name, in any case.
pub(super) fn algorithm(name: &str) -> Result<DigestAlgorithm, Expected> {
    match NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        Some((_, algorithm)) => Ok(*algorithm),
        None => Err(Expected("SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA-512/224, SHA-512/256 or MD5".to_owned())),
    }
}
