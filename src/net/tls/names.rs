//! What a certificate says about whom it is for: the subject as Java prints it, and the hosts.

use std::fmt::Write;
use std::net::IpAddr;

use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The attributes that RFC 2253 has a keyword for; others are printed as numbers.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];
const COMMON_NAME: &str = "2.5.4.3";
const ESCAPED: &str = ",=+<>#;\"\\";

/// The subject, as `X500Principal.getName()` prints it: the id of the scheme x509 (AC-09). `None`: not a certificate.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names: Vec<String> = Vec::new();
    for name in certificate.subject().iter_rdn() {
        let pieces = name.iter().map(|piece| attribute(&piece.attr_type().to_id_string(), piece.attr_value()));
        names.push(pieces.collect::<Option<Vec<_>>>()?.join("+"));
    }
    names.reverse();
    Some(names.join(","))
}

fn attribute(oid: &str, value: &Any<'_>) -> Option<String> {
    const TEXTS: [Tag; 7] = [
        Tag::PrintableString,
        Tag::Utf8String,
        Tag::T61String,
        Tag::Ia5String,
        Tag::GeneralString,
        Tag::BmpString,
        Tag::UniversalString,
    ];
    match KEYWORDS.iter().find(|(number, _)| *number == oid) {
        Some((_, keyword)) if TEXTS.contains(&value.tag()) => Some(format!("{keyword}={}", escape(value.as_bytes()))),
        keyword => {
            let mut text = format!("{}=#", keyword.map_or(oid, |(_, keyword)| keyword));
            value.to_der_vec().ok()?.iter().for_each(|byte| {
                let _ = write!(text, "{byte:02x}");
            });
            Some(text)
        }
    }
}

/// Java takes every kind of text for UTF-8, whatever it is.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for letter in String::from_utf8_lossy(bytes).chars() {
        match letter {
            '\0' => text.push_str("\\00"),
            letter => {
                if ESCAPED.contains(letter) {
                    text.push('\\');
                }
                text.push(letter);
            }
        }
    }
    let is_blank = |letter: char| letter == ' ' || letter == '\r';
    let inner = text.trim_matches(is_blank);
    let lead = text.len() - text.trim_start_matches(is_blank).len();
    let blanks = |blanks: &str| blanks.chars().flat_map(|blank| ['\\', blank]).collect::<String>();
    format!("{}{inner}{}", blanks(&text[..lead]), blanks(&text[lead + inner.len()..]))
}

/// Whether the certificate is for this host, a name or an address: by its alternative names, and only if it has none, by the
/// common name (SC-08).
pub(super) fn is_for(certificate: &[u8], host: &str) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let host = host.trim_matches(['[', ']']);
    let address: Option<IpAddr> = host.parse().ok();
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.push(*name),
            GeneralName::IPAddress(bytes) => addresses.extend(ip(bytes)),
            _ => {}
        }
    }
    match address {
        Some(address) if !names.is_empty() || !addresses.is_empty() => {
            addresses.iter().any(|ours| ours.to_canonical() == address.to_canonical())
        }
        None if !names.is_empty() || !addresses.is_empty() => names.iter().any(|name| matches(name, host)),
        _ => {
            let last = certificate
                .subject()
                .iter_rdn()
                .flat_map(|name| name.iter())
                .filter(|piece| piece.attr_type().to_id_string() == COMMON_NAME);
            last.last().is_some_and(|name| std::str::from_utf8(name.as_slice()).is_ok_and(|name| matches(name, host)))
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Whether `pattern`, in which one `*` may stand for letters without a dot, is this host.
fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_lowercase(), host.to_lowercase());
    match pattern.split_once('*') {
        None => pattern == host,
        Some((before, after)) => {
            let rest = host.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            rest.is_some_and(|rest| !rest.contains('.'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stores::read_pem;
    use super::*;

    fn certificate(name: &str) -> Vec<u8> {
        let text = match name {
            "odd" => include_str!("../../../tests/tls/odd.pem"),
            _ => include_str!("../../../tests/tls/server.pem"),
        };
        read_pem(text).into_iter().find(|(label, _)| *label == "CERTIFICATE").expect("has one").1
    }

    #[test]
    fn a_subject_is_printed_as_java_prints_it() {
        // What Java 17 printed.
        let odd = "CN=\\#Jörg\\\\x,L=\\ lead trail,2.5.4.5=#13023432,1.2.840.113549.1.9.1=#160e6d65406578616d706c652e636f6d,\
                   UID=u1,DC=example,STREET=Way 1,OU=two,OU=one,O=Plus\\+Eq\\=Lt\\<Gt\\>\\#\\;q,ST=a\\\\\\,b,C=DE";
        assert_eq!(subject(&certificate("odd")).as_deref(), Some(odd));
        assert_eq!(subject(&certificate("server")).as_deref(), Some("O=zkd,CN=server"));
        assert_eq!(subject(b"nothing"), None);
    }

    #[test]
    fn hosts_are_those_of_the_alternative_names() {
        let server = certificate("server");
        for good in ["localhost", "LOCALHOST", "a.example.com", "127.0.0.1", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_for(&server, good), "{good}");
        }
        for bad in ["server", "example.com", "a.b.example.com", "127.0.0.2", "::2", "localhost.", ""] {
            assert!(!is_for(&server, bad), "{bad}");
        }
    }

    #[test]
    fn the_common_name_counts_only_without_alternative_names() {
        assert!(is_for(&certificate("odd"), "#Jörg\\x"));
        assert!(!is_for(&certificate("odd"), "example"));
    }
}
