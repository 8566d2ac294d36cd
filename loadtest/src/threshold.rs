//! `p99 < 5ms`, `errors < 0.1%`, `rate > 1000`: what decides whether a run passed.

use std::{fmt, str::FromStr};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::quantity::{number_and_unit, parse_duration, show_seconds};

/// A bound that a run has to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    text: String,
    metric: Metric,
    relation: Relation,
    limit: f64,
}

/// Whether a threshold was kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The request of the mix it is about; absent when it is about all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The threshold, as it was written.
    pub threshold: String,
    /// What was measured, in seconds, a ratio, a count, or per second; absent when there was
    /// nothing to measure, which does not pass.
    pub actual: Option<f64>,
    /// The same, for people.
    #[serde(skip)]
    pub shown: String,
    /// Whether it was kept.
    pub passed: bool,
}

/// No threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// No comparison.
    #[error("`{text}` is not a threshold; write 'p99 < 5ms', 'errors < 0.1%' or 'rate > 1000'")]
    Form {
        /// What was typed.
        text: String,
    },
    /// No such figure.
    #[error(
        "`{name}` is not measured; there are p50 to p99.999, mean, min, max, errors, rate and requests"
    )]
    Metric {
        /// What was typed.
        name: String,
    },
    /// A value that does not fit the figure.
    #[error("`{value}` is no value for `{metric}`; write {expected}")]
    Value {
        /// What was typed.
        value: String,
        /// The figure.
        metric: String,
        /// What would do.
        expected: &'static str,
    },
}

/// What thresholds look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures<'a> {
    /// In nanoseconds.
    pub(crate) latency: &'a Histogram<u64>,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) succeeded_per_second: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    /// A percentile of latency.
    Percentile(f64),
    Mean,
    Min,
    Max,
    /// Failed requests, of all.
    ErrorRatio,
    /// Failed requests.
    Errors,
    /// Successful requests a second.
    Rate,
    /// Successful requests.
    Requests,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

// === impl Threshold ===

