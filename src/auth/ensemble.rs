//! The scheme ensemble (AC-14): not who a client is, but which ensemble it means. Whoever means another one has found a server
//! that moved, and shall look elsewhere.

use crate::proto::Auth;

/// How a client names an ensemble.
const SCHEME: &str = "ensemble";

/// What this ensemble is called: `zookeeper.ensembleAuthName`; `None`: anything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EnsembleNames(pub Option<Vec<Box<str>>>);

/// Which ensemble a client means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meant {
    /// It does not say, or any name will do.
    Any,
    /// This one.
    This,
    /// Another one.
    Another,
}

impl EnsembleNames {
    /// What an auth packet means; `None`: it is about something else.
    pub(super) fn meant(&self, auth: &Auth<'_>) -> Option<Meant> {
        if auth.scheme.as_deref() != Some(SCHEME) {
            return None;
        }
        Some(match (&self.0, auth.auth) {
            (None, _) | (_, None | Some(b"")) => Meant::Any,
            (Some(names), Some(name)) if names.iter().any(|known| known.as_bytes() == name) => Meant::This,
            (Some(_), Some(_)) => Meant::Another,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_mean_any_ensemble_or_this_one() {
        let named = EnsembleNames(Some(vec!["a".into(), "b".into()]));
        let packet = |name| Auth { scheme: Some("ensemble".into()), auth: name };
        let meant = |names: &EnsembleNames, name| names.meant(&packet(name)).unwrap();
        for (name, expected) in [
            (None, Meant::Any),
            (Some(&b""[..]), Meant::Any),
            (Some(b"b"), Meant::This),
            (Some(b" b"), Meant::Another),
            (Some(b"a,b"), Meant::Another),
        ] {
            assert_eq!(meant(&named, name), expected, "{name:?}");
            assert_eq!(meant(&EnsembleNames::default(), name), Meant::Any);
        }
        assert_eq!(meant(&EnsembleNames(Some(Vec::new())), Some(b"a")), Meant::Another);
        assert_eq!(named.meant(&Auth { scheme: Some("digest".into()), auth: Some(b"a") }), None);
    }
}
