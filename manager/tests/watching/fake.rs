//! A data plane whose counters grow with every look at it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bs9_api::{
    ApiError, DataPlaneApi,
    types::{
        AddEndpoint, ChangeOutcome, Clusters, DataPlaneState, DataPlaneStatus, DrainEndpoint,
        DrainOutcome, GenerationInForce, GenerationStatus, Health, HttpListenerStatus,
        ListenerStatus, Listeners, MetricsText, OneCluster, OrderPools, PoolClients, PoolServers,
        Pools, RemoveCluster, RemoveEndpoint, Routes, RoutesQuery, SCHEMA, SetCluster, SetWeight,
    },
};
use jiff::Timestamp;

pub(crate) struct FakeDataPlane {
    pid: u32,
    started_at: Timestamp,
    looks: AtomicU64,
    asked_for_more: Arc<AtomicBool>,
}

impl FakeDataPlane {
    pub(crate) fn new(pid: u32) -> Self {
        Self {
            pid,
            started_at: Timestamp::now(),
            looks: AtomicU64::new(0),
            asked_for_more: Arc::default(),
        }
    }

    /// Set when anything but the status is called.
    pub(crate) fn asked_for_more(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked_for_more)
    }

    fn refuse<T>(&self) -> Result<T, ApiError> {
        self.asked_for_more.store(true, Ordering::SeqCst);
        Err(ApiError::unavailable("this data plane only has a status"))
    }

    /// Ten requests and one second a look.
    fn listener(looks: u64) -> ListenerStatus {
        ListenerStatus {
            name: "web".to_owned(),
            protocol: "http".to_owned(),
            addresses: Vec::new(),
            open_connections: 1,
            accepted_connections_total: looks,
            refused_connections_total: 0,
            tls: None,
            http: Some(HttpListenerStatus {
                requests_total: looks * 10,
                ..HttpListenerStatus::default()
            }),
        }
    }
}

impl DataPlaneApi for FakeDataPlane {
    async fn status(&self) -> Result<DataPlaneStatus, ApiError> {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(DataPlaneStatus {
            schema: SCHEMA,
            version: "0".to_owned(),
            pid: self.pid,
            state: DataPlaneState::Serving,
            started_at: self.started_at,
            uptime_seconds: looks as f64,
            generation: GenerationStatus {
                generation: 1,
                since: self.started_at,
                sources: Vec::new(),
                unsaved_changes: Vec::new(),
                last_failure: None,
                stale_certificates: Vec::new(),
            },
            shards: Vec::new(),
            listeners: vec![Self::listener(looks)],
            clusters: Vec::new(),
            pools: Vec::new(),
        })
    }

    async fn listeners(&self) -> Result<Listeners, ApiError> {
        self.refuse()
    }

    async fn clusters(&self) -> Result<Clusters, ApiError> {
        self.refuse()
    }

    async fn cluster(&self, _: String) -> Result<OneCluster, ApiError> {
        self.refuse()
    }

    async fn routes(&self, _: RoutesQuery) -> Result<Routes, ApiError> {
        Ok(Routes { schema: SCHEMA, listeners: Vec::new() })
    }

    async fn pools(&self) -> Result<Pools, ApiError> {
        self.refuse()
    }

    async fn generation(&self) -> Result<GenerationInForce, ApiError> {
        self.refuse()
    }

    async fn reload(&self) -> Result<ChangeOutcome, ApiError> {
        self.refuse()
    }

    async fn drain(&self) -> Result<DrainOutcome, ApiError> {
        self.refuse()
    }

    async fn add_endpoint(&self, _: String, _: AddEndpoint) -> Result<ChangeOutcome, ApiError> {
        self.refuse()
    }

    async fn remove_endpoint(
        &self,
        _: String,
        _: RemoveEndpoint,
    ) -> Result<ChangeOutcome, ApiError> {
        self.refuse()
    }

    async fn set_weight(&self, _: String, _: SetWeight) -> Result<ChangeOutcome, ApiError> {
        self.refuse()
    }

    async fn drain_endpoint(&self, _: String, _: DrainEndpoint) -> Result<ChangeOutcome, ApiError> {
        self.refuse()
    }

    async fn set_cluster(&self, _: String, _: SetCluster) -> Result<ChangeOutcome, ApiError> {
        self.refuse()
    }

    async fn remove_cluster(&self, _: String, _: RemoveCluster) -> Result<ChangeOutcome, ApiError> {
        self.refuse()
    }

    async fn pool_clients(&self) -> Result<PoolClients, ApiError> {
        self.refuse()
    }

    async fn pool_servers(&self) -> Result<PoolServers, ApiError> {
        self.refuse()
    }

    async fn order_pools(&self, _: OrderPools) -> Result<ChangeOutcome, ApiError> {
        self.refuse()
    }

    async fn metrics(&self) -> Result<MetricsText, ApiError> {
        self.refuse()
    }

    async fn health_live(&self) -> Result<Health, ApiError> {
        self.refuse()
    }

    async fn health_ready(&self) -> Result<Health, ApiError> {
        self.refuse()
    }
}
