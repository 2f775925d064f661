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
