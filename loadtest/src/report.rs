//! What came of a run.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

mod csv;
pub mod distribution;
pub mod generator;
mod html;
pub mod parts;
pub mod series;
mod text;

use distribution::{Bin, CurvePoint, Distribution};
use generator::Generator;
use parts::{RequestReport, StageReport};
use series::Second;

use crate::{
    failure::{FailureCount, FailureKind, FailureLog},
    measure::{Finished, Latencies, Measurements, Outcomes},
    over_time::{Interval, StageTotals},
    plan::Plan,
    threshold::{Figures, Verdict},
};

/// Version of the report's shape in JSON.
pub const SCHEMA: u32 = 1;

/// What came of a run. As JSON it has the units in its names; absent is what does not apply.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub schema: u32,
    /// Where the load went, without password.
    pub target: String,
    /// The address behind it.
    pub address: SocketAddr,
    /// What is spoken, such as `http/1.1`, `http/2 over tls`, `tcp` or `postgresql`.
    pub protocol: &'static str,
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub pacing: &'static str,
    /// Open loop: the rate asked for, per second, at the beginning and at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_per_second: Option<[f64; 2]>,
    /// Connections, over all threads.
    pub connections: usize,
    /// HTTP/2: requests at the same time on each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<usize>,
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
    /// The latency behind the figures above, point by point.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latency_curve: Vec<CurvePoint>,
    /// How many requests took how long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latency_bins: Vec<Bin>,
    /// Scenarios: each request of the mix.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<RequestReport>,
    /// Scenarios with several stages: each of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageReport>,
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
    /// Scripts: statements that were answered as expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<u64>,
    /// The same a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements_per_second: Option<f64>,
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

