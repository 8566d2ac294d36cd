//! HTTP/1.1 and TCP in plain text.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use super::{Peer, Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::http_client::HttpClient;
use crate::http_service::{Carry, HttpService};
use crate::idle::{Idle, Idler};
use crate::load;
use crate::load::open_loop::OpenLoop;
use crate::load::wrk::{Reuse, Wrk};
use crate::measure::{Measure, Unit};
use crate::origin;
use crate::rounds::Figures;
use crate::under_load::{UnderLoad, ready};

const KEPT: Wrk = Wrk::keep_alive(64);

/// A new connection for each request, as many as leave wrk and the origin room on their core.
const CLOSED: Wrk =
    Wrk { reuse: Reuse::Close, think: Duration::from_millis(2), ..Wrk::keep_alive(32) };

/// Bodies of 1 MiB: about as many a second as a core carries in a third of its time,
/// where wrk and the origin share another one.
const LARGE: Wrk = Wrk { think: Duration::from_millis(24), ..Wrk::keep_alive(16) };

pub(super) static KEEPALIVE: Row = Row {
    name: "http-keepalive",
    about: "HTTP/1.1, 64 keep-alive connections, 130-byte body, one worker on one core",
    unit: Unit::REQUEST,
    measure: Measure::Cpu,
    peers: &[
        Peer::at_most(Contender::Nginx, 0.80).with_milestone(0.95),
        Peer::at_most(Contender::Haproxy, 0.80),
        Peer::at_most(Contender::Pingora, 0.45).with_milestone(0.55),
        Peer::shown(Contender::Caddy),
        Peer::shown(Contender::Varnish),
    ],
    limit: None,
    stage: |bench, row| under_load(bench, row, Carry::SmallHttp, KEPT),
};

pub(super) static CONNECTIONS: Row = Row {
    name: "http-connections",
    about: "HTTP/1.1, a new connection for each request, 32 clients that pause 2 ms, 130-byte body",
    unit: Unit::CONNECTION,
    measure: Measure::Cpu,
    peers: &[Peer::at_most(Contender::Nginx, 0.90), Peer::at_most(Contender::Haproxy, 0.90)],
    limit: None,
    stage: |bench, row| under_load(bench, row, Carry::SmallHttp, CLOSED),
};

pub(super) static BULK: Row = Row {
    name: "http-bulk",
    about: "HTTP/1.1, 16 keep-alive connections that pause 24 ms between 1 MiB bodies; HAProxy splices",
    unit: Unit::GIGABYTE_OF_MEBIBYTES,
    measure: Measure::Cpu,
    peers: &[Peer::at_most(Contender::Nginx, 0.60), Peer::at_most(Contender::Haproxy, 0.95)],
    limit: None,
    stage: |bench, row| under_load(bench, row, Carry::LargeHttp, LARGE),
};

pub(super) static TUNNEL: Row = Row {
    name: "tcp-bulk",
    about: "TCP, 16 tunnels that pause 24 ms between answers of 1 MiB; HAProxy splices",
    unit: Unit::GIGABYTE_OF_MEBIBYTES,
    measure: Measure::Cpu,
    peers: &[Peer::at_most(Contender::Nginx, 0.50), Peer::at_most(Contender::Haproxy, 0.95)],
    limit: None,
    stage: |bench, row| under_load(bench, row, Carry::Tunnel, LARGE),
};

pub(super) static OPEN: Row = Row {
    name: "http-open",
    about: "HTTP/1.1, 64 connections, open loop at up to 70 % of what the slowest peer can do; p99 from when a request was due",
    unit: Unit::REQUEST,
    measure: Measure::P99,
    // Against the best of them: so against each.
    peers: &[Peer::at_most(Contender::Nginx, 0.90), Peer::at_most(Contender::Haproxy, 0.90)],
    limit: None,
    stage: |bench, row| Ok(Box::new(Steady::start(bench, row)?)),
};

