//! Load generators: how to run them, and how to read what they print.

pub(crate) mod crowd;
pub(crate) mod h2load;
pub(crate) mod handshakes;
pub(crate) mod open_loop;
pub(crate) mod pgbench;
pub(crate) mod summary;
pub(crate) mod wrk;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;

use crate::bench::Bench;
use crate::machine::{Busy, CoreTimes};
use crate::process::{Launch, Process, ended_children_time};

/// How much longer than asked a load generator may take before it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// A load generator, and the load it makes.
pub(crate) trait Generator: fmt::Debug {
    /// Its name and version.
    fn version(&self) -> anyhow::Result<(&'static str, String)>;

    /// How to start it against `address`, on one thread.
    fn launch(
        &self,
        bench: &Bench,
        address: SocketAddr,
        length: Duration,
    ) -> anyhow::Result<Launch>;

    /// Whether the backend on the load's cores is what limits a run in the nature of things, as a
    /// database does behind a pool: then those cores are busy, and only the generator itself may
    /// not be.
    fn backend_may_limit(&self) -> bool {
        false
    }

    /// Reads its report.
    fn read(&self, bench: &Bench, printed: &str) -> anyhow::Result<Load>;
}

/// What a load generator did and saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Requests or queries answered.
    pub(crate) units: u64,
    pub(crate) seconds: f64,
    /// Failed requests, refused connections, wrong answers: anything.
    pub(crate) errors: u64,
    pub(crate) latency: Latency,
}

/// The same without latencies, which not every generator tells for free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Totals {
    pub(crate) units: u64,
    pub(crate) seconds: f64,
    pub(crate) errors: u64,
}

/// How long units took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_seconds: f64,
    pub(crate) p90_seconds: f64,
    pub(crate) p99_seconds: f64,
    pub(crate) p99_9_seconds: f64,
}

/// A run that is under way.
#[derive(Debug)]
pub(crate) struct Started<'a> {
    bench: &'a Bench,
    generator: &'a dyn Generator,
    process: Process,
    length: Duration,
    cores: CoreTimes,
    children: Duration,
}

/// Puts load on `address` for `length`, and says how busy that kept the cores.
pub(crate) fn run(
    bench: &Bench,
    generator: &dyn Generator,
    address: SocketAddr,
    length: Duration,
) -> anyhow::Result<(Load, Busy)> {
    start(bench, generator, address, length)?.finish()
}

/// Starts what [`run`] runs.
pub(crate) fn start<'a>(
    bench: &'a Bench,
    generator: &'a dyn Generator,
    address: SocketAddr,
    length: Duration,
) -> anyhow::Result<Started<'a>> {
    let (cores, children) = (CoreTimes::read(&bench.cores)?, ended_children_time()?);
    let process = generator.launch(bench, address, length)?.start(bench)?;
    Ok(Started { bench, generator, process, length, cores, children })
}

impl Started<'_> {
    /// Waits for the end and reads the report.
    pub(crate) fn finish(self) -> anyhow::Result<(Load, Busy)> {
        let Self { bench, generator, process, length, cores, children } = self;
        let printed = process.finish(length + PATIENCE)?;
        let busy = cores.busy_since(&bench.cores)?;
        let load = generator.read(bench, &printed).map_err(|e| {
            anyhow!("{e:#}; the load generator printed something else than expected:\n{printed}")
        })?;
        // Its core may be one of several; by itself it uses one at most.
        let own = ended_children_time()?.saturating_sub(children).as_secs_f64() / load.seconds;
        let own = own.min(1.0);
        let load_busy = if generator.backend_may_limit() { own } else { busy.load.max(own) };
        Ok((load, Busy { load: load_busy, ..busy }))
    }
}

impl Load {
    pub(crate) fn totals(self) -> Totals {
        Totals { units: self.units, seconds: self.seconds, errors: self.errors }
    }
}

impl Latency {
    /// `None` for no durations.
    fn of_sorted_micros(sorted: &[u64]) -> Option<Self> {
        let last = sorted.len().checked_sub(1)?;
        let quantile = |part: f64| sorted[(last as f64 * part).round() as usize] as f64 * 1e-6;
        Some(Self {
            p50_seconds: quantile(0.50),
            p90_seconds: quantile(0.90),
            p99_seconds: quantile(0.99),
            p99_9_seconds: quantile(0.999),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_durations() {
        let latency = Latency::of_sorted_micros(&(0..=1000).collect::<Vec<_>>()).unwrap();
        assert!((latency.p50_seconds - 500e-6).abs() < 1e-12);
        assert!((latency.p90_seconds - 900e-6).abs() < 1e-12);
        assert!((latency.p99_seconds - 990e-6).abs() < 1e-12);
        assert!((latency.p99_9_seconds - 999e-6).abs() < 1e-12);
        assert_eq!(Latency::of_sorted_micros(&[]), None);
    }
}
