//! The committed counts, and what became of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::callgrind::{self, Cost};

/// Counts up when a field changes its meaning or goes away.
const SCHEMA: u32 = 2;
/// How many more instructions an operation may take. Of allocations, none.
const TOLERANCE: f64 = 0.03;

/// What one operation costs, by case, and where it was counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    schema: u32,
    /// The compiler decides most of a count.
    rustc: String,
    valgrind: String,
    /// Some functions of libc and memchr are chosen by what the processor can do.
    target: String,
    costs: BTreeMap<String, Cost>,
}

/// One case, before and now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    case: String,
    before: Option<Cost>,
    now: Option<Cost>,
}

// === impl Baseline ===

impl Baseline {
    /// An empty one, to be filled here.
    pub(crate) fn of_this_machine() -> anyhow::Result<Self> {
        Ok(Self {
            schema: SCHEMA,
            rustc: rustc(),
            valgrind: callgrind::version()?,
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            costs: BTreeMap::new(),
        })
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("reading {} (make guard GUARD=--update)", path.display()))?;
        let baseline: Self =
            serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        ensure!(baseline.schema == SCHEMA, "{} has another schema", path.display());
        Ok(baseline)
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Notes a cost, to a tenth: what comes once in many operations, such as the tick of
    /// a clock, is not theirs.
    pub(crate) fn set(&mut self, case: &str, cost: Cost) {
        let tenths = |count: f64| (count * 10.0).round() / 10.0;
        let cost =
            Cost { instructions: tenths(cost.instructions), allocations: tenths(cost.allocations) };
        self.costs.insert(case.to_owned(), cost);
    }

    /// Every case that either side has.
    pub(crate) fn compare(&self, now: &Self) -> Vec<Change> {
        let mut cases: Vec<&String> = self.costs.keys().chain(now.costs.keys()).collect();
        cases.sort();
        cases.dedup();
        let change = |case: &String| Change {
            case: case.clone(),
            before: self.costs.get(case).copied(),
            now: now.costs.get(case).copied(),
        };
        cases.into_iter().map(change).collect()
    }

    /// What it was made with, if that is not what `now` was made with.
    pub(crate) fn made_elsewhere(&self, now: &Self) -> Option<String> {
        let pairs = [
            (&self.rustc, &now.rustc),
            (&self.valgrind, &now.valgrind),
            (&self.target, &now.target),
        ];
        let differing: Vec<_> = pairs
            .iter()
            .filter(|(then, now)| then != now)
            .map(|(then, now)| format!("{then} (here: {now})"))
            .collect();
        (!differing.is_empty()).then(|| differing.join(", "))
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, Cost { instructions, allocations }) in &self.costs {
            writeln!(
                f,
                "{case:<24} {instructions:>12.1} instructions {allocations:>6.1} allocations"
            )?;
        }
        write!(f, "{}, {}, {}", self.rustc, self.valgrind, self.target)
    }
}

/// The compiler on the path, which built this program if cargo did.
fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(
        |_| "an unknown rustc".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

// === impl Change ===

impl Change {
    /// Dearer than may be, or not comparable at all.
    pub(crate) fn is_worse(&self) -> bool {
        self.verdict().1
    }

    /// What to say, and whether it is worse.
    fn verdict(&self) -> (&'static str, bool) {
        let (before, now) = match (self.before, self.now) {
            (Some(before), Some(now)) => (before, now),
            (_, None) => return ("gone", true),
            (None, _) => return ("not in the baseline", true),
        };
        let growth = now.instructions / before.instructions - 1.0;
        if now.allocations > before.allocations {
            ("worse: it allocates more", true)
        } else if growth > TOLERANCE {
            ("worse", true)
        } else if growth < -TOLERANCE || now.allocations < before.allocations {
            ("better: update the baseline", false)
        } else {
            ("", false)
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |count: Option<f64>| count.map_or_else(|| "–".into(), |n| format!("{n:.1}"));
        let instructions = [self.before, self.now].map(|cost| shown(cost.map(|c| c.instructions)));
        let allocations = [self.before, self.now].map(|cost| shown(cost.map(|c| c.allocations)));
        let growth = self.now.zip(self.before).map_or_else(String::new, |(now, before)| {
            format!("{:+.2} %", (now.instructions / before.instructions - 1.0) * 100.0)
        });
        let [before, now] = instructions;
        let [allocated, allocates] = allocations;
        write!(
            f,
            "{:<24} {before:>12} {now:>12} {growth:>9}   allocations {allocated:>5} {allocates:>5}   {}",
            self.case,
            self.verdict().0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: f64, allocations: f64) -> Cost {
        Cost { instructions, allocations }
    }

    fn baseline(counts: &[(&str, f64)]) -> Baseline {
        let mut baseline = Baseline {
            schema: SCHEMA,
            rustc: "rustc 1".into(),
            valgrind: "valgrind 3".into(),
            target: "x".into(),
            costs: BTreeMap::new(),
        };
        counts.iter().for_each(|(case, count)| baseline.set(case, cost(*count, 1.0)));
        baseline
    }

    #[test]
    fn only_what_grew_beyond_the_tolerance_is_worse() {
        let before = baseline(&[("a", 100.0), ("b", 100.0), ("c", 100.0)]);
        let now = baseline(&[("a", 102.9), ("b", 103.1), ("c", 50.0)]);
        let worse: Vec<_> = before.compare(&now).iter().map(Change::is_worse).collect();
        assert_eq!(worse, [false, true, false]);
    }

    #[test]
    fn one_more_allocation_is_worse_and_a_stray_one_is_not() {
        let mut before = baseline(&[]);
        before.set("a", cost(100.0, 0.0));
        let with = |allocations| {
            let mut now = baseline(&[]);
            now.set("a", cost(100.0, allocations));
            before.compare(&now)[0].is_worse()
        };
        assert!(with(1.0) && with(0.1));
        assert!(!with(0.04) && !with(0.0));
    }

    #[test]
    fn a_case_that_came_or_went_is_not_passed_over() {
        let changes = baseline(&[("a", 1.0)]).compare(&baseline(&[("b", 1.0)]));
        assert_eq!(changes.len(), 2);
        assert!(changes.iter().all(Change::is_worse), "{changes:?}");
        assert!(changes[0].to_string().ends_with("gone"));
        assert!(changes[1].to_string().ends_with("not in the baseline"));
    }

    #[test]
    fn another_compiler_is_named() {
        let then = baseline(&[]);
        assert_eq!(then.made_elsewhere(&then), None);
        let now = Baseline { rustc: "rustc 2".into(), ..then.clone() };
        assert_eq!(then.made_elsewhere(&now).unwrap(), "rustc 1 (here: rustc 2)");
    }
}
