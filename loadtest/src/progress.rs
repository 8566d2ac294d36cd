//! How far a run is, on one line of a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{plan::Plan, tally::Count};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Whether nothing is measured yet.
    pub warming_up: bool,
    /// Requests answered as expected.
    pub succeeded: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests answered as expected, in the last second.
    pub succeeded_per_second: f64,
}

/// How fast it was in the last second.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    at: Duration,
    count: Count,
    per_second: f64,
}

/// Shows progress on standard error, when that is a terminal; is silent otherwise.
#[derive(Debug)]
pub struct ProgressLine {
    bar: ProgressBar,
    by_requests: bool,
}

impl Speed {
    /// The count stood at `count` then.
    pub(crate) fn look(&mut self, at: Duration, count: Count) {
        let since = at.saturating_sub(self.at);
        if since >= Duration::from_secs(1) {
            let succeeded = count.since(self.count).succeeded;
            self.per_second = succeeded as f64 / since.as_secs_f64();
            (self.at, self.count) = (at, count);
        }
    }

    /// Requests answered as expected a second; zero in the first one.
    pub(crate) fn per_second(&self) -> f64 {
        self.per_second
    }
}

impl ProgressLine {
    /// A line for this plan, empty so far.
    pub fn new(plan: &Plan) -> Self {
        let total = match (plan.requests, plan.duration) {
            (Some(requests), _) => requests,
            (None, Some(duration)) => steps(plan.warm_up + duration),
            (None, None) => 0,
        };
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{bar:30} {elapsed} {wide_msg}")
            .expect("the template is well-formed");
        bar.set_style(style.progress_chars("━╸─"));
        Self { bar, by_requests: plan.requests.is_some() }
    }

    /// Shows how far it is now.
    pub fn show(&self, progress: &Progress) {
        let Progress { elapsed, warming_up, succeeded, failed, succeeded_per_second } = *progress;
        let position = if self.by_requests { succeeded + failed } else { steps(elapsed) };
        self.bar.set_position(position);
        self.bar.set_message(if warming_up {
            "warming up".to_owned()
        } else {
            format!("{succeeded_per_second:.0}/s   {succeeded} ok   {failed} failed")
        });
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A duration as a position of the bar.
fn steps(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_of_the_last_second() {
        let mut speed = Speed::default();
        let mut look = |ms, succeeded| {
            speed.look(Duration::from_millis(ms), Count { succeeded, ..Count::default() });
            speed.per_second()
        };
        let seen = [look(100, 5), look(2_000, 5), look(2_900, 90), look(3_000, 105)];
        assert_eq!(seen, [0.0, 2.5, 2.5, 100.0]);
    }
}
