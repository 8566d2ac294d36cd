//! Shapes of whole answers that are not a status of their own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ClusterStatus, GenerationStatus, ListenerStatus, PoolStatus, SCHEMA};

/// `GET /v1/clusters/{cluster}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneCluster {
    /// Version of this shape.
    pub schema: u32,
    /// Its fields stand beside `schema`.
    #[serde(flatten)]
    pub cluster: ClusterStatus,
}

impl OneCluster {
    /// The answer with this cluster.
    pub fn new(cluster: ClusterStatus) -> Self {
        Self { schema: SCHEMA, cluster }
    }
}

/// `GET /v1/generation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GenerationInForce {
    /// Version of this shape.
    pub schema: u32,
    /// Its fields stand beside `schema`.
    #[serde(flatten)]
    pub status: GenerationStatus,
}

impl GenerationInForce {
    /// The answer with this generation.
    pub fn new(status: GenerationStatus) -> Self {
        Self { schema: SCHEMA, status }
    }
}

/// `GET /v1/listeners`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Listeners {
    /// Version of this shape.
    pub schema: u32,
    /// In name order.
    pub listeners: Vec<ListenerStatus>,
}

impl Listeners {
    /// The answer with these listeners.
    pub fn new(listeners: Vec<ListenerStatus>) -> Self {
        Self { schema: SCHEMA, listeners }
    }
}

/// `GET /v1/clusters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Clusters {
    /// Version of this shape.
    pub schema: u32,
    /// In name order.
    pub clusters: Vec<ClusterStatus>,
}

impl Clusters {
    /// The answer with these clusters.
    pub fn new(clusters: Vec<ClusterStatus>) -> Self {
        Self { schema: SCHEMA, clusters }
    }
}

/// `GET /v1/pools`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pools {
    /// Version of this shape.
    pub schema: u32,
    /// In (database, user) order.
    pub pools: Vec<PoolStatus>,
}

impl Pools {
    /// The answer with these pools.
    pub fn new(pools: Vec<PoolStatus>) -> Self {
        Self { schema: SCHEMA, pools }
    }
}

/// `GET /health/live` and `GET /health/ready` when the answer is yes; no is a
/// `Problem` with status 503.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Version of this shape.
    pub schema: u32,
    /// Always true: the other answer is a problem.
    pub ok: bool,
}

impl Health {
    /// The one good answer.
    pub fn ok() -> Self {
        Self { schema: SCHEMA, ok: true }
    }
}

/// `GET /metrics`: Prometheus' text exposition format, version 0.0.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsText(pub String);
