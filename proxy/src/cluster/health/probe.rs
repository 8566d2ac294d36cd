//! One probe of an endpoint.

use std::{io, sync::Arc, time::Duration};

use bs9_config::{
    ClusterTls, EndpointAddress, Probe, ProxyProtocol, TlsVersions, UpstreamProtocol, Verify,
};
use bs9_net::tls::ClientTls;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig},
};

use super::{grpc, http, http2};
use crate::{
    cluster::{Endpoint, lease::called},
    http1::{BodyError, ResponseError},
    introduction::own_introduction,
};

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeFailure {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("its name does not resolve")]
    Unresolved,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("closed the connection without an answer")]
    Closed,
    #[error("answered something that is not HTTP: {0}")]
    Malformed(#[from] ResponseError),
    #[error("answered a body that is not what it says: {0}")]
    MalformedBody(#[from] BodyError),
    #[error("answered status {0}")]
    Status(u16),
    #[error("answered without the expected body")]
    Body,
    #[error("answered without `{0}` as expected")]
    Header(Arc<str>),
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    #[error("gRPC status {0}")]
    GrpcStatus(String),
    #[error("the service is {0}")]
    NotServing(&'static str),
    #[error("answered something that is not a HealthCheckResponse")]
    NotHealth,
}

/// A probe with what it needs for its handshakes.
pub(super) struct Prepared {
    probe: Probe,
    /// Whether HTTP is asked for by HTTP/2.
    by_http2: bool,
    tls: Option<Handshake>,
    /// What connections begin with.
    introduction: Vec<u8>,
}

struct Handshake {
    connector: TlsConnector,
    tls: Arc<ClientTls>,
}

impl Prepared {
    /// Without a `probe`, a connection has to be accepted; `tls` is the cluster's, and `protocol`
    /// what it speaks.
    /// `introduces`: connections begin with a header of the PROXY protocol.
    pub(super) fn new(
        probe: Option<&Probe>,
        protocol: UpstreamProtocol,
        tls: Option<Arc<ClientTls>>,
        introduces: Option<ProxyProtocol>,
    ) -> Self {
        let probe = probe.cloned().unwrap_or(Probe::Tcp);
        let tls = tls.or_else(|| matches!(probe, Probe::Tls).then(whoever).flatten());
        let tls = tls.map(|tls| {
            let offered = match (&probe, protocol) {
                (Probe::Grpc { .. }, _) | (Probe::Http { .. }, UpstreamProtocol::Http2) => {
                    Some(b"h2".to_vec())
                }
                (Probe::Http { .. }, UpstreamProtocol::Auto) => Some(b"http/1.1".to_vec()),
                _ => None,
            };
            let config = match offered {
                Some(offered) => {
                    let mut config = ClientConfig::clone(tls.config());
                    config.alpn_protocols = vec![offered];
                    Arc::new(config)
                }
                None => Arc::clone(tls.config()),
            };
            Handshake { connector: TlsConnector::from(config), tls }
        });
        let by_http2 = protocol == UpstreamProtocol::Http2;
        Self { probe, by_http2, tls, introduction: own_introduction(introduces) }
    }

    /// Probes once.
    pub(super) async fn probe(
        &self,
        endpoint: &Endpoint,
        timeout: Duration,
    ) -> Result<(), ProbeFailure> {
        match tokio::time::timeout(timeout, self.connect(endpoint)).await {
            Ok(result) => result,
            Err(_) => Err(ProbeFailure::Timeout(timeout)),
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<(), ProbeFailure> {
        match &endpoint.address {
            EndpointAddress::Unix(path) => {
                self.begin(UnixStream::connect(path).await?, endpoint).await
            }
            EndpointAddress::Tcp(address) => {
                self.begin(TcpStream::connect(*address).await?, endpoint).await
            }
            EndpointAddress::Name { .. } => {
                let connected =
                    endpoint.resolution.connect(TcpStream::connect, tokio::time::sleep).await;
                let stream = connected
                    .map_err(|error| error.map_or(ProbeFailure::Unresolved, ProbeFailure::Io))?;
                self.begin(stream, endpoint).await
            }
        }
    }

    /// Shakes hands first, where the cluster speaks TLS: an endpoint that cannot prove who it is
    /// is of no use.
    async fn begin(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        endpoint: &Endpoint,
    ) -> Result<(), ProbeFailure> {
        if !self.introduction.is_empty() {
            stream.write_all(&self.introduction).await?;
        }
        let Some(Handshake { connector, tls }) = &self.tls else {
            return self.converse(stream, endpoint, "http").await;
        };
        let unnamed = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let name = tls.name_for(called(&endpoint.address)).map_err(unnamed)?;
        let stream = connector.connect(name, stream).await.map_err(ProbeFailure::Tls)?;
        self.converse(stream, endpoint, "https").await
    }

    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        endpoint: &Endpoint,
        scheme: &str,
    ) -> Result<(), ProbeFailure> {
        let host = |given: &Option<Arc<str>>| {
            given.as_deref().map_or_else(|| host_of(endpoint), str::to_owned)
        };
        match &self.probe {
            Probe::Tcp | Probe::Tls => Ok(()),
            Probe::Http { path, host: given, headers, expected } if self.by_http2 => {
                http2::ask(stream, (scheme, &host(given), path), headers, expected).await
            }
            Probe::Http { path, host: given, headers, expected } => {
                http::ask(stream, path, &host(given), headers, expected).await
            }
            Probe::Grpc { service, host: given } => {
                grpc::ask(stream, scheme, &host(given), service).await
            }
        }
    }
}

/// TLS with whoever the endpoint says it is; `None` only where TLS is out of the question.
fn whoever() -> Option<Arc<ClientTls>> {
    let settings = Arc::new(ClusterTls {
        verify: Verify::Nothing,
        server_name: None,
        identity: None,
        alpn: Vec::new(),
        versions: TlsVersions { tls12: true, tls13: true },
    });
    ClientTls::compile(&settings, None)
        .inspect_err(|error| tracing::error!(%error, "TLS cannot be probed"))
        .ok()
}

/// What stands in `Host` when the configuration names nothing.
fn host_of(endpoint: &Endpoint) -> String {
    match &endpoint.address {
        EndpointAddress::Unix(_) => "localhost".to_owned(),
        named => named.to_string(),
    }
}
