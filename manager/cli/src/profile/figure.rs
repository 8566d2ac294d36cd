//! What a row of numbers comes to.

use serde::Serialize;

/// A trend is told from so many values on; two or three always lie on some line.
pub(super) const TREND_FROM: usize = 5;

/// What was measured, and in what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Cores,
    Bytes,
    BytesPerSecond,
    Ratio,
    Count,
    PerSecond,
}

/// A figure over the window; its name ends in its unit where it has one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    /// Who counted: `control_group`, `processes` or `data_plane`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<&'static str>,
    #[serde(flatten)]
    pub(super) values: Option<Values>,
    /// Why there are no values, or why some are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// What the values of a figure come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Values {
    pub(super) count: usize,
    pub(super) min: f64,
    pub(super) mean: f64,
    pub(super) p95: f64,
    pub(super) max: f64,
    pub(super) last: f64,
    /// Of the line that fits best; absent with fewer than five values.
    pub(super) trend: Option<Trend>,
}

/// A straight line through values, by least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Trend {
    /// What is added each second.
    pub(super) per_second: f64,
    /// How much of what the values vary the line explains: 0 none, 1 all of it.
    pub(super) fit_ratio: f64,
}

impl Values {
    /// Of pairs of seconds and value; `None` when there are none.
    pub(super) fn of(points: &[(f64, f64)]) -> Option<Self> {
        let mut sorted: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self {
            count: sorted.len(),
            min,
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            p95: quantile(&sorted, 0.95),
            max,
            last: points.last()?.1,
            trend: Trend::through(points),
        })
    }
}

/// The smallest value that so large a share of all does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

impl Trend {
    fn through(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < TREND_FROM {
            return None;
        }
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (middle, level) = (mean(|point| point.0), mean(|point| point.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| {
            points.iter().map(|(at, value)| of(at - middle, value - level)).sum::<f64>()
        };
        let spread = sum(&|at, _| at * at);
        let varied = sum(&|_, value| value * value);
        let together = sum(&|at, value| at * value);
        if spread <= 0.0 {
            return None;
        }
        let fit = if varied > 0.0 { together * together / (spread * varied) } else { 1.0 };
        Some(Self { per_second: together / spread, fit_ratio: fit.min(1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f64]) -> Vec<(f64, f64)> {
        values.iter().enumerate().map(|(at, value)| (at as f64 * 2.0, *value)).collect()
    }

    #[test]
    fn values_are_what_they_are_called() {
        let all: Vec<f64> = (1..=100).map(f64::from).collect();
        let values = Values::of(&points(&all)).unwrap();
        assert_eq!((values.min, values.mean, values.p95, values.max), (1.0, 50.5, 95.0, 100.0));
        assert_eq!((values.count, values.last), (100, 100.0));
        let one = Values::of(&points(&[7.0])).unwrap();
        assert_eq!((one.min, one.p95, one.max, one.trend), (7.0, 7.0, 7.0, None));
        assert_eq!(Values::of(&[]), None);
    }

    #[test]
    fn a_trend_tells_growth_from_noise() {
        let trend = |values: &[f64]| Values::of(&points(values)).unwrap().trend;
        let grown = trend(&[10.0, 12.0, 14.0, 16.0, 18.0]).unwrap();
        assert!((grown.per_second - 1.0).abs() < 1e-9 && grown.fit_ratio > 0.999, "{grown:?}");
        let flat = trend(&[5.0; 6]).unwrap();
        assert_eq!((flat.per_second, flat.fit_ratio), (0.0, 1.0));
        let noise = trend(&[1.0, 9.0, 1.0, 9.0, 1.0, 9.0]).unwrap();
        assert!(noise.fit_ratio < 0.2, "{noise:?}");
        assert_eq!(trend(&[1.0, 2.0, 3.0, 4.0]), None);
        let at_once = [(0.0, 1.0); 6];
        assert_eq!(Values::of(&at_once).unwrap().trend, None);
    }
}
