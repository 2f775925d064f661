//! The syntax of Java's properties files, which zoo.cfg is written in.

use super::{ConfigError, Place, Setting};

/// Reads all settings in order.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for line in lines(text) {
        let Some(logical) = &line.logical else { continue };
        let place = Place::Line(file.to_owned(), line.number);
        let (key, value) = split(logical);
        let unescape = |text| unescape(text).map_err(|reason| ConfigError::Syntax { place: place.clone(), reason });
        let (key, value) = (unescape(key)?, unescape(value)?);
        settings.push(Setting { place, key, value: value.trim().to_owned() });
    }
    Ok(settings)
}

/// The keys and values of a file that is not one of the server's (TO-10).
///
/// # Errors
/// Of the first line that breaks the syntax.
pub fn parse_properties(file: &str, text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let settings = parse(file, text)?;
    Ok(settings.into_iter().map(|setting| (setting.key, setting.value)).collect())
}

/// The text without the settings whose keys are to be dropped. All else stays as it is, comments too.
pub(super) fn without(text: &str, drops: impl Fn(&str) -> bool) -> String {
    let stays = |line: &Line<'_>| match &line.logical {
        Some(logical) => !unescape(split(logical).0).is_ok_and(|key| drops(&key)),
        None => true,
    };
    lines(text).filter(stays).map(|line| line.raw).collect()
}

/// One setting, on one line or on several that continue each other; or a line that holds none.
struct Line<'a> {
    /// Of the first line, from 1.
    number: usize,
    /// As it stands there, line ends included.
    raw: &'a str,
    /// Key and value; `None` for comments and empty lines.
    logical: Option<String>,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut rest = text;
    let mut next = 1;
    std::iter::from_fn(move || {
        let number = next;
        let mut take = |from: &str| {
            next += 1;
            from.find('\n').map_or(from.len(), |end| end + 1)
        };
        if rest.is_empty() {
            return None;
        }
        let mut end = take(rest);
        let start = trimmed(&rest[..end]);
        let mut logical = (!start.is_empty() && !start.starts_with(['#', '!'])).then(|| start.to_owned());
        while let Some(logical) = logical.as_mut().filter(|logical| continues(logical)) {
            logical.pop();
            if end == rest.len() {
                break;
            }
            let more = end + take(&rest[end..]);
            logical.push_str(trimmed(&rest[end..more]));
            end = more;
        }
        let (raw, behind) = rest.split_at(end);
        rest = behind;
        Some(Line { number, raw, logical })
    })
}

/// A line without the blanks before it and without its end.
fn trimmed(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line).trim_start_matches(BLANKS)
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// An odd number of backslashes at the end: the line goes on.
fn continues(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or blank that is not escaped; one `=` or `:` among blanks belongs to neither side.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let is_end = !escaped && (BLANKS.contains(&c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        is_end
    });
    let Some(end) = end else { return (line, "") };
    let rest = line[end..].trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], value.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                let code = code.ok_or_else(|| format!("malformed \\u escape: \\u{digits}"))?;
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let settings = parse("f", text).unwrap();
        let line = |place| if let Place::Line(_, line) = place { line } else { 0 };
        settings.into_iter().map(|s| (line(s.place), s.key, s.value)).collect()
    }

    #[test]
    fn keys_end_at_an_equals_sign_a_colon_or_a_blank() {
        for line in ["a=b", "a:b", "a b", "a = b", " a\t:  b ", "a\u{c}=b"] {
            assert_eq!(pairs(line), [(1, "a".to_owned(), "b".to_owned())], "{line:?}");
        }
        assert_eq!(pairs("a==b"), [(1, "a".to_owned(), "=b".to_owned())]);
        assert_eq!(pairs("a"), [(1, "a".to_owned(), String::new())]);
        assert_eq!(pairs("a\\=b=c"), [(1, "a=b".to_owned(), "c".to_owned())]);
    }

    #[test]
    fn comments_continuations_and_escapes() {
        let text = "# x\n! y\n\na=1,\\\n   2\nb=c\\\\\nd=\\u0041\\t\\q\n";
        let expected = [(4, "a", "1,2"), (6, "b", "c\\"), (7, "d", "A\tq")];
        assert_eq!(pairs(text), expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned())));
        assert!(parse("f", "a=\\u00g0").is_err());
    }

    #[test]
    fn what_is_not_dropped_stays_as_it_is() {
        let text = "# x\r\n a = 1\\\n  2\nb=c\\\\\n\n\\u0061 7\n d : e";
        assert_eq!(without(text, |key| key == "a"), "# x\r\nb=c\\\\\n\n d : e");
        assert_eq!(without(text, |_| false), text);
        assert_eq!(without("a=\\", |_| false), "a=\\");
        assert_eq!(without("a=1\\\n#2\nb=3", |key| key == "a"), "b=3", "what continues a line is no comment");
    }
}
