//! Who a connection is, and what an ACL lets it do (semantics.md 3; client-protocol.md 9).

mod digest;
mod ensemble;
mod ip;
pub mod sasl;
mod x509;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

pub use ensemble::{EnsembleNames, Meant};

use self::sasl::{SaslError, SaslRules, ServerExchange};
use crate::config::DigestAlgorithm;
use crate::ids::ConnectionId;
use crate::proto::{Acl, AclBytes, Auth, ErrorCode, OPEN_ACL, Perms};

/// What `auth` entries of one ACL may become, bytes.
const AUTHENTICATED_BYTES_MAX: usize = 256 << 10;

/// One thing a connection has proven to be.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Identity {
    /// Who vouched: `ip`, `digest`, `x509`, `sasl`, `super`.
    pub scheme: Box<str>,
    /// The scheme's name for it.
    pub id: Box<str>,
}

impl Identity {
    /// An identity.
    #[must_use]
    pub fn new(scheme: &str, id: &str) -> Self {
        Self { scheme: scheme.into(), id: id.into() }
    }

    /// The address that every connection has from the start.
    #[must_use]
    pub fn ip(address: std::net::IpAddr) -> Self {
        Self::new(IP, &java_address(address))
    }

    /// The subject of a certificate that a client has shown.
    #[must_use]
    pub fn x509(subject: &str) -> Self {
        Self::new(X509, subject)
    }
}

/// An address as Java writes it: that of IPv6 has all its zeros.
#[must_use]
pub fn java_address(address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => ip.segments().map(|group| format!("{group:x}")).join(":"),
    }
}

/// All that a connection has proven to be when a request came in.
pub type Identities = Arc<[Identity]>;

const WORLD: &str = "world";
const AUTH: &str = "auth";
const IP: &str = "ip";
const DIGEST: &str = "digest";
const SASL: &str = "sasl";
const X509: &str = "x509";
const SUPER: &str = "super";

/// What checks must know of the configuration.
#[derive(Clone, Debug)]
pub struct AuthRules {
    /// `zookeeper.skipACL=yes`: everybody may do everything.
    pub skip_acl: bool,
    /// `zookeeper.DigestAuthenticationProvider.enabled`.
    pub digest_enabled: bool,
    /// `zookeeper.DigestAuthenticationProvider.digestAlg`.
    pub digest_algorithm: DigestAlgorithm,
    /// `zookeeper.DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<Box<str>>,
    /// Whether the scheme x509 counts.
    pub x509_enabled: bool,
    /// `zookeeper.X509AuthenticationProvider.superUser`: whoever has this name may do everything.
    pub x509_super: Option<Box<str>>,
    /// SASL.
    pub sasl: SaslRules,
    /// What this ensemble is called, if `authProvider.N` names the provider that asks for it.
    pub ensemble: Option<EnsembleNames>,
    /// `zookeeper.enforce.auth.schemes` when `zookeeper.enforce.auth.enabled`, or sasl when
    /// `zookeeper.sessionRequireClientSASLAuth`; empty is no enforcement.
    pub enforced_schemes: Vec<Box<str>>,
}

impl Default for AuthRules {
    fn default() -> Self {
        Self {
            skip_acl: false,
            digest_enabled: true,
            digest_algorithm: DigestAlgorithm::Sha1,
            super_digest: None,
            x509_enabled: false,
            x509_super: None,
            sasl: SaslRules::default(),
            ensemble: None,
            enforced_schemes: Vec::new(),
        }
    }
}

impl AuthRules {
    /// Whether `identities` have one of the bits in `perms` by this ACL. `world` is what it gives to everybody.
    #[must_use]
    pub fn allows(&self, acl: AclBytes<'_>, world: Perms, perms: Perms, identities: &[Identity]) -> bool {
        if world.meets(perms) || self.skip_acl {
            return true;
        }
        if identities.iter().any(|identity| &*identity.scheme == SUPER) {
            return true;
        }
        let entries = acl.entries();
        // An empty list cannot be made by a client; the reference lets everybody through.
        entries.is_empty()
            || entries.iter().any(|entry| {
                entry.perms.meets(perms) && identities.iter().any(|identity| self.matches(entry, identity))
            })
    }

    fn matches(&self, entry: &Acl<'_>, identity: &Identity) -> bool {
        let (Some(scheme), Some(id)) = (entry.scheme.as_deref(), entry.id.as_deref()) else { return false };
        if scheme != &*identity.scheme {
            return false;
        }
        match scheme {
            IP => ip::matches(id, &identity.id),
            DIGEST => self.digest_enabled && id == &*identity.id,
            X509 => self.x509_enabled && id == &*identity.id,
            SASL => self.sasl.matches(id, &identity.id),
            _ => false,
        }
    }

