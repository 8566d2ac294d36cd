//! HTTP/1.1 with large response bodies.

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::http_service::{Carry, HttpService};
use crate::load::wrk::{Reuse, Wrk};
use crate::measure::{Goal, Unit};
use crate::origin;
use crate::under_load::UnderLoad;

#[derive(Debug)]
pub(crate) struct HttpBulk;

impl Row for HttpBulk {
    fn name(&self) -> &'static str {
        "http-bulk"
    }

    fn about(&self) -> &'static str {
        "HTTP/1.1, 16 keep-alive connections, 1 MiB bodies; HAProxy splices"
    }

    fn unit(&self) -> Unit {
        Unit::GIGABYTE_OF_MEBIBYTES
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Nginx, Contender::Haproxy]
    }

    fn goal(&self, peer: &Installed) -> Option<Goal> {
        match peer.contender {
            Contender::Nginx => Some(Goal::at_most(0.60)),
            Contender::Haproxy => Some(Goal::at_most(0.95)),
            Contender::Bs9 | Contender::Pingora | Contender::Pgbouncer => None,
        }
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let load = Wrk { connections: 16, reuse: Reuse::KeepAlive };
        let service = HttpService::start(bench, Carry::LargeHttp, origin::LARGE_BODY_BYTES, load)?;
        Ok(Box::new(UnderLoad { service, unit: self.unit(), measure: self.measure() }))
    }
}
