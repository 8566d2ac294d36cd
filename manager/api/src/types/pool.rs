//! PostgreSQL pools. The state names are PgBouncer's, meant exactly as it means them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CountByReason, SCHEMA};

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
    /// Server connections that are kept for nobody.
    #[serde(default)]
    pub min_pool_size: u64,
    /// Server connections beyond `pool_size`, for clients that have waited long.
    #[serde(default)]
    pub reserve_pool_size: u64,
    /// How long the oldest waiting client has waited, seconds.
    pub max_wait_seconds: f64,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether new clients are refused.
    #[serde(default)]
    pub disabled: bool,
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
    /// Waits for a server connection.
    #[serde(default)]
    pub wait_times: DurationHistogram,
    /// Requests, from their first message to their ReadyForQuery.
    #[serde(default)]
    pub query_times: DurationHistogram,
    /// Transactions.
    #[serde(default)]
    pub transaction_times: DurationHistogram,
    /// Queries cancelled for running too long.
    #[serde(default)]
    pub query_timeouts_total: u64,
    /// Slow queries logged.
    #[serde(default)]
    pub slow_queries_total: u64,
    /// Round trips that brought a server connection to a client's parameters.
    #[serde(default)]
    pub server_synchronisations_total: u64,
    /// Notifications given to clients that share a listening connection.
    #[serde(default)]
    pub notifications_total: u64,
    /// Clients disconnected because they did not take theirs.
    #[serde(default)]
    pub notification_overflows_total: u64,
    /// Shared listening connections that broke: what was notified until they were back is lost.
    #[serde(default)]
    pub listener_losses_total: u64,
    /// Errors of servers, by class of SQLSTATE; those that have occurred.
    #[serde(default)]
    pub errors_total: Vec<CountByReason>,
    /// Server connections that stayed with their client, by reason; those that have occurred.
    #[serde(default)]
    pub pins_total: Vec<CountByReason>,
}

/// How long things took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DurationHistogram {
    /// Ever longer.
    pub buckets: Vec<DurationBucket>,
    /// How many there were, longer ones than the last bucket's included.
    pub count: u64,
    /// How long they took together.
    pub sum_seconds: f64,
}

/// Part of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DurationBucket {
    /// The longest that is counted here.
    pub at_most_seconds: f64,
    /// How many took at most that long.
    pub count: u64,
}

impl DurationHistogram {
    /// The time that `share` (0 to 1) of all did not exceed, by the bound of its bucket; `None`
    /// when there were none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = share * self.count as f64;
        let bucket = self.buckets.iter().find(|bucket| bucket.count as f64 >= rank);
        bucket.or(self.buckets.last()).map(|bucket| bucket.at_most_seconds)
    }

    /// What has been added since `before`, an earlier state of the same histogram.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let earlier = |at: usize| before.buckets.get(at).map_or(0, |bucket| bucket.count);
        let added = self.buckets.iter().enumerate().map(|(at, bucket)| DurationBucket {
            count: bucket.count.saturating_sub(earlier(at)),
            ..*bucket
        });
        Self {
            buckets: added.collect(),
            count: self.count.saturating_sub(before.count),
            sum_seconds: (self.sum_seconds - before.sum_seconds).max(0.0),
        }
    }
}

/// A client of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolClient {
    /// The name it connected to.
    pub database: String,
    /// As whom it logged in.
    pub user: String,
    /// The user of its pool.
    pub pool_user: String,
    /// `active`: a server works for it; `waiting`: it waits for one; `idle`.
    pub state: String,
    /// Where it connected from.
    pub address: String,
    /// The shard that serves it.
    pub shard: usize,
    /// How long it has been connected.
    pub connected_seconds: f64,
    /// How long it has been active or waiting.
    pub state_seconds: Option<f64>,
    /// Process id of the server that works for it.
    pub server_process_id: Option<i32>,
}

/// A server connection of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolServer {
    /// The name clients connect to.
    pub database: String,
    /// As whom it is logged in.
    pub user: String,
    /// `active`, `idle`, `used`, `tested` or `login`.
    pub state: String,
    /// Where the server is.
    pub address: String,
    /// Its process id; 0 during login.
    pub process_id: i32,
    /// The shard it is on; none of a connection that users are looked up by (`auth_query`).
    pub shard: Option<usize>,
    /// How long it has been on that shard, or there at all.
    pub connected_seconds: f64,
    /// How long ago a client was last given it.
    pub used_seconds: f64,
}

/// `GET /v1/pools/clients`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolClients {
    /// Version of this shape.
    pub schema: u32,
    /// In (database, user) order.
    pub clients: Vec<PoolClient>,
}

impl PoolClients {
    /// The answer with these clients.
    pub fn new(clients: Vec<PoolClient>) -> Self {
        Self { schema: SCHEMA, clients }
    }
}

/// `GET /v1/pools/servers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolServers {
    /// Version of this shape.
    pub schema: u32,
    /// In (database, user) order.
    pub servers: Vec<PoolServer>,
}

impl PoolServers {
    /// The answer with these servers.
    pub fn new(servers: Vec<PoolServer>) -> Self {
        Self { schema: SCHEMA, servers }
    }
}

/// What can be ordered of the pools of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PoolOrder {
    /// Hand out no server connection; each is closed as soon as its transaction ends.
    Pause,
    /// Undo a pause.
    Resume,
    /// Close each server connection as soon as its transaction ends, and connect anew.
    Reconnect,
    /// Let no new client in.
    Disable,
    /// Undo that.
    Enable,
    /// Disconnect every client and server at once, and pause.
    Kill,
}

/// `POST /v1/pools/orders`. What is ordered holds until it is ordered otherwise, reloads
/// included, and not beyond the life of the process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderPools {
    /// What is to be done.
    pub order: PoolOrder,
    /// The name clients connect to; absent: every database.
    #[serde(default)]
    pub database: Option<String>,
    /// How long a pause may take until no server connection is left; then the answer is an
    /// error, and the pause goes on. Absent: 30 s.
    #[serde(default)]
    pub timeout_seconds: Option<f64>,
}

impl PoolOrder {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Reconnect => "reconnect",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Kill => "kill",
        }
    }

    /// The word for a database it was carried out on.
    pub fn done(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Reconnect => "reconnecting",
            Self::Disable => "disabled",
            Self::Enable => "enabled",
            Self::Kill => "killed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: [u64; 3]) -> DurationHistogram {
        let bounds = [0.1, 0.2, 0.4];
        let buckets = bounds.into_iter().zip(counts);
        let buckets =
            buckets.map(|(at_most_seconds, count)| DurationBucket { at_most_seconds, count });
        DurationHistogram { buckets: buckets.collect(), count: counts[2], sum_seconds: 1.0 }
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let times = histogram([5, 9, 10]);
        for (share, wanted) in [(0.5, 0.1), (0.51, 0.2), (0.9, 0.2), (0.99, 0.4), (1.0, 0.4)] {
            assert_eq!(times.quantile(share), Some(wanted), "{share}");
        }
        assert_eq!(DurationHistogram::default().quantile(0.5), None);
    }

    #[test]
    fn what_was_added_since() {
        let added = histogram([5, 9, 10]).since(&histogram([1, 1, 2]));
        assert_eq!(added.count, 8);
        assert_eq!(added.quantile(0.5), Some(0.1));
    }
}
