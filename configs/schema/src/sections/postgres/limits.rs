//! What bounds pools besides their size.

use std::time::Duration;

use crate::{
    model::{DatabaseLimits, PoolLimits, UserLimits},
    read::{Key, Scope, duration, float, integer, size},
    sections::{DAY, HOUR, MILLISECOND},
};

const MAX_SERVERS: i64 = 10_000;
const MAX_CLIENTS: i64 = 1_000_000;
/// Room for the longest there is.
const MIN_NOTIFICATIONS: u64 = 16 << 10;

pub(super) fn limits(t: &mut Scope<'_>) -> PoolLimits {
    let database = DatabaseLimits {
        min_pool_size: t.or(
            Key::new("min_pool_size", "Server connections of a pool that are kept even when nobody needs them. A pool is there once a client has asked for it; that of a database which forces a `user` from the start."),
            integer(0..=MAX_SERVERS),
            0,
        ),
        reserve_pool_size: t.or(
            Key::new("reserve_pool_size", "Server connections of a pool beyond `pool_size`, for clients that have waited for `reserve_pool_delay`."),
            integer(0..=MAX_SERVERS),
            0,
        ),
        max_connections: t.optional(
            Key::new("max_database_connections", "Server connections of one database, over the pools of all its users. The pools share them fairly. Absent: no limit."),
            integer(1..=MAX_SERVERS),
        ),
        max_client_connections: t.optional(
            Key::new("max_database_client_connections", "Client connections of one database. Absent: no limit."),
            integer(1..=MAX_CLIENTS),
        ),
    };
    let user = UserLimits {
        max_connections: t.optional(
            Key::new("max_user_connections", "Server connections logged in as one user, over all databases. The pools share them fairly. Absent: no limit."),
            integer(1..=MAX_SERVERS),
        ),
        max_client_connections: t.optional(
            Key::new("max_user_client_connections", "Client connections of one user. Absent: no limit."),
            integer(1..=MAX_CLIENTS),
        ),
    };
    PoolLimits {
        database,
        user,
        reserve_pool_delay: t.or(
            Key::new("reserve_pool_delay", "How long a client waits before one of the reserve is connected for it."),
            duration(Duration::ZERO..=HOUR),
            "5s",
        ),
        max_concurrent_logins: t.or(
            Key::new("max_concurrent_logins", "Server connections of one pool being established at once; a server forks for each."),
            integer(1..=1_000),
            8,
        ),
        max_concurrent_server_logins: t.or(
            Key::new("max_concurrent_server_logins", "Connections to one server being established at once by all pools that it has; they take turns."),
            integer(1..=10_000),
            32,
        ),
        max_address_client_connections: t.optional(
            Key::new("max_address_client_connections", "Client connections of one IP address; those of unix sockets are not counted. Absent: no limit."),
            integer(1..=MAX_CLIENTS),
        ),
        wait_notice: Some(t.or(
            Key::new("wait_notice", "A client that has waited this long for a server connection is sent a notice. `0s`: never."),
            duration(Duration::ZERO..=HOUR),
            "5s",
        ))
        .filter(|after| !after.is_zero()),
        query_timeout: t.optional(
            Key::new("query_timeout", "A query that runs for this long is cancelled; its client is disconnected if that does not help. Absent: never."),
            duration(MILLISECOND..=30 * DAY),
        ),
        transaction_timeout: t.optional(
            Key::new("transaction_timeout", "A client whose transaction takes this long is disconnected. Absent: never."),
            duration(MILLISECOND..=30 * DAY),
        ),
        notification_queue: usize::try_from(t.or(
            Key::new("notification_queue", "With `listen = \"shared\"`, notifications that wait for a client which is in a transaction or does not read. When there are more, the client is given those and then disconnected, so that it knows."),
            size(MIN_NOTIFICATIONS..=1 << 30),
            "1MiB",
        ))
        .unwrap_or(usize::MAX),
        server_jitter: t.or(
            Key::new("server_jitter", "By how much of `server_lifetime` and `server_idle_timeout` a server connection may be closed earlier, drawn anew for each: they do not all go at once."),
            float(0.0..=1.0),
            0.1,
        ),
    }
}

/// What a database says of its own.
pub(super) struct OwnDatabaseLimits {
    min_pool_size: Option<usize>,
    reserve_pool_size: Option<usize>,
    max_connections: Option<usize>,
    max_client_connections: Option<usize>,
}

pub(super) fn database_limits(t: &mut Scope<'_>) -> OwnDatabaseLimits {
    OwnDatabaseLimits {
        min_pool_size: t.optional(
            Key::new("min_pool_size", "Overrides `postgres.min_pool_size`."),
            integer(0..=MAX_SERVERS),
        ),
        reserve_pool_size: t.optional(
            Key::new("reserve_pool_size", "Overrides `postgres.reserve_pool_size`."),
            integer(0..=MAX_SERVERS),
        ),
        max_connections: t.optional(
            Key::new("max_connections", "Overrides `postgres.max_database_connections`."),
            integer(1..=MAX_SERVERS),
        ),
        max_client_connections: t.optional(
            Key::new(
                "max_client_connections",
                "Overrides `postgres.max_database_client_connections`.",
            ),
            integer(1..=MAX_CLIENTS),
        ),
    }
}

impl OwnDatabaseLimits {
    pub(super) fn with_defaults(&self, defaults: &DatabaseLimits) -> DatabaseLimits {
        DatabaseLimits {
            min_pool_size: self.min_pool_size.unwrap_or(defaults.min_pool_size),
            reserve_pool_size: self.reserve_pool_size.unwrap_or(defaults.reserve_pool_size),
            max_connections: self.max_connections.or(defaults.max_connections),
            max_client_connections: self.max_client_connections.or(defaults.max_client_connections),
        }
    }
}

/// What a user has of its own; the defaults are filled in by [`with_user_defaults`].
pub(super) fn user_limits(t: &mut Scope<'_>) -> UserLimits {
    UserLimits {
        max_connections: t.optional(
            Key::new("max_connections", "Overrides `postgres.max_user_connections`."),
            integer(1..=MAX_SERVERS),
        ),
        max_client_connections: t.optional(
            Key::new("max_client_connections", "Overrides `postgres.max_user_client_connections`."),
            integer(1..=MAX_CLIENTS),
        ),
    }
}

pub(super) fn with_user_defaults(own: &UserLimits, defaults: &UserLimits) -> UserLimits {
    UserLimits {
        max_connections: own.max_connections.or(defaults.max_connections),
        max_client_connections: own.max_client_connections.or(defaults.max_client_connections),
    }
}
