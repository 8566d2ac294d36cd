//! What the pool rows share: a PostgreSQL cluster, and how each pool is put in
//! front of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;

use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::load::Load;
use crate::load::pgbench::{self, Queries};
use crate::measure::Goal;
use crate::postgres::{self, Cluster, DATABASE, USER};
use crate::process::Launch;
use crate::row::Running;
use crate::run_dir::free_address;
use crate::template::fill;
use crate::under_load::Service;

/// Fewer than clients, so that a query sometimes waits for its turn.
const POOL_SIZE: &str = "20";

/// One PostgreSQL cluster, for all contenders, and pgbench.
#[derive(Debug)]
pub(crate) struct PoolService {
    cluster: Cluster,
    queries: Queries,
}

impl PoolService {
    /// Makes a cluster for this load.
    pub(crate) fn start(bench: &Bench, queries: Queries) -> anyhow::Result<Self> {
        Ok(Self { cluster: Cluster::create(bench)?, queries })
    }
}

impl Service for PoolService {
    fn versions(&self) -> Vec<(&'static str, String)> {
        vec![("PostgreSQL", self.cluster.version.clone())]
    }

    fn launch(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Running> {
        let address = free_address()?;
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let server = self.cluster.address;
        let (server_ip, server_port) = (server.ip().to_string(), server.port().to_string());
        let folder = bench.dir.path().display().to_string();
        let places = [
            ("ip", ip.as_str()),
            ("port", port.as_str()),
            ("server_ip", server_ip.as_str()),
            ("server_port", server_port.as_str()),
            ("database", DATABASE),
            ("user", USER),
            ("pool_size", POOL_SIZE),
            ("folder", folder.as_str()),
        ];
        let launch = Launch::contender(bench, contender.contender.name(), &contender.program);
        let launch = match contender.contender {
            Contender::Bs9 => {
                let text = fill(include_str!("../configs/bs9-pool.toml"), &places)?;
                let config = bench.dir.write("bs9.toml", &text)?;
                launch.arguments(["serve", "--config"]).argument(config)
            }
            Contender::Pgbouncer => {
                bench.dir.write("users.txt", &format!("\"{USER}\" \"\"\n"))?;
                let text = fill(include_str!("../configs/pgbouncer.ini"), &places)?;
                let config = bench.dir.write("pgbouncer.ini", &text)?;
                launch.argument(config).account(postgres::account()?.as_ref())
            }
            other => bail!("{} is no PostgreSQL pool", other.name()),
        };
        Ok(Running { process: launch.start(bench)?, address })
    }

    fn probe(&self, bench: &Bench, address: SocketAddr) -> anyhow::Result<()> {
        self.cluster.client_at(address).probe(bench)
    }

    fn load(&self, bench: &Bench, address: SocketAddr, length: Duration) -> anyhow::Result<Load> {
        pgbench::run(bench, &self.cluster.client_at(address), self.queries, length)
    }
}

/// The goal for CPU time per query. There is one for Debian's PgBouncer 1.18,
/// and one for 1.25, which does more for each query.
pub(crate) fn cpu_goal(peer: &Installed) -> Option<Goal> {
    (peer.contender == Contender::Pgbouncer).then(|| {
        let newer = peer.generation().is_some_and(|generation| generation >= (1, 25));
        Goal::at_most(if newer { 0.65 } else { 0.80 })
    })
}
