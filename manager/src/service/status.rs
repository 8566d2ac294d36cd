//! How services are.

use std::collections::BTreeSet;

use bs9_api::types::{
    InstanceStatus, SCHEMA, ServiceCluster, ServiceState, ServiceStatus, Services as Answer,
    Unavailable,
};
use bs9_config::{Service, ServiceScope};
use jiff::Timestamp;

use super::{Deployed, ServiceError, Services, book, ready, wiring};
use crate::{
    build::Builds,
    systemd::{SystemdError, UnitState, scope_word},
    unit::{Surroundings, render},
};

/// See [`Services::glance`].
pub(super) struct Glance {
    pub(super) state: ServiceState,
    pub(super) reason: Option<String>,
    pub(super) enabled: bool,
    /// Every unit with what systemd knows of it; `None` when it could not be asked.
    pub(super) units: Vec<(String, Option<UnitState>)>,
}

impl Services {
    /// Every service that is described or deployed.
    pub(crate) async fn all(&self) -> Result<Answer, ServiceError> {
        let mut services = Vec::new();
        let mut unavailable = None;
        for name in self.names()? {
            let (status, error) = self.look_at(&name).await?;
            services.push(status);
            unavailable = unavailable.or(error);
        }
        Ok(Answer { schema: SCHEMA, services, unavailable })
    }

    /// One service.
    pub(crate) async fn one(&self, service: &str) -> Result<ServiceStatus, ServiceError> {
        let described = self.book.text(service)?.is_some();
        if !described && self.deployed(service)?.is_empty() {
            return Err(self.book.unknown(service));
        }
        Ok(self.look_at(service).await?.0)
    }

    /// What can be found out about a service, and why systemd could not be asked.
    async fn look_at(&self, name: &str) -> Result<(ServiceStatus, Option<String>), ServiceError> {
        let described = self.book.read(name);
        let units = self.deployed(name)?;
        let service = described.as_ref().ok().and_then(Option::as_ref);
        let scope = units.first().map(|unit| unit.scope).or(service.map(|s| s.scope));
        let scope = scope.unwrap_or(ServiceScope::User);
        let wanted = service.map_or(0, |service| self.wanted(service));
        let (states, error) = self.states(&units).await;
        let instances: Vec<_> =
            units.iter().zip(&states).map(|(unit, state)| instance(unit, state.as_ref())).collect();
        let known: Vec<&UnitState> = states.iter().flatten().collect();
        let enabled = known.iter().any(|state| state.is_enabled());
        let mut status = ServiceStatus {
            name: name.to_owned(),
            description: service.and_then(|service| service.description.clone()),
            scope: scope_word(scope).to_owned(),
            state: ServiceState::Unknown,
            reason: error.clone(),
            enabled,
            port: service.and_then(|service| service.port),
            instances_wanted: wanted,
            instances,
            drifted: false,
            definition: self
                .book
                .text(name)?
                .is_some()
                .then(|| self.book.path(name).display().to_string()),
            cluster: None,
            watch: None,
            build: None,
        };
        if error.is_none() {
            (status.state, status.reason) = summary(&units, &known, wanted, enabled);
        }
        match &described {
            Ok(Some(service)) => {
                status.drifted = !units.is_empty() && self.drifted(service, &units).await;
                status.watch = self.watching.status(service);
                status.build = service
                    .build
                    .and_then(|_| Builds::of(&self.state_folder, name).current())
                    .map(|build| build.status);
                status.cluster = self.front(service, &units, &states).await;
            }
            Ok(None) => status.reason = Some("no file describes it any more".to_owned()),
            Err(ServiceError::Invalid(report)) => {
                status.reason =
                    Some(format!("its description is not valid: {}", book::in_short(report)));
            }
            Err(error) => status.reason = Some(error.to_string()),
        }
        Ok((status, error))
    }

    /// Names of all services that are described or deployed.
    pub(super) fn names(&self) -> Result<BTreeSet<String>, ServiceError> {
        let mut names: BTreeSet<String> = self.book.names()?.into_iter().collect();
        names.extend(self.all_deployed()?.into_iter().map(|unit| unit.marker.service));
        Ok(names)
    }

