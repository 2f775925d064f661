//! Numbers as Java prints them.

/// A double rounded half up to four decimals, always with a fraction: `0.0`, `12.5`, `0.5286`.
#[must_use]
pub fn java_double(value: f64) -> String {
    let rounded = (value * 10_000.0 + 0.5).floor() / 10_000.0;
    // From ten million on Java writes an exponent; a mean of milliseconds does not get there.
    if rounded.fract() == 0.0 { format!("{rounded:.1}") } else { format!("{rounded}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_look_as_in_java() {
        for (value, text) in [(0.0, "0.0"), (12.5, "12.5"), (0.528_64, "0.5286"), (0.528_66, "0.5287"), (3.0, "3.0")] {
            assert_eq!(java_double(value), text);
        }
    }
}
