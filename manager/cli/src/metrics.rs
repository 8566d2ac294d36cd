//! `bs9 metrics`: what is measured, now and drawn over time.

use bs9_api::types::{Reading, SCHEMA, SeriesName, SeriesPoint, SeriesPoints, Units};
use clap::Args;
use comfy_table::Cell;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    history::{self, Range, is_called},
    runtime,
    span::Span,
    terminal::{self, FAINT, STRONG, number, say},
};

const EXAMPLES: &str = "\
Examples:
  bs9 metrics                            every unit that is measured, and the machine, now
  bs9 metrics web                        one service over the last hour, drawn
  bs9 metrics web --since 7d             coarser the further back it goes
  bs9 metrics api --metric '*response*'  how long the endpoints of a cluster take
  bs9 metrics host                       the machine

A number that is not known is shown as -; --json says why.";

/// What is shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A service or unit, a cluster, a pool's database, a device, `host` or `dataplane`.
    name: Option<String>,
    /// Only metrics with this name; `*` at either end stands for anything.
    #[arg(long, value_name = "METRIC")]
    metric: Option<String>,
    /// How far back.
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    since: Span,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    runtime::block_on(async {
        match &arguments.name {
            None => now(global).await,
            Some(name) => drawn(name, arguments, global).await,
        }
    })
}

/// Everything as it is now.
async fn now(global: &Global) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Now {
        schema: u32,
        host: bs9_api::types::HostStatus,
        units: Units,
    }

    let client = history::manager(global);
    let (host, units) = (client.host().await?, client.units().await?);
    if global.json {
        return terminal::json(&Now { schema: SCHEMA, host, units });
    }
    say(format_args!(
        "{STRONG}host{STRONG:#}  {} of {} cores busy, load {}, memory {} of {} free, {} TCP sockets",
        plain(&host.cpu_ratio, |value| format!("{value:.2}")),
        plain(&host.cores, |value| format!("{value:.0}")),
        plain(&host.load_1m, |value| format!("{value:.2}")),
        plain(&host.memory_available_bytes, bytes),
        plain(&host.memory_bytes, bytes),
        plain(&host.tcp_sockets, |value| format!("{value:.0}")),
    ))?;
    if units.units.is_empty() {
        return say(format_args!(
            "{FAINT}no unit that [collect] units names runs here (control groups: {}){FAINT:#}",
            units.hierarchy
        ));
    }
    let mut table = terminal::table([
        "UNIT",
        "CPU",
        "MEMORY",
        "LIMIT",
        "TASKS",
        "READ/S",
        "WRITTEN/S",
        "PRESSURE",
        "SOCKETS",
        "RESTARTS",
    ]);
    for unit in &units.units {
        table.add_row([
            Cell::new(&unit.unit),
            number(plain(&unit.cpu_ratio, |value| format!("{:.1} %", value * 100.0))),
            number(plain(&unit.memory_bytes, bytes)),
            number(plain(&unit.memory_limit_bytes, bytes)),
            number(plain(&unit.tasks, |value| format!("{value:.0}"))),
            number(plain(&unit.read_bytes_per_second, bytes)),
            number(plain(&unit.written_bytes_per_second, bytes)),
            number(plain(&unit.cpu_pressure_ratio, |value| format!("{:.1} %", value * 100.0))),
            number(plain(&unit.open_sockets, |value| format!("{value:.0}"))),
            number(plain(&unit.restarts_total, |value| format!("{value:.0}"))),
        ]);
    }
    terminal::show("UNITS", &table)?;
    if units.left_out > 0 {
        say(format_args!("{} more are not measured: collect.max_units", units.left_out))?;
    }
    Ok(())
}

fn plain(reading: &Reading, show: impl Fn(f64) -> String) -> String {
    reading.value.map_or_else(|| "-".to_owned(), show)
}

fn bytes(value: f64) -> String {
    terminal::bytes(value.max(0.0) as u64)
}

/// One thing over time.
async fn drawn(name: &str, arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = history::manager(global);
    let catalog = client.catalog().await?;
    // The machine, its disks and its network; the data plane as a whole.
    let areas: &[&str] = match name {
        "host" => &["bs9_host_", "bs9_disk_", "bs9_network_"],
        "dataplane" => &["bs9_dataplane_"],
        _ => &[],
    };
    let of_area = |series: &SeriesName| areas.iter().any(|area| series.name.starts_with(area));
    let wanted: Vec<SeriesName> = catalog
        .series
        .into_iter()
        .filter(|series| is_called(&series.subject, name) || of_area(series))
        .filter(|series| fits(arguments.metric.as_deref(), &series.name))
        .collect();
    if wanted.is_empty() {
        let message = format!("nothing is remembered of `{name}`");
        return Err(Failure::new(Exit::NotFound, message)
            .hint("`bs9 metrics` lists what is measured; history needs a few seconds to begin"));
    }
    let to = Timestamp::now();
    let back = SignedDuration::from_secs(i64::try_from(arguments.since.0).unwrap_or(i64::MAX));
    let from = to.checked_sub(back).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut shown = Vec::new();
    for of in wanted {
        let range = Range { from, to, resolution_seconds: None };
        let (_, points) = history::points(&client, &of, range).await?;
        if !points.is_empty() {
            shown.push(SeriesPoints { of, points });
        }
    }
    if global.json {
        #[derive(Serialize)]
        struct Drawn {
            schema: u32,
            from: Timestamp,
            to: Timestamp,
            series: Vec<SeriesPoints>,
        }
        return terminal::json(&Drawn { schema: SCHEMA, from, to, series: shown });
    }
    if shown.is_empty() {
        return say(format_args!("nothing was measured of `{name}` since {from}"));
    }
    let width = terminal::width().saturating_sub(4).clamp(20, 160);
    for series in &shown {
        draw(series, (from, to), width)?;
    }
    Ok(())
}

