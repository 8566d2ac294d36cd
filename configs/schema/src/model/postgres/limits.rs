//! What bounds pools besides their size.

use std::time::Duration;

/// Limits of `[postgres]`, the defaults of databases and users among them.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolLimits {
    /// Logins at a server at once, per pool. Default 8.
    pub max_concurrent_logins: usize,
    /// Logins at one server at once, of all pools. Default 32.
    pub max_concurrent_server_logins: usize,
    /// How long a client waits before a server beyond `pool_size` may be connected for it.
    /// Default 5 s.
    pub reserve_pool_delay: Duration,
    /// Client connections of one address; `None`: no limit.
    pub max_address_client_connections: Option<usize>,
    /// A waiting client is told so after this long; `None`: never. Default 5 s.
    pub wait_notice: Option<Duration>,
    /// A query that runs longer is cancelled; `None`: never.
    pub query_timeout: Option<Duration>,
    /// A transaction that takes longer ends its client's connection; `None`: never.
    pub transaction_timeout: Option<Duration>,
    /// Notifications that wait for a client which does not take them, bytes; more end its
    /// connection. Default 1 MiB.
    pub notification_queue: usize,
    /// By how much of `server_lifetime` and `server_idle_timeout` a server connection may be
    /// closed earlier, drawn anew for each: a ratio. Default 0.1.
    pub server_jitter: f64,
    /// Defaults of databases.
    pub database: DatabaseLimits,
    /// Defaults of users.
    pub user: UserLimits,
}

/// Limits of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatabaseLimits {
    /// Server connections per pool that are kept even when nobody needs them. Default 0.
    pub min_pool_size: usize,
    /// Server connections per pool beyond `pool_size`, for clients that have waited for
    /// `reserve_pool_delay`. Default 0.
    pub reserve_pool_size: usize,
    /// Server connections of all its pools together; `None`: no limit.
    pub max_connections: Option<usize>,
    /// Client connections; `None`: no limit.
    pub max_client_connections: Option<usize>,
}

/// Limits of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserLimits {
    /// Server connections logged in as this user, over all databases; `None`: no limit.
    pub max_connections: Option<usize>,
    /// Client connections; `None`: no limit.
    pub max_client_connections: Option<usize>,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            notification_queue: 1 << 20,
            max_concurrent_logins: 8,
            max_concurrent_server_logins: 32,
            reserve_pool_delay: Duration::from_secs(5),
            max_address_client_connections: None,
            wait_notice: Some(Duration::from_secs(5)),
            query_timeout: None,
            transaction_timeout: None,
            server_jitter: 0.1,
            database: DatabaseLimits::default(),
            user: UserLimits::default(),
        }
    }
}