    /// The user without secrets, as whoAmI shows it; empty for schemes that have no provider.
    #[must_use]
    pub fn user<'i>(&self, identity: &'i Identity) -> &'i str {
        match &*identity.scheme {
            IP => &identity.id,
            DIGEST if self.digest_enabled => identity.id.split(':').next().unwrap_or_default(),
            X509 if self.x509_enabled => &identity.id,
            SASL if self.sasl.provider => &identity.id,
            _ => "",
        }
    }

    /// The users without secrets, for the audit log.
    #[must_use]
    pub fn users(&self, identities: &[Identity]) -> String {
        let users = identities.iter().map(|identity| self.user(identity));
        users.filter(|user| !user.trim().is_empty()).collect::<Vec<_>>().join(",")
    }

    /// What to store for an ACL that a client sent (AC-03): duplicates dropped, `auth` replaced by the connection's own
    /// identities.
    ///
    /// # Errors
    /// [`ErrorCode::INVALID_ACL`], also when it would become far longer than it is; and [`ErrorCode::MARSHALLING`] for a null id of a scheme that has a meaning.
    pub fn fix_up<'a>(&self, acl: AclBytes<'a>, identities: &[Identity]) -> Result<Cow<'a, [u8]>, ErrorCode> {
        if acl == OPEN_ACL {
            return Ok(Cow::Borrowed(acl.as_bytes()));
        }
        let sent = acl.entries();
        if sent.is_empty() {
            return Err(ErrorCode::INVALID_ACL);
        }
        let mut fixed: Vec<Acl<'_>> = Vec::with_capacity(sent.len());
        let mut authenticated_bytes = 0;
        for entry in distinct(&sent)? {
            match (entry.scheme.as_deref(), entry.id.as_deref()) {
                // The reference looks into the id before it asks whether there is one.
                (Some(WORLD | IP | DIGEST), None) => return Err(ErrorCode::MARSHALLING),
                (Some(X509), None) if self.x509_enabled => return Err(ErrorCode::MARSHALLING),
                (Some(SASL), None) if self.sasl.provider => return Err(ErrorCode::MARSHALLING),
                (Some(WORLD), Some("anyone")) => fixed.push(entry.clone()),
                (Some(AUTH), _) => {
                    let before = fixed.len();
                    fixed.extend(identities.iter().filter(|i| self.authenticates(i)).map(|identity| Acl {
                        perms: entry.perms,
                        scheme: Some(Cow::Owned(identity.scheme.to_string())),
                        id: Some(Cow::Owned(identity.id.to_string())),
                    }));
                    authenticated_bytes +=
                        fixed[before..].iter().filter_map(|acl| acl.id.as_deref()).map(str::len).sum::<usize>();
                    if fixed.len() == before || authenticated_bytes > AUTHENTICATED_BYTES_MAX {
                        return Err(ErrorCode::INVALID_ACL);
                    }
                }
                (Some(scheme), Some(id)) if self.is_valid(scheme, id) => fixed.push(entry.clone()),
                _ => return Err(ErrorCode::INVALID_ACL),
            }
        }
        Ok(Cow::Owned(AclBytes::encode_list(&fixed)))
    }

    /// Whether an identity counts for `auth` entries: not that of an address, nor the super user's.
    fn authenticates(&self, identity: &Identity) -> bool {
        match &*identity.scheme {
            DIGEST => self.digest_enabled,
            X509 => self.x509_enabled,
            SASL => self.sasl.provider,
            _ => false,
        }
    }

    fn is_valid(&self, scheme: &str, id: &str) -> bool {
        match scheme {
            IP => ip::is_valid(id),
            DIGEST => self.digest_enabled && digest::is_valid(id),
            X509 => self.x509_enabled && x509::is_valid(id),
            SASL => self.sasl.provider && sasl::is_valid(id),
            _ => false,
        }
    }

    /// The identities that an auth packet adds to those there are, `known`; `None` when it fails (CL-16).
    #[must_use]
    pub fn authenticate(
        &self,
        auth: &Auth<'_>,
        address: std::net::IpAddr,
        known: &[Identity],
    ) -> Option<Vec<Identity>> {
        match auth.scheme.as_deref()? {
            IP => Some(vec![Identity::ip(address)]),
            DIGEST if self.digest_enabled => {
                let id = digest::identity(self.digest_algorithm, auth.auth?);
                let is_super = self.super_digest.as_deref() == Some(&*id);
                let mut identities = vec![Identity { scheme: DIGEST.into(), id: id.into() }];
                if is_super {
                    identities.push(Identity::new(SUPER, ""));
                }
                Some(identities)
            }
            // The certificate was shown before; what the packet says counts for nothing.
            X509 if self.x509_enabled => {
                known.iter().find(|one| &*one.scheme == X509).map(|one| self.certified(&one.id))
            }
            _ => None,
        }
    }

    /// What a client is that has shown a certificate of this subject (AC-10).
    #[must_use]
    pub fn certified(&self, subject: &str) -> Vec<Identity> {
        let is_super = self.x509_super.as_deref() == Some(subject);
        let super_user = is_super.then(|| Identity::new(SUPER, ""));
        super_user.into_iter().chain([Identity::x509(subject)]).collect()
    }

    /// Which ensemble an auth packet means; `None`: it says who the client is.
    #[must_use]
    pub fn meant(&self, auth: &Auth<'_>) -> Option<Meant> {
        self.ensemble.as_ref()?.meant(auth)
    }

    /// The answer to a token of SASL, and what the connection has proven with it (CL-17). `connection` is its number.
    #[must_use]
    pub fn answer_sasl(&self, exchange: &mut ServerExchange, token: &[u8], connection: ConnectionId) -> SaslAnswer {
        match self.sasl.answer(exchange, token, connection.0) {
            Ok((token, identities)) => SaslAnswer { token, identities, error: ErrorCode::OK, failure: None },
            Err(failure) => {
                let error = if self.enforced_schemes.iter().any(|scheme| &**scheme == SASL) {
                    ErrorCode::SESSION_CLOSED_REQUIRE_AUTH
                } else if self.sasl.allow_failed {
                    ErrorCode::OK
                } else {
                    ErrorCode::AUTH_FAILED
                };
                SaslAnswer { token: None, identities: Vec::new(), error, failure: Some(failure) }
            }
        }
    }

    /// Whether a connection may send requests at all (AC-15).
    #[must_use]
    pub fn admits(&self, identities: &[Identity]) -> bool {
        self.enforced_schemes.is_empty()
            || identities.iter().any(|identity| self.enforced_schemes.contains(&identity.scheme))
    }
}

