//! TCP tunnels that carry much in one direction.

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::http_service::{Carry, HttpService, stream_module};
use crate::load::wrk::{Reuse, Wrk};
use crate::measure::{Goal, Unit};
use crate::origin;
use crate::under_load::UnderLoad;

#[derive(Debug)]
pub(crate) struct TcpBulk;

impl Row for TcpBulk {
    fn name(&self) -> &'static str {
        "tcp-bulk"
    }

    fn about(&self) -> &'static str {
        "TCP, 16 tunnels, answers of 1 MiB; HAProxy splices"
    }

    fn unit(&self) -> Unit {
        Unit::GIGABYTE_OF_MEBIBYTES
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Nginx, Contender::Haproxy]
    }

    fn lacks(&self, contender: Contender) -> Option<String> {
        let without = contender == Contender::Nginx && stream_module().is_none();
        without.then(|| "no stream module (Debian: libnginx-mod-stream)".to_owned())
    }

    fn goal(&self, peer: &Installed) -> Option<Goal> {
        match peer.contender {
            Contender::Nginx => Some(Goal::at_most(0.50)),
            Contender::Haproxy => Some(Goal::at_most(0.95)),
            Contender::Bs9 | Contender::Pingora | Contender::Pgbouncer => None,
        }
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        let load = Wrk { connections: 16, reuse: Reuse::KeepAlive };
        let service = HttpService::start(bench, Carry::Tunnel, origin::LARGE_BODY_BYTES, load)?;
        Ok(Box::new(UnderLoad { service, unit: self.unit(), measure: self.measure() }))
    }
}
