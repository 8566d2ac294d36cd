//! Runs a row: in every round each contender has one turn, A B C A B C, so
//! that whatever else the machine does falls on all of them alike. The rounds of
//! a row may be spread over several sweeps through all rows: what changes from
//! one quarter of an hour to the next is in its range then.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::time::Instant;

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

/// A row, and what it has come to so far.
#[derive(Debug)]
pub(crate) struct Gathered {
    row: &'static Row,
    /// Rounds in all sweeps together; known once its backends ran.
    rounds: Option<u32>,
    versions: Vec<(&'static str, String)>,
    missing: Vec<String>,
    results: Vec<ContenderResult>,
}

impl Gathered {
    pub(crate) fn nothing_of(row: &'static Row) -> Self {
        Self { row, rounds: None, versions: Vec::new(), missing: Vec::new(), results: Vec::new() }
    }

    /// Runs the rounds of one sweep, the first of which is number 0.
    ///
    /// A contender that fails is out of the row, with the reason; the others go on.
    ///
    /// # Errors
    /// When the backends cannot be started, or the user ends the run.
    pub(crate) fn sweep(
        &mut self,
        bench: &Bench,
        sweep: u32,
        stillness: &mut Stillness,
    ) -> anyhow::Result<()> {
        if self.rounds.is_some_and(|rounds| share(rounds, bench.sweeps, sweep).is_empty()) {
            return Ok(());
        }
        let stage = (self.row.stage)(bench, self.row)?;
        let most = stage.most_rounds();
        let is_first = self.rounds.is_none();
        let rounds = *self.rounds.insert(most.map_or(bench.rounds, |most| most.min(bench.rounds)));
        for version in stage.versions()? {
            if !self.versions.contains(&version) {
                self.versions.push(version);
            }
        }
        if is_first {
            self.find_contenders(bench, &*stage)?;
        }
        for round in share(rounds, bench.sweeps, sweep) {
            for result in self.results.iter_mut().filter(|r| r.failure.is_none()) {
                let who = result.installed.contender.name();
                say_what_runs(self.row, &format!("round {} of {rounds}: {who}", round + 1))?;
                let repeated = &mut result.repeated;
                match calm_turn(bench, &*stage, &result.installed, stillness, repeated) {
                    Ok(figures) => result.rounds.push(figures),
                    Err(e) if e.is::<Interrupted>() => return Err(e),
                    Err(e) => result.failure = Some(format!("{e:#}")),
                }
            }
        }
        if is_first {
            self.count_syscalls(bench, &*stage)?;
        }
        clear_line()
    }

    /// When there is nothing more to come.
    pub(crate) fn into_result(self) -> RowResult {
        RowResult::new(self.row, self.versions, self.missing, self.results)
    }

    fn find_contenders(&mut self, bench: &Bench, stage: &dyn Stage) -> anyhow::Result<()> {
        for contender in self.row.contenders() {
            let name = contender.name();
            if let Some((_, why)) = bench.missing.iter().find(|(missing, _)| *missing == contender)
            {
                self.missing.push(format!("{name}: {why}"));
            } else if let Some(installed) = bench.installed(contender) {
                match stage.lacks(bench, installed)? {
                    Some(why) => self.missing.push(format!("{name}: {why}")),
                    None => self.results.push(ContenderResult::new(installed.clone())),
                }
            }
        }
        Ok(())
    }

    fn count_syscalls(&mut self, bench: &Bench, stage: &dyn Stage) -> anyhow::Result<()> {
        for result in self.results.iter_mut().filter(|r| r.failure.is_none()) {
            let who = result.installed.contender.name();
            say_what_runs(self.row, &format!("system calls of {who}"))?;
            match stage.syscalls(bench, &result.installed) {
                Ok(syscalls) => result.syscalls = syscalls,
                Err(e) if e.is::<Interrupted>() => return Err(e),
                // They are shown beside the figures, and no part of any of them.
                Err(e) => result.untraced = Some(format!("{e:#}")),
            }
        }
        Ok(())
    }
}

/// Which of a row's rounds belong to a sweep. The first has one at least.
fn share(rounds: u32, sweeps: u32, sweep: u32) -> Range<u32> {
    let before = |sweep: u32| (rounds * sweep).div_ceil(sweeps);
    before(sweep)..before(sweep + 1)
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
    let mut calmest: Option<anyhow::Result<Figures>> = None;
    loop {
        let (began, mark) = (Instant::now(), stillness.mark()?);
        let turn = stage.turn(bench, installed);
        let lost_ratio = stillness.lost_since(&mark)?;
        let turn = turn.map(|figures| Figures { lost_ratio, ..figures });
        let is_final = match &turn {
            Ok(figures) => figures.errors > 0,
            Err(e) => e.is::<Interrupted>(),
        };
        if is_final || !Stillness::is_much(lost_ratio) {
            return turn;
        }
        let calmer = match (calmest, turn) {
            (Some(Ok(known)), Err(_)) => Ok(known),
            (Some(Ok(known)), Ok(new)) if known.lost_ratio <= new.lost_ratio => Ok(known),
            (_, turn) => turn,
        };
        if !stillness.wait_for_calm(bench, began.elapsed())? {
            return calmer;
        }
        calmest = Some(calmer);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_is_of_one_sweep_and_the_first_sweep_has_one() {
        for (rounds, sweeps) in [(9, 3), (3, 4), (1, 3), (10, 3), (3, 1), (100, 100)] {
            let all: Vec<u32> = (0..sweeps).flat_map(|s| share(rounds, sweeps, s)).collect();
            assert_eq!(all, (0..rounds).collect::<Vec<_>>(), "{rounds} in {sweeps}");
            let sizes: Vec<_> = (0..sweeps).map(|s| share(rounds, sweeps, s).len()).collect();
            let least = (rounds / sweeps) as usize;
            assert!(sizes.iter().all(|size| [least, least + 1].contains(size)), "{sizes:?}");
            assert!(sizes[0] > 0);
        }
    }
}