/// What becomes of a token of SASL.
#[derive(Debug)]
pub struct SaslAnswer {
    /// The next token; null when there is none.
    pub token: Option<Vec<u8>>,
    /// What the client has proven.
    pub identities: Vec<Identity>,
    /// Behind any error the connection is closed.
    pub error: ErrorCode,
    /// Why the exchange has failed.
    pub failure: Option<SaslError>,
}

/// The entries without those that were there before. The reference compares later entries with earlier ones, perms, scheme
/// and id in turn, and stumbles over a null that it comes to.
fn distinct<'e, 'a>(sent: &'e [Acl<'a>]) -> Result<Vec<&'e Acl<'a>>, ErrorCode> {
    let (mut perms, mut schemes, mut all) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut kept: Vec<&Acl<'a>> = Vec::with_capacity(sent.len());
    for entry in sent {
        let (entry_perms, scheme, id) = (entry.perms.0, entry.scheme.as_deref(), entry.id.as_deref());
        let stumbles = scheme.is_none() && perms.contains(&entry_perms);
        if stumbles || id.is_none() && schemes.contains(&(entry_perms, scheme)) {
            return Err(ErrorCode::MARSHALLING);
        }
        if all.insert((entry_perms, scheme, id)) {
            perms.insert(entry_perms);
            schemes.insert((entry_perms, scheme));
            kept.push(entry);
        }
    }
    Ok(kept)
}

