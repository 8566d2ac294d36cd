//! `--since 2h`: how far back, or how long.

use std::str::FromStr;

/// A number of seconds, written with a unit; at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) u64);

const LONGEST_SECONDS: f64 = 10.0 * 366.0 * 86_400.0;

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let scale = match unit {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            "" => return Err(format!("`{text}` lacks a unit; write 30s, 15m, 2h, 7d or 4w")),
            _ => return Err(format!("`{unit}` is not a unit; write 30s, 15m, 2h, 7d or 4w")),
        };
        let amount: f64 = number.parse().map_err(|_| format!("`{text}` is not a time span"))?;
        let seconds = amount * scale;
        if !(1.0..=LONGEST_SECONDS).contains(&seconds) {
            return Err("a time span lies between 1s and ten years".to_owned());
        }
        Ok(Self(seconds as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, seconds) in
            [("30s", 30), ("15m", 900), ("1.5h", 5_400), ("7d", 604_800), ("4w", 2_419_200)]
        {
            assert_eq!(text.parse(), Ok(Span(seconds)), "{text}");
        }
        for text in ["", "5", "0s", "5y", "99999d", "x", "-1h", "NaNh", "infs"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
