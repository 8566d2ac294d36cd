//! Runs a row: in every round each contender has one turn, A B C A B C, so
//! that whatever else the machine does falls on all of them alike.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::bench::Bench;
use crate::contender::Contender;
use crate::interrupt::Interrupted;
use crate::report::{ContenderResult, RowResult};
use crate::row::Row;

/// What one turn of one contender came to.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Figures {
    /// What the row compares, in seconds or bytes: see its measure.
    pub(crate) value: f64,
    pub(crate) units_per_second: Option<f64>,
    pub(crate) p50_seconds: Option<f64>,
    pub(crate) p99_seconds: Option<f64>,
    /// Peak of resident memory.
    pub(crate) memory_bytes: Option<u64>,
    /// How much of its core the contender used; 1 is all of it.
    pub(crate) core_ratio: Option<f64>,
    pub(crate) errors: u64,
}

/// Runs all rounds of `row`.
///
/// A contender that fails is out of the row, with the reason; the others go on.
///
/// # Errors
/// When the backends cannot be started, or the user ends the run.
pub(crate) fn run(bench: &Bench, row: &dyn Row) -> anyhow::Result<RowResult> {
    let stage = row.stage(bench)?;
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    for contender in row.contenders() {
        if let Some((_, why)) = bench.missing.iter().find(|(missing, _)| missing == contender) {
            missing.push(format!("{}: {why}", contender.name()));
        } else if let Some(why) = row.lacks(*contender) {
            missing.push(format!("{}: {why}", contender.name()));
        } else {
            let installed = bench.installed.iter().find(|i| i.contender == *contender);
            results.extend(installed.cloned().map(ContenderResult::new));
        }
    }

    for round in 1..=bench.rounds {
        for result in results.iter_mut().filter(|r| r.failure.is_none()) {
            say_what_runs(bench, row, result.installed.contender, round)?;
            match stage.turn(bench, &result.installed) {
                Ok(figures) => result.rounds.push(figures),
                Err(e) if e.is::<Interrupted>() => return Err(e),
                Err(e) => result.failure = Some(format!("{e:#}")),
            }
        }
    }
    clear_line()?;
    Ok(RowResult::new(row, stage.versions(), missing, results))
}

/// Shows a person what runs; a log file would only fill with it.
fn say_what_runs(bench: &Bench, row: &dyn Row, who: Contender, round: u32) -> anyhow::Result<()> {
    clear_line()?;
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let (row, who, of) = (row.name(), who.name(), bench.rounds);
        write!(stderr, "{row}: round {round} of {of}: {who}")?;
    }
    Ok(stderr.flush()?)
}

/// Goes back over the line that said what runs.
fn clear_line() -> anyhow::Result<()> {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        write!(stderr, "\r\x1b[K")?;
    }
    Ok(())
}
