//! What `--json` wrote, read again.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// A run.
#[derive(Debug, Deserialize)]
pub(crate) struct Figures {
    pub(crate) began_at: String,
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    pub(crate) measured_seconds: f64,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    pub(crate) system: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) measure: String,
    pub(crate) unit: String,
    pub(crate) missing: Vec<String>,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) limit: Option<Limit>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// bs9 over a peer.
#[derive(Debug, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) peer: String,
    pub(crate) ratio: Option<Ratio>,
    pub(crate) goal: Option<Goal>,
    pub(crate) verdict: Option<Verdict>,
}

/// The rounds' median, least and most.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Goal {
    pub(crate) most: f64,
}

/// What bs9's own figure should be at most.
#[derive(Debug, Deserialize)]
pub(crate) struct Limit {
    pub(crate) most: f64,
    pub(crate) value: Option<Ratio>,
    pub(crate) verdict: Option<Verdict>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    GoalMet,
    MilestoneMet,
    Missed,
}

impl Figures {
    /// From a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not what bs9-bench --json writes", path.display()))
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.low, self.high)
    }
}
