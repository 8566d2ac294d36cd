//! `[clusters.NAME]`: endpoints, and how one of them is chosen.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use super::{ClusterTls, ProxyProtocol, Secret, UpstreamHttp2, UpstreamProtocol};

/// `[clusters.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// What `maglev` and `ring-hash` hash. Default: the client's address.
    pub hash: HashKey,
    /// Clients stay with the endpoint that answered them first; `None`: they do not.
    pub sticky: Option<Sticky>,
    /// May be empty: requests are then answered 503.
    pub endpoints: Vec<Endpoint>,
    /// Endpoints of this zone are preferred; `None`: zones do not matter.
    pub zone: Option<Arc<str>>,
    /// Share of a group (a priority, a zone) that has to be available for it to be used, 0 to 1.
    /// Default 0: any endpoint will do.
    pub failover_below: f64,
    /// Below this share of available endpoints health is disregarded, 0 to 1. Default 0: never.
    pub panic_threshold: f64,
    /// How long the share of an endpoint that has come (back) takes to grow; `None`: at once.
    pub slow_start: Option<Duration>,
    /// Active health checks; `None`: every endpoint counts as healthy.
    pub health_check: Option<HealthCheck>,
    /// Endpoints that fail live traffic are taken out; `None`: they are not.
    pub outliers: Option<Outliers>,
    /// Limit for establishing one upstream connection. Default 5 s.
    pub connect_timeout: Duration,
    /// How long an upstream connection may stay idle in the pool. Default 60 s.
    pub idle_timeout: Duration,
    /// Idle upstream connections kept per endpoint and shard. Default 1,024.
    pub max_idle_connections: usize,
    /// Requests (HTTP) or connections (TCP) per endpoint at once, over all shards; `None`: no
    /// limit.
    pub max_connections: Option<usize>,
    /// Where requests wait when every endpoint is at its limit; `None`: they are refused.
    pub queue: Option<Queue>,
    /// What is spoken where requests are HTTP. Default HTTP/1.1.
    pub protocol: UpstreamProtocol,
    /// Limits of connections of HTTP/2; without them, when `protocol` speaks none, of no meaning.
    pub http2: UpstreamHttp2,
    /// TLS towards the endpoints; `None`: plaintext.
    pub tls: Option<Arc<ClusterTls>>,
    /// What connections begin with; `None`: with what they carry. Connections are not used again
    /// then: what they said holds for one client.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// `balance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// In turn.
    RoundRobin,
    /// In turn by weight, interleaved smoothly (nginx's algorithm).
    WeightedRoundRobin,
    /// Fewest open connections (requests, for HTTP) relative to weight.
    LeastConnections,
    /// The less loaded of two random ones. The default.
    #[default]
    P2c,
    /// Of two random ones, the one where the wait is expected to be shorter.
    PeakEwma,
    /// Uniformly at random, by weight.
    Random,
    /// By a hash, in a lookup table.
    Maglev,
    /// By a hash, on a ring.
    RingHash,
}

impl Balance {
    /// The word used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::LeastConnections => "least-connections",
            Self::P2c => "p2c",
            Self::PeakEwma => "peak-ewma",
            Self::Random => "random",
            Self::Maglev => "maglev",
            Self::RingHash => "ring-hash",
        }
    }

    /// Whether the same key leads to the same endpoint.
    pub fn is_consistent(self) -> bool {
        matches!(self, Self::Maglev | Self::RingHash)
    }
}

/// `hash`: what of a request decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HashKey {
    /// The client's address. The default.
    #[default]
    Source,
    /// The path, without the query.
    Path,
    /// A header field. Lower case.
    Header(Arc<str>),
    /// A cookie.
    Cookie(Arc<str>),
}

