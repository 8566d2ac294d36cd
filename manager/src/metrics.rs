//! What the manager tells Prometheus about its own work. The data plane tells
//! its own side itself.

use std::time::Duration;

use bs9_api::types::{AuditHead, MetricsText, Reading, StoreStatus, UnitStatus, Units};
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::memory::Memory;

const UP: &str = "bs9_manager_dataplane_up";
const POLLS: &str = "bs9_manager_polls_total";
const RESTARTS: &str = "bs9_manager_dataplane_restarts_total";
const POINTS: &str = "bs9_manager_history_points";
const POINTS_MAX: &str = "bs9_manager_history_capacity_points";
const STARTED: &str = "bs9_manager_start_time_seconds";
const COLLECTED: &str = "bs9_manager_collections_total";
const COLLECTING: &str = "bs9_manager_collection_seconds";
const UNITS: &str = "bs9_manager_units";
const SERIES: &str = "bs9_manager_history_series";
const SERIES_LEFT_OUT: &str = "bs9_manager_history_series_left_out";
const STORE_BYTES: &str = "bs9_manager_history_size_bytes";
const STORE_LIMIT: &str = "bs9_manager_history_size_limit_bytes";
const STORE_UP: &str = "bs9_manager_history_working";
const BATCHES: &str = "bs9_manager_history_batches_total";
const AUDIT_RECORDS: &str = "bs9_audit_records_total";
const AUDIT_HEAD: &str = "bs9_audit_head_info";

/// What is shown beside the manager's memory.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) collections: u64,
    pub(crate) collection: Duration,
    pub(crate) units: Units,
    pub(crate) store: StoreStatus,
    pub(crate) audit: AuditHead,
}

/// A metric of units: its name, what it is, its kind, and where it comes from.
type UnitMetric = (&'static str, &'static str, &'static str, fn(&UnitStatus) -> &Reading);

const UNIT_METRICS: [UnitMetric; 12] = [
    ("bs9_service_cpu_seconds_total", "Processor time used.", "counter", |u| &u.cpu_seconds_total),
    ("bs9_service_memory_bytes", "Memory charged.", "gauge", |u| &u.memory_bytes),
    ("bs9_service_memory_limit_bytes", "Memory allowed.", "gauge", |u| &u.memory_limit_bytes),
    ("bs9_service_tasks", "Processes and threads.", "gauge", |u| &u.tasks),
    ("bs9_service_restarts_total", "Restarts seen.", "counter", |u| &u.restarts_total),
    ("bs9_service_oom_kills_total", "Processes killed for want of memory.", "counter", |u| {
        &u.oom_kills_total
    }),
    ("bs9_service_open_sockets", "Sockets open.", "gauge", |u| &u.open_sockets),
    ("bs9_service_open_files", "Files open.", "gauge", |u| &u.open_files),
    ("bs9_service_read_bytes_per_second", "Read from disks.", "gauge", |u| {
        &u.read_bytes_per_second
    }),
    ("bs9_service_written_bytes_per_second", "Written to disks.", "gauge", |u| {
        &u.written_bytes_per_second
    }),
    ("bs9_service_cpu_ratio", "Cores used.", "gauge", |u| &u.cpu_ratio),
    ("bs9_service_cpu_pressure_ratio", "Share of time waited for a processor.", "gauge", |u| {
        &u.cpu_pressure_ratio
    }),
];

impl Shown {
    /// What comes and goes (units, the hash of the newest record) is written out:
    /// a registry would keep what is gone.
    fn write_passing(&self, text: &mut String) {
        use std::fmt::Write as _;

        for (name, about, kind, reading) in UNIT_METRICS {
            let _infallible = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}");
            for unit in &self.units.units {
                // What is not known is not there.
                if let Some(value) = reading(unit).value {
                    let service = escaped(&unit.unit);
                    let _infallible = writeln!(text, "{name}{{service=\"{service}\"}} {value}");
                }
            }
        }
        let about = "The newest record of the audit log, by its hash.";
        let _infallible = writeln!(
            text,
            "# HELP {AUDIT_HEAD} {about}\n# TYPE {AUDIT_HEAD} gauge\n{AUDIT_HEAD}{{hash=\"{}\",sequence=\"{}\"}} 1",
            self.audit.hash, self.audit.sequence
        );
    }
}

