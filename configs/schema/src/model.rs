//! The validated configuration: what the rest of bs9 is given.
//!
//! Raw text never leaves this crate. A [`Config`] is complete (defaults filled
//! in, paths absolute, names resolved) and plain data: comparing two of them
//! says exactly what a reload has to touch.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

mod http;
mod manager;
mod postgres;
mod tcp;
mod tls;

pub use http::{
    HeaderMatch, HostMatch, Http2, HttpListener, HttpsRedirect, PathMatch, QueryMatch, Retries,
    Route, RouteAction, RouteMatch, WeightedCluster,
};
pub use manager::{DataPlaneLink, History, ManagerConfig};
pub use postgres::{
    Database, PoolMode, Postgres, PostgresAuth, PostgresUser, ServerAddress, UserSecret,
};
pub use tcp::{SniRoute, TcpListener};
pub use tls::{
    ClientAuth, ClusterTls, Hsts, Identity, ListenerTls, ServerCertificate, ServerName,
    TlsVersions, Trust, Verify,
};

/// Everything `bs9 serve` runs on.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Files this was read from, in merge order; what a watcher watches. Empty
    /// for a configuration built in memory.
    pub sources: Vec<PathBuf>,
    /// Process-wide settings; a change needs a new process.
    pub runtime: Runtime,
    /// Where the data plane answers its admin API.
    pub admin: Admin,
    /// By name.
    pub listeners: BTreeMap<Arc<str>, Listener>,
    /// By name.
    pub clusters: BTreeMap<Arc<str>, Cluster>,
    /// Present when `[postgres]` is.
    pub postgres: Option<Postgres>,
}

/// `[runtime]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// How many shards (data-plane threads).
    pub shards: Shards,
    /// Pin each shard to a core when there are at least as many cores as shards. Default true.
    pub pin: bool,
    /// How long a drain waits for open work before it closes it. Default 30 s.
    pub drain_timeout: Duration,
    /// Bytes of one I/O buffer. Default 16 KiB; 4 KiB to 1 MiB.
    pub buffer_bytes: usize,
    /// Client connections over all listeners and shards. Default 100,000.
    pub max_connections: usize,
    /// The longest that a shard lets events gather before a turn; zero: it does not. Default
    /// 150 µs.
    pub coalesce: Duration,
    /// Watch the configuration files and reload when they change. Default true.
    pub watch: bool,
}

/// `runtime.shards`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shards {
    /// One per core this process may run on.
    Auto,
    /// Exactly so many.
    Count(NonZeroUsize),
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Unix socket, guarded by peer credentials. `None`: the default place
    /// (`$XDG_RUNTIME_DIR/bs9/dataplane.sock`, else `/run/bs9/dataplane.sock`).
    pub socket: Option<PathBuf>,
    /// Optional TCP address. Without a token only `/metrics` and `/health/*`
    /// answer there.
    pub listen: Option<SocketAddr>,
    /// Bearer tokens for the TCP address.
    pub tokens: Vec<AdminToken>,
}

/// `[[admin.tokens]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// Who it is, for logs and audit.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// The token itself.
    pub token: Secret,
}

/// What a caller of the admin API may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read.
    Viewer,
    /// Read, and operate: drain, weights, endpoints, reload, pause.
    Operator,
    /// Everything.
    Admin,
}

/// A password, token or key. Never shown: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself; keep it out of logs and answers.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `[listeners.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens; at least one.
    pub bind: Vec<BindAddress>,
    /// Client connections at once on this listener, over all shards; `None`:
    /// only the process-wide limit holds.
    pub max_connections: Option<usize>,
    /// Accept queue length handed to `listen(2)`. Default 4,096.
    pub backlog: u32,
    /// TLS towards clients; `None`: plaintext.
    pub tls: Option<Arc<ListenerTls>>,
    /// What is spoken on it, with that protocol's settings.
    pub protocol: ListenerProtocol,
}

/// `protocol`, with the settings that only this protocol has.
#[derive(Debug, Clone, PartialEq)]
pub enum ListenerProtocol {
    /// `http`.
    Http(HttpListener),
    /// `tcp`.
    Tcp(TcpListener),
    /// `postgres`; its settings are `[postgres]`.
    Postgres,
}

impl ListenerProtocol {
    /// The word used in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Postgres => "postgres",
        }
    }
}

/// One entry of `bind`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindAddress {
    /// `host:port`; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[clusters.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// May be empty: requests are then answered 503.
    pub endpoints: Vec<Endpoint>,
    /// Active health checks; `None`: every endpoint counts as healthy.
    pub health_check: Option<HealthCheck>,
    /// Limit for establishing one upstream connection. Default 5 s.
    pub connect_timeout: Duration,
    /// How long an upstream connection may stay idle in the pool. Default 60 s.
    pub idle_timeout: Duration,
    /// Idle upstream connections kept per endpoint and shard. Default 256.
    pub max_idle_connections: usize,
    /// Upstream connections per endpoint at once, over all shards; `None`: no limit.
    pub max_connections: Option<usize>,
    /// TLS towards the endpoints; `None`: plaintext.
    pub tls: Option<Arc<ClusterTls>>,
}

/// `balance`. Only what this version carries out; other words of the contract
/// are refused with a clear error.
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
    /// Uniformly at random, by weight.
    Random,
}

impl Balance {
    /// The word used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::LeastConnections => "least-connections",
            Self::P2c => "p2c",
            Self::Random => "random",
        }
    }
}

/// One entry of `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// 0 to 65,535; 0 takes no new traffic. Default 1.
    pub weight: u16,
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

/// `health_check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is probed.
    pub probe: Probe,
    /// Between the starts of two probes. Default 5 s.
    pub interval: Duration,
    /// Limit of one probe. Default 1 s.
    pub timeout: Duration,
    /// Successes in a row until healthy ("rise"). Default 2.
    pub healthy_after: u32,
    /// Failures in a row until unhealthy ("fall"). Default 3.
    pub unhealthy_after: u32,
}

/// How a health check probes. `path` in the configuration makes it HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A TCP (or unix) connection is accepted.
    Tcp,
    /// `GET path` is answered with a 2xx or 3xx status.
    Http {
        /// Request target, starting with `/`.
        path: Arc<str>,
        /// `Host` header; `None`: the endpoint's address.
        host: Option<Arc<str>>,
    },
}

/// The configuration's own number, counted up with every one put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
