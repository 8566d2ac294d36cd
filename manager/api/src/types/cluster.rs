//! A whole cluster, put into the data plane or taken out of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/clusters/{cluster}`: make the cluster, or bring it to this. What is not
/// spoken of stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCluster {
    /// All of its endpoints. Those that are there keep what is not spoken of: whether they are
    /// disabled, their priority and zone.
    pub endpoints: Vec<ClusterEndpoint>,
    /// How they are probed.
    #[serde(default)]
    pub health_check: Option<ClusterHealthCheck>,
    /// A route to it; made unless it is there.
    #[serde(default)]
    pub route: Option<ClusterRoute>,
    /// A route to it that is taken away.
    #[serde(default)]
    pub former_route: Option<ClusterRoute>,
    /// Also write it to the configuration file.
    #[serde(default)]
    pub persist: bool,
}

/// `POST /v1/clusters/{cluster}/remove`: take it away, and the routes to it alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveCluster {
    /// Also write it to the configuration file.
    #[serde(default)]
    pub persist: bool,
}

/// An endpoint of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterEndpoint {
    /// `host:port` or `unix:/path`.
    pub address: String,
    /// 0 to 65,535.
    #[serde(default = "one")]
    #[schema(maximum = 65535)]
    pub weight: u16,
}

fn one() -> u16 {
    1
}

/// How endpoints are probed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterHealthCheck {
    /// `GET` of this path; absent: a connection has to be accepted.
    #[serde(default)]
    pub path: Option<String>,
    /// Between the starts of two probes.
    pub interval_seconds: f64,
}

/// A route by host and path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterRoute {
    /// The HTTP listener; absent: the only one.
    #[serde(default)]
    pub listener: Option<String>,
    /// As in a route of the configuration.
    #[serde(default)]
    pub host: Option<String>,
    /// As in a route of the configuration.
    #[serde(default)]
    pub path: Option<String>,
}
