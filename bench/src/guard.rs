//! Guards the hot paths: instructions and allocations of single operations and of
//! whole cycles of bs9, compared with the committed baseline.
//!
//! - [`case`]: operations of the libraries.
//! - [`cycle`]: a request and a query through the program itself.
//! - [`baseline`]: what they cost when it was written, and what they may cost.

pub(crate) mod baseline;
pub(crate) mod case;
mod cycle;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, ensure};

use crate::arguments::GuardArguments;
use crate::bench::Bench;
use crate::callgrind::{self, Cost};
use baseline::{Baseline, Change};
use case::Case;

/// How often a case is done while it is counted.
const TIMES: u32 = 1_000;

/// Counts, and compares with the baseline or writes it.
pub(crate) fn run(bench: &Bench, arguments: &GuardArguments) -> anyhow::Result<ExitCode> {
    let mut counted = Baseline::of_this_machine()?;
    let control = count(bench, case::CONTROL)?;
    ensure!(control.allocations == 1.0, "one allocation was counted as {}", control.allocations);
    for case in Case::all() {
        counted.set(case.name, count(bench, case.name)?);
    }
    counted.set("request-cycle", cycle::request(bench).context("counting request-cycle")?);
    counted.set("query-cycle", cycle::query(bench).context("counting query-cycle")?);

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
    if changes.iter().any(Change::is_worse) {
        writeln!(out, "worse than the baseline; if that is wanted: make guard GUARD=--update")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn count(bench: &Bench, case: &str) -> anyhow::Result<Cost> {
    let cost = callgrind::count_case(bench, case, TIMES);
    Ok(cost.with_context(|| format!("counting {case}"))?.over(TIMES))
}
