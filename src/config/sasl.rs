//! SASL as zoo.cfg sets it, and what the file with the passwords says (CF-22, CF-71, CF-73, CF-75, CF-76).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::jaas::JaasFile;
use super::keys::{Expected, flag};
use super::{Config, ConfigError, NoteLevel, Secret, Setting};

/// Passwords by the names of users.
pub type Users = BTreeMap<String, Secret>;

/// Who somebody is, and how they show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Everything about SASL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaslConfig {
    /// `java.security.auth.login.config`: the file that the passwords stand in; see [`Config::merge_jaas`].
    pub file: Option<PathBuf>,
    /// `sasl.serverconfig`: its section for clients.
    pub section: String,
    /// What that section says; `None`: there is none.
    pub users: Option<Users>,
    /// `SASLAuthenticationProvider.superPassword`: the password of the user `super` instead of the one in the file.
    pub super_password: Option<Secret>,
    /// `superUser`, `superUser.N`, by key: users that are the super user as well.
    pub super_users: BTreeMap<String, String>,
    /// Whether `authProvider.N` names the provider of the scheme, which then counts in ACLs.
    pub provider: bool,
    /// `letAnySaslUserDoX`.
    pub anybody: Option<String>,
    /// `sessionRequireClientSASLAuth`: as if `enforce.auth.schemes` were sasl alone.
    pub required: bool,
    /// `allowSaslFailedClients`.
    pub allow_failed: bool,
}

impl Default for SaslConfig {
    fn default() -> Self {
        Self {
            file: None,
            section: "Server".to_owned(),
            users: None,
            super_password: None,
            super_users: BTreeMap::new(),
            provider: false,
            anybody: None,
            required: false,
            allow_failed: false,
        }
    }
}

/// The scheme, and the user that every entry of it is for.
const SCHEME: &str = "sasl";
const SUPER: &str = "super";
/// The key that names the file.
const FILE: &str = "java.security.auth.login.config";

/// Puts a setting where it belongs; `None`: it is not about SASL.
pub(super) fn apply(config: &mut Config, setting: &Setting) -> Option<Result<(), ConfigError>> {
    let (key, value) = (setting.name(), setting.value.as_str());
    let sasl = &mut config.sasl;
    let applied: Result<(), Expected> = match key {
        FILE => file(value).map(|v| sasl.file = Some(v)),
        "sasl.serverconfig" => name(value).map(|v| sasl.section = v),
        "SASLAuthenticationProvider.superPassword" => {
            sasl.super_password = Some(Secret(value.to_owned()));
            Ok(())
        }
        "sessionRequireClientSASLAuth" => flag(value).map(|v| sasl.required = v),
        "allowSaslFailedClients" => flag(value).map(|v| sasl.allow_failed = v),
        "letAnySaslUserDoX" => {
            sasl.anybody = Some(value.to_owned());
            Ok(())
        }
        _ if key.strip_prefix("superUser").is_some_and(|more| more.is_empty() || more.starts_with('.')) => {
            sasl.super_users.insert(key.to_owned(), value.to_owned());
            Ok(())
        }
        _ => return None,
    };
    Some(applied.map_err(|Expected(expected)| setting.refuse(expected)))
}

/// A file, as Java takes it: with an equals sign before it nothing else would be read, and it may be a URL.
fn file(text: &str) -> Result<PathBuf, Expected> {
    let text = text.strip_prefix('=').unwrap_or(text);
    let path = text.strip_prefix("file:").map_or(text, |url| url.strip_prefix("//").unwrap_or(url));
    super::keys::file(path)
}

fn name(text: &str) -> Result<String, Expected> {
    if text.is_empty() { super::keys::expected("the name of a section") } else { Ok(text.to_owned()) }
}

