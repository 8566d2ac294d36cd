//! How long things took, in buckets that never change: shards count, `/metrics` adds up.

use std::time::Duration;

use bs9_net::Counter;

/// Upper bounds of the buckets, seconds; what took longer is counted in the total alone.
pub const BOUNDS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Likewise in nanoseconds, for comparing.
const BOUNDS: [u64; BOUNDS_SECONDS.len()] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// One shard's counts.
#[derive(Debug, Default)]
pub(crate) struct ResponseTimes {
    buckets: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

/// Counts of all shards, added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TimesReport {
    /// How many took so long or less, by [`BOUNDS_SECONDS`].
    pub up_to: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// What they took together.
    pub seconds: f64,
}

impl ResponseTimes {
    /// Counts one.
    pub(crate) fn add(&self, took: Duration) {
        let nanoseconds = took.as_nanos() as u64;
        let bucket = BOUNDS.iter().position(|bound| nanoseconds <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())].increment();
        self.nanoseconds.add(nanoseconds);
    }

    /// Adds what was counted to `report`.
    pub(crate) fn report(&self, report: &mut TimesReport) {
        let mut so_far = 0;
        for (bucket, up_to) in self.buckets.iter().zip(&mut report.up_to) {
            so_far += bucket.get();
            *up_to += so_far;
        }
        report.count += so_far + self.buckets[BOUNDS.len()].get();
        report.seconds += self.nanoseconds.get() as f64 / 1e9;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_in_every_bucket_it_fits() {
        let times = ResponseTimes::default();
        for microseconds in [1, 500, 501, 99_000, 11_000_000] {
            times.add(Duration::from_micros(microseconds));
        }
        let mut report = TimesReport::default();
        times.report(&mut report);
        assert_eq!(report.up_to[..2], [2, 3]);
        assert_eq!((report.up_to[7], report.up_to[13], report.count), (4, 4, 5));
        assert!((report.seconds - 11.100_002).abs() < 1e-6, "{}", report.seconds);
    }

    #[test]
    fn the_bounds_are_the_same_twice() {
        for (seconds, nanoseconds) in BOUNDS_SECONDS.iter().zip(BOUNDS) {
            assert_eq!(Duration::from_secs_f64(*seconds), Duration::from_nanos(nanoseconds));
        }
    }
}
