//! Memory of a client connection that is kept, and idle.

use std::net::SocketAddr;

use super::{Row, Stage};
use crate::bench::Bench;
use crate::contender::{Contender, Installed};
use crate::http_client::HttpClient;
use crate::http_service::{Carry, HttpService};
use crate::idle::{Idle, Idler};
use crate::load::wrk::{Reuse, Wrk};
use crate::measure::{Goal, Measure, Unit};
use crate::origin;

const CONNECTIONS: usize = 5_000;

#[derive(Debug)]
pub(crate) struct HttpIdle;

/// Connections that have had one answer, and now wait.
#[derive(Debug)]
struct KeptConnection;

impl Row for HttpIdle {
    fn name(&self) -> &'static str {
        "http-idle"
    }

    fn about(&self) -> &'static str {
        "HTTP/1.1, 5,000 idle keep-alive connections after one request each; growth of resident memory"
    }

    fn unit(&self) -> Unit {
        Unit::CONNECTION
    }

    fn measure(&self) -> Measure {
        Measure::Memory
    }

    fn contenders(&self) -> &'static [Contender] {
        &[Contender::Bs9, Contender::Nginx, Contender::Haproxy]
    }

    fn goal(&self, peer: &Installed) -> Option<Goal> {
        (peer.contender == Contender::Nginx).then_some(Goal::at_most(0.80))
    }

    fn limit(&self) -> Option<f64> {
        Some(4.0 * 1024.0)
    }

    fn stage(&self, bench: &Bench) -> anyhow::Result<Box<dyn Stage>> {
        // Only the probe asks through wrk's settings; the idle connections are our own.
        let load = Wrk { connections: 1, reuse: Reuse::KeepAlive };
        let service = HttpService::start(bench, Carry::SmallHttp, origin::SMALL_BODY_BYTES, load)?;
        Ok(Box::new(Idle { service, idler: KeptConnection, count: CONNECTIONS }))
    }
}

impl Idler for KeptConnection {
    type Client = HttpClient<std::net::TcpStream>;

    fn open(&self, address: SocketAddr) -> anyhow::Result<Self::Client> {
        let mut client = HttpClient::connect(address)?;
        self.use_again(&mut client)?;
        Ok(client)
    }

    fn use_again(&self, client: &mut Self::Client) -> anyhow::Result<()> {
        origin::check(&client.get("/")?, origin::SMALL_BODY_BYTES)
    }
}
