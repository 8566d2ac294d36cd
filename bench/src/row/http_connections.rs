//! HTTP/1.1 with a new client connection for each request; the origin's are kept.

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::http_service::{Carry, HttpService};
use crate::load::wrk::{Reuse, Wrk};
use crate::measure::{Goal, Unit};
use crate::origin;
use crate::under_load::UnderLoad;

#[derive(Debug)]
pub(crate) struct HttpConnections;

impl Row for HttpConnections {
    fn name(&self) -> &'static str {
        "http-connections"
    }

    fn about(&self) -> &'static str {
        "HTTP/1.1, a new connection for each request, 32 at once, 130-byte body"
    }

    fn unit(&self) -> Unit {
        Unit::CONNECTION
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Nginx, Contender::Haproxy]
    }

    fn goal(&self, _: &Installed) -> Option<Goal> {
        Some(Goal::at_most(0.90))
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let load = Wrk { connections: 32, reuse: Reuse::Close };
        let service = HttpService::start(bench, Carry::SmallHttp, origin::SMALL_BODY_BYTES, load)?;
        Ok(Box::new(UnderLoad { service, unit: self.unit(), measure: self.measure() }))
    }
}
