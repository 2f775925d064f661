//! The digest scheme: `user:base64(hash(user:password))` (AC-06).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::Digest;

/// The hash in a digest id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DigestAlgorithm {
    /// The default.
    Sha1,
    /// `SHA-256`.
    Sha256,
    /// `SHA-512`.
    Sha512,
    /// `MD5`.
    Md5,
}

impl DigestAlgorithm {
    /// By the name that Java knows it under.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "SHA1" | "SHA-1" | "SHA" => Some(Self::Sha1),
            "SHA-256" => Some(Self::Sha256),
            "SHA-512" => Some(Self::Sha512),
            "MD5" => Some(Self::Md5),
            _ => None,
        }
    }

    /// The id of whoever presents `credentials`, which are `user:password`. The user is what precedes the first colon.
    pub(super) fn identity(self, credentials: &[u8]) -> String {
        let text = String::from_utf8_lossy(credentials);
        let hash = match self {
            Self::Sha1 => sha1::Sha1::digest(text.as_bytes()).to_vec(),
            Self::Sha256 => sha2::Sha256::digest(text.as_bytes()).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(text.as_bytes()).to_vec(),
            Self::Md5 => md5::Md5::digest(text.as_bytes()).to_vec(),
        };
        let user = text.split(':').next().unwrap_or_default();
        format!("{user}:{}", BASE64_STANDARD.encode(hash))
    }
}

/// Exactly two parts around colons, empty ones at the end not counted: as Java's `split` has it.
pub(super) fn is_valid(id: &str) -> bool {
    id.trim_end_matches(':').split(':').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_is_that_of_javas_split() {
        for good in ["a:b", ":x", "a:b:", "a:b::"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["a", "a:", "a:b:c", "", ":", "::"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn the_reference_knows_the_same_digest() {
        assert_eq!(DigestAlgorithm::Sha1.identity(b"super:superpw"), "super:g9oN2HttPfn8MMWJZ2r45Np/LIA=");
    }
}
