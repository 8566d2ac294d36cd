//! Memory of a PostgreSQL client that is connected, and idle.

use std::net::SocketAddr;

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::idle::{Idle, Idler};
use crate::load::pgbench::Queries;
use crate::measure::{Goal, Measure, Unit};
use crate::pool_service::PoolService;
use crate::postgres_client::PostgresClient;

const CLIENTS: usize = 2_000;

#[derive(Debug)]
pub(crate) struct PoolIdle;

/// Clients that have had one answer, and hold no server connection.
#[derive(Debug)]
struct LoggedIn;

impl Row for PoolIdle {
    fn name(&self) -> &'static str {
        "pool-idle"
    }

    fn about(&self) -> &'static str {
        "2,000 idle clients after one query each, transaction mode; growth of resident memory"
    }

    fn unit(&self) -> Unit {
        Unit::CLIENT
    }

    fn measure(&self) -> Measure {
        Measure::Memory
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Pgbouncer]
    }

    fn goal(&self, _: &Installed) -> Option<Goal> {
        Some(Goal::at_most(1.0))
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let service = PoolService::start(bench, Queries { protocol: "simple", clients: 1 })?;
        Ok(Box::new(Idle { service, idler: LoggedIn, count: CLIENTS }))
    }
}

impl Idler for LoggedIn {
    type Client = PostgresClient;

    fn open(&self, address: SocketAddr) -> anyhow::Result<PostgresClient> {
        let mut client = PostgresClient::connect(address)?;
        self.use_again(&mut client)?;
        Ok(client)
    }

    fn use_again(&self, client: &mut PostgresClient) -> anyhow::Result<()> {
        client.query("SELECT 1")
    }
}
