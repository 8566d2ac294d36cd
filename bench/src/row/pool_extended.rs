//! The PostgreSQL pool in transaction mode, extended protocol without named statements.

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::load::pgbench::Queries;
use crate::measure::{Goal, Unit};
use crate::pool_service::{PoolService, cpu_goal};
use crate::under_load::UnderLoad;

#[derive(Debug)]
pub(crate) struct PoolExtended;

impl Row for PoolExtended {
    fn name(&self) -> &'static str {
        "pool-extended"
    }

    fn about(&self) -> &'static str {
        "pgbench -S -M extended, 32 clients on 20 server connections, transaction mode"
    }

    fn unit(&self) -> Unit {
        Unit::QUERY
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Pgbouncer]
    }

    /// The goal of simple queries: an extended one is five messages each way, and the messages
    /// are what a pool works on.
    fn goal(&self, peer: &Installed) -> Option<Goal> {
        cpu_goal(peer)
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let queries = Queries { protocol: "extended", clients: 32 };
        let service = PoolService::start(bench, queries)?;
        Ok(Box::new(UnderLoad { service, unit: self.unit(), measure: self.measure() }))
    }
}
