//! What grows in the study, and bs9 with so much of it.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use crate::bench::Bench;
use crate::callgrind::Instrumented;
use crate::http_client::HttpClient;
use crate::origin;
use crate::run_dir::free_address;
use crate::statistics::Spread;
use crate::template::fill;

/// Something there can be more or less of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dimension {
    Routes,
    Expressions,
    Clusters,
    Endpoints,
    Connections,
    Shards,
}

/// What bs9 does with so much of something.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Point {
    pub(super) size: usize,
    /// For a request.
    pub(super) instructions: f64,
    /// By the clock, whether there are requests or not: sweeps, health, statistics.
    pub(super) instructions_per_second: f64,
}

/// A configuration, and how it is used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    routes: usize,
    /// Whether they match by regular expressions.
    expressions: bool,
    clusters: usize,
    /// Of each cluster.
    endpoints: usize,
    connections: usize,
    shards: usize,
}

/// Requests that are counted, in stretches of so many.
const STRETCHES: usize = 30;
const STRETCH_TIMES: usize = 20;
/// And then what is done without any.
const IDLE: Duration = Duration::from_secs(2);
/// Requests before them go once through everything, and this often.
const WARMUP_TIMES: usize = 200;
/// Random picks until each endpoint most likely was picked: this many for each.
const PICKS_PER_ENDPOINT: usize = 8;

impl Dimension {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Routes => "routes",
            Self::Expressions => "expressions",
            Self::Clusters => "clusters",
            Self::Endpoints => "endpoints",
            Self::Connections => "connections",
            Self::Shards => "shards",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Routes => "routes by host and path prefix; requests for ten of them in turn",
            Self::Expressions => {
                "routes of one host by regular expression; requests for ten of them in turn"
            }
            Self::Clusters => "clusters behind 100 routes",
            Self::Endpoints => "endpoints of one cluster, picked as bs9 does by default",
            Self::Connections => "client connections, each used in turn",
            Self::Shards => "shards, with 64 client connections over them",
        }
    }

    /// Powers of ten, up to `most`; of shards, of two.
    pub(super) fn sizes(self, most: usize) -> Vec<usize> {
        let (factor, end) = match self {
            Self::Routes | Self::Expressions | Self::Clusters => (10, 10_000),
            // More would be more than a process may have open on many a machine.
            Self::Endpoints | Self::Connections => (10, 1_000),
            Self::Shards => (2, 16),
        };
        let sizes = std::iter::successors(Some(1), |size| Some(size * factor));
        sizes.take_while(|size| *size <= end.min(most)).collect()
    }

    fn layout(self, size: usize) -> Layout {
        match self {
            Self::Routes => Layout { routes: size, ..Layout::ONE },
            Self::Expressions => Layout { routes: size, expressions: true, ..Layout::ONE },
            Self::Clusters => Layout { routes: 100, clusters: size, ..Layout::ONE },
            Self::Endpoints => Layout { endpoints: size, ..Layout::ONE },
            Self::Connections => Layout { connections: size, ..Layout::ONE },
            Self::Shards => Layout { connections: 64, shards: size, ..Layout::ONE },
        }
    }

    /// What bs9 does with so much of it.
    pub(super) fn count(
        self,
        bench: &Bench,
        origin: SocketAddr,
        size: usize,
    ) -> anyhow::Result<Point> {
        let mut loaded = self.layout(size).start(bench, origin, size * PICKS_PER_ENDPOINT)?;
        Ok(Point {
            size,
            instructions: loaded.request(bench)?.median,
            instructions_per_second: loaded.idle(bench)?,
        })
    }
}

impl Layout {
    const ONE: Self = Self {
        routes: 1,
        expressions: false,
        clusters: 1,
        endpoints: 1,
        connections: 1,
        shards: 1,
    };

    /// So many routes over so many clusters.
    pub(super) fn of_routes(routes: usize, clusters: usize) -> Self {
        Self { routes, clusters, ..Self::ONE }
    }

    /// bs9 with it, after at least so many requests.
    pub(super) fn start(
        &self,
        bench: &Bench,
        origin: SocketAddr,
        warmup: usize,
    ) -> anyhow::Result<Loaded> {
        let address = free_address()?;
        let text = self.configuration(bench.dir.path(), address, origin.port())?;
        let config = bench.dir.write("bs9.toml", &text)?;
        let ask = || HttpClient::connect(address)?.get("/service/0/x").map(drop);
        let bs9 = Instrumented::start(bench, &config, ask)?;
        let clients: anyhow::Result<Vec<_>> =
            (0..self.connections).map(|_| HttpClient::connect(address)).collect();
        let mut rounds = Rounds { clients: clients?, paths: self.paths(), at: 0 };
        let warmup = (rounds.clients.len() + WARMUP_TIMES).max(warmup);
        rounds.ask(bench, warmup.min(20_000))?;
        Ok(Loaded { bs9, rounds })
    }

    /// Which cluster a route leads to: neighbours to the same, so that those asked for differ.
    fn cluster_of(&self, route: usize) -> usize {
        route * self.clusters / self.routes
    }

    /// Routes that requests go to: spread evenly, and as many whatever the number of routes.
    fn paths(&self) -> Vec<String> {
        (0..10).map(|part| format!("/service/{}/x", part * self.routes / 10)).collect()
    }

