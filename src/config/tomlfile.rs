//! The same settings as TOML: the keys of zoo.cfg, dotted ones as tables.
//!
//! ```toml
//! tickTime = 2000
//! dataDir = "/var/lib/zkd"
//! [autopurge]
//! purgeInterval = 1
//! ```

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Place, Setting};

/// Reads all settings in order of their lines.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Setting>, ConfigError> {
    let at = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        Place::Line(file.to_owned(), before.matches('\n').count() + 1)
    };
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: at(error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })?;
    let mut settings = Vec::new();
    flatten("", table.get_ref(), &at, &mut settings)?;
    Ok(settings)
}

/// The text without the settings whose keys are to be dropped, and with one more. Comments are lost.
pub(super) fn replace(
    file: &str,
    text: &str,
    drops: impl Fn(&str) -> bool,
    (key, value): (&str, &str),
) -> Result<String, ConfigError> {
    let refuse = |line, reason: String| ConfigError::Syntax { place: Place::Line(file.to_owned(), line), reason };
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        refuse(before.matches('\n').count() + 1, error.message().to_owned())
    })?;
    drop_below("", &mut table, &drops);
    table.insert(key.to_owned(), value.into());
    toml::to_string(&table).map_err(|error| refuse(1, error.to_string()))
}

fn drop_below(prefix: &str, table: &mut toml::Table, drops: &impl Fn(&str) -> bool) {
    table.retain(|name, value| {
        let key = format!("{prefix}{name}");
        let toml::Value::Table(below) = value else { return !drops(&key) };
        drop_below(&format!("{key}."), below, drops);
        !below.is_empty()
    });
}

fn flatten(
    prefix: &str,
    table: &DeTable<'_>,
    at: &impl Fn(usize) -> Place,
    settings: &mut Vec<Setting>,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        let place = at(value.span().start);
        if let DeValue::Table(below) = value.get_ref() {
            flatten(&format!("{key}."), below, at, settings)?;
            continue;
        }
        let value = scalar(value).ok_or_else(|| ConfigError::Value {
            place: place.clone(),
            key: key.clone(),
            value: text_of(value),
            expected: "a text, a number, true or false, or a list of those".to_owned(),
        })?;
        settings.push(Setting { place, key, value });
    }
    Ok(())
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.trim().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Array(items) => Some(items.iter().map(scalar).collect::<Option<Vec<_>>>()?.join(",")),
        DeValue::Integer(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn text_of(value: &Spanned<DeValue<'_>>) -> String {
    match value.get_ref() {
        DeValue::Datetime(date) => date.to_string(),
        _ => "…".to_owned(),
    }
}
