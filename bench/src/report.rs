//! What a run came to: a table for people, JSON for programs.

mod cells;
mod markdown;
mod table;

use serde::Serialize;

use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::machine::{Busy, Cores, Machine, load_averages};
use crate::measure::{Goal, Measure, Unit, Verdict};
use crate::rounds::Figures;
use crate::row::Row;
use crate::statistics::Spread;
use crate::stillness::Stillness;
use crate::syscalls::Syscalls;

/// Where a document has its place for the tables.
pub(crate) const PLACE: &str = "results";
/// Counts up when a field changes its meaning or goes away.
const SCHEMA: u32 = 3;
/// How far two rates may be apart to be called the same.
const SAME_RATE: f64 = 0.03;

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: u32,
    began_at: jiff::Timestamp,
    machine: Machine,
    cores: Cores,
    rounds: u32,
    sweeps: u32,
    warmup_seconds: f64,
    measured_seconds: f64,
    pub(crate) rows: Vec<RowResult>,
    /// Load averages when the run ended.
    load_averages_at_end: String,
}

/// A row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct RowResult {
    name: &'static str,
    about: &'static str,
    measure: Measure,
    #[serde(serialize_with = "unit_name")]
    unit: Unit,
    versions: Vec<(&'static str, String)>,
    /// Contenders that cannot take part here, and why.
    missing: Vec<String>,
    contenders: Vec<ContenderResult>,
    limit: Option<Limit>,
    comparisons: Vec<Comparison>,
}

/// What our own figure should be at most, whatever the peers' are.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Limit {
    most: f64,
    /// None when bs9 failed or saw errors.
    value: Option<Spread>,
    verdict: Option<Verdict>,
}

/// All turns of one contender.
#[derive(Debug, Serialize)]
pub(crate) struct ContenderResult {
    #[serde(serialize_with = "name_and_version", flatten)]
    pub(crate) installed: Installed,
    pub(crate) rounds: Vec<Figures>,
    /// Turns that do not count, because the machine stood still.
    pub(crate) repeated: u32,
    /// Of one unit of work, from a turn that is none of the rounds.
    pub(crate) syscalls: Option<Syscalls>,
    /// Why they could not be counted.
    pub(crate) untraced: Option<String>,
    /// Why it left the row before its end.
    pub(crate) failure: Option<String>,
}

/// bs9 over one peer, in what the row measures.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Comparison {
    peer: &'static str,
    /// Of the rounds' ratios. None when either side failed or saw errors: a
    /// program that answers wrongly has no speed to compare. Nor has one that was
    /// not what limited the load, where the load generator was.
    ratio: Option<Spread>,
    /// Of what they did in a second, where that has to be the same.
    rate: Option<Spread>,
    goal: Option<Goal>,
    verdict: Option<Verdict>,
}

// === impl Report ===

impl Report {
    /// Notes down what is known before the first row.
    pub(crate) fn begin(bench: &Bench) -> Self {
        Self {
            schema: SCHEMA,
            began_at: jiff::Timestamp::now(),
            machine: bench.machine.clone(),
            cores: bench.cores.clone(),
            rounds: bench.rounds,
            sweeps: bench.sweeps,
            warmup_seconds: bench.warmup.as_secs_f64(),
            measured_seconds: bench.measured.as_secs_f64(),
            rows: Vec::new(),
            load_averages_at_end: String::new(),
        }
    }

    /// Notes down what is known after the last row.
    pub(crate) fn finish(&mut self) {
        self.load_averages_at_end = load_averages();
    }

    /// Whether every contender that ran did so without a failure or an error.
    pub(crate) fn is_clean(&self) -> bool {
        self.rows.iter().flat_map(|row| &row.contenders).all(ContenderResult::is_clean)
    }
}

// === impl RowResult ===

