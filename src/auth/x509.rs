//! The x509 scheme: an id is a distinguished name, as Java prints and reads one (AC-09). Whoever has shown a certificate of
//! that subject is meant; ids are compared letter by letter.

/// The attributes that Java knows by a keyword, beside all that are written as numbers.
const KEYWORDS: [&str; 21] = [
    "CN",
    "C",
    "L",
    "S",
    "ST",
    "O",
    "OU",
    "T",
    "IP",
    "STREET",
    "DC",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "UID",
    "SERIALNUMBER",
];
/// What may stand behind a backslash.
const ESCAPABLE: &str = ",=\n+<>#;\\\" ";
/// What needs one, or quotes.
const SPECIAL: &str = ",+<>;\"";

/// Whether an ACL may hold this id: what Java's `X500Principal` takes.
pub(super) fn is_valid(id: &str) -> bool {
    id.is_empty()
        || pieces(id, [',', ';']).iter().all(|name| pieces(name, ['+', '+']).iter().all(|piece| is_attribute(piece)))
}

/// Splits at separators that are neither quoted nor escaped.
fn pieces(text: &str, separators: [char; 2]) -> Vec<&str> {
    let (mut pieces, mut from) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match letter {
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && separators.contains(&letter) => {
                pieces.push(&text[from..at]);
                from = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(&text[from..]);
    pieces
}

fn is_attribute(text: &str) -> bool {
    text.split_once('=').is_some_and(|(keyword, value)| is_keyword(keyword.trim()) && is_value(value.trim_start()))
}

fn is_keyword(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    KEYWORDS.contains(&upper.as_str()) || is_oid(upper.strip_prefix("OID.").unwrap_or(&upper))
}

/// Two arcs at least, the first of which is 0, 1 or 2, and below 2 the second one is below 40.
fn is_oid(text: &str) -> bool {
    let is_number = |arc: &str| !arc.is_empty() && arc.bytes().all(|digit| digit.is_ascii_digit());
    let arcs: Vec<_> = text.split('.').collect();
    let [first, second, ..] = arcs[..] else { return false };
    let below_40 = second.parse::<u8>().is_ok_and(|second| second < 40);
    arcs.iter().all(|arc| is_number(arc)) && (first == "2" || ["0", "1"].contains(&first) && below_40)
}

fn is_value(text: &str) -> bool {
    if let Some(hex) = text.strip_prefix('#') {
        let hex = hex.trim_end();
        return !hex.is_empty() && hex.len().is_multiple_of(2) && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    }
    match text.strip_prefix('"') {
        Some(quoted) => {
            unescaped(quoted, "\"").is_some_and(|rest| rest.strip_prefix('"').is_some_and(|end| end.trim().is_empty()))
        }
        None => unescaped(text, SPECIAL).is_some_and(str::is_empty),
    }
}

/// What is left at the first of `special`; `None`: a backslash escapes nothing.
fn unescaped<'a>(text: &'a str, special: &str) -> Option<&'a str> {
    let mut left = text;
    while let Some(letter) = left.chars().next() {
        if special.contains(letter) {
            return Some(left);
        }
        left = &left[letter.len_utf8()..];
        if letter == '\\' {
            let escaped = left.chars().next()?;
            let is_hex = left.len() >= 2 && left.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
            if !is_hex && !ESCAPABLE.contains(escaped) {
                return None;
            }
            left = &left[if is_hex { 2 } else { escaped.len_utf8() }..];
        }
    }
    Some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_where_java_says_so() {
        for good in [
            "",
            "CN=a",
            "cn=a,o=b",
            "CN=a;O=b",
            "CN=a+OU=b",
            "CN=",
            "1.2.3=a",
            "OID.1.2.3=a",
            "1.2.3=#0c0161",
            "CN=#0c0161",
            "CN=a\\,b",
            "CN=\"a,b\"",
            "CN=a=b",
            "CN=a#b",
            "CN=a\\41",
            " CN = a , O = b ",
            "EMAILADDRESS=x@y",
            "1.2=a",
            "CN=a\nb",
            "CN=a\\ ",
            "SERIALNUMBER=1",
            "CN=ä",
            "CN=a b",
            "CN=\"a\" ",
            "CN=\"a\\\"b\"",
            "CN=\\#a",
            "OU=a\\;b",
            "C=toolong",
            "1.2.3=",
            "CN=a\\\\,O=b",
            "CN=\\,",
            "2.999.1=a",
            "T=x",
            "IP=1",
            "S=x",
            "DNQ=1",
            "EMAIL=a",
        ] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "CN=a,",
            ",CN=a",
            "CN",
            "X=a",
            "CN=#0c016",
            "CN=#zz",
            "CN=a\\",
            "CN=\"a",
            "CN=a<b",
            "CN=a>b",
            "CN=a\"b",
            "CN=a\\q",
            "CN=a\\4",
            "CN=a,,O=b",
            "E=x@y",
            "9.9.9=a",
            "1.x=a",
            "foo",
            "CN=a+",
            "CN=\"a\"b",
            "+CN=a",
            "CN=#",
            "=a",
            " =a",
            "CN=a, ",
            "1=a",
            "3.1.2=a",
            "1.40.1=a",
            "CN=a;",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
