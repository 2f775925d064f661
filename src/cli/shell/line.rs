//! A line of the shell, split into words as the reference splits it (TO-10): blanks separate, quotes keep together.

/// Splits a line. A quote in the middle of a word is a letter like any other; one that is never closed is skipped.
pub(super) fn split(line: &str) -> Vec<String> {
    let chars: Vec<char> = line.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match word_at(&chars, at) {
            Some((word, end)) => {
                words.push(word);
                at = end;
            }
            None => at += 1,
        }
    }
    words
}

/// The word that begins here or behind the blanks that are here, and where what follows it begins.
fn word_at(chars: &[char], at: usize) -> Option<(String, usize)> {
    let begin = skip(chars, at, blank);
    // If nothing can begin behind all of the blanks, the last of them may be the first letter of a word.
    (at..=begin).rev().find_map(|start| {
        let first = *chars.get(start)?;
        let (word, end) = if first == '"' || first == '\'' {
            let length = chars[start + 1..].iter().position(|c| *c == first)?;
            (&chars[start + 1..start + 1 + length], start + length + 2)
        } else {
            let end = skip(chars, start + 1, |c| !blank(c));
            (&chars[start..end], end)
        };
        Some((word.iter().collect(), skip(chars, end, blank)))
    })
}

fn skip(chars: &[char], from: usize, what: impl Fn(char) -> bool) -> usize {
    from + chars[from..].iter().take_while(|c| what(**c)).count()
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        for (line, words) in [
            ("ls /", vec!["ls", "/"]),
            ("  ls\t/  ", vec!["ls", "/"]),
            ("set /a 'x y' \"\"", vec!["set", "/a", "x y", ""]),
            ("set /a 'x \" y'\"z\"q", vec!["set", "/a", "x \" y", "z", "q"]),
            ("a'b c'd", vec!["a'b", "c'd"]),
            ("get \"/a", vec!["get", "/a"]),
            ("ls '", vec!["ls"]),
            (" ", vec![" "]),
            ("  \"abc d", vec![" \"abc", "d"]),
            ("\"", vec![]),
            ("", vec![]),
            ("\u{e9} '\u{1f600} x'", vec!["\u{e9}", "\u{1f600} x"]),
        ] {
            assert_eq!(split(line), words, "{line:?}");
        }
    }
}