    fn configuration(
        &self,
        folder: &std::path::Path,
        listen: SocketAddr,
        origin_port: u16,
    ) -> anyhow::Result<String> {
        let (listen, shards) = (listen.to_string(), self.shards.to_string());
        let folder = folder.display().to_string();
        let places =
            [("listen", listen.as_str()), ("shards", shards.as_str()), ("folder", folder.as_str())];
        let mut text = fill(include_str!("../../configs/bs9-scale.toml"), &places)?;
        for cluster in 0..self.clusters {
            let endpoints = (0..self.endpoints).map(|number| endpoint(number, origin_port));
            let endpoints: Vec<_> = endpoints.map(|address| format!("\"{address}\"")).collect();
            let list = endpoints.join(", ");
            write!(text, "\n[clusters.cluster-{cluster}]\nendpoints = [{list}]\n")?;
        }
        for route in 0..self.routes {
            let cluster = self.cluster_of(route);
            let path = match self.expressions {
                true => format!("~^/service/{route}/[a-z]+$"),
                false => format!("/service/{route}/"),
            };
            write!(
                text,
                "\n[[listeners.web.routes]]\npath = \"{path}\"\ncluster = \"cluster-{cluster}\"\n"
            )?;
        }
        Ok(text)
    }
}

/// The same origin under another of its addresses: all of 127.0.0.0/8 is this machine.
fn endpoint(number: usize, port: u16) -> SocketAddr {
    let [_, second, third, fourth] = (number as u32 + 1).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, second, third, fourth), port))
}

/// bs9 with a layout, and who asks it.
#[derive(Debug)]
pub(super) struct Loaded {
    bs9: Instrumented,
    rounds: Rounds,
}

impl Loaded {
    /// Instructions of a request, stretch by stretch. Under valgrind a second holds few requests,
    /// which would look as if they paid for what is done each second anyway: most of many short
    /// stretches are without it, and the cheapest is, however slow the machine. A connection that
    /// is quiet for a second is put away, and its next request costs more: those of a stretch are
    /// used right before it, as they would be where a second holds many requests.
    pub(super) fn request(&mut self, bench: &Bench) -> anyhow::Result<Spread> {
        let mut stretches = Vec::with_capacity(STRETCHES);
        for _ in 0..STRETCHES {
            let at = self.rounds.at;
            self.rounds.ask(bench, STRETCH_TIMES)?;
            self.rounds.at = at;
            let cost = self.bs9.count(|| self.rounds.ask(bench, STRETCH_TIMES))?;
            stretches.push(cost.instructions / STRETCH_TIMES as f64);
        }
        Spread::of(stretches).context("counts are finite")
    }

    /// Instructions of a second without requests.
    fn idle(&mut self, bench: &Bench) -> anyhow::Result<f64> {
        let idle = self.bs9.count(|| bench.interrupt.pause(IDLE))?;
        Ok(idle.instructions / IDLE.as_secs_f64())
    }
}

/// Clients that ask in turn, for one path after the other.
#[derive(Debug)]
struct Rounds {
    clients: Vec<HttpClient<TcpStream>>,
    paths: Vec<String>,
    at: usize,
}

impl Rounds {
    fn ask(&mut self, bench: &Bench, times: usize) -> anyhow::Result<()> {
        for _ in 0..times {
            bench.interrupt.check()?;
            let (clients, paths) = (self.clients.len(), self.paths.len());
            let client = &mut self.clients[self.at % clients];
            let path = &self.paths[self.at / clients % paths];
            origin::check(&client.get(path)?, origin::SMALL_BODY_BYTES)?;
            self.at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sizes_grow_up_to_their_end() {
        assert_eq!(Dimension::Routes.sizes(usize::MAX), [1, 10, 100, 1_000, 10_000]);
        assert_eq!(Dimension::Routes.sizes(99), [1, 10]);
        assert_eq!(Dimension::Shards.sizes(usize::MAX), [1, 2, 4, 8, 16]);
    }

    #[test]
    fn every_layout_makes_a_valid_configuration() {
        let listen = "127.0.0.1:4000".parse().unwrap();
        for dimension in Dimension::value_variants() {
            for size in dimension.sizes(100) {
                let layout = dimension.layout(size);
                let text = layout.configuration("/run".as_ref(), listen, 4001).unwrap();
                let config = bs9_config::parse_str("bs9.toml", &text).unwrap();
                assert_eq!(config.clusters.len(), layout.clusters, "{dimension:?} {size}");
            }
        }
    }

    #[test]
    fn routes_that_are_asked_for_lead_to_different_clusters() {
        for (routes, clusters) in [(10, 10), (100, 10), (100, 10_000), (10_000, 1_000)] {
            let layout = Layout::of_routes(routes, clusters);
            let asked: BTreeSet<_> =
                (0..10).map(|part| layout.cluster_of(part * routes / 10)).collect();
            assert_eq!(asked.len(), 10, "{routes} routes, {clusters} clusters: {asked:?}");
            assert!(asked.last().is_some_and(|last| *last < clusters));
        }
    }

    #[test]
    fn endpoints_have_addresses_of_their_own() {
        assert_eq!(endpoint(0, 80).to_string(), "127.0.0.1:80");
        assert_eq!(endpoint(255, 80).to_string(), "127.0.1.0:80");
    }
}
