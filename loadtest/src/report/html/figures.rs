//! The charts of a report.

use super::{
    super::{
        Report,
        distribution::{Bin, CurvePoint},
        generator::SATURATED,
        series::{Latency, Second},
    },
    chart::Chart,
    scale::{Scale, latency, moment, rounded_up, short},
};
use crate::{failure::FailureKind, quantity::show_seconds};

/// Colours there are for kinds of errors; further kinds share the last one.
const ERROR_COLOURS: usize = 6;

/// A chart, and what stands around it.
pub(super) struct Figure {
    pub(super) title: &'static str,
    pub(super) caption: String,
    pub(super) legend: Vec<Key>,
    /// SVG, its texts escaped.
    pub(super) svg: String,
}

/// What a colour means.
pub(super) struct Key {
    pub(super) class: String,
    pub(super) name: String,
}

fn key(class: &str, name: &str) -> Key {
    Key { class: class.to_owned(), name: name.to_owned() }
}

/// Those that have something to show.
pub(super) fn all(report: &Report) -> Vec<Figure> {
    let figures = [
        throughput(report),
        latency_over_time(report),
        curve(report),
        bins(report),
        connections(report),
        errors(report),
        generator(report),
    ];
    figures.into_iter().flatten().collect()
}

/// How long the run was, for the axis of time.
fn time_axis(series: &[Second]) -> Scale {
    Scale::linear(0.0, series.last().map_or(1.0, |second| second.at_seconds))
}

fn begins(second: &Second) -> f64 {
    second.at_seconds - second.seconds
}

fn middle(second: &Second) -> f64 {
    second.at_seconds - second.seconds / 2.0
}

fn per_second(count: u64, second: &Second) -> f64 {
    count as f64 / second.seconds.max(1e-9)
}

/// Where stages begin.
fn mark_stages(chart: &mut Chart, report: &Report) {
    let mut begins = 0.0;
    for stage in &report.stages {
        chart.mark("stage", begins, &stage.name);
        begins += stage.seconds;
    }
}

/// `12 s to 13 s`.
fn during(second: &Second) -> String {
    format!("{:.0} s to {:.0} s", begins(second), second.at_seconds)
}

fn throughput(report: &Report) -> Option<Figure> {
    let series = &report.series;
    series.first()?;
    let highest = series.iter().map(|second| {
        per_second(second.succeeded + second.failed, second)
            .max(second.asked_per_second.unwrap_or_default())
    });
    let highest = rounded_up(highest.fold(0.0, f64::max));
    let y = Scale::linear(0.0, highest);
    let mut chart = Chart::new((time_axis(series), &moment), (y, &short));
    let succeeded: Vec<_> = series
        .iter()
        .flat_map(|second| {
            let rate = per_second(second.succeeded, second);
            [(begins(second), rate), (second.at_seconds, rate)]
        })
        .collect();
    chart.area("good", &succeeded);
    chart.line("good", succeeded.iter().copied().map(Some));
    let mut legend = vec![key("good", "answered as expected")];
    if report.requests.failed > 0 {
        let failed = series.iter().map(|second| (second, per_second(second.failed, second)));
        let steps = failed.flat_map(|(second, rate)| {
            [Some((begins(second), rate)), Some((second.at_seconds, rate))]
        });
        chart.line("bad", steps);
        legend.push(key("bad", "failed"));
    }
    if report.asked_per_second.is_some() {
        chart.line("asked", asked(report).into_iter().map(Some));
        legend.push(key("asked", "asked for"));
    }
    mark_stages(&mut chart, report);
    for second in series {
        let rate = short(per_second(second.succeeded, second));
        let text = format!("{}: {rate}/s, {} failed", during(second), second.failed);
        chart.hint(begins(second), second.at_seconds, text);
    }
    Some(Figure {
        title: "Throughput",
        caption: "Requests a second over the run.".to_owned(),
        legend,
        svg: chart.into_svg("requests a second over time"),
    })
}

/// The rate that was asked for, from corner to corner.
fn asked(report: &Report) -> Vec<(f64, f64)> {
    let whole = report.asked_per_second.map(|rates| (report.elapsed_seconds, rates));
    let stages = report.stages.iter().filter_map(|s| Some((s.seconds, s.asked_per_second?)));
    let stages: Vec<_> =
        if report.stages.is_empty() { whole.into_iter().collect() } else { stages.collect() };
    corners(stages)
}

