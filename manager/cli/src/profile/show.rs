//! A profile for people.

use comfy_table::{Cell, Table};

use super::{
    advice::{Severity, shown},
    figure::{Figure, Unit, Values},
    outcome::{Flame, Profile, Told},
    traffic::Traffic,
};
use crate::{
    exit::Failure,
    terminal::{self, BAD, FAINT, GOOD, NOTE, STRONG, number, say},
};

/// A trend that explains less than this is none.
const TREND_FIT_RATIO: f64 = 0.5;
/// Nor is one that adds less than this to the mean in the window.
const TREND_RATIO: f64 = 0.02;

pub(super) fn profile(profile: &Profile) -> Result<(), Failure> {
    let seconds = profile.to.duration_since(profile.from).as_secs_f64();
    say(format_args!(
        "{STRONG}{}{STRONG:#} {FAINT}{}, {} instances, {} looks in {}{FAINT:#}",
        profile.service,
        profile.state,
        profile.instances.len(),
        profile.looks,
        terminal::seconds(seconds),
    ))?;
    terminal::show("FIGURES", &figures(&profile.figures, seconds))?;
    let missing = |figure: &&Figure| figure.values.is_none();
    for figure in profile.figures.iter().filter(missing) {
        let reason = figure.reason.as_deref().unwrap_or_default();
        say(format_args!("{FAINT}{}: {reason}{FAINT:#}", spoken(figure.name)))?;
    }
    if profile.figures.iter().any(|figure| figure.source == Some("processes")) {
        say(format_args!(
            "{FAINT}* added up over processes: those that ended between two looks are not in it, \
             and memory that they share is counted for each{FAINT:#}"
        ))?;
    }
    terminal::show("INSTANCES", &instances(profile))?;
    match &profile.traffic {
        Told::There(traffic) => self::traffic(traffic)?,
        Told::Not { reason } => {
            say(format_args!("\n{STRONG}TRAFFIC{STRONG:#}\n{FAINT}not known: {reason}{FAINT:#}"))?;
        }
    }
    flame(&profile.flame)?;
    for remark in &profile.remarks {
        say(format_args!("{FAINT}{remark}{FAINT:#}"))?;
    }
    say(format_args!("\n{STRONG}RECOMMENDATIONS{STRONG:#}"))?;
    if profile.recommendations.is_empty() {
        say(format_args!("{GOOD}nothing{GOOD:#}: no figure is near a limit or out of proportion"))?;
    }
    for advice in &profile.recommendations {
        let (style, word) = match advice.severity {
            Severity::High => (BAD, "high"),
            Severity::Medium => (NOTE, "medium"),
            Severity::Low => (FAINT, "low"),
        };
        say(format_args!("{style}{word:<7}{style:#} {}", advice.text))?;
    }
    Ok(())
}

/// `cpu_limit_ratio` is `cpu of limit`: its unit stands in the values.
fn spoken(name: &str) -> String {
    let plain = ["_bytes_per_second", "_per_second", "_ratio", "_bytes", "_cores"]
        .iter()
        .find_map(|unit| name.strip_suffix(unit))
        .unwrap_or(name);
    plain.replace("_limit", " of limit").replace('_', " ")
}

fn figures(figures: &[Figure], seconds: f64) -> Table {
    let mut table = terminal::table(["", "MIN", "MEAN", "P95", "MAX", "TREND"]);
    for figure in figures {
        let Some(values) = figure.values else { continue };
        let cell = |value: f64| number(shown(figure.unit, value));
        let mark =
            if figure.source == Some("processes") && !counts(figure.unit) { "*" } else { "" };
        let unit = if figure.unit == Unit::Cores { " (cores)" } else { "" };
        table.add_row([
            Cell::new(format!("{}{unit}{mark}", spoken(figure.name))),
            cell(values.min),
            cell(values.mean),
            cell(values.p95),
            cell(values.max),
            number(trend(figure.unit, &values, seconds)),
        ]);
    }
    table
}

/// Threads, processes and files are processes' own in any case.
fn counts(unit: Unit) -> bool {
    matches!(unit, Unit::Count | Unit::Ratio)
}

fn trend(unit: Unit, values: &Values, seconds: f64) -> String {
    let Some(trend) = values.trend else { return "-".to_owned() };
    let added = trend.per_second * seconds;
    if trend.fit_ratio < TREND_FIT_RATIO || added.abs() <= values.mean.abs() * TREND_RATIO {
        return "steady".to_owned();
    }
    let sign = if added > 0.0 { "+" } else { "-" };
    format!("{sign}{} a minute", shown(unit, (trend.per_second * 60.0).abs()))
}