pub(super) static IDLE: Row = Row {
    name: "http-idle",
    about: "HTTP/1.1, 8,000 idle keep-alive connections after one request each; growth of resident memory",
    unit: Unit::CONNECTION,
    measure: Measure::Memory,
    peers: &[Peer::at_most(Contender::Nginx, 0.80), Peer::shown(Contender::Haproxy)],
    limit: Some(4.0 * 1024.0),
    stage: |bench, _| {
        let service = HttpService::start(bench, Carry::SmallHttp, KEPT)?;
        Ok(Box::new(Idle { service, idler: KeptConnection, count: 8_000 }))
    },
};

fn under_load(bench: &Bench, row: &Row, carry: Carry, load: Wrk) -> anyhow::Result<Box<dyn Stage>> {
    Ok(Box::new(UnderLoad::new(row, HttpService::start(bench, carry, load)?)))
}

/// Load at a rate that all of them can bear, and so can those who make it.
#[derive(Debug)]
struct Steady {
    under_load: UnderLoad<HttpService>,
    rate: String,
}

impl Steady {
    /// How much of the slowest peer's peak: the first at which the load's cores have room left.
    const PERCENT: [u32; 5] = [70, 60, 50, 40, 30];
    /// How busy they may be. Where they are busier, latencies are theirs.
    const MOST_BUSY: f64 = 0.80;
    const PROBED: Duration = Duration::from_secs(1);
    const PEAK_LENGTH: Duration = Duration::from_secs(2);

    /// Finds out what each peer can do at most, in closed loop, and then what the load can.
    fn start(bench: &Bench, row: &Row) -> anyhow::Result<Self> {
        let service = HttpService::start(bench, Carry::SmallHttp, KEPT)?;
        let peers = row.peers.iter().filter_map(|peer| bench.installed(peer.contender));
        let mut slowest: Option<(f64, &Installed)> = None;
        for peer in peers {
            let running = ready(&service, bench, peer)?;
            load::run(bench, &KEPT, running.address, bench.warmup)?;
            let (load, _) = load::run(bench, &KEPT, running.address, Self::PEAK_LENGTH)?;
            let peak = load.units as f64 / load.seconds;
            if slowest.is_none_or(|(least, _)| peak < least) {
                slowest = Some((peak, peer));
            }
        }
        let (peak, peer) = slowest.context("no peer is installed whose peak could be found")?;
        let (percent, load) = Self::bearable(bench, &service, peak, peer)?;
        let rate = format!("{} requests/s, {percent} % of that", load.requests_per_second);
        Ok(Self { under_load: UnderLoad::new(row, service.under(load)), rate })
    }

    /// The load at the highest part of `peak` that leaves its own cores some room.
    fn bearable(
        bench: &Bench,
        service: &HttpService,
        peak: f64,
        peer: &Installed,
    ) -> anyhow::Result<(u32, OpenLoop)> {
        let program = bench.own_bs9().context("for `bs9 loadtest`")?;
        let at = |percent: u32| OpenLoop {
            program: program.clone(),
            connections: 64,
            requests_per_second: (peak * f64::from(percent) / 100.0) as u32,
        };
        let running = ready(service, bench, peer)?;
        for percent in Self::PERCENT {
            let (_, busy) = load::run(bench, &at(percent), running.address, Self::PROBED)?;
            if busy.load <= Self::MOST_BUSY {
                return Ok((percent, at(percent)));
            }
        }
        let least = Self::PERCENT[Self::PERCENT.len() - 1];
        Ok((least, at(least)))
    }
}

impl Stage for Steady {
    fn versions(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let rate = [("rate", self.rate.clone())];
        Ok(self.under_load.versions()?.into_iter().chain(rate).collect())
    }

    fn lacks(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Option<String>> {
        self.under_load.lacks(bench, contender)
    }

    fn turn(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Figures> {
        self.under_load.turn(bench, contender)
    }
}

/// Connections that have had one answer, and now wait.
#[derive(Debug)]
struct KeptConnection;

impl Idler for KeptConnection {
    type Client = HttpClient<std::net::TcpStream>;

    fn open(&self, address: SocketAddr) -> anyhow::Result<Self::Client> {
        HttpClient::connect(address)
    }

    fn use_once(&self, client: &mut Self::Client) -> anyhow::Result<()> {
        origin::check(&client.get("/")?, origin::SMALL_BODY_BYTES)
    }
}
