//! The columns of the console's answers: PgBouncer 1.25's, in its order.

use bs9_wire::encode::backend;

/// Name and type.
pub(super) type Column = (&'static str, i32);

/// PostgreSQL's type ids.
const TEXT: i32 = 25;
const INT4: i32 = 23;
const NUMERIC: i32 = 1700;

pub(super) const VERSION: &[Column] = &[("version", TEXT)];

pub(super) const POOLS: &[Column] = &[
    ("database", TEXT),
    ("user", TEXT),
    ("cl_active", INT4),
    ("cl_waiting", INT4),
    ("cl_active_cancel_req", INT4),
    ("cl_waiting_cancel_req", INT4),
    ("sv_active", INT4),
    ("sv_active_cancel", INT4),
    ("sv_being_canceled", INT4),
    ("sv_idle", INT4),
    ("sv_used", INT4),
    ("sv_tested", INT4),
    ("sv_login", INT4),
    ("maxwait", INT4),
    ("maxwait_us", INT4),
    ("pool_mode", TEXT),
    ("load_balance_hosts", TEXT),
];

/// Of `SHOW CLIENTS` and `SHOW SERVERS`.
pub(super) const SOCKETS: &[Column] = &[
    ("type", TEXT),
    ("user", TEXT),
    ("database", TEXT),
    ("replication", TEXT),
    ("state", TEXT),
    ("addr", TEXT),
    ("port", INT4),
    ("local_addr", TEXT),
    ("local_port", INT4),
    ("connect_time", TEXT),
    ("request_time", TEXT),
    ("wait", INT4),
    ("wait_us", INT4),
    ("close_needed", INT4),
    ("ptr", TEXT),
    ("link", TEXT),
    ("remote_pid", INT4),
    ("tls", TEXT),
    ("application_name", TEXT),
    ("prepared_statements", INT4),
    ("id", INT4),
];

pub(super) const STATS: &[Column] = &[
    ("database", TEXT),
    ("total_server_assignment_count", NUMERIC),
    ("total_xact_count", NUMERIC),
    ("total_query_count", NUMERIC),
    ("total_received", NUMERIC),
    ("total_sent", NUMERIC),
    ("total_xact_time", NUMERIC),
    ("total_query_time", NUMERIC),
    ("total_wait_time", NUMERIC),
    ("total_client_parse_count", NUMERIC),
    ("total_server_parse_count", NUMERIC),
    ("total_bind_count", NUMERIC),
    ("avg_server_assignment_count", NUMERIC),
    ("avg_xact_count", NUMERIC),
    ("avg_query_count", NUMERIC),
    ("avg_recv", NUMERIC),
    ("avg_sent", NUMERIC),
    ("avg_xact_time", NUMERIC),
    ("avg_query_time", NUMERIC),
    ("avg_wait_time", NUMERIC),
    ("avg_client_parse_count", NUMERIC),
    ("avg_server_parse_count", NUMERIC),
    ("avg_bind_count", NUMERIC),
];

/// What is summed of each database: the first half of [`STATS`].
pub(super) const STATS_TOTALS: &[Column] = &[
    ("database", TEXT),
    ("server_assignment_count", NUMERIC),
    ("xact_count", NUMERIC),
    ("query_count", NUMERIC),
    ("bytes_received", NUMERIC),
    ("bytes_sent", NUMERIC),
    ("xact_time", NUMERIC),
    ("query_time", NUMERIC),
    ("wait_time", NUMERIC),
    ("client_parse_count", NUMERIC),
    ("server_parse_count", NUMERIC),
    ("bind_count", NUMERIC),
];

/// The averages: the second half of [`STATS`]. Only the last three are called so.
pub(super) const STATS_AVERAGES: &[Column] = &[
    ("database", TEXT),
    ("server_assignment_count", NUMERIC),
    ("xact_count", NUMERIC),
    ("query_count", NUMERIC),
    ("bytes_received", NUMERIC),
    ("bytes_sent", NUMERIC),
    ("xact_time", NUMERIC),
    ("query_time", NUMERIC),
    ("wait_time", NUMERIC),
    ("avg_client_parse_count", NUMERIC),
    ("avg_server_parse_count", NUMERIC),
    ("avg_bind_count", NUMERIC),
];

/// Over all databases: a row for each number.
pub(super) const TOTALS: &[Column] = &[("name", TEXT), ("value", NUMERIC)];

/// The names in [`TOTALS`], each with `total_` and then each with `avg_` in front.
pub(super) const TOTALS_NAMES: [&str; 11] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
];

pub(super) const DATABASES: &[Column] = &[
    ("name", TEXT),
    ("host", TEXT),
    ("port", INT4),
    ("database", TEXT),
    ("force_user", TEXT),
    ("pool_size", INT4),
    ("min_pool_size", INT4),
    ("reserve_pool_size", INT4),
    ("server_lifetime", INT4),
    ("pool_mode", TEXT),
    ("load_balance_hosts", TEXT),
    ("max_connections", INT4),
    ("current_connections", INT4),
    ("max_client_connections", INT4),
    ("current_client_connections", INT4),
    ("paused", INT4),
    ("disabled", INT4),
];

pub(super) const USERS: &[Column] = &[
    ("name", TEXT),
    ("pool_size", TEXT),
    ("reserve_pool_size", TEXT),
    ("pool_mode", TEXT),
    ("max_user_connections", INT4),
    ("current_connections", INT4),
    ("max_user_client_connections", INT4),
    ("current_client_connections", INT4),
];

pub(super) const CONFIG: &[Column] =
    &[("key", TEXT), ("value", TEXT), ("default", TEXT), ("changeable", TEXT)];

pub(super) const LISTS: &[Column] = &[("list", TEXT), ("items", INT4)];

pub(super) const STATE: &[Column] = &[("key", TEXT), ("value", TEXT)];

/// Writes the RowDescription.
pub(super) fn describe(out: &mut Vec<u8>, columns: &[Column]) {
    backend::row_description(out, columns.iter().copied());
}
