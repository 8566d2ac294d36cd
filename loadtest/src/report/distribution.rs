//! Distributions of durations.

use hdrhistogram::Histogram;
use serde::Serialize;

/// A distribution of durations, in seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Distribution {
    /// How many there are.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub standard_deviation: f64,
    /// The median.
    pub p50: f64,
    /// Three quarters are shorter.
    pub p75: f64,
    /// 90 % are shorter.
    pub p90: f64,
    /// 95 % are shorter.
    pub p95: f64,
    /// 99 % are shorter.
    pub p99: f64,
    /// 99.9 % are shorter.
    pub p99_9: f64,
    /// 99.99 % are shorter.
    pub p99_99: f64,
    /// The longest.
    pub max: f64,
}

/// A point of the curve of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// This part of all is not longer.
    pub quantile: f64,
    /// Than this.
    pub seconds: f64,
}

/// How many fall between two durations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Longer than this, or as long.
    pub from_seconds: f64,
    /// Shorter than this.
    pub to_seconds: f64,
    /// How many.
    pub count: u64,
}

/// Bins of each tenfold duration.
const BINS_PER_DECADE: i32 = 10;
/// Points of a curve between two that each halve what is left.
const POINTS_PER_HALF: u32 = 3;

/// In order, and none longer than the longest one measured, as the end of its bucket may be.
struct Sorted<'a>(&'a Histogram<u64>);

impl Sorted<'_> {
    fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile).min(self.0.max()) as f64 / 1e9
    }
}

impl Distribution {
    /// Of nanoseconds; `None` when there is nothing.
    pub(super) fn of(nanoseconds: &Histogram<u64>) -> Option<Self> {
        if nanoseconds.is_empty() {
            return None;
        }
        let sorted = Sorted(nanoseconds);
        Some(Self {
            count: nanoseconds.len(),
            min: nanoseconds.min() as f64 / 1e9,
            mean: nanoseconds.mean() / 1e9,
            standard_deviation: nanoseconds.stdev() / 1e9,
            p50: sorted.at(0.5),
            p75: sorted.at(0.75),
            p90: sorted.at(0.9),
            p95: sorted.at(0.95),
            p99: sorted.at(0.99),
            p99_9: sorted.at(0.999),
            p99_99: sorted.at(0.9999),
            max: sorted.at(1.0),
        })
    }
}

/// The curve of nanoseconds, denser where it counts: towards the longest ones, as far as there
/// are enough of them to say.
pub(super) fn curve(nanoseconds: &Histogram<u64>) -> Vec<CurvePoint> {
    if nanoseconds.is_empty() {
        return Vec::new();
    }
    let sorted = Sorted(nanoseconds);
    let point = |quantile| CurvePoint { quantile, seconds: sorted.at(quantile) };
    let halvings = (nanoseconds.len() as f64).log2().ceil();
    let steps = (halvings * f64::from(POINTS_PER_HALF)) as u32;
    let quantiles = (0..=steps)
        .map(|step| 1.0 - 0.5f64.powf(f64::from(step) / f64::from(POINTS_PER_HALF)))
        .chain(std::iter::once(1.0));
    quantiles.map(point).collect()
}

/// Nanoseconds in bins that each grow by the same factor, from the shortest to the longest.
pub(super) fn bins(nanoseconds: &Histogram<u64>) -> Vec<Bin> {
    if nanoseconds.is_empty() {
        return Vec::new();
    }
    let number = |nanoseconds: u64| {
        let decades = (nanoseconds.max(1) as f64).log10();
        (decades * f64::from(BINS_PER_DECADE)).floor() as i32
    };
    let edge = |number: i32| 10f64.powf(f64::from(number) / f64::from(BINS_PER_DECADE)) / 1e9;
    let first = number(nanoseconds.min());
    let last = number(nanoseconds.max());
    let mut bins: Vec<Bin> = (first..=last)
        .map(|n| Bin { from_seconds: edge(n), to_seconds: edge(n + 1), count: 0 })
        .collect();
    for entry in nanoseconds.iter_recorded() {
        let at = (number(entry.value_iterated_to()) - first).clamp(0, last - first);
        bins[at as usize].count += entry.count_at_value();
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        values.into_iter().for_each(|value| histogram.record(value).unwrap());
        histogram
    }

    #[test]
    fn nothing_has_no_distribution() {
        let nothing = histogram([]);
        assert!(Distribution::of(&nothing).is_none());
        assert!(curve(&nothing).is_empty() && bins(&nothing).is_empty());
    }

    #[test]
    fn a_curve_rises_to_the_longest() {
        let histogram = histogram((1..=1_000).map(|us| us * 1_000));
        let points = curve(&histogram);
        assert!(points.is_sorted_by(|a, b| a.quantile < b.quantile && a.seconds <= b.seconds));
        assert_eq!(points[0].quantile, 0.0);
        let last = points.last().unwrap();
        assert_eq!(last.quantile, 1.0);
        assert!((last.seconds - 0.001).abs() < 1e-5);
        assert!(points.len() > 25 && points.len() < 40, "{}", points.len());
    }

    #[test]
    fn bins_hold_everything() {
        let histogram = histogram([900, 1_100, 1_100, 5_000_000]);
        let bins = bins(&histogram);
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 4);
        assert!(bins[0].from_seconds <= 900e-9 && bins.last().unwrap().to_seconds >= 0.005);
        assert!(bins.windows(2).all(|pair| pair[0].to_seconds == pair[1].from_seconds));
        assert!(bins.iter().any(|bin| bin.count == 2));
    }
}
