//! Latencies of a second, kept to a part in thirty, so that an hour of seconds fits in memory.

use crate::measure::Latencies;

/// Bits of a value that are kept behind its highest one.
const KEPT_BITS: u32 = 5;
const PER_OCTAVE: u64 = 1 << KEPT_BITS;

/// How often each latency occurred, roughly; sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Coarse {
    buckets: Vec<(u16, u64)>,
    longest_nanoseconds: u64,
}

impl Coarse {
    pub(crate) fn of(latencies: &Latencies) -> Self {
        let histogram = latencies.nanoseconds();
        if histogram.is_empty() {
            return Self::default();
        }
        let mut buckets: Vec<(u16, u64)> = Vec::new();
        for entry in histogram.iter_recorded() {
            let bucket = bucket(entry.value_iterated_to());
            match buckets.last_mut() {
                Some((last, count)) if *last == bucket => *count += entry.count_at_value(),
                _ => buckets.push((bucket, entry.count_at_value())),
            }
        }
        Self { buckets, longest_nanoseconds: histogram.max() }
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for &(bucket, count) in &other.buckets {
            match self.buckets.binary_search_by_key(&bucket, |(own, _)| *own) {
                Ok(index) => self.buckets[index].1 += count,
                Err(index) => self.buckets.insert(index, (bucket, count)),
            }
        }
        self.longest_nanoseconds = self.longest_nanoseconds.max(other.longest_nanoseconds);
    }

    /// This part of the latencies is not longer, in seconds; `None` when there are none.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        let wanted = ((self.count() as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        found.map(|(bucket, _)| middle(*bucket).min(self.longest_nanoseconds as f64) / 1e9)
    }

    /// The longest one, in seconds, exactly.
    pub(crate) fn longest(&self) -> Option<f64> {
        (!self.buckets.is_empty()).then_some(self.longest_nanoseconds as f64 / 1e9)
    }
}

fn bucket(nanoseconds: u64) -> u16 {
    if nanoseconds < PER_OCTAVE {
        return nanoseconds as u16;
    }
    let octave = nanoseconds.ilog2() - KEPT_BITS;
    (u64::from(octave) * PER_OCTAVE + (nanoseconds >> octave)) as u16
}

/// The middle of what a bucket holds.
fn middle(bucket: u16) -> f64 {
    let bucket = u64::from(bucket);
    if bucket < 2 * PER_OCTAVE {
        return bucket as f64;
    }
    let octave = bucket / PER_OCTAVE - 1;
    let width = (1u64 << octave) as f64;
    (PER_OCTAVE + bucket % PER_OCTAVE) as f64 * width + (width - 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_are_kept_to_a_part_in_thirty(nanoseconds in 0u64..3_600_000_000_000) {
            let kept = middle(bucket(nanoseconds));
            prop_assert!((kept - nanoseconds as f64).abs() <= nanoseconds as f64 / 30.0 + 0.5);
        }
    }

    #[test]
    fn quantiles_of_what_was_added() {
        assert_eq!(Coarse::default().quantile(0.5), None);
        let mut latencies = Latencies::new();
        (1..=90).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let mut coarse = Coarse::of(&latencies);
        latencies.clear();
        (91..=100).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        coarse.add(&Coarse::of(&latencies));
        assert_eq!(coarse.count(), 100);
        for (quantile, expected) in [(0.01, 0.001), (0.5, 0.05), (0.99, 0.099), (1.0, 0.1)] {
            let found = coarse.quantile(quantile).unwrap();
            assert!((found - expected).abs() < expected / 25.0, "{quantile}: {found}");
        }
        assert!((coarse.longest().unwrap() - 0.1).abs() < 1e-4);
    }
}
