//! What one thread measured, second by second and stage by stage.
//!
//! Nothing is added up per request: latencies go into one histogram, which is emptied into the
//! current interval and stage when either ends, together with how far the counters came.

use std::{sync::Arc, time::Duration};

use crate::{
    coarse::Coarse,
    failure::{FAILURE_KINDS, FailureCounts},
    measure::Latencies,
    thread_time::ThreadTime,
};

/// Most intervals kept. When there are more, neighbours are joined.
pub(crate) const MAX_INTERVALS: usize = 3_600;
/// How long an interval is at first.
const FIRST_SPAN: Duration = Duration::from_secs(1);

/// Where the counters of a thread stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) succeeded: u64,
    pub(crate) failures: FailureCounts,
    pub(crate) received_bytes: u64,
    pub(crate) time: ThreadTime,
}

/// What happened in a while.
#[derive(Debug, Clone)]
pub(crate) struct Interval {
    pub(crate) succeeded: u64,
    pub(crate) failures: FailureCounts,
    pub(crate) received_bytes: u64,
    pub(crate) latency: Coarse,
    pub(crate) time: ThreadTime,
}

/// What happened in a stage.
#[derive(Debug, Clone)]
pub(crate) struct StageTotals {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) latency: Latencies,
}

/// Intervals and stages, collected while they pass.
#[derive(Debug, Clone)]
pub(crate) struct OverTime {
    /// Latencies since the last cut.
    recent: Latencies,
    before: Option<Standing>,
    /// The interval that is not over yet.
    current: Interval,
    intervals: Vec<Interval>,
    /// What one interval spans.
    span: Duration,
    stage_ends: Arc<[Duration]>,
    stage: usize,
    /// Empty when the run has only one stage: then it is the whole run.
    stages: Vec<StageTotals>,
}

// === impl Interval ===

impl Interval {
    pub(crate) fn empty() -> Self {
        Self {
            succeeded: 0,
            failures: [0; FAILURE_KINDS],
            received_bytes: 0,
            latency: Coarse::default(),
            time: ThreadTime::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.succeeded == 0 && self.failed() == 0 && self.received_bytes == 0
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// Adds what happened elsewhere, or next.
    pub(crate) fn add(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.received_bytes += other.received_bytes;
        self.latency.add(&other.latency);
        self.time = self.time + other.time;
        for (own, other) in self.failures.iter_mut().zip(other.failures) {
            *own += other;
        }
    }
}

// === impl StageTotals ===

impl StageTotals {
    /// Adds another thread's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.latency.merge(&other.latency);
    }
}

// === impl Standing ===

impl Standing {
    /// What came since `earlier`, without latencies.
    fn since(self, earlier: Self) -> Interval {
        let mut failures = self.failures;
        for (now, before) in failures.iter_mut().zip(earlier.failures) {
            *now -= before;
        }
        Interval {
            succeeded: self.succeeded - earlier.succeeded,
            failures,
            received_bytes: self.received_bytes - earlier.received_bytes,
            latency: Coarse::default(),
            time: self.time.since(earlier.time),
        }
    }
}

// === impl OverTime ===

impl OverTime {
    /// Stages end at these times; there may be none.
    pub(crate) fn new(stage_ends: Arc<[Duration]>) -> Self {
        let stage = StageTotals { succeeded: 0, failed: 0, latency: Latencies::growing() };
        let stages = if stage_ends.len() > 1 { stage_ends.len() } else { 0 };
        Self {
            recent: Latencies::new(),
            before: None,
            current: Interval::empty(),
            intervals: Vec::new(),
            span: FIRST_SPAN,
            stages: vec![stage; stages],
            stage_ends,
            stage: 0,
        }
    }

    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        self.recent.record(latency);
    }

    /// The measurement begins; counters stand there.
    pub(crate) fn begin(&mut self, standing: Standing) {
        self.before = Some(standing);
    }

    /// When the next cut is due, counted from the beginning of the measurement.
    pub(crate) fn next_cut(&self) -> Duration {
        let interval = self.span * (self.intervals.len() as u32 + 1);
        // The last stage ends with the run.
        let ends = self.stage_ends.split_last().map_or(&[][..], |(_, ends)| ends);
        ends.get(self.stage).map_or(interval, |end| interval.min(*end))
    }

