//! What runs during a soak.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;

use crate::bench::Bench;
use crate::http_client::HttpClient;
use crate::origin;
use crate::postgres::{Cluster, DATABASE, Place, USER};
use crate::process::{Launch, Process};
use crate::run_dir::free_address;
use crate::template::fill;

/// PostgreSQL, two endpoints of one cluster, and bs9 before them.
#[derive(Debug)]
pub(super) struct House {
    /// Where bs9 listens for HTTP, and for PostgreSQL.
    pub(super) web: SocketAddr,
    pub(super) db: SocketAddr,
    bs9: Process,
    steady: (SocketAddr, Process),
    shaky: (SocketAddr, Endpoint),
    cluster: Cluster,
}

#[derive(Debug)]
enum Endpoint {
    Alive(#[expect(dead_code, reason = "held for its end")] Process),
    DeadSince(Instant),
}

impl House {
    pub(super) fn open(bench: &Bench) -> anyhow::Result<Self> {
        let cluster = Cluster::create(bench, Place::Anywhere)?;
        let steady = origin::start(bench, origin::SMALL_BODY_BYTES)?;
        let (address, process) = origin::start(bench, origin::SMALL_BODY_BYTES)?;
        let (web, db) = (free_address()?, free_address()?);
        let config = configure(bench, &cluster, [web, db, steady.0, address], 0)?;
        let mut bs9 = Launch::contender(bench, "bs9", &bench.own_bs9()?)
            .arguments(["serve", "--config"])
            .argument(config)
            .start(bench)?;
        bs9.wait_until_it_accepts(web)?;
        bs9.wait_until_it_accepts(db)?;
        let shaky = (address, Endpoint::Alive(process));
        Ok(Self { web, db, bs9, steady, shaky, cluster })
    }

    pub(super) fn bs9_pid(&self) -> u32 {
        self.bs9.pid()
    }

    /// # Errors
    /// When bs9 has ended.
    pub(super) fn still_running(&mut self) -> anyhow::Result<()> {
        self.bs9.still_running()
    }

    /// Puts another generation in force.
    pub(super) fn reload(&self, bench: &Bench, generation: u32) -> anyhow::Result<()> {
        let addresses = [self.web, self.db, self.steady.0, self.shaky.0];
        configure(bench, &self.cluster, addresses, generation)?;
        let mut admin = HttpClient::connect_unix(&bench.dir.path().join("bs9.sock"))?;
        let outcome = admin.ask("POST", "/v1/reload")?;
        let said = String::from_utf8_lossy(&outcome.body);
        ensure!(outcome.status == 200, "the reload was answered {}: {said}", outcome.status);
        let answer = HttpClient::connect(self.web)?.get("/generation")?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(said == generation.to_string(), "after reload {generation}, generation {said}");
        Ok(())
    }

    /// Ends one endpoint with all its connections.
    pub(super) fn kill_endpoint(&mut self) {
        self.shaky.1 = Endpoint::DeadSince(Instant::now());
    }

    pub(super) fn endpoint_is_dead_since(&self) -> Option<Instant> {
        match self.shaky.1 {
            Endpoint::Alive(_) => None,
            Endpoint::DeadSince(since) => Some(since),
        }
    }

    pub(super) fn revive_endpoint(&mut self, bench: &Bench) -> anyhow::Result<()> {
        let process = origin::start_at(bench, self.shaky.0, origin::SMALL_BODY_BYTES)?;
        self.shaky.1 = Endpoint::Alive(process);
        Ok(())
    }
}

fn configure(
    bench: &Bench,
    cluster: &Cluster,
    addresses: [SocketAddr; 4],
    generation: u32,
) -> anyhow::Result<PathBuf> {
    let [web, db, steady, shaky] = addresses.map(|address| address.to_string());
    let (ip, port) = (cluster.address.ip().to_string(), cluster.address.port().to_string());
    let (generation, folder) = (generation.to_string(), bench.dir.path().display().to_string());
    let places = [
        ("folder", folder.as_str()),
        ("web", web.as_str()),
        ("db", db.as_str()),
        ("steady", steady.as_str()),
        ("shaky", shaky.as_str()),
        ("generation", generation.as_str()),
        ("server_ip", ip.as_str()),
        ("server_port", port.as_str()),
        ("database", DATABASE),
        ("user", USER),
    ];
    bench.dir.write("bs9.toml", &fill(include_str!("../../configs/bs9-soak.toml"), &places)?)
}