impl Config {
    /// Takes the passwords from the text of the file that `java.security.auth.login.config` names, which is called `file`.
    /// Whoever parses a configuration that has such a file must do this before the rest of it is used.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn merge_jaas(&mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        let jaas = JaasFile::parse(file, text)?;
        self.sasl.users = jaas.users(&self.sasl.section)?;
        let sasl = &mut self.sasl;
        if let (Some(users), Some(password)) = (&mut sasl.users, &sasl.super_password)
            && let Some(known) = users.get_mut(SUPER)
        {
            *known = password.clone();
        }
        if self.sasl.users.is_none() {
            let text = format!("{file}: no section {}: clients cannot show who they are by SASL", self.sasl.section);
            self.note(NoteLevel::Warning, text);
        }
        Ok(())
    }

    /// What does not go together; `file` is called so.
    pub(super) fn check_sasl(&mut self, file: &str) -> Result<(), String> {
        let schemes = self.enforced_schemes();
        if schemes.iter().any(String::is_empty) || self.enforce_auth && schemes.is_empty() {
            return Err("enforce.auth.enabled is true but enforce.auth.schemes is empty".to_owned());
        }
        if let Some(scheme) = schemes.iter().find(|scheme| !self.has_provider(scheme)) {
            let why = if self.sasl.required { "sessionRequireClientSASLAuth" } else { "enforce.auth.schemes" };
            let what = if scheme == SCHEME {
                ": it needs authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
            } else {
                ", which has no provider"
            };
            return Err(format!("{why} asks for the scheme {scheme}{what}"));
        }
        if self.sasl.file.is_none() && schemes.iter().any(|scheme| scheme == SCHEME) {
            let text = format!("{file}: SASL is asked for, but {FILE} names no file: no client will be taken");
            self.note(NoteLevel::Warning, text);
        }
        Ok(())
    }

    /// Without one of these a client may not do anything (AC-15, AC-16).
    #[must_use]
    pub fn enforced_schemes(&self) -> Vec<String> {
        match (self.sasl.required, self.enforce_auth) {
            (true, _) => vec![SCHEME.to_owned()],
            (false, true) => self.enforce_auth_schemes.clone(),
            (false, false) => Vec::new(),
        }
    }

    fn has_provider(&self, scheme: &str) -> bool {
        match scheme {
            "ip" => true,
            "digest" => self.digest_auth,
            "x509" => self.tls.knows_x509(),
            SCHEME => self.sasl.provider,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDER: &str = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n";
    const BOB: &str =
        "Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_bob=b user_super=s; };";

    fn cfg(text: &str) -> Result<Config, String> {
        Config::parse("zoo.cfg", &format!("dataDir=/d\n{text}"), &[]).map_err(|error| error.to_string())
    }

    fn merged(text: &str, jaas: &str) -> Config {
        let mut config = cfg(text).unwrap();
        config.merge_jaas("jaas", jaas).unwrap();
        config
    }

    #[test]
    fn the_file_is_named_as_for_java() {
        for name in ["/etc/jaas", "=/etc/jaas", "file:/etc/jaas", "=file:///etc/jaas"] {
            assert_eq!(cfg(&format!("{FILE}={name}")).unwrap().sasl.file, Some("/etc/jaas".into()), "{name}");
        }
        assert!(cfg(&format!("{FILE}=")).unwrap_err().ends_with("expected a file"));
    }

    #[test]
    fn users_are_those_of_the_section_that_is_meant() {
        let password = |config: &Config, user: &str| Some(config.sasl.users.as_ref()?.get(user)?.0.clone());
        let config = merged("", BOB);
        assert_eq!((password(&config, "bob"), password(&config, "super")), (Some("b".into()), Some("s".into())));
        let config = merged("SASLAuthenticationProvider.superPassword=p", BOB);
        assert_eq!(password(&config, "super"), Some("p".into()));
        let config = merged("SASLAuthenticationProvider.superPassword=p", &BOB.replace("user_super=s", ""));
        assert_eq!(password(&config, "super"), None, "who is not in the file is not known");
        let config = merged("sasl.serverconfig=Other", BOB);
        assert_eq!(config.sasl.users, None);
        assert!(config.notes[0].text.starts_with("jaas: no section Other"));
        assert_eq!(
            password(&merged("sasl.serverconfig=Other", &BOB.replace("Server", "Other")), "bob"),
            Some("b".into())
        );
        assert!(!format!("{:?}", merged("", BOB)).contains("\"b\""), "passwords are shown to nobody");
    }

    #[test]
    fn super_users_are_counted_by_their_keys() {
        let config = cfg("superUser=a\nsuperUser.1=b\nzookeeper.superUser.x.y=c\nsuperUser.1=d").unwrap();
        assert_eq!(config.sasl.super_users.values().collect::<Vec<_>>(), ["a", "d", "c"]);
        assert!(cfg("superUser1=x").unwrap().sasl.super_users.is_empty());
    }

    #[test]
    fn a_scheme_that_is_enforced_needs_its_provider() {
        let schemes = |text: &str| cfg(text).map(|config| config.enforced_schemes());
        let sasl = Ok(vec!["sasl".to_owned()]);
        assert_eq!(schemes(&format!("{PROVIDER}sessionRequireClientSASLAuth=true")), sasl);
        assert!(schemes("sessionRequireClientSASLAuth=true").unwrap_err().contains("it needs authProvider.1="));
        let both = "sessionRequireClientSASLAuth=true\nenforce.auth.enabled=true\nenforce.auth.schemes=digest";
        assert_eq!(schemes(&format!("{PROVIDER}{both}")), sasl);
        let enforced = |scheme: &str| schemes(&format!("enforce.auth.enabled=true\nenforce.auth.schemes={scheme}"));
        assert_eq!(enforced("digest, ip").map(|schemes| schemes.len()), Ok(2));
        assert!(enforced("sasl").unwrap_err().contains("asks for the scheme sasl"));
        assert!(enforced("digest,nosuch").unwrap_err().ends_with("asks for the scheme nosuch, which has no provider"));
        assert!(enforced("").unwrap_err().contains("enforce.auth.schemes is empty"));
        let notes = cfg(&format!("{PROVIDER}sessionRequireClientSASLAuth=true")).unwrap().notes;
        assert!(notes[0].text.contains("no client will be taken"));
    }
}
