//! The table for people.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::{Comparison, ContenderResult, Report, RowResult};
use crate::statistics::Spread;

const NOTHING: &str = "–";
const NAME_COLUMNS: usize = 2;
/// How much of a failure fits into the notes; all of it is in the JSON.
const FAILURE_LINES: usize = 12;

impl RowResult {
    /// The row's table, with what could not be compared below it.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header([
            "".to_owned(),
            "version".to_owned(),
            format!("µs CPU/{}", self.unit),
            "range".to_owned(),
            format!("{}/s", self.unit),
            "p50 ms".to_owned(),
            "p99 ms".to_owned(),
            "core".to_owned(),
            "peak MiB".to_owned(),
            "ours/theirs".to_owned(),
            "range".to_owned(),
            "goal".to_owned(),
        ]);
        for contender in &self.contenders {
            let name = contender.installed.contender.name();
            let comparison = self.comparisons.iter().find(|c| c.peer == name);
            table.add_row(cells(contender, comparison));
        }
        for column in NAME_COLUMNS..table.column_count() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let versions: Vec<_> = self.versions.iter().map(|(n, v)| format!("{n} {v}")).collect();
        let mut text =
            format!("{}: {} ({})\n{table}\n", self.name, self.about, versions.join(", "));
        for note in self.notes() {
            text.push_str(&note);
            text.push('\n');
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|name| format!("missing: {name}"));
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

impl Report {
    /// What to know about the machine and the method, below the last table.
    pub(crate) fn footer(&self) -> String {
        let Self { machine, cores, rounds, .. } = self;
        format!(
            "{}, {} cores in use, Linux {}; contender on core {}, load and backends on {}\n\
             {rounds} rounds of {} s after {} s of warm-up, medians; load averages {} before, {} after\n\
             Compare ratios, and only within one run.",
            machine.cpu,
            cores.load.len() + 1,
            machine.kernel,
            cores.contender,
            cores.load_list(),
            self.measured_seconds,
            self.warmup_seconds,
            machine.load_averages,
            self.load_averages_at_end,
        )
    }
}

fn cells(contender: &ContenderResult, comparison: Option<&Comparison>) -> Vec<String> {
    let cpu = contender.spread(|f| f.cpu_seconds_per_unit * 1e6);
    let ratio = comparison.and_then(|c| c.ratio);
    vec![
        contender.installed.contender.name().to_owned(),
        contender.installed.version.clone(),
        median(cpu, 2),
        range(cpu, 2),
        median(contender.spread(|f| f.units_per_second), 0),
        median(contender.spread(|f| f.p50_seconds * 1e3), 2),
        median(contender.spread(|f| f.p99_seconds * 1e3), 2),
        median(contender.spread(|f| f.core_ratio), 2),
        median(contender.spread(|f| f.memory_bytes as f64 / f64::from(1 << 20)), 1),
        median(ratio, 2),
        range(ratio, 2),
        comparison.map_or_else(|| NOTHING.to_owned(), verdict),
    ]
}

fn verdict(comparison: &Comparison) -> String {
    match (comparison.goal, comparison.ratio) {
        (None, _) => NOTHING.to_owned(),
        (Some(goal), None) => format!("≤ {goal:.2}"),
        (Some(goal), Some(ratio)) if ratio.median <= goal => format!("≤ {goal:.2} met"),
        (Some(goal), Some(_)) => format!("≤ {goal:.2} missed"),
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

    #[test]
    fn a_goal_is_met_missed_or_open() {
        let spread = |median| Some(Spread { median, low: 0.1, high: 2.0 });
        let of = |goal, ratio| verdict(&Comparison { peer: "nginx", ratio, goal });
        assert_eq!(of(Some(0.8), spread(0.8)), "≤ 0.80 met");
        assert_eq!(of(Some(0.8), spread(0.81)), "≤ 0.80 missed");
        assert_eq!(of(Some(0.8), None), "≤ 0.80");
        assert_eq!(of(None, spread(0.5)), "–");
    }
}
