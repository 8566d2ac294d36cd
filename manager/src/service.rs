//! Services: described in files, kept running by systemd, fronted by the data plane.
//!
//! [`Services`] is the only one who changes them. It holds nothing that has to
//! survive: what is wanted is in the files of the [`Book`], what is deployed is in
//! the unit files, what runs systemd knows, and what is fronted the data plane.
//! A change that was cut off is finished or undone from those at the next start.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bs9_api::DataPlaneClient;
use bs9_config::{ManagerConfig, Process, Service, ServiceScope, config_candidates};

mod apply;
mod backoff;
mod book;
mod change;
mod dependencies;
mod deployed;
mod error;
mod inspect;
mod journal;
pub(crate) mod linger;
mod observe;
mod port;
mod ready;
mod recover;
mod roll;
mod saved;
mod scale;
mod screen;
mod standing;
mod status;
mod usage;
mod watching;
mod wiring;

pub(crate) use backoff::Backoff;
use book::Book;
use deployed::Deployed;
pub(crate) use error::ServiceError;
pub(crate) use observe::Observer;
use observe::Touched;
pub(crate) use screen::Insist;
use watching::Watching;
use wiring::Wiring;

use crate::{event::Events, systemd::Systemd, unit::Surroundings};

/// Everything that concerns services.
#[derive(Debug)]
pub(crate) struct Services {
    book: Book,
    state_folder: PathBuf,
    user: Systemd,
    system: Systemd,
    wiring: Wiring,
    watching: Watching,
    /// Services that are being changed right now.
    busy: Mutex<BTreeSet<String>>,
    touched: Touched,
    events: Events,
}

impl Services {
    /// `state_folder` is what is kept between runs.
    pub(crate) fn new(
        config: &ManagerConfig,
        state_folder: PathBuf,
        data_plane: DataPlaneClient,
        events: Events,
    ) -> Arc<Self> {
        Arc::new(Self {
            book: Book::new(folder(config)),
            user: Systemd::new(ServiceScope::User),
            system: Systemd::new(ServiceScope::System),
            wiring: Wiring::new(data_plane),
            watching: Watching::default(),
            // What was cut off is ended before anybody changes it again.
            busy: Mutex::new(recover::cut_off(&state_folder).into_iter().collect()),
            touched: Touched::default(),
            events,
            state_folder,
        })
    }

    fn systemd(&self, scope: ServiceScope) -> &Systemd {
        match scope {
            ServiceScope::User => &self.user,
            ServiceScope::System => &self.system,
        }
    }

    /// What a unit file depends on, with the version of the systemd that will read it.
    async fn around(&self, scope: ServiceScope) -> Result<Surroundings, ServiceError> {
        let systemd_version = self.systemd(scope).version().await?;
        Ok(Surroundings { systemd_version, ..self.around_offline(scope) })
    }

    /// The same without asking systemd.
    fn around_offline(&self, scope: ServiceScope) -> Surroundings {
        Surroundings::new(scope, self.state_folder.clone())
    }

    /// What is deployed of a service, whatever its file says now.
    fn deployed(&self, service: &str) -> Result<Vec<Deployed>, ServiceError> {
        let mut all = self.all_deployed()?;
        all.retain(|unit| unit.marker.service == service);
        Ok(all)
    }

    fn all_deployed(&self) -> Result<Vec<Deployed>, ServiceError> {
        let mut all = Vec::new();
        for scope in [ServiceScope::User, ServiceScope::System] {
            if let Some(folder) = self.around_offline(scope).unit_folder() {
                all.extend(deployed::scan(scope, &folder)?);
            }
        }
        all.sort_by(|a, b| {
            (&a.marker.service, a.marker.instance).cmp(&(&b.marker.service, b.marker.instance))
        });
        Ok(all)
    }

    /// Nobody else changes the service while this is held.
    fn claim(&self, service: &str) -> Result<Claim<'_>, ServiceError> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(service.to_owned()) {
            return Err(ServiceError::Busy { service: service.to_owned() });
        }
        Ok(Claim { services: self, service: service.to_owned() })
    }

    fn is_busy(&self, service: &str) -> bool {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).contains(service)
    }

    /// How many instances of a service there should be on this machine.
    fn wanted(&self, service: &Service) -> u32 {
        service.instance_count(self.around_offline(service.scope).cores)
    }
}

/// See [`Services::claim`].
struct Claim<'s> {
    services: &'s Services,
    service: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut busy = self.services.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.service);
        self.services.touched.add(&self.service);
    }
}

/// Where services are described: as configured, beside `manager.toml`, or in the
/// first folder where that would be looked for.
fn folder(config: &ManagerConfig) -> PathBuf {
    let beside = || config.sources.first()?.parent().map(|folder| folder.join("services"));
    let usual =
        || config_candidates(Process::Manager).first()?.parent().map(|f| f.join("services"));
    config
        .services
        .folder
        .clone()
        .or_else(beside)
        .or_else(usual)
        .unwrap_or_else(|| PathBuf::from("/etc/bs9/services"))
}
