//! wrk: a fixed number of keep-alive connections, each as fast as it can.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use super::{Load, PATIENCE};
use crate::bench::Bench;
use crate::contender::find_program;
use crate::process::{Launch, Process};

/// How wrk works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wrk {
    pub(crate) connections: u32,
    pub(crate) reuse: Reuse,
}

/// Whether connections carry more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    KeepAlive,
    /// `Connection: close` in each request; wrk opens another after the answer.
    Close,
}

/// A run that is under way.
#[derive(Debug)]
pub(crate) struct Started {
    process: Process,
    length: Duration,
}

/// Runs wrk with one thread against `address`.
pub(crate) fn run(
    bench: &Bench,
    address: SocketAddr,
    wrk: Wrk,
    length: Duration,
) -> anyhow::Result<Load> {
    start(bench, address, wrk, length)?.finish()
}

/// Starts what [`run`] runs.
pub(crate) fn start(
    bench: &Bench,
    address: SocketAddr,
    wrk: Wrk,
    length: Duration,
) -> anyhow::Result<Started> {
    let mut launch = Launch::load(bench, "wrk", &find_program("wrk")?)
        .argument("--threads=1")
        .argument(format!("--connections={}", wrk.connections))
        .argument(format!("--duration={}s", length.as_secs()))
        .argument("--latency");
    if wrk.reuse == Reuse::Close {
        launch = launch.arguments(["--header", "Connection: close"]);
    }
    let process = launch.argument(format!("http://{address}/")).start(bench)?;
    Ok(Started { process, length })
}

impl Started {
    /// Waits for the end and reads the report.
    pub(crate) fn finish(self) -> anyhow::Result<Load> {
        let printed = self.process.finish(self.length + PATIENCE)?;
        parse(&printed)
            .with_context(|| format!("wrk printed something else than expected:\n{printed}"))
    }
}

/// Reads wrk's report. The error lines are there only when something failed.
fn parse(text: &str) -> Option<Load> {
    let mut load = Load {
        units: 0,
        seconds: f64::NAN,
        errors: 0,
        p50_seconds: f64::NAN,
        p99_seconds: f64::NAN,
    };
    for line in text.lines().map(str::trim) {
        if let Some((count, rest)) = line.split_once(" requests in ") {
            load.units = count.parse().ok()?;
            load.seconds = seconds(rest.split(',').next()?)?;
        } else if let Some(value) = line.strip_prefix("50%") {
            load.p50_seconds = seconds(value.trim())?;
        } else if let Some(value) = line.strip_prefix("99%") {
            load.p99_seconds = seconds(value.trim())?;
        } else if let Some(kinds) = line.strip_prefix("Socket errors:") {
            for kind in kinds.split(',') {
                load.errors += kind.split_whitespace().nth(1)?.parse::<u64>().ok()?;
            }
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            load.errors += count.trim().parse::<u64>().ok()?;
        }
    }
    let complete = [load.seconds, load.p50_seconds, load.p99_seconds].iter().all(|v| !v.is_nan());
    complete.then_some(load)
}

/// `970.00us`, `1.20ms`, `4.00s`, `1.50m`, `1.00h`.
fn seconds(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLEAN: &str = "Running 4s test @ http://127.0.0.1:40111/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   713.16us  221.74us   6.55ms   92.13%
    Req/Sec    90.27k     5.98k   97.06k    82.50%
  Latency Distribution
     50%  676.00us
     75%  742.00us
     90%  866.00us
     99%    1.61ms
  359309 requests in 4.01s, 101.43MB read
Requests/sec:  89609.21
Transfer/sec:     25.29MB
";

    #[test]
    fn a_clean_report_is_read() {
        let load = parse(CLEAN).unwrap();
        assert_eq!(load.units, 359_309);
        assert_eq!(load.errors, 0);
        assert!((load.seconds - 4.01).abs() < 1e-9);
        assert!((load.p50_seconds - 676e-6).abs() < 1e-9);
        assert!((load.p99_seconds - 1.61e-3).abs() < 1e-9);
    }

    #[test]
    fn errors_of_every_kind_are_added_up() {
        let failed = format!(
            "{CLEAN}  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 50\n"
        );
        assert_eq!(parse(&failed).unwrap().errors, 60);
    }

    #[test]
    fn an_incomplete_report_is_refused() {
        assert_eq!(parse("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
        assert_eq!(parse(&CLEAN.replace("99%", "98%")), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,300}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_duration_is_read_or_refused(text in "[0-9.]{0,6}[a-zé]{0,3}") {
            let _ = seconds(&text);
        }
    }
}
