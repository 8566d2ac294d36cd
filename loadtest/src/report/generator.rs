//! What the load generator itself cost, and whether it was the bottleneck.

use std::time::Duration;

use serde::Serialize;

use super::series::Second;
use crate::thread_time::ThreadTime;

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
    /// From what each thread cost, and how long it was at it.
    pub(super) fn of(threads: &[(ThreadTime, Duration)]) -> Self {
        let share = |(time, wall): &(ThreadTime, Duration)| {
            let wall = wall.as_secs_f64().max(1e-9);
            ThreadShare {
                cpu_ratio: time.cpu.as_secs_f64() / wall,
                waiting_ratio: time.waiting.as_secs_f64() / wall,
            }
        };
        let shares: Vec<_> = threads.iter().map(share).collect();
        let long_enough = threads.iter().any(|(_, wall)| *wall >= LONG_ENOUGH);
        let busy = |thread: &ThreadShare| thread.cpu_ratio + thread.waiting_ratio > SATURATED;
        Self {
            cpu_seconds: threads.iter().map(|(time, _)| time.cpu.as_secs_f64()).sum(),
            cpu_seconds_per_request: None,
            saturated: long_enough && shares.iter().any(busy),
            saturated_seconds: 0.0,
            threads: shares,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that was so long on a core and waited so long for one, in two seconds.
    fn thread(cpu_ms: u64, waiting_ms: u64) -> (ThreadTime, Duration) {
        let (cpu, waiting) = (Duration::from_millis(cpu_ms), Duration::from_millis(waiting_ms));
        (ThreadTime { cpu, waiting }, Duration::from_secs(2))
    }

    #[test]
    fn one_thread_that_wants_more_is_enough() {
        for (threads, saturated) in [
            (vec![thread(100, 0), thread(1_700, 0)], false),
            (vec![thread(100, 0), thread(1_900, 0)], true),
            // The cores were taken by somebody else.
            (vec![thread(1_000, 900)], true),
            (vec![], false),
        ] {
            assert_eq!(Generator::of(&threads).saturated, saturated);
        }
        let short = (thread(1_000, 0).0, Duration::from_millis(400));
        assert!(!Generator::of(&[short]).saturated, "too short to say");
    }

    #[test]
    fn seconds_are_counted_and_costs_shared() {
        let second = |seconds, generator_busy_ratio| Second {
            at_seconds: 0.0,
            seconds,
            asked_per_second: None,
            connections: None,
            succeeded: 0,
            failed: 0,
            received_bytes: 0,
            latency_seconds: None,
            errors: Vec::new(),
            generator_busy_ratio,
        };
        let series = [second(1.0, 0.95), second(1.0, 0.5), second(1.0, 1.0), second(0.1, 1.0)];
        let generator = Generator::of(&[thread(500, 0)]).over(250, &series);
        assert_eq!(generator.saturated_seconds, 2.0);
        assert_eq!(generator.cpu_seconds_per_request, Some(0.002));
        assert_eq!(Generator::of(&[]).over(0, &series).cpu_seconds_per_request, None);
    }
}
