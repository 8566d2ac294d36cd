//! The PostgreSQL pool in transaction mode, simple protocol.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;

use super::{Row, Running, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::load::Load;
use crate::load::pgbench::{self, Queries};
use crate::postgres::{self, Cluster, DATABASE, USER};
use crate::process::Launch;
use crate::run_dir::free_address;
use crate::template::fill;

const QUERIES: Queries = Queries { protocol: "simple", clients: 32 };
/// Fewer than clients, so that a query sometimes waits for its turn.
const POOL_SIZE: &str = "20";

#[derive(Debug)]
pub(crate) struct PoolSimple;

/// One PostgreSQL cluster, for all contenders.
#[derive(Debug)]
struct PoolStage {
    cluster: Cluster,
}

impl Row for PoolSimple {
    fn name(&self) -> &'static str {
        "pool-simple"
    }

    fn about(&self) -> &'static str {
        "pgbench -S, simple protocol, 32 clients on 20 server connections, transaction mode"
    }

    fn unit(&self) -> &'static str {
        "query"
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Pgbouncer]
    }

    fn goal(&self, peer: &Installed) -> Option<f64> {
        (peer.contender == Contender::Pgbouncer).then(|| {
            // Goals are set against Debian's 1.18 and against 1.25.
            if peer.generation().is_some_and(|generation| generation >= (1, 25)) {
                0.65
            } else {
                0.80
            }
        })
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        Ok(Box::new(PoolStage { cluster: Cluster::create(bench)? }))
    }
}

impl Stage for PoolStage {
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
                let text = fill(include_str!("../../configs/bs9-pool.toml"), &places)?;
                let config = bench.dir.write("bs9.toml", &text)?;
                launch.arguments(["serve", "--config"]).argument(config)
            }
            Contender::Pgbouncer => {
                bench.dir.write("users.txt", &format!("\"{USER}\" \"\"\n"))?;
                let text = fill(include_str!("../../configs/pgbouncer.ini"), &places)?;
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
        pgbench::run(bench, &self.cluster.client_at(address), QUERIES, length)
    }
}
