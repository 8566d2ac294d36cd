//! The manager's admin API, answered from memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bs9_api::{
    ApiError, ManagerApi,
    types::{Health, History, HistoryQuery, ManagerStatus, MetricsText, SCHEMA},
};
use jiff::Timestamp;

use crate::{memory::Memory, metrics::Metrics};

/// Answers every endpoint of the manager.
#[derive(Debug)]
pub(crate) struct Answers {
    memory: Arc<Mutex<Memory>>,
    metrics: Metrics,
}

impl Answers {
    pub(crate) fn new(memory: Arc<Mutex<Memory>>) -> Self {
        Self { memory, metrics: Metrics::new() }
    }

    /// What is in memory is whole after every poll, so a panic elsewhere while
    /// it was held does not spoil it.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
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
        })
    }

    async fn history(&self, range: HistoryQuery) -> Result<History, ApiError> {
        let points = self.memory().history.last(Timestamp::now(), range.seconds);
        Ok(History { schema: SCHEMA, points })
    }

    async fn metrics(&self) -> Result<MetricsText, ApiError> {
        Ok(self.metrics.render(&self.memory()))
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
