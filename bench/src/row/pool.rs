//! The PostgreSQL pool in transaction mode.

use std::net::SocketAddr;

use super::{Peer, Row, Stage};
use crate::bench::Bench;
use crate::contender::Contender;
use crate::idle::{Idle, Idler};
use crate::load::pgbench::Queries;
use crate::measure::{Measure, Unit};
use crate::pool_service::PoolService;
use crate::postgres::Place;
use crate::postgres_client::PostgresClient;
use crate::under_load::UnderLoad;

/// PgBouncer 1.18, which is Debian's.
const PGBOUNCER: Peer = Peer::at_most(Contender::Pgbouncer, 0.80);
/// PgBouncer 1.25, which does more for each query.
const NEWER: Peer = Peer::at_most(Contender::NewerPgbouncer, 0.65);

pub(super) static SIMPLE: Row = Row {
    name: "pool-simple",
    about: "pgbench -S, simple protocol, 32 clients on 20 server connections, transaction mode",
    unit: Unit::QUERY,
    measure: Measure::Cpu,
    peers: &[PGBOUNCER.with_milestone(0.95), NEWER],
    limit: None,
    stage: |bench, row| under_load(bench, row, Queries::new("simple", 32)),
};

/// One client waits for each answer before it asks again: the pool sleeps and wakes for each
/// message, and nothing can be gathered.
pub(super) static ONE: Row = Row {
    name: "pool-one",
    about: "pool-simple with one client",
    unit: Unit::QUERY,
    measure: Measure::Cpu,
    peers: &[PGBOUNCER, NEWER],
    limit: None,
    stage: |bench, row| under_load(bench, row, Queries::new("simple", 1)),
};

pub(super) static THOUSAND: Row = Row {
    name: "pool-thousand",
    about: "the queries of pool-simple from 1,000 clients of bs9 loadtest",
    unit: Unit::QUERY,
    measure: Measure::Cpu,
    peers: &[PGBOUNCER, NEWER],
    limit: None,
    stage: |bench, row| under_load(bench, row, Queries::new("simple", 1_000)),
};

pub(super) static TLS: Row = Row {
    name: "pool-tls",
    about: "pool-simple over TLS 1.3 to the clients",
    unit: Unit::QUERY,
    measure: Measure::Cpu,
    peers: &[PGBOUNCER, NEWER],
    limit: None,
    stage: |bench, row| under_load(bench, row, Queries::new("simple", 32).over_tls()),
};

/// As where the pool and PostgreSQL share a small machine: its processes take turns with the
/// pool on the same core, and evict its caches.
pub(super) static SHARED: Row = Row {
    name: "pool-shared",
    about: "pool-simple with PostgreSQL on all cores, the pool's included",
    unit: Unit::QUERY,
    measure: Measure::Cpu,
    peers: &[PGBOUNCER.with_milestone(0.95), NEWER],
    limit: None,
    stage: |bench, row| {
        let queries = Queries::new("simple", 32);
        let service = PoolService::start_at(Place::Anywhere, bench, queries)?;
        Ok(Box::new(UnderLoad::new(row, service)))
    },
};

/// The goal of simple queries: an extended one is five messages each way, and the
/// messages are what a pool works on.
pub(super) static EXTENDED: Row = Row {
    name: "pool-extended",
    about: "pgbench -S -M extended, 32 clients on 20 server connections, transaction mode",
    unit: Unit::QUERY,
    measure: Measure::Cpu,
    peers: &[PGBOUNCER, NEWER],
    limit: None,
    stage: |bench, row| under_load(bench, row, Queries::new("extended", 32)),
};

pub(super) static PREPARED: Row = Row {
    name: "pool-prepared",
    about: "pgbench -S -M prepared, 32 clients on 20 server connections, transaction mode",
    unit: Unit::QUERY,
    measure: Measure::Cpu,
    peers: &both(0.60),
    limit: None,
    stage: |bench, row| under_load(bench, row, Queries::new("prepared", 32)),
};

/// CPU time, because it can be had where two shards have no two cores of their
/// own: twice the cores at 2 / 1.7 of the cost a query are 1.7 times the queries.
pub(super) static SHARDS: Row = Row {
    name: "pool-shards",
    about: "pool-simple with 64 clients: two shards on two cores over one shard on one; at 1.18 they serve 1.7 times as much",
    unit: Unit::QUERY,
    measure: Measure::Cpu,
    peers: &[Peer::at_most(Contender::Bs9OneShard, 2.0 / 1.7)],
    limit: None,
    stage: |bench, row| {
        let queries = Queries::new("simple", 64);
        let service = PoolService::start_at(Place::Anywhere, bench, queries)?.with_shards(2);
        Ok(Box::new(UnderLoad::new(row, service)))
    },
};

pub(super) static BUSY: Row = Row {
    name: "pool-busy",
    about: "the queries of pool-simple from 2,000 clients of bs9 loadtest, on 20 server connections; p99",
    unit: Unit::QUERY,
    measure: Measure::P99,
    peers: &both(0.60),
    limit: None,
    stage: |bench, row| under_load(bench, row, Queries::new("simple", 2_000)),
};

pub(super) static IDLE: Row = Row {
    name: "pool-idle",
    about: "8,000 idle clients after one query each, transaction mode; growth of resident memory",
    unit: Unit::CLIENT,
    measure: Measure::Memory,
    peers: &both(1.00),
    limit: None,
    stage: |bench, _| {
        let service = PoolService::start(bench, Queries::new("simple", 1))?;
        Ok(Box::new(Idle { service, idler: LoggedIn, count: 8_000 }))
    },
};

/// Both with the same goal.
const fn both(most: f64) -> [Peer; 2] {
    [Peer::at_most(Contender::Pgbouncer, most), Peer::at_most(Contender::NewerPgbouncer, most)]
}

fn under_load(bench: &Bench, row: &Row, queries: Queries) -> anyhow::Result<Box<dyn Stage>> {
    Ok(Box::new(UnderLoad::new(row, PoolService::start(bench, queries)?)))
}

/// Clients that have had one answer, and hold no server connection.
#[derive(Debug)]
struct LoggedIn;

impl Idler for LoggedIn {
    type Client = PostgresClient;

    fn open(&self, address: SocketAddr) -> anyhow::Result<PostgresClient> {
        PostgresClient::connect(address)
    }

    fn use_once(&self, client: &mut PostgresClient) -> anyhow::Result<()> {
        client.query("SELECT 1")
    }
}
