//! How long things take, counted in buckets by one shard.

use std::{array, time::Duration};

use bs9_net::{Counter, PerShard};

/// Upper bound of the first bucket, nanoseconds; each further one is twice as wide.
const FIRST: u64 = 1 << FIRST_BITS;
/// About 16 µs.
const FIRST_BITS: u32 = 14;
/// Up to about 69 s; what takes longer goes into one more.
pub(crate) const BOUNDS: usize = 23;

/// Written by its shard alone, read by whoever asks.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [Counter; BOUNDS + 1],
    nanoseconds: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| Counter::default()), nanoseconds: Counter::default() }
    }
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&self, duration: Duration) {
        self.record_nanoseconds(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Likewise.
    #[inline]
    pub(crate) fn record_nanoseconds(&self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)].increment();
        self.nanoseconds.add(nanoseconds);
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }

    /// How long they took in all, nanoseconds.
    pub(crate) fn sum_nanoseconds(&self) -> u64 {
        self.nanoseconds.get()
    }
}

#[inline]
fn bucket(nanoseconds: u64) -> usize {
    // A bound belongs to the bucket below it, as Prometheus has it.
    let bits = u64::BITS - nanoseconds.saturating_sub(1).leading_zeros();
    (bits.saturating_sub(FIRST_BITS) as usize).min(BOUNDS)
}

/// The histogram that `of` finds in each cell, summed, for the API.
pub(crate) fn status<T: Default>(
    cells: &PerShard<T>,
    of: impl Fn(&T) -> &Histogram,
) -> bs9_api::types::DurationHistogram {
    let mut below = 0;
    let mut buckets = Vec::with_capacity(BOUNDS);
    for at in 0..BOUNDS {
        below += cells.sum(|cell| of(cell).buckets[at].get());
        let at_most_seconds = (FIRST << at) as f64 / 1e9;
        buckets.push(bs9_api::types::DurationBucket { at_most_seconds, count: below });
    }
    bs9_api::types::DurationHistogram {
        buckets,
        count: below + cells.sum(|cell| of(cell).buckets[BOUNDS].get()),
        sum_seconds: cells.sum(|cell| of(cell).nanoseconds.get()) as f64 / 1e9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_has_its_bucket() {
        for (nanoseconds, wanted) in [
            (0, 0),
            (1, 0),
            (FIRST, 0),
            (FIRST + 1, 1),
            (2 * FIRST, 1),
            (2 * FIRST + 1, 2),
            (FIRST << (BOUNDS - 1), BOUNDS - 1),
            ((FIRST << (BOUNDS - 1)) + 1, BOUNDS),
            (u64::MAX, BOUNDS),
        ] {
            assert_eq!(bucket(nanoseconds), wanted, "{nanoseconds}");
        }
    }

    #[test]
    fn what_is_recorded_is_reported_over_all_shards() {
        let cells: PerShard<Histogram> = PerShard::new(2);
        cells[0].record(Duration::from_nanos(FIRST));
        cells[1].record(Duration::from_nanos(FIRST + 1));
        cells[1].record(Duration::from_secs(100));
        let status = status(&cells, |cell| cell);
        assert_eq!(status.count, 3);
        assert_eq!(status.buckets[0].count, 1);
        assert!(status.buckets[1..].iter().all(|bucket| bucket.count == 2));
        assert!((status.sum_seconds - 100.000_032_769).abs() < 1e-6, "{}", status.sum_seconds);
    }
}
