//! A change of the configuration, in memory and in the files.

use std::{fmt, path::Path};

use bs9_api::ApiError;
use bs9_config::{ChangeError, ClusterChange, Config, edit};

use super::endpoint_change::{EndpointChange, Standing};

/// What is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// An endpoint of a cluster that is there.
    Endpoint(EndpointChange),
    /// A whole cluster, and the route to it.
    SetCluster(Box<ClusterChange>),
    /// A cluster goes, and the routes to it alone.
    RemoveCluster(String),
}

impl Change {
    /// The same change, with what it does not speak of as `config` has it.
    pub(super) fn keeping(self, config: &Config) -> Self {
        match self {
            Self::SetCluster(change) => {
                let change = *change;
                Self::SetCluster(Box::new(change.keeping(config)))
            }
            other => other,
        }
    }

    /// How an endpoint is to stand, when it is about that.
    pub(super) fn standing(&self) -> Option<Standing> {
        match self {
            Self::Endpoint(change) => change.standing(),
            _ => None,
        }
    }

    /// `config` with the change.
    pub(super) fn apply(&self, config: &Config) -> Result<Config, ChangeError> {
        match self {
            Self::Endpoint(change) => change.apply(config),
            Self::SetCluster(change) => config.with_cluster(change),
            Self::RemoveCluster(cluster) => config.without_cluster(cluster),
        }
    }

    /// Writes the change to the files at `path`. Blocks.
    pub(super) fn write(&self, path: &Path) -> Result<(), edit::EditError> {
        match self {
            Self::Endpoint(change) => change.write(path),
            Self::SetCluster(change) => edit::set_cluster(path, change),
            Self::RemoveCluster(cluster) => edit::remove_cluster(path, cluster),
        }
    }
}

/// How an error of a change is answered.
pub(super) fn refusal(error: &ChangeError) -> ApiError {
    let message = error.to_string();
    match error {
        ChangeError::EndpointExists { .. } | ChangeError::WhichListener { .. } => {
            ApiError::conflict(message)
        }
        ChangeError::UnknownCluster { .. }
        | ChangeError::UnknownEndpoint { .. }
        | ChangeError::UnknownListener { .. } => ApiError::not_found(message),
        ChangeError::NotACluster { .. } => ApiError::invalid_request(message),
    }
}

/// For [`unsaved_changes`](bs9_api::types::GenerationStatus::unsaved_changes).
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(change) => change.fmt(f),
            Self::SetCluster(change) => {
                let ClusterChange { cluster, endpoints, route, .. } = change.as_ref();
                write!(f, "cluster {cluster}: set, {} endpoints", endpoints.len())?;
                match route {
                    Some(route) => write!(
                        f,
                        ", route {}{}",
                        route.host.as_deref().unwrap_or("*"),
                        route.path.as_deref().unwrap_or("/")
                    ),
                    None => Ok(()),
                }
            }
            Self::RemoveCluster(cluster) => write!(f, "cluster {cluster}: removed"),
        }
    }
}
