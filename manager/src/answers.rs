//! The manager's admin API, answered from memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bs9_api::{
    ApiError, Attempt, EventFeed, ManagerApi,
    types::{
        ApplyOutcome, ApplyServices, AuditPage, AuditVerdict, AuditVerifyQuery, Catalog,
        CreateToken, CreatedToken, Dependencies, DependencyQuery, DeployService, EventStreamQuery,
        Events, Health, History, HistoryQuery, HostStatus, LogQuery, ManagerStatus, MetricsText,
        OneService, OneUnit, PageQuery, ReloadService, ResurrectServices, SCHEMA, SaveServices,
        SavedServices, ScaleService, SeriesAnswer, SeriesQuery, ServiceInspection, ServiceLogs,
        ServiceOutcome, ServiceUsage, Services as ServicesAnswer, SourceAudit, StartService,
        TokenOutcome, Tokens, Units,
    },
};
use jiff::Timestamp;

use crate::{
    memory::Memory,
    metrics::{Metrics, Shown},
    service::{ServiceError, Services},
    state::State,
    store::StoreError,
};

/// Events of one answer.
const MAX_EVENTS: usize = 1_000;
const DEFAULT_EVENTS: usize = 100;

/// Answers every endpoint of the manager.
#[derive(Debug)]
pub(crate) struct Answers {
    memory: Arc<Mutex<Memory>>,
    services: Arc<Services>,
    state: State,
    metrics: Metrics,
}

impl Answers {
    pub(crate) fn new(memory: Arc<Mutex<Memory>>, services: Arc<Services>, state: State) -> Self {
        Self { memory, services, state, metrics: Metrics::new() }
    }

    /// What is in memory is whole after every poll, so a panic elsewhere while
    /// it was held does not spoil it.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// Carries out a change of services; how they stand before and after it is for the
    /// audit log. None named: all.
    async fn witnessed<T>(
        &self,
        attempt: &Attempt,
        services: &[impl AsRef<str>],
        change: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ApiError> {
        let names: Vec<String> = services.iter().map(|name| name.as_ref().to_owned()).collect();
        attempt.before(&self.services.standings(&names).await);
        let result = change.await;
        attempt.after(&self.services.standings(&names).await);
        Ok(result?)
    }
}

impl ManagerApi for Answers {
    async fn status(&self) -> Result<ManagerStatus, ApiError> {
        let memory = self.memory();
        Ok(ManagerStatus {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: memory.started_at,
            data_plane: memory.view.shown().clone(),
            history: memory.history.status(),
            store: self.state.store.status(),
            audit: self.state.audit.head(),
        })
    }

    async fn history(&self, range: HistoryQuery) -> Result<History, ApiError> {
        let points = self.memory().history.last(Timestamp::now(), range.seconds);
        Ok(History { schema: SCHEMA, points })
    }

    async fn units(&self) -> Result<Units, ApiError> {
        Ok(self.state.latest.units())
    }

    async fn unit(&self, unit: String) -> Result<OneUnit, ApiError> {
        let latest = self.state.latest.clone();
        let name = unit.clone();
        let found = apart(move || Ok(latest.unit(&name))).await?;
        found.ok_or_else(|| {
            ApiError::not_found(format!(
                "no unit {unit} that [collect] names runs; see GET /v1/units"
            ))
        })
    }

    async fn host(&self) -> Result<HostStatus, ApiError> {
        Ok(self.state.latest.host())
    }

    async fn catalog(&self) -> Result<Catalog, ApiError> {
        let store = self.state.store.clone();
        apart(move || store.catalog().map_err(no_history)).await
    }

    async fn series(&self, range: SeriesQuery) -> Result<SeriesAnswer, ApiError> {
        let store = self.state.store.clone();
        apart(move || store.series(range, Timestamp::now()).map_err(no_history)).await
    }

    async fn events(&self, range: PageQuery) -> Result<Events, ApiError> {
        let limit = range.limit.map_or(DEFAULT_EVENTS, |limit| (limit as usize).min(MAX_EVENTS));
        let (events, store) = (self.state.events.clone(), self.state.store.clone());
        let events = apart(move || {
            Ok(match range.after {
                Some(after) => events.page(&store, after, limit),
                None => {
                    let newest = events.newest(limit);
                    // After a start the store knows more.
                    if newest.len() < limit {
                        let known = newest.first().map_or(u64::MAX, |event| event.id);
                        let mut older = store.events(None, limit).unwrap_or_default();
                        older.retain(|event| event.id < known);
                        let skip = (older.len() + newest.len()).saturating_sub(limit);
                        older.into_iter().chain(newest).skip(skip).collect()
                    } else {
                        newest
                    }
                }
            })
        })
        .await?;
        Ok(Events { schema: SCHEMA, events })
    }

    async fn event_stream(
        &self,
        last: Option<u64>,
        range: EventStreamQuery,
    ) -> Result<EventFeed, ApiError> {
        let events = self.state.events.follow(&self.state.store, last.or(range.after));
        events.map(EventFeed::new).ok_or_else(|| {
            ApiError::unavailable("as many follow the events as may; try again later")
        })
    }

    async fn audit(&self, range: PageQuery) -> Result<AuditPage, ApiError> {
        let audit = self.state.audit.clone();
        apart(move || audit.page(&range).map_err(|error| unreadable(&error))).await
    }

    async fn audit_verify(&self, expected: AuditVerifyQuery) -> Result<AuditVerdict, ApiError> {
        let audit = self.state.audit.clone();
        apart(move || audit.verify(expected.head.as_deref()).map_err(|error| unreadable(&error)))
            .await
    }

