//! The PostgreSQL pool with many more clients than server connections.

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::load::pgbench::Queries;
use crate::measure::{Goal, Measure, Unit};
use crate::pool_service::PoolService;
use crate::under_load::UnderLoad;

#[derive(Debug)]
pub(crate) struct PoolBusy;

impl Row for PoolBusy {
    fn name(&self) -> &'static str {
        "pool-busy"
    }

    fn about(&self) -> &'static str {
        "pgbench -S, simple protocol, 1,000 clients on 20 server connections; p99"
    }

    fn unit(&self) -> Unit {
        Unit::QUERY
    }

    fn measure(&self) -> Measure {
        Measure::P99
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Pgbouncer]
    }

    fn goal(&self, _: &Installed) -> Option<Goal> {
        Some(Goal::at_most(0.60))
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let queries = Queries { protocol: "simple", clients: 1_000 };
        let service = PoolService::start(bench, queries)?;
        Ok(Box::new(UnderLoad { service, unit: self.unit(), measure: self.measure() }))
    }
}
