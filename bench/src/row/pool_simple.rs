//! The PostgreSQL pool in transaction mode, simple protocol.

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::load::pgbench::Queries;
use crate::measure::{Goal, Unit};
use crate::pool_service::{PoolService, cpu_goal};
use crate::under_load::UnderLoad;

#[derive(Debug)]
pub(crate) struct PoolSimple;

impl Row for PoolSimple {
    fn name(&self) -> &'static str {
        "pool-simple"
    }

    fn about(&self) -> &'static str {
        "pgbench -S, simple protocol, 32 clients on 20 server connections, transaction mode"
    }

    fn unit(&self) -> Unit {
        Unit::QUERY
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Pgbouncer]
    }

    fn goal(&self, peer: &Installed) -> Option<Goal> {
        cpu_goal(peer).map(|goal| goal.with_milestone(0.95))
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let queries = Queries { protocol: "simple", clients: 32 };
        let service = PoolService::start(bench, queries)?;
        Ok(Box::new(UnderLoad { service, unit: self.unit(), measure: self.measure() }))
    }
}
