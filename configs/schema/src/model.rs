//! The validated configuration: what the rest of bs9 is given.
//!
//! Raw text never leaves this crate. A [`Config`] is complete (defaults filled
//! in, paths absolute, names resolved) and plain data: comparing two of them
//! says exactly what a reload has to touch.

use std::{
    collections::BTreeMap, fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc,
    time::Duration,
};

mod access_log;
mod admin;
mod admission;
mod cluster;
mod history;
mod http;
mod manager;
mod postgres;
mod retries;
mod route;
mod service;
mod tcp;
mod tls;
mod udp;
mod upstream;

pub use access_log::{AccessLog, LogField, LogFormat, LogOutput, Rotation, TemplatePiece};
pub use admin::{Admin, AdminPeer, AdminToken, PeerId, RateLimit};
pub use admission::{Admission, Network, ProxyProtocol, ProxyProtocolIn, TrustedProxies};
pub use cluster::{
    Balance, Cluster, Endpoint, EndpointAddress, Expectation, HashKey, HealthCheck, Outliers,
    Probe, Queue, SameSite, StatusRange, Sticky,
};
pub use history::{History, HistoryStore, PostgresStore, Retention, StoreTls};
pub use http::{
    ForwardedField, Http2, HttpListener, HttpsRedirect, RequestId, Route, TraceContext,
};
pub use manager::{Audit, Collect, DataPlaneLink, Events, ManagerConfig, ServicesPlace};
pub use postgres::{
    Access, AuthQuery, ChannelBinding, ClientCertificate, ClientSslMode, Console, Database,
    DatabaseLimits, DatabaseTls, Hba, HbaAddress, HbaConnection, HbaDatabase, HbaMethod,
    HbaPattern, HbaRule, HbaUser, IdentMaps, IdentUser, LoginAttempts, PoolLimits, PoolMode,
    Postgres, PostgresAuth, PostgresUser, ProtocolLevel, QueryLog, ServerAddress, SessionState,
    SslMode, Stateful, UserLimits, UserSecret,
};
pub use retries::{Retries, RetryReason};
pub use route::{
    HeaderEdits, HeaderField, HostMatch, Location, LocationTarget, NamedMatch, Part, PathMatch,
    PathNormalization, PathRewrite, Pattern, Piece, Rewrite, RouteAction, RouteMatch, SplitBy,
    ValueMatch, WeightedCluster,
};
pub use service::{
    Compiler, Hardening, Instances, ProxyWiring, Readiness, ReadySign, Relaxation, RestartPolicy,
    RestartWhen, Run, Service, ServiceHealthCheck, ServiceLimits, ServiceScope, SourceWatch, Stop,
};
pub use tcp::{SniRoute, TcpListener};
pub use tls::{
    ClientAuth, ClusterTls, FromFile, Hsts, Identity, ListenerTls, RevocationLists,
    ServerCertificate, ServerName, TlsVersions, Trust, Verify,
};
pub use udp::UdpListener;
pub use upstream::{UpstreamHttp2, UpstreamProtocol};

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
    /// 200 µs.
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
    /// Who may connect, and who is believed about clients.
    pub admission: Arc<Admission>,
    /// What is written about each request, connection or session; `None`: nothing.
    pub access_log: Option<Arc<AccessLog>>,
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
    /// `udp`.
    Udp(UdpListener),
    /// `postgres`; its settings are `[postgres]`.
    Postgres,
}

impl ListenerProtocol {
    /// The word used in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
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

/// The configuration's own number, counted up with every one put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
