//! The admin API of the data plane: reads come from the view, changes go to the owner.

use std::sync::Arc;

use bs9_api::{
    ApiError, DataPlaneApi,
    types::{
        AddEndpoint, ChangeOutcome, Clusters, DataPlaneState, DataPlaneStatus, DrainEndpoint,
        DrainOutcome, GenerationInForce, Health, Listeners, MetricsText, OneCluster, OrderPools,
        PoolClients, PoolServers, Pools, RemoveCluster, RemoveEndpoint, Routes, RoutesQuery,
        SCHEMA, SetCluster, SetWeight,
    },
};
use bs9_pool::OrderError;
use bs9_proxy::{ExplainError, explain_routes};
use tokio::sync::{mpsc, oneshot};

use super::{
    change::Change,
    cluster_set,
    command::{Command, Reply},
    endpoint_change::EndpointChange,
    engines::Engines,
    metrics,
    view::ViewCell,
};

/// Answers for the data plane.
pub(super) struct Api {
    commands: mpsc::Sender<Command>,
    view: Arc<ViewCell>,
    engines: Arc<Engines>,
}

impl Api {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        view: Arc<ViewCell>,
        engines: Arc<Engines>,
    ) -> Self {
        Self { commands, view, engines }
    }

    /// Sends an order to the owner and waits for what came of it.
    async fn order<T>(&self, order: impl FnOnce(Reply<T>) -> Command) -> Result<T, ApiError> {
        let ended = || ApiError::unavailable("the data plane is about to end");
        let (reply, answer) = oneshot::channel();
        self.commands.send(order(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn change(&self, change: Change, persist: bool) -> Result<ChangeOutcome, ApiError> {
        self.order(|reply| Command::Change { change, durability: persist.into(), reply }).await
    }
}

impl DataPlaneApi for Api {
    async fn status(&self) -> Result<DataPlaneStatus, ApiError> {
        Ok(self.view.load().status(&self.engines))
    }

    async fn listeners(&self) -> Result<Listeners, ApiError> {
        Ok(Listeners::new(self.view.load().listeners(&self.engines)))
    }

    async fn clusters(&self) -> Result<Clusters, ApiError> {
        Ok(Clusters::new(self.engines.clusters()))
    }

    async fn cluster(&self, cluster: String) -> Result<OneCluster, ApiError> {
        let found = self.engines.clusters().into_iter().find(|status| status.name == cluster);
        let found =
            found.ok_or_else(|| ApiError::not_found(format!("there is no cluster `{cluster}`")))?;
        Ok(OneCluster::new(found))
    }

    async fn routes(&self, query: RoutesQuery) -> Result<Routes, ApiError> {
        let view = self.view.load();
        explain_routes(&view.generations.current, &query).map_err(|error| match error {
            ExplainError::UnknownListener(_) => ApiError::not_found(error.to_string()),
            _ => ApiError::invalid_request(error.to_string()),
        })
    }

    async fn pools(&self) -> Result<Pools, ApiError> {
        Ok(Pools::new(self.engines.pools()))
    }

    async fn pool_clients(&self) -> Result<PoolClients, ApiError> {
        Ok(PoolClients::new(self.engines.pool().clients().await))
    }

    async fn pool_servers(&self) -> Result<PoolServers, ApiError> {
        Ok(PoolServers::new(self.engines.pool().servers().await))
    }

    async fn order_pools(&self, order: OrderPools) -> Result<ChangeOutcome, ApiError> {
        self.engines.pool().order(&order).await.map_err(|error| match error {
            OrderError::UnknownDatabase(_) => ApiError::not_found(error.to_string()),
            OrderError::HoldsForAll(_) | OrderError::StillBusy(_) | OrderError::Undone(_) => {
                ApiError::conflict(error.to_string())
            }
        })?;
        let done = order.order.done();
        let change = match &order.database {
            Some(database) => format!("database {database}: {done}"),
            None => format!("every database: {done}"),
        };
        Ok(ChangeOutcome {
            schema: SCHEMA,
            generation: self.view.load().generations.number().0,
            changes: vec![change],
            warnings: Vec::new(),
        })
    }

    async fn generation(&self) -> Result<GenerationInForce, ApiError> {
        Ok(GenerationInForce::new(self.view.load().generations.status()))
    }

    async fn reload(&self) -> Result<ChangeOutcome, ApiError> {
        self.order(Command::Reload).await
    }

    async fn drain(&self) -> Result<DrainOutcome, ApiError> {
        self.order(Command::Drain).await
    }

    async fn add_endpoint(
        &self,
        cluster: String,
        change: AddEndpoint,
    ) -> Result<ChangeOutcome, ApiError> {
        let added = EndpointChange::add(cluster, &change.address, change.weight)?;
        self.change(Change::Endpoint(added), change.persist).await
    }

    async fn remove_endpoint(
        &self,
        cluster: String,
        change: RemoveEndpoint,
    ) -> Result<ChangeOutcome, ApiError> {
        let removed = EndpointChange::remove(cluster, &change.address)?;
        self.change(Change::Endpoint(removed), change.persist).await
    }

    async fn set_weight(
        &self,
        cluster: String,
        change: SetWeight,
    ) -> Result<ChangeOutcome, ApiError> {
        let weighted = EndpointChange::weight(cluster, &change.address, change.weight)?;
        self.change(Change::Endpoint(weighted), change.persist).await
    }

    async fn drain_endpoint(
        &self,
        cluster: String,
        change: DrainEndpoint,
    ) -> Result<ChangeOutcome, ApiError> {
        let wanted = EndpointChange::disabled(cluster, &change.address, change.drain)?;
        if change.persist {
            return self.change(Change::Endpoint(wanted), true).await;
        }
        // The configuration stays as it is, so a reload does not undo this.
        if let Some(standing) = wanted.standing() {
            self.engines
                .set_standing(&standing)
                .map_err(|error| ApiError::not_found(error.to_string()))?;
        }
        let done = wanted.to_string();
        tracing::info!(change = done, saved = false, "configuration changed");
        Ok(ChangeOutcome {
            schema: SCHEMA,
            generation: self.view.load().generations.number().0,
            changes: vec![done],
            warnings: Vec::new(),
        })
    }

    async fn set_cluster(
        &self,
        cluster: String,
        change: SetCluster,
    ) -> Result<ChangeOutcome, ApiError> {
        let persist = change.persist;
        let change = cluster_set::change(cluster, change)?;
        self.change(Change::SetCluster(Box::new(change)), persist).await
    }

    async fn remove_cluster(
        &self,
        cluster: String,
        change: RemoveCluster,
    ) -> Result<ChangeOutcome, ApiError> {
        self.change(Change::RemoveCluster(cluster), change.persist).await
    }

    async fn metrics(&self) -> Result<MetricsText, ApiError> {
        Ok(MetricsText(metrics::render(&self.view.load(), &self.engines)))
    }

    async fn health_live(&self) -> Result<Health, ApiError> {
        Ok(Health::ok())
    }

    async fn health_ready(&self) -> Result<Health, ApiError> {
        match self.view.load().state {
            DataPlaneState::Serving => Ok(Health::ok()),
            DataPlaneState::Starting => Err(ApiError::unavailable("the data plane is starting")),
            DataPlaneState::Draining => Err(ApiError::unavailable("the data plane is draining")),
        }
    }
}