    /// The little that tells whether something has changed; `None` when there is no
    /// such service.
    pub(super) async fn glance(&self, name: &str) -> Result<Option<Glance>, ServiceError> {
        let described = self.book.text(name)?.is_some();
        let units = self.deployed(name)?;
        if !described && units.is_empty() {
            return Ok(None);
        }
        let wanted = match self.book.read(name) {
            Ok(Some(service)) => self.wanted(&service),
            // A file that is being edited says nothing about how many there should be.
            _ => u32::try_from(units.len()).unwrap_or(u32::MAX),
        };
        let (states, unreachable) = self.states(&units).await;
        let known: Vec<&UnitState> = states.iter().flatten().collect();
        let enabled = known.iter().any(|state| state.is_enabled());
        let (state, reason) = match unreachable {
            Some(reason) => (ServiceState::Unknown, Some(reason)),
            None => summary(&units, &known, wanted, enabled),
        };
        let units = units.into_iter().map(|unit| unit.unit).zip(states).collect();
        Ok(Some(Glance { state, reason, enabled, units }))
    }

    async fn states(&self, units: &[Deployed]) -> (Vec<Option<UnitState>>, Option<String>) {
        let mut states = Vec::with_capacity(units.len());
        let mut unreachable = None;
        for unit in units {
            if unreachable.is_some() {
                states.push(None);
                continue;
            }
            match self.systemd(unit.scope).state(&unit.unit).await {
                Ok(state) => states.push(Some(state)),
                Err(error) => {
                    if matches!(error, SystemdError::Unreachable { .. }) {
                        unreachable = Some(error.to_string());
                    }
                    states.push(None);
                }
            }
        }
        (states, unreachable)
    }

    /// Whether the file asks for other units than there are.
    async fn drifted(&self, service: &Service, units: &[Deployed]) -> bool {
        let Ok(around) = self.around(service.scope).await else { return false };
        differs(service, units, self.wanted(service), &around)
    }

