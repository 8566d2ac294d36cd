//! Changes that were cut off: noted while they are under way, finished at the next
//! start of the manager.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time;

use super::{ServiceError, Services, change::Report, ready, wiring};
use crate::systemd::Verb;

/// Between two looks whether what is fronted is what runs.
const REWIRE: Duration = Duration::from_secs(5);

/// A note that a service is being changed. It is gone when the change is over,
/// however it ended, and stays when the manager is.
pub(super) struct Note(PathBuf);

impl Note {
    pub(super) fn leave(state_folder: &Path, service: &str) -> Result<Self, ServiceError> {
        let folder = state_folder.join("under_way");
        let path = folder.join(service);
        let failed = |source| ServiceError::Write { path: path.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        fs::write(&path, "").map_err(failed)?;
        Ok(Self(path))
    }

    /// Services whose change was cut off.
    fn found(state_folder: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(state_folder.join("under_way")) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "a note of a change stays");
        }
    }
}

impl Services {
    /// Finishes what was cut off; then keeps what is fronted in step with what runs.
    pub(crate) async fn tend(self: Arc<Self>) -> std::convert::Infallible {
        for service in Note::found(&self.state_folder) {
            let result = self.finish(&service).await;
            match result {
                Ok(()) => tracing::info!(service, "a change that was cut off is finished"),
                Err(error) => {
                    tracing::warn!(service, %error, "a change that was cut off cannot be finished");
                }
            }
        }
        let mut ticks = time::interval(REWIRE);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.rewire().await {
                tracing::debug!(%error, "what is fronted could not be compared");
            }
        }
    }

    /// Every instance that should run runs, none beside them does.
    async fn finish(&self, service: &str) -> Result<(), ServiceError> {
        let _claim = self.claim(service)?;
        let _note = Note::leave(&self.state_folder, service)?;
        let Some(described) = self.book.read(service)? else { return Ok(()) };
        let systemd = self.systemd(described.scope);
        let mut report = Report::default();
        let former = self.former_route(service)?;
        let count = self.wanted(&described);
        for unit in self.deployed(service)? {
            let state = systemd.state(&unit.unit).await?;
            // A change that is under way stops nothing for good: what is enabled is
            // what is wanted.
            if unit.marker.instance <= count && state.is_enabled() && !state.is_wanted() {
                ready::start(systemd, &described, unit.marker.instance, Verb::Start).await?;
            }
        }
        self.wire(&described, former.clone(), &mut report).await;
        let surplus = self.surplus(service, count)?;
        self.retire_units(&described, &surplus, &mut report).await?;
        self.wire(&described, former, &mut report).await;
        Ok(())
    }

    /// Clusters of services that a data plane does not have as they should be: one
    /// that has just been started, or was given another configuration.
    async fn rewire(&self) -> Result<(), ServiceError> {
        for service in self.book.names()? {
            if self.is_busy(&service) {
                continue;
            }
            let Ok(Some(described)) = self.book.read(&service) else { continue };
            let Some(cluster) = wiring::cluster_of(&described) else { continue };
            let units = self.deployed(&service)?;
            // What is not applied yet is not fronted yet.
            if units.is_empty()
                || units.iter().any(|unit| unit.marker.cluster.as_ref() != Some(&cluster))
            {
                continue;
            }
            let mut wanted = Vec::new();
            for unit in &units {
                if self.systemd(unit.scope).state(&unit.unit).await?.is_wanted() {
                    wanted.extend(unit.marker.endpoint.clone());
                }
            }
            let present: Vec<String> = match self.wiring.cluster(&cluster).await? {
                Some(found) => found.endpoints.into_iter().map(|e| e.address).collect(),
                None => vec![String::new()],
            };
            let (mut a, mut b) = (wanted.clone(), present);
            a.sort();
            b.sort();
            if a == b || self.is_busy(&service) {
                continue;
            }
            let _claim = self.claim(&service)?;
            match self.wiring.set(&described, wanted, None).await {
                Ok(()) => tracing::info!(service, cluster, "fronted by what runs"),
                Err(error) => tracing::warn!(service, cluster, %error, "not fronted"),
            }
        }
        Ok(())
    }
}
