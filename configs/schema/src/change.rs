//! Changes to a running configuration, made in memory.

use std::sync::Arc;

use crate::{
    model::{Cluster, Config, Endpoint, EndpointAddress},
    read::nearest,
};

/// A change that does not fit the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No cluster has this name.
    #[error("there is no cluster `{cluster}`{}", .nearest.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownCluster {
        /// The name asked for.
        cluster: String,
        /// A name much like it.
        nearest: Option<String>,
    },
    /// The cluster has no such endpoint.
    #[error("the cluster `{cluster}` has no endpoint `{address}`")]
    UnknownEndpoint {
        /// The cluster.
        cluster: String,
        /// The address asked for.
        address: EndpointAddress,
    },
    /// The cluster has this endpoint already.
    #[error("the cluster `{cluster}` already has the endpoint `{address}`")]
    EndpointExists {
        /// The cluster.
        cluster: String,
        /// The address to be added.
        address: EndpointAddress,
    },
    /// A route needs an HTTP listener, and this is not one.
    #[error("there is no http listener `{listener}`")]
    UnknownListener {
        /// The name asked for.
        listener: String,
    },
    /// A route needs an HTTP listener, and none was named.
    #[error("{}", match .candidates.as_slice() {
        [] => "there is no http listener to route by".to_owned(),
        names => format!("there is more than one http listener; name one: {}", names.join(", ")),
    })]
    WhichListener {
        /// Those there are.
        candidates: Vec<String>,
    },
    /// What was asked for makes no cluster, or no route.
    #[error("{reason}")]
    NotACluster {
        /// Why not.
        reason: String,
    },
}

impl Config {
    /// The same configuration with one more endpoint, at the end of its cluster.
    ///
    /// # Errors
    ///
    /// When there is no such cluster, or it has this endpoint already.
    pub fn with_endpoint(
        &self,
        cluster: &str,
        address: &EndpointAddress,
        weight: u16,
    ) -> Result<Self, ChangeError> {
        self.change(cluster, |found| {
            if position(found, address).is_some() {
                return Err(ChangeError::EndpointExists {
                    cluster: cluster.to_owned(),
                    address: address.clone(),
                });
            }
            found.endpoints.push(Endpoint::new(address.clone(), weight));
            Ok(())
        })
    }

    /// The same configuration without an endpoint.
    ///
    /// # Errors
    ///
    /// When there is no such cluster or endpoint.
    pub fn without_endpoint(
        &self,
        cluster: &str,
        address: &EndpointAddress,
    ) -> Result<Self, ChangeError> {
        self.change(cluster, |found| {
            let at = position(found, address).ok_or_else(|| unknown_endpoint(cluster, address))?;
            found.endpoints.remove(at);
            Ok(())
        })
    }

    /// The same configuration with another weight for an endpoint.
    ///
    /// # Errors
    ///
    /// When there is no such cluster or endpoint.
    pub fn with_weight(
        &self,
        cluster: &str,
        address: &EndpointAddress,
        weight: u16,
    ) -> Result<Self, ChangeError> {
        self.change(cluster, |found| {
            let at = position(found, address).ok_or_else(|| unknown_endpoint(cluster, address))?;
            found.endpoints[at].weight = weight;
            Ok(())
        })
    }

    /// The same configuration with an endpoint disabled, or enabled.
    ///
    /// # Errors
    ///
    /// When there is no such cluster or endpoint.
    pub fn with_disabled(
        &self,
        cluster: &str,
        address: &EndpointAddress,
        disabled: bool,
    ) -> Result<Self, ChangeError> {
        self.change(cluster, |found| {
            let at = position(found, address).ok_or_else(|| unknown_endpoint(cluster, address))?;
            found.endpoints[at].disabled = disabled;
            Ok(())
        })
    }

    fn change(
        &self,
        cluster: &str,
        change: impl FnOnce(&mut Cluster) -> Result<(), ChangeError>,
    ) -> Result<Self, ChangeError> {
        let mut config = self.clone();
        let names = self.clusters.keys().map(Arc::as_ref);
        let found =
            config.clusters.get_mut(cluster).ok_or_else(|| unknown_cluster(cluster, names))?;
        change(found)?;
        Ok(config)
    }
}

pub(crate) fn unknown_cluster<'n>(
    cluster: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> ChangeError {
    let nearest = nearest(cluster, names).map(str::to_owned);
    ChangeError::UnknownCluster { cluster: cluster.to_owned(), nearest }
}

pub(crate) fn unknown_endpoint(cluster: &str, address: &EndpointAddress) -> ChangeError {
    ChangeError::UnknownEndpoint { cluster: cluster.to_owned(), address: address.clone() }
}

fn position(cluster: &Cluster, address: &EndpointAddress) -> Option<usize> {
    cluster.endpoints.iter().position(|endpoint| endpoint.address == *address)
}
