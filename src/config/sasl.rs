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
    /// Between servers.
    pub quorum: QuorumSaslConfig,
}

/// `quorum.auth.*`: the password that servers ask each other for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumSaslConfig {
    /// `enableSasl`: passwords are taken.
    pub enabled: bool,
    /// `learnerRequireSasl`: this server shows its own to those that it dials.
    pub learner_required: bool,
    /// `serverRequireSasl`: nobody is taken without.
    pub server_required: bool,
    /// `learner.saslLoginContext`: the section that this server's own stands in, ...
    pub learner_section: String,
    /// ... and what it says.
    pub own: Option<Credentials>,
    /// `server.saslLoginContext`: the section of those that are taken, ...
    pub server_section: String,
    /// ... and what it says.
    pub users: Users,
}

impl Default for QuorumSaslConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            learner_required: false,
            server_required: false,
            learner_section: "QuorumLearner".to_owned(),
            own: None,
            server_section: "QuorumServer".to_owned(),
            users: Users::new(),
        }
    }
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
            quorum: QuorumSaslConfig::default(),
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
        "quorum.auth.enableSasl" => flag(value).map(|v| sasl.quorum.enabled = v),
        "quorum.auth.learnerRequireSasl" => flag(value).map(|v| sasl.quorum.learner_required = v),
        "quorum.auth.serverRequireSasl" => flag(value).map(|v| sasl.quorum.server_required = v),
        "quorum.auth.learner.saslLoginContext" => name(value).map(|v| sasl.quorum.learner_section = v),
        "quorum.auth.server.saslLoginContext" => name(value).map(|v| sasl.quorum.server_section = v),
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
        if self.sasl.quorum.enabled && self.is_distributed() {
            let quorum = &mut self.sasl.quorum;
            let missing = |key: &str, section: &str| ConfigError::Together {
                file: file.to_owned(),
                reason: format!("no section {section}, which quorum.auth.enableSasl and {key} ask for"),
            };
            let (own, users) = (jaas.credentials(&quorum.learner_section), jaas.users(&quorum.server_section));
            quorum.users =
                users?.ok_or_else(|| missing("quorum.auth.server.saslLoginContext", &quorum.server_section))?;
            let own = own?.ok_or_else(|| missing("quorum.auth.learner.saslLoginContext", &quorum.learner_section))?;
            quorum.own = Some(own);
        }
        let wanted = !self.sasl.quorum.enabled || self.enforced_schemes().iter().any(|scheme| scheme == SCHEME);
        if wanted && self.sasl.users.is_none() {
            let text = format!("{file}: no section {}: clients cannot show who they are by SASL", self.sasl.section);
            self.note(NoteLevel::Warning, text);
        }
        Ok(())
    }

    /// What does not go together; `file` is called so.
    pub(super) fn check_sasl(&mut self, file: &str) -> Result<(), String> {
        self.sasl.quorum.check(self.sasl.file.is_some())?;
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
            "ensemble" => self.ensemble_auth,
            _ => false,
        }
    }
}

impl QuorumSaslConfig {
    fn check(&self, has_file: bool) -> Result<(), String> {
        let (enable, learner, server) =
            ("quorum.auth.enableSasl", "quorum.auth.learnerRequireSasl", "quorum.auth.serverRequireSasl");
        // Who asks for what it does not show would not be taken by itself.
        let needs = [
            (self.server_required, server, self.enabled, enable),
            (self.learner_required, learner, self.enabled, enable),
            (self.server_required, server, self.learner_required, learner),
        ];
        match needs.iter().find(|(wants, _, has, _)| *wants && !has) {
            Some((_, wanted, _, missing)) => Err(format!("{wanted}=true needs {missing}=true")),
            None if self.enabled && !has_file => {
                Err(format!("{enable}=true needs {FILE}: the file with the passwords"))
            }
            None => Ok(()),
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
    fn servers_have_sections_of_their_own() {
        let both = "QuorumServer { MODULE user_test=pw; }; QuorumLearner { MODULE username=test password=pw; };";
        let both = both.replace("MODULE", "org.apache.zookeeper.server.auth.DigestLoginModule required");
        let two = format!("{FILE}=jaas\ninitLimit=5\nsyncLimit=2\nserver.1=a:1:2\nserver.2=b:1:2\n");
        let quorum = |text: &str, jaas: &str| {
            let mut config = cfg(&format!("{two}{text}"))?;
            config.merge_jaas("jaas", jaas).map_err(|error| error.to_string())?;
            let quorum = config.sasl.quorum;
            Ok::<_, String>((quorum.users.into_keys().collect::<Vec<_>>(), quorum.own.map(|own| own.user)))
        };
        let on = "quorum.auth.enableSasl=true\n";
        assert_eq!(quorum(on, &both), Ok((vec!["test".to_owned()], Some("test".to_owned()))));
        assert_eq!(quorum("", &both), Ok((vec![], None)));
        let named = format!("{on}quorum.auth.server.saslLoginContext=S\nquorum.auth.learner.saslLoginContext=L");
        let renamed = both.replace("QuorumServer", "S").replace("QuorumLearner", "L");
        assert_eq!(quorum(&named, &renamed), quorum(on, &both));
        assert!(quorum(&named, &both).unwrap_err().starts_with("jaas: no section S, which quorum.auth.enableSasl"));
        assert!(quorum(on, &both.replace("QuorumL", "L")).unwrap_err().contains("no section QuorumLearner"));
        assert!(quorum(on, &both.replace("username", "name")).unwrap_err().contains("expected username="));
        let alone = merged(&format!("{FILE}=jaas\n{on}"), "");
        assert!(alone.sasl.quorum.users.is_empty(), "a server alone asks nobody");
        let error = |text: &str| cfg(text).unwrap_err();
        assert!(error("quorum.auth.serverRequireSasl=true").ends_with("needs quorum.auth.enableSasl=true"));
        assert!(error("quorum.auth.learnerRequireSasl=true").ends_with("needs quorum.auth.enableSasl=true"));
        let server = format!("{on}quorum.auth.serverRequireSasl=true");
        assert!(error(&server).ends_with("needs quorum.auth.learnerRequireSasl=true"));
        assert!(error(on).contains("quorum.auth.enableSasl=true needs java.security.auth.login.config"));
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