impl RowResult {
    /// Compares bs9, where it took part, with every peer that did.
    pub(crate) fn new(
        row: &Row,
        versions: Vec<(&'static str, String)>,
        missing: Vec<String>,
        contenders: Vec<ContenderResult>,
    ) -> Self {
        let (ours, peers): (Vec<_>, Vec<_>) =
            contenders.iter().partition(|c| c.installed.contender == Contender::Bs9);
        let ours = ours.first();
        let comparisons = ours
            .map(|ours| {
                let over = |peer: &&ContenderResult| {
                    ours.over(peer, row.measure, row.goal(peer.installed.contender))
                };
                peers.iter().map(over).collect()
            })
            .unwrap_or_default();
        let limit = ours.zip(row.limit).map(|(ours, most)| ours.within(most));
        Self {
            name: row.name,
            about: row.about,
            measure: row.measure,
            unit: row.unit,
            versions,
            missing,
            contenders,
            limit,
            comparisons,
        }
    }
}

// === impl ContenderResult ===

impl ContenderResult {
    pub(crate) fn new(installed: Installed) -> Self {
        Self {
            installed,
            rounds: Vec::new(),
            repeated: 0,
            syscalls: None,
            untraced: None,
            failure: None,
        }
    }

    fn errors(&self) -> u64 {
        self.rounds.iter().map(|figures| figures.errors).sum()
    }

    fn is_clean(&self) -> bool {
        self.failure.is_none() && self.errors() == 0
    }

    /// Whether the load generator was what limited most rounds.
    fn was_short_of_load(&self) -> bool {
        let short = self.rounds.iter().filter(|f| f.busy.is_some_and(Busy::is_of_the_load_only));
        short.count() * 2 > self.rounds.len()
    }

    /// Turns that count, although the machine stood still in them.
    fn disturbed(&self) -> usize {
        self.rounds.iter().filter(|figures| Stillness::is_much(figures.lost_ratio)).count()
    }

    fn is_comparable(&self) -> bool {
        self.is_clean() && !self.was_short_of_load()
    }

    fn spread(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(figure))
    }

    fn value(&self) -> Option<Spread> {
        self.spread(|figures| Some(figures.value))
    }

    /// Round by round, because neighbours in time saw the same machine.
    fn over(&self, peer: &Self, measure: Measure, goal: Option<Goal>) -> Comparison {
        let rounds = || self.rounds.iter().zip(&peer.rounds);
        let rates = || {
            let rates = |(ours, theirs): (&Figures, &Figures)| {
                Some(ours.units_per_second? / theirs.units_per_second?)
            };
            Spread::of(rounds().filter_map(rates))
        };
        let rate = (measure == Measure::CpuAtSameRate).then(rates).flatten();
        let comparable = measure.is_compared()
            && self.is_comparable()
            && peer.is_comparable()
            && rate.is_none_or(is_the_same);
        let ratios = rounds().map(|(ours, theirs)| ours.value / theirs.value);
        let ratio = comparable.then(|| Spread::of(ratios)).flatten();
        let verdict = goal.zip(ratio).map(|(goal, ratio)| goal.verdict(ratio.median));
        Comparison { peer: peer.installed.contender.name(), ratio, rate, goal, verdict }
    }

    fn within(&self, most: f64) -> Limit {
        let reached = self.value().filter(|_| self.is_clean());
        let verdict = reached.map(|value| Goal::at_most(most).verdict(value.median));
        Limit { most, value: reached, verdict }
    }
}

/// Whether two did as much in the same time, by the ratio of their rates.
fn is_the_same(rate: Spread) -> bool {
    (rate.median - 1.0).abs() <= SAME_RATE
}

fn name_and_version<S: serde::Serializer>(
    installed: &Installed,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("name", installed.contender.name())?;
    map.serialize_entry("version", &installed.version)?;
    map.end()
}

