//! What came of a run.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::Serialize;

mod csv;
pub mod series;
mod text;

use series::{Second, Series};

use crate::{
    failure::{FailureCount, FailureKind, FailureLog},
    measure::{Finished, Latencies, Measurements},
    plan::{Plan, Workload},
    threshold::{Figures, Verdict},
};

/// Version of the report's shape in JSON.
pub const SCHEMA: u32 = 1;
/// A thread that needed a core for more than this part of the time was the bottleneck, not what
/// it measured.
pub const SATURATED: f64 = 0.9;

/// What came of a run. As JSON it has the units in its names; absent is what does not apply.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub schema: u32,
    /// Where the load went, without password.
    pub target: String,
    /// The address behind it.
    pub address: SocketAddr,
    /// `http/1.1`, `tcp` or `postgresql`.
    pub protocol: &'static str,
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub pacing: &'static str,
    /// Open loop: the rate asked for, per second, at the beginning and at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_per_second: Option<[f64; 2]>,
    /// Connections, over all threads.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// Whether connections were used again.
    pub keep_alive: bool,
    /// How long it was measured.
    pub elapsed_seconds: f64,
    /// How long it was warmed up before.
    pub warm_up_seconds: f64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// Requests and their outcome.
    pub requests: Requests,
    /// Bytes, over all connections.
    pub bytes: Bytes,
    /// Latency of successful requests: from when they were due (open loop) or to be sent (closed
    /// loop) to their last byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<Distribution>,
    /// Open loop: the same from when they were really sent. What the difference is, they waited
    /// for a free connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_seconds: Option<Distribution>,
    /// From connecting until the first request could be sent, login included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_seconds: Option<Distribution>,
    /// HTTP: responses by status.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<u16, u64>,
    /// Failed requests by kind.
    pub errors: Vec<FailureCount>,
    /// Connections that could not be opened before the start, by kind. They were tried again
    /// with their requests.
    pub opening_errors: Vec<FailureCount>,
    /// What the load generator itself cost.
    pub generator: Generator,
    /// The bounds it had to keep.
    pub thresholds: Vec<Verdict>,
    /// Whether all of them were kept, and anything succeeded at all.
    pub passed: bool,
    /// What makes these figures doubtful.
    pub warnings: Vec<String>,
    /// Second by second; of long runs, several seconds each.
    pub series: Vec<Second>,
}

/// Requests and their outcome.
#[derive(Debug, Clone, Serialize)]
pub struct Requests {
    /// All that count.
    pub total: u64,
    /// Answered as expected.
    pub succeeded: u64,
    /// Not, for whatever reason.
    pub failed: u64,
    /// Answered as expected, a second.
    pub succeeded_per_second: f64,
    /// Sent during warm-up, not counted above.
    pub warm_up: u64,
}

/// Bytes as the application sees them, without TCP's and IP's headers.
#[derive(Debug, Clone, Serialize)]
pub struct Bytes {
    /// Sent.
    pub sent_bytes: u64,
    /// Received.
    pub received_bytes: u64,
    /// Received, a second.
    pub received_bytes_per_second: f64,
}

/// A distribution of durations, in seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Distribution {
    /// How many there are.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub standard_deviation: f64,
    /// The median.
    pub p50: f64,
    /// Three quarters are shorter.
    pub p75: f64,
    /// 90 % are shorter.
    pub p90: f64,
    /// 95 % are shorter.
    pub p95: f64,
    /// 99 % are shorter.
    pub p99: f64,
    /// 99.9 % are shorter.
    pub p99_9: f64,
    /// 99.99 % are shorter.
    pub p99_99: f64,
    /// The longest.
    pub max: f64,
}

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
}

/// What a thread did with its time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ThreadShare {
    /// The part of the time it was on a core.
    pub cpu_ratio: f64,
    /// The part of the time it would have been, but every core was taken.
    pub waiting_ratio: f64,
}

