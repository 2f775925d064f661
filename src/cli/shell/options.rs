//! Options of a shell's command, among its words wherever they stand: one dash, some with an argument (TO-13 to TO-24).
//!
//! The rules are those of the library that the reference uses, down to its complaints: `-sw` are two options, `-v3` and
//! `-v=3` one with its argument, `--` ends them, and a word with a dash in front that is none of these is an error.

use super::failure::Failure;

/// One option.
#[derive(Debug)]
pub(super) struct Opt {
    pub(super) name: &'static str,
    pub(super) takes_value: bool,
    /// Only told of where one of a group is missing.
    pub(super) about: &'static str,
}

/// An option alone.
pub(super) const fn flag(name: &'static str) -> Opt {
    Opt { name, takes_value: false, about: "" }
}

/// An option with an argument.
pub(super) const fn value(name: &'static str) -> Opt {
    Opt { name, takes_value: true, about: "" }
}

/// Whether a command's options exclude each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    /// They do not.
    No,
    /// At most one of them.
    AtMostOne,
    /// Exactly one of them.
    One,
}

/// A command's words without the options, its name first; and the options.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) words: Vec<String>,
    options: Vec<(&'static str, Option<String>)>,
}

impl Words {
    pub(super) fn without_options(words: &[String]) -> Self {
        Self { words: words.to_vec(), options: Vec::new() }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| *option == name)
    }

    /// The argument of an option; the first if it is there more than once.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().filter(|(option, _)| *option == name).find_map(|(_, value)| value.as_deref())
    }

    /// A word behind the command's name.
    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }
}

/// Tells the options from the other words.
///
/// # Errors
/// What the reference says of a command that cannot be understood.
pub(super) fn parse(options: &'static [Opt], group: Group, words: &[String]) -> Result<Words, Failure> {
    let mut parser = Parser { options, group, found: Words::default(), open: false };
    let mut only_words = false;
    for word in words {
        if only_words {
            parser.found.words.push(word.clone());
        } else if word == "--" {
            only_words = true;
        } else if parser.open && !parser.is_option(word) {
            parser.give(unquoted(word));
        } else if word.len() > 1 && word.starts_with('-') && !word.starts_with("--") {
            parser.take(word)?;
        } else if word.starts_with("--") {
            return Err(unknown(word));
        } else {
            parser.found.words.push(word.clone());
        }
    }
    parser.expect_value()?;
    if group == Group::One && parser.found.options.is_empty() {
        let all: Vec<_> = options.iter().map(|option| format!("-{} {}", option.name, option.about)).collect();
        let missing = format!("Missing required option: [{}]", all.join(", "));
        return Err(complaint("MissingOption", &missing));
    }
    Ok(parser.found)
}

struct Parser {
    options: &'static [Opt],
    group: Group,
    found: Words,
    /// Whether the last option waits for its argument.
    open: bool,
}

