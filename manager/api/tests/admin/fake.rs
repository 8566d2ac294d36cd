//! A data plane and a manager that only exist as answers.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bs9_api::{
    ApiError, Attempt, DataPlaneApi, EventFeed, ManagerApi,
    types::{
        AddEndpoint, ApplyOutcome, ApplyServices, AuditHead, AuditPage, AuditVerdict,
        AuditVerifyQuery, Catalog, ChangeOutcome, ClusterStatus, Clusters, ConfigError,
        CreateToken, CreatedToken, DataPlaneState, DataPlaneStatus, DataPlaneView, Dependencies,
        DependencyQuery, DeployService, DrainEndpoint, DrainOutcome, Event, EventStreamQuery,
        Events, GenerationInForce, GenerationStatus, Happening, Health, History, HistoryQuery,
        HistoryStatus, HostStatus, Listeners, LogQuery, ManagerStatus, MetricsText, OneCluster,
        OneService, OneUnit, OrderPools, PageQuery, PoolClients, PoolServers, Pools, ReloadService,
        RemoveCluster, RemoveEndpoint, ResurrectServices, Routes, RoutesQuery, SCHEMA,
        SaveServices, SavedServices, ScaleService, SeriesAnswer, SeriesQuery, ServiceInspection,
        ServiceLogs, ServiceOutcome, ServiceUsage, Services, SetCluster, SetWeight, SourceAudit,
        StartService, StoreStatus, TokenOutcome, TokenSummary, Tokens, Units,
    },
};
use futures_util::stream;
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
        panicking: false,
        waiting: 0,
        retries_total: 0,
        retries_refused_total: 0,
        retries_under_way: 0,
        retries_allowed: None,
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
        stale_certificates: Vec::new(),
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

    async fn routes(&self, _: RoutesQuery) -> Result<Routes, ApiError> {
        Ok(Routes { schema: SCHEMA, listeners: Vec::new() })
    }

    async fn pools(&self) -> Result<Pools, ApiError> {
        Ok(Pools::new(Vec::new()))
    }

    async fn pool_clients(&self) -> Result<PoolClients, ApiError> {
        Ok(PoolClients::new(Vec::new()))
    }

    async fn pool_servers(&self) -> Result<PoolServers, ApiError> {
        Ok(PoolServers::new(Vec::new()))
    }

    async fn order_pools(&self, order: OrderPools) -> Result<ChangeOutcome, ApiError> {
        let database = order.database.unwrap_or_default();
        self.change(&database, order.order.name().to_owned())
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
        let persist = if change.persist { " persist" } else { "" };
        self.change(&cluster, format!("drain {} {}{persist}", change.address, change.drain))
    }

    async fn set_cluster(
        &self,
        cluster: String,
        change: SetCluster,
    ) -> Result<ChangeOutcome, ApiError> {
        self.change(&cluster, format!("set {} endpoints", change.endpoints.len()))
    }

    async fn remove_cluster(
        &self,
        cluster: String,
        _: RemoveCluster,
    ) -> Result<ChangeOutcome, ApiError> {
        self.change(&cluster, "remove the cluster".to_owned())
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

/// Calls that this fake has no answer for.
macro_rules! refuse {
    ($($name:ident($($argument:ty),*) -> $answer:ty;)*) => {
        $(async fn $name(&self, $(_: $argument),*) -> Result<$answer, ApiError> {
            Err(ApiError::unavailable("a fake has none"))
        })*
    };
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
            store: StoreStatus::default(),
            audit: AuditHead::default(),
        })
    }

    async fn history(&self, range: HistoryQuery) -> Result<History, ApiError> {
        self.asked.lock().unwrap().push(range);
        Ok(History { schema: SCHEMA, points: Vec::new() })
    }

    refuse! {
        units() -> Units;
        unit(String) -> OneUnit;
        host() -> HostStatus;
        catalog() -> Catalog;
        series(SeriesQuery) -> SeriesAnswer;
        audit(PageQuery) -> AuditPage;
        audit_verify(AuditVerifyQuery) -> AuditVerdict;
        tokens() -> Tokens;
        revoke_token(Attempt, String) -> TokenOutcome;
        services() -> Services;
        service(String) -> OneService;
        inspect_service(String) -> ServiceInspection;
        service_usage(String) -> ServiceUsage;
        service_logs(String, LogQuery) -> ServiceLogs;
        deploy_service(Attempt, String, DeployService) -> ServiceOutcome;
        dependencies(DependencyQuery) -> Dependencies;
        audit_source(String) -> SourceAudit;
        start_service(Attempt, String, StartService) -> ServiceOutcome;
        stop_service(Attempt, String) -> ServiceOutcome;
        restart_service(Attempt, String) -> ServiceOutcome;
        reload_service(Attempt, String, ReloadService) -> ServiceOutcome;
        scale_service(Attempt, String, ScaleService) -> ServiceOutcome;
        delete_service(Attempt, String) -> ServiceOutcome;
        apply_services(Attempt, ApplyServices) -> ApplyOutcome;
        save_services(SaveServices) -> SavedServices;
        resurrect_services(Attempt, ResurrectServices) -> SavedServices;
    }

    /// One event for each id there is room for.
    async fn events(&self, range: PageQuery) -> Result<Events, ApiError> {
        let after = range.after.unwrap_or(0);
        let events = (1..=u64::from(range.limit.unwrap_or(2))).map(|n| event(after + n));
        Ok(Events { schema: SCHEMA, events: events.collect() })
    }

    /// Three events after the last one that was seen.
    async fn event_stream(
        &self,
        last: Option<u64>,
        range: EventStreamQuery,
    ) -> Result<EventFeed, ApiError> {
        let after = last.or(range.after).unwrap_or(0);
        Ok(EventFeed::new(stream::iter((1..=3).map(move |n| event(after + n)))))
    }

    async fn create_token(
        &self,
        attempt: Attempt,
        token: CreateToken,
    ) -> Result<CreatedToken, ApiError> {
        if token.name == "taken" {
            return Err(ApiError::conflict("that name is taken"));
        }
        let summary = TokenSummary {
            name: format!("{} by {}", token.name, attempt.caller()),
            role: token.role,
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
        };
        attempt.before(&"nothing");
        Ok(CreatedToken { schema: SCHEMA, token: "top-secret".to_owned(), summary })
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

fn event(id: u64) -> Event {
    let what = Happening::UnitGone { unit: format!("{id}.service") };
    Event { id, at: Timestamp::UNIX_EPOCH, what }
}
