//! Which statuses are as expected.

use std::{fmt, ops::RangeInclusive, str::FromStr};

/// Statuses and classes of them: `200`, `200,204`, `2xx,304`. Unless told otherwise everything
/// below 400 is as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet {
    ranges: Vec<RangeInclusive<u16>>,
}

/// No status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a status; write 200, 200,204 or 2xx")]
pub struct StatusError {
    text: String,
}

impl StatusSet {
    /// Whether a status is one of these.
    #[inline]
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&status))
    }
}

impl Default for StatusSet {
    fn default() -> Self {
        Self { ranges: vec![100..=399] }
    }
}

impl FromStr for StatusSet {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        let range = |part: &str| {
            if let Some(class) = part.strip_suffix("xx") {
                let class: u16 = class.parse().ok().filter(|class| (1..=9).contains(class))?;
                return Some(class * 100..=class * 100 + 99);
            }
            let digits = part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit());
            let status = part.parse().ok().filter(|&status| digits && status >= 100)?;
            Some(status..=status)
        };
        let ranges: Option<Vec<_>> = text.split(',').map(|part| range(part.trim())).collect();
        ranges.map(|ranges| Self { ranges }).ok_or_else(|| StatusError { text: text.to_owned() })
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (start, end) if start == end => write!(f, "{comma}{start}")?,
                (start, end) => write!(f, "{comma}{start}-{end}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ones_and_classes() {
        let set: StatusSet = "204, 3xx".parse().unwrap();
        for (status, expected) in
            [(200, false), (204, true), (300, true), (399, true), (400, false)]
        {
            assert_eq!(set.contains(status), expected, "{status}");
        }
        assert!(StatusSet::default().contains(302));
        assert!(!StatusSet::default().contains(404));
        assert_eq!(set.to_string(), "204,300-399");
        for text in ["", "20", "2000", "xx", "0xx", "22xx", "200,", "+20", "abc", "099"] {
            assert!(text.parse::<StatusSet>().is_err(), "{text}");
        }
    }
}
