//! The four resolutions of history.

use bs9_config::Retention;

/// A resolution at which history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    Second,
    TenSeconds,
    Minute,
    Hour,
}

impl Level {
    /// Finest first.
    pub(crate) const ALL: [Self; 4] = [Self::Second, Self::TenSeconds, Self::Minute, Self::Hour];

    /// Between two points.
    pub(crate) fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    /// Of one block, which holds a series: a few hundred points.
    pub(crate) fn block_seconds(self) -> i64 {
        match self {
            Self::Second => 300,
            Self::TenSeconds => 3_600,
            Self::Minute => 6 * 3_600,
            Self::Hour => 240 * 3_600,
        }
    }

    /// How long its points are kept.
    pub(crate) fn keep_seconds(self, keep: &Retention) -> i64 {
        let keep = match self {
            Self::Second => keep.second,
            Self::TenSeconds => keep.ten_seconds,
            Self::Minute => keep.minute,
            Self::Hour => keep.hour,
        };
        i64::try_from(keep.as_secs()).unwrap_or(i64::MAX)
    }

    /// The next finer one.
    pub(crate) fn finer(self) -> Option<Self> {
        match self {
            Self::Second => None,
            Self::TenSeconds => Some(Self::Second),
            Self::Minute => Some(Self::TenSeconds),
            Self::Hour => Some(Self::Minute),
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The beginning of the point that holds `at`.
    pub(crate) fn floor(self, at: i64) -> i64 {
        at - at.rem_euclid(self.seconds())
    }

    /// The beginning of the block that holds `at`.
    pub(crate) fn block_of(self, at: i64) -> i64 {
        at - at.rem_euclid(self.block_seconds())
    }

    /// The level with so many seconds between two points.
    pub(crate) fn of_seconds(seconds: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.seconds() == i64::from(seconds))
    }
}
