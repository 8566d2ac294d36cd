//! A reload of a large configuration while requests are served.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{Row, Running, Stage};
use crate::bench::Bench;
use crate::contender::Installed;
use crate::http_client::HttpClient;
use crate::load::wrk::Wrk;
use crate::load::{self, Generator};
use crate::measure::{Measure, Unit};
use crate::origin;
use crate::process::{Launch, Process};
use crate::rounds::Figures;
use crate::run_dir::free_address;
use crate::statistics::Spread;
use crate::template::fill;

const ROUTES: usize = 10_000;
const CLUSTERS: usize = 1_000;
/// Routes that go to another cluster after each reload.
const CHANGED_ROUTES: usize = 100;
/// Reloads of one turn; the figure is their median.
const RELOADS: usize = 3;
const BETWEEN: Duration = Duration::from_millis(300);
/// How long requests come at least: all through the reloads.
const LOAD_LENGTH: Duration = Duration::from_secs(6);
/// What runs beside the reloads: some 1,500 requests a second. More would measure who gets how
/// much of the contender's one core, which a reload shares with the shard here.
const LOAD: Wrk = Wrk { think: Duration::from_millis(2), ..Wrk::keep_alive(4) };
const LIMIT: Duration = Duration::from_secs(30);

pub(super) static RELOAD: Row = Row {
    name: "reload",
    about: "POST /v1/reload with 10,000 routes and 1,000 clusters under 1,500 requests/s: until the new generation answers; median of 3",
    unit: Unit::RELOAD,
    measure: Measure::Time,
    peers: &[],
    limit: Some(0.100),
    stage: |bench, _| {
        let (origin, process) = origin::start(bench, origin::SMALL_BODY_BYTES)?;
        Ok(Box::new(Reloads { origin, _process: process }))
    },
};

#[derive(Debug)]
struct Reloads {
    origin: SocketAddr,
    /// Held for its end.
    _process: Process,
}

impl Stage for Reloads {
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(vec![LOAD.version()?])
    }

    fn lacks(&self, _: &Bench, _: &Installed) -> anyhow::Result<Option<String>> {
        Ok(None)
    }

    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures> {
        let address = free_address()?;
        let config = self.write(bench, address, 0)?;
        let mut running = Running {
            process: Launch::contender(bench, contender.contender.name(), &contender.program)
                .arguments(["serve", "--config"])
                .argument(config)
                .start(bench)?,
            address,
        };
        running.process.wait_until_it_accepts(address)?;
        origin::check(&HttpClient::connect(address)?.get("/")?, origin::SMALL_BODY_BYTES)?;

        let length = bench.measured.max(LOAD_LENGTH);
        let load = load::start(bench, &LOAD, address, length)?;
        let begun = Instant::now();
        let mut seconds = Vec::with_capacity(RELOADS);
        for generation in 1..=RELOADS {
            bench.interrupt.pause(BETWEEN)?;
            self.write(bench, address, generation)?;
            seconds.push(reload(bench, address, generation)?.as_secs_f64());
        }
        ensure!(begun.elapsed() < length, "{RELOADS} reloads took longer than {length:?} in all");
        let (load, busy) = load.finish()?;
        let spread = Spread::of(seconds).context("reloads take finite times")?;
        Ok(Figures {
            value: spread.median,
            latency: Some(load.latency),
            memory_bytes: Some(running.process.memory_peak_bytes()?),
            busy: Some(busy),
            errors: load.errors,
            ..Figures::default()
        })
    }
}

impl Reloads {
    fn write(
        &self,
        bench: &Bench,
        listen: SocketAddr,
        generation: usize,
    ) -> anyhow::Result<PathBuf> {
        let text =
            configuration(&bench.dir.path().join("bs9.sock"), listen, self.origin, generation)?;
        bench.dir.write("bs9.toml", &text)
    }
}

/// Asks for a reload, and for the route that tells the generation until it does.
fn reload(bench: &Bench, address: SocketAddr, generation: usize) -> anyhow::Result<Duration> {
    let mut admin = HttpClient::connect_unix(&bench.dir.path().join("bs9.sock"))?;
    let mut client = HttpClient::connect(address)?;
    let expected = generation.to_string();
    let begun = Instant::now();
    let outcome = admin.ask("POST", "/v1/reload")?;
    let said = String::from_utf8_lossy(&outcome.body);
    ensure!(outcome.status == 200, "the reload was answered {}: {said}", outcome.status);
    loop {
        let answer = client.get("/generation")?;
        ensure!(answer.status == 200, "during a reload, status {}", answer.status);
        if answer.body == expected.as_bytes() {
            return Ok(begun.elapsed());
        }
        bench.interrupt.check()?;
        ensure!(begun.elapsed() < LIMIT, "generation {generation} is not in force after {LIMIT:?}");
    }
}

/// A configuration of which each generation differs a little.
fn configuration(
    socket: &std::path::Path,
    listen: SocketAddr,
    origin: SocketAddr,
    generation: usize,
) -> anyhow::Result<String> {
    let (listen, origin) = (listen.to_string(), origin.to_string());
    let (number, socket) = (generation.to_string(), socket.display().to_string());
    let places = [
        ("socket", socket.as_str()),
        ("listen", listen.as_str()),
        ("origin", origin.as_str()),
        ("generation", number.as_str()),
    ];
    let mut text = fill(include_str!("../../configs/bs9-reload.toml"), &places)?;
    for cluster in 0..CLUSTERS {
        writeln!(text, "\n[clusters.service-{cluster}]\nendpoints = [\"{origin}\"]")?;
    }
    for route in 0..ROUTES {
        let moved = if route < CHANGED_ROUTES { generation } else { 0 };
        let (host, cluster) = (route % 500, (route + moved) % CLUSTERS);
        write!(
            text,
            "\n[[listeners.web.routes]]\nhost = \"host-{host}.example.com\"\n\
             path = \"/service/{route}/\"\ncluster = \"service-{cluster}\"\n"
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_valid_and_differ_in_some_routes() {
        let address: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let socket = std::path::Path::new("/run/bs9.sock");
        let [first, second] =
            [0, 1].map(|number| configuration(socket, address, address, number).unwrap());
        let changed = first.lines().zip(second.lines()).filter(|(a, b)| a != b).count();
        assert_eq!(changed, CHANGED_ROUTES + 1);
        assert_eq!(first.matches("[[listeners.web.routes]]").count(), ROUTES + 2);
    }
}
