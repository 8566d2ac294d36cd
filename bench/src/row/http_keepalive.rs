//! HTTP/1.1 with keep-alive on both sides and a small body.

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::http_service::{Carry, HttpService};
use crate::load::wrk::{Reuse, Wrk};
use crate::measure::{Goal, Unit};
use crate::origin;
use crate::under_load::UnderLoad;

#[derive(Debug)]
pub(crate) struct HttpKeepalive;

impl Row for HttpKeepalive {
    fn name(&self) -> &'static str {
        "http-keepalive"
    }

    fn about(&self) -> &'static str {
        "HTTP/1.1, 64 keep-alive connections, 130-byte body, one worker on one core"
    }

    fn unit(&self) -> Unit {
        Unit::REQUEST
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Nginx, Contender::Haproxy, Contender::Pingora]
    }

    fn goal(&self, peer: &Installed) -> Option<Goal> {
        match peer.contender {
            Contender::Nginx => Some(Goal::at_most(0.80).with_milestone(0.95)),
            Contender::Haproxy => Some(Goal::at_most(0.80)),
            Contender::Pingora => Some(Goal::at_most(0.45).with_milestone(0.55)),
            Contender::Bs9 | Contender::Pgbouncer => None,
        }
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let load = Wrk { connections: 64, reuse: Reuse::KeepAlive };
        let service = HttpService::start(bench, Carry::SmallHttp, origin::SMALL_BODY_BYTES, load)?;
        Ok(Box::new(UnderLoad { service, unit: self.unit(), measure: self.measure() }))
    }
}
