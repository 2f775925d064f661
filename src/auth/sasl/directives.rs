//! `name=value,name="value"`: how challenges and responses are written (RFC 2831, 7.1), read as generously as Java reads them.

use std::borrow::Cow;

use super::SaslError;

/// What a challenge or a response says, in its order.
#[derive(Debug)]
pub(super) struct Directives<'a>(Vec<(&'a [u8], Cow<'a, [u8]>)>);

impl<'a> Directives<'a> {
    /// Blanks end a value as well as commas do, and stand anywhere else around names and values; commas that follow each
    /// other are one; a name at the very end needs no value.
    ///
    /// # Errors
    /// [`SaslError::Syntax`].
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, SaslError> {
        let mut found = Vec::new();
        let mut rest = text.trim_ascii_start();
        while let Some(first) = rest.first() {
            if *first == b',' {
                rest = rest[1..].trim_ascii_start();
                continue;
            }
            let (name, behind) = split_where(rest, |byte| matches!(byte, b'=' | b',') || is_blank(byte));
            match behind.trim_ascii_start().split_first() {
                None if behind.is_empty() => {
                    found.push((name, Cow::default()));
                    rest = behind;
                }
                Some((b'=', value)) if !name.is_empty() => {
                    let (value, behind) = split_value(value.trim_ascii_start())?;
                    found.push((name, value));
                    // What ends a value is a comma or a blank.
                    rest = behind.get(1..).unwrap_or_default().trim_ascii_start();
                }
                _ => return Err(SaslError::Syntax),
            }
        }
        Ok(Self(found))
    }

    /// The value that has this name; names are the same in capitals.
    ///
    /// # Errors
    /// [`SaslError::Twice`].
    pub(super) fn one(&self, name: &'static str) -> Result<Option<&[u8]>, SaslError> {
        let mut named = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        match (named.next(), named.next()) {
            (found, None) => Ok(found.map(|(_, value)| &**value)),
            (_, Some(_)) => Err(SaslError::Twice(name)),
        }
    }

    /// The same, where it must not be missing.
    ///
    /// # Errors
    /// [`SaslError::Twice`], [`SaslError::Missing`].
    pub(super) fn required(&self, name: &'static str) -> Result<&[u8], SaslError> {
        self.one(name)?.ok_or(SaslError::Missing(name))
    }
}

/// A value, and what stands behind it.
fn split_value(text: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), SaslError> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        if text.is_empty() {
            return Err(SaslError::Syntax);
        }
        let (value, behind) = split_where(text, |byte| byte == b',' || is_blank(byte));
        return Ok((value.into(), behind));
    };
    let mut value = Vec::new();
    loop {
        match rest {
            [b'"', behind @ ..] if behind.first().is_none_or(|byte| *byte == b',' || is_blank(*byte)) => {
                return Ok((value.into(), behind));
            }
            [b'\\', escaped, behind @ ..] => {
                value.push(*escaped);
                rest = behind;
            }
            [b'"' | b'\\', ..] | [] => return Err(SaslError::Syntax),
            [byte, behind @ ..] => {
                value.push(*byte);
                rest = behind;
            }
        }
    }
}

fn split_where(text: &[u8], is_end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| is_end(*byte)).unwrap_or(text.len()))
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Writes `name="value"`.
pub(super) fn push_quoted(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value {
        if matches!(byte, b'"' | b'\\' | 0x7f) || (*byte < b' ' && !is_blank(*byte)) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Option<Vec<(String, String)>> {
        let owned = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let directives = Directives::parse(text.as_bytes()).ok()?;
        Some(directives.0.iter().map(|(name, value)| (owned(name), owned(value))).collect())
    }

    #[test]
    fn values_are_read_as_java_reads_them() {
        let two = Some(vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x,\"y".to_owned())]);
        for text in
            [r#"a=1,b="x,\"y""#, r#"  , ,a=1 ,b="\x,\"\y" "#, "a=\"1\"\tb =\r\n \"x,\\\"y\"", r#"a = 1 ,, b="x,\"y","#]
        {
            assert_eq!(values(text), two, "{text:?}");
        }
        assert_eq!(values("a=1,b"), Some(vec![("a".into(), "1".into()), ("b".into(), String::new())]));
        assert_eq!(values(r#"a=x"y,b="""#).unwrap(), [("a".into(), "x\"y".into()), ("b".into(), String::new())]);
        for text in ["a=", "a= ", "=x", "a,b=1", "a=\"x", "a=\"x\"y", "a=\"x\\", "a b=1", "a "] {
            assert_eq!(values(text), None, "{text:?}");
        }
        assert_eq!(values(" ").unwrap(), []);
    }

    #[test]
    fn a_name_stands_once_in_whatever_case() {
        let directives = Directives::parse(b"a=1,B=2,A=3").unwrap();
        assert_eq!(directives.one("b"), Ok(Some(&b"2"[..])));
        assert_eq!(directives.one("a"), Err(SaslError::Twice("a")));
        assert_eq!(directives.required("c"), Err(SaslError::Missing("c")));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value: Vec<u8> = (0..=255).collect();
        let mut text = Vec::new();
        push_quoted(&mut text, "a", &value);
        assert_eq!(Directives::parse(&text).unwrap().required("a"), Ok(&value[..]));
    }
}
