//! `[postgres]`: the connection pool.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::Secret;

mod access;
mod hba;
mod limits;
mod log;
mod session;
mod tls;

pub use access::{Access, AuthQuery, IdentMaps, IdentUser, LoginAttempts};
pub use hba::{
    ClientCertificate, Hba, HbaAddress, HbaConnection, HbaDatabase, HbaMethod, HbaPattern, HbaRule,
    HbaUser,
};
pub use limits::{DatabaseLimits, PoolLimits, UserLimits};
pub use log::{Console, QueryLog};
pub use session::{SessionState, Stateful};
pub use tls::{ChannelBinding, ClientSslMode, DatabaseTls, ProtocolLevel, SslMode};

/// `[postgres]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Postgres {
    /// How clients prove themselves.
    pub auth: PostgresAuth,
    /// Where else users come from, and what bounds attempts.
    pub access: Access,
    /// Default for databases that do not say.
    pub pool_mode: PoolMode,
    /// Server connections per (database, user). Default 20.
    pub pool_size: usize,
    /// Client connections at once. Default 10,000.
    pub max_client_connections: usize,
    /// Clients waiting for a server per pool; more are refused. Default 10,000.
    pub max_waiting_clients: usize,
    /// A client waiting for a server; then its query is refused and it is disconnected. Default 120 s.
    pub wait_timeout: Duration,
    /// Establishing and logging in one server connection. Default 15 s.
    pub connect_timeout: Duration,
    /// A client's login. Default 60 s.
    pub login_timeout: Duration,
    /// An idle server connection older than this is closed. Default 1 h.
    pub server_lifetime: Duration,
    /// A server connection idle for this long is closed. Default 10 min.
    pub server_idle_timeout: Duration,
    /// A client connection that sends nothing outside a transaction; `None`: never.
    pub client_idle_timeout: Option<Duration>,
    /// A client that keeps a transaction open and sends nothing; `None`: never.
    pub idle_transaction_timeout: Option<Duration>,
    /// Sent to a server connection between two clients of session mode.
    /// Default `DISCARD ALL`; empty: nothing.
    pub reset_query: Arc<str>,
    /// Prepared statements a server connection keeps in transaction and statement mode; 0: they
    /// are not looked after. Default 200.
    pub max_prepared_statements: usize,
    /// What bounds pools besides their size.
    pub limits: PoolLimits,
    /// How state that a session keeps is handled.
    pub session_state: SessionState,
    /// What is logged of queries.
    pub log: QueryLog,
    /// Who may use the console.
    pub console: Console,
    /// By the name clients connect to; `*` is the fallback.
    pub databases: BTreeMap<Arc<str>, Database>,
    /// By name, those of `auth_file` included.
    pub users: BTreeMap<Arc<str>, PostgresUser>,
}

/// `auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresAuth {
    /// `scram-sha-256` (RFC 7677). The default.
    ScramSha256,
    /// `md5`. A user whose secret is a SCRAM verifier is asked for SCRAM.
    Md5,
    /// `trust`: the user must still be known, unless a database forces one.
    Trust,
    /// `cert`: a client certificate for the user's name.
    Cert,
    /// `hba:FILE`: by rules.
    Hba(Arc<Hba>),
}

/// `pool_mode`: when a server connection goes back to its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolMode {
    /// When the client leaves.
    Session,
    /// When a transaction ends. The default.
    #[default]
    Transaction,
    /// After each statement; transactions over several are refused.
    Statement,
}

impl PoolMode {
    /// The word used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

/// `[postgres.databases.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// The name clients connect to, or `*`.
    pub name: Arc<str>,
    /// Where the server is.
    pub address: ServerAddress,
    /// Its name on the server; `None`: the name the client asked for.
    pub dbname: Option<Arc<str>>,
    /// Log in to the server as this user, whoever the client is.
    pub user: Option<Arc<str>>,
    /// That user's password in plain text (a SCRAM verifier cannot log in anywhere).
    pub password: Option<Secret>,
    /// Server connections per pool.
    pub pool_size: usize,
    /// When a server connection goes back.
    pub pool_mode: PoolMode,
    /// What else bounds it.
    pub limits: DatabaseLimits,
    /// Where users of it come from that are not listed: its own `auth_user`, `auth_query` and
    /// `auth_dbname`, or those of `[postgres]`.
    pub auth_query: Option<AuthQuery>,
    /// TLS towards its server; `None`: plaintext.
    pub tls: Option<Arc<DatabaseTls>>,
    /// The newest protocol its server is asked to speak. Default 3.0.
    pub max_protocol: ProtocolLevel,
}

/// Where a PostgreSQL server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// `host` (name or address) and `port`. Defaults `127.0.0.1`, 5432.
    Tcp {
        /// Name or address.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
    /// `host = "/folder"`: the socket itself, `/folder/.s.PGSQL.PORT`.
    Unix(PathBuf),
}

impl ServerAddress {
    /// A host, or the folder of a Unix socket.
    pub(crate) fn of(host: Arc<str>, port: u16) -> Self {
        match host.starts_with('/') {
            true => Self::Unix(Path::new(&*host).join(format!(".s.PGSQL.{port}"))),
            false => Self::Tcp { host, port },
        }
    }
}

/// `[postgres.users.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUser {
    /// Its name.
    pub name: Arc<str>,
    /// What it proves itself with, and what is used towards the server when the
    /// database forces no user. `None`: only with `auth = "trust"`.
    pub secret: Option<UserSecret>,
    /// What bounds it.
    pub limits: UserLimits,
}

/// A user's `password`, by its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserSecret {
    /// Plain text.
    Plain(Secret),
    /// `md5` and 32 hex digits.
    Md5(Secret),
    /// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    Scram(Secret),
}