    async fn tokens(&self) -> Result<Tokens, ApiError> {
        Ok(Tokens { schema: SCHEMA, tokens: self.state.tokens.list() })
    }

    async fn create_token(
        &self,
        attempt: Attempt,
        token: CreateToken,
    ) -> Result<CreatedToken, ApiError> {
        let tokens = self.state.tokens.clone();
        let created = apart(move || tokens.create(token)).await?;
        attempt.after(&created.summary);
        Ok(created)
    }

    async fn revoke_token(
        &self,
        attempt: Attempt,
        token: String,
    ) -> Result<TokenOutcome, ApiError> {
        let tokens = self.state.tokens.clone();
        let (before, summary) = apart(move || tokens.revoke(&token)).await?;
        attempt.before(&before);
        attempt.after(&summary);
        Ok(TokenOutcome { schema: SCHEMA, summary })
    }

    async fn services(&self) -> Result<ServicesAnswer, ApiError> {
        Ok(self.services.all().await?)
    }

    async fn service(&self, service: String) -> Result<OneService, ApiError> {
        Ok(OneService::new(self.services.one(&service).await?))
    }

    async fn inspect_service(&self, service: String) -> Result<ServiceInspection, ApiError> {
        Ok(self.services.inspect(&service).await?)
    }

    async fn service_usage(&self, service: String) -> Result<ServiceUsage, ApiError> {
        let places = self.services.places(&service).await?;
        let latest = self.state.latest.clone();
        apart(move || Ok(latest.usage(places))).await
    }

    async fn dependencies(&self, asked: DependencyQuery) -> Result<Dependencies, ApiError> {
        Ok(self.services.dependencies(&asked).await?)
    }

    async fn audit_source(&self, service: String) -> Result<SourceAudit, ApiError> {
        Ok(self.services.audit_source(&service).await?)
    }

    async fn service_logs(
        &self,
        service: String,
        lines: LogQuery,
    ) -> Result<ServiceLogs, ApiError> {
        Ok(self.services.logs(&service, &lines).await?)
    }

    async fn deploy_service(
        &self,
        attempt: Attempt,
        service: String,
        change: DeployService,
    ) -> Result<ServiceOutcome, ApiError> {
        self.witnessed(&attempt, &[&service], self.services.deploy(&service, &change)).await
    }

    async fn start_service(
        &self,
        attempt: Attempt,
        service: String,
        change: StartService,
    ) -> Result<ServiceOutcome, ApiError> {
        let start = self.services.start(&service, change.force.into());
        self.witnessed(&attempt, &[&service], start).await
    }

    async fn stop_service(
        &self,
        attempt: Attempt,
        service: String,
    ) -> Result<ServiceOutcome, ApiError> {
        self.witnessed(&attempt, &[&service], self.services.stop(&service)).await
    }

    async fn restart_service(
        &self,
        attempt: Attempt,
        service: String,
    ) -> Result<ServiceOutcome, ApiError> {
        self.witnessed(&attempt, &[&service], self.services.restart(&service)).await
    }

    async fn reload_service(
        &self,
        attempt: Attempt,
        service: String,
        change: ReloadService,
    ) -> Result<ServiceOutcome, ApiError> {
        self.witnessed(&attempt, &[&service], self.services.reload(&service, change)).await
    }

    async fn scale_service(
        &self,
        attempt: Attempt,
        service: String,
        change: ScaleService,
    ) -> Result<ServiceOutcome, ApiError> {
        self.witnessed(&attempt, &[&service], self.services.scale(&service, change)).await
    }

    async fn delete_service(
        &self,
        attempt: Attempt,
        service: String,
    ) -> Result<ServiceOutcome, ApiError> {
        self.witnessed(&attempt, &[&service], self.services.delete(&service)).await
    }

    async fn apply_services(
        &self,
        attempt: Attempt,
        change: ApplyServices,
    ) -> Result<ApplyOutcome, ApiError> {
        self.witnessed(&attempt, &change.services, self.services.apply(&change)).await
    }

    async fn save_services(&self, change: SaveServices) -> Result<SavedServices, ApiError> {
        Ok(self.services.save(&change).await?)
    }

    async fn resurrect_services(
        &self,
        attempt: Attempt,
        change: ResurrectServices,
    ) -> Result<SavedServices, ApiError> {
        self.witnessed(&attempt, &change.services, self.services.resurrect(&change)).await
    }

    async fn metrics(&self) -> Result<MetricsText, ApiError> {
        let (collections, collection) = self.state.latest.effort();
        let shown = Shown {
            collections,
            collection,
            units: self.state.latest.units(),
            store: self.state.store.status(),
            audit: self.state.audit.head(),
        };
        Ok(self.metrics.render(&self.memory(), &shown))
    }

    async fn health_live(&self) -> Result<Health, ApiError> {
        Ok(Health::ok())
    }

    async fn health_ready(&self) -> Result<Health, ApiError> {
        if self.memory().view.polled() {
            Ok(Health::ok())
        } else {
            Err(ApiError::unavailable("the data plane has not been asked yet"))
        }
    }
}

/// Runs what waits for the disk on a thread that may.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(ApiError::internal(format!("the work did not finish: {error}")))
    })
}

fn no_history(error: StoreError) -> ApiError {
    match error {
        StoreError::Question(reason) => ApiError::invalid_request(reason),
        other => ApiError::unavailable(other.to_string()),
    }
}

fn unreadable(error: &std::io::Error) -> ApiError {
    ApiError::unavailable(format!("the audit log cannot be read: {error}"))
}
