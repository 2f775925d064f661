//! The file that `java.security.auth.login.config` names: sections of login modules, each with options (CF-76).
//!
//! ```text
//! Server {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_bob="secret";      // or any number of them
//! };
//! ```

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::sasl::{Credentials, Users};
use super::{ConfigError, Place, Secret};

/// The module that passwords stand in, ...
const DIGEST_MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";
/// ... and the beginning of their options' names.
const USER: &str = "user_";
const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

/// Everything that the file says.
#[derive(Debug)]
pub(super) struct JaasFile {
    name: String,
    sections: BTreeMap<String, Vec<Module>>,
}

#[derive(Debug)]
struct Module {
    line: usize,
    class: String,
    /// Of an option that stands there twice, the last one counts.
    options: BTreeMap<String, Secret>,
}

impl JaasFile {
    /// Reads `text`, which stands in the file `name`, as Java does; only a quoted text that does not end on its line, and a
    /// comment that does not end at all, are errors here.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`].
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let mut tokens = Tokens { file: name, rest: text.chars().peekable(), line: 1 };
        let mut sections = BTreeMap::new();
        while let Some(token) = tokens.token()? {
            let Token::Word(section) = token else {
                return Err(tokens.fail("expected the name of a section"));
            };
            tokens.expect('{')?;
            let mut modules = Vec::new();
            while let Some(class) = tokens.word_unless('}', "the class of a login module")? {
                modules.push(tokens.module(class)?);
            }
            tokens.expect(';')?;
            if sections.contains_key(&section) {
                return Err(tokens.fail(&format!("the section {section} is there already")));
            }
            sections.insert(section, modules);
        }
        Ok(Self { name: name.to_owned(), sections })
    }

    /// Who is known by the section of this name: `user_NAME` of all its modules. `None`: there is no such section, or nothing is
    /// in it.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] for modules that are not for passwords.
    pub(super) fn users(&self, section: &str) -> Result<Option<Users>, ConfigError> {
        let Some(modules) = self.section(section)? else { return Ok(None) };
        let mut users = Users::new();
        for (module, (option, password)) in modules.iter().flat_map(|m| m.options.iter().map(move |o| (m, o))) {
            match option.strip_prefix(USER) {
                Some("") => return Err(self.fail(module, "expected the name of a user behind user_")),
                Some(user) => users.insert(user.to_owned(), password.clone()),
                None => continue,
            };
        }
        Ok(Some(users))
    }

    /// Who this server is by the section of this name: `username` and `password`.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] for modules that are not for passwords, and if they are not there.
    pub(super) fn credentials(&self, section: &str) -> Result<Option<Credentials>, ConfigError> {
        let Some(modules) = self.section(section)? else { return Ok(None) };
        let options = |module: &Module| {
            Some((module.options.get("username")?.0.clone(), module.options.get("password")?.clone()))
        };
        match modules.iter().find_map(options) {
            Some((user, password)) if !user.is_empty() => Ok(Some(Credentials { user, password })),
            _ => Err(self.fail(&modules[0], &format!("expected username=\"…\" and password=\"…\" in {section}"))),
        }
    }

    /// The modules of a section, at least one, each of which is for passwords.
    fn section(&self, section: &str) -> Result<Option<&[Module]>, ConfigError> {
        let Some(modules) = self.sections.get(section).filter(|modules| !modules.is_empty()) else { return Ok(None) };
        match modules.iter().find(|module| module.class != DIGEST_MODULE) {
            Some(other) if other.class.ends_with("Krb5LoginModule") => {
                Err(self.fail(other, &format!("zkd does not have Kerberos: expected {DIGEST_MODULE}")))
            }
            Some(other) => Err(self.fail(other, &format!("expected {DIGEST_MODULE}, found {}", other.class))),
            None => Ok(Some(modules)),
        }
    }

    fn fail(&self, module: &Module, reason: &str) -> ConfigError {
        ConfigError::Syntax { place: Place::Line(self.name.clone(), module.line), reason: reason.to_owned() }
    }
}

/// What the file is made of.
#[derive(PartialEq, Eq)]
enum Token {
    /// As it is, or quoted.
    Word(String),
    Sign(char),
}