/// A course of stages, each with its length and its level at both ends, from corner to corner.
fn corners(stages: Vec<(f64, [f64; 2])>) -> Vec<(f64, f64)> {
    let mut begins = 0.0;
    let corners = stages.into_iter().flat_map(|(seconds, [from, to])| {
        let corners = [(begins, from), (begins + seconds, to)];
        begins += seconds;
        corners
    });
    corners.collect()
}

/// A line of latency over time: colour, name, and which value.
type Line = (&'static str, &'static str, fn(&Latency) -> f64);

const PERCENTILES: [Line; 4] = [
    ("max", "longest", |latency| latency.max),
    ("p99", "99 %", |latency| latency.p99),
    ("p90", "90 %", |latency| latency.p90),
    ("p50", "median", |latency| latency.p50),
];

fn latency_over_time(report: &Report) -> Option<Figure> {
    let series = &report.series;
    let measured = || series.iter().filter_map(|second| second.latency_seconds.as_ref());
    let least = measured().map(|latency| latency.p50).reduce(f64::min)?;
    let most = measured().map(|latency| latency.max).reduce(f64::max)?;
    let y = Scale::logarithmic(least * 0.8, most * 1.1);
    let mut chart = Chart::new((time_axis(series), &moment), (y, &latency));
    for (class, _, of) in PERCENTILES {
        let points = series
            .iter()
            .map(|second| Some((middle(second), of(second.latency_seconds.as_ref()?))));
        chart.line(class, points);
    }
    mark_stages(&mut chart, report);
    for second in series {
        let text = match &second.latency_seconds {
            Some(latency) => {
                let parts = PERCENTILES
                    .map(|(_, name, of)| format!("{name} {}", show_seconds(of(latency))));
                format!("{}\n{}", during(second), parts.join("\n"))
            }
            None => format!("{}: nothing answered", during(second)),
        };
        chart.hint(begins(second), second.at_seconds, text);
    }
    Some(Figure {
        title: "Latency over time",
        caption: "Of requests answered as expected, by when they ended; logarithmic.".to_owned(),
        legend: PERCENTILES.map(|(class, name, _)| key(class, name)).into(),
        svg: chart.into_svg("latency percentiles over time"),
    })
}

