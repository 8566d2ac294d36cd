//! The series as comma-separated values (RFC 4180, with line feeds alone).

use std::fmt::Write as _;

use super::{Report, series::Latency};

const NAMES: &str = "at_seconds,seconds,asked_per_second,connections,succeeded,failed,\
    received_bytes,p50_seconds,p90_seconds,p99_seconds,max_seconds,generator_busy_ratio\n";

impl Report {
    /// Second by second, with a line of names first. What does not apply is empty.
    pub fn to_csv(&self) -> String {
        let mut out = NAMES.to_owned();
        for second in &self.series {
            let latency = second.latency_seconds;
            let latency = |of: fn(Latency) -> f64| shown(latency.map(of), 9);
            let _infallible = writeln!(
                out,
                "{:.3},{:.3},{},{},{},{},{},{},{},{},{},{:.3}",
                second.at_seconds,
                second.seconds,
                shown(second.asked_per_second, 3),
                shown(second.connections, 1),
                second.succeeded,
                second.failed,
                second.received_bytes,
                latency(|latency| latency.p50),
                latency(|latency| latency.p90),
                latency(|latency| latency.p99),
                latency(|latency| latency.max),
                second.generator_busy_ratio,
            );
        }
        out
    }
}

fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map(|value| format!("{value:.decimals$}")).unwrap_or_default()
}
