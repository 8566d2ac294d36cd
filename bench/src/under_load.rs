//! The usual turn: start a contender, probe it, warm it up, and measure it
//! while a load generator works on it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::bench::Bench;
use crate::contender::Installed;
use crate::load::{self, Generator};
use crate::measure::{Measure, Unit};
use crate::rounds::Figures;
use crate::row::{Row, Running, Stage};
use crate::syscalls::{Syscalls, Tracer};

/// How long system calls are counted: tracing makes a program many times slower,
/// but not its calls more.
const TRACED: Duration = Duration::from_secs(1);

/// One of a hundred is to be many.
const LEAST_FOR_P99: Duration = Duration::from_secs(3);

/// What a contender is put in front of, and how to tell that it works.
pub(crate) trait Service {
    /// What makes the row's load.
    fn generator(&self) -> &dyn Generator;

    /// Name and version of the backend, where it is a program of others.
    fn backend(&self) -> Option<(&'static str, String)> {
        None
    }

    /// Why this contender, although installed, cannot do this work here.
    fn lacks(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Option<String>>;

    /// Writes a contender's configuration and starts it. It need not be ready yet.
    fn launch(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Running>;

    /// Makes sure that what answers at `address` does the work, and does it right.
    fn probe(&self, bench: &Bench, address: SocketAddr) -> anyhow::Result<()>;
}

/// A stage of such turns.
#[derive(Debug)]
pub(crate) struct UnderLoad<S> {
    service: S,
    unit: Unit,
    /// CPU time or p99: what a load can tell.
    measure: Measure,
}

impl<S: Service> UnderLoad<S> {
    pub(crate) fn new(row: &Row, service: S) -> Self {
        Self { service, unit: row.unit, measure: row.measure }
    }
}

impl<S: Service> Stage for UnderLoad<S> {
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(self
            .service
            .backend()
            .into_iter()
            .chain([self.service.generator().version()?])
            .collect())
    }

    fn lacks(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Option<String>> {
        self.service.lacks(bench, contender)
    }

    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures> {
        let running = ready(&self.service, bench, contender)?;
        let generator = self.service.generator();
        let (warmup, _) = load::run(bench, generator, running.address, bench.warmup)?;

        let before = running.process.cpu_time()?;
        let measured = match self.measure {
            Measure::P99 | Measure::ToldP99 => bench.measured.max(LEAST_FOR_P99),
            Measure::Cpu | Measure::CpuAtSameRate | Measure::Memory | Measure::Time => {
                bench.measured
            }
        };
        let (load, busy) = load::run(bench, generator, running.address, measured)?;
        let cpu_seconds = running.process.cpu_time()?.saturating_sub(before).as_secs_f64();
        let units = load.units as f64 * self.unit.each;
        Ok(Figures {
            value: match self.measure {
                Measure::P99 | Measure::ToldP99 => load.latency.p99_seconds,
                Measure::Cpu | Measure::CpuAtSameRate | Measure::Memory | Measure::Time => {
                    cpu_seconds / units
                }
            },
            cpu_seconds_per_unit: Some(cpu_seconds / units),
            units_per_second: Some(units / load.seconds),
            latency: Some(load.latency),
            memory_bytes: Some(running.process.memory_peak_bytes()?),
            core_ratio: Some(cpu_seconds / load.seconds),
            busy: Some(busy),
            // An error of the warm-up is as bad as any.
            errors: warmup.errors + load.errors,
            lost_ratio: None,
        })
    }

    fn syscalls(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Option<Syscalls>> {
        if self.measure != Measure::Cpu {
            return Ok(None);
        }
        let running = ready(&self.service, bench, contender)?;
        let generator = self.service.generator();
        load::run(bench, generator, running.address, TRACED)?;
        let tracer = Tracer::attach(bench, &running.process)?;
        let (load, _) = load::run(bench, generator, running.address, TRACED)?;
        tracer.finish()?.over(load.units as f64 * self.unit.each).map(Some)
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
