//! Decoding: one nom parser per jute type.

use std::borrow::Cow;

use nom::error::{ErrorKind, ParseError};
use nom::{Err, IResult, Needed};

/// What stands where a record should: the rule that the bytes broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JuteError {
    /// The bytes end inside a field.
    #[error("the record ends inside a field")]
    Short,
    /// A length that is negative (and not null) or runs past the end.
    #[error("unreasonable length {0}")]
    Length(i32),
    /// Null where a value is required.
    #[error("a required field is null")]
    Null,
    /// A value outside what the field may hold.
    #[error("unreasonable value {0}")]
    Value(i32),
}

impl ParseError<&[u8]> for JuteError {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        JuteError::Short
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl From<Err<JuteError>> for JuteError {
    fn from(error: Err<JuteError>) -> Self {
        match error {
            Err::Error(error) | Err::Failure(error) => error,
            Err::Incomplete(Needed::Unknown | Needed::Size(_)) => JuteError::Short,
        }
    }
}

/// What every decoder returns: the rest of the input and the value.
pub type Parsed<'a, T> = IResult<&'a [u8], T, JuteError>;

/// Ends a decoder with `error`.
pub(crate) fn fail<T>(error: JuteError) -> Parsed<'static, T> {
    Err(Err::Error(error))
}

fn array<const N: usize>(input: &[u8]) -> Parsed<'_, [u8; N]> {
    match input.split_first_chunk::<N>() {
        Some((head, rest)) => Ok((rest, *head)),
        None => fail(JuteError::Short),
    }
}

/// One byte.
///
/// # Errors
/// [`JuteError::Short`]; so for all decoders below.
pub fn byte(input: &[u8]) -> Parsed<'_, u8> {
    let (input, [value]) = array::<1>(input)?;
    Ok((input, value))
}

/// A boolean: any byte but zero is true.
///
/// # Errors
/// See [`byte`].
pub fn boolean(input: &[u8]) -> Parsed<'_, bool> {
    let (input, value) = byte(input)?;
    Ok((input, value != 0))
}

/// Four bytes, two's complement.
///
/// # Errors
/// See [`byte`].
pub fn int(input: &[u8]) -> Parsed<'_, i32> {
    let (input, bytes) = array::<4>(input)?;
    Ok((input, i32::from_be_bytes(bytes)))
}

/// Eight bytes, two's complement.
///
/// # Errors
/// See [`byte`].
pub fn long(input: &[u8]) -> Parsed<'_, i64> {
    let (input, bytes) = array::<8>(input)?;
    Ok((input, i64::from_be_bytes(bytes)))
}

/// A buffer: `None` is null.
///
/// # Errors
/// [`JuteError::Length`] for a length below -1 or past the end.
pub fn buffer(input: &[u8]) -> Parsed<'_, Option<&[u8]>> {
    let (input, length) = int(input)?;
    match usize::try_from(length) {
        Ok(length_left) => match input.split_at_checked(length_left) {
            Some((value, rest)) => Ok((rest, Some(value))),
            None => fail(JuteError::Length(length)),
        },
        Err(_) if length == -1 => Ok((input, None)),
        Err(_) => fail(JuteError::Length(length)),
    }
}

/// A string; malformed UTF-8 becomes U+FFFD as in Java, surrogate pairs written one by one (CESU-8) become their character.
///
/// # Errors
/// See [`buffer`].
pub fn ustring(input: &[u8]) -> Parsed<'_, Option<Cow<'_, str>>> {
    let (input, value) = buffer(input)?;
    Ok((input, value.map(decode_utf8)))
}

/// A string that must not be null.
///
/// # Errors
/// [`JuteError::Null`], or see [`buffer`].
pub fn text(input: &[u8]) -> Parsed<'_, Cow<'_, str>> {
    match ustring(input)? {
        (input, Some(value)) => Ok((input, value)),
        (_, None) => fail(JuteError::Null),
    }
}

/// A vector: null is `None`, any other count below one is empty. Nothing is reserved on the count's word alone.
///
/// # Errors
/// Those of `item`.
pub fn vector<'a, T>(item: impl Fn(&'a [u8]) -> Parsed<'a, T>) -> impl Fn(&'a [u8]) -> Parsed<'a, Option<Vec<T>>> {
    move |input| {
        let (mut input, count) = int(input)?;
        if count == -1 {
            return Ok((input, None));
        }
        let count = usize::try_from(count).unwrap_or(0);
        let mut items = Vec::with_capacity(count.min(input.len() / 4).min(64));
        for _ in 0..count {
            let (rest, value) = item(input)?;
            items.push(value);
            input = rest;
        }
        Ok((input, Some(items)))
    }
}

fn decode_utf8(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(decode_cesu8(bytes)),
    }
}

/// UTF-8 with surrogates written as three bytes each: what Java sends for a character beyond the basic plane.
fn decode_cesu8(mut bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    loop {
        match std::str::from_utf8(bytes) {
            Ok(rest) => {
                out.push_str(rest);
                return out;
            }
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                out.push_str(std::str::from_utf8(good).unwrap_or_default());
                let (c, used) = match surrogate_pair(bad) {
                    Some(c) => (c, 6),
                    None => (char::REPLACEMENT_CHARACTER, malformed_length(bad, error.error_len())),
                };
                out.push(c);
                bytes = &bad[used..];
            }
        }
    }
}

/// A lone surrogate is one malformed unit of three bytes for Java, three units for Rust.
fn malformed_length(bad: &[u8], rust: Option<usize>) -> usize {
    if surrogate(bad).is_some() { 3 } else { rust.unwrap_or(bad.len()) }
}

fn surrogate(bytes: &[u8]) -> Option<u32> {
    match bytes {
        [0xed, b @ 0xa0..=0xbf, c @ 0x80..=0xbf, ..] => Some(0xd000 | u32::from(b & 0x3f) << 6 | u32::from(c & 0x3f)),
        _ => None,
    }
}

fn surrogate_pair(bytes: &[u8]) -> Option<char> {
    let high = surrogate(bytes)?;
    let low = surrogate(bytes.get(3..)?)?;
    if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
}
