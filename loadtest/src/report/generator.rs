//! What the load generator itself cost, and whether it was the bottleneck.

use std::time::Duration;

use serde::Serialize;

use super::series::Second;
use crate::measure::Finished;

/// A thread that needed a core for more than this part of the time was the bottleneck, not what
/// it measured.
pub const SATURATED: f64 = 0.9;
/// Runs shorter than this say nothing about their threads.
const LONG_ENOUGH: Duration = Duration::from_millis(500);

/// What the load generator itself cost.
#[derive(Debug, Clone, Serialize)]
pub struct Generator {
    /// Time on a core, of all threads, during the measurement.
    pub cpu_seconds: f64,
    /// The same for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds_per_request: Option<f64>,
    /// Each thread.
    pub threads: Vec<ThreadShare>,
    /// Whether a thread needed a core for more than nine tenths of the time.
    pub saturated: bool,
    /// How long a thread did, counted in whole seconds of the run.
    pub saturated_seconds: f64,
}

/// What a thread did with its time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ThreadShare {
    /// The part of the time it was on a core.
    pub cpu_ratio: f64,
    /// The part of the time it would have been, but every core was taken.
    pub waiting_ratio: f64,
}

impl Generator {
    pub(super) fn of(finished: &[Finished]) -> Self {
        let share = |finished: &Finished| {
            let wall = finished.wall.as_secs_f64().max(1e-9);
            ThreadShare {
                cpu_ratio: finished.time.cpu.as_secs_f64() / wall,
                waiting_ratio: finished.time.waiting.as_secs_f64() / wall,
            }
        };
        let threads: Vec<_> = finished.iter().map(share).collect();
        let long_enough = finished.iter().any(|finished| finished.wall >= LONG_ENOUGH);
        let busy = |thread: &ThreadShare| thread.cpu_ratio + thread.waiting_ratio > SATURATED;
        Self {
            cpu_seconds: finished.iter().map(|finished| finished.time.cpu.as_secs_f64()).sum(),
            cpu_seconds_per_request: None,
            saturated: long_enough && threads.iter().any(busy),
            saturated_seconds: 0.0,
            threads,
        }
    }

    /// With what only the whole run can say.
    pub(super) fn over(mut self, requests: u64, series: &[Second]) -> Self {
        self.cpu_seconds_per_request = (requests > 0).then(|| self.cpu_seconds / requests as f64);
        let busy = series.iter().filter(|second| {
            second.generator_busy_ratio > SATURATED && second.seconds >= LONG_ENOUGH.as_secs_f64()
        });
        self.saturated_seconds = busy.map(|second| second.seconds).sum();
        self
    }
}
