//! The committed counts, and what became of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::callgrind;

/// Counts up when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;
/// How much an operation may get dearer.
const TOLERANCE: f64 = 0.03;

/// Instructions of one operation, by case, and where they were counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    schema: u32,
    /// The compiler decides most of a count.
    rustc: String,
    valgrind: String,
    /// Some functions of libc and memchr are chosen by what the processor can do.
    target: String,
    instructions: BTreeMap<String, f64>,
}

/// One case, before and now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    case: String,
    before: Option<f64>,
    now: Option<f64>,
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
            instructions: BTreeMap::new(),
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

    /// Notes a count, to a tenth of an instruction.
    pub(crate) fn set(&mut self, case: &str, instructions: f64) {
        self.instructions.insert(case.to_owned(), (instructions * 10.0).round() / 10.0);
    }

    /// Every case that either side has.
    pub(crate) fn compare(&self, now: &Self) -> Vec<Change> {
        let mut cases: Vec<&String> =
            self.instructions.keys().chain(now.instructions.keys()).collect();
        cases.sort();
        cases.dedup();
        let change = |case: &String| Change {
            case: case.clone(),
            before: self.instructions.get(case).copied(),
            now: now.instructions.get(case).copied(),
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
        for (case, count) in &self.instructions {
            writeln!(f, "{case:<24} {count:>12.1}")?;
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
        self.growth().is_none_or(|growth| growth > TOLERANCE)
    }

    fn growth(&self) -> Option<f64> {
        Some(self.now? / self.before? - 1.0)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |count: Option<f64>| count.map_or_else(|| "–".to_owned(), |n| format!("{n:.1}"));
        write!(f, "{:<24} {:>12} {:>12}", self.case, shown(self.before), shown(self.now))?;
        match self.growth() {
            None if self.now.is_none() => write!(f, "   gone"),
            None => write!(f, "   not in the baseline"),
            Some(growth) => {
                write!(f, " {:>+8.2} %", growth * 100.0)?;
                if growth > TOLERANCE {
                    write!(f, "   worse")
                } else if growth < -TOLERANCE {
                    write!(f, "   better: update the baseline")
                } else {
                    Ok(())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(counts: &[(&str, f64)]) -> Baseline {
        let mut baseline = Baseline {
            schema: SCHEMA,
            rustc: "rustc 1".into(),
            valgrind: "valgrind 3".into(),
            target: "x".into(),
            instructions: BTreeMap::new(),
        };
        counts.iter().for_each(|(case, count)| baseline.set(case, *count));
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
