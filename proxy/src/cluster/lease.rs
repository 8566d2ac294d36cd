//! An endpoint in use by one request or connection.

use std::{
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use bs9_config::{EndpointAddress, UpstreamProtocol};
use bs9_net::{
    Stream, Transport, time,
    tls::{self, ClientTls, HandshakeFailure, TlsStream},
};

use super::{
    Endpoint, ShardCluster, endpoint::EndpointCell, idle::IdleConnections, latency::FAILURE_PENALTY,
};
use crate::http2::Sessions;

/// An endpoint in use; counted until dropped.
#[derive(Debug)]
pub struct Lease {
    cluster: Rc<ShardCluster>,
    member: usize,
}

/// Why no connection to an endpoint could be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFailure {
    #[error("its name does not resolve")]
    Unresolved,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] HandshakeFailure),
    #[error("it did not agree on HTTP/2")]
    NotHttp2,
}

impl Lease {
    /// The caller has counted it over all shards, where that is wanted.
    #[inline]
    pub(super) fn new(cluster: &Rc<ShardCluster>, member: usize) -> Self {
        let lease = Self { cluster: Rc::clone(cluster), member };
        let cell = lease.cell();
        cell.active.increment();
        cell.requests.increment();
        lease
    }

    /// Its place in the cluster.
    pub fn member(&self) -> usize {
        self.member
    }

    /// The endpoint.
    #[inline]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.cluster.cluster.members[self.member].endpoint
    }

    /// The cluster.
    pub fn cluster(&self) -> &Rc<ShardCluster> {
        &self.cluster
    }

    #[inline]
    pub(crate) fn cell(&self) -> &EndpointCell {
        &self.endpoint().cells[self.cluster.shard]
    }

    /// The endpoint answered, or took a connection, after so long.
    #[inline]
    pub(crate) fn succeeded(&self, after: Duration) {
        if self.cluster.cluster.observes {
            self.endpoint().note_success();
            self.endpoint().latency.observe(after, bs9_net::now());
        }
    }

    /// The endpoint did not do what it is there for, which took so long to find out.
    pub(crate) fn failed(&self, after: Duration) {
        let cluster = &self.cluster.cluster;
        if cluster.observes {
            let endpoint = self.endpoint();
            endpoint.latency.observe(after.max(FAILURE_PENALTY), bs9_net::now());
            if let Some(outliers) = &cluster.config.outliers {
                endpoint.note_failure(cluster, outliers);
            }
        }
    }

    /// A connection kept from before.
    pub fn reuse(&self) -> Option<Transport> {
        self.idle().take(self.cluster.cluster.config.idle_timeout)
    }

    /// This shard's idle connections to the endpoint.
    #[inline]
    pub(super) fn idle(&self) -> &IdleConnections {
        &self.cluster.idle[self.member]
    }

    /// Connections of HTTP/2 to the endpoint; `None`: only HTTP/1.1 is spoken with it.
    #[inline]
    pub(crate) fn sessions(&self) -> Option<&Rc<Sessions>> {
        self.cluster.sessions.get(self.member)
    }

    /// A new connection, which begins with `introduction`. Bounded by the caller's timer.
    pub(crate) async fn connect(&self, introduction: &[u8]) -> Result<Transport, ConnectFailure> {
        match &self.cluster.cluster.tls {
            None => Ok(self.dial(introduction).await?.into()),
            // Apart, so that plain connections need not be as large.
            Some(tls) => Ok(Box::pin(self.shake_hands(tls, introduction)).await?.into()),
        }
    }

    async fn shake_hands(
        &self,
        tls: &ClientTls,
        introduction: &[u8],
    ) -> Result<TlsStream, ConnectFailure> {
        let socket = self.dial(introduction).await?;
        let stream = tls.connect(socket, called(&self.endpoint().address)).await?;
        let agreed = stream.agreed().alpn.as_deref() == Some(b"h2");
        if !agreed && self.cluster.cluster.config.protocol == UpstreamProtocol::Http2 {
            stream.finish();
            return Err(ConnectFailure::NotHttp2);
        }
        Ok(stream)
    }

    async fn dial(&self, introduction: &[u8]) -> Result<Stream, ConnectFailure> {
        let stream = self.reach().await?;
        if !introduction.is_empty() {
            stream.write_all(introduction).await?;
        }
        Ok(stream)
    }

    async fn reach(&self) -> Result<Stream, ConnectFailure> {
        let endpoint = self.endpoint();
        let connected = match &endpoint.address {
            EndpointAddress::Unix(path) => Stream::connect_unix(path).await,
            EndpointAddress::Tcp(address) => Stream::connect_tcp(*address).await,
            // Apart, so that connections to plain addresses need not be as large.
            EndpointAddress::Name { .. } => return Box::pin(connect_named(endpoint)).await,
        };
        Ok(connected?)
    }

    /// Gives a connection back that is provably clean.
    pub fn keep(&self, stream: Transport) {
        self.idle().put(stream, self.cluster.cluster.config.max_idle_connections);
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.cell().active.decrement();
        let cluster = &self.cluster.cluster;
        if cluster.counts_active {
            self.endpoint().active.fetch_sub(1, SeqCst);
            if cluster.config.queue.is_some() {
                cluster.commons.freed();
            }
        }
    }
}

/// What the certificate of an endpoint is for, unless the configuration says otherwise.
pub(super) fn called(address: &EndpointAddress) -> tls::Endpoint<'_> {
    match address {
        EndpointAddress::Tcp(address) => tls::Endpoint::Address(address.ip()),
        EndpointAddress::Name { host, .. } => tls::Endpoint::Name(host),
        EndpointAddress::Unix(_) => tls::Endpoint::Name("localhost"),
    }
}

/// Tries the addresses that the endpoint's name leads to.
async fn connect_named(endpoint: &Endpoint) -> Result<Stream, ConnectFailure> {
    let connected = endpoint.resolution.connect(Stream::connect_tcp, time::sleep).await;
    connected.map_err(|error| error.map_or(ConnectFailure::Unresolved, ConnectFailure::Io))
}
