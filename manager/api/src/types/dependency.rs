//! What depends on what: services, listeners, pools and what is outside.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Unavailable;

/// What to ask of `GET /v1/dependencies`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DependencyQuery {
    /// Only what this service needs, and who needs it; absent: everything.
    #[serde(default)]
    pub service: Option<String>,
}

/// `GET /v1/dependencies`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Dependencies {
    /// Version of this shape.
    pub schema: u32,
    /// When it was looked.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// In order of their ids.
    pub nodes: Vec<DependencyNode>,
    /// In order of both ends; one for each thing that says so.
    pub edges: Vec<DependencyEdge>,
    /// Ids of nodes that need each other in a circle, each circle once.
    pub cycles: Vec<Vec<String>>,
    /// What could not be looked at, and why.
    pub unavailable: Vec<Unavailable>,
}

/// Something that needs, or is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DependencyNode {
    /// Its kind and name: `service:api`, `listener:web`, `database:app`, `unit:redis.service`,
    /// `outside:db.internal:5432`.
    pub id: String,
    /// What it is.
    pub kind: DependencyKind,
    /// Its name.
    pub name: String,
    /// How it is.
    pub health: DependencyHealth,
    /// The same in a word of its own, such as `running`.
    pub state: Option<String>,
    /// Why it is not simply well.
    pub reason: Option<String>,
    /// Where it listens.
    pub addresses: Vec<String>,
}

/// What a node is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DependencyKind {
    /// A service of bs9's.
    Service,
    /// A listener of the data plane.
    Listener,
    /// A database of the pool.
    Database,
    /// A unit of systemd that is not bs9's.
    Unit,
    /// An address that is none of these.
    Outside,
}

impl DependencyKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Listener => "listener",
            Self::Database => "database",
            Self::Unit => "unit",
            Self::Outside => "outside",
        }
    }
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DependencyHealth {
    /// As it should be.
    Good,
    /// Some of it.
    Degraded,
    /// Not at all.
    Bad,
    /// Nobody has looked.
    Unknown,
}

impl DependencyHealth {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }
}

/// One needs the other, and what says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct DependencyEdge {
    /// The id of who needs.
    pub from: String,
    /// The id of who is needed.
    pub to: String,
    /// In which way.
    pub kind: DependencyRelation,
    /// What says so.
    pub source: DependencySource,
    /// Where: the directive, the address, the name of the variable (never its value), the route.
    pub detail: String,
}

/// In which way one needs another.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DependencyRelation {
    /// It does not run without (`Requires=`, `BindsTo=`, `Requisite=`).
    Requires,
    /// The other is started along (`Wants=`).
    Wants,
    /// It is only started later (`After=`).
    After,
    /// A connection is open.
    Connects,
    /// It is told where the other is.
    Configured,
    /// Requests are sent there.
    Routes,
}

impl DependencyRelation {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requires => "requires",
            Self::Wants => "wants",
            Self::After => "after",
            Self::Connects => "connects",
            Self::Configured => "configured",
            Self::Routes => "routes",
        }
    }
}

/// What says that one needs another.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DependencySource {
    /// Relations of units.
    Systemd,
    /// A socket that is open now.
    Socket,
    /// Its environment.
    Environment,
    /// Routes and clusters of the data plane.
    Proxy,
    /// Pools of the data plane.
    Pool,
}

impl DependencySource {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Socket => "socket",
            Self::Environment => "environment",
            Self::Proxy => "proxy",
            Self::Pool => "pool",
        }
    }
}
