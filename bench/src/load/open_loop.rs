//! `bs9 loadtest` in open loop: requests are due at fixed times, whatever the
//! contender does, and latency counts from then. wrk's would leave out the
//! requests that a stalled contender kept it from sending.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;

use super::{Generator, Latency, Load};
use crate::bench::Bench;
use crate::contender::version_of;
use crate::process::Launch;

/// How `bs9 loadtest` works.
#[derive(Debug, Clone)]
pub(crate) struct OpenLoop {
    /// bs9.
    pub(crate) program: PathBuf,
    pub(crate) connections: u32,
    pub(crate) requests_per_second: u32,
}

/// What is of interest in its report.
#[derive(Debug, Deserialize)]
struct Report {
    elapsed_seconds: f64,
    /// Before those.
    #[serde(default)]
    warm_up_seconds: f64,
    requests: Requests,
    latency_seconds: Distribution,
}

#[derive(Debug, Deserialize)]
struct Requests {
    succeeded: u64,
    failed: u64,
    /// Those of the warm-up.
    #[serde(default)]
    warm_up: u64,
}

#[derive(Debug, Deserialize)]
struct Distribution {
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
}

impl Generator for OpenLoop {
    fn version(&self) -> anyhow::Result<(&'static str, String)> {
        Ok(("bs9 loadtest", version_of(&self.program, "--version")?))
    }

    fn launch(
        &self,
        bench: &Bench,
        address: SocketAddr,
        length: Duration,
    ) -> anyhow::Result<Launch> {
        Ok(launch(bench, &self.program, self.connections, length)
            .argument(format!("--rate={}", self.requests_per_second))
            .argument(format!("http://{address}/")))
    }

    fn read(&self, _: &Bench, printed: &str) -> anyhow::Result<Load> {
        parse(printed)
    }
}

/// `bs9 loadtest` on one thread; where to, and in which way, is still to be said.
pub(super) fn launch(bench: &Bench, program: &Path, connections: u32, length: Duration) -> Launch {
    Launch::load(bench, "loadtest", program)
        .arguments(["loadtest", "--json", "--threads=1"])
        .argument(format!("--connections={connections}"))
        .argument(format!("--duration={}s", length.as_secs().max(1)))
}

/// Reads the report of `bs9 loadtest --json`. What its warm-up did was work as well; only its
/// latencies do not count.
pub(crate) fn parse(printed: &str) -> anyhow::Result<Load> {
    let begin = printed.find('{').context("no JSON")?;
    let mut values = serde_json::Deserializer::from_str(&printed[begin..]).into_iter();
    let report: Report = values.next().context("no JSON")??;
    let latency = report.latency_seconds;
    Ok(Load {
        units: report.requests.warm_up + report.requests.succeeded,
        seconds: report.warm_up_seconds + report.elapsed_seconds,
        errors: report.requests.failed,
        latency: Latency {
            p50_seconds: latency.p50,
            p90_seconds: latency.p90,
            p99_seconds: latency.p99,
            p99_9_seconds: latency.p99_9,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_past_what_stands_around_it() {
        let printed = r#"a remark
            {"schema": 1, "elapsed_seconds": 2.0,
             "warm_up_seconds": 0.5,
             "requests": {"total": 9, "succeeded": 7, "failed": 2, "warm_up": 3},
             "latency_seconds": {"p50": 0.1, "p90": 0.2, "p99": 0.3, "p99_9": 0.4, "max": 1.0}}
            another"#;
        let load = parse(printed).unwrap();
        assert_eq!((load.units, load.errors, load.seconds), (10, 2, 2.5));
        assert_eq!(load.latency.p99_9_seconds, 0.4);
        assert!(parse("bs9: nobody listens").is_err());
        assert!(parse("{}").is_err());
    }
}