/// The HDR plot: towards the right there are ever fewer.
fn curve(report: &Report) -> Option<Figure> {
    let points = &report.latency_curve;
    let (first, last) = (points.first()?, points.last()?);
    // 90 % are one step to the right, 99 % two; the very last one is as far as there is a
    // measurement for.
    let count = report.latency_seconds.as_ref()?.count as f64;
    let steps = |quantile: f64| -(1.0 - quantile).max(0.5 / count).log10();
    let most = steps(1.0).max(1.0);
    let nines = [(0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %")]
        .into_iter()
        .chain([(0.9999, "99.99 %"), (0.99999, "99.999 %"), (0.999_999, "99.9999 %")]);
    let labels: Vec<_> = nines
        .filter(|(quantile, _)| steps(*quantile) < most - 0.2)
        .map(|(quantile, name)| (steps(quantile), name.to_owned()))
        .collect();
    let y = Scale::logarithmic(first.seconds * 0.8, last.seconds * 1.1);
    let mut chart = Chart::with_labels(Scale::linear(0.0, most), &labels, (y, &latency));
    let at = |point: &CurvePoint| (steps(point.quantile), point.seconds);
    let line: Vec<_> = points.iter().map(at).collect();
    chart.area("p50", &line);
    chart.line("p50", line.iter().copied().map(Some));
    for pair in points.windows(2) {
        let text = format!("{:.4} %: {}", pair[1].quantile * 100.0, show_seconds(pair[1].seconds));
        chart.hint(steps(pair[0].quantile), steps(pair[1].quantile), text);
    }
    Some(Figure {
        title: "Latency by percentile",
        caption: "So many percent of all requests took no longer than this; both axes logarithmic."
            .to_owned(),
        legend: Vec::new(),
        svg: chart.into_svg("latency by percentile"),
    })
}

fn bins(report: &Report) -> Option<Figure> {
    let bins = &report.latency_bins;
    let (first, last) = (bins.first()?, bins.last()?);
    let all: u64 = bins.iter().map(|bin| bin.count).sum();
    let share = |bin: &Bin| 100.0 * bin.count as f64 / all.max(1) as f64;
    let highest = bins.iter().map(share).fold(0.0, f64::max);
    let x = Scale::logarithmic(first.from_seconds, last.to_seconds);
    let y = Scale::linear(0.0, rounded_up(highest));
    let mut chart = Chart::new((x, &latency), (y, &|percent| format!("{} %", short(percent))));
    for bin in bins {
        let span = (bin.from_seconds, bin.to_seconds);
        chart.bar("p50", span, (0.0, share(bin)));
        let (from, to) = (show_seconds(span.0), show_seconds(span.1));
        chart.hint(span.0, span.1, format!("{from} to {to}: {} ({:.2} %)", bin.count, share(bin)));
    }
    if let Some(latency) = &report.latency_seconds {
        chart.mark("p50-mark", latency.p50, "median");
        if latency.p99 > latency.p50 * 1.5 {
            chart.mark("p99-mark", latency.p99, "99 %");
        }
    }
    Some(Figure {
        title: "Latency distribution",
        caption: "Percent of all requests that took about so long; logarithmic.".to_owned(),
        legend: Vec::new(),
        svg: chart.into_svg("how many requests took how long"),
    })
}

/// Closed loop: how many connections there were, if not always the same.
fn connections(report: &Report) -> Option<Figure> {
    let stages: Vec<_> =
        report.stages.iter().filter_map(|s| Some((s.seconds, s.connections?))).collect();
    let first = stages.first()?.1[0];
    let changes = |levels: &[f64; 2]| levels.iter().any(|level| *level != first);
    if !stages.iter().any(|(_, levels)| changes(levels)) {
        return None;
    }
    let points = corners(stages);
    let highest = points.iter().map(|(_, level)| *level).fold(0.0, f64::max);
    let y = Scale::linear(0.0, rounded_up(highest));
    let mut chart = Chart::new((time_axis(&report.series), &moment), (y, &short));
    chart.area("p90", &points);
    chart.line("p90", points.iter().copied().map(Some));
    mark_stages(&mut chart, report);
    Some(Figure {
        title: "Connections",
        caption: "How many connections took part.".to_owned(),
        legend: Vec::new(),
        svg: chart.into_svg("connections over time"),
    })
}

fn error_colour(index: usize) -> String {
    format!("e{}", index.min(ERROR_COLOURS - 1))
}

fn errors(report: &Report) -> Option<Figure> {
    let kinds: Vec<FailureKind> = report.errors.iter().map(|error| error.kind).collect();
    kinds.first()?;
    let series = &report.series;
    let highest = series.iter().map(|second| per_second(second.failed, second)).fold(0.0, f64::max);
    let y = Scale::linear(0.0, rounded_up(highest));
    let mut chart = Chart::new((time_axis(series), &moment), (y, &short));
    for second in series {
        let mut below = 0.0;
        let mut lines = vec![format!("{}: {} failed", during(second), second.failed)];
        for (index, kind) in kinds.iter().enumerate() {
            let found = second.errors.iter().find(|error| error.kind == *kind);
            let Some(error) = found else { continue };
            let rate = per_second(error.count, second);
            let span = (begins(second), second.at_seconds);
            chart.bar(&error_colour(index), span, (below, below + rate));
            below += rate;
            lines.push(format!("{} {}", error.count, kind.words()));
        }
        chart.hint(begins(second), second.at_seconds, lines.join("\n"));
    }
    mark_stages(&mut chart, report);
    let legend =
        kinds.iter().enumerate().map(|(index, kind)| key(&error_colour(index), kind.words()));
    Some(Figure {
        title: "Errors over time",
        caption: "Failed requests a second, by kind.".to_owned(),
        legend: legend.collect(),
        svg: chart.into_svg("failed requests a second by kind"),
    })
}

fn generator(report: &Report) -> Option<Figure> {
    let series = &report.series;
    series.first()?;
    let y = Scale::linear(0.0, 100.0);
    let mut chart =
        Chart::new((time_axis(series), &moment), (y, &|percent| format!("{percent} %")));
    let busy: Vec<_> = series
        .iter()
        .flat_map(|second| {
            let percent = second.generator_busy_ratio * 100.0;
            [(begins(second), percent), (second.at_seconds, percent)]
        })
        .collect();
    chart.area("cpu", &busy);
    chart.line("cpu", busy.iter().copied().map(Some));
    let limit = SATURATED * 100.0;
    let end = series.last().map_or(1.0, |second| second.at_seconds);
    chart.line("limit", [Some((0.0, limit)), Some((end, limit))].into_iter());
    for second in series {
        let text = format!("{}: {:.0} %", during(second), second.generator_busy_ratio * 100.0);
        chart.hint(begins(second), second.at_seconds, text);
    }
    Some(Figure {
        title: "Load generator",
        caption: "How busy its busiest thread was. Above the line the figures are its own limits, \
                  not the server's."
            .to_owned(),
        legend: Vec::new(),
        svg: chart.into_svg("how busy the load generator was"),
    })
}
