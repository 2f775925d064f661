//! zookeeper-env.sh and java.env: a shell would read them; here they may assign variables, and nothing else.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Puts what `text` assigns into `variables`. It ends before the first line that a shell would do more with: that one.
pub(super) fn take(text: &str, variables: &mut BTreeMap<String, String>) -> Option<String> {
    for line in joined(text) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let exported = line.strip_prefix("export ").map(str::trim_start);
        if exported.is_some_and(is_name) {
            continue;
        }
        match assignment(exported.unwrap_or(line), variables) {
            Some((name, value)) => variables.insert(name, value),
            None => return Some(line.to_owned()),
        };
    }
    None
}

/// Lines as a shell has them: one that ends in a backslash goes on with the next.
fn joined(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.split('\n') {
        match lines.last_mut().filter(|_| goes_on) {
            Some(begun) => {
                begun.pop();
                begun.push_str(line);
            }
            None => lines.push(line.to_owned()),
        }
        goes_on = lines.last().is_some_and(|line| ends_in_backslash(line));
    }
    lines
}

/// A backslash that is one: not in a comment, nor in single quotes, nor behind another.
fn ends_in_backslash(line: &str) -> bool {
    let (mut quote, mut before, mut rest) = (None, ' ', line.chars());
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(begun), c) if c == begun => quote = None,
            (Some('\''), _) => {}
            (_, '\\') if rest.next().is_none() => return true,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if before.is_whitespace() || before == ';' => return false,
            _ => {}
        }
        before = c;
    }
    false
}

fn assignment(line: &str, variables: &BTreeMap<String, String>) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    Some((is_name(name).then(|| name.to_owned())?, word(value, variables)?))
}

fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| is_part(c) && !c.is_ascii_digit()) && text.chars().all(is_part)
}

/// One word with its quotes taken away and its variables filled in, and a comment behind it at most.
fn word(text: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let (mut word, mut quote, mut rest) = (String::new(), None, text.chars().peekable());
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(begun), c) if c == begun => quote = None,
            (Some('\''), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (_, '$') => word.push_str(&variable(&mut rest, variables)?),
            (_, '\\') => {
                let next = rest.next()?;
                if quote.is_some() && !matches!(next, '$' | '`' | '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            (None, c) if c.is_whitespace() || c == ';' => {
                let behind: String = rest.collect();
                let behind = behind.trim();
                return (behind.is_empty() || behind.starts_with('#')).then_some(word);
            }
            (_, '`') | (None, '|' | '&' | '<' | '>' | '(' | ')' | '*' | '?' | '~') => return None,
            (_, c) => word.push(c),
        }
    }
    quote.is_none().then_some(word)
}

/// What stands behind a `$`: a name, in braces or not.
fn variable(rest: &mut Peekable<Chars<'_>>, variables: &BTreeMap<String, String>) -> Option<String> {
    let braced = rest.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    let is_whole = is_name(&name) && (!braced || rest.next_if_eq(&'}').is_some());
    let value = || variables.get(&name).cloned().or_else(|| std::env::var(&name).ok()).unwrap_or_default();
    is_whole.then(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> (Vec<(String, String)>, Option<String>) {
        let mut variables = BTreeMap::new();
        let rest = take(text, &mut variables);
        (variables.into_iter().collect(), rest)
    }

    #[test]
    fn assignments_are_read_as_a_shell_reads_them() {
        let text = "# x\nA=1\nexport B=\"two $A \\\"\\n\"  # why\n C='$A'${A}3\nexport A\n\
                    D=\"a\\\n b\"\nE=$NOBODY_HAS_THIS.\nF=a\\ b;";
        let expected = [("A", "1"), ("B", "two 1 \"\\n"), ("C", "$A13"), ("D", "a b"), ("E", "."), ("F", "a b")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(taken(text), (expected, None));
    }

    #[test]
    fn lines_are_joined_as_a_shell_joins_them() {
        let text = "# a path: C:\\\nA=1\nB=2 # why \\\n  #\\\nC=\"3\\\n4\"5\\\n6\nD='7' \\\n\nE=8\\\\\nF=\\#\\\n9";
        let expected = [("A", "1"), ("B", "2"), ("C", "3456"), ("D", "7"), ("E", "8\\"), ("F", "#9")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(taken(text), (expected, None));
        assert_eq!(taken("A='1\\\n2'"), (vec![], Some("A='1\\".to_owned())), "a value of two lines");
        assert_eq!(taken("A=1\\"), (vec![], Some("A=1\\".to_owned())), "there is no next line");
    }

    #[test]
    fn nothing_is_taken_behind_a_line_that_does_more() {
        for line in ["if true; then", "A=$(date)", "A=`date`", "A=b c", "A=${B:-c}", "1A=b", "A=\"b", "A=b|c", "A=~/x"]
        {
            let (taken, rest) = taken(&format!("Z=1\n{line}\nY=2"));
            assert_eq!(taken, [("Z".to_owned(), "1".to_owned())], "{line}");
            assert_eq!(rest.as_deref(), Some(line));
        }
    }
}
