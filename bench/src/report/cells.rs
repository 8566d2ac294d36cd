//! What stands in the cells of a row's table, however the table is drawn.

use super::{Comparison, ContenderResult, RowResult};
use crate::contender::Contender;
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

    pub(super) fn header(&self) -> Vec<String> {
        let unit = self.unit;
        vec![
            String::new(),
            "version".to_owned(),
            self.measure.label(unit),
            "range".to_owned(),
            format!("{}/s", unit.name),
            "p50 ms".to_owned(),
            "p99 ms".to_owned(),
            "core".to_owned(),
            "peak MiB".to_owned(),
            "ours/theirs".to_owned(),
            "range".to_owned(),
            "goal".to_owned(),
        ]
    }

    /// A line for each contender, as wide as the header.
    pub(super) fn lines(&self) -> Vec<Vec<String>> {
        self.contenders.iter().map(|contender| self.line(contender)).collect()
    }

    fn line(&self, contender: &ContenderResult) -> Vec<String> {
        let scale = self.measure.scale(self.unit);
        let name = contender.installed.contender.name();
        let comparison = self.comparisons.iter().find(|c| c.peer == name);
        let value = contender.value().map(|spread| spread.scaled(scale));
        let rate = contender.spread(|f| f.units_per_second);
        let rate_digits = if rate.is_some_and(|rate| rate.median < 100.0) { 2 } else { 0 };
        let ratio = comparison.and_then(|c| c.ratio);
        vec![
            name.to_owned(),
            contender.installed.version.clone(),
            median(value, 2),
            range(value, 2),
            median(rate, rate_digits),
            median(contender.spread(|f| Some(f.p50_seconds? * 1e3)), 2),
            median(contender.spread(|f| Some(f.p99_seconds? * 1e3)), 2),
            median(contender.spread(|f| f.core_ratio), 2),
            median(contender.spread(|f| Some(f.memory_bytes? as f64 / f64::from(1 << 20))), 1),
            median(ratio, 2),
            range(ratio, 2),
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
        missing.chain(failed).chain(wrong).collect()
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

fn range(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| NOTHING.to_owned(), |s| format!("{:.digits$}–{:.digits$}", s.low, s.high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Goal, Verdict};

    #[test]
    fn a_goal_stands_beside_what_became_of_it() {
        let of =
            |goal, verdict| Comparison { peer: "nginx", ratio: None, goal, verdict }.against_goal();
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