struct Tokens<'a> {
    file: &'a str,
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Tokens<'_> {
    /// What stands behind the class of a module, up to its semicolon.
    fn module(&mut self, class: String) -> Result<Module, ConfigError> {
        let line = self.line;
        let flag = self.word("required, requisite, sufficient or optional")?;
        if !FLAGS.iter().any(|known| known.eq_ignore_ascii_case(&flag)) {
            return Err(self.fail(&format!("expected required, requisite, sufficient or optional, found {flag}")));
        }
        let mut options = BTreeMap::new();
        while let Some(option) = self.word_unless(';', "an option, or a semicolon")? {
            self.expect('=')?;
            let value = self.word("the value of an option")?;
            if names_property(&value) {
                return Err(
                    self.fail(&format!("the value of {option} names a property of Java, which zkd does not have"))
                );
            }
            options.insert(option, Secret(value));
        }
        Ok(Module { line, class, options })
    }

    fn word(&mut self, what: &str) -> Result<String, ConfigError> {
        match self.token()? {
            Some(Token::Word(word)) => Ok(word),
            other => Err(self.unexpected(what, other)),
        }
    }

    /// A word; `None` at this sign.
    fn word_unless(&mut self, sign: char, what: &str) -> Result<Option<String>, ConfigError> {
        match self.token()? {
            Some(Token::Word(word)) => Ok(Some(word)),
            Some(Token::Sign(found)) if found == sign => Ok(None),
            other => Err(self.unexpected(what, other)),
        }
    }

    fn expect(&mut self, sign: char) -> Result<(), ConfigError> {
        match self.token()? {
            Some(Token::Sign(found)) if found == sign => Ok(()),
            other => Err(self.unexpected(&sign.to_string(), other)),
        }
    }

    /// Words are not shown: they may be passwords.
    fn unexpected(&self, wanted: &str, found: Option<Token>) -> ConfigError {
        let found = match found {
            Some(Token::Sign(sign @ ('0'..='9' | '-' | '.'))) => {
                format!("{sign}: a word that begins so has to be in quotes")
            }
            Some(Token::Sign(sign)) => sign.to_string(),
            Some(Token::Word(_)) => "a word".to_owned(),
            None => "the end of the file".to_owned(),
        };
        self.fail(&format!("expected {wanted}, found {found}"))
    }

    fn fail(&self, reason: &str) -> ConfigError {
        ConfigError::Syntax { place: Place::Line(self.file.to_owned(), self.line), reason: reason.to_owned() }
    }

    fn token(&mut self) -> Result<Option<Token>, ConfigError> {
        while let Some(letter) = self.rest.next() {
            match letter {
                '\n' => self.line += 1,
                '\0'..=' ' => {}
                '/' => self.comment()?,
                '"' => return self.quoted().map(|word| Some(Token::Word(word))),
                _ if begins_word(letter) => {
                    let mut word = letter.to_string();
                    while let Some(more) = self.rest.next_if(|c| begins_word(*c) || matches!(c, '0'..='9' | '.' | '-'))
                    {
                        word.push(more);
                    }
                    return Ok(Some(Token::Word(word)));
                }
                _ => return Ok(Some(Token::Sign(letter))),
            }
        }
        Ok(None)
    }

    /// Behind a slash: up to the end of the line, whether or not there is another one, or what is between stars.
    fn comment(&mut self) -> Result<(), ConfigError> {
        if self.rest.next_if_eq(&'*').is_none() {
            while self.rest.next_if(|letter| *letter != '\n').is_some() {}
            return Ok(());
        }
        while let Some(letter) = self.rest.next() {
            match letter {
                '\n' => self.line += 1,
                '*' if self.rest.next_if_eq(&'/').is_some() => return Ok(()),
                _ => {}
            }
        }
        Err(self.fail("a comment that does not end"))
    }

    fn quoted(&mut self) -> Result<String, ConfigError> {
        let mut word = String::new();
        while let Some(letter) = self.rest.next_if(|letter| !matches!(letter, '\n' | '\r')) {
            match letter {
                '"' => return Ok(word),
                '\\' => word.extend(self.escaped()),
                _ => word.push(letter),
            }
        }
        Err(self.fail("a quoted text that does not end on its line"))
    }

    /// What stands behind a backslash: as in C, but for hexadecimal numbers.
    fn escaped(&mut self) -> Option<char> {
        let letter = self.rest.next_if(|letter| !matches!(letter, '\n' | '\r'))?;
        Some(match letter {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '0'..='7' => {
                // Three digits at the most, and no more than a byte holds.
                let digits = if letter <= '3' { 2 } else { 1 };
                let mut value = u32::from(letter) - u32::from('0');
                for _ in 0..digits {
                    let Some(digit) = self.rest.next_if(|c| matches!(c, '0'..='7')) else { break };
                    value = value * 8 + u32::from(digit) - u32::from('0');
                }
                char::from_u32(value)?
            }
            other => other,
        })
    }
}

/// Digits, points and hyphens may only follow: Java takes what begins with them for a number.
const fn begins_word(letter: char) -> bool {
    matches!(letter, 'a'..='z' | 'A'..='Z' | '$' | '_' | '*' | '\u{a0}'..)
}

