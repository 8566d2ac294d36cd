//! What one shard counts of one pool.

use bs9_net::{Counter, Gauge};

use crate::{errors::ErrorCounts, histogram::Histogram, session::PinCounts};

/// Written by its shard alone, read by whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    pub(crate) clients_active: Gauge,
    pub(crate) clients_waiting: Gauge,
    pub(crate) servers_active: Gauge,
    pub(crate) servers_idle: Gauge,
    pub(crate) servers_used: Gauge,
    pub(crate) servers_tested: Gauge,
    pub(crate) servers_login: Gauge,
    /// When the oldest waiting client began to wait, on the process's coarse clock; 0: nobody.
    pub(crate) oldest_wait_nanoseconds: Gauge,
    pub(crate) queries: Counter,
    pub(crate) transactions: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    /// How long clients waited for a server connection.
    pub(crate) waits: Histogram,
    /// From the first message of a request to its ReadyForQuery.
    pub(crate) query_times: Histogram,
    /// From when a server connection was taken to when it was given back.
    pub(crate) transaction_times: Histogram,
    /// What servers refused.
    pub(crate) errors: ErrorCounts,
    /// Server connections that stayed with their client, by reason.
    pub(crate) pins: PinCounts,
    /// Servers told what a client had set, in a round trip of its own.
    pub(crate) synchronisations: Counter,
    /// Notifications given to clients that listen by way of the shared connection.
    pub(crate) notifications: Counter,
    /// Clients that were disconnected because they did not take theirs.
    pub(crate) notification_overflows: Counter,
    /// Shared listening connections that broke.
    pub(crate) listener_losses: Counter,
    pub(crate) slow_queries: Counter,
    pub(crate) query_timeouts: Counter,
    pub(crate) wait_timeouts: Counter,
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) closed_dirty: Counter,
    pub(crate) handovers: Counter,
    pub(crate) cancels: Counter,
    /// Prepared statements that were on the server connection when they were wanted.
    pub(crate) prepared_hits: Counter,
    /// Prepared statements sent to a server connection that lacked them.
    pub(crate) prepared_misses: Counter,
    /// Prepared statements closed to make room for others.
    pub(crate) prepared_evictions: Counter,
}

/// Where a server connection stands: PgBouncer's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Being established.
    Login,
    /// Linked to a client.
    Active,
    /// Ready to be used.
    Idle,
    /// Given back, but a cancel request for it is under way.
    Used,
    /// Running the pool's own queries: reset.
    Tested,
}

impl Place {
    /// PgBouncer's word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Used => "used",
            Self::Tested => "tested",
        }
    }
}

impl Cell {
    pub(crate) fn servers_at(&self, place: Place) -> &Gauge {
        match place {
            Place::Login => &self.servers_login,
            Place::Active => &self.servers_active,
            Place::Idle => &self.servers_idle,
            Place::Used => &self.servers_used,
            Place::Tested => &self.servers_tested,
        }
    }
}