fn instances(profile: &Profile) -> Table {
    let mut table =
        terminal::table(["UNIT", "CPU", "MEMORY MAX", "THREADS", "FILES", "REQUESTS", "RESTARTS"]);
    let dash = || "-".to_owned();
    for one in &profile.instances {
        let endpoint =
            profile.traffic.there().zip(one.endpoint.as_ref()).and_then(|(t, address)| {
                t.endpoints.iter().find(|endpoint| endpoint.address == *address)
            });
        let share = |ratio: f64| format!(" ({:.0} %)", ratio * 100.0);
        let requests = endpoint.map(|endpoint| {
            format!("{}{}", endpoint.requests, endpoint.share_ratio.map(share).unwrap_or_default())
        });
        let limit = profile.limits.open_files.map(|limit| format!(" of {limit:.0}"));
        let files = one
            .open_files_max
            .map(|files| format!("{files:.0}{}", limit.as_deref().unwrap_or_default()));
        table.add_row([
            Cell::new(&one.unit),
            number(one.cpu_cores_mean.map_or_else(dash, |cores| format!("{cores:.2}"))),
            number(one.memory_bytes_max.map_or_else(dash, |bytes| shown(Unit::Bytes, bytes))),
            number(one.threads_max),
            number(files.unwrap_or_else(dash)),
            number(requests.unwrap_or_else(dash)),
            number(one.restarts),
        ]);
    }
    table
}

fn traffic(traffic: &Traffic) -> Result<(), Failure> {
    say(format_args!("\n{STRONG}TRAFFIC{STRONG:#} {FAINT}cluster {}{FAINT:#}", traffic.cluster))?;
    let at_most = |value: Option<f64>| {
        value.map_or_else(|| "-".to_owned(), |value| format!("≤ {}", terminal::seconds(value)))
    };
    let ratio = traffic.error_ratio.map_or_else(|| "-".to_owned(), |r| shown(Unit::Ratio, r));
    say(format_args!(
        "{} requests, {:.1}/s; p50 {}  p95 {}  p99 {}; {ratio} errors ({})",
        traffic.requests,
        traffic.requests_per_second,
        at_most(traffic.p50_seconds),
        at_most(traffic.p95_seconds),
        at_most(traffic.p99_seconds),
        match traffic.server_errors {
            Some(errors) => format!("{errors} of class 5xx, {} failed", traffic.failures),
            None =>
                format!("{} failed; 5xx are counted by route, and it has none", traffic.failures),
        },
    ))
}

fn flame(flame: &Flame) -> Result<(), Failure> {
    say(format_args!("\n{STRONG}FLAME GRAPH{STRONG:#}"))?;
    match flame {
        Flame::NotAsked => say(format_args!("{FAINT}--flame FILE draws one{FAINT:#}")),
        Flame::NotPossible { reason, remedy } => {
            say(format_args!("{FAINT}not possible here: {reason}; {remedy}{FAINT:#}"))
        }
        Flame::Drawn { file, samples, hottest, .. } => {
            say(format_args!("{file}, of {samples} samples; most often what ran was"))?;
            hottest.iter().try_for_each(|hot| {
                say(format_args!("{:>7}  {}", shown(Unit::Ratio, hot.ratio), hot.function))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spoken_without_their_unit() {
        for (name, wanted) in [
            ("cpu_cores", "cpu"),
            ("cpu_limit_ratio", "cpu of limit"),
            ("open_files_limit_ratio", "open files of limit"),
            ("read_bytes_per_second", "read"),
            ("requests_per_second", "requests"),
            ("memory_pressure_ratio", "memory pressure"),
            ("threads", "threads"),
        ] {
            assert_eq!(spoken(name), wanted);
        }
    }

    #[test]
    fn a_trend_is_told_by_the_minute() {
        let points = |step: f64| -> Vec<(f64, f64)> {
            (0..10).map(|at| (f64::from(at), 100.0 + step * f64::from(at))).collect()
        };
        let told = |step| trend(Unit::Count, &Values::of(&points(step)).unwrap(), 9.0);
        assert_eq!(told(2.0), "+120 a minute");
        assert_eq!(told(-2.0), "-120 a minute");
        assert_eq!(told(0.1), "steady");
        assert_eq!(trend(Unit::Count, &Values::of(&[(0.0, 1.0)]).unwrap(), 0.0), "-");
    }
}
