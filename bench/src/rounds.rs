//! Runs a row: in every round each contender has one turn, A B C A B C, so
//! that whatever else the machine does falls on all of them alike.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use anyhow::anyhow;
use serde::Serialize;

use crate::bench::Bench;
use crate::contender::Installed;
use crate::interrupt::Interrupted;
use crate::load::Latency;
use crate::machine::Busy;
use crate::report::{ContenderResult, RowResult};
use crate::row::{Row, Stage};
use crate::stillness::Stillness;

/// What one turn of one contender came to.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Figures {
    /// What the row compares, in seconds or bytes: see its measure.
    pub(crate) value: f64,
    pub(crate) cpu_seconds_per_unit: Option<f64>,
    pub(crate) units_per_second: Option<f64>,
    pub(crate) latency: Option<Latency>,
    /// Peak of resident memory.
    pub(crate) memory_bytes: Option<u64>,
    /// How much of a core the contender used; 1 is all of it.
    pub(crate) core_ratio: Option<f64>,
    /// How busy the cores were, with whatever ran on them.
    pub(crate) busy: Option<Busy>,
    pub(crate) errors: u64,
    /// The share of the turn in which a core did not run; none where nobody watched.
    pub(crate) lost_ratio: Option<f64>,
}

/// Runs all rounds of `row`.
///
/// A contender that fails is out of the row, with the reason; the others go on.
///
/// # Errors
/// When the backends cannot be started, or the user ends the run.
pub(crate) fn run(
    bench: &Bench,
    row: &Row,
    stillness: &mut Stillness,
) -> anyhow::Result<RowResult> {
    let stage = (row.stage)(bench, row)?;
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    for contender in row.contenders() {
        let name = contender.name();
        if let Some((_, why)) = bench.missing.iter().find(|(missing, _)| *missing == contender) {
            missing.push(format!("{name}: {why}"));
        } else if let Some(installed) = bench.installed(contender) {
            match stage.lacks(bench, installed)? {
                Some(why) => missing.push(format!("{name}: {why}")),
                None => results.push(ContenderResult::new(installed.clone())),
            }
        }
    }

    let rounds = stage.most_rounds().map_or(bench.rounds, |most| most.min(bench.rounds));
    for round in 1..=rounds {
        for result in results.iter_mut().filter(|r| r.failure.is_none()) {
            let who = result.installed.contender.name();
            say_what_runs(row, &format!("round {round} of {rounds}: {who}"))?;
            match calm_turn(bench, &*stage, &result.installed, stillness, &mut result.repeated) {
                Ok(figures) => result.rounds.push(figures),
                Err(e) if e.is::<Interrupted>() => return Err(e),
                Err(e) => result.failure = Some(format!("{e:#}")),
            }
        }
    }
    for result in results.iter_mut().filter(|r| r.failure.is_none()) {
        say_what_runs(row, &format!("system calls of {}", result.installed.contender.name()))?;
        match stage.syscalls(bench, &result.installed) {
            Ok(syscalls) => result.syscalls = syscalls,
            Err(e) if e.is::<Interrupted>() => return Err(e),
            // They are shown beside the figures, and no part of any of them.
            Err(e) => result.untraced = Some(format!("{e:#}")),
        }
    }
    clear_line()?;
    Ok(RowResult::new(row, stage.versions()?, missing, results))
}

/// A turn, done again while the machine stood still in it and there is patience left. Of those,
/// the one counts in which it did so least; errors count whenever they come.
fn calm_turn(
    bench: &Bench,
    stage: &dyn Stage,
    installed: &Installed,
    stillness: &mut Stillness,
    repeated: &mut u32,
) -> anyhow::Result<Figures> {
    let mut calmest: Option<Figures> = None;
    loop {
        let (began, mark) = (Instant::now(), stillness.mark()?);
        let turn = stage.turn(bench, installed);
        let lost_ratio = stillness.lost_since(&mark)?;
        let disturbed = Stillness::is_much(lost_ratio);
        let failure = match turn {
            Ok(figures) => {
                let figures = Figures { lost_ratio, ..figures };
                if !disturbed || figures.errors > 0 {
                    return Ok(figures);
                }
                calmest = calmest.filter(|c| c.lost_ratio <= lost_ratio).or(Some(figures));
                None
            }
            Err(e) if !disturbed || e.is::<Interrupted>() => return Err(e),
            Err(e) => Some(e),
        };
        if !stillness.wait_for_calm(bench, began.elapsed())? {
            return calmest
                .ok_or_else(|| failure.unwrap_or_else(|| anyhow!("nothing was measured")));
        }
        *repeated += 1;
    }
}

/// Shows a person what runs; a log file would only fill with it.
fn say_what_runs(row: &Row, what: &str) -> anyhow::Result<()> {
    clear_line()?;
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        write!(stderr, "{}: {what}", row.name)?;
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
