//! Longer and longer delays between restarts, where systemd does not know them.
//!
//! From version 254 on, `RestartSteps=` does it. Before, the manager does: while a
//! unit waits for its next try, a drop-in below the runtime folder doubles its
//! `RestartSec=`, up to the longest, with some of it left to chance, so that what
//! failed together does not come back together. systemd takes a delay that changes
//! during the wait into account. Once a unit has run for `reset_after` the drop-in
//! goes. With the manager gone, the last delay stays.

use std::{
    collections::BTreeMap, convert::Infallible, fs, io, path::PathBuf, sync::Arc, time::Duration,
};

use bs9_config::{RestartPolicy, RestartWhen, ServiceScope};
use rand::RngExt as _;
use tokio::time::{self, Instant};

use super::{Deployed, ServiceError, Services};
use crate::{
    systemd::{Changes, SystemdError},
    whole,
};

/// From this version on systemd does it itself.
const KNOWS_RESTART_STEPS: u32 = 254;
/// Before systemd is asked again after it could not be.
const AGAIN: Duration = Duration::from_secs(5);

/// Watches the units of one systemd.
#[derive(Debug)]
pub(crate) struct Backoff {
    services: Arc<Services>,
    scope: ServiceScope,
    units: BTreeMap<String, Watched>,
}

/// What is known of a unit that fails.
#[derive(Debug, Default)]
struct Watched {
    /// Restarts by systemd that are forgotten.
    forgiven: u32,
    /// Restarts that a delay was last made for.
    counted: Option<u32>,
    /// When it has run for long enough, and what made it so.
    healthy: Option<(Instant, u32)>,
}

impl Backoff {
    pub(crate) fn new(services: Arc<Services>, scope: ServiceScope) -> Self {
        Self { services, scope, units: BTreeMap::new() }
    }