    /// Time has come to `at`, and the counters to `standing`.
    pub(crate) fn cut(&mut self, at: Duration, standing: Standing) {
        let Some(before) = self.before.replace(standing) else { return };
        let mut passed = standing.since(before);
        passed.latency = Coarse::of(&self.recent);
        if let Some(stage) = self.stages.get_mut(self.stage) {
            stage.succeeded += passed.succeeded;
            stage.failed += passed.failed();
            stage.latency.merge(&self.recent);
        }
        self.recent.clear();
        self.current.add(&passed);
        while self.stage + 1 < self.stage_ends.len() && self.stage_ends[self.stage] <= at {
            self.stage += 1;
        }
        while at >= self.span * (self.intervals.len() as u32 + 1) {
            self.intervals.push(std::mem::replace(&mut self.current, Interval::empty()));
            if self.intervals.len() >= MAX_INTERVALS {
                self.join_neighbours();
            }
        }
    }

    /// All intervals, the last of which may be shorter, how long each is, and all stages.
    pub(crate) fn into_parts(mut self) -> (Vec<Interval>, Duration, Vec<StageTotals>) {
        if !self.current.is_empty() {
            self.intervals.push(self.current);
        }
        (self.intervals, self.span, self.stages)
    }

    fn join_neighbours(&mut self) {
        self.span *= 2;
        self.intervals = joined(&self.intervals);
    }
}

/// Each two intervals as one.
pub(crate) fn joined(intervals: &[Interval]) -> Vec<Interval> {
    let join = |pair: &[Interval]| {
        let mut sum = pair[0].clone();
        pair[1..].iter().for_each(|other| sum.add(other));
        sum
    };
    intervals.chunks(2).map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn standing(succeeded: u64) -> Standing {
        let mut failures = [0; FAILURE_KINDS];
        failures[2] = succeeded / 10;
        Standing { succeeded, failures, received_bytes: succeeded * 7, time: ThreadTime::default() }
    }

    #[test]
    fn however_long_it_takes_nothing_is_lost() {
        let mut over_time = OverTime::new(Arc::new([]));
        over_time.begin(standing(0));
        for second in 1..=10_000u32 {
            if second % 100 == 0 {
                over_time.record(Duration::from_millis(3));
            }
            over_time.cut(second * SECOND, standing(u64::from(second) * 10));
        }
        over_time.cut(10_000 * SECOND + SECOND / 2, standing(100_001));
        let (intervals, span, stages) = over_time.into_parts();
        assert!(intervals.len() <= MAX_INTERVALS && stages.is_empty());
        assert_eq!(span, 4 * SECOND);
        assert_eq!(intervals.iter().map(|i| i.succeeded).sum::<u64>(), 100_001);
        assert_eq!(intervals.iter().map(Interval::failed).sum::<u64>(), 10_000);
        assert_eq!(intervals.iter().map(|i| i.latency.count()).sum::<u64>(), 100);
    }

    #[test]
    fn stages_end_between_seconds() {
        let ends = [1_500, 2_000, 4_000].map(Duration::from_millis);
        let mut over_time = OverTime::new(Arc::new(ends));
        over_time.begin(standing(5));
        let mut cuts = Vec::new();
        for succeeded in [15, 35, 45, 75] {
            let at = over_time.next_cut();
            over_time.cut(at, standing(succeeded));
            cuts.push(at.as_millis());
        }
        over_time.cut(4 * SECOND, standing(80));
        assert_eq!(cuts, [1_000, 1_500, 2_000, 3_000]);
        let (intervals, _, stages) = over_time.into_parts();
        assert_eq!(intervals.iter().map(|i| i.succeeded).collect::<Vec<_>>(), [10, 30, 30, 5]);
        assert_eq!(stages.iter().map(|s| s.succeeded).collect::<Vec<_>>(), [30, 10, 35]);
    }

    #[test]
    fn a_thread_that_was_away_leaves_empty_seconds() {
        let mut over_time = OverTime::new(Arc::new([]));
        over_time.begin(standing(0));
        over_time.cut(SECOND * 3, standing(4));
        let (intervals, ..) = over_time.into_parts();
        assert_eq!(intervals.iter().map(|i| i.succeeded).collect::<Vec<_>>(), [4, 0, 0]);
    }
}
