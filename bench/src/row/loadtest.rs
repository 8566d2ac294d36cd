//! `bs9 loadtest` beside other load generators: here they are the contenders, and what they put
//! load on is the same nginx for all.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Peer, Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::http_client::HttpClient;
use crate::load::open_loop;
use crate::load::summary::Summary;
use crate::load::wrk::Wrk;
use crate::load::{Generator, Load, Totals};
use crate::measure::{Measure, Unit};
use crate::process::{Launch, Process, ended_children_time};
use crate::rounds::Figures;
use crate::run_dir::free_address;
use crate::template::fill;

const CONNECTIONS: u32 = 64;
/// What each request says beside its target and host: what bs9 sends by itself. nginx reads it, and
/// passes it on.
const ACCEPT: &str = "Accept: */*";
const AGENT: &str = concat!("User-Agent: bs9-loadtest/", env!("CARGO_PKG_VERSION"));
/// nginx compresses for who says this, and each answer anew: what it does for a request is then
/// much the same whether requests come one by one or many at once.
const ENCODING: &str = "Accept-Encoding: gzip";
/// Before it is compressed: some 150 µs of nginx's time.
const BODY_BYTES: usize = 16 * 1024;
/// A generator's CPU time is small beside its wait, and what it needs to start is part of it.
const LEAST_MEASURED: Duration = Duration::from_secs(4);
/// How much longer than asked a run may take before it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) static LOADTEST: Row = Row {
    name: "loadtest",
    about: "load generators, closed loop on 64 keep-alive connections, one thread on one core, at an nginx on another that compresses each answer",
    unit: Unit::REQUEST,
    measure: Measure::CpuAtSameRate,
    peers: &[Peer::at_most(Contender::Wrk, 1.00), Peer::at_most(Contender::H2load, 1.00)],
    limit: None,
    stage: |bench, _| Ok(Box::new(Target::start(bench)?)),
};

/// nginx, which all of them are to bring to its limit: it compresses each answer.
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
        let body = body();
        bench.dir.write_in("target", "body", &body)?;
        let places = [("listen", &*listen), ("folder", &*folder)];
        let config = fill(include_str!("../../configs/nginx-target.conf"), &places)?;
        let config = bench.dir.write("nginx-target.conf", &config)?;
        let launch = Launch::load(bench, "nginx-target", &nginx.program)
            .arguments(["-e", "stderr", "-p"])
            .argument(bench.dir.path())
            .argument("-c")
            .argument(config);
        let mut process = launch.start(bench)?;
        process.wait_until_it_accepts(address)?;
        let answer = HttpClient::connect(address)?.get("/")?;
        ensure!(answer.status == 200 && answer.body == body.as_bytes(), "not the expected answer");
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
                .arguments(["--header", AGENT, "--header", ACCEPT, "--header", ENCODING]),
            Contender::H2load => launch
                // It has a name of its own, as long as ours.
                .arguments(["--h1", "--threads=1", "--header", ACCEPT, "--header", ENCODING])
                .argument(format!("--clients={CONNECTIONS}"))
                .argument(format!("--duration={seconds}"))
                .argument(url),
            _ => launch
                .arguments(["loadtest", "--json", "--threads=1", "--header", ENCODING])
                .argument(format!("--connections={CONNECTIONS}"))
                .argument(format!("--duration={seconds}s"))
                .argument(url),
        })
    }
}

/// Text like that of an API, with numbers drawn by a linear congruence (Knuth's MMIX) that are not
/// compressed away.
fn body() -> String {
    let (mut text, mut drawn) = (String::from("["), 1u64);
    while text.len() < BODY_BYTES {
        drawn =
            drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (id, generation) = (drawn >> 40, drawn >> 20 & 0xffff);
        text.push_str(&format!(r#"{{"id":{id},"state":"active","generation":{generation}}},"#));
    }
    text.truncate(BODY_BYTES);
    text
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
        let measured = bench.measured.max(LEAST_MEASURED);
        let (load, cpu_seconds) = self.load(bench, generator, measured)?;
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
