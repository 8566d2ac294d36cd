//! The parts of a run: requests of the mix, and stages.

use std::time::Duration;

use serde::Serialize;

use super::{Distribution, per_second};
use crate::{
    failure::FailureCount,
    measure::Outcomes,
    mix::Entry,
    over_time::StageTotals,
    plan::{Load, Stage},
};

/// What came of one request of the mix. What was never sent is none of them.
#[derive(Debug, Clone, Serialize)]
pub struct RequestReport {
    /// Its name.
    pub name: String,
    /// How often it was to be sent, relative to the others.
    pub weight: u32,
    /// Answered as expected.
    pub succeeded: u64,
    /// Not, for whatever reason.
    pub failed: u64,
    /// Answered as expected, a second.
    pub succeeded_per_second: f64,
    /// Latency of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<Distribution>,
    /// The others by kind.
    pub errors: Vec<FailureCount>,
}

/// What came of a stage. A request counts where it ended.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Open loop: the rate asked for, per second, at its beginning and at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_per_second: Option<[f64; 2]>,
    /// Closed loop: connections at its beginning and at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<[f64; 2]>,
    /// Answered as expected.
    pub succeeded: u64,
    /// Not, for whatever reason.
    pub failed: u64,
    /// Answered as expected, a second.
    pub succeeded_per_second: f64,
    /// Latency of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<Distribution>,
}

/// A row for each request that has a name.
pub(super) fn requests(
    entries: &[Entry],
    outcomes: &[Outcomes],
    elapsed: Duration,
) -> Vec<RequestReport> {
    let row = |(entry, outcomes): (&Entry, &Outcomes)| {
        Some(RequestReport {
            name: entry.name.clone()?,
            weight: entry.weight,
            succeeded: outcomes.succeeded,
            failed: outcomes.failures.total(),
            succeeded_per_second: per_second(outcomes.succeeded, elapsed),
            latency_seconds: Distribution::of(outcomes.latency.nanoseconds()),
            errors: outcomes.failures.counts(),
        })
    };
    entries.iter().zip(outcomes).filter_map(row).collect()
}

/// A row for each stage that was begun; `totals` has none for a run of a single stage.
pub(super) fn stages(
    stages: &[Stage],
    totals: Vec<StageTotals>,
    load: &Load,
    elapsed: Duration,
) -> Vec<StageReport> {
    let mut begins = Duration::ZERO;
    let mut rows = Vec::with_capacity(totals.len());
    let stretches = load.course().stretches();
    for ((stage, totals), stretch) in stages.iter().zip(totals).zip(stretches) {
        if begins >= elapsed {
            break;
        }
        let took = stage.duration.min(elapsed - begins);
        begins += stage.duration;
        let levels = [stretch.from, stretch.to];
        rows.push(StageReport {
            name: stage.name.clone(),
            seconds: took.as_secs_f64(),
            asked_per_second: load.is_open().then_some(levels),
            connections: (!load.is_open()).then_some(levels),
            succeeded: totals.succeeded,
            failed: totals.failed,
            succeeded_per_second: per_second(totals.succeeded, took),
            latency_seconds: Distribution::of(totals.latency.nanoseconds()),
        });
    }
    rows
}