/// What a report is made from, beside the measurements.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) address: SocketAddr,
    pub(crate) start: Instant,
    pub(crate) series: Series,
    pub(crate) failures: FailureLog,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(evidence: Evidence<'_>, finished: Vec<Finished>) -> Self {
        let Evidence { plan, address, start, series, failures } = evidence;
        let measure_from = start + plan.warm_up;
        let ended_at = finished.iter().map(|finished| finished.ended_at).max();
        let elapsed = ended_at.unwrap_or(measure_from).saturating_duration_since(measure_from);
        let warm_up = finished.iter().map(|finished| finished.warmed_up).sum();
        let interrupted = finished.iter().any(|finished| finished.interrupted);
        let generator = Generator::of(&finished);
        let mut connect = Latencies::new();
        let mut measured = Measurements::new();
        for thread in finished {
            connect.merge(&thread.connect);
            measured.merge(thread.measured);
        }
        let requests = Requests::of(&measured, elapsed, warm_up);
        let mut report = Self {
            schema: SCHEMA,
            target: plan.target.to_string(),
            address,
            protocol: match plan.workload {
                Workload::Http(_) => "http/1.1",
                Workload::Echo(_) => "tcp",
                Workload::Postgres(_) => "postgresql",
            },
            pacing: if plan.rate.is_some() { "open" } else { "closed" },
            asked_per_second: plan.rate.map(|rate| [rate.from(), rate.to()]),
            connections: plan.connections,
            threads: plan.threads,
            keep_alive: plan.keep_alive,
            elapsed_seconds: elapsed.as_secs_f64(),
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            interrupted,
            bytes: Bytes::of(&measured, elapsed),
            latency_seconds: Distribution::of(measured.latency.nanoseconds()),
            service_seconds: Distribution::of(measured.service.nanoseconds()),
            connect_seconds: Distribution::of(connect.nanoseconds()),
            statuses: measured.statuses().collect(),
            errors: measured.failures.counts(),
            opening_errors: failures.counts(),
            generator: generator.per_request(&requests),
            thresholds: judge(plan, &measured, &requests),
            passed: false,
            warnings: Vec::new(),
            series: series.into_seconds(),
            requests,
        };
        let kept = report.thresholds.iter().all(|verdict| verdict.passed);
        report.passed = kept && report.requests.succeeded > 0;
        report.warnings = report.find_doubts();
        report
    }

    fn find_doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.generator.saturated {
            doubts.push(
                "the load generator itself was short of CPU time: these are its limits, not the \
                 server's; use more threads, less load or another machine"
                    .to_owned(),
            );
        }
        let unsent = self.errors.iter().find(|error| error.kind == FailureKind::Unsent);
        if let Some(FailureCount { count, .. }) = unsent {
            doubts.push(format!(
                "{count} requests were never sent: the connections were all busy until the end; \
                 the server is too slow for this rate, or there are too few connections"
            ));
        }
        let unopened: u64 = self.opening_errors.iter().map(|error| error.count).sum();
        if unopened > 0 {
            let example = &self.opening_errors[0].example;
            let connections = self.connections;
            doubts.push(format!(
                "{unopened} of {connections} connections could not be opened at first: {example}"
            ));
        }
        if self.interrupted {
            doubts.push("stopped before its end".to_owned());
        }
        doubts
    }
}

fn judge(plan: &Plan, measured: &Measurements, requests: &Requests) -> Vec<Verdict> {
    let figures = Figures {
        latency: measured.latency.nanoseconds(),
        succeeded: requests.succeeded,
        failed: requests.failed,
        succeeded_per_second: requests.succeeded_per_second,
    };
    plan.thresholds.iter().map(|threshold| threshold.judge(&figures)).collect()
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

// === impl Requests ===

impl Requests {
    fn of(measured: &Measurements, elapsed: Duration, warm_up: u64) -> Self {
        let Measurements { succeeded, failed, .. } = *measured;
        Self {
            total: succeeded + failed,
            succeeded,
            failed,
            succeeded_per_second: per_second(succeeded, elapsed),
            warm_up,
        }
    }
}

// === impl Bytes ===

impl Bytes {
    fn of(measured: &Measurements, elapsed: Duration) -> Self {
        let Measurements { sent_bytes, received_bytes, .. } = *measured;
        let received_bytes_per_second = per_second(received_bytes, elapsed);
        Self { sent_bytes, received_bytes, received_bytes_per_second }
    }
}

// === impl Distribution ===

impl Distribution {
    /// `None` when there is nothing.
    fn of(nanoseconds: &Histogram<u64>) -> Option<Self> {
        if nanoseconds.is_empty() {
            return None;
        }
        // The highest value of a bucket may lie beyond the longest one measured.
        let longest = nanoseconds.max();
        let at = |quantile| nanoseconds.value_at_quantile(quantile).min(longest) as f64 / 1e9;
        Some(Self {
            count: nanoseconds.len(),
            min: nanoseconds.min() as f64 / 1e9,
            mean: nanoseconds.mean() / 1e9,
            standard_deviation: nanoseconds.stdev() / 1e9,
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: longest as f64 / 1e9,
        })
    }
}

// === impl Generator ===

impl Generator {
    fn of(finished: &[Finished]) -> Self {
        let share = |finished: &Finished| {
            let wall = finished.wall.as_secs_f64().max(1e-9);
            ThreadShare {
                cpu_ratio: finished.time.cpu.as_secs_f64() / wall,
                waiting_ratio: finished.time.waiting.as_secs_f64() / wall,
            }
        };
        let threads: Vec<_> = finished.iter().map(share).collect();
        // Too short a run says nothing about its threads.
        let long_enough =
            finished.iter().any(|finished| finished.wall >= Duration::from_millis(500));
        let busy = |thread: &ThreadShare| thread.cpu_ratio + thread.waiting_ratio > SATURATED;
        Self {
            cpu_seconds: finished.iter().map(|finished| finished.time.cpu.as_secs_f64()).sum(),
            cpu_seconds_per_request: None,
            saturated: long_enough && threads.iter().any(busy),
            threads,
        }
    }

    fn per_request(mut self, requests: &Requests) -> Self {
        let cpu = self.cpu_seconds;
        self.cpu_seconds_per_request = (requests.total > 0).then(|| cpu / requests.total as f64);
        self
    }
}
