//! ACL records. A list is kept as the bytes it came in, checked once, and decoded only where it is looked into.

use std::borrow::Cow;
use std::ops::BitOr;

use bytes::BufMut;

use crate::jute::{JuteWrite, Parsed, int, text, ustring, vector};

/// Permission bits (AC-01). Unknown bits are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Perms(pub i32);

impl Perms {
    /// Read data and list children.
    pub const READ: Perms = Perms(1);
    /// Change data.
    pub const WRITE: Perms = Perms(2);
    /// Create children.
    pub const CREATE: Perms = Perms(4);
    /// Delete children.
    pub const DELETE: Perms = Perms(8);
    /// Change the ACL.
    pub const ADMIN: Perms = Perms(16);
    /// All of them.
    pub const ALL: Perms = Perms(31);

    /// Whether the two have a bit in common.
    #[must_use]
    pub const fn meets(self, other: Perms) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Perms {
    type Output = Perms;

    fn bitor(self, other: Perms) -> Perms {
        Perms(self.0 | other.0)
    }
}

/// One entry of an ACL. Scheme and id may come as null; `pipeline` refuses those.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Acl<'a> {
    /// What it allows.
    pub perms: Perms,
    /// Who knows how to compare the id: `world`, `digest`, `ip`, ….
    pub scheme: Option<Cow<'a, str>>,
    /// Whom it allows.
    pub id: Option<Cow<'a, str>>,
}

impl<'a> Acl<'a> {
    /// Decodes one entry.
    ///
    /// # Errors
    /// Those of its fields.
    pub fn decode(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, perms) = int(input)?;
        let (input, scheme) = ustring(input)?;
        let (input, id) = ustring(input)?;
        Ok((input, Self { perms: Perms(perms), scheme, id }))
    }

    /// Encodes one entry.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.int(self.perms.0);
        out.ustring_or_null(self.scheme.as_deref());
        out.ustring_or_null(self.id.as_deref());
    }
}

/// A whole ACL list, encoded and known to be well formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct AclBytes<'a>(&'a [u8]);

/// `world:anyone` with every permission, encoded.
pub const OPEN_ACL: AclBytes<'static> = AclBytes(b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone");
/// `world:anyone` with READ, encoded: the ACL of `/zookeeper/config`.
pub const READ_ACL: AclBytes<'static> = AclBytes(b"\0\0\0\x01\0\0\0\x01\0\0\0\x05world\0\0\0\x06anyone");

impl<'a> AclBytes<'a> {
    /// Takes the list's bytes off the input.
    ///
    /// # Errors
    /// Those of its entries.
    pub fn decode(input: &'a [u8]) -> Parsed<'a, Self> {
        let (mut rest, count) = int(input)?;
        for _ in 0..count.max(0) {
            rest = Acl::decode(rest)?.0;
        }
        Ok((rest, Self(&input[..input.len() - rest.len()])))
    }

    /// The encoded list, its count first.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The entries; null and empty are both an empty list.
    #[must_use]
    pub fn entries(self) -> Vec<Acl<'a>> {
        match vector(Acl::decode)(self.0) {
            Ok((_, entries)) => entries.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Encodes a list of entries.
    #[must_use]
    pub fn encode_list(entries: &[Acl<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        out.length(entries.len());
        for entry in entries {
            entry.encode(&mut out);
        }
        out
    }

    /// A list from bytes that [`AclBytes::decode`] has seen before: those of a stored ACL.
    pub(crate) const fn from_checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether the list is null.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == (-1i32).to_be_bytes()
    }
}

/// One identity of a connection, or who a client is: whoAmI's entry.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct ClientInfo<'a> {
    /// The scheme that vouched.
    pub scheme: Cow<'a, str>,
    /// The user, without secrets.
    pub user: Cow<'a, str>,
}

impl<'a> ClientInfo<'a> {
    /// Decodes one entry.
    ///
    /// # Errors
    /// Those of its fields.
    pub fn decode(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, scheme) = text(input)?;
        let (input, user) = text(input)?;
        Ok((input, Self { scheme, user }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_lists_are_well_formed() {
        for (list, perms) in [(OPEN_ACL, Perms::ALL), (READ_ACL, Perms::READ)] {
            let entries = list.entries();
            assert_eq!(entries, [Acl { perms, scheme: Some("world".into()), id: Some("anyone".into()) }]);
            assert_eq!(AclBytes::encode_list(&entries), list.as_bytes());
        }
    }
}
