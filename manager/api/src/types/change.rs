//! Requests that change something, and their answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ConfigError, DataPlaneState};
use crate::error::ProblemCode;

/// `POST /v1/clusters/{cluster}/endpoints`: add an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddEndpoint {
    /// `host:port` or `unix:/path`.
    pub address: String,
    /// 0 to 65,535.
    #[serde(default = "one")]
    #[schema(maximum = 65535)]
    pub weight: u16,
    /// Also write it to the configuration file.
    #[serde(default)]
    pub persist: bool,
}

fn one() -> u16 {
    1
}

/// `POST /v1/clusters/{cluster}/endpoints/remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveEndpoint {
    /// As it stands in the configuration.
    pub address: String,
    /// Also write it to the configuration file.
    #[serde(default)]
    pub persist: bool,
}

/// `POST /v1/clusters/{cluster}/endpoints/weight`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetWeight {
    /// As it stands in the configuration.
    pub address: String,
    /// 0 to 65,535.
    #[schema(maximum = 65535)]
    pub weight: u16,
    /// Also write it to the configuration file.
    #[serde(default)]
    pub persist: bool,
}

/// `POST /v1/clusters/{cluster}/endpoints/drain`: take nothing new; `drain: false` undoes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainEndpoint {
    /// As it stands in the configuration.
    pub address: String,
    /// Whether to drain.
    pub drain: bool,
    /// Also write it to the configuration file, as the endpoint's key `disabled`.
    #[serde(default)]
    pub persist: bool,
}

/// The answer to every change of the configuration in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeOutcome {
    /// Version of this shape.
    pub schema: u32,
    /// The generation now in force.
    pub generation: u64,
    /// What changed, a line each; empty when nothing did.
    pub changes: Vec<String>,
    /// Things that took effect only in part, such as settings that need a new process.
    pub warnings: Vec<String>,
}

/// The answer to `POST /v1/drain`: the drain has begun, the process ends by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrainOutcome {
    /// Version of this shape.
    pub schema: u32,
    /// What it is doing now.
    pub state: DataPlaneState,
    /// Client connections still open.
    pub open_connections: u64,
    /// What is still open after so many seconds is closed.
    pub timeout_seconds: f64,
}

/// Any answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Version of this shape.
    pub schema: u32,
    /// A stable word.
    #[schema(value_type = ProblemCode)]
    pub code: String,
    /// For a person.
    pub message: String,
    /// With `invalid_config`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ConfigError>,
}
