//! What the pool rows share: a PostgreSQL cluster, and how each pool is put in
//! front of it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;

use crate::bench::Bench;
use crate::certificate::Certificate;
use crate::contender::{Contender, Installed};
use crate::load::Generator;
use crate::load::crowd::Crowd;
use crate::load::pgbench::{Pgbench, Queries};
use crate::postgres::{self, Cluster, DATABASE, Place, USER};
use crate::process::Launch;
use crate::row::Running;
use crate::run_dir::free_address;
use crate::support;
use crate::template::fill;
use crate::under_load::Service;

/// Fewer than clients, so that a query sometimes waits for its turn.
const POOL_SIZE: &str = "20";

/// From so many clients on pgbench itself would be the limit.
const CROWD: u32 = 1_000;

/// One PostgreSQL cluster, for all contenders, and pgbench or what does its work for a crowd.
#[derive(Debug)]
pub(crate) struct PoolService {
    cluster: Cluster,
    pgbench: Pgbench,
    crowd: Option<Crowd>,
    /// For clients, where they speak TLS.
    certificate: Option<Certificate>,
    /// Shards of bs9, each on a core of its own.
    shards: usize,
}

impl PoolService {
    /// Makes a cluster for this load, beside it.
    pub(crate) fn start(bench: &Bench, queries: Queries) -> anyhow::Result<Self> {
        Self::start_at(Place::BesideLoad, bench, queries)
    }

    /// Makes a cluster for this load.
    pub(crate) fn start_at(place: Place, bench: &Bench, queries: Queries) -> anyhow::Result<Self> {
        let cluster = Cluster::create(bench, place)?;
        let pgbench = Pgbench { tools: cluster.tools.clone(), queries };
        let crowd = match queries.clients {
            CROWD.. => Some(Crowd { program: bench.own_bs9()?, clients: queries.clients }),
            _ => None,
        };
        let certificate = queries.tls.then(|| Certificate::create(bench)).transpose()?;
        Ok(Self { cluster, pgbench, crowd, certificate, shards: 1 })
    }

    /// The same with more shards.
    pub(crate) fn with_shards(self, shards: usize) -> Self {
        Self { shards, ..self }
    }

    /// Writes the contender's configuration.
    pub(crate) fn configure(
        &self,
        bench: &Bench,
        contender: Contender,
        address: SocketAddr,
    ) -> anyhow::Result<PathBuf> {
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let server = self.cluster.address;
        let (server_ip, server_port) = (server.ip().to_string(), server.port().to_string());
        let folder = bench.dir.path().display().to_string();
        let shards = self.shards_of(contender).to_string();
        let tls = self.certificate.as_ref().map(|made| tls_of(contender, made));
        let mut places = vec![
            ("ip", ip.as_str()),
            ("port", port.as_str()),
            ("server_ip", server_ip.as_str()),
            ("server_port", server_port.as_str()),
            ("database", DATABASE),
            ("user", USER),
            ("pool_size", POOL_SIZE),
            ("folder", folder.as_str()),
            ("tls", tls.as_deref().unwrap_or_default()),
        ];
        let template = match contender {
            Contender::Bs9 | Contender::Bs9OneShard => {
                places.push(("shards", shards.as_str()));
                include_str!("../configs/bs9-pool.toml")
            }
            Contender::Pgbouncer | Contender::NewerPgbouncer => {
                include_str!("../configs/pgbouncer.ini")
            }
            other => bail!("{} is no PostgreSQL pool", other.name()),
        };
        bench.dir.write(&format!("{}.conf", contender.name()), &fill(template, &places)?)
    }

    fn shards_of(&self, contender: Contender) -> usize {
        if contender == Contender::Bs9 { self.shards } else { 1 }
    }
}

/// What a contender's configuration has to say to speak TLS with its clients.
fn tls_of(contender: Contender, made: &Certificate) -> String {
    if contender.is_pgbouncer() {
        // It runs as another account, which may read this one.
        let both = made.both.display();
        return format!(
            "client_tls_sslmode = require\nclient_tls_protocols = tlsv1.3\n\
             client_tls_cert_file = {both}\nclient_tls_key_file = {both}"
        );
    }
    let (certificate, key) = (made.certificate.display(), made.key.display());
    format!(
        "[listeners.db.tls]\nsslmode = \"require\"\nmin_version = \"1.3\"\n\
         certificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]"
    )
}

impl Service for PoolService {
    fn generator(&self) -> &dyn Generator {
        match &self.crowd {
            Some(crowd) => crowd,
            None => &self.pgbench,
        }
    }

    fn backend(&self) -> Option<(&'static str, String)> {
        Some(("PostgreSQL", self.cluster.version.clone()))
    }

    fn lacks(&self, _: &Bench, contender: &Installed) -> anyhow::Result<Option<String>> {
        let prepared = self.pgbench.queries.protocol == "prepared";
        Ok(match contender.contender {
            Contender::Bs9 if prepared && !support::knows_key(&contender.program, "prepared")? => {
                Some("prepared statements in transaction mode: not supported by this build".into())
            }
            who if prepared && who.is_pgbouncer() && !contender.is_since((1, 21)) => {
                Some("has prepared statements in transaction mode since 1.21".to_owned())
            }
            _ => None,
        })
    }

    fn launch(&self, bench: &Bench, contender: &Installed) -> anyhow::Result<Running> {
        let address = free_address()?;
        let who = contender.contender;
        let config = self.configure(bench, who, address)?;
        let cores = self.shards_of(who);
        let launch = Launch::contender_with_cores(bench, cores, who.name(), &contender.program);
        let launch = match who {
            who if who.is_pgbouncer() => {
                bench.dir.write("users.txt", &format!("\"{USER}\" \"\"\n"))?;
                launch.argument(config).account(postgres::account()?.as_ref())
            }
            _ => launch.arguments(["serve", "--config"]).argument(config),
        };
        Ok(Running { process: launch.start(bench)?, address })
    }

    fn probe(&self, bench: &Bench, address: SocketAddr) -> anyhow::Result<()> {
        self.cluster.tools.probe(bench, address, self.pgbench.queries.tls)
    }
}