/// What a report is made from, beside the measurements.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) address: SocketAddr,
    pub(crate) start: Instant,
    pub(crate) failures: FailureLog,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(evidence: Evidence<'_>, finished: Vec<Finished>) -> Self {
        let Evidence { plan, address, start, failures } = evidence;
        let measure_from = start + plan.warm_up;
        let ended_at = finished.iter().map(|finished| finished.ended_at).max();
        let elapsed = ended_at.unwrap_or(measure_from).saturating_duration_since(measure_from);
        let warm_up = finished.iter().map(|finished| finished.warmed_up).sum();
        let interrupted = finished.iter().any(|finished| finished.interrupted);
        let statements =
            finished.iter().filter_map(|finished| finished.statements).reduce(|sum, own| sum + own);
        let threads: Vec<_> =
            finished.iter().map(|finished| (finished.time, finished.wall)).collect();
        let Together { measured, connect, intervals, stages } = Together::of(plan, finished);
        let latency = measured.latency();
        let requests = Requests::of(&measured, elapsed, warm_up, statements);
        let series = series::seconds(intervals, &plan.load, elapsed);
        let mut report = Self {
            schema: SCHEMA,
            target: plan.target.to_string(),
            address,
            protocol: plan.workload.name(),
            pacing: if plan.load.is_open() { "open" } else { "closed" },
            asked_per_second: asked(plan),
            connections: plan.connections,
            streams: plan.workload.streams(),
            threads: plan.threads,
            keep_alive: plan.keep_alive,
            elapsed_seconds: elapsed.as_secs_f64(),
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            interrupted,
            bytes: Bytes::of(&measured, elapsed),
            latency_seconds: Distribution::of(latency.nanoseconds()),
            latency_curve: distribution::curve(latency.nanoseconds()),
            latency_bins: distribution::bins(latency.nanoseconds()),
            mix: parts::requests(plan.mix.entries(), &measured.outcomes, elapsed),
            stages: parts::stages(&plan.stages, stages, &plan.load, elapsed),
            service_seconds: Distribution::of(measured.service.nanoseconds()),
            connect_seconds: Distribution::of(connect.nanoseconds()),
            statuses: measured.statuses().collect(),
            errors: measured.failures.counts(),
            opening_errors: failures.counts(),
            generator: Generator::of(&threads).over(requests.total, &series),
            thresholds: judge(plan, &measured, &latency, &requests),
            passed: false,
            warnings: Vec::new(),
            series,
            requests,
        };
        let kept = report.thresholds.iter().all(|verdict| verdict.passed);
        report.passed = kept && report.requests.succeeded > 0;
        report.warnings = report.find_doubts();
        report
    }

    fn find_doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let generator = &self.generator;
        if generator.saturated {
            doubts.push(
                "the load generator itself was short of CPU time: these are its limits, not the \
                 server's; use more threads, less load or another machine"
                    .to_owned(),
            );
        } else if generator.saturated_seconds > 0.0 {
            doubts.push(format!(
                "the load generator itself was short of CPU time for {:.0} s of the run: what \
                 happened then are its limits, not the server's",
                generator.saturated_seconds
            ));
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

/// What the threads measured together.
struct Together {
    measured: Measurements,
    connect: Latencies,
    /// Each thread's, and how long one spans.
    intervals: Vec<(Vec<Interval>, Duration)>,
    stages: Vec<StageTotals>,
}

impl Together {
    fn of(plan: &Plan, finished: Vec<Finished>) -> Self {
        let mut together = Self {
            measured: Measurements::new(plan.mix.entries().len(), Arc::new([])),
            connect: Latencies::new(),
            intervals: Vec::with_capacity(finished.len()),
            stages: Vec::new(),
        };
        for Finished { mut measured, connect, .. } in finished {
            together.connect.merge(&connect);
            let (intervals, span, stages) = measured.take_over_time().into_parts();
            together.intervals.push((intervals, span));
            if together.stages.is_empty() {
                together.stages = stages;
            } else {
                for (own, other) in together.stages.iter_mut().zip(&stages) {
                    own.add(other);
                }
            }
            together.measured.merge(measured);
        }
        together
    }
}

/// The rates an open loop begins and ends with.
fn asked(plan: &Plan) -> Option<[f64; 2]> {
    let stretches = plan.load.course().stretches();
    let (first, last) = (stretches.first()?, stretches.last()?);
    plan.load.is_open().then_some([first.from, last.to])
}

fn judge(
    plan: &Plan,
    measured: &Measurements,
    latency: &Latencies,
    requests: &Requests,
) -> Vec<Verdict> {
    let figures = Figures {
        latency: latency.nanoseconds(),
        succeeded: requests.succeeded,
        failed: requests.failed,
        succeeded_per_second: requests.succeeded_per_second,
    };
    let share = |outcomes: &Outcomes| match requests.succeeded {
        0 => 0.0,
        all => outcomes.succeeded as f64 / all as f64,
    };
    let mut verdicts: Vec<_> =
        plan.thresholds.iter().map(|threshold| threshold.judge(&figures)).collect();
    for (entry, outcomes) in plan.mix.entries().iter().zip(&measured.outcomes) {
        let figures = Figures {
            latency: outcomes.latency.nanoseconds(),
            succeeded: outcomes.succeeded,
            failed: outcomes.failures.total(),
            succeeded_per_second: requests.succeeded_per_second * share(outcomes),
        };
        let own = entry.thresholds.iter().map(|threshold| threshold.judge(&figures));
        verdicts.extend(own.map(|verdict| Verdict { request: entry.name.clone(), ..verdict }));
    }
    verdicts
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

// === impl Requests ===

impl Requests {
    fn of(
        measured: &Measurements,
        elapsed: Duration,
        warm_up: u64,
        statements: Option<u64>,
    ) -> Self {
        let Measurements { succeeded, failed, .. } = *measured;
        Self {
            total: succeeded + failed,
            succeeded,
            failed,
            succeeded_per_second: per_second(succeeded, elapsed),
            warm_up,
            statements,
            statements_per_second: statements.map(|count| per_second(count, elapsed)),
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

#[cfg(test)]
mod tests;
