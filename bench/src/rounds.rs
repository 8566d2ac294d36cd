//! Runs a row: in every round each contender has one turn, A B C A B C, so
//! that whatever else the machine does falls on all of them alike.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::interrupt::Interrupted;
use crate::report::{ContenderResult, RowResult};
use crate::row::{Row, Stage};

/// What one turn of one contender came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// User and system CPU time of the contender over requests or queries.
    pub(crate) cpu_seconds_per_unit: f64,
    pub(crate) units_per_second: f64,
    pub(crate) p50_seconds: f64,
    pub(crate) p99_seconds: f64,
    /// Peak of resident memory.
    pub(crate) memory_bytes: u64,
    /// How much of its core the contender used; 1 is all of it.
    pub(crate) core_ratio: f64,
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
    let mut results: Vec<ContenderResult> = row
        .contenders()
        .iter()
        .filter_map(|c| bench.installed.iter().find(|i| i.contender == *c))
        .map(|installed| ContenderResult::new(installed.clone()))
        .collect();
    let missing = row
        .contenders()
        .iter()
        .filter_map(|c| bench.missing.iter().find(|(m, _)| m == c))
        .map(|(contender, _)| contender.name())
        .collect();

    for round in 1..=bench.rounds {
        for result in results.iter_mut().filter(|r| r.failure.is_none()) {
            say_what_runs(bench, row, result.installed.contender, round)?;
            match turn(bench, stage.as_ref(), &result.installed) {
                Ok(figures) => result.rounds.push(figures),
                Err(e) if e.is::<Interrupted>() => return Err(e),
                Err(e) => result.failure = Some(format!("{e:#}")),
            }
        }
    }
    clear_line()?;
    Ok(RowResult::new(row, stage.versions(), missing, results))
}

/// Starts a contender afresh, warms it up, and measures it.
fn turn(bench: &Bench, stage: &dyn Stage, contender: &Installed) -> anyhow::Result<Figures> {
    let mut running = stage.launch(bench, contender)?;
    running.process.wait_until_it_accepts(running.address)?;
    stage.probe(bench, running.address)?;
    let warmup = stage.load(bench, running.address, bench.warmup)?;

    let before = running.process.cpu_time()?;
    let load = stage.load(bench, running.address, bench.measured)?;
    let cpu_seconds = running.process.cpu_time()?.saturating_sub(before).as_secs_f64();
    Ok(Figures {
        cpu_seconds_per_unit: cpu_seconds / load.units as f64,
        units_per_second: load.units as f64 / load.seconds,
        p50_seconds: load.p50_seconds,
        p99_seconds: load.p99_seconds,
        memory_bytes: running.process.memory_peak_bytes()?,
        core_ratio: cpu_seconds / load.seconds,
        // An error of the warm-up is as bad as any.
        errors: warmup.errors + load.errors,
    })
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