/// Hides the secret part of digest ids from those who may not administrate (semantics.md 5, getACL).
#[must_use]
pub fn redact(acl: AclBytes<'_>) -> Vec<u8> {
    let mut entries = acl.entries();
    for entry in &mut entries {
        if entry.scheme.as_deref() == Some(DIGEST)
            && let Some(id) = &mut entry.id
            && let Some(colon) = id.find(':')
        {
            *id = Cow::Owned(format!("{}x", &id[..=colon]));
        }
    }
    AclBytes::encode_list(&entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(perms: i32, scheme: &'a str, id: &'a str) -> Acl<'a> {
        Acl { perms: Perms(perms), scheme: Some(scheme.into()), id: Some(id.into()) }
    }

    fn fix(entries: &[Acl<'_>], identities: &[Identity]) -> Result<Vec<u8>, ErrorCode> {
        let bytes = AclBytes::encode_list(entries);
        AuthRules::default().fix_up(AclBytes::decode(&bytes).unwrap().1, identities).map(Cow::into_owned)
    }

    #[test]
    fn auth_becomes_the_identities_that_count() {
        let identities = [Identity::new("ip", "127.0.0.1"), Identity::new("digest", "a:h"), Identity::new("super", "")];
        let fixed = fix(&[entry(31, "auth", "x"), entry(31, "auth", "x")], &identities);
        assert_eq!(fixed, Ok(AclBytes::encode_list(&[entry(31, "digest", "a:h")])));
        assert_eq!(fix(&[entry(31, "auth", "")], &identities[..1]), Err(ErrorCode::INVALID_ACL));
    }

    #[test]
    fn what_no_scheme_vouches_for_is_invalid() {
        for (scheme, id) in [("super", ""), ("sasl", "a"), ("world", "all"), ("digest", "a"), ("ip", "1.2.3")] {
            assert_eq!(fix(&[entry(1, scheme, id)], &[]), Err(ErrorCode::INVALID_ACL), "{scheme}:{id}");
        }
        let null = Acl { perms: Perms(1), scheme: Some("world".into()), id: None };
        assert_eq!(fix(&[null], &[]), Err(ErrorCode::MARSHALLING));
        assert_eq!(fix(&[], &[]), Err(ErrorCode::INVALID_ACL));
    }

    #[test]
    fn a_certificates_subject_is_an_identity_where_there_are_certificates() {
        let rules = AuthRules { x509_enabled: true, x509_super: Some("CN=root".into()), ..AuthRules::default() };
        let allows = |rules: &AuthRules, subject: &str| {
            let acl = AclBytes::encode_list(&[entry(31, "x509", "CN=a,O=b")]);
            rules.allows(AclBytes::decode(&acl).unwrap().1, Perms(0), Perms::READ, &rules.certified(subject))
        };
        assert!(allows(&rules, "CN=a,O=b") && !allows(&rules, "CN=a, O=b") && !allows(&rules, "CN=other"));
        assert!(allows(&rules, "CN=root"));
        assert!(!allows(&AuthRules::default(), "CN=a,O=b"), "without TLS nobody vouches");
        let fixed = |rules: &AuthRules, entries: &[Acl<'_>]| {
            let bytes = AclBytes::encode_list(entries);
            let identities = [Identity::ip([127, 0, 0, 1].into()), Identity::x509("CN=a")];
            rules.fix_up(AclBytes::decode(&bytes).unwrap().1, &identities).map(Cow::into_owned)
        };
        let mine = AclBytes::encode_list(&[entry(31, "x509", "CN=a")]);
        assert_eq!(fixed(&rules, &[entry(31, "auth", "")]), Ok(mine));
        assert!(fixed(&rules, &[entry(1, "x509", "CN=a,O=b")]).is_ok());
        assert_eq!(fixed(&rules, &[entry(1, "x509", "nobody")]), Err(ErrorCode::INVALID_ACL));
        assert_eq!(fixed(&AuthRules::default(), &[entry(1, "x509", "CN=a")]), Err(ErrorCode::INVALID_ACL));
        let auth = Auth { scheme: Some("x509".into()), auth: None };
        let known = [Identity::x509("CN=a")];
        assert_eq!(rules.authenticate(&auth, [127, 0, 0, 1].into(), &known), Some(known.to_vec()));
        assert_eq!(rules.authenticate(&auth, [127, 0, 0, 1].into(), &[]), None);
    }

    #[test]
    fn the_super_digest_gives_the_super_identity() {
        let rules =
            AuthRules { super_digest: Some("super:g9oN2HttPfn8MMWJZ2r45Np/LIA=".into()), ..AuthRules::default() };
        let auth = Auth { scheme: Some("digest".into()), auth: Some(b"super:superpw") };
        let identities = rules.authenticate(&auth, [127, 0, 0, 1].into(), &[]).unwrap();
        assert_eq!(identities[1], Identity::new("super", ""));
        let acl = AclBytes::encode_list(&[entry(0, "world", "anyone")]);
        let acl = AclBytes::decode(&acl).unwrap().1;
        assert!(rules.allows(acl, Perms(0), Perms::READ, &identities));
        assert!(!rules.allows(acl, Perms(0), Perms::READ, &identities[..1]));
    }
}