fn fits(pattern: Option<&str>, name: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let inner = pattern.trim_matches('*');
    match (pattern.starts_with('*'), pattern.ends_with('*')) {
        (true, true) => name.contains(inner),
        (true, false) => name.ends_with(inner),
        (false, true) => name.starts_with(inner),
        (false, false) => name == pattern,
    }
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

fn draw(
    series: &SeriesPoints,
    (from, to): (Timestamp, Timestamp),
    width: usize,
) -> Result<(), Failure> {
    let SeriesPoints { of, points } = series;
    let show = |value: f64| written(&of.name, value);
    let min = points.iter().map(|point| point.min).fold(f64::INFINITY, f64::min);
    let max = points.iter().map(|point| point.max).fold(f64::NEG_INFINITY, f64::max);
    let count: u64 = points.iter().map(|point| point.count).sum();
    let mean = points.iter().map(|point| point.sum).sum::<f64>() / count.max(1) as f64;
    let last = points.last().map_or(mean, SeriesPoint::mean);
    say(format_args!(
        "\n{STRONG}{}{STRONG:#} {FAINT}{}{FAINT:#}",
        of.name.trim_start_matches("bs9_"),
        of.subject
    ))?;
    say(format_args!("  {}", line(points, (from, to), max, width)))?;
    let mut text =
        format!("  now {}  mean {}  min {}  max {}", show(last), show(mean), show(min), show(max));
    if let Some(p99) = points.iter().filter_map(|point| point.p99).reduce(f64::max) {
        text.push_str(&format!("  worst p99 {}", show(p99)));
    }
    say(text)
}

/// A column for each part of the time; what was not measured is blank.
fn line(
    points: &[SeriesPoint],
    (from, to): (Timestamp, Timestamp),
    max: f64,
    width: usize,
) -> String {
    let whole = to.duration_since(from).as_secs_f64().max(1.0);
    let mut columns: Vec<Option<f64>> = vec![None; width];
    for point in points {
        let at = point.at.duration_since(from).as_secs_f64() / whole * width as f64;
        let column = (at.max(0.0) as usize).min(width - 1);
        let value = point.mean();
        columns[column] = Some(columns[column].map_or(value, |known: f64| known.max(value)));
    }
    columns
        .into_iter()
        .map(|value| match value {
            None => ' ',
            Some(_) if max <= 0.0 => BARS[0],
            Some(value) => {
                let step = (value / max * BARS.len() as f64).max(0.0) as usize;
                BARS[step.min(BARS.len() - 1)]
            }
        })
        .collect()
}

/// A value in the unit that the metric's name ends in.
fn written(name: &str, value: f64) -> String {
    if name.ends_with("_bytes") {
        bytes(value)
    } else if name.ends_with("_bytes_per_second") {
        format!("{}/s", bytes(value))
    } else if name.ends_with("_ratio") {
        format!("{:.1} %", value * 100.0)
    } else if name.ends_with("_per_second") {
        format!("{value:.1}/s")
    } else if name.ends_with("_seconds") {
        terminal::seconds(value)
    } else if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_wide_as_it_should_be_and_gaps_are_blank() {
        let time = |seconds| Timestamp::from_second(seconds).unwrap();
        let point = |seconds, value| SeriesPoint {
            at: time(seconds),
            min: value,
            max: value,
            sum: value,
            count: 1,
            p50: None,
            p95: None,
            p99: None,
        };
        let points = [point(0, 0.0), point(1, 4.0), point(3, 8.0), point(99, 2.0)];
        assert_eq!(line(&points, (time(0), time(4)), 8.0, 4), "▁▅ █");
        assert_eq!(line(&points[..1], (time(0), time(4)), 0.0, 4), "▁   ");
    }

    #[test]
    fn values_have_the_unit_of_their_name() {
        assert_eq!(written("bs9_service_memory_bytes", 1536.0), "1.5 KiB");
        assert_eq!(written("bs9_service_cpu_ratio", 0.25), "25.0 %");
        assert_eq!(written("bs9_endpoint_requests_per_second", 3.0), "3.0/s");
        assert_eq!(written("bs9_endpoint_response_seconds", 0.002), "2.0 ms");
        assert_eq!(written("bs9_service_tasks", 3.0), "3");
    }
}