impl Parser {
    fn find(&self, name: &str) -> Option<&'static Opt> {
        self.options.iter().find(|option| option.name == name)
    }

    /// Whether a word could be an option, so that it is no argument of one.
    fn is_option(&self, word: &str) -> bool {
        let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else { return false };
        let name = rest.split('=').next().unwrap_or_default();
        let first = name.chars().next().map(String::from);
        self.find(name).is_some() || first.is_some_and(|first| self.find(&first).is_some())
    }

    /// One word with a dash.
    fn take(&mut self, word: &str) -> Result<(), Failure> {
        let rest = &word[1..];
        if let Some(option) = self.find(rest) {
            return self.add(option);
        }
        if let Some((name, value)) = rest.split_once('=') {
            let option = self.find(name).filter(|option| option.takes_value && name.chars().count() == 1);
            self.add(option.ok_or_else(|| unknown(word))?)?;
            self.give(value);
            return Ok(());
        }
        for (at, letter) in rest.char_indices() {
            let option = self.find(letter.encode_utf8(&mut [0; 4])).ok_or_else(|| unknown(word))?;
            self.add(option)?;
            let behind = &rest[at + letter.len_utf8()..];
            if self.open && !behind.is_empty() {
                self.give(behind);
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, option: &Opt) -> Result<(), Failure> {
        self.expect_value()?;
        if self.group != Group::No
            && let Some((other, _)) = self.found.options.first()
            && *other != option.name
        {
            let text = format!(
                "The option '{}' was specified but an option from this group has already been selected: '{other}'",
                option.name
            );
            return Err(complaint("AlreadySelected", &text));
        }
        self.open = option.takes_value;
        let name = self.find(option.name).map_or("", |option| option.name);
        self.found.options.push((name, None));
        Ok(())
    }

    fn give(&mut self, value: &str) {
        if let Some((_, place)) = self.found.options.last_mut() {
            *place = Some(value.to_owned());
        }
        self.open = false;
    }

    fn expect_value(&self) -> Result<(), Failure> {
        match self.found.options.last() {
            Some((name, None)) if self.open => {
                Err(complaint("MissingArgument", &format!("Missing argument for option: {name}")))
            }
            _ => Ok(()),
        }
    }
}

/// An argument loses quotes around it.
fn unquoted(word: &str) -> &str {
    let inside = word.strip_prefix('"').and_then(|word| word.strip_suffix('"'));
    inside.filter(|inside| !inside.contains('"')).unwrap_or(word)
}

fn unknown(word: &str) -> Failure {
    complaint("UnrecognizedOption", &format!("Unrecognized option: {word}"))
}

/// The reference shows its users the name of a class here, and programs look for it.
fn complaint(kind: &str, text: &str) -> Failure {
    Failure::Text(format!("org.apache.commons.cli.{kind}Exception: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    static SOME: [Opt; 4] = [flag("s"), flag("w"), value("v"), value("file")];
    static GROUP: [Opt; 2] = [Opt { about: "soft", ..value("n") }, Opt { about: "hard", ..value("N") }];

    fn parsed(line: &str) -> Result<Words, String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        parse(&SOME, Group::No, &words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn options_stand_anywhere() {
        for line in ["get -s -v 3 /a", "get /a -s -v3", "get -sv3 /a", "get -v=3 -s /a", "get -sv 3 -- /a"] {
            let words = parsed(line).expect(line);
            assert_eq!(
                (words.words.as_slice(), words.value("v")),
                (["get", "/a"].map(str::to_owned).as_slice(), Some("3"))
            );
            assert!(words.has("s") && !words.has("w"), "{line}");
        }
        assert_eq!(parsed("get -file x").expect("understood").value("file"), Some("x"));
        assert_eq!(parsed("get -v -5 /a").expect("understood").value("v"), Some("-5"));
        assert_eq!(parsed("get -v 1 -v 2").expect("understood").value("v"), Some("1"));
        assert_eq!(parsed("get - x").expect("understood").words, ["get", "-", "x"]);
        assert_eq!(parsed("get -- -s").expect("understood").words, ["get", "-s"]);
    }

    #[test]
    fn complaints_are_the_references() {
        let complaint = |line: &str| parsed(line).expect_err(line).replace("org.apache.commons.cli.", "");
        for word in ["-q", "-sq", "--s", "-s=3", "-=", "-file=x", "-1"] {
            let expected = format!("UnrecognizedOptionException: Unrecognized option: {word}");
            assert_eq!(complaint(&format!("get {word} /a")), expected);
        }
        for line in ["get -v", "get -v -s", "get -v -w"] {
            assert_eq!(complaint(line), "MissingArgumentException: Missing argument for option: v");
        }
        let group = |line: &str, group| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            parse(&GROUP, group, &words).map_err(|failure| failure.to_string())
        };
        assert!(group("q -n 1", Group::One).is_ok() && group("q", Group::AtMostOne).is_ok());
        assert!(
            group("q -n 1 -N 2", Group::One).expect_err("two").contains("AlreadySelectedException: The option 'N' was")
        );
        let missing = group("q", Group::One).expect_err("none");
        assert!(missing.ends_with("MissingOptionException: Missing required option: [-n soft, -N hard]"), "{missing}");
    }
}
