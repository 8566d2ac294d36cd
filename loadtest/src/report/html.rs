//! The report as one page that needs nothing else: no script, no font, no picture from anywhere.

use askama::Template;

mod chart;
mod figures;
mod scale;

use figures::Figure;

use super::{Distribution, Report, parts::RequestReport, text::shown_threshold};
use crate::quantity::{show_bytes, show_seconds};

/// What the template shows. Everything it prints is escaped, but for figures, which escape their
/// own texts.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    version: &'static str,
    /// How the load was put on, in a line.
    conditions: String,
    tiles: Vec<Tile>,
    figures: Vec<Figure>,
    distributions: Vec<(&'static str, Cells)>,
    /// Requests of the mix and stages, where there are any.
    parts: Vec<PartTable>,
    thresholds: Vec<ThresholdRow>,
    generator: String,
}

/// A figure that is seen first.
struct Tile {
    name: &'static str,
    value: String,
    remark: String,
}

/// The columns of a distribution, shown.
struct Cells(Vec<String>);

/// Rows of one kind.
struct PartTable {
    title: &'static str,
    /// What the second column says.
    load: &'static str,
    rows: Vec<PartRow>,
}

struct PartRow {
    name: String,
    /// Its weight in the mix, or its load.
    load: String,
    succeeded: u64,
    failed: u64,
    per_second: String,
    latency: Cells,
}

struct ThresholdRow {
    text: String,
    shown: String,
    passed: bool,
}

/// The columns of [`Cells`].
const COLUMNS: [&str; 7] = ["min", "p50", "p90", "p99", "p99.9", "p99.99", "max"];

impl Report {
    /// A page for browsers, complete in itself, for light and dark screens and for paper.
    pub fn to_html(&self) -> String {
        let page = Page {
            report: self,
            version: env!("CARGO_PKG_VERSION"),
            conditions: self.conditions(),
            tiles: self.tiles(),
            figures: figures::all(self),
            distributions: self.distributions(),
            parts: self.part_tables(),
            thresholds: self.threshold_rows(),
            generator: self.generator_line(),
        };
        page.render().expect("writing to memory cannot fail")
    }

    fn conditions(&self) -> String {
        let pace = match self.asked_per_second {
            Some([from, to]) if from == to => format!("open loop at {from}/s"),
            Some([from, to]) => format!("open loop at {from} to {to}/s"),
            None => "closed loop".to_owned(),
        };
        let reuse = if self.keep_alive { "" } else { ", a new one for each request" };
        let warm_up = match self.warm_up_seconds {
            0.0 => String::new(),
            seconds => format!(" after {} of warm-up", show_seconds(seconds)),
        };
        format!(
            "{}, {pace}, {} connections{reuse}, {} threads, {}{warm_up}",
            self.protocol,
            self.connections,
            self.threads,
            show_seconds(self.elapsed_seconds),
        )
    }

    fn tiles(&self) -> Vec<Tile> {
        let latency = |of: fn(&Distribution) -> f64| match &self.latency_seconds {
            Some(distribution) => show_seconds(of(distribution)),
            None => "–".to_owned(),
        };
        let requests = &self.requests;
        let failed_percent = 100.0 * requests.failed as f64 / requests.total.max(1) as f64;
        vec![
            Tile {
                name: "throughput",
                value: format!("{}/s", scale::short(requests.succeeded_per_second)),
                remark: format!("{} requests answered", requests.succeeded),
            },
            Tile {
                name: "median latency",
                value: latency(|distribution| distribution.p50),
                remark: format!("mean {}", latency(|distribution| distribution.mean)),
            },
            Tile {
                name: "99th percentile",
                value: latency(|distribution| distribution.p99),
                remark: format!("longest {}", latency(|distribution| distribution.max)),
            },
            Tile {
                name: "errors",
                value: percent(failed_percent),
                remark: format!("{} requests failed", requests.failed),
            },
            Tile {
                name: "received",
                value: format!("{}/s", show_bytes(self.bytes.received_bytes_per_second)),
                remark: format!("{} in all", show_bytes(self.bytes.received_bytes as f64)),
            },
        ]
    }

    fn distributions(&self) -> Vec<(&'static str, Cells)> {
        let rows = [
            ("latency", &self.latency_seconds),
            ("service", &self.service_seconds),
            ("connect", &self.connect_seconds),
        ];
        let present =
            |(name, row): (_, &Option<Distribution>)| Some((name, Cells::of(row.as_ref()?)));
        rows.into_iter().filter_map(present).collect()
    }

    fn part_tables(&self) -> Vec<PartTable> {
        let requests = self.mix.iter().map(PartRow::of_request).collect();
        let tables = [
            PartTable { title: "Requests of the mix", load: "weight", rows: requests },
            PartTable { title: "Stages", load: "load", rows: self.stage_rows() },
        ];
        tables.into_iter().filter(|table| !table.rows.is_empty()).collect()
    }

    fn stage_rows(&self) -> Vec<PartRow> {
        let rows = self.stages.iter().map(|stage| {
            let levels = |[from, to]: [f64; 2], unit: &str| {
                let to = if from == to { String::new() } else { format!(" to {to}") };
                format!("{from}{to}{unit}")
            };
            let load = match (stage.asked_per_second, stage.connections) {
                (Some(rates), _) => levels(rates, "/s"),
                (None, Some(connections)) => levels(connections, " connections"),
                (None, None) => String::new(),
            };
            PartRow {
                name: stage.name.clone(),
                load: format!("{load}, {}", show_seconds(stage.seconds)),
                succeeded: stage.succeeded,
                failed: stage.failed,
                per_second: scale::short(stage.succeeded_per_second),
                latency: Cells::of_any(stage.latency_seconds.as_ref()),
            }
        });
        rows.collect()
    }

    fn threshold_rows(&self) -> Vec<ThresholdRow> {
        let rows = self.thresholds.iter().map(|verdict| ThresholdRow {
            text: shown_threshold(verdict),
            shown: verdict.shown.clone(),
            passed: verdict.passed,
        });
        rows.collect()
    }

    fn generator_line(&self) -> String {
        let generator = &self.generator;
        let each = generator.cpu_seconds_per_request.map(show_seconds);
        let each = each.map(|each| format!(", {each} for each request")).unwrap_or_default();
        let busy = generator.threads.iter().map(|thread| percent(thread.cpu_ratio * 100.0));
        let busy = busy.collect::<Vec<_>>().join(", ");
        format!("{:.2} s of CPU time{each}; threads busy {busy}", generator.cpu_seconds)
    }
}

impl PartRow {
    fn of_request(request: &RequestReport) -> Self {
        Self {
            name: request.name.clone(),
            load: request.weight.to_string(),
            succeeded: request.succeeded,
            failed: request.failed,
            per_second: scale::short(request.succeeded_per_second),
            latency: Cells::of_any(request.latency_seconds.as_ref()),
        }
    }
}

impl Cells {
    fn of(distribution: &Distribution) -> Self {
        let Distribution { min, p50, p90, p99, p99_9, p99_99, max, .. } = *distribution;
        Self([min, p50, p90, p99, p99_9, p99_99, max].map(show_seconds).into())
    }

    fn of_any(distribution: Option<&Distribution>) -> Self {
        distribution.map_or_else(|| Self(vec!["–".to_owned(); COLUMNS.len()]), Self::of)
    }
}

fn percent(value: f64) -> String {
    match value {
        0.0 => "0 %".to_owned(),
        small if small < 0.1 => format!("{small:.3} %"),
        small if small < 10.0 => format!("{small:.1} %"),
        large => format!("{large:.0} %"),
    }
}