    /// Never ends; does nothing where it is not needed.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            match self.services.systemd(self.scope).version().await {
                Ok(version) if version >= KNOWS_RESTART_STEPS => std::future::pending().await,
                Ok(_) => {
                    if let Err(error) = self.watch().await {
                        tracing::debug!(%error, "restarts are not watched for a moment");
                    }
                }
                Err(error) => tracing::debug!(%error, "restarts cannot be watched"),
            }
            time::sleep(AGAIN).await;
        }
    }

    async fn watch(&mut self) -> Result<(), SystemdError> {
        let mut changes: Changes = self.services.systemd(self.scope).changes().await?;
        loop {
            let due = self.units.values().filter_map(|unit| Some(unit.healthy?.0)).min();
            let unit = tokio::select! {
                unit = changes.next() => match unit {
                    Some(unit) => unit,
                    None => return Ok(()),
                },
                () = until(due) => {
                    self.forgive().await?;
                    continue;
                }
            };
            if let Err(error) = self.look_at(&unit).await {
                tracing::debug!(unit, %error, "its restarts are not slowed down");
            }
        }
    }

    /// A unit changed its state.
    async fn look_at(&mut self, unit: &str) -> Result<(), ServiceError> {
        let Some((service, _)) = crate::unit::parse_unit_name(unit) else { return Ok(()) };
        let Some(policy) = self.policy(service) else { return Ok(()) };
        let units = self.services.deployed(service)?;
        let Some(deployed) = units.iter().find(|d| d.unit == unit && d.scope == self.scope) else {
            return Ok(());
        };
        let state = self.services.systemd(self.scope).state(unit).await?;
        let restarts = state.restarts();
        let watched = self.units.entry(unit.to_owned()).or_default();
        if restarts < watched.forgiven || restarts < watched.counted.unwrap_or(0) {
            // Somebody started it anew.
            *watched = Watched::default();
        }
        if state.word("SubState") == "auto-restart" {
            watched.healthy = None;
            let failures = restarts - watched.forgiven.min(restarts);
            if watched.counted != Some(restarts) {
                watched.counted = Some(restarts);
                let delay = delay(&policy, failures, rand::rng().random_range(0.0..=1.0));
                self.write(deployed, delay).await?;
                tracing::info!(
                    unit,
                    failures,
                    delay_seconds = delay.as_secs_f64(),
                    "restarts later"
                );
            }
        } else if state.is_active() && watched.counted.is_some() {
            if watched.healthy.is_none_or(|(_, of)| of != restarts) {
                watched.healthy = Some((Instant::now() + policy.reset_after, restarts));
            }
        } else if !state.is_wanted() {
            self.units.remove(unit);
            self.remove(deployed).await?;
        }
        Ok(())
    }

    fn policy(&self, service: &str) -> Option<RestartPolicy> {
        let described = self.services.book.read(service).ok()??;
        let policy = described.restart;
        (policy.policy != RestartWhen::No && policy.max_delay > policy.delay).then_some(policy)
    }

    /// Forgets the failures of units that have run for long enough.
    async fn forgive(&mut self) -> Result<(), SystemdError> {
        let now = Instant::now();
        let due: Vec<_> = self
            .units
            .iter()
            .filter(|(_, unit)| unit.healthy.is_some_and(|(at, _)| at <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            let service = crate::unit::parse_unit_name(&name).map(|(service, _)| service);
            let deployed = service.and_then(|service| self.services.deployed(service).ok());
            let deployed = deployed.into_iter().flatten().find(|deployed| deployed.unit == name);
            if let (Some(deployed), Some(watched)) = (deployed, self.units.get_mut(&name)) {
                watched.forgiven = watched.healthy.map_or(0, |(_, restarts)| restarts);
                watched.counted = None;
                watched.healthy = None;
                tracing::info!(unit = name, "has run for long enough; its failures are forgotten");
                if let Err(error) = self.remove(&deployed).await {
                    tracing::warn!(unit = name, %error, "its delay stays");
                }
            } else {
                self.units.remove(&name);
            }
        }
        Ok(())
    }

    async fn write(&self, unit: &Deployed, delay: Duration) -> Result<(), ServiceError> {
        let Some(path) = self.drop_in(unit) else { return Ok(()) };
        let failed = |source| ServiceError::Write { path: path.clone(), source };
        let text = format!("[Service]\nRestartSec={}ms\n", delay.as_millis());
        whole::put(&path, &text).map_err(failed)?;
        Ok(self.services.systemd(self.scope).reload().await?)
    }

    async fn remove(&self, unit: &Deployed) -> Result<(), ServiceError> {
        let Some(path) = self.drop_in(unit) else { return Ok(()) };
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(ServiceError::Write { path, source }),
        }
        if let Some(folder) = path.parent() {
            // Somebody else's drop-ins keep it there.
            let _not_empty = fs::remove_dir(folder);
        }
        Ok(self.services.systemd(self.scope).reload().await?)
    }

    /// Below the runtime folder: it is gone after a reboot, as the failures are.
    fn drop_in(&self, unit: &Deployed) -> Option<PathBuf> {
        let folder = match self.scope {
            ServiceScope::System => PathBuf::from("/run/systemd/system"),
            ServiceScope::User => {
                PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?).join("systemd/user")
            }
        };
        Some(folder.join(format!("{}.d/50-bs9-backoff.conf", unit.unit)))
    }
}

/// The delay after so many failures in a row: doubled each time, up to the longest;
/// half of it is left to `chance`, 0 to 1, except before the first restart.
fn delay(policy: &RestartPolicy, failures: u32, chance: f64) -> Duration {
    let doubled = policy.delay.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
    let whole = doubled.min(policy.max_delay);
    match failures {
        0 => whole,
        _ => whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0).max(policy.delay),
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> RestartPolicy {
        RestartPolicy {
            policy: RestartWhen::OnFailure,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            reset_after: Duration::from_secs(60),
            attempts: None,
        }
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let delays: Vec<_> = (0..8).map(|n| delay(&policy(), n, 1.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn a_delay_is_never_out_of_bounds(failures in any::<u32>(), chance in 0.0..=1.0) {
            let policy = policy();
            let delay = delay(&policy, failures, chance);
            prop_assert!(delay >= policy.delay && delay <= policy.max_delay);
        }
    }
}
