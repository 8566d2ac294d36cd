//! The usual turn: start a contender, probe it, warm it up, and measure it
//! while a load generator works on it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::bench::Bench;
use crate::contender::Installed;
use crate::load::Load;
use crate::measure::{Measure, Unit};
use crate::rounds::Figures;
use crate::row::{Running, Stage};

/// What a contender is put in front of, and how to tell that it works.
pub(crate) trait Service {
    /// Versions of the tools and backends that take part, by name.
    fn versions(&self) -> Vec<(&'static str, String)>;

    /// Writes a contender's configuration and starts it. It need not be ready yet.
    fn launch(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Running>;

    /// Makes sure that what answers at `address` does the work, and does it right.
    fn probe(&self, bench: &Bench, address: SocketAddr) -> anyhow::Result<()>;

    /// Puts the row's load on `address`.
    fn load(&self, bench: &Bench, address: SocketAddr, length: Duration) -> anyhow::Result<Load>;
}

/// A stage of such turns.
#[derive(Debug)]
pub(crate) struct UnderLoad<S> {
    pub(crate) service: S,
    pub(crate) unit: Unit,
    /// CPU time or p99: what a load can tell.
    pub(crate) measure: Measure,
}

impl<S: Service> Stage for UnderLoad<S> {
    fn versions(&self) -> Vec<(&'static str, String)> {
        self.service.versions()
    }

    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures> {
        let running = ready(&self.service, bench, contender)?;
        let warmup = self.service.load(bench, running.address, bench.warmup)?;

        let before = running.process.cpu_time()?;
        let load = self.service.load(bench, running.address, bench.measured)?;
        let cpu_seconds = running.process.cpu_time()?.saturating_sub(before).as_secs_f64();
        let units = load.units as f64 * self.unit.each;
        Ok(Figures {
            value: match self.measure {
                Measure::P99 => load.p99_seconds,
                Measure::Cpu | Measure::Memory | Measure::Time => cpu_seconds / units,
            },
            units_per_second: Some(units / load.seconds),
            p50_seconds: Some(load.p50_seconds),
            p99_seconds: Some(load.p99_seconds),
            memory_bytes: Some(running.process.memory_peak_bytes()?),
            core_ratio: Some(cpu_seconds / load.seconds),
            // An error of the warm-up is as bad as any.
            errors: warmup.errors + load.errors,
        })
    }
}

/// Starts a contender that answers, and answers rightly.
pub(crate) fn ready(
    service: &impl Service,
    bench: &Bench,
    contender: &Installed,
) -> anyhow::Result<Running> {
    let mut running = service.launch(bench, contender)?;
    running.process.wait_until_it_accepts(running.address)?;
    service.probe(bench, running.address)?;
    Ok(running)
}
