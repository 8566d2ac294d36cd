//! `[history]` of `manager.toml`: what is remembered, where, and for how long.

use std::{sync::Arc, time::Duration};

use super::{Secret, ServerAddress, Verify};

/// `[history]` of the manager: recent points in memory, and series that last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// How far back the data plane's points in memory go. Default 15 min.
    pub keep: Duration,
    /// Between two of those. Default 1 s; `keep` is at most 100,000 of them.
    pub resolution: Duration,
    /// Series that last; `None`: not kept.
    pub store: Option<HistoryStore>,
}

/// `[history.store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStore {
    /// Bytes of the SQLite database at most; the oldest are given up first. Default
    /// 2 GiB.
    pub size_limit_bytes: u64,
    /// Series at once; further ones are not kept, and counted. Default 5,000.
    pub max_series: usize,
    /// How long each resolution is kept.
    pub keep: Retention,
    /// A PostgreSQL database that takes the place of the SQLite one.
    pub postgres: Option<PostgresStore>,
}

/// How long each resolution of history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Points of one second. Default 2 h.
    pub second: Duration,
    /// Points of ten seconds. Default 2 days.
    pub ten_seconds: Duration,
    /// Points of a minute. Default 30 days.
    pub minute: Duration,
    /// Points of an hour. Default 2 years.
    pub hour: Duration,
}

/// `[history.store.postgres.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTls {
    /// How the server's certificate is judged.
    pub verify: Verify,
    /// The name asked for and verified; `None`: the server's host.
    pub server_name: Option<Arc<str>>,
}

/// `[history.store.postgres]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresStore {
    /// The server, or a pool in front of it. Default 127.0.0.1, port 5432.
    pub address: ServerAddress,
    /// Default `bs9`.
    pub dbname: Arc<str>,
    /// Default `bs9`.
    pub user: Arc<str>,
    /// Absent: the server asks for none.
    pub password: Option<Secret>,
    /// How the way to it is encrypted; `None`: not at all.
    pub tls: Option<StoreTls>,
    /// The schema of its tables: a lower-case identifier. Default `bs9`.
    pub schema: Arc<str>,
    /// What this machine is called in the store. `None`: its host name.
    pub host_name: Option<Arc<str>>,
    /// Connections at most. Default 2.
    pub connections: usize,
    /// Bytes of batches that wait while the database is away. Default 32 MiB.
    pub spool_bytes: u64,
    /// Limit of one transaction. Default 10 s.
    pub timeout: Duration,
}
