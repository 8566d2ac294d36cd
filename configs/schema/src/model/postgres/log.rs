//! What is logged of queries, and who may see the pools' state.

use std::{sync::Arc, time::Duration};

/// The log of slow queries.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryLog {
    /// Queries that take at least this long are logged; `None`: none.
    pub slow_query: Option<Duration>,
    /// Which share of them, a ratio. Default 1.
    pub sample: f64,
    /// With the literals in them. Default false: each is a `?`.
    pub literals: bool,
    /// Longest text of a query that is logged, bytes. Default 1 KiB.
    pub max_bytes: usize,
}

/// Who may use the console: the databases `pgbouncer` and `bs9` of a pool's listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Console {
    /// Those who may give orders.
    pub admin_users: Vec<Arc<str>>,
    /// Those who may look.
    pub stats_users: Vec<Arc<str>>,
}

impl Default for QueryLog {
    fn default() -> Self {
        Self { slow_query: None, sample: 1.0, literals: false, max_bytes: 1024 }
    }
}
