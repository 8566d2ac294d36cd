//! What stands in the cells of a row's table, however the table is drawn.

use super::{Comparison, ContenderResult, RowResult, is_the_same};
use crate::contender::Contender;
use crate::load::Latency;
use crate::statistics::Spread;

const NOTHING: &str = "–";
/// How much of a failure fits into the notes; all of it is in the JSON.
const FAILURE_LINES: usize = 12;

/// How many columns, from the left, hold words; numbers stand to the right.
pub(super) const WORD_COLUMNS: usize = 2;

impl RowResult {
    /// What the table is about, in a line.
    pub(super) fn title(&self) -> String {
        let versions: Vec<_> = self.versions.iter().map(|(n, v)| format!("{n} {v}")).collect();
        let versions =
            if versions.is_empty() { String::new() } else { format!(" ({})", versions.join(", ")) };
        format!("{}: {}{versions}", self.name, self.about)
    }

    /// Header and lines, without the columns that no contender has a figure for.
    pub(super) fn cells(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let (header, lines) = (self.header(), self.lines());
        let used = |column: &usize| lines.iter().any(|line| line[*column] != NOTHING);
        let used: Vec<usize> = (0..header.len()).filter(used).collect();
        let pick = |cells: &Vec<String>| used.iter().map(|column| cells[*column].clone()).collect();
        (pick(&header), lines.iter().map(pick).collect())
    }

    fn header(&self) -> Vec<String> {
        let unit = self.unit;
        vec![
            String::new(),
            "version".to_owned(),
            self.measure.label(unit),
            format!("{}/s", unit.name),
            "p50 ms".to_owned(),
            "p90 ms".to_owned(),
            "p99 ms".to_owned(),
            "p99.9 ms".to_owned(),
            "core".to_owned(),
            "peak MiB".to_owned(),
            format!("syscalls/{}", unit.name),
            "ours/theirs".to_owned(),
            "goal".to_owned(),
        ]
    }

    /// A line for each contender, as wide as the header.
    fn lines(&self) -> Vec<Vec<String>> {
        self.contenders.iter().map(|contender| self.line(contender)).collect()
    }

    fn line(&self, contender: &ContenderResult) -> Vec<String> {
        let scale = self.measure.scale(self.unit);
        let name = contender.installed.contender.name();
        let comparison = self.comparisons.iter().find(|c| c.peer == name);
        let value = contender.value().map(|spread| spread.scaled(scale));
        let rate = contender.spread(|f| f.units_per_second);
        let rate_digits = if rate.is_some_and(|rate| rate.median < 100.0) { 2 } else { 0 };
        let latency = |part: fn(&Latency) -> f64| {
            median(contender.spread(|f| Some(part(f.latency.as_ref()?) * 1e3)), 2)
        };
        let syscalls = contender.syscalls.as_ref();
        vec![
            name.to_owned(),
            contender.installed.version.clone(),
            with_range(value),
            median(rate, rate_digits),
            latency(|l| l.p50_seconds),
            latency(|l| l.p90_seconds),
            latency(|l| l.p99_seconds),
            latency(|l| l.p99_9_seconds),
            median(contender.spread(|f| f.core_ratio), 2),
            median(contender.spread(|f| Some(f.memory_bytes? as f64 / f64::from(1 << 20))), 1),
            syscalls.map_or_else(|| NOTHING.to_owned(), |calls| format!("{:.1}", calls.per_unit)),
            with_range(comparison.and_then(|c| c.ratio)),
            match comparison {
                Some(comparison) => comparison.against_goal(),
                None if contender.installed.contender == Contender::Bs9 => self.against_limit(),
                None => NOTHING.to_owned(),
            },
        ]
    }

    /// In the unit of the figure's column.
    fn against_limit(&self) -> String {
        let Some(limit) = &self.limit else { return NOTHING.to_owned() };
        let most = format!("≤ {:.1}", limit.most * self.measure.scale(self.unit));
        limit.verdict.map_or_else(|| most.clone(), |verdict| format!("{most}: {verdict}"))
    }

    /// What could not be compared, and why.
    pub(super) fn notes(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|why| format!("missing: {why}"));
        let failed = self.contenders.iter().filter_map(|c| {
            let failure: Vec<&str> = c.failure.as_ref()?.lines().take(FAILURE_LINES).collect();
            Some(format!("failed: {}: {}", c.installed.contender.name(), failure.join("\n  ")))
        });
        let wrong = self.contenders.iter().filter(|c| c.errors() > 0).map(|c| {
            let (name, errors) = (c.installed.contender.name(), c.errors());
            format!("errors: {name} had {errors}; it is not compared")
        });
        let short = self.contenders.iter().filter(|c| c.was_short_of_load()).map(|c| {
            let name = c.installed.contender.name();
            format!("saturated: with {name} the load generator was the limit; it is not compared")
        });
        let untraced = self.contenders.iter().filter_map(|c| {
            let why = c.untraced.as_ref()?;
            Some(format!("system calls of {} not counted: {why}", c.installed.contender.name()))
        });
        let rates = self.comparisons.iter().filter_map(|comparison| {
            let rate = comparison.rate?;
            let verdict = if is_the_same(rate) { "the same" } else { "another; not compared" };
            let (low, high) = (rate.low, rate.high);
            let peer = comparison.peer;
            Some(format!(
                "throughput: {:.3} ({low:.3}–{high:.3}) of that of {peer}: {verdict}",
                rate.median
            ))
        });
        let repeated: u32 = self.contenders.iter().map(|c| c.repeated).sum();
        let repeated = (repeated > 0).then(|| {
            format!(
                "disturbed: {repeated} turns were done again, as the machine stood still in them"
            )
        });
        let disturbed: usize = self.contenders.iter().map(|c| c.disturbed()).sum();
        let disturbed = (disturbed > 0)
            .then(|| format!("disturbed: in {disturbed} turns that count the machine stood still"));
        let troubles = missing.chain(failed).chain(wrong).chain(short).chain(rates);
        troubles.chain(untraced).chain(repeated).chain(disturbed).collect()
    }
}

impl Comparison {
    fn against_goal(&self) -> String {
        match (self.goal, self.verdict) {
            (None, _) => NOTHING.to_owned(),
            (Some(goal), None) => goal.to_string(),
            (Some(goal), Some(verdict)) => format!("{goal}: {verdict}"),
        }
    }
}

fn median(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| NOTHING.to_owned(), |s| format!("{:.digits$}", s.median))
}

/// The median and, in brackets, what it lies between.
fn with_range(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || NOTHING.to_owned(),
        |s| format!("{:.2} ({:.2}–{:.2})", s.median, s.low, s.high),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Goal, Verdict};

    #[test]
    fn a_goal_stands_beside_what_became_of_it() {
        let of = |goal, verdict| {
            Comparison { peer: "nginx", ratio: None, rate: None, goal, verdict }.against_goal()
        };
        let goal = Goal::at_most(0.8);
        assert_eq!(of(Some(goal), Some(Verdict::GoalMet)), "≤ 0.80: goal met");
        assert_eq!(
            of(Some(goal.with_milestone(0.95)), Some(Verdict::MilestoneMet)),
            "≤ 0.80 (milestone 0.95): milestone met"
        );
        assert_eq!(of(Some(goal), Some(Verdict::Missed)), "≤ 0.80: missed");
        assert_eq!(of(Some(goal), None), "≤ 0.80");
        assert_eq!(of(None, None), "–");
    }
}