    async fn front(
        &self,
        service: &Service,
        units: &[Deployed],
        states: &[Option<UnitState>],
    ) -> Option<ServiceCluster> {
        let cluster = wiring::cluster_of(service)?;
        let proxy = &service.proxy;
        let route = proxy.is_routed().then(|| {
            let host = proxy.host.as_deref().unwrap_or_default();
            format!("{host}{}", proxy.path.as_deref().unwrap_or("/"))
        });
        let running = units
            .iter()
            .zip(states)
            .filter(|(_, state)| state.as_ref().is_some_and(UnitState::is_wanted));
        let mut wanted = wiring::endpoints(running.map(|(unit, _)| unit));
        let reason = match self.wiring.cluster(&cluster).await {
            Ok(Some(found)) => {
                let mut present: Vec<_> =
                    found.endpoints.into_iter().map(|endpoint| endpoint.address).collect();
                present.sort();
                wanted.sort();
                (present != wanted)
                    .then(|| "its endpoints are not the running instances".to_owned())
            }
            Ok(None) => Some("the data plane has no such cluster".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        Some(ServiceCluster { cluster, wired: reason.is_none(), reason, route })
    }
}

/// Whether the units a description stands for are other ones than there are.
pub(super) fn differs(
    service: &Service,
    units: &[Deployed],
    count: u32,
    around: &Surroundings,
) -> bool {
    if units.len() != count as usize {
        return true;
    }
    units.iter().any(|unit| {
        !render(service, unit.marker.instance, around).is_ok_and(|new| new.text == unit.text)
    })
}

/// All instances in one word, and why.
fn summary(
    units: &[Deployed],
    states: &[&UnitState],
    wanted: u32,
    enabled: bool,
) -> (ServiceState, Option<String>) {
    if units.is_empty() {
        return (ServiceState::NotApplied, Some("run `bs9 apply` or `bs9 start`".to_owned()));
    }
    let count = |word: &str| states.iter().filter(|state| state.active() == word).count();
    let up = states.iter().filter(|state| state.is_active()).count();
    let trouble = || {
        states.iter().find(|state| !state.is_active()).and_then(|state| {
            let how = ready::how_it_ended(state)?;
            Some(match state.word("SubState") {
                "auto-restart" => format!("{how}; it is started again shortly"),
                _ => how,
            })
        })
    };
    if up > 0 {
        let whole = up == states.len() && up == wanted as usize;
        let partly = || {
            let shown = format!("{up} of {wanted} instances run");
            Some(trouble().map_or(shown.clone(), |why| format!("{shown}; {why}")))
        };
        return match whole {
            true => (ServiceState::Running, None),
            false => (ServiceState::Degraded, partly()),
        };
    }
    if count("deactivating") > 0 {
        return (ServiceState::Stopping, None);
    }
    if count("activating") > 0 {
        return (ServiceState::Starting, trouble());
    }
    match enabled || count("failed") > 0 {
        true => (ServiceState::Failed, trouble().or(Some("it ended by itself".to_owned()))),
        false => (ServiceState::Stopped, None),
    }
}

fn instance(unit: &Deployed, state: Option<&UnitState>) -> InstanceStatus {
    let port = unit
        .marker
        .endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.rsplit_once(':').and_then(|(_, port)| port.parse().ok()));
    let port = port.or_else(|| port_variable(&unit.text));
    let mut status = InstanceStatus {
        instance: unit.marker.instance,
        unit: unit.unit.clone(),
        port,
        ..InstanceStatus::default()
    };
    let Some(state) = state else {
        status.active_state = "unknown".to_owned();
        return status;
    };
    status.active_state = state.active().to_owned();
    status.sub_state = state.word("SubState").to_owned();
    status.result = state.word("Result").to_owned();
    let exited = !state.is_active() && !status.result.is_empty() && status.result != "success";
    status.exit_status =
        state.number("ExecMainStatus").filter(|_| exited).and_then(|code| i32::try_from(code).ok());
    status.pid = state.main_pid();
    status.since = state.moment("StateChangeTimestamp");
    status.restarts_total = state.restarts();
    status.status_text = Some(state.word("StatusText").to_owned()).filter(|text| !text.is_empty());
    if state.is_active() {
        figures(&mut status, state);
    }
    status
}

/// What a running unit uses.
fn figures(status: &mut InstanceStatus, state: &UnitState) {
    let up = state.moment("ActiveEnterTimestamp");
    status.uptime_seconds =
        up.map(|since| Timestamp::now().duration_since(since).as_secs_f64().max(0.0));
    status.memory_bytes = state.number("MemoryCurrent").filter(|bytes| *bytes > 0);
    status.cpu_seconds_total = state.number("CPUUsageNSec").map(|nanos| nanos as f64 / 1e9);
    status.tasks = state.number("TasksCurrent");
    if status.cpu_seconds_total.is_none() {
        status.cpu_seconds_total = status.pid.and_then(cpu_of);
    }
    if status.memory_bytes.is_none() {
        status.memory_bytes = status.pid.and_then(memory_of);
    }
    let mut absent = |what: &str, there: bool| {
        if !there {
            status.unavailable.push(Unavailable {
                what: what.to_owned(),
                reason:
                    "systemd does not count it here (no such controller in its control group), \
                         and /proc does not tell"
                        .to_owned(),
            });
        }
    };
    absent("memory_bytes", status.memory_bytes.is_some());
    absent("cpu_seconds_total", status.cpu_seconds_total.is_some());
    absent("tasks", status.tasks.is_some());
}

/// The port a unit file tells.
fn port_variable(text: &str) -> Option<u16> {
    text.lines()
        .find_map(|line| line.strip_prefix("Environment=\"PORT=")?.strip_suffix('"')?.parse().ok())
}

/// Resident memory of the main process (proc_pid_statm(5)).
fn memory_of(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

/// CPU time of the main process (proc_pid_stat(5)); fields are counted after the
/// name, which may hold anything.
fn cpu_of(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.checked_add(system)? as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_tells_about_this_process() {
        let pid = std::process::id();
        assert!(memory_of(pid).unwrap() > 100_000);
        assert!(cpu_of(pid).is_some());
        assert_eq!(memory_of(u32::MAX), None);
    }

    #[test]
    fn the_port_is_read_from_the_unit() {
        assert_eq!(
            port_variable("Environment=\"HOST=x\"\nEnvironment=\"PORT=3001\"\n"),
            Some(3001)
        );
        assert_eq!(port_variable("Type=exec\n"), None);
    }
}
