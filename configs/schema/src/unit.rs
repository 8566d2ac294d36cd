//! Durations and sizes as they are written: a number and a unit.

use std::time::Duration;

use crate::read::Fault;

/// What a duration looks like, for the JSON Schema.
pub(crate) const DURATION_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(us|ms|s|min|m|h|d))+$";
/// What a size looks like, for the JSON Schema.
pub(crate) const SIZE_PATTERN: &str = r"^[0-9]+(B|KiB|MiB|GiB)$";

const NANOSECONDS: [(&str, u64); 7] = [
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60 * 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];
const BYTES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads `"250ms"`, `"15s"`, `"1h30m"`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Fault> {
    let bad = |message: String| {
        Fault::new(message).hint("write a number and a unit: us, ms, s, m, h or d, as in \"15s\"")
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad("a duration cannot be empty".to_owned()));
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let (unit, next) =
            after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let Ok(amount) = number.parse::<f64>() else {
            return Err(bad(format!("`{text}` is not a duration")));
        };
        if unit.is_empty() && !next.is_empty() {
            return Err(bad(format!("`{text}` is not a duration")));
        }
        if unit.is_empty() {
            return Err(Fault::new(format!("the duration `{text}` has no unit")).hint(format!(
                "write \"{number}s\" for seconds, or \"{number}ms\" for milliseconds"
            )));
        }
        let Some((_, nanoseconds)) = NANOSECONDS.iter().find(|(name, _)| *name == unit) else {
            return Err(bad(format!("`{unit}` is not a unit of time")));
        };
        // Whole numbers stay exact; only a fraction goes through floating point.
        let part = match number.parse::<u64>() {
            Ok(whole) => u128::from(whole) * u128::from(*nanoseconds),
            Err(_) => (amount * *nanoseconds as f64) as u128,
        };
        total = total.saturating_add(part);
        rest = next;
    }
    u64::try_from(total)
        .map(Duration::from_nanos)
        .map_err(|_| Fault::new(format!("the duration `{text}` is too long")))
}

/// Reads `"512B"`, `"16KiB"`, `"1MiB"`, `"2GiB"`; in bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, Fault> {
    let (number, unit) = split_number(text.trim());
    let unit = unit.trim();
    let Ok(amount) = number.parse::<u64>() else {
        return Err(Fault::new(format!("`{text}` is not a size"))
            .hint("write a whole number and a unit: B, KiB, MiB or GiB, as in \"16KiB\""));
    };
    if unit.is_empty() {
        return Err(Fault::new(format!("the size `{text}` has no unit"))
            .hint(format!("write \"{amount}B\" for bytes, or \"{amount}KiB\" for kibibytes")));
    }
    let Some((_, bytes)) = BYTES.iter().find(|(name, _)| *name == unit) else {
        let likely = match unit.to_ascii_lowercase().chars().next() {
            Some('k') => "KiB",
            Some('m') => "MiB",
            Some('g') => "GiB",
            _ => "B",
        };
        return Err(Fault::new(format!("`{unit}` is not a unit of size"))
            .hint(format!("write \"{amount}{likely}\"; units are B, KiB, MiB and GiB")));
    };
    amount.checked_mul(*bytes).ok_or_else(|| Fault::new(format!("the size `{text}` is too large")))
}

/// The shortest exact way to write a duration.
pub(crate) fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let unit = ["d", "h", "m", "s", "ms", "us"].into_iter().find_map(|name| {
        let (_, size) = NANOSECONDS.iter().find(|(unit, _)| *unit == name)?;
        let size = u128::from(*size);
        (nanoseconds > 0 && nanoseconds.is_multiple_of(size))
            .then(|| format!("{}{name}", nanoseconds / size))
    });
    unit.unwrap_or_else(|| format!("{}s", duration.as_secs()))
}

/// The shortest exact way to write a size in bytes.
pub(crate) fn format_size(bytes: u64) -> String {
    let unit = BYTES.iter().rev().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(name, size)| format!("{}{name}", bytes / size))
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("250ms", Duration::from_millis(250)),
            ("15s", Duration::from_secs(15)),
            ("1.5s", Duration::from_millis(1_500)),
            ("1h30m", Duration::from_secs(5_400)),
            ("2min", Duration::from_secs(120)),
            ("1d", Duration::from_secs(86_400)),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(parse_duration(text).expect(text), expected);
        }
        for text in ["", "s", "15", "15 s", "-1s", "1.2.3s", "15x", "99999999999999999999d", "1s2"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in
            [("16KiB", 16_384), ("1MiB", 1 << 20), ("512B", 512), ("2GiB", 2 << 30)]
        {
            assert_eq!(parse_size(text).expect(text), expected);
        }
        for text in ["", "16", "16KB", "1.5MiB", "-1B", "KiB", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["250ms", "15s", "1h", "90m", "1d", "1us"] {
            assert_eq!(format_duration(parse_duration(text).expect(text)), text);
        }
        for text in ["16KiB", "1MiB", "100B", "3GiB"] {
            assert_eq!(format_size(parse_size(text).expect(text)), text);
        }
    }
}
