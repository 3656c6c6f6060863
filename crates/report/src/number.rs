//! How figures are rounded and written: the same on every processor.

/// Whole numbers up to this one are exact in an f64.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What `report.json` holds: whole numbers as they are, because they are counts; anything else rounded to ten significant
/// digits, more than a reader needs to recompute it and less than what libraries of other processors may differ in. What
/// is not finite stays so; minus zero becomes zero.
#[must_use]
pub fn figure(value: f64) -> f64 {
    if !value.is_finite() || (value.fract() == 0.0 && value.abs() <= EXACT && value != 0.0) {
        return value;
    }
    digits(value, 10)
}

/// Rounds to this many significant digits.
fn digits(value: f64, count: usize) -> f64 {
    let rounded = format!("{value:.*e}", count - 1).parse().unwrap_or(value);
    if rounded == 0.0 { 0.0 } else { rounded }
}

/// A figure for reading: three significant digits, no exponent where it is not needed, a true minus sign nowhere (so
/// that it can be copied), and a dash for none.
pub(super) fn short(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return "–".to_owned() };
    let value = digits(value, 6);
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.2e}");
    }
    let places = if size >= 99.5 {
        0
    } else if size >= 9.95 {
        1
    } else if size >= 0.995 {
        2
    } else if size >= 0.0995 {
        3
    } else {
        4
    };
    format!("{value:.places$}")
}

/// A z with one digit behind the point.
pub(super) fn z(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 999.95 => short(Some(value)),
        Some(value) => unsigned_zero(format!("{value:.1}")),
    }
}

/// An effect with three digits behind the point.
pub(super) fn effect(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        None => "–".to_owned(),
        Some(value) => unsigned_zero(format!("{value:.3}")),
    }
}

/// A count with thin groups of three, as in `1 234 567`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digits.len() > 4 {
            grouped.push('\u{a0}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes, with binary units.
pub fn bytes(value: u64) -> String {
    let mut size = value as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if size < 1023.5 {
            let places = usize::from(unit != "B" && size < 99.95);
            return format!("{size:.places$}\u{a0}{unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1}\u{a0}PiB")
}

fn unsigned_zero(text: String) -> String {
    if text.starts_with('-') && text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.')) {
        text[1..].to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, effect, figure, short, z};

    #[test]
    #[allow(clippy::float_cmp)] // rounding is exact or wrong
    fn figures_keep_ten_digits_and_counts_all() {
        assert_eq!(figure(1.234_567_890_123), 1.234_567_890);
        assert_eq!(figure(-1.234_567_890_123e-300), -1.234_567_890e-300);
        assert_eq!(figure(0.1 + 0.2), 0.3);
        assert_eq!(figure(2_623_744.0), 2_623_744.0);
        assert_eq!(figure(-9_007_199_254_740_991.0), -9_007_199_254_740_991.0);
        assert!(figure(-0.0).is_sign_positive());
        assert!(figure(f64::NAN).is_nan());
        assert_eq!(figure(f64::MAX / 2.0), 8.988_465_674e307);
    }

    #[test]
    fn figures_for_reading() {
        let cases =
            [(0.0, "0"), (0.01234, "0.0123"), (0.5, "0.500"), (41.83, "41.8"), (-312.4, "-312"), (1e-9, "1.00e-9")];
        for (value, text) in cases {
            assert_eq!(short(Some(value)), text);
        }
        assert_eq!(short(Some(f64::NAN)), "–");
        assert_eq!(z(Some(-0.01)), "0.0");
        assert_eq!(z(Some(-1.26)), "-1.3");
        assert_eq!(effect(Some(0.0004)), "0.000");
        assert_eq!(effect(None), "–");
        assert_eq!(count(1234), "1234");
        assert_eq!(count(1_234_567), "1\u{a0}234\u{a0}567");
        assert_eq!(bytes(999), "999\u{a0}B");
        assert_eq!(bytes(1024), "1.0\u{a0}KiB");
        assert_eq!(bytes(u64::MAX), "16384.0\u{a0}PiB");
    }
}
