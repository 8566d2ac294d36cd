//! What load generators say of a server that stands still for a second of ten. A tenth of all
//! requests is due then, so their p99 is nearly a second.

use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::loadtest::Target;
use super::{Peer, Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::load::h2load::H2load;
use crate::load::open_loop::OpenLoop;
use crate::load::wrk::Wrk;
use crate::load::{Generator, Load};
use crate::measure::{Measure, Unit};
use crate::rounds::Figures;

const CONNECTIONS: u32 = 64;
/// Far below what nginx can do, so that the stall is all that is to be seen.
const REQUESTS_PER_SECOND: u32 = 2_000;
const LENGTH: Duration = Duration::from_secs(10);
const STALL_AFTER: Duration = Duration::from_secs(4);
const STALL: Duration = Duration::from_secs(1);
/// How much longer than asked a run may take before it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) static STALL_ROW: Row = Row {
    name: "loadtest-stall",
    about: "load generators, 64 keep-alive connections, at an nginx that stands still for 1 s of 10: bs9 in open loop at 2,000 requests/s, wrk in closed loop, which corrects what it measures by the mean interval of its requests, and h2load, which does not; what p99 says of it",
    unit: Unit::REQUEST,
    measure: Measure::ToldP99,
    peers: &[Peer::shown(Contender::Wrk), Peer::shown(Contender::H2load)],
    limit: None,
    stage: |bench, _| Ok(Box::new(Stalling { target: Target::start(bench)? })),
};

/// The server that stands still.
#[derive(Debug)]
struct Stalling {
    target: Target,
}

impl Stalling {
    fn load(
        &self,
        bench: &Bench,
        generator: &dyn Generator,
        length: Duration,
        stalls: bool,
    ) -> anyhow::Result<Load> {
        let launch = generator.launch(bench, self.target.address, length)?;
        let process = launch.in_contenders_place(bench).start(bench)?;
        if stalls {
            bench.interrupt.pause(STALL_AFTER)?;
            self.signal(Signal::STOP)?;
            let paused = bench.interrupt.pause(STALL);
            self.signal(Signal::CONT)?;
            paused?;
        }
        generator.read(bench, &process.finish(length + PATIENCE)?)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.target.process.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.context("nginx has a process id")?;
        kill_process(pid, signal).with_context(|| format!("sending {signal:?} to nginx"))
    }
}

impl Stage for Stalling {
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(vec![("nginx", self.target.version.clone())])
    }

    fn most_rounds(&self) -> Option<u32> {
        Some(3)
    }

    fn lacks(&self, _: &Bench, _: &Installed) -> anyhow::Result<Option<String>> {
        Ok(None)
    }

    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures> {
        let wrk = Wrk::keep_alive(CONNECTIONS);
        let h2load = H2load { connections: CONNECTIONS, streams: None };
        let open = OpenLoop {
            program: contender.program.clone(),
            connections: CONNECTIONS,
            requests_per_second: REQUESTS_PER_SECOND,
        };
        let generator: &dyn Generator = match contender.contender {
            Contender::Wrk => &wrk,
            Contender::H2load => &h2load,
            _ => &open,
        };
        let warmup = self.load(bench, generator, bench.warmup, false)?;
        let load = self.load(bench, generator, LENGTH, true)?;
        Ok(Figures {
            value: load.latency.p99_seconds,
            units_per_second: Some(load.units as f64 / load.seconds),
            latency: Some(load.latency),
            errors: warmup.errors + load.errors,
            ..Figures::default()
        })
    }
}
