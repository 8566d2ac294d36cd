//! The wire between services and the data plane: a service with a port is a
//! cluster, its running instances are the endpoints.

use std::time::Duration;

use bs9_api::{
    ClientError, DataPlaneClient,
    types::{
        AddEndpoint, ClusterEndpoint, ClusterHealthCheck, ClusterRoute, ClusterStatus,
        DrainEndpoint, RemoveCluster, RemoveEndpoint, SetCluster,
    },
};
use bs9_config::Service;
use tokio::time::{self, Instant};

use super::{Deployed, ServiceError};

/// Between two looks at an endpoint that drains.
const LOOK: Duration = Duration::from_millis(20);
/// A request that was picked before the drain was known may still be on its way to
/// being counted.
const SETTLE: Duration = Duration::from_millis(100);

/// Speaks to the data plane.
#[derive(Debug)]
pub(crate) struct Wiring {
    client: DataPlaneClient,
}

/// Why a service could not be fronted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotWired(pub(super) String);

impl From<ClientError> for NotWired {
    fn from(error: ClientError) -> Self {
        let reason = match &error {
            ClientError::NotRunning { .. } => "the data plane is not running".to_owned(),
            ClientError::Problem { problem, .. } => {
                let mut reason = problem.message.clone();
                for error in &problem.errors {
                    reason.push_str("; ");
                    reason.push_str(&error.message);
                }
                reason
            }
            other => other.to_string(),
        };
        Self(reason)
    }
}

impl From<NotWired> for ServiceError {
    fn from(error: NotWired) -> Self {
        Self::Refused(error.0)
    }
}

/// The cluster of a service; `None` when it is not to be fronted.
pub(super) fn cluster_of(service: &Service) -> Option<String> {
    (service.proxy.enabled && service.port.is_some())
        .then(|| service.proxy.cluster.as_ref().unwrap_or(&service.name).to_string())
}

/// The address of each unit's endpoint.
pub(super) fn endpoints<'u>(units: impl IntoIterator<Item = &'u Deployed>) -> Vec<String> {
    units.into_iter().filter_map(|unit| unit.marker.endpoint.clone()).collect()
}

impl Wiring {
    pub(super) fn new(client: DataPlaneClient) -> Self {
        Self { client }
    }

    /// What asks the data plane.
    pub(super) fn client(&self) -> &DataPlaneClient {
        &self.client
    }

    /// The cluster as it is; `None` when there is none of that name.
    pub(super) async fn cluster(&self, cluster: &str) -> Result<Option<ClusterStatus>, NotWired> {
        match self.client.cluster(cluster).await {
            Ok(found) => Ok(Some(found.cluster)),
            Err(ClientError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Brings the cluster of a service to these endpoints, in the files too if there
    /// are any. `former` is a route it had before.
    pub(super) async fn set(
        &self,
        service: &Service,
        endpoints: Vec<String>,
        former: Option<ClusterRoute>,
    ) -> Result<(), NotWired> {
        let Some(cluster) = cluster_of(service) else { return Ok(()) };
        let proxy = &service.proxy;
        let wanted = SetCluster {
            endpoints: endpoints
                .into_iter()
                .map(|address| ClusterEndpoint { address, weight: 1 })
                .collect(),
            health_check: proxy.health_check.as_ref().map(|check| ClusterHealthCheck {
                path: check.path.clone(),
                interval_seconds: check.interval.as_secs_f64(),
            }),
            route: proxy.is_routed().then(|| ClusterRoute {
                listener: proxy.listener.as_ref().map(ToString::to_string),
                host: proxy.host.clone(),
                path: proxy.path.clone(),
            }),
            former_route: former,
            persist: true,
        };
        let persisted = self.client.set_cluster(&cluster, &wanted).await;
        match persisted {
            Err(error) if has_no_files(&error) => {
                let wanted = SetCluster { persist: false, ..wanted };
                self.client.set_cluster(&cluster, &wanted).await?;
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// Takes the cluster away. Where it cannot go, because something else leads to
    /// it, it stays without endpoints, and why is returned.
    pub(super) async fn unset(&self, cluster: &str) -> Result<Option<String>, NotWired> {
        let removed = self.client.remove_cluster(cluster, &RemoveCluster { persist: true }).await;
        let error = match removed {
            Err(error) if has_no_files(&error) => {
                match self.client.remove_cluster(cluster, &RemoveCluster { persist: false }).await {
                    Ok(_) => return Ok(None),
                    Err(error) => error,
                }
            }
            Ok(_) | Err(ClientError::NotFound { .. }) => return Ok(None),
            Err(error @ ClientError::Problem { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        let empty = |persist| SetCluster {
            endpoints: Vec::new(),
            health_check: None,
            route: None,
            former_route: None,
            persist,
        };
        let emptied = self.client.set_cluster(cluster, &empty(true)).await;
        match emptied {
            Err(error) if has_no_files(&error) => {
                self.client.set_cluster(cluster, &empty(false)).await?;
            }
            other => drop(other?),
        }
        Ok(Some(NotWired::from(error).0))
    }

    /// One more endpoint, until the files are read again. One that is there is fine.
    pub(super) async fn add(&self, cluster: &str, address: &str) -> Result<(), NotWired> {
        let wanted = AddEndpoint { address: address.to_owned(), weight: 1, persist: false };
        match self.client.add_endpoint(cluster, &wanted).await {
            Err(ClientError::Problem { problem, .. }) if problem.code == "conflict" => {
                self.drain(cluster, address, false).await
            }
            other => Ok(other.map(drop)?),
        }
    }

    async fn drain(&self, cluster: &str, address: &str, drain: bool) -> Result<(), NotWired> {
        let wanted = DrainEndpoint { address: address.to_owned(), drain, persist: false };
        Ok(self.client.drain_endpoint(cluster, &wanted).await.map(drop)?)
    }

    /// Lets an endpoint finish what it has, for at most `limit`, and takes it away.
    /// One that is not there is fine. Returns how many requests were left.
    pub(super) async fn retire(
        &self,
        cluster: &str,
        address: &str,
        limit: Duration,
    ) -> Result<u64, NotWired> {
        let Some(found) = self.cluster(cluster).await? else { return Ok(0) };
        if !found.endpoints.iter().any(|endpoint| endpoint.address == address) {
            return Ok(0);
        }
        self.drain(cluster, address, true).await?;
        let deadline = Instant::now() + limit;
        time::sleep(SETTLE.min(limit)).await;
        let left = loop {
            let found = self.cluster(cluster).await?;
            let active = found.and_then(|cluster| {
                cluster.endpoints.into_iter().find(|e| e.address == address).map(|e| e.active)
            });
            match active {
                None | Some(0) => break 0,
                Some(left) if Instant::now() >= deadline => break left,
                Some(_) => time::sleep(LOOK).await,
            }
        };
        let gone = RemoveEndpoint { address: address.to_owned(), persist: false };
        match self.client.remove_endpoint(cluster, &gone).await {
            Ok(_) | Err(ClientError::NotFound { .. }) => Ok(left),
            Err(error) => Err(error.into()),
        }
    }
}

/// A data plane that was started from flags.
fn has_no_files(error: &ClientError) -> bool {
    matches!(error, ClientError::Problem { problem, .. }
        if problem.code == "conflict" && problem.message.contains("no files"))
}
