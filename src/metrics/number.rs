//! Numbers as Java prints them.

/// A double rounded half up to four decimals, always with a fraction: `0.0`, `12.5`, `0.5286`.
#[must_use]
pub fn java_double(value: f64) -> String {
    java_text(rounded(value))
}

/// Rounded half up to four decimals.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    (value * 10_000.0 + 0.5).floor() / 10_000.0
}

/// A double with all its digits: as it is from a thousandth up to ten million, else with an exponent.
#[must_use]
pub fn java_text(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        let sign = if value < 0.0 { "-" } else { "" };
        return if value.is_nan() { "NaN".to_owned() } else { format!("{sign}Infinity") };
    }
    if value == 0.0 || (1e-3..1e7).contains(&size) {
        return if value.fract() == 0.0 { format!("{value:.1}") } else { format!("{value}") };
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => text,
    }
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

    #[test]
    fn large_and_small_doubles_have_an_exponent() {
        for (value, text) in [
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12_345_678.5, "1.23456785E7"),
            (0.001, "0.001"),
            (0.000_25, "2.5E-4"),
            (-1.0, "-1.0"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(java_text(value), text);
        }
    }
}
