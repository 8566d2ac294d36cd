//! TLS to clients, and HTTP/2, which is had over TLS; the origin is asked in plain text.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::{Peer, Row, Stage};
use crate::bench::Bench;
use crate::contender::Contender;
use crate::http_client::HttpClient;
use crate::http_service::{Carry, HttpService};
use crate::idle::{Idle, Idler};
use crate::load::Generator;
use crate::load::h2load::H2load;
use crate::load::handshakes::Handshakes;
use crate::load::wrk::Wrk;
use crate::measure::{Measure, Unit};
use crate::origin;
use crate::tls_client::{self, TlsStream};
use crate::under_load::UnderLoad;

const KEPT: Wrk = Wrk { scheme: "https", ..Wrk::keep_alive(64) };

/// The same with room left on the core that wrk shares with the origin: TLS costs a client as much
/// as a server.
const PAUSING: Wrk = Wrk { think: Duration::from_millis(2), ..KEPT };

pub(super) static HTTP2: Row = Row {
    name: "http2",
    about: "HTTP/2 over TLS 1.3, 4 connections with 100 streams each, 130-byte body",
    unit: Unit::REQUEST,
    measure: Measure::Cpu,
    peers: &[Peer::at_most(Contender::Nginx, 0.75), Peer::at_most(Contender::Haproxy, 0.75)],
    limit: None,
    stage: |bench, row| under_load(bench, row, H2load { connections: 4, streams: Some(100) }),
};

pub(super) static HANDSHAKES: Row = Row {
    name: "tls-handshakes",
    about: "TLS 1.3, a full handshake (X25519, ECDSA P-256) and one request for each connection, 16 at once",
    unit: Unit::HANDSHAKE,
    measure: Measure::Cpu,
    peers: &[Peer::at_most(Contender::Nginx, 0.75), Peer::at_most(Contender::Haproxy, 0.75)],
    limit: None,
    stage: |bench, row| under_load(bench, row, Handshakes { connections: 16 }),
};

pub(super) static KEEPALIVE: Row = Row {
    name: "tls-keepalive",
    about: "HTTP/1.1 over TLS 1.3, 64 keep-alive connections that pause 2 ms, 130-byte body",
    unit: Unit::REQUEST,
    measure: Measure::Cpu,
    peers: &[Peer::at_most(Contender::Nginx, 0.85), Peer::at_most(Contender::Haproxy, 0.85)],
    limit: None,
    stage: |bench, row| under_load(bench, row, PAUSING),
};

pub(super) static IDLE: Row = Row {
    name: "tls-idle",
    about: "HTTP/1.1 over TLS 1.3, 2,000 idle keep-alive connections after one request each; growth of resident memory",
    unit: Unit::CONNECTION,
    measure: Measure::Memory,
    peers: &[Peer::at_most(Contender::Nginx, 0.80), Peer::shown(Contender::Haproxy)],
    limit: Some(24.0 * 1024.0),
    stage: |bench, _| {
        let service = HttpService::start(bench, Carry::Tls, KEPT)?;
        let idler = KeptConnection { config: tls_client::config()? };
        Ok(Box::new(Idle { service, idler, count: 2_000 }))
    },
};

fn under_load(
    bench: &Bench,
    row: &Row,
    load: impl Generator + 'static,
) -> anyhow::Result<Box<dyn Stage>> {
    Ok(Box::new(UnderLoad::new(row, HttpService::start(bench, Carry::Tls, load)?)))
}

/// Connections that have had one answer, and now wait.
#[derive(Debug)]
struct KeptConnection {
    config: Arc<ClientConfig>,
}

impl Idler for KeptConnection {
    type Client = HttpClient<TlsStream>;

    fn open(&self, address: SocketAddr) -> anyhow::Result<Self::Client> {
        HttpClient::connect_tls(address, &self.config)
    }

    fn use_once(&self, client: &mut Self::Client) -> anyhow::Result<()> {
        origin::check(&client.get("/")?, origin::SMALL_BODY_BYTES)
    }
}
