//! What happens to services, as events: whenever systemd tells of one of their units,
//! or a change of one has ended, it is looked at, and what is new about it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bs9_api::types::{Happening, ServiceState};
use bs9_config::ServiceScope;
use tokio::{sync::Notify, time};

use super::{ServiceError, Services, ready, status::Glance};
use crate::{systemd::Changes, unit::parse_unit_name};

/// What systemd tells at once is looked at once.
const GATHER: Duration = Duration::from_millis(50);
/// Between two looks at all services: files change without a signal, and a bus that
/// could not be reached may be there by now.
const ALL: Duration = Duration::from_secs(10);
/// The word for a service that is no more.
const DELETED: &str = "deleted";

/// Services that are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Touched {
    names: Mutex<BTreeSet<String>>,
    told: Notify,
}

impl Touched {
    pub(super) fn add(&self, service: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(service.to_owned());
        self.told.notify_one();
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells what happens to services.
#[derive(Debug)]
pub(crate) struct Observer {
    services: Arc<Services>,
    known: BTreeMap<String, Known>,
}

/// What was told of a service last.
#[derive(Debug)]
struct Known {
    state: ServiceState,
    units: BTreeMap<String, KnownUnit>,
}

#[derive(Debug, Clone, Default)]
struct KnownUnit {
    restarts: u32,
    /// How its last run ended, while that is known.
    trouble: Option<String>,
}

impl Observer {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self { services, known: BTreeMap::new() }
    }

    /// Never ends. What is there when it begins is not told: it did not just happen.
    pub(crate) async fn run(mut self) -> Infallible {
        let services = Arc::clone(&self.services);
        let hear = |scope| listen(Arc::clone(&services), scope);
        let watch = async {
            let mut all = time::interval(ALL);
            all.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
            let mut first = true;
            loop {
                tokio::select! {
                    _ = all.tick() => {
                        let names = services.names().unwrap_or_default();
                        let gone = self.known.keys().filter(|name| !names.contains(*name));
                        let gone: Vec<String> = gone.cloned().collect();
                        for name in names.into_iter().chain(gone) {
                            self.look_at(&name, first).await;
                        }
                        first = false;
                    }
                    () = services.touched.told.notified() => {
                        time::sleep(GATHER).await;
                        for name in services.touched.take() {
                            self.look_at(&name, first).await;
                        }
                    }
                }
            }
        };
        tokio::select! {
            never = watch => never,
            never = hear(ServiceScope::User) => never,
            never = hear(ServiceScope::System) => never,
        }
    }

    async fn look_at(&mut self, service: &str, quietly: bool) {
        if self.services.is_busy(service) {
            // It is on its way through states that somebody asked for, and looked at
            // when that is over.
            return;
        }
        match self.services.glance(service).await {
            // What cannot be asked is not known to have changed.
            Ok(Some(Glance { state: ServiceState::Unknown, .. })) => {}
            Ok(Some(glance)) => self.note(service, glance, quietly),
            Ok(None) => {
                if let Some(known) = self.known.remove(service) {
                    self.tell_state(service, known.state.as_str(), DELETED, None);
                }
            }
            Err(error) => tracing::debug!(service, %error, "cannot be looked at"),
        }
    }

    fn note(&mut self, service: &str, glance: Glance, quietly: bool) {
        let before = self.known.remove(service);
        let mut units = BTreeMap::new();
        for (unit, state) in glance.units {
            let Some(state) = state else { continue };
            let earlier = before.as_ref().and_then(|known| known.units.get(&unit));
            let restarts = state.restarts();
            // Why a run ended is forgotten by systemd when the next one begins.
            let trouble = ready::how_it_ended(&state);
            let mut reason = trouble.clone();
            if let Some(earlier) = earlier {
                reason = reason.or_else(|| earlier.trouble.clone());
                if restarts > earlier.restarts {
                    let (service, unit) = (service.to_owned(), unit.clone());
                    let reason = reason.clone();
                    self.services.events.publish(Happening::ServiceRestart {
                        service,
                        unit,
                        restarts,
                        reason,
                    });
                }
            }
            let trouble = if state.is_active() { None } else { reason };
            units.insert(unit, KnownUnit { restarts, trouble });
        }
        let from = before.as_ref().map_or(ServiceState::NotApplied, |known| known.state);
        if from != glance.state && !quietly {
            self.tell_state(service, from.as_str(), glance.state.as_str(), glance.reason);
        }
        self.known.insert(service.to_owned(), Known { state: glance.state, units });
    }

    fn tell_state(&self, service: &str, from: &str, to: &str, reason: Option<String>) {
        tracing::info!(service, from, to, reason, "a service changed its state");
        self.services.events.publish(Happening::ServiceState {
            service: service.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            reason,
        });
    }
}

/// Notes whose units systemd tells of.
async fn listen(services: Arc<Services>, scope: ServiceScope) -> Infallible {
    loop {
        match services.systemd(scope).changes().await {
            Ok(changes) => hear(&services, changes).await,
            Err(error) => tracing::debug!(%error, "changes of services are seen late"),
        }
        time::sleep(ALL).await;
    }
}

async fn hear(services: &Services, mut changes: Changes) {
    while let Some(unit) = changes.next().await {
        if let Some((service, _)) = parse_unit_name(&unit)
            && services.is_ours(service)
        {
            services.touched.add(service);
        }
    }
}

impl Services {
    /// Whether something of that name may be a service of bs9's.
    fn is_ours(&self, service: &str) -> bool {
        self.book.path(service).exists() || self.deployed(service).is_ok_and(|u| !u.is_empty())
    }

    /// A service was brought to a description, or was not.
    pub(super) fn tell_deploy(
        &self,
        service: &str,
        steps: &[String],
        result: Result<(), &ServiceError>,
    ) {
        let (service, ok) = (service.to_owned(), result.is_ok());
        let message = told(steps, result);
        self.events.publish(Happening::ServiceDeploy { service, ok, message });
    }

    /// A service was reloaded, or was not.
    pub(super) fn tell_reload(
        &self,
        service: &str,
        steps: &[String],
        result: Result<(), &ServiceError>,
    ) {
        let (service, ok) = (service.to_owned(), result.is_ok());
        let message = told(steps, result);
        self.events.publish(Happening::ServiceReload { service, ok, message });
    }

    /// Somebody had an instance restarted.
    pub(super) fn tell_restart(&self, service: &str, unit: String) {
        let reason = Some("it was asked for".to_owned());
        let service = service.to_owned();
        self.events.publish(Happening::ServiceRestart { service, unit, restarts: 0, reason });
    }
}

fn told(steps: &[String], result: Result<(), &ServiceError>) -> String {
    match result {
        Ok(()) => steps.join("; "),
        Err(error) => error.to_string(),
    }
}
