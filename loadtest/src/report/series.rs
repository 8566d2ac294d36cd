//! A run second by second.

use std::time::Duration;

use serde::Serialize;

use crate::{
    failure::FailureKind,
    over_time::{Interval, joined},
    plan::Load,
};

/// Least part of an interval that the last one has to have to stand for itself.
const LAST_PART: f64 = 0.5;

/// What happened until a moment, since the entry before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Second {
    /// Since the measurement began.
    pub at_seconds: f64,
    /// How long it was.
    pub seconds: f64,
    /// Open loop: the rate that was asked for in its middle, per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_per_second: Option<f64>,
    /// Closed loop: how many connections were to take part in its middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<f64>,
    /// Requests answered as expected.
    pub succeeded: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Latency of the successful ones, to a part in thirty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<Latency>,
    /// Failed requests by kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<KindCount>,
    /// The part of the time the busiest thread of the load generator needed a core for.
    pub generator_busy_ratio: f64,
}

/// Latency in a second, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 90 % are shorter.
    pub p90: f64,
    /// 99 % are shorter.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// How often one kind of error occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// The kind.
    pub kind: FailureKind,
    /// How often.
    pub count: u64,
}

/// All threads' intervals together; `elapsed` is how long the measurement took.
pub(super) fn seconds(
    threads: Vec<(Vec<Interval>, Duration)>,
    load: &Load,
    elapsed: Duration,
) -> Vec<Second> {
    // Threads join neighbours at the same time, but for those that just did not.
    let span = threads.iter().map(|(_, span)| *span).max().unwrap_or_default();
    let threads: Vec<Vec<Interval>> = threads
        .into_iter()
        .map(|(mut intervals, mut own)| {
            while own < span {
                own *= 2;
                intervals = joined(&intervals);
            }
            intervals
        })
        .collect();
    let count = threads.iter().map(Vec::len).max().unwrap_or_default();
    let (span, elapsed) = (span.as_secs_f64(), elapsed.as_secs_f64());
    let mut sums = Vec::with_capacity(count);
    for index in 0..count {
        let parts = threads.iter().filter_map(|intervals| intervals.get(index));
        let mut sum = Sum { all: Interval::empty(), busy: Duration::ZERO };
        parts.for_each(|part| sum.add(part));
        sums.push(sum);
    }
    // What came in while the last requests ended is part of the last whole interval.
    let last = elapsed - span * count.saturating_sub(1) as f64;
    if count > 1 && last < span * LAST_PART {
        let tail = sums.pop().map(|sum| sum.all);
        if let (Some(tail), Some(sum)) = (tail, sums.last_mut()) {
            sum.all.add(&tail);
        }
    }
    let count = sums.len();
    let entries = sums.into_iter().enumerate().map(|(index, sum)| {
        let begins = span * index as f64;
        let ends = if index + 1 == count { elapsed.max(begins) } else { begins + span };
        sum.into_second(begins, ends, load)
    });
    entries.collect()
}

/// What all threads did in one interval.
struct Sum {
    all: Interval,
    /// How long the busiest of them needed a core.
    busy: Duration,
}

impl Sum {
    fn add(&mut self, part: &Interval) {
        self.busy = self.busy.max(part.time.cpu + part.time.waiting);
        self.all.add(part);
    }

    fn into_second(self, begins: f64, ends: f64, load: &Load) -> Second {
        let Self { all, busy } = self;
        let busy = busy.as_secs_f64() / (ends - begins).max(1e-9);
        let middle = Duration::try_from_secs_f64((begins + ends) / 2.0).unwrap_or_default();
        let level = load.course().level(middle);
        let quantile = |quantile| all.latency.quantile(quantile);
        let latency_seconds = (|| {
            Some(Latency {
                p50: quantile(0.5)?,
                p90: quantile(0.9)?,
                p99: quantile(0.99)?,
                max: all.latency.longest()?,
            })
        })();
        let kinds = FailureKind::ALL.into_iter().zip(all.failures);
        Second {
            at_seconds: ends,
            seconds: ends - begins,
            asked_per_second: load.is_open().then_some(level),
            connections: (!load.is_open()).then_some(level),
            succeeded: all.succeeded,
            failed: all.failed(),
            received_bytes: all.received_bytes,
            latency_seconds,
            errors: kinds
                .filter(|(_, count)| *count > 0)
                .map(|(kind, count)| KindCount { kind, count })
                .collect(),
            generator_busy_ratio: busy.min(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::Course;

    fn intervals(counts: &[u64]) -> Vec<Interval> {
        let interval = |&succeeded: &u64| Interval { succeeded, ..Interval::empty() };
        counts.iter().map(interval).collect()
    }

    fn of(threads: Vec<(Vec<Interval>, Duration)>, elapsed: f64) -> Vec<(f64, u64)> {
        let load = Load::Closed(Course::constant(2.0));
        let seconds = seconds(threads, &load, Duration::from_secs_f64(elapsed));
        assert!(seconds.iter().all(|second| second.connections == Some(2.0)));
        seconds.into_iter().map(|second| (second.at_seconds, second.succeeded)).collect()
    }

    #[test]
    fn threads_are_added_up() {
        let second = Duration::from_secs(1);
        let threads = vec![(intervals(&[1, 2, 3]), second), (intervals(&[10, 20]), second)];
        assert_eq!(of(threads.clone(), 2.7), [(1.0, 11), (2.0, 22), (2.7, 3)]);
        assert_eq!(of(threads, 2.1), [(1.0, 11), (2.1, 25)]);
        assert_eq!(of(vec![(intervals(&[7]), second)], 0.2), [(0.2, 7)]);
        assert_eq!(of(vec![(Vec::new(), second)], 5.0), []);
    }

    #[test]
    fn a_thread_that_joined_earlier_fits_the_others() {
        let threads = vec![
            (intervals(&[1, 2, 3]), Duration::from_secs(1)),
            (intervals(&[10, 20]), Duration::from_secs(2)),
        ];
        assert_eq!(of(threads, 4.0), [(2.0, 13), (4.0, 23)]);
    }
}
