//! Quantiles of latencies in little space.
//!
//! Values are counted in buckets that grow by a constant factor, so that every
//! quantile is within 2 % of the true one (DDSketch, Masson, Rim and Lee, 2019).
//! Sketches of parts add up to the sketch of the whole.

use std::collections::BTreeMap;

use super::bytes::{Reader, put_signed, put_unsigned};

/// Relative error of a quantile.
const ACCURACY: f64 = 0.02;
/// From one bucket to the next.
const GAMMA: f64 = (1.0 + ACCURACY) / (1.0 - ACCURACY);
/// What is smaller counts as 0: a nanosecond.
const SMALLEST: f64 = 1e-9;
/// Buckets at most; beyond that the smallest values are counted together.
const MAX_BUCKETS: usize = 512;
/// The bucket of 0.
const ZERO: i32 = i32::MIN;

/// How often values of about which size occurred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sketch {
    buckets: BTreeMap<i32, u64>,
}

impl Sketch {
    /// Counts `value` so many times.
    pub(crate) fn add(&mut self, value: f64, times: u64) {
        if times == 0 || !value.is_finite() {
            return;
        }
        let count = self.buckets.entry(bucket(value)).or_default();
        *count = count.saturating_add(times);
        self.bound();
    }

    /// Adds everything `other` counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, times) in &other.buckets {
            let count = self.buckets.entry(*bucket).or_default();
            *count = count.saturating_add(*times);
        }
        self.bound();
    }

    /// The value that a share of `quantile` (0 to 1) of all values is at most.
    /// `None` when nothing was counted.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        let total: u64 = self.buckets.values().fold(0, |sum, count| sum.saturating_add(*count));
        let rank = ((quantile * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0_u64;
        for (bucket, count) in &self.buckets {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return Some(middle(*bucket));
            }
        }
        None
    }

    /// Memory it takes, about.
    pub(super) fn bytes(&self) -> u64 {
        self.buckets.len() as u64 * 24
    }

    fn bound(&mut self) {
        while self.buckets.len() > MAX_BUCKETS {
            let Some((_, smallest)) = self.buckets.pop_first() else { return };
            if let Some(mut next) = self.buckets.first_entry() {
                *next.get_mut() = next.get().saturating_add(smallest);
            }
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_unsigned(out, self.buckets.len() as u64);
        let mut before = 0;
        for (bucket, count) in &self.buckets {
            put_signed(out, i64::from(*bucket) - before);
            put_unsigned(out, *count);
            before = i64::from(*bucket);
        }
    }

    /// `None` when it is not a sketch.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let many = from.unsigned()?;
        let mut buckets = BTreeMap::new();
        let mut before = 0_i64;
        for _ in 0..many.min(MAX_BUCKETS as u64 + 1) {
            before = before.checked_add(from.signed()?)?;
            buckets.insert(i32::try_from(before).ok()?, from.unsigned()?);
        }
        (many <= MAX_BUCKETS as u64).then_some(Self { buckets })
    }
}

fn bucket(value: f64) -> i32 {
    if value < SMALLEST {
        return ZERO;
    }
    // A finite positive value has an exponent of a few tens of thousands at most.
    (value.ln() / GAMMA.ln()).ceil() as i32
}

fn middle(bucket: i32) -> f64 {
    if bucket == ZERO {
        return 0.0;
    }
    2.0 * GAMMA.powi(bucket) / (GAMMA + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_counted_has_no_quantile() {
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_their_error(
            mut values in prop::collection::vec(1e-6..100.0_f64, 1..500),
            quantile in 0.0..1.0_f64,
            split in 0..500_usize,
        ) {
            let split = split.min(values.len());
            let (mut whole, mut rest) = (Sketch::default(), Sketch::default());
            values[..split].iter().for_each(|value| whole.add(*value, 1));
            values[split..].iter().for_each(|value| rest.add(*value, 1));
            whole.merge(&rest);
            values.sort_by(f64::total_cmp);
            let rank = ((quantile * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let found = whole.quantile(quantile).unwrap();
            prop_assert!((found - exact).abs() <= exact * (ACCURACY + 1e-6), "{found} {exact}");
        }

        #[test]
        fn it_stays_small_and_survives_writing(
            values in prop::collection::vec((any::<f64>(), 0..1_000_u64), 0..2_000),
        ) {
            let mut sketch = Sketch::default();
            values.iter().for_each(|(value, times)| sketch.add(*value, *times));
            prop_assert!(sketch.buckets.len() <= MAX_BUCKETS);
            let mut bytes = Vec::new();
            sketch.write(&mut bytes);
            prop_assert_eq!(Sketch::read(&mut Reader::new(&bytes)), Some(sketch));
        }
    }
}
