//! The digest scheme: `user:base64(hash(user:password))` (AC-06).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::Digest;

use crate::config::DigestAlgorithm;

/// The id of whoever presents `credentials`, which are `user:password`. The user is what precedes the first colon.
pub(super) fn identity(algorithm: DigestAlgorithm, credentials: &[u8]) -> String {
    let text = String::from_utf8_lossy(credentials);
    let hash = match algorithm {
        DigestAlgorithm::Sha1 => hash::<sha1::Sha1>(&text),
        DigestAlgorithm::Sha224 => hash::<sha2::Sha224>(&text),
        DigestAlgorithm::Sha256 => hash::<sha2::Sha256>(&text),
        DigestAlgorithm::Sha384 => hash::<sha2::Sha384>(&text),
        DigestAlgorithm::Sha512 => hash::<sha2::Sha512>(&text),
        DigestAlgorithm::Sha512To224 => hash::<sha2::Sha512_224>(&text),
        DigestAlgorithm::Sha512To256 => hash::<sha2::Sha512_256>(&text),
        DigestAlgorithm::Md5 => hash::<md5::Md5>(&text),
    };
    let user = text.split(':').next().unwrap_or_default();
    format!("{user}:{hash}")
}

fn hash<H: Digest>(text: &str) -> String {
    BASE64_STANDARD.encode(H::digest(text.as_bytes()))
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
        let is =
            |algorithm, expected: &str| assert_eq!(identity(algorithm, b"super:superpw"), format!("super:{expected}"));
        is(DigestAlgorithm::Sha1, "g9oN2HttPfn8MMWJZ2r45Np/LIA=");
        is(DigestAlgorithm::Sha224, "olcfq+pz3oJB5686mFTnGe0/79Sp4jbtrztVPw==");
        is(DigestAlgorithm::Sha256, "NhrDsglBUaCwNy464nxjg/Ig/dwhOCotNQxX54rqg50=");
        is(DigestAlgorithm::Sha384, "Kf/+YZDlbElZSIiZqLwDLec30cN1UETUkqUtVzhGcQCOJuWuhUyFgS6iaJgo2osV");
        is(
            DigestAlgorithm::Sha512,
            "qT5NrG28chvcJYXI29lh1kO1uJ+x80PJNDkNatWXAlOd05fYNovtcDcx38J39plrBq+SphmV85uUmCQJ5mD44A==",
        );
        is(DigestAlgorithm::Sha512To224, "Soytz+XX4QMS5R9Ngci+BVTMUWKI37wIcSmRjA==");
        is(DigestAlgorithm::Sha512To256, "KS7ODoASf5glW5W0FRTgrh8LBUPEkyKYOFFB7OtI8w0=");
        is(DigestAlgorithm::Md5, "Rl9hUgQoaOqJhhKxoihhhQ==");
    }
}
