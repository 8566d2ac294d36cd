//! The data plane as a whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ClusterStatus, ListenerStatus, PoolStatus};

/// `GET /v1/status`: everything the data plane knows of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DataPlaneStatus {
    /// Version of this shape.
    pub schema: u32,
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// What it is doing.
    pub state: DataPlaneState,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Seconds since then.
    pub uptime_seconds: f64,
    /// The configuration in force.
    pub generation: GenerationStatus,
    /// One entry a shard.
    pub shards: Vec<ShardStatus>,
    /// In name order.
    pub listeners: Vec<ListenerStatus>,
    /// In name order.
    pub clusters: Vec<ClusterStatus>,
    /// In (database, user) order.
    pub pools: Vec<PoolStatus>,
}

/// What the data plane is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataPlaneState {
    /// Binding and compiling; not ready.
    Starting,
    /// Serving.
    Serving,
    /// Finishing what is open; takes nothing new.
    Draining,
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GenerationStatus {
    /// Its number; counts up with every change put in force.
    pub generation: u64,
    /// When it was put in force.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The files it was read from.
    pub sources: Vec<String>,
    /// Changes made through the API that the files do not hold; a reload drops them.
    pub unsaved_changes: Vec<String>,
    /// The last reload that was refused, until one succeeds.
    pub last_failure: Option<ReloadFailure>,
    /// Files of certificates that changed and cannot be used: what they held before is in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale_certificates: Vec<StaleCertificate>,
}

/// A file of a certificate, key, authority, revocation list or OCSP response that cannot be used
/// any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StaleCertificate {
    /// Path of the table that names it, such as `listeners.web.tls`.
    pub key: String,
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
    /// When that was noticed.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A reload that was refused; nothing changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReloadFailure {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Every reason.
    pub errors: Vec<ConfigError>,
}

/// One error of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigError {
    /// The file, when one is at fault.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    /// Path of the key, such as `clusters.api.endpoints[0]`.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// One data-plane thread.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShardStatus {
    /// From 0.
    pub shard: usize,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Client connections open now.
    pub open_connections: u64,
    /// Client connections accepted since the start.
    pub accepted_connections_total: u64,
    /// It does not go on now: its connections wait.
    #[serde(default)]
    pub stalled: bool,
    /// How often it did not go on for longer than a second.
    #[serde(default)]
    pub stalls_total: u64,
    /// The last time that happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_stall: Option<ShardStall>,
}

/// That a data-plane thread did not go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShardStall {
    /// The function whose task ran when it was noticed.
    pub place: String,
    /// What the kernel said of the thread then.
    pub thread: String,
    /// How long it lasted, seconds; absent: it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasted_seconds: Option<f64>,
}
