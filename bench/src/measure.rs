//! What a row measures, what it counts work in, and how good it has to be.

use std::fmt;

use serde::Serialize;

/// The figure that a row is about. Less is better in each that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Seconds of CPU time, user and system, over units of work.
    Cpu,
    /// The same, compared only where both did as much work in the same time.
    CpuAtSameRate,
    /// Seconds that 99 of 100 units took at most.
    P99,
    /// The same, as load generators tell it of one and the same server: neither more nor less of
    /// it is better, so it is not compared.
    ToldP99,
    /// Bytes of resident memory that each unit adds.
    Memory,
    /// Seconds that one unit takes.
    Time,
}

/// What the work of a row is counted in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    /// How many units one request or query of the load generator is.
    pub(crate) each: f64,
}

/// The most that our figure over a peer's should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Goal {
    pub(crate) most: f64,
    /// The most it may be on the way there: the bar of the present milestone.
    pub(crate) milestone: Option<f64>,
}

/// How a figure stands to its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    GoalMet,
    MilestoneMet,
    Missed,
}

// === impl Measure ===

impl Measure {
    /// The head of the figure's column.
    pub(crate) fn label(self, unit: Unit) -> String {
        match self {
            Self::Cpu if unit == Unit::GIGABYTE_OF_MEBIBYTES => format!("ms CPU/{}", unit.name),
            Self::Cpu | Self::CpuAtSameRate => format!("µs CPU/{}", unit.name),
            Self::P99 | Self::ToldP99 => format!("ms p99/{}", unit.name),
            Self::Memory => format!("KiB/{}", unit.name),
            Self::Time => format!("ms/{}", unit.name),
        }
    }

    /// What a figure is multiplied with for the unit that [`label`](Self::label) names.
    pub(crate) fn scale(self, unit: Unit) -> f64 {
        match self {
            Self::CpuAtSameRate => 1e6,
            Self::Cpu if unit != Unit::GIGABYTE_OF_MEBIBYTES => 1e6,
            Self::Cpu | Self::P99 | Self::ToldP99 | Self::Time => 1e3,
            Self::Memory => 1.0 / 1024.0,
        }
    }

    /// Whether one program's figure over another's says which is better.
    pub(crate) fn is_compared(self) -> bool {
        self != Self::ToldP99
    }
}

// === impl Unit ===

impl Unit {
    pub(crate) const REQUEST: Self = Self { name: "request", each: 1.0 };
    pub(crate) const QUERY: Self = Self { name: "query", each: 1.0 };
    /// A connection, which carries one request.
    pub(crate) const CONNECTION: Self = Self { name: "connection", each: 1.0 };
    /// A connection with a full TLS handshake, which carries one request.
    pub(crate) const HANDSHAKE: Self = Self { name: "handshake", each: 1.0 };
    pub(crate) const CLIENT: Self = Self { name: "client", each: 1.0 };
    pub(crate) const RELOAD: Self = Self { name: "reload", each: 1.0 };
    pub(crate) const START: Self = Self { name: "start", each: 1.0 };
    /// A second in which everything is measured once.
    pub(crate) const SECOND: Self = Self { name: "second", each: 1.0 };
    /// A question about history.
    pub(crate) const QUESTION: Self = Self { name: "question", each: 1.0 };
    /// 10⁹ bytes, moved in bodies of 1 MiB.
    pub(crate) const GIGABYTE_OF_MEBIBYTES: Self =
        Self { name: "GB", each: (1u32 << 20) as f64 / 1e9 };
}

// === impl Goal ===

impl Goal {
    pub(crate) const fn at_most(most: f64) -> Self {
        Self { most, milestone: None }
    }

    pub(crate) const fn with_milestone(self, milestone: f64) -> Self {
        Self { milestone: Some(milestone), ..self }
    }

    /// How `figure` stands to this goal.
    pub(crate) fn verdict(self, figure: f64) -> Verdict {
        if figure <= self.most {
            Verdict::GoalMet
        } else if self.milestone.is_some_and(|milestone| figure <= milestone) {
            Verdict::MilestoneMet
        } else {
            Verdict::Missed
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.milestone {
            Some(milestone) => write!(f, "≤ {:.2} (milestone {milestone:.2})", self.most),
            None => write!(f, "≤ {:.2}", self.most),
        }
    }
}

// === impl Verdict ===

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GoalMet => "goal met",
            Self::MilestoneMet => "milestone met",
            Self::Missed => "missed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_reached_to_its_milestone_or_missed() {
        let goal = Goal::at_most(0.8).with_milestone(0.95);
        assert_eq!(goal.verdict(0.8), Verdict::GoalMet);
        assert_eq!(goal.verdict(0.81), Verdict::MilestoneMet);
        assert_eq!(goal.verdict(0.96), Verdict::Missed);
        assert_eq!(Goal::at_most(0.8).verdict(0.81), Verdict::Missed);
        assert_eq!(goal.to_string(), "≤ 0.80 (milestone 0.95)");
    }

    #[test]
    fn figures_are_shown_in_the_unit_of_their_label() {
        let shown = |measure: Measure, unit, figure: f64| {
            format!("{:.1} {}", figure * measure.scale(unit), measure.label(unit))
        };
        assert_eq!(shown(Measure::Cpu, Unit::REQUEST, 9.5e-6), "9.5 µs CPU/request");
        let bulk = Unit::GIGABYTE_OF_MEBIBYTES;
        assert_eq!(shown(Measure::Cpu, bulk, 0.25), "250.0 ms CPU/GB");
        assert_eq!(shown(Measure::P99, Unit::QUERY, 0.002), "2.0 ms p99/query");
        assert_eq!(shown(Measure::Memory, Unit::CLIENT, 2048.0), "2.0 KiB/client");
        assert_eq!(shown(Measure::Time, Unit::RELOAD, 0.1), "100.0 ms/reload");
        // 954 bodies are a little more than 1 GB.
        assert!((bulk.each * 954.0 - 1.0).abs() < 1e-3);
    }
}