/// The value of a label, as Prometheus' text format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

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
            describe_counter!(COLLECTED, "Times units and machine were measured.");
            describe_gauge!(COLLECTING, "How long the last time took.");
            describe_gauge!(UNITS, "Units that are measured.");
            describe_gauge!(SERIES, "Series of history that are live.");
            describe_gauge!(SERIES_LEFT_OUT, "Series that are not kept, as there are too many.");
            describe_gauge!(STORE_BYTES, "Size of the database of history.");
            describe_gauge!(STORE_LIMIT, "The most it may have.");
            describe_gauge!(STORE_UP, "Whether history is written.");
            describe_counter!(BATCHES, "Batches of history, by result.");
            describe_counter!(AUDIT_RECORDS, "Records of the audit log.");
        });
        Self { recorder, handle }
    }

    pub(crate) fn render(&self, memory: &Memory, shown: &Shown) -> MetricsText {
        let history = memory.history.status();
        with_local_recorder(&self.recorder, || {
            gauge!(UP).set(if memory.view.shown().reachable { 1.0 } else { 0.0 });
            counter!(POLLS, "result" => "answered").absolute(memory.counts.polls_answered);
            counter!(POLLS, "result" => "failed").absolute(memory.counts.polls_failed);
            counter!(RESTARTS).absolute(memory.counts.restarts);
            gauge!(POINTS).set(history.points as f64);
            gauge!(POINTS_MAX).set(history.capacity_points as f64);
            gauge!(STARTED).set(memory.started_at.as_second() as f64);
            counter!(COLLECTED).absolute(shown.collections);
            gauge!(COLLECTING).set(shown.collection.as_secs_f64());
            gauge!(UNITS).set(shown.units.units.len() as f64);
            let store = &shown.store;
            gauge!(SERIES).set(store.series as f64);
            gauge!(SERIES_LEFT_OUT).set(store.series_left_out as f64);
            gauge!(STORE_BYTES).set(store.size_bytes as f64);
            gauge!(STORE_LIMIT).set(store.size_limit_bytes as f64);
            gauge!(STORE_UP).set(f64::from(u8::from(store.working)));
            counter!(BATCHES, "result" => "written").absolute(store.batches_total);
            counter!(BATCHES, "result" => "lost").absolute(store.batches_lost_total);
            counter!(AUDIT_RECORDS).absolute(shown.audit.sequence);
        });
        let mut text = self.handle.render();
        shown.write_passing(&mut text);
        MetricsText(text)
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

    fn shown() -> Shown {
        let unit = |name: &str, memory: Reading| UnitStatus {
            unit: name.to_owned(),
            cgroup: String::new(),
            cpu_ratio: Reading::default(),
            cpu_seconds_total: Reading::default(),
            memory_bytes: memory,
            memory_limit_bytes: Reading::default(),
            read_bytes_per_second: Reading::default(),
            written_bytes_per_second: Reading::default(),
            tasks: Reading::default(),
            cpu_pressure_ratio: Reading::default(),
            memory_pressure_ratio: Reading::default(),
            io_pressure_ratio: Reading::default(),
            oom_kills_total: Reading::default(),
            restarts_total: Reading::default(),
            open_sockets: Reading::default(),
            open_files: Reading::default(),
        };
        let units = vec![
            unit("a\"b.service", Reading::of(4096.0)),
            unit("c.service", Reading::missing("nobody knows")),
        ];
        Shown {
            collections: 3,
            collection: Duration::from_millis(2),
            units: Units {
                schema: 1,
                at: None,
                hierarchy: "unified".to_owned(),
                units,
                left_out: 0,
            },
            store: StoreStatus::default(),
            audit: AuditHead { sequence: 2, hash: "abc".to_owned(), at: None },
        }
    }

    #[test]
    fn what_is_not_known_is_not_there_and_names_are_escaped() {
        let memory = Memory::new(
            jiff::Timestamp::UNIX_EPOCH,
            &bs9_config::parse_manager_str("test", "").unwrap().history,
            Duration::from_secs(1),
        );
        let text = Metrics::new().render(&memory, &shown()).0;
        assert!(
            text.contains("bs9_service_memory_bytes{service=\"a\\\"b.service\"} 4096\n"),
            "{text}"
        );
        assert!(!text.contains("c.service"), "{text}");
        assert!(text.contains("bs9_audit_head_info{hash=\"abc\",sequence=\"2\"} 1\n"), "{text}");
    }

    #[test]
    fn the_text_says_what_happened() {
        let config = History {
            keep: Duration::from_secs(60),
            resolution: Duration::from_secs(1),
            store: None,
        };
        let mut memory = Memory::new(at(5), &config, Duration::from_secs(1));
        let metrics = Metrics::new();
        memory.note(at(6), Ok(status(1, 1.0)));
        assert!(metrics.render(&memory, &shown()).0.contains("bs9_manager_dataplane_up 1\n"));
        memory.note(at(7), Err("gone".to_owned()));
        let text = metrics.render(&memory, &shown()).0;
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
