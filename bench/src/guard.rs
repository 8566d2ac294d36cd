//! Guards the hot paths: instructions and allocations of single operations and of
//! whole cycles of bs9, compared with the committed baseline.
//!
//! - [`case`]: operations of the libraries.
//! - [`cycle`]: requests and queries through the program itself.
//! - [`baseline`]: what they cost when it was written, and what they may cost.

pub(crate) mod baseline;
pub(crate) mod case;
mod cycle;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, ensure};

use crate::arguments::GuardArguments;
use crate::bench::Bench;
use crate::callgrind::{self, Cost};
use crate::scale;
use baseline::{Baseline, Change};
use case::Case;

/// How often a case is done while it is counted.
const TIMES: u32 = 1_000;

/// What counts a whole cycle.
type Cycle = fn(&Bench) -> anyhow::Result<Cost>;

/// Counts, and compares with the baseline or writes it.
pub(crate) fn run(bench: &Bench, arguments: &GuardArguments) -> anyhow::Result<ExitCode> {
    let mut counted = Baseline::of_this_machine()?;
    let control = count(bench, case::CONTROL)?;
    ensure!(control.allocations == 1.0, "one allocation was counted as {}", control.allocations);
    for case in Case::all() {
        counted.set(case.name, count(bench, case.name)?);
    }
    let cycles: [(&str, Cycle); 4] = [
        ("request-cycle", cycle::request),
        ("request-cycle-http2", cycle::http2_request),
        ("query-cycle", cycle::query),
        ("query-cycle-prepared", cycle::prepared_query),
    ];
    for (name, cycle) in cycles {
        counted.set(name, cycle(bench).with_context(|| format!("counting {name}"))?);
    }
    let growth = Growth::count(bench)?;

    let mut out = std::io::stdout();
    if arguments.update {
        counted.write(&arguments.baseline)?;
        writeln!(out, "{counted}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let baseline = Baseline::read(&arguments.baseline)?;
    let changes = baseline.compare(&counted);
    for change in &changes {
        writeln!(out, "{change}")?;
    }
    if let Some(difference) = baseline.made_elsewhere(&counted) {
        writeln!(out, "the baseline was made with {difference}")?;
    }
    writeln!(out, "{growth}")?;
    if growth.is_too_much() {
        return Ok(ExitCode::FAILURE);
    }
    if changes.iter().any(Change::is_worse) {
        writeln!(out, "worse than the baseline; if that is wanted: make guard GUARD=--update")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a request costs among few routes and clusters, and among many, in instructions.
#[derive(Debug)]
struct Growth {
    among_few: f64,
    among_many: f64,
}

impl Growth {
    const FEW: (usize, usize) = (10, 10);
    const MANY: (usize, usize) = (10_000, 1_000);
    /// How much more it may be.
    const MOST: f64 = 0.05;

    fn count(bench: &Bench) -> anyhow::Result<Self> {
        let [among_few, among_many] = [Self::FEW, Self::MANY].map(|(routes, clusters)| {
            scale::request_among(bench, routes, clusters)
                .with_context(|| format!("counting a request among {routes} routes"))
        });
        Ok(Self { among_few: among_few?, among_many: among_many? })
    }

    fn share(&self) -> f64 {
        self.among_many / self.among_few - 1.0
    }

    fn is_too_much(&self) -> bool {
        self.share() > Self::MOST
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (routes, clusters) = Self::MANY;
        write!(
            f,
            "a request among {routes} routes and {clusters} clusters: {:+.2} % of one among {} and {} (at most {:+.0} %)",
            self.share() * 100.0,
            Self::FEW.0,
            Self::FEW.1,
            Self::MOST * 100.0
        )
    }
}

fn count(bench: &Bench, case: &str) -> anyhow::Result<Cost> {
    let cost = callgrind::count_case(bench, case, TIMES);
    Ok(cost.with_context(|| format!("counting {case}"))?.over(TIMES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_routes_may_cost_a_twentieth_more() {
        let growth = |among_many| Growth { among_few: 10_000.0, among_many };
        assert!(!growth(10_499.0).is_too_much());
        assert!(growth(10_501.0).is_too_much());
        assert!(growth(10_250.0).to_string().contains("+2.50 %"), "{}", growth(10_250.0));
    }
}
