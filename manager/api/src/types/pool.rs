//! PostgreSQL pools. The state names are PgBouncer's, meant exactly as it means them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Server connections of one (database, user), and the clients that use them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolStatus {
    /// The name clients connect to.
    pub database: String,
    /// The user the server connections are logged in as.
    pub user: String,
    /// `session`, `transaction` or `statement`.
    pub pool_mode: String,
    /// Clients linked to a server connection, or idle without one.
    pub clients_active: u64,
    /// Clients waiting for a server connection.
    pub clients_waiting: u64,
    /// Server connections linked to a client.
    pub servers_active: u64,
    /// Server connections ready to be used.
    pub servers_idle: u64,
    /// Server connections idle but not yet fit for use (being checked).
    pub servers_used: u64,
    /// Server connections running a reset or check query.
    pub servers_tested: u64,
    /// Server connections being established.
    pub servers_login: u64,
    /// Most server connections there may be.
    pub pool_size: u64,
    /// How long the oldest waiting client has waited, seconds.
    pub max_wait_seconds: f64,
    /// Whether it is paused.
    pub paused: bool,
    /// Queries forwarded.
    pub queries_total: u64,
    /// Transactions finished.
    pub transactions_total: u64,
    /// Received from clients.
    pub received_bytes_total: u64,
    /// Sent to clients.
    pub sent_bytes_total: u64,
    /// Time clients spent waiting for a server connection.
    pub wait_seconds_total: f64,
    /// Waits that ended in the wait timeout.
    pub wait_timeouts_total: u64,
    /// Server connections made.
    pub server_connects_total: u64,
    /// Server connections that could not be made or logged in.
    pub server_connect_failures_total: u64,
    /// Server connections closed because they were not provably clean.
    pub servers_closed_dirty_total: u64,
    /// Server connections handed from one shard to another.
    pub server_handovers_total: u64,
    /// Cancel requests passed on.
    pub cancels_total: u64,
    /// Prepared statements that were on the server connection when they were wanted.
    pub prepared_hits_total: u64,
    /// Prepared statements sent to a server connection that lacked them.
    pub prepared_misses_total: u64,
    /// Prepared statements closed to make room for others.
    pub prepared_evictions_total: u64,
}
