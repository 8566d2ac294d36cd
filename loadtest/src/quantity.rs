//! Durations and sizes, as they are typed and as they are shown.

use std::time::Duration;

/// Something that is not the quantity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// No duration.
    #[error("`{text}` is not a duration; write 250ms, 10s, 5m or 1h")]
    Duration {
        /// What was typed.
        text: String,
    },
    /// No size.
    #[error("`{text}` is not a size; write 512, 4KiB or 1MiB")]
    Size {
        /// What was typed.
        text: String,
    },
}

/// `250us`, `1.5ms`, `10s`, `5m`, `1h`. A unit is required, so that nobody has to guess.
///
/// # Errors
/// [`QuantityError::Duration`].
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let wrong = || QuantityError::Duration { text: text.to_owned() };
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let scale = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * scale).map_err(|_| wrong())
}

/// Bytes: `512`, `512B`, `4KiB`, `1MiB`. Units are powers of 1024.
///
/// # Errors
/// [`QuantityError::Size`].
pub fn parse_size(text: &str) -> Result<usize, QuantityError> {
    let wrong = || QuantityError::Size { text: text.to_owned() };
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: usize = number.parse().map_err(|_| wrong())?;
    let scale = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(wrong()),
    };
    number.checked_mul(scale).ok_or_else(wrong)
}

/// A plain decimal number, and what follows it.
pub(crate) fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    // `f64` would take `1e9`, `inf` and signs as well; those never get here.
    Some((number.parse().ok()?, unit.trim()))
}

/// `12.3 µs`, `1.23 ms`, `4.56 s`, for people.
pub(crate) fn show_seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.2} s"),
        s => format!("{:.0}m {:.0}s", (s / 60.0).floor(), s % 60.0),
    }
}

/// `512 B`, `1.5 MiB`, for people.
pub(crate) fn show_bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, microseconds) in [
            ("250us", 250),
            ("1.5ms", 1_500),
            ("10s", 10_000_000),
            ("5m", 300_000_000),
            ("1h", 3_600_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(microseconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "1e3s",
            "-1s",
            "1.2.3s",
            "infs",
            "NaNs",
            "5 days",
            "99999999999999999999999h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("512B", 512), ("4KiB", 4096), ("1MiB", 1 << 20)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "KiB", "1KB", "-1", "1.5KiB", "99999999999999999999", "18446744073709551615KiB"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn people_see_three_digits_or_so() {
        for (seconds, shown) in
            [(0.000_012_34, "12.3 µs"), (0.001_234, "1.23 ms"), (4.561, "4.56 s"), (184.0, "3m 4s")]
        {
            assert_eq!(show_seconds(seconds), shown);
        }
        for (bytes, shown) in [(512.0, "512 B"), (1_572_864.0, "1.5 MiB")] {
            assert_eq!(show_bytes(bytes), shown);
        }
    }
}
