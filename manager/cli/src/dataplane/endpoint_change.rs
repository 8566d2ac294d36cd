//! A change to the endpoints of a cluster, in memory and in the files.

use std::{fmt, path::Path};

use bs9_api::ApiError;
use bs9_config::{ChangeError, Config, EndpointAddress, edit};

/// What is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointChange {
    cluster: String,
    address: EndpointAddress,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Add { weight: u16 },
    Remove,
    Weight { weight: u16 },
    Disabled { disabled: bool },
}

/// An endpoint that takes nothing new, or does again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) cluster: String,
    /// As it is written in answers.
    pub(super) address: String,
    pub(super) disabled: bool,
}

impl EndpointChange {
    /// One more endpoint.
    pub(super) fn add(cluster: String, address: &str, weight: u16) -> Result<Self, ApiError> {
        Ok(Self { cluster, address: parse(address)?, what: What::Add { weight } })
    }

    /// One endpoint less.
    pub(super) fn remove(cluster: String, address: &str) -> Result<Self, ApiError> {
        Ok(Self { cluster, address: parse(address)?, what: What::Remove })
    }

    /// Another weight.
    pub(super) fn weight(cluster: String, address: &str, weight: u16) -> Result<Self, ApiError> {
        Ok(Self { cluster, address: parse(address)?, what: What::Weight { weight } })
    }

    /// Disabled in the configuration, or enabled.
    pub(super) fn disabled(
        cluster: String,
        address: &str,
        disabled: bool,
    ) -> Result<Self, ApiError> {
        Ok(Self { cluster, address: parse(address)?, what: What::Disabled { disabled } })
    }

    /// How its endpoint is to stand, when it is about that.
    pub(super) fn standing(&self) -> Option<Standing> {
        let What::Disabled { disabled } = self.what else { return None };
        let (cluster, address) = (self.cluster.clone(), self.address.to_string());
        Some(Standing { cluster, address, disabled })
    }

    /// `config` with the change.
    pub(super) fn apply(&self, config: &Config) -> Result<Config, ChangeError> {
        let Self { cluster, address, what } = self;
        match *what {
            What::Add { weight } => config.with_endpoint(cluster, address, weight),
            What::Remove => config.without_endpoint(cluster, address),
            What::Weight { weight } => config.with_weight(cluster, address, weight),
            What::Disabled { disabled } => config.with_disabled(cluster, address, disabled),
        }
    }

    /// Writes the change to the files at `path`. Blocks.
    pub(super) fn write(&self, path: &Path) -> Result<(), edit::EditError> {
        let Self { cluster, address, what } = self;
        match *what {
            What::Add { weight } => edit::add_endpoint(path, cluster, address, weight),
            What::Remove => edit::remove_endpoint(path, cluster, address),
            What::Weight { weight } => edit::set_weight(path, cluster, address, weight),
            What::Disabled { disabled } => edit::set_disabled(path, cluster, address, disabled),
        }
    }
}

/// An address as a caller wrote it.
pub(super) fn parse(address: &str) -> Result<EndpointAddress, ApiError> {
    address
        .parse()
        .map_err(|error: bs9_config::AddressError| ApiError::invalid_request(error.to_string()))
}

/// For [`unsaved_changes`](bs9_api::types::GenerationStatus::unsaved_changes).
impl fmt::Display for EndpointChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, address, what } = self;
        match what {
            What::Add { weight } => {
                write!(f, "cluster {cluster}: endpoint {address} added, weight {weight}")
            }
            What::Remove => write!(f, "cluster {cluster}: endpoint {address} removed"),
            What::Weight { weight } => {
                write!(f, "cluster {cluster}: endpoint {address} has weight {weight}")
            }
            What::Disabled { disabled } => {
                let done = if *disabled { "takes nothing new" } else { "takes traffic again" };
                write!(f, "cluster {cluster}: endpoint {address} {done}")
            }
        }
    }
}
