//! What is spoken with endpoints.

use std::time::Duration;

/// `protocol` of a cluster: what is spoken with its endpoints where requests are HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// HTTP/1.1. The default.
    #[default]
    Http1,
    /// HTTP/2: agreed on by ALPN with TLS, by prior knowledge without.
    Http2,
    /// Whichever of both an endpoint chooses by ALPN.
    Auto,
}

/// `http2` of a cluster: limits of the connections of HTTP/2 to its endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamHttp2 {
    /// Connections to each endpoint from each shard. Default 16.
    pub connections: usize,
    /// Requests of a connection under way at once; fewer when the endpoint says so. Default 100.
    pub max_concurrent_streams: usize,
    /// Bytes of a response's body that an endpoint may send ahead of the client. Default 128 KiB.
    pub stream_window_bytes: u32,
    /// Silence, while requests are under way, after which an endpoint has to answer a PING;
    /// `None`: it is not asked.
    pub ping_interval: Option<Duration>,
    /// Limit for its answer. Default 10 s.
    pub ping_timeout: Duration,
}

impl Default for UpstreamHttp2 {
    fn default() -> Self {
        Self {
            connections: 16,
            max_concurrent_streams: 100,
            stream_window_bytes: 128 << 10,
            ping_interval: None,
            ping_timeout: Duration::from_secs(10),
        }
    }
}
