//! The syntax of Java's properties files, which zoo.cfg is written in.

use super::{ConfigError, Place, Setting};

/// Reads all settings in order.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let mut logical = line.trim_start_matches(BLANKS).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while continues(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANKS));
        }
        let place = Place::Line(file.to_owned(), number);
        let (key, value) = split(&logical);
        let unescape = |text| unescape(text).map_err(|reason| ConfigError::Syntax { place: place.clone(), reason });
        let (key, value) = (unescape(key)?, unescape(value)?);
        settings.push(Setting { place, key, value: value.trim().to_owned() });
    }
    Ok(settings)
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
}
