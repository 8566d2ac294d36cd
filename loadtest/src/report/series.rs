//! A run second by second.

use std::time::Duration;

use serde::Serialize;

use crate::tally::Count;

/// Most entries kept. When there are more, neighbours are joined.
const MAX_ENTRIES: usize = 3_600;

/// What happened until a moment, since the entry before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Second {
    /// Since the measurement began.
    pub at_seconds: f64,
    /// Requests answered as expected.
    pub succeeded: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Bytes received.
    pub received_bytes: u64,
}

/// Entries of one length, which grows when the run does.
#[derive(Debug)]
pub(crate) struct Series {
    entries: Vec<Second>,
    /// What one entry spans.
    span: Duration,
    last_at: Duration,
    last: Count,
    recent_per_second: f64,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            span: Duration::from_secs(1),
            last_at: Duration::ZERO,
            last: Count::default(),
            recent_per_second: 0.0,
        }
    }
}

impl Series {
    /// The count stood at `count` then. Makes an entry when it is time for one.
    pub(crate) fn look(&mut self, at: Duration, count: Count) {
        if at >= self.last_at + self.span {
            self.push(at, count);
        }
    }

    /// The last look: what is left makes an entry, however short.
    pub(crate) fn close(&mut self, at: Duration, count: Count) {
        if count != self.last {
            self.push(at, count);
        }
    }

    /// Successful requests a second, in the newest entry.
    pub(crate) fn recent_per_second(&self) -> f64 {
        self.recent_per_second
    }

    pub(crate) fn into_seconds(self) -> Vec<Second> {
        self.entries
    }

    fn push(&mut self, at: Duration, count: Count) {
        let Count { succeeded, failed, received_bytes } = count.since(self.last);
        let seconds = at.saturating_sub(self.last_at).as_secs_f64();
        self.recent_per_second = if seconds > 0.0 { succeeded as f64 / seconds } else { 0.0 };
        let at_seconds = at.as_secs_f64();
        self.entries.push(Second { at_seconds, succeeded, failed, received_bytes });
        (self.last_at, self.last) = (at, count);
        if self.entries.len() > MAX_ENTRIES {
            self.join_neighbours();
        }
    }

    fn join_neighbours(&mut self) {
        self.span *= 2;
        self.entries = self
            .entries
            .chunks(2)
            .map(|pair| Second {
                at_seconds: pair[pair.len() - 1].at_seconds,
                succeeded: pair.iter().map(|entry| entry.succeeded).sum(),
                failed: pair.iter().map(|entry| entry.failed).sum(),
                received_bytes: pair.iter().map(|entry| entry.received_bytes).sum(),
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_long_it_takes_nothing_is_lost() {
        let mut series = Series::default();
        for second in 1..=10_000u64 {
            let count = Count { succeeded: second * 3, failed: second, received_bytes: second * 7 };
            series.look(Duration::from_secs(second), count);
        }
        let last = Count { succeeded: 30_001, failed: 10_000, received_bytes: 70_000 };
        series.close(Duration::from_millis(10_000_500), last);
        let entries = series.into_seconds();
        assert!(entries.len() <= MAX_ENTRIES, "{}", entries.len());
        assert_eq!(entries.iter().map(|entry| entry.succeeded).sum::<u64>(), 30_001);
        assert_eq!(entries.iter().map(|entry| entry.received_bytes).sum::<u64>(), 70_000);
        assert!(entries.is_sorted_by(|a, b| a.at_seconds < b.at_seconds));
    }

    #[test]
    fn looks_in_between_make_no_entry() {
        let mut series = Series::default();
        let count = Count { succeeded: 5, ..Count::default() };
        series.look(Duration::from_millis(100), count);
        assert!(series.entries.is_empty());
        series.look(Duration::from_millis(2_000), count);
        assert_eq!(series.recent_per_second(), 2.5);
    }
}
