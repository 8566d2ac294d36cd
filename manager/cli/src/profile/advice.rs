//! What follows from the numbers.
//!
//! Each rule is a function of what was measured. It speaks only when its figure is
//! there, and cites every number it has compared.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    figure::{Figure, Unit, Values},
    traffic::Traffic,
    window::{InstanceFigures, Limits},
};
use crate::terminal;

/// From here on a limit is too near: what a limit is for (a burst, a full collection of
/// garbage) needs a tenth of room.
const NEAR_LIMIT_RATIO: f64 = 0.9;
/// Descriptors run out in bursts, and what needs one then fails at once, so they want
/// more room than memory.
const NEAR_OPEN_FILES_RATIO: f64 = 0.8;
/// Kept from the processor for so much of the time, requests wait for whole scheduling
/// periods (100 ms), which shows in the highest percentiles.
const THROTTLED_RATIO: f64 = 0.05;
/// A single thread that does all the work stays below its core by what it waits for I/O.
const ONE_CORE: std::ops::RangeInclusive<f64> = 0.9..=1.1;
/// The machine has room for another instance when so many cores are not used.
const CORES_LEFT: f64 = 1.0;
/// A fifth of the time somebody waits for a processor: more work would only wait longer.
const CPU_PRESSURE_RATIO: f64 = 0.2;
/// Waiting for memory means pages are fetched back from disk; a healthy service never does.
const MEMORY_PRESSURE_RATIO: f64 = 0.05;
/// Disks are waited for now and then by everybody; a tenth of the time is no longer now and then.
const IO_PRESSURE_RATIO: f64 = 0.1;
/// One request in a hundred that takes so many times as long as usual is not just a slow one.
const TAIL_RATIO: f64 = 10.0;
/// A tail below this is noticed by nobody.
const TAIL_SECONDS: f64 = 0.05;
/// Requests from which on shares, errors and 99th percentiles mean something.
const ENOUGH_REQUESTS: u64 = 100;
/// One request in a hundred fails.
const ERROR_RATIO: f64 = 0.01;
/// Growth is told when a straight line explains so much of it: else it is a saw tooth.
const GROWTH_FIT_RATIO: f64 = 0.8;
/// And when it has added so much to the mean within the window: else it is a start-up's rest.
const GROWTH_RATIO: f64 = 0.02;
/// And from so many values on.
const GROWTH_VALUES: usize = 10;
/// A limit that is met later than this is not this profile's to foretell: a week.
const FORESIGHT_SECONDS: f64 = 7.0 * 86_400.0;

/// How soon something should be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// It fails, or is about to.
    High,
    /// It is slower or nearer to failing than it need be.
    Medium,
    /// Worth knowing.
    Low,
}

/// A recommendation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Advice {
    /// A stable word for it.
    pub(super) rule: &'static str,
    pub(super) severity: Severity,
    /// What was found and what to do, with the numbers.
    pub(super) text: String,
    /// The numbers, by name; a name ends in its unit.
    pub(super) numbers: BTreeMap<&'static str, f64>,
}

/// Everything a rule may look at.
#[derive(Debug)]
pub(super) struct Facts<'f> {
    pub(super) service: &'f str,
    pub(super) figures: &'f [Figure],
    pub(super) instances: &'f [InstanceFigures],
    pub(super) limits: Limits,
    pub(super) oom_kills: f64,
    pub(super) traffic: Option<&'f Traffic>,
    pub(super) host_cores: Option<f64>,
    /// Cores of the machine that are busy.
    pub(super) host_busy_cores: Option<f64>,
}

type Rule = fn(&Facts<'_>) -> Option<Advice>;

const RULES: [Rule; 16] = [
    killed,
    restarted,
    memory_near_limit,
    memory_grows,
    files_near_limit,
    files_grow,
    errors,
    throttled,
    cpu_near_limit,
    one_core,
    tail,
    cpu_pressure,
    memory_pressure,
    io_pressure,
    lopsided,
    threads_grow,
];

/// What to do, the most urgent first; empty: nothing.
pub(super) fn advise(facts: &Facts<'_>) -> Vec<Advice> {
    let mut all: Vec<Advice> = RULES.iter().filter_map(|rule| rule(facts)).collect();
    all.sort_by_key(|advice| advice.severity);
    all
}

impl Facts<'_> {
    fn values(&self, name: &str) -> Option<Values> {
        self.figures.iter().find(|figure| figure.name == name)?.values
    }

    /// What grows steadily, by how much a second.
    fn growth(&self, name: &str) -> Option<(Values, f64)> {
        let values = self.values(name)?;
        let trend = values.trend?;
        let first = values.last - values.min;
        let steady = values.count >= GROWTH_VALUES
            && trend.fit_ratio >= GROWTH_FIT_RATIO
            && trend.per_second > 0.0
            && first >= values.mean * GROWTH_RATIO;
        steady.then_some((values, trend.per_second))
    }

    /// Seconds until a share of a limit reaches it, and the share now.
    fn meets_limit(&self, name: &str) -> Option<(f64, f64)> {
        let (values, per_second) = self.growth(name)?;
        let seconds = (1.0 - values.last).max(0.0) / per_second;
        (seconds <= FORESIGHT_SECONDS).then_some((seconds, values.last))
    }
}

