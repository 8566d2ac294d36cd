//! A data plane and a manager that only exist as answers.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bs9_api::{
    ApiError, DataPlaneApi, ManagerApi,
    types::{
        AddEndpoint, ChangeOutcome, ClusterStatus, Clusters, ConfigError, DataPlaneState,
        DataPlaneStatus, DataPlaneView, DrainEndpoint, DrainOutcome, GenerationInForce,
        GenerationStatus, Health, History, HistoryQuery, HistoryStatus, Listeners, ManagerStatus,
        MetricsText, OneCluster, Pools, RemoveEndpoint, SCHEMA, SetWeight,
    },
};
use jiff::Timestamp;
use tokio::sync::Notify;

/// Knows one cluster, `web`, and notes what it is asked to change.
#[derive(Debug, Default)]
pub(crate) struct FakeDataPlane {
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) not_ready: AtomicBool,
    /// When set, a reload waits for `release` before it does anything.
    pub(crate) slow_reload: AtomicBool,
    pub(crate) reload_begun: Notify,
    pub(crate) release: Notify,
    pub(crate) reloads_done: AtomicUsize,
}

impl FakeDataPlane {
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn change(&self, cluster: &str, what: String) -> Result<ChangeOutcome, ApiError> {
        if cluster != "web" {
            return Err(ApiError::not_found(format!("there is no cluster {cluster}")));
        }
        self.calls.lock().unwrap().push(what.clone());
        Ok(outcome(vec![what]))
    }
}

fn outcome(changes: Vec<String>) -> ChangeOutcome {
    ChangeOutcome { schema: SCHEMA, generation: 2, changes, warnings: Vec::new() }
}

fn web() -> ClusterStatus {
    ClusterStatus {
        name: "web".to_owned(),
        balance: "p2c".to_owned(),
        health_checked: false,
        endpoints: Vec::new(),
    }
}

fn generation() -> GenerationStatus {
    GenerationStatus {
        generation: 1,
        since: Timestamp::UNIX_EPOCH,
        sources: vec!["/etc/bs9/bs9.toml".to_owned()],
        unsaved_changes: Vec::new(),
        last_failure: None,
    }
}

impl DataPlaneApi for FakeDataPlane {
    async fn status(&self) -> Result<DataPlaneStatus, ApiError> {
        Ok(DataPlaneStatus {
            schema: SCHEMA,
            version: "0.0.0".to_owned(),
            pid: 7,
            state: DataPlaneState::Serving,
            started_at: Timestamp::UNIX_EPOCH,
            uptime_seconds: 1.5,
            generation: generation(),
            shards: Vec::new(),
            listeners: Vec::new(),
            clusters: vec![web()],
            pools: Vec::new(),
        })
    }

    async fn listeners(&self) -> Result<Listeners, ApiError> {
        Ok(Listeners::new(Vec::new()))
    }

    async fn clusters(&self) -> Result<Clusters, ApiError> {
        Ok(Clusters::new(vec![web()]))
    }

    async fn cluster(&self, cluster: String) -> Result<OneCluster, ApiError> {
        match cluster.as_str() {
            "web" => Ok(OneCluster::new(web())),
            _ => Err(ApiError::not_found(format!("there is no cluster {cluster}"))),
        }
    }

    async fn pools(&self) -> Result<Pools, ApiError> {
        Ok(Pools::new(Vec::new()))
    }

    async fn generation(&self) -> Result<GenerationInForce, ApiError> {
        Ok(GenerationInForce::new(generation()))
    }

    async fn reload(&self) -> Result<ChangeOutcome, ApiError> {
        if self.slow_reload.load(Ordering::SeqCst) {
            self.reload_begun.notify_one();
            self.release.notified().await;
        }
        self.reloads_done.fetch_add(1, Ordering::SeqCst);
        Ok(outcome(Vec::new()))
    }

    async fn drain(&self) -> Result<DrainOutcome, ApiError> {
        self.calls.lock().unwrap().push("drain".to_owned());
        Ok(DrainOutcome {
            schema: SCHEMA,
            state: DataPlaneState::Draining,
            open_connections: 3,
            timeout_seconds: 30.0,
        })
    }

    async fn add_endpoint(
        &self,
        cluster: String,
        change: AddEndpoint,
    ) -> Result<ChangeOutcome, ApiError> {
        match change.address.as_str() {
            "twice:80" => Err(ApiError::conflict("twice:80 is already there")),
            "broken:80" => Err(ApiError::invalid_config(
                "the configuration is invalid",
                vec![ConfigError {
                    file: None,
                    line: Some(3),
                    column: Some(1),
                    key: Some("clusters.web.endpoints[1]".to_owned()),
                    message: "no".to_owned(),
                    hint: None,
                }],
            )),
            "panic:80" => panic!("as the test wants it"),
            address => self.change(&cluster, format!("add {address} {}", change.weight)),
        }
    }

    async fn remove_endpoint(
        &self,
        cluster: String,
        change: RemoveEndpoint,
    ) -> Result<ChangeOutcome, ApiError> {
        self.change(&cluster, format!("remove {}", change.address))
    }

    async fn set_weight(
        &self,
        cluster: String,
        change: SetWeight,
    ) -> Result<ChangeOutcome, ApiError> {
        self.change(&cluster, format!("weight {} {}", change.address, change.weight))
    }

    async fn drain_endpoint(
        &self,
        cluster: String,
        change: DrainEndpoint,
    ) -> Result<ChangeOutcome, ApiError> {
        self.change(&cluster, format!("drain {} {}", change.address, change.drain))
    }

    async fn metrics(&self) -> Result<MetricsText, ApiError> {
        Ok(MetricsText("bs9_up 1\n".to_owned()))
    }

    async fn health_live(&self) -> Result<Health, ApiError> {
        Ok(Health::ok())
    }

    async fn health_ready(&self) -> Result<Health, ApiError> {
        if self.not_ready.load(Ordering::SeqCst) {
            return Err(ApiError::unavailable("draining"));
        }
        Ok(Health::ok())
    }
}

/// Answers history with as many points as were asked for seconds.
#[derive(Debug, Default)]
pub(crate) struct FakeManager {
    pub(crate) asked: Mutex<Vec<HistoryQuery>>,
}

impl ManagerApi for FakeManager {
    async fn status(&self) -> Result<ManagerStatus, ApiError> {
        Ok(ManagerStatus {
            schema: SCHEMA,
            version: "0.0.0".to_owned(),
            pid: 8,
            started_at: Timestamp::UNIX_EPOCH,
            data_plane: DataPlaneView {
                reachable: false,
                since: Timestamp::UNIX_EPOCH,
                reason: Some("it is a fake".to_owned()),
                seen_at: None,
                status: None,
                rates: None,
            },
            history: HistoryStatus { points: 0, oldest_at: None, capacity_points: 900 },
        })
    }

    async fn history(&self, range: HistoryQuery) -> Result<History, ApiError> {
        self.asked.lock().unwrap().push(range);
        Ok(History { schema: SCHEMA, points: Vec::new() })
    }

    async fn metrics(&self) -> Result<MetricsText, ApiError> {
        Ok(MetricsText(String::new()))
    }

    async fn health_live(&self) -> Result<Health, ApiError> {
        Ok(Health::ok())
    }

    async fn health_ready(&self) -> Result<Health, ApiError> {
        Ok(Health::ok())
    }
}
