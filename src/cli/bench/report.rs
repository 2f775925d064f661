//! What a run found, as names and values: lines of text for people, one flat JSON object for scripts.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use super::process::Usage;

/// One value of a report.
#[derive(Clone, PartialEq, Debug)]
enum Value {
    Text(String),
    Count(u64),
    Number(f64),
    Numbers(Vec<f64>),
}

/// Names and values in the order in which they are printed. A name ends with its unit.
#[derive(Clone, Default, Debug)]
pub(super) struct Report(Vec<(String, Value)>);

impl Report {
    /// Adds a text.
    pub(super) fn text(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), Value::Text(value.into())));
    }

    /// Adds a whole number.
    pub(super) fn count(&mut self, name: &str, value: u64) {
        self.0.push((name.to_owned(), Value::Count(value)));
    }

    /// Adds a measured number.
    pub(super) fn number(&mut self, name: &str, value: f64) {
        self.0.push((name.to_owned(), Value::Number(value)));
    }

    /// Adds a series of numbers.
    pub(super) fn numbers(&mut self, name: &str, values: impl Iterator<Item = f64>) {
        self.0.push((name.to_owned(), Value::Numbers(values.collect())));
    }

    /// Adds the CPU time between two looks at `whose` processes: per operation, and as a share of one core.
    pub(super) fn cpu(&mut self, whose: &str, before: Usage, after: Usage, ops: u64, elapsed: Duration) {
        let spent = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        self.number(&format!("{whose}_cpu_us_per_op"), spent * 1e6 / ops.max(1) as f64);
        self.number(&format!("{whose}_cpu_cores"), spent / elapsed.as_secs_f64().max(1e-9));
    }

    /// Adds the servers' memory at two times, bytes.
    pub(super) fn memory(&mut self, before: Usage, after: Usage) {
        self.count("server_rss_before_bytes", before.resident);
        self.count("server_rss_after_bytes", after.resident);
    }

    /// A number by its name.
    #[cfg(test)]
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).and_then(|(_, value)| match value {
            Value::Text(_) | Value::Numbers(_) => None,
            Value::Count(count) => Some(*count as f64),
            Value::Number(number) => Some(*number),
        })
    }

    /// A series by its name.
    #[cfg(test)]
    pub(super) fn numbers_of(&self, name: &str) -> Option<&[f64]> {
        self.0.iter().find(|(known, _)| known == name).and_then(|(_, value)| match value {
            Value::Numbers(numbers) => Some(numbers.as_slice()),
            Value::Text(_) | Value::Count(_) | Value::Number(_) => None,
        })
    }

    /// Prints to standard output.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        let text = if json { self.to_json() } else { self.to_text() };
        Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
    }

    fn to_text(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.0 {
            // Writing to a String cannot fail.
            let _ = match value {
                Value::Text(text) => writeln!(out, "{name:<28} {text}"),
                Value::Count(count) => writeln!(out, "{name:<28} {count}"),
                Value::Number(number) => writeln!(out, "{name:<28} {number:.3}"),
                Value::Numbers(numbers) => writeln!(out, "{name:<28} {}", join(numbers)),
            };
        }
        out
    }

    fn to_json(&self) -> String {
        let mut out = String::from("{");
        for (i, (name, value)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let _ = match value {
                Value::Text(text) => write!(out, "{comma}\"{name}\": \"{}\"", escape(text)),
                Value::Count(count) => write!(out, "{comma}\"{name}\": {count}"),
                Value::Number(number) if number.is_finite() => write!(out, "{comma}\"{name}\": {number:.4}"),
                Value::Number(_) => write!(out, "{comma}\"{name}\": null"),
                Value::Numbers(numbers) => write!(out, "{comma}\"{name}\": [{}]", join(numbers)),
            };
        }
        out.push_str("}\n");
        out
    }
}

fn join(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format!("{number:.0}")).collect::<Vec<_>>().join(", ")
}

fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_json() {
        let mut report = Report::default();
        report.text("ops", "say \"get\"\n");
        report.count("count", 3);
        report.number("cpu_us", f64::NAN);
        report.numbers("second_ops", [1.0, 2.0].into_iter());
        let parsed: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(parsed["ops"], "say \"get\"");
        assert_eq!(parsed["count"], 3);
        assert!(parsed["cpu_us"].is_null());
        assert_eq!(parsed["second_ops"], serde_json::json!([1, 2]));
    }
}
