//! `bs9 loadtest` beside other load generators: here they are the contenders, and what they put
//! load on is the same nginx for all.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use super::{Peer, Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::http_client::HttpClient;
use crate::load::open_loop;
use crate::load::summary::Summary;
use crate::load::wrk::Wrk;
use crate::load::{Generator, Load, Totals};
use crate::measure::{Measure, Unit};
use crate::origin;
use crate::process::{Launch, Process, ended_children_time};
use crate::rounds::Figures;
use crate::run_dir::free_address;
use crate::template::fill;

const CONNECTIONS: u32 = 64;
/// What each request says beside its target and host: what bs9 sends by itself. nginx reads it, and
/// passes it on.
const ACCEPT: &str = "Accept: */*";
const AGENT: &str = concat!("User-Agent: bs9-loadtest/", env!("CARGO_PKG_VERSION"));
/// How much longer than asked a run may take before it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) static LOADTEST: Row = Row {
    name: "loadtest",
    about: "load generators, closed loop on 64 keep-alive connections, one thread on one core, at nginx on another",
    unit: Unit::REQUEST,
    measure: Measure::CpuAtSameRate,
    peers: &[Peer::at_most(Contender::Wrk, 1.00), Peer::at_most(Contender::H2load, 1.00)],
    limit: None,
    stage: |bench, _| Ok(Box::new(Target::start(bench)?)),
};

/// nginx, which all of them are to bring to its limit.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) version: String,
    pub(super) process: Process,
}

impl Target {
    pub(super) fn start(bench: &Bench) -> anyhow::Result<Self> {
        let nginx = bench.installed(Contender::Nginx).context("nginx is not installed")?;
        let address = free_address()?;
        let (listen, folder) = (address.to_string(), bench.dir.path().display().to_string());
        let body = String::from_utf8(origin::body(origin::SMALL_BODY_BYTES))?;
        let places = [("listen", &*listen), ("folder", &*folder), ("body", &*body)];
        let config = fill(include_str!("../../configs/nginx-target.conf"), &places)?;
        let config = bench.dir.write("nginx-target.conf", &config)?;
        let launch = Launch::load(bench, "nginx-target", &nginx.program)
            .arguments(["-e", "stderr", "-p"])
            .argument(bench.dir.path())
            .argument("-c")
            .argument(config);
        let mut process = launch.start(bench)?;
        process.wait_until_it_accepts(address)?;
        origin::check(&HttpClient::connect(address)?.get("/")?, origin::SMALL_BODY_BYTES)?;
        Ok(Self { address, version: nginx.version.clone(), process })
    }

    /// Lets a generator work for `length`; says what it did, and the CPU seconds that took.
    fn load(
        &self,
        bench: &Bench,
        generator: &Installed,
        length: Duration,
    ) -> anyhow::Result<(Totals, f64)> {
        let before = ended_children_time()?;
        let process =
            self.launch(bench, generator, length)?.in_contenders_place(bench).start(bench)?;
        let printed = process.finish(length + PATIENCE)?;
        let spent = ended_children_time()?.saturating_sub(before);
        Ok((read(generator.contender, &printed)?, spent.as_secs_f64()))
    }

    fn launch(
        &self,
        bench: &Bench,
        generator: &Installed,
        length: Duration,
    ) -> anyhow::Result<Launch> {
        let (seconds, url) = (length.as_secs().max(1), format!("http://{}/", self.address));
        let launch = Launch::contender(bench, generator.contender.name(), &generator.program);
        Ok(match generator.contender {
            Contender::Wrk => Wrk::keep_alive(CONNECTIONS)
                .launch(bench, self.address, length)?
                .arguments(["--header", AGENT, "--header", ACCEPT]),
            Contender::H2load => launch
                // It has a name of its own, as long as ours.
                .arguments(["--h1", "--threads=1", "--header", ACCEPT])
                .argument(format!("--clients={CONNECTIONS}"))
                .argument(format!("--duration={seconds}"))
                .argument(url),
            _ => launch
                .arguments(["loadtest", "--json", "--threads=1"])
                .argument(format!("--connections={CONNECTIONS}"))
                .argument(format!("--duration={seconds}s"))
                .argument(url),
        })
    }
}

fn read(generator: Contender, printed: &str) -> anyhow::Result<Totals> {
    match generator {
        Contender::Wrk => {
            Summary::find(printed).map(Load::totals).context("wrk's script printed no summary")
        }
        Contender::H2load => Totals::find(printed).context("h2load printed no totals"),
        _ => open_loop::parse(printed).map(Load::totals),
    }
}

impl Stage for Target {
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(vec![("nginx", self.version.clone())])
    }

    fn lacks(&self, _: &Bench, _: &Installed) -> anyhow::Result<Option<String>> {
        Ok(None)
    }

    fn turn(&self, bench: &Bench, generator: &Installed) -> anyhow::Result<Figures> {
        let (warmup, _) = self.load(bench, generator, bench.warmup)?;
        let (load, cpu_seconds) = self.load(bench, generator, bench.measured)?;
        Ok(Figures {
            value: cpu_seconds / load.units as f64,
            cpu_seconds_per_unit: Some(cpu_seconds / load.units as f64),
            units_per_second: Some(load.units as f64 / load.seconds),
            core_ratio: Some(cpu_seconds / load.seconds),
            errors: warmup.errors + load.errors,
            ..Figures::default()
        })
    }
}
