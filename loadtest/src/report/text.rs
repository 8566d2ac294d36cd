//! The report for people.

use std::fmt::{self, Display};

use super::{Distribution, Report};
use crate::{
    quantity::{show_bytes, show_seconds},
    threshold::Verdict,
};

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.heading(f)?;
        self.throughput(f)?;
        self.latencies(f)?;
        self.parts(f)?;
        self.errors(f)?;
        self.generator(f)?;
        self.verdicts(f)?;
        for warning in &self.warnings {
            write!(f, "\n\nwarning: {warning}")?;
        }
        Ok(())
    }
}

/// A line of a table of parts.
struct Part<'a> {
    name: String,
    succeeded: u64,
    failed: u64,
    per_second: f64,
    latency: Option<&'a Distribution>,
}

fn table(f: &mut fmt::Formatter<'_>, kind: &str, parts: &[Part<'_>]) -> fmt::Result {
    let Some(widest) = parts.iter().map(|part| part.name.chars().count()).max() else {
        return Ok(());
    };
    let width = widest.max(kind.len());
    write!(f, "\n{kind:<width$}")?;
    for column in ["ok", "failed", "per s", "p50", "p90", "p99", "max"] {
        write!(f, " {column:>9}")?;
    }
    for Part { name, succeeded, failed, per_second, latency } in parts {
        write!(f, "\n{name:<width$} {succeeded:>9} {failed:>9} {per_second:>9.1}")?;
        let Some(latency) = latency else { continue };
        for value in [latency.p50, latency.p90, latency.p99, latency.max] {
            write!(f, " {:>9}", show_seconds(value))?;
        }
    }
    writeln!(f)
}

/// A level at the beginning and at the end.
fn show_levels([from, to]: [f64; 2]) -> String {
    if from == to { format!("{from}") } else { format!("{from}..{to}") }
}

impl Report {
    fn heading(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, protocol, connections, threads, pacing, .. } = self;
        write!(f, "{target}   {protocol}, {pacing} loop")?;
        match self.asked_per_second {
            _ if !self.stages.is_empty() => write!(f, ", {} stages", self.stages.len())?,
            Some(rates) => write!(f, " at {}/s", show_levels(rates))?,
            None => {}
        }
        let reuse = if self.keep_alive { "" } else { ", a new one for each request" };
        write!(f, "\n{connections} connections")?;
        if let Some(streams) = self.streams {
            write!(f, " of {streams} streams")?;
        }
        write!(f, "{reuse}, {threads} threads, ")?;
        write!(f, "{}", show_seconds(self.elapsed_seconds))?;
        if self.warm_up_seconds > 0.0 {
            let (warm_up, count) = (show_seconds(self.warm_up_seconds), self.requests.warm_up);
            write!(f, " after {warm_up} of warm-up ({count} requests)")?;
        }
        writeln!(f)
    }

    fn throughput(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, bytes) = (&self.requests, &self.bytes);
        let rate = requests.succeeded_per_second;
        let (succeeded, failed) = (requests.succeeded, requests.failed);
        write!(f, "\nrequests   {succeeded} ok, {failed} failed   {rate:.1}/s")?;
        if let Some((count, rate)) = requests.statements.zip(requests.statements_per_second) {
            write!(f, "\nstatements {count} ok   {rate:.1}/s")?;
        }
        let (received, sent) =
            (show_bytes(bytes.received_bytes as f64), show_bytes(bytes.sent_bytes as f64));
        let speed = show_bytes(bytes.received_bytes_per_second);
        writeln!(f, "\ntransfer   {received} received, {sent} sent   {speed}/s received")
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("latency", &self.latency_seconds),
            ("service", &self.service_seconds),
            ("connect", &self.connect_seconds),
        ];
        if rows.iter().all(|(_, distribution)| distribution.is_none()) {
            return Ok(());
        }
        let columns = ["min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
        write!(f, "\n{:<8}", "")?;
        for column in columns {
            write!(f, " {column:>9}")?;
        }
        for (name, distribution) in rows {
            let Some(distribution) = distribution else { continue };
            let Distribution { min, mean, p50, p90, p99, p99_9, p99_99, max, .. } = *distribution;
            write!(f, "\n{name:<8}")?;
            for value in [min, mean, p50, p90, p99, p99_9, p99_99, max] {
                write!(f, " {:>9}", show_seconds(value))?;
            }
        }
        writeln!(f)
    }

    /// Each request of the mix and each stage, a line each.
    fn parts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = self.mix.iter().map(|request| Part {
            name: request.name.clone(),
            succeeded: request.succeeded,
            failed: request.failed,
            per_second: request.succeeded_per_second,
            latency: request.latency_seconds.as_ref(),
        });
        table(f, "request", &requests.collect::<Vec<_>>())?;
        let stages = self.stages.iter().map(|stage| Part {
            name: stage.name.clone(),
            succeeded: stage.succeeded,
            failed: stage.failed,
            per_second: stage.succeeded_per_second,
            latency: stage.latency_seconds.as_ref(),
        });
        table(f, "stage", &stages.collect::<Vec<_>>())
    }

    fn errors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statuses: Vec<_> =
            self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        if !statuses.is_empty() {
            write!(f, "\nstatuses   {}", statuses.join(", "))?;
        }
        for error in &self.errors {
            let (words, count) = (error.kind.words(), error.count);
            // Some begin with these words themselves.
            let example = error.example.strip_prefix(words).unwrap_or(&error.example);
            let example = example.trim_start_matches(": ");
            write!(f, "\n{count:>8} × {words}: {example}")?;
        }
        Ok(())
    }

    fn generator(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generator = &self.generator;
        write!(f, "\ngenerator  {:.2} s of CPU", generator.cpu_seconds)?;
        if let Some(each) = generator.cpu_seconds_per_request {
            write!(f, ", {} a request", show_seconds(each))?;
        }
        let percent = |ratio: f64| format!("{:.0}%", ratio * 100.0);
        let busy: Vec<_> = generator.threads.iter().map(|t| percent(t.cpu_ratio)).collect();
        write!(f, "; threads busy {}", busy.join(" "))?;
        let waiting = generator.threads.iter().map(|t| t.waiting_ratio).fold(0.0, f64::max);
        if waiting >= 0.01 {
            write!(f, ", waiting for a core up to {}", percent(waiting))?;
        }
        Ok(())
    }

    fn verdicts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.thresholds.iter().map(|v| (v, shown_threshold(v))).collect();
        let Some(width) = lines.iter().map(|(_, text)| text.chars().count()).max() else {
            return Ok(());
        };
        writeln!(f)?;
        for (verdict, text) in lines {
            let word = if verdict.passed { "pass" } else { "FAIL" };
            write!(f, "\n{word}  {text:<width$}  {}", verdict.shown)?;
        }
        Ok(())
    }
}

/// What had to be kept, and by whom.
pub(super) fn shown_threshold(verdict: &Verdict) -> String {
    match &verdict.request {
        Some(request) => format!("{request}: {}", verdict.threshold),
        None => verdict.threshold.clone(),
    }
}
