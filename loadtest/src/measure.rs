//! What one thread measured.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    failure::{Failure, FailureLog},
    over_time::{OverTime, Standing},
    tally::Count,
    thread_time::ThreadTime,
};

/// Longest latency told apart from longer ones.
const HIGHEST: Duration = Duration::from_secs(3_600);
/// Latencies are kept to a part in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Statuses told apart: 100 to 999 (RFC 9110 section 15).
const STATUSES: usize = 1_000;

/// Latencies, in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// What came of one request of the mix.
#[derive(Debug, Clone)]
pub(crate) struct Outcomes {
    /// From when a request was due (open loop) or to be sent (closed loop) to its last byte.
    pub(crate) latency: Latencies,
    pub(crate) succeeded: u64,
    pub(crate) failures: FailureLog,
}

/// Everything counted from the end of warm-up on.
#[derive(Debug, Clone)]
pub(crate) struct Measurements {
    /// Each request of the mix.
    pub(crate) outcomes: Box<[Outcomes]>,
    /// Open loop: from when it was really sent.
    pub(crate) service: Latencies,
    pub(crate) succeeded: u64,
    pub(crate) failures: FailureLog,
    pub(crate) failed: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) over_time: OverTime,
    statuses: Box<[u64]>,
}

/// A thread's last word.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) measured: Measurements,
    /// From the call to connect until the first request could be sent, warm-up included.
    pub(crate) connect: Latencies,
    /// Statements that were answered, where a request is several of them.
    pub(crate) statements: Option<u64>,
    /// Requests of the warm-up.
    pub(crate) warmed_up: u64,
    /// When the measurement ended here.
    pub(crate) ended_at: Instant,
    /// How long this thread was at it.
    pub(crate) wall: Duration,
    pub(crate) time: ThreadTime,
    /// Whether it was told to stop early.
    pub(crate) interrupted: bool,
}

// === impl Latencies ===

impl Latencies {
    pub(crate) fn new() -> Self {
        let highest = HIGHEST.as_nanos() as u64;
        let histogram = Histogram::new_with_bounds(1, highest, SIGNIFICANT_DIGITS)
            .expect("the bounds are in order and the digits within five");
        Self(histogram)
    }

    /// As precise, and no larger than what it holds.
    pub(crate) fn growing() -> Self {
        let histogram = Histogram::new(SIGNIFICANT_DIGITS);
        Self(histogram.expect("the digits are within five"))
    }

    pub(crate) fn clear(&mut self) {
        if !self.0.is_empty() {
            self.0.reset();
        }
    }

    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds, or grow");
    }

    /// The histogram, in nanoseconds.
    pub(crate) fn nanoseconds(&self) -> &Histogram<u64> {
        &self.0
    }
}

// === impl Measurements ===

impl Measurements {
    /// For a mix of so many requests, and stages that end at these times.
    pub(crate) fn new(requests: usize, stage_ends: Arc<[Duration]>) -> Self {
        let outcomes =
            Outcomes { latency: Latencies::new(), succeeded: 0, failures: FailureLog::default() };
        Self {
            outcomes: vec![outcomes; requests].into(),
            service: Latencies::new(),
            succeeded: 0,
            failures: FailureLog::default(),
            failed: 0,
            received_bytes: 0,
            sent_bytes: 0,
            over_time: OverTime::new(stage_ends),
            statuses: vec![0; STATUSES].into(),
        }
    }

    /// A response came, with this status if its protocol has any.
    #[inline]
    pub(crate) fn status(&mut self, status: Option<u16>) {
        if let Some(count) = status.and_then(|status| self.statuses.get_mut(usize::from(status))) {
            *count += 1;
        }
    }

    /// A request of the mix was answered as expected.
    #[inline]
    pub(crate) fn succeed(&mut self, request: usize, latency: Duration) {
        let outcomes = &mut self.outcomes[request];
        outcomes.succeeded += 1;
        outcomes.latency.record(latency);
        self.over_time.record(latency);
        self.succeeded += 1;
    }

    /// A request of the mix was not.
    pub(crate) fn fail(&mut self, request: usize, failure: &Failure) {
        self.outcomes[request].failures.record(failure);
        self.failures.record(failure);
        self.failed += 1;
    }

    /// So many were due, but it never came to choosing what to send.
    pub(crate) fn leave_unsent(&mut self, count: u64) {
        self.failures.record_many(&Failure::Unsent, count);
        self.failed += count;
    }

    pub(crate) fn standing(&self, time: ThreadTime) -> Standing {
        Standing {
            succeeded: self.succeeded,
            failures: self.failures.totals(),
            received_bytes: self.received_bytes,
            time,
        }
    }

    pub(crate) fn count(&self) -> Count {
        let Self { succeeded, failed, received_bytes, .. } = *self;
        Count { succeeded, failed, received_bytes }
    }

    /// Adds another thread's. What it measured over time stays as it is.
    pub(crate) fn merge(&mut self, other: Self) {
        for (own, other) in self.outcomes.iter_mut().zip(other.outcomes) {
            own.latency.merge(&other.latency);
            own.succeeded += other.succeeded;
            own.failures.merge(other.failures);
        }
        self.service.merge(&other.service);
        self.succeeded += other.succeeded;
        self.failures.merge(other.failures);
        self.failed += other.failed;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        for (own, other) in self.statuses.iter_mut().zip(&other.statuses) {
            *own += other;
        }
    }

    /// Takes out what was measured over time.
    pub(crate) fn take_over_time(&mut self) -> OverTime {
        std::mem::replace(&mut self.over_time, OverTime::new(Arc::new([])))
    }

    /// The latencies of all requests of the mix.
    pub(crate) fn latency(&self) -> Latencies {
        let mut all = Latencies::new();
        self.outcomes.iter().for_each(|outcomes| all.merge(&outcomes.latency));
        all
    }

    /// The statuses that occurred.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        (0..).zip(self.statuses.iter().copied()).filter(|&(_, count)| count > 0)
    }
}
