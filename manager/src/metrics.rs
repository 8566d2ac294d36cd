//! What the manager tells Prometheus about its own work. The data plane tells
//! its own side itself.

use bs9_api::types::MetricsText;
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::memory::Memory;

const UP: &str = "bs9_manager_dataplane_up";
const POLLS: &str = "bs9_manager_polls_total";
const RESTARTS: &str = "bs9_manager_dataplane_restarts_total";
const POINTS: &str = "bs9_manager_history_points";
const POINTS_MAX: &str = "bs9_manager_history_capacity_points";
const STARTED: &str = "bs9_manager_start_time_seconds";

/// A registry of its own, filled when it is asked.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        with_local_recorder(&recorder, || {
            describe_gauge!(UP, "Whether the last poll of the data plane was answered.");
            describe_counter!(POLLS, "Polls of the data plane, by result.");
            describe_counter!(RESTARTS, "Times the data plane was found to be a new process.");
            describe_gauge!(POINTS, "Points of history kept now.");
            describe_gauge!(POINTS_MAX, "Points of history kept at most.");
            describe_gauge!(STARTED, "When the manager started, seconds since the epoch.");
        });
        Self { recorder, handle }
    }

    pub(crate) fn render(&self, memory: &Memory) -> MetricsText {
        let history = memory.history.status();
        with_local_recorder(&self.recorder, || {
            gauge!(UP).set(if memory.view.shown().reachable { 1.0 } else { 0.0 });
            counter!(POLLS, "result" => "answered").absolute(memory.counts.polls_answered);
            counter!(POLLS, "result" => "failed").absolute(memory.counts.polls_failed);
            counter!(RESTARTS).absolute(memory.counts.restarts);
            gauge!(POINTS).set(history.points as f64);
            gauge!(POINTS_MAX).set(history.capacity_points as f64);
            gauge!(STARTED).set(memory.started_at.as_second() as f64);
        });
        MetricsText(self.handle.render())
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bs9_config::History;

    use super::*;
    use crate::rates::tests::{at, status};

    #[test]
    fn the_text_says_what_happened() {
        let config = History { keep: Duration::from_secs(60), resolution: Duration::from_secs(1) };
        let mut memory = Memory::new(at(5), &config, Duration::from_secs(1));
        let metrics = Metrics::new();
        memory.note(at(6), Ok(status(1, 1.0)));
        assert!(metrics.render(&memory).0.contains("bs9_manager_dataplane_up 1\n"));
        memory.note(at(7), Err("gone".to_owned()));
        let text = metrics.render(&memory).0;
        let expected = [
            "# TYPE bs9_manager_dataplane_up gauge\n",
            "bs9_manager_dataplane_up 0\n",
            "# TYPE bs9_manager_polls_total counter\n",
            "bs9_manager_polls_total{result=\"answered\"} 1\n",
            "bs9_manager_polls_total{result=\"failed\"} 1\n",
            "bs9_manager_dataplane_restarts_total 0\n",
            "bs9_manager_history_points 2\n",
            "bs9_manager_history_capacity_points 60\n",
            "bs9_manager_start_time_seconds 5\n",
        ];
        for line in expected {
            assert!(text.contains(line), "{line:?} is missing in {text}");
        }
    }
}