/// `sticky`: a cookie that names the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name. Default `bs9-endpoint`.
    pub cookie: Arc<str>,
    /// Who does not have it cannot tell which address a cookie stands for; `None`: derived from
    /// the cluster's name.
    pub secret: Option<Secret>,
    /// `Path`. Default `/`.
    pub path: Arc<str>,
    /// `Max-Age`; `None`: until the browser is closed.
    pub max_age: Option<Duration>,
    /// `Secure`. Default false.
    pub secure: bool,
    /// `SameSite`; default `Lax`.
    pub same_site: SameSite,
}

/// `SameSite` of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `Strict`.
    Strict,
    /// `Lax`.
    Lax,
    /// `None`.
    None,
}

/// One entry of `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// 0 to 65,535; 0 takes no new traffic. Default 1.
    pub weight: u16,
    /// 0 is used first; the next one only when too little of it is available. Default 0.
    pub priority: u8,
    /// Where it stands.
    pub zone: Option<Arc<str>>,
    /// Takes no new traffic until it is enabled. Default false.
    pub disabled: bool,
}

impl Endpoint {
    /// One of the first priority, in no zone, enabled.
    pub fn new(address: EndpointAddress, weight: u16) -> Self {
        Self { address, weight, priority: 0, zone: None, disabled: false }
    }
}

/// An endpoint's address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    /// `ip:port`.
    Tcp(SocketAddr),
    /// `name:port`, resolved by the control thread and re-resolved as it runs.
    Name {
        /// Host name.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
    /// `unix:/path`.
    Unix(Arc<Path>),
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `queue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Requests (HTTP) that wait at once, over all shards. Default 100.
    pub length: usize,
    /// How long one waits. Default 1 s.
    pub timeout: Duration,
}

/// `outlier_detection`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outliers {
    /// Failures in a row that take an endpoint out. Default 5.
    pub consecutive_failures: u32,
    /// How long it stays out at least, the first time. Default 30 s. Doubles each time.
    pub ejection_time: Duration,
    /// Most that becomes of it. Default 5 min.
    pub max_ejection_time: Duration,
    /// Share of the cluster's endpoints that may be out at once; one always may. Default 0.5.
    pub max_ejected: f64,
}

/// `health_check`.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// What is probed.
    pub probe: Probe,
    /// Between the starts of two probes. Default 5 s.
    pub interval: Duration,
    /// Share of the interval by which each pause is longer or shorter at random. Default 0.1.
    pub jitter: f64,
    /// Limit of one probe. Default 1 s.
    pub timeout: Duration,
    /// Successes in a row until healthy ("rise"). Default 2.
    pub healthy_after: u32,
    /// Failures in a row until unhealthy ("fall"). Default 3.
    pub unhealthy_after: u32,
    /// Whether an endpoint takes traffic before its first probe. Default true.
    pub initially_healthy: bool,
}

/// How a health check probes. `path` in the configuration makes it HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A TCP (or unix) connection is accepted.
    Tcp,
    /// And a TLS handshake succeeds, whoever the endpoint says it is.
    Tls,
    /// `GET path` is answered as expected.
    Http {
        /// Request target, starting with `/`.
        path: Arc<str>,
        /// `Host` header; `None`: the endpoint's address.
        host: Option<Arc<str>>,
        /// Further header fields that are sent.
        headers: Vec<(Arc<str>, Arc<str>)>,
        /// What the answer has to be.
        expected: Expectation,
    },
    /// `grpc.health.v1.Health/Check` says `SERVING`.
    Grpc {
        /// The service asked for; empty: the server as a whole.
        service: Arc<str>,
        /// `:authority`; `None`: the endpoint's address.
        host: Option<Arc<str>>,
    },
}

/// What the answer to an HTTP check has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Statuses; at least one range. Default 200 to 399.
    pub statuses: Vec<StatusRange>,
    /// The body holds this, in its first 64 KiB.
    pub body: Option<Arc<str>>,
    /// Fields that are there with these values. Names in lower case.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
}

/// Statuses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// The first one, 100 to 599.
    pub first: u16,
    /// The last one.
    pub last: u16,
}

impl StatusRange {
    /// Whether `status` is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}