/// Whether Java would put something in the place of `${…}`.
fn names_property(value: &str) -> bool {
    value.split_once("${").is_some_and(|(_, behind)| behind.contains('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule required";

    fn users(text: &str) -> Result<Option<Vec<(String, String)>>, String> {
        let text = text.replace("MODULE", MODULE);
        let users = JaasFile::parse("jaas", &text).and_then(|file| file.users("Server"));
        let pairs = |users: Users| users.into_iter().map(|(user, password)| (user, password.0)).collect();
        users.map(|users| users.map(pairs)).map_err(|error| error.to_string())
    }

    fn pairs(all: &[(&str, &str)]) -> Result<Option<Vec<(String, String)>>, String> {
        Ok(Some(all.iter().map(|(user, password)| ((*user).into(), (*password).into())).collect()))
    }

    #[test]
    fn users_stand_in_the_modules_of_a_section() {
        let bob = pairs(&[("bob", "b")]);
        for text in [
            "Server { MODULE user_bob=\"b\"; };",
            "Client { a.B optional x=y; }; Server{MODULE user_bob=b;};",
            "// one\n/* two\n * { */ Server { / three\n MODULE useless=\"x\" user_bob=\"x\" user_bob=\"b\"; };",
            "\"Server\" { MODULE \"user_bob\" = \"b\" ; }\n;\n",
        ] {
            assert_eq!(users(text), bob, "{text}");
        }
        let two = "Server { MODULE user_bob=b; MODULE \"user_a b\"=a.b-c$_*9ä日 user_n=\"${x\"; };";
        assert_eq!(users(two), pairs(&[("a b", "a.b-c$_*9ä日"), ("bob", "b"), ("n", "${x")]));
        assert_eq!(users("Server { MODULE; };"), pairs(&[]));
        for none in ["", "Server { };", "Client { MODULE user_bob=b; };"] {
            assert_eq!(users(none), Ok(None), "{none}");
        }
    }

    #[test]
    fn what_is_escaped_is_what_java_makes_of_it() {
        let text = r#"Server { MODULE user_a="\a\b\f\n\r\t\v\101\7\400\q\\\""; };"#;
        assert_eq!(users(text), pairs(&[("a", "\u{7}\u{8}\u{c}\n\r\t\u{b}A\u{7} 0q\\\"")]));
    }

    #[test]
    fn mistakes_are_shown_with_their_line_and_without_passwords() {
        let error = |text: &str| users(text).unwrap_err();
        assert_eq!(
            error("Server {\n MODULE user_bob=\"b\n; };"),
            "jaas:2: a quoted text that does not end on its line"
        );
        assert_eq!(
            error("Server {\n\n MODULE user_bob=\"b\" }"),
            "jaas:3: expected an option, or a semicolon, found }"
        );
        assert_eq!(error("Server { MODULE user_bob=b; }"), "jaas:1: expected ;, found the end of the file");
        assert_eq!(error("Server { MODULE user_bob secret; };"), "jaas:1: expected =, found a word");
        assert!(
            error("Server { MODULE user_bob=12; };").ends_with("found 1: a word that begins so has to be in quotes")
        );
        assert!(error("Server { MODULE must user_bob=b; };").contains("expected ="));
        assert!(error("Server { a.B must user_bob=b; };").ends_with("or optional, found must"));
        assert!(error("/* Server").contains("a comment that does not end"));
        assert!(error("# Server {").contains("expected the name of a section"));
        assert!(error("Server { MODULE user_a='b'; };").ends_with("found '"));
        assert!(error("Server { MODULE user_a=\"${user.home}\"; };").contains("user_a names a property of Java"));
        assert!(error("Server { MODULE user_=\"x\"; };").contains("the name of a user"));
        assert!(error("Server { MODULE; }; Server { MODULE; };").contains("is there already"));
        let kerberos = "Server {\n com.sun.security.auth.module.Krb5LoginModule required\n useKeyTab=true; };";
        assert!(error(kerberos).starts_with("jaas:2: zkd does not have Kerberos"));
        assert!(error("Server { com.example.Mine required user_a=b; };").ends_with("found com.example.Mine"));
    }

    #[test]
    fn a_server_has_one_name() {
        let own = |text: &str| {
            let file = JaasFile::parse("jaas", &text.replace("MODULE", MODULE)).expect("readable");
            let found = file.credentials("QuorumLearner").map_err(|error| error.to_string())?;
            Ok::<_, String>(found.map(|found| (found.user, found.password.0)))
        };
        let test = Ok(Some(("test".to_owned(), "pw".to_owned())));
        assert_eq!(own("QuorumLearner { MODULE username=\"test\" password=\"pw\"; };"), test);
        assert_eq!(own("Server { MODULE; };"), Ok(None));
        for missing in ["", "username=x", "username=\"\" password=x"] {
            let error = own(&format!("QuorumLearner {{ MODULE {missing}; }};")).unwrap_err();
            assert!(error.contains("expected username="), "{error}");
        }
    }
}