fn advice<const N: usize>(
    rule: &'static str,
    severity: Severity,
    text: String,
    numbers: [(&'static str, f64); N],
) -> Advice {
    Advice { rule, severity, text, numbers: numbers.into() }
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

fn bytes(value: f64) -> String {
    terminal::bytes(value.max(0.0) as u64)
}

fn killed(facts: &Facts<'_>) -> Option<Advice> {
    let kills = facts.oom_kills;
    (kills > 0.0).then(|| {
        let limit = facts.limits.memory_bytes;
        let of = limit.map(|limit| format!(" (its limit is {})", bytes(limit))).unwrap_or_default();
        let text = format!(
            "the kernel killed {kills:.0} of its processes for want of memory in the window{of}: \
             raise limits.memory_max, or find what holds the memory"
        );
        advice("out_of_memory", Severity::High, text, [("oom_kills", kills)])
    })
}

fn restarted(facts: &Facts<'_>) -> Option<Advice> {
    let restarts: u32 = facts.instances.iter().map(|one| one.restarts).sum();
    (restarts > 0).then(|| {
        let text = format!(
            "it was restarted {restarts} times in the window: `bs9 logs {}` has its last words",
            facts.service
        );
        let number = f64::from(restarts);
        advice("restarts", Severity::High, text, [("restarts", number)])
    })
}

fn memory_near_limit(facts: &Facts<'_>) -> Option<Advice> {
    let share = facts.values("memory_limit_ratio")?;
    let limit = facts.limits.memory_bytes?;
    (share.p95 >= NEAR_LIMIT_RATIO).then(|| {
        let text = format!(
            "memory stands at {} of limits.memory_max (p95; {} of {}): raise the limit, or use less",
            percent(share.p95),
            bytes(share.p95 * limit),
            bytes(limit),
        );
        let numbers = [("memory_limit_ratio_p95", share.p95), ("memory_limit_bytes", limit)];
        advice("memory_near_limit", Severity::High, text, numbers)
    })
}

fn memory_grows(facts: &Facts<'_>) -> Option<Advice> {
    let (values, per_second) = facts.growth("memory_bytes")?;
    let hourly = per_second * 3_600.0;
    let grown = format!(
        "memory grows by {} an hour ({} to {} in the window)",
        bytes(hourly),
        bytes(values.min),
        bytes(values.last)
    );
    Some(match facts.meets_limit("memory_limit_ratio") {
        Some((seconds, share)) => {
            let text = format!(
                "{grown} and meets its limit in {}: look for what is kept (a longer profile \
                 tells a leak from a cache that fills)",
                terminal::seconds(seconds)
            );
            let numbers = [
                ("memory_growth_bytes_per_second", per_second),
                ("memory_limit_ratio", share),
                ("limit_in_seconds", seconds),
            ];
            advice("memory_grows", Severity::High, text, numbers)
        }
        None => {
            let text =
                format!("{grown}: profile it for longer to tell a leak from a cache that fills");
            let numbers = [("memory_growth_bytes_per_second", per_second)];
            advice("memory_grows", Severity::Medium, text, numbers)
        }
    })
}

fn files_near_limit(facts: &Facts<'_>) -> Option<Advice> {
    let share = facts.values("open_files_limit_ratio")?;
    let limit = facts.limits.open_files?;
    (share.max >= NEAR_OPEN_FILES_RATIO).then(|| {
        let text = format!(
            "a process has {} of the files open that it may ({:.0} of {limit:.0}): raise \
             limits.open_files, or look for connections and files that are not closed",
            percent(share.max),
            share.max * limit,
        );
        let numbers = [("open_files_limit_ratio_max", share.max), ("open_files_limit", limit)];
        advice("open_files_near_limit", Severity::High, text, numbers)
    })
}

fn files_grow(facts: &Facts<'_>) -> Option<Advice> {
    let (seconds, share) = facts.meets_limit("open_files_limit_ratio")?;
    let (values, per_second) = facts.growth("open_files")?;
    let text = format!(
        "open files grow by {:.1} a minute ({:.0} to {:.0} in the window) and meet their limit in \
         {}: something is not closed",
        per_second * 60.0,
        values.min,
        values.last,
        terminal::seconds(seconds)
    );
    let numbers = [
        ("open_files_growth_per_second", per_second),
        ("open_files_limit_ratio", share),
        ("limit_in_seconds", seconds),
    ];
    Some(advice("open_files_grow", Severity::High, text, numbers))
}

fn errors(facts: &Facts<'_>) -> Option<Advice> {
    let traffic = facts.traffic?;
    let ratio = traffic.error_ratio?;
    (traffic.requests >= ENOUGH_REQUESTS && ratio >= ERROR_RATIO).then(|| {
        let what = match traffic.server_errors {
            Some(errors) => format!("{errors} responses were of class 5xx"),
            None => format!("{} requests failed", traffic.failures),
        };
        let text = format!(
            "{} of {} requests went wrong ({what}): `bs9 logs {}`, and `bs9 status` for its \
             endpoints",
            percent(ratio),
            traffic.requests,
            facts.service
        );
        let numbers = [("error_ratio", ratio), ("requests", traffic.requests as f64)];
        advice("errors", Severity::High, text, numbers)
    })
}

fn throttled(facts: &Facts<'_>) -> Option<Advice> {
    let share = facts.values("throttled_ratio")?;
    (share.mean >= THROTTLED_RATIO).then(|| {
        let limit = facts.limits.cpu_cores;
        let of = limit.map(|cores| format!(" ({cores:.2} cores)")).unwrap_or_default();
        let text = format!(
            "it was kept from the processor {} of the time because it had used what limits.cpu \
             allows{of}: raise limits.cpu, or scale it",
            percent(share.mean)
        );
        advice("cpu_throttled", Severity::High, text, [("throttled_ratio", share.mean)])
    })
}

fn cpu_near_limit(facts: &Facts<'_>) -> Option<Advice> {
    if throttled(facts).is_some() {
        return None;
    }
    let share = facts.values("cpu_limit_ratio")?;
    let limit = facts.limits.cpu_cores?;
    (share.p95 >= NEAR_LIMIT_RATIO).then(|| {
        let text = format!(
            "an instance uses {} of limits.cpu (p95; {limit:.2} cores): raise it, or scale the \
             service",
            percent(share.p95)
        );
        let numbers = [("cpu_limit_ratio_p95", share.p95), ("cpu_limit_cores", limit)];
        advice("cpu_near_limit", Severity::Medium, text, numbers)
    })
}

/// One busy thread is all that many runtimes have.
fn one_core(facts: &Facts<'_>) -> Option<Advice> {
    if throttled(facts).is_some() || cpu_near_limit(facts).is_some() {
        return None;
    }
    let busy = |one: &&InstanceFigures| one.cpu_cores_mean.is_some_and(|c| ONE_CORE.contains(&c));
    let count = facts.instances.iter().filter(busy).count();
    let cores = facts.host_cores?;
    let free = cores - facts.host_busy_cores?;
    (count > 0 && count == facts.instances.len() && free >= CORES_LEFT).then(|| {
        let mean =
            facts.instances.iter().filter_map(|one| one.cpu_cores_mean).sum::<f64>() / count as f64;
        let text = format!(
            "each of its {count} instances keeps one core busy ({mean:.2} cores), as one that \
             computes in a single thread does, while {free:.1} of {cores:.0} cores are free: \
             `bs9 scale {} {}`",
            facts.service,
            count + 1
        );
        let numbers = [("cpu_cores_mean", mean), ("host_free_cores", free)];
        advice("one_core", Severity::Medium, text, numbers)
    })
}

fn tail(facts: &Facts<'_>) -> Option<Advice> {
    let traffic = facts.traffic.filter(|traffic| traffic.requests >= ENOUGH_REQUESTS)?;
    let (p50, p99) = (traffic.p50_seconds?, traffic.p99_seconds?);
    let times = p99 / p50;
    if times < TAIL_RATIO || p99 < TAIL_SECONDS {
        return None;
    }
    let mean = |name: &str| facts.values(name).map_or(0.0, |values| values.mean);
    let causes = [
        ("it waited for a processor", mean("cpu_pressure_ratio"), CPU_PRESSURE_RATIO),
        ("it was kept from the processor", mean("throttled_ratio"), THROTTLED_RATIO),
        ("it waited for memory", mean("memory_pressure_ratio"), MEMORY_PRESSURE_RATIO),
        ("it waited for I/O", mean("io_pressure_ratio"), IO_PRESSURE_RATIO),
    ];
    let seen: Vec<String> = causes
        .iter()
        .filter(|(_, share, enough)| share >= enough)
        .map(|(what, share, _)| format!("{what} {} of the time", percent(*share)))
        .collect();
    let why = match seen.is_empty() {
        true => {
            "neither processor, memory nor disks were short as far as is told: look for locks, \
                 pauses of the runtime, and what it waits for itself (`bs9 deps`)"
                .to_owned()
        }
        false => format!("meanwhile {}", seen.join(", ")),
    };
    let text = format!(
        "p99 ({}) is {times:.0} times p50 ({}): {why}",
        terminal::seconds(p99),
        terminal::seconds(p50)
    );
    let numbers = [("p50_seconds", p50), ("p99_seconds", p99)];
    Some(advice("long_tail", Severity::Medium, text, numbers))
}

fn cpu_pressure(facts: &Facts<'_>) -> Option<Advice> {
    let what = "waited for a processor";
    let remedy = "the machine is too small for what runs on it, or limits.cpu is; fewer instances \
                  do not wait for each other";
    pressed(facts, "cpu_pressure_ratio", "cpu_pressure", CPU_PRESSURE_RATIO, what, remedy)
}

fn memory_pressure(facts: &Facts<'_>) -> Option<Advice> {
    let what = "waited for memory";
    let remedy = "raise limits.memory_high and limits.memory_max, or give the machine more";
    pressed(facts, "memory_pressure_ratio", "memory_pressure", MEMORY_PRESSURE_RATIO, what, remedy)
}

fn io_pressure(facts: &Facts<'_>) -> Option<Advice> {
    let what = "waited for I/O";
    let remedy = "look at read_bytes_per_second and written_bytes_per_second, and at the disks in \
                  `bs9 metrics host`";
    pressed(facts, "io_pressure_ratio", "io_pressure", IO_PRESSURE_RATIO, what, remedy)
}

fn pressed(
    facts: &Facts<'_>,
    figure: &str,
    rule: &'static str,
    enough: f64,
    what: &str,
    remedy: &str,
) -> Option<Advice> {
    let share = facts.values(figure)?;
    (share.mean >= enough).then(|| {
        let text = format!("some of it {what} {} of the time: {remedy}", percent(share.mean));
        advice(rule, Severity::Medium, text, [("pressure_ratio_mean", share.mean)])
    })
}

/// More than halfway from its fair share to all of them.
fn lopsided(facts: &Facts<'_>) -> Option<Advice> {
    let traffic = facts.traffic.filter(|traffic| traffic.requests >= ENOUGH_REQUESTS)?;
    let taking: Vec<_> =
        traffic.endpoints.iter().filter(|one| one.fair_ratio.is_some_and(|f| f > 0.0)).collect();
    let one = taking
        .iter()
        .max_by(|a, b| a.share_ratio.unwrap_or(0.0).total_cmp(&b.share_ratio.unwrap_or(0.0)))?;
    let (share, fair) = (one.share_ratio?, one.fair_ratio?);
    (taking.len() > 1 && share >= fair.midpoint(1.0)).then(|| {
        let text = format!(
            "{} took {} of the requests, where its weight says {}: look at `balance` and `hash` of \
             cluster {}, at long-lived connections, and at the health of the others \
             (`bs9 lb status`)",
            one.address,
            percent(share),
            percent(fair),
            traffic.cluster,
        );
        let numbers = [("share_ratio", share), ("fair_ratio", fair)];
        advice("lopsided", Severity::Medium, text, numbers)
    })
}

fn threads_grow(facts: &Facts<'_>) -> Option<Advice> {
    let (values, per_second) = facts.growth("threads")?;
    let text = format!(
        "threads grow by {:.1} a minute ({:.0} to {:.0} in the window): something starts them and \
         does not end them",
        per_second * 60.0,
        values.min,
        values.last
    );
    let numbers = [("threads_growth_per_second", per_second)];
    Some(advice("threads_grow", Severity::Low, text, numbers))
}

/// A value as people read it.
pub(super) fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Cores => format!("{value:.2}"),
        Unit::Bytes => bytes(value),
        Unit::BytesPerSecond => format!("{}/s", bytes(value)),
        Unit::Ratio => percent(value),
        Unit::PerSecond => format!("{value:.1}/s"),
        Unit::Count if value.fract() == 0.0 => format!("{value:.0}"),
        Unit::Count => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests;