impl Threshold {
    pub(crate) fn judge(&self, figures: &Figures<'_>) -> Verdict {
        let actual = self.metric.of(figures);
        let passed = actual.is_some_and(|actual| self.relation.holds(actual, self.limit));
        let shown = actual.map_or_else(|| "nothing measured".to_owned(), |a| self.metric.show(a));
        Verdict { request: None, threshold: self.text.clone(), actual, shown, passed }
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let form = || ThresholdError::Form { text: text.to_owned() };
        let start = text.find(['<', '>', '=']).ok_or_else(form)?;
        let (name, rest) = text.split_at(start);
        let end = rest.find(|c| !matches!(c, '<' | '>' | '=')).ok_or_else(form)?;
        let (relation, value) = rest.split_at(end);
        let relation = match relation {
            "<" => Relation::Less,
            "<=" => Relation::AtMost,
            "=" | "==" => Relation::Equal,
            ">=" => Relation::AtLeast,
            ">" => Relation::More,
            _ => return Err(form()),
        };
        let (name, value) = (name.trim(), value.trim());
        let (metric, limit) = metric_and_limit(name, value)?;
        Ok(Self { text: text.trim().to_owned(), metric, relation, limit })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn metric_and_limit(name: &str, value: &str) -> Result<(Metric, f64), ThresholdError> {
    let wrong = |expected| ThresholdError::Value {
        value: value.to_owned(),
        metric: name.to_owned(),
        expected,
    };
    let duration = || {
        let wrong = |_| wrong("a duration such as 5ms");
        parse_duration(value).map(|duration| duration.as_secs_f64()).map_err(wrong)
    };
    let number =
        |allowed: &[&str]| number_and_unit(value).filter(|(_, unit)| allowed.contains(unit));
    Ok(match name {
        "mean" => (Metric::Mean, duration()?),
        "min" => (Metric::Min, duration()?),
        "max" => (Metric::Max, duration()?),
        "errors" => match number(&["", "%"]).ok_or_else(|| wrong("0.1% or a count"))? {
            (percent, "%") => (Metric::ErrorRatio, percent / 100.0),
            (count, _) => (Metric::Errors, count),
        },
        "rate" => {
            let (rate, _) = number(&["", "/s"]).ok_or_else(|| wrong("requests per second"))?;
            (Metric::Rate, rate)
        }
        "requests" => (Metric::Requests, number(&[""]).ok_or_else(|| wrong("a count"))?.0),
        _ => {
            let percentile = name
                .strip_prefix('p')
                .and_then(number_and_unit)
                .filter(|&(p, unit)| unit.is_empty() && p > 0.0 && p < 100.0);
            match percentile {
                Some((percentile, _)) => (Metric::Percentile(percentile), duration()?),
                None => return Err(ThresholdError::Metric { name: name.to_owned() }),
            }
        }
    })
}

// === impl Metric ===

impl Metric {
    /// `None` when there was nothing to measure.
    fn of(self, figures: &Figures<'_>) -> Option<f64> {
        let Figures { latency, succeeded, failed, succeeded_per_second } = *figures;
        let seconds = |nanoseconds: f64| (succeeded > 0).then_some(nanoseconds / 1e9);
        match self {
            Self::Percentile(p) => seconds(latency.value_at_quantile(p / 100.0) as f64),
            Self::Mean => seconds(latency.mean()),
            Self::Min => seconds(latency.min() as f64),
            Self::Max => seconds(latency.max() as f64),
            Self::ErrorRatio => {
                let all = succeeded + failed;
                (all > 0).then(|| failed as f64 / all as f64)
            }
            Self::Errors => Some(failed as f64),
            Self::Rate => Some(succeeded_per_second),
            Self::Requests => Some(succeeded as f64),
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Percentile(_) | Self::Mean | Self::Min | Self::Max => show_seconds(value),
            Self::ErrorRatio => format!("{:.3}%", value * 100.0),
            Self::Errors | Self::Requests => format!("{value:.0}"),
            Self::Rate => format!("{value:.1}/s"),
        }
    }
}

// === impl Relation ===

impl Relation {
    fn holds(self, actual: f64, limit: f64) -> bool {
        match self {
            Self::Less => actual < limit,
            Self::AtMost => actual <= limit,
            Self::Equal => (actual - limit).abs() < 1e-9,
            Self::AtLeast => actual >= limit,
            Self::More => actual > limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str, latencies_ms: &[u64], failed: u64) -> bool {
        let mut latency = Histogram::new(3).unwrap();
        for &latency_ms in latencies_ms {
            latency.record(latency_ms * 1_000_000).unwrap();
        }
        let succeeded = latencies_ms.len() as u64;
        let succeeded_per_second = succeeded as f64 / 2.0;
        let figures = Figures { latency: &latency, succeeded, failed, succeeded_per_second };
        text.parse::<Threshold>().unwrap().judge(&figures).passed
    }

    #[test]
    fn bounds_hold_or_do_not() {
        let mut latencies = [1; 100];
        latencies[99] = 50;
        for (text, passes) in [
            ("p50 < 2ms", true),
            ("p50<1ms", false),
            ("p99 <= 1.01ms", true),
            ("p99.9 < 49ms", false),
            ("max > 49ms", true),
            ("min > 0.99ms", true),
            ("mean < 1.5ms", true),
            ("mean < 1.4ms", false),
            ("requests == 100", true),
            ("requests = 99", false),
            ("rate >= 50", true),
            ("rate > 50/s", false),
            ("errors < 10%", true),
            ("errors < 9%", false),
            ("errors <= 10", true),
            ("errors < 10", false),
        ] {
            assert_eq!(judge(text, &latencies, 10), passes, "{text}");
        }
    }

    #[test]
    fn nothing_measured_passes_nothing() {
        for text in ["p99 < 1h", "mean > 0s", "errors < 100%"] {
            assert!(!judge(text, &[], 0), "{text}");
        }
        assert!(!judge("p99 < 1h", &[], 5));
        assert!(judge("errors < 10", &[], 5));
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "",
            "p99",
            "p99 <",
            "< 5ms",
            "p99 <> 5ms",
            "p99 < 5",
            "p0 < 1s",
            "p100 < 1s",
            "p < 1s",
            "px < 1s",
            "errors < 5ms",
            "errors < -1",
            "rate > 5ms",
            "rate > 5%",
            "requests > 1%",
            "latency < 5ms",
            "p99 ! 5ms",
        ] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }
}