fn unit_name<S: serde::Serializer>(unit: &Unit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(unit.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(contender: Contender, micros: &[f64], errors: u64) -> ContenderResult {
        let rounds = micros.iter().map(|micros| Figures {
            value: micros * 1e-6,
            errors,
            ..Figures::default()
        });
        let installed = Installed { contender, program: "p".into(), version: "1.0".into() };
        ContenderResult { rounds: rounds.collect(), ..ContenderResult::new(installed) }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds() {
        let ours = result(Contender::Bs9, &[8.0, 6.0, 7.0], 0);
        let peer = result(Contender::Nginx, &[10.0, 10.0, 10.0], 0);
        let comparison = ours.over(&peer, Measure::Cpu, Some(Goal::at_most(0.8)));
        assert_eq!(comparison.verdict, Some(Verdict::GoalMet));
        let ratio = comparison.ratio.unwrap();
        assert!((ratio.median - 0.7).abs() < 1e-9, "{ratio:?}");
        assert!((ratio.low - 0.6).abs() < 1e-9 && (ratio.high - 0.8).abs() < 1e-9, "{ratio:?}");
    }

    #[test]
    fn errors_and_failures_on_either_side_refuse_the_ratio() {
        let clean = result(Contender::Bs9, &[8.0], 0);
        let wrong = result(Contender::Nginx, &[10.0], 1);
        assert_eq!(clean.over(&wrong, Measure::Cpu, None).ratio, None);
        assert_eq!(clean.over(&wrong, Measure::Cpu, Some(Goal::at_most(0.8))).verdict, None);
        assert_eq!(wrong.over(&clean, Measure::Cpu, None).ratio, None);
        let mut failed = result(Contender::Nginx, &[10.0], 0);
        failed.failure = Some("ended".into());
        assert_eq!(clean.over(&failed, Measure::Cpu, None).ratio, None);
        assert_eq!(clean.over(&result(Contender::Nginx, &[], 0), Measure::Cpu, None).ratio, None);
    }

    #[test]
    fn a_load_generator_at_its_limit_refuses_the_ratio() {
        let with = |load, contender| {
            let mut result = result(Contender::Bs9, &[8.0, 8.0, 8.0], 0);
            result.rounds[1].busy = Some(Busy { load, contender });
            result.rounds[2].busy = Some(Busy { load, contender });
            result
        };
        let peer = result(Contender::Nginx, &[10.0, 10.0, 10.0], 0);
        assert_eq!(with(0.99, 0.6).over(&peer, Measure::Cpu, None).ratio, None);
        assert_eq!(peer.over(&with(0.99, 0.6), Measure::Cpu, None).ratio, None);
        assert!(with(0.99, 0.99).over(&peer, Measure::Cpu, None).ratio.is_some());
        assert!(with(0.9, 0.6).over(&peer, Measure::Cpu, None).ratio.is_some());
    }

    #[test]
    fn where_the_rate_has_to_be_the_same_others_are_not_compared() {
        let with = |rate, contender| {
            let mut result = result(contender, &[8.0, 8.0], 0);
            result.rounds.iter_mut().for_each(|round| round.units_per_second = Some(rate));
            result
        };
        let ours = with(97.5, Contender::Bs9);
        let over = |peer: f64| ours.over(&with(peer, Contender::Wrk), Measure::CpuAtSameRate, None);
        assert!(over(100.0).ratio.is_some());
        assert!(over(95.0).ratio.is_some());
        assert_eq!(over(101.0).ratio, None);
        assert_eq!(over(94.0).ratio, None);
        assert!((over(100.0).rate.unwrap().median - 0.975).abs() < 1e-9);
    }

    #[test]
    fn what_is_neither_better_nor_worse_is_not_compared() {
        let [ours, peer] = [Contender::Bs9, Contender::Wrk].map(|who| result(who, &[9.0], 0));
        assert_eq!(ours.over(&peer, Measure::ToldP99, None).ratio, None);
        assert!(ours.over(&peer, Measure::P99, None).ratio.is_some());
    }

    #[test]
    fn a_limit_holds_for_clean_runs_only() {
        let clean = result(Contender::Bs9, &[8.0, 9.0, 20.0], 0);
        assert_eq!(clean.within(9e-6).verdict, Some(Verdict::GoalMet));
        assert_eq!(clean.within(8e-6).verdict, Some(Verdict::Missed));
        assert_eq!(result(Contender::Bs9, &[8.0], 1).within(1.0).verdict, None);
    }

    #[test]
    fn json_names_the_contender_beside_its_rounds() {
        let json = serde_json::to_value(result(Contender::Nginx, &[10.0], 0)).unwrap();
        assert_eq!(json["name"], "nginx");
        assert_eq!(json["version"], "1.0");
        assert_eq!(json["rounds"][0]["errors"], 0);
    }
}
