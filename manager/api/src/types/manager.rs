//! The manager's own answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AuditHead, DataPlaneStatus, StoreStatus};

/// `GET /v1/status` of the manager: both roles in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ManagerStatus {
    /// Version of this shape.
    pub schema: u32,
    /// Version of the program.
    pub version: String,
    /// The manager's process id.
    pub pid: u32,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// The data plane as last seen.
    pub data_plane: DataPlaneView,
    /// How much history is kept.
    pub history: HistoryStatus,
    /// How history on disk fares.
    #[serde(default)]
    pub store: StoreStatus,
    /// The newest record of the audit log.
    #[serde(default)]
    pub audit: AuditHead,
}

/// The data plane as the manager sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DataPlaneView {
    /// Whether the last poll was answered.
    pub reachable: bool,
    /// Since when that is so.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Why it is not reachable.
    pub reason: Option<String>,
    /// When `status` was read; older than `since` when it is not reachable.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub seen_at: Option<Timestamp>,
    /// The last answer.
    pub status: Option<DataPlaneStatus>,
    /// What happened to the generation since the last poll: requests and queries per second, from counters.
    pub rates: Option<Rates>,
}

/// Rates over the last poll interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// HTTP requests.
    pub requests_per_second: f64,
    /// HTTP responses of class 5xx.
    pub server_errors_per_second: f64,
    /// PostgreSQL queries.
    pub queries_per_second: f64,
    /// PostgreSQL transactions.
    pub transactions_per_second: f64,
    /// Client connections accepted.
    pub accepts_per_second: f64,
}

/// How much history the manager keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryStatus {
    /// Points kept now.
    pub points: u64,
    /// The oldest one.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_at: Option<Timestamp>,
    /// Points kept at most.
    pub capacity_points: u64,
}

/// One point of history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryPoint {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether the data plane answered.
    pub reachable: bool,
    /// Client connections open.
    pub open_connections: u64,
    /// Endpoints that take no traffic because they are unhealthy.
    pub unhealthy_endpoints: u64,
    /// Clients waiting for a server connection.
    pub clients_waiting: u64,
    /// Rates since the point before.
    pub rates: Option<Rates>,
}

/// `GET /v1/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// Version of this shape.
    pub schema: u32,
    /// Oldest first.
    pub points: Vec<HistoryPoint>,
}

/// What to ask of `GET /v1/history`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Only points of the last so many seconds; absent: all that are kept.
    #[serde(default)]
    pub seconds: Option<u64>,
}
