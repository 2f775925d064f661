//! SASL by DIGEST-MD5, the mechanism that needs nothing but passwords: what a server says to clients (client-protocol.md 9.2),
//! and servers to each other (election.md 7). Kerberos is not here.

mod digest_md5;
mod directives;

pub use digest_md5::{Expected, Nonce, Nonces, ServerExchange, Service, Step, respond};

use super::Identity;
use crate::config::Users;

/// Why an exchange has failed. It says nothing that came from the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// More bytes than are looked at.
    #[error("a token of {0} bytes")]
    Long(usize),
    /// Not `name=value,…`.
    #[error("a token that cannot be read")]
    Syntax,
    /// A directive that has to be there.
    #[error("no {0}")]
    Missing(&'static str),
    /// A directive that may be there once.
    #[error("{0} more than once")]
    Twice(&'static str),
    /// A directive that says something else than it must.
    #[error("another {0} than it must be")]
    Wrong(&'static str),
    /// Nobody has this name and this password.
    #[error("an unknown user or a wrong password")]
    Password,
    /// The user's name cannot be an identity.
    #[error("a user whose name is no Kerberos principal's")]
    Name,
    /// The user wants to be somebody else.
    #[error("a user who wants to be somebody else")]
    Authorization,
    /// There was an exchange already.
    #[error("a token behind the end of the exchange")]
    Over,
}

/// What clients can prove by SASL, and what it is worth.
#[derive(Clone, Debug, Default)]
pub struct SaslRules {
    /// Who is known; `None`: every token is answered with none.
    pub users: Option<SaslUsers>,
    /// Whether the scheme counts in ACLs: `authProvider.N` names its provider.
    pub provider: bool,
    /// `zookeeper.superUser`, `zookeeper.superUser.N`: who is the super user as well.
    pub super_users: Vec<Box<str>>,
    /// `zookeeper.letAnySaslUserDoX`: an entry for this id is for all that are known by SASL.
    pub anybody: Option<Box<str>>,
    /// `zookeeper.allowSaslFailedClients`: whoever fails may stay as nobody in particular.
    pub allow_failed: bool,
}

/// Names and passwords, and what challenges are made with.
#[derive(Clone, Debug)]
pub struct SaslUsers {
    /// The passwords by name.
    pub users: Users,
    /// Where nonces come from.
    pub nonces: Nonces,
}

impl SaslRules {
    /// The answer to a client's token, and what the client has proven with it. Each connection has one challenge: its nonce has
    /// the connection's number.
    ///
    /// # Errors
    /// See [`SaslError`].
    pub(super) fn answer(
        &self,
        exchange: &mut ServerExchange,
        token: &[u8],
        connection: u64,
    ) -> Result<(Option<Vec<u8>>, Vec<Identity>), SaslError> {
        let Some(SaslUsers { users, nonces }) = &self.users else { return Ok((None, Vec::new())) };
        match exchange.step(Service::CLIENTS, users, token, || nonces.nonce(connection))? {
            Step::Challenge(challenge) => Ok((Some(challenge), Vec::new())),
            // Whoever they want to be, they are whose password they know.
            Step::Done { user, token, .. } if is_valid(&user) => Ok((Some(token), self.identities(&user))),
            Step::Done { .. } => Err(SaslError::Name),
        }
    }

    fn identities(&self, user: &str) -> Vec<Identity> {
        let is_super = !user.is_empty() && self.super_users.iter().any(|one| &**one == user);
        let identity = Identity::new(super::SASL, user);
        std::iter::once(identity).chain(is_super.then(|| Identity::new(super::SUPER, ""))).collect()
    }

    /// Whether an entry for `entry` is for whoever is known as `id`.
    pub(super) fn matches(&self, entry: &str, id: &str) -> bool {
        self.provider && (id == SUPER_ID || entry == id || self.anybody.as_deref() == Some(entry))
    }
}

/// Who is meant by every entry of the scheme.
const SUPER_ID: &str = "super";

/// Whether an ACL may hold this id: whatever has no realm, or `name@realm`, or `name/host@realm`.
pub(super) fn is_valid(id: &str) -> bool {
    id.split_once('@').is_none_or(|(name, realm)| !realm.contains(['/', '@']) && name.matches('/').count() <= 1)
}

#[cfg(test)]
mod tests {
    use super::super::AuthRules;
    use super::*;
    use crate::config::{Credentials, Secret};
    use crate::ids::ConnectionId;
    use crate::proto::{Acl, AclBytes, ErrorCode, Perms};

    fn rules(sasl: SaslRules) -> AuthRules {
        let names = ["bob", "super", "a/b@c", "a@b@c"];
        let users = names.iter().map(|name| ((*name).to_owned(), Secret("secret".to_owned()))).collect();
        let users = Some(SaslUsers { users, nonces: Nonces::new([5; 32]) });
        AuthRules { sasl: SaslRules { users, ..sasl }, ..AuthRules::default() }
    }

    fn with_provider() -> SaslRules {
        SaslRules { provider: true, ..SaslRules::default() }
    }

    /// What becomes of a response with this password: the error, the identities, and what the client makes of the token.
    fn login(rules: &AuthRules, user: &str, password: &str) -> (ErrorCode, Vec<Identity>, bool) {
        let credentials = Credentials { user: user.to_owned(), password: Secret(password.to_owned()) };
        let mut exchange = ServerExchange::default();
        let first = rules.answer_sasl(&mut exchange, b"", ConnectionId(7));
        assert_eq!((first.error, first.identities), (ErrorCode::OK, Vec::new()));
        let cnonce = Nonces::new([6; 32]).nonce(1);
        let (response, expected) =
            respond(Service::CLIENTS, &credentials, &first.token.unwrap(), &cnonce).expect("a challenge");
        let answer = rules.answer_sasl(&mut exchange, &response, ConnectionId(7));
        assert_eq!(answer.failure.is_some(), answer.token.is_none());
        (answer.error, answer.identities, answer.token.is_some_and(|token| expected.accept(&token).is_ok()))
    }

    #[test]
    fn ids_are_principals_or_anything_without_a_realm() {
        for good in ["bob", "", "a/b@c", "a/b", "a/b/c", "x@", "@", "/@", "a/@", "a\nb"] {
            assert!(is_valid(good), "{good:?}");
        }
        for bad in ["a@b@c", "a/b/c@d", "@a/b", "a@b/c"] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn who_knows_a_password_is_that_user() {
        let known = rules(SaslRules { super_users: vec!["super".into()], ..with_provider() });
        assert_eq!(login(&known, "bob", "secret"), (ErrorCode::OK, vec![Identity::new("sasl", "bob")], true));
        let both = vec![Identity::new("sasl", "super"), Identity::new("super", "")];
        assert_eq!(login(&known, "super", "secret"), (ErrorCode::OK, both, true));
        assert_eq!(login(&known, "a/b@c", "secret").1, [Identity::new("sasl", "a/b@c")]);
        let nobody = |error| (error, Vec::new(), false);
        assert_eq!(login(&known, "a@b@c", "secret"), nobody(ErrorCode::AUTH_FAILED), "who is no principal");
        assert_eq!(login(&known, "bob", "secret2"), nobody(ErrorCode::AUTH_FAILED));
        let open = rules(SaslRules { allow_failed: true, ..with_provider() });
        assert_eq!(login(&open, "bob", "secret2"), nobody(ErrorCode::OK));
        let required = AuthRules { enforced_schemes: vec!["digest".into(), "sasl".into()], ..open };
        assert_eq!(login(&required, "bob", "secret2"), nobody(ErrorCode::SESSION_CLOSED_REQUIRE_AUTH));
        let mut exchange = ServerExchange::default();
        for token in [&b""[..], b"abc", b""] {
            let answer = AuthRules::default().answer_sasl(&mut exchange, token, ConnectionId(1));
            assert_eq!((answer.token, answer.error), (None, ErrorCode::OK), "without users every token is answered");
        }
    }

    #[test]
    fn the_scheme_counts_with_its_provider() {
        let entry = |id: &'static str| Acl { perms: Perms(31), scheme: Some("sasl".into()), id: Some(id.into()) };
        let allows = |rules: &AuthRules, id: &'static str, user: &str| {
            let acl = AclBytes::encode_list(&[entry(id)]);
            rules.allows(AclBytes::decode(&acl).unwrap().1, Perms(0), Perms::READ, &[Identity::new("sasl", user)])
        };
        let known = rules(SaslRules { anybody: Some("all".into()), ..with_provider() });
        assert!(allows(&known, "bob", "bob") && allows(&known, "all", "bob") && allows(&known, "bob", "super"));
        assert!(!allows(&known, "bob", "all") && !allows(&known, "super", "bob"));
        let without = rules(SaslRules::default());
        assert!(!allows(&without, "bob", "bob"));
        let fixed = |rules: &AuthRules, entry: Acl<'_>| {
            let bytes = AclBytes::encode_list(&[entry]);
            let fixed = rules.fix_up(AclBytes::decode(&bytes).unwrap().1, &[Identity::new("sasl", "bob")]);
            fixed.map(std::borrow::Cow::into_owned)
        };
        let auth = Acl { perms: Perms(31), scheme: Some("auth".into()), id: None };
        assert_eq!(fixed(&known, auth.clone()), Ok(AclBytes::encode_list(&[entry("bob")])));
        assert_eq!(fixed(&known, entry("a@b@c")), Err(ErrorCode::INVALID_ACL));
        assert_eq!(fixed(&known, Acl { id: None, ..entry("") }), Err(ErrorCode::MARSHALLING));
        assert_eq!((fixed(&without, auth), fixed(&without, entry("x"))).0, Err(ErrorCode::INVALID_ACL));
        let user = Identity::new("sasl", "bob");
        assert_eq!((known.user(&user), without.user(&user)), ("bob", ""));
        let all = [Identity::new("digest", "joe:x"), user, Identity::new("super", ""), Identity::new("ip", "::1")];
        assert_eq!((known.users(&all), without.users(&all)), ("joe,bob,::1".into(), "joe,::1".into()));
    }
}
