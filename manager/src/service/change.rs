//! Starting, stopping, restarting, deploying and deleting a service.

use std::fs;

use bs9_api::types::{DeployService, SCHEMA, ServiceOutcome, ServiceStatus, UpdateWay};
use bs9_config::{Service, ServiceScope};
use futures_util::future::join_all;

use super::{
    Deployed, Insist, ServiceError, Services, deployed, linger, port, ready,
    recover::{Aim, Note, Way},
    wiring,
};
use crate::{
    systemd::Verb,
    unit::{UnitText, render, secret_text, unit_name},
    whole,
};

/// What a change has come to so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) steps: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    fn outcome(self, service: Option<ServiceStatus>) -> ServiceOutcome {
        ServiceOutcome { schema: SCHEMA, steps: self.steps, warnings: self.warnings, service }
    }

    pub(super) fn step(&mut self, step: impl Into<String>) {
        let step = step.into();
        tracing::info!(step, "service");
        self.steps.push(step);
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        tracing::warn!(warning, "service");
        self.warnings.push(warning);
    }
}

impl Services {
    /// Describes a service, and runs it as described.
    pub(crate) async fn deploy(
        &self,
        service: &str,
        wanted: &DeployService,
    ) -> Result<ServiceOutcome, ServiceError> {
        let _claim = self.claim(service)?;
        let before = self.book.text(service)?;
        // Whether it can run at all is found out before anything is touched.
        let path = self.book.path(service);
        let described =
            bs9_config::parse_service(&path, &wanted.definition).map_err(ServiceError::Invalid)?;
        self.units_of(&described).await?;
        self.same_scope(&described)?;
        port::check_privilege(&described)?;
        let way = match (self.any_running(service).await?, wanted.update) {
            (false, _) => Way::Start,
            (true, UpdateWay::Restart) => Way::Restart,
            (true, UpdateWay::Roll) => Way::Roll,
        };
        // What serves is described by the text before; so that is what the file says again.
        let back = before.filter(|before| way != Way::Start && *before != wanted.definition);
        let note = Note::describing(Aim::Described(way), &wanted.definition, back.as_deref());
        let mut report = Report::default();
        let change = self.deploy_now(&described, wanted, way, back.as_deref(), &mut report);
        self.noted(service, note, change).await?;
        self.outcome(&described.name, report).await
    }

    async fn deploy_now(
        &self,
        service: &Service,
        wanted: &DeployService,
        way: Way,
        back: Option<&str>,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let prepared = self.screen(service, wanted.force.into(), report).await?;
        self.book.write(&service.name, &wanted.definition)?;
        let result = self.reach(way, service, report).await;
        self.tell_deploy(&service.name, &report.steps, result.as_ref().map(drop));
        if let (Err(error), Some(back)) = (&result, back) {
            self.book.write(&service.name, back)?;
            tracing::warn!(service = %service.name, %error, "the earlier description is back");
        }
        result?;
        prepared.keep();
        Ok(())
    }

    /// Starts a service that is described.
    pub(crate) async fn start(
        &self,
        service: &str,
        insist: Insist,
    ) -> Result<ServiceOutcome, ServiceError> {
        self.change(service, Aim::Described(Way::Start), insist).await
    }

    /// Stops it, now and at the next boot.
    pub(crate) async fn stop(&self, service: &str) -> Result<ServiceOutcome, ServiceError> {
        self.change(service, Aim::Stop, Insist::No).await
    }

    /// Restarts every instance at once, as described now.
    pub(crate) async fn restart(&self, service: &str) -> Result<ServiceOutcome, ServiceError> {
        self.change(service, Aim::Described(Way::Restart), Insist::No).await
    }

    /// Stops it and removes everything of it but what it wrote.
    pub(crate) async fn delete(&self, service: &str) -> Result<ServiceOutcome, ServiceError> {
        self.change(service, Aim::Delete, Insist::No).await
    }

    async fn change(
        &self,
        service: &str,
        aim: Aim,
        insist: Insist,
    ) -> Result<ServiceOutcome, ServiceError> {
        let _claim = self.claim(service)?;
        let mut report = Report::default();
        let change = self.bring_to(service, aim, insist, &mut report);
        self.noted(service, Note::of(aim), change).await?;
        match aim {
            Aim::Delete => Ok(report.outcome(None)),
            _ => self.outcome(service, report).await,
        }
    }

    /// Brings a service to where it is to be. What is to run has to pass the audit of its
    /// source, unless somebody insists.
    pub(super) async fn bring_to(
        &self,
        service: &str,
        aim: Aim,
        insist: Insist,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        match aim {
            Aim::Stop => self.stop_all(service, report).await,
            Aim::Remove => self.remove_all(service, report).await,
            Aim::Delete => self.erase(service, report).await,
            Aim::Scale(count) => self.scale_now(service, count, report).await,
            Aim::Described(way) => {
                let described = self.book.get(service)?;
                let prepared = self.screen(&described, insist, report).await?;
                self.reach(way, &described, report).await?;
                prepared.keep();
                Ok(())
            }
        }
    }

    async fn reach(
        &self,
        way: Way,
        service: &Service,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let file = self.around_offline(service.scope).environment_file(&service.name);
        let before = fs::read_to_string(&file).ok();
        let result = match way {
            Way::Start => self.start_all(service, report).await,
            Way::Restart => self.restart_all(service, report).await,
            Way::Roll => self.roll(service, report).await,
            Way::Fit => self.fit(service, report).await,
        };
        let settled = match (&result, way) {
            // No unit reads it any more, and what it holds was taken away.
            (Ok(()), _) if secret_text(service).is_none() => whole::forget(&file),
            // What serves on may be restarted, and is to find what it was started with.
            (Err(_), Way::Roll) => match before {
                Some(text) => whole::put(&file, &text),
                None => whole::forget(&file),
            },
            _ => Ok(()),
        };
        result?;
        settled.map_err(|source| ServiceError::Write { path: file, source })
    }

    pub(super) async fn outcome(
        &self,
        service: &str,
        report: Report,
    ) -> Result<ServiceOutcome, ServiceError> {
        Ok(report.outcome(Some(self.one(service).await?)))
    }

    // === parts ===

    /// The units a description stands for.
    pub(super) async fn units_of(&self, service: &Service) -> Result<Vec<UnitText>, ServiceError> {
        let around = self.around(service.scope).await?;
        let count = self.wanted(service);
        (1..=count).map(|instance| Ok(render(service, instance, &around)?)).collect()
    }

    /// A service moves from one systemd to another only by being deleted first.
    pub(super) fn same_scope(&self, service: &Service) -> Result<(), ServiceError> {
        if service.scope == ServiceScope::System && !rustix::process::geteuid().is_root() {
            return Err(ServiceError::Refused(format!(
                "`{}` is a system service, and this manager does not run as root; run one as root, or \
                 use scope = \"user\"",
                service.name
            )));
        }
        match self.deployed(&service.name)?.iter().find(|unit| unit.scope != service.scope) {
            None => Ok(()),
            Some(unit) => Err(ServiceError::Refused(format!(
                "`{}` runs in another systemd, as {}; `bs9 delete {0}` first",
                service.name,
                unit.path.display()
            ))),
        }
    }

    /// Whether systemd keeps any instance of it running.
    pub(super) async fn any_running(&self, service: &str) -> Result<bool, ServiceError> {
        for unit in self.deployed(service)? {
            if self.systemd(unit.scope).state(&unit.unit).await?.is_wanted() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes what its units need beside their own files.
    pub(super) fn write_environment(&self, service: &Service) -> Result<(), ServiceError> {
        let file = self.around_offline(service.scope).environment_file(&service.name);
        let failed = |source| ServiceError::Write { path: file.clone(), source };
        match secret_text(service) {
            Some(text) => {
                if fs::read_to_string(&file).is_ok_and(|present| present == text) {
                    return Ok(());
                }
                whole::put(&file, &text).map_err(failed)
            }
            None => Ok(()),
        }
    }

    /// Writes unit files and has systemd read them.
    pub(super) async fn write_units(
        &self,
        scope: ServiceScope,
        units: &[UnitText],
    ) -> Result<(), ServiceError> {
        let folder = self.around_offline(scope).unit_folder().ok_or_else(|| {
            ServiceError::Refused("there is no home folder to put unit files in".to_owned())
        })?;
        for unit in units {
            deployed::write(&folder, unit)?;
        }
        Ok(self.systemd(scope).reload().await?)
    }

    /// Brings every instance up.
    pub(super) async fn start_all(
        &self,
        service: &Service,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        self.same_scope(service)?;
        port::check_privilege(service)?;
        let units = self.units_of(service).await?;
        let systemd = self.systemd(service.scope);
        let former = self.former_route(&service.name)?;
        let mut to_start = Vec::new();
        for (unit, instance) in units.iter().zip(1..) {
            let state = systemd.state(&unit.name).await?;
            if state.is_active() {
                continue;
            }
            if state.is_wanted() {
                // It waits for its next try; this one is by hand.
                systemd.job(Verb::Stop, &unit.name).await?;
            }
            if let Some(port) = service.port_of(instance) {
                port::check_free(service.host, port)?;
            }
            to_start.push(instance);
        }
        self.write_environment(service)?;
        self.write_units(service.scope, &units).await?;
        let names: Vec<_> = units.iter().map(|unit| unit.name.as_str()).collect();
        systemd.enable(&names).await?;
        if to_start.is_empty() {
            report.step(format!("`{}` runs already", service.name));
        }
        let starts =
            to_start.iter().map(|instance| ready::start(systemd, service, *instance, Verb::Start));
        let results = join_all(starts).await;
        let mut first_failure = None;
        for (instance, result) in to_start.iter().zip(results) {
            match result {
                Ok(()) => report.step(format!("started {}", unit_name(&service.name, *instance))),
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        // It may have had more when it was stopped.
        let count = u32::try_from(units.len()).unwrap_or(u32::MAX);
        let surplus = self.surplus(&service.name, count)?;
        self.retire_units(service, &surplus, report).await?;
        self.wire(service, former, report).await;
        self.linger(service.scope, report).await;
        first_failure.map_or(Ok(()), Err)
    }

    /// Restarts all instances, with their units as described now.
    pub(super) async fn restart_all(
        &self,
        service: &Service,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        self.same_scope(service)?;
        port::check_privilege(service)?;
        let units = self.units_of(service).await?;
        let systemd = self.systemd(service.scope);
        let former = self.former_route(&service.name)?;
        self.write_environment(service)?;
        self.write_units(service.scope, &units).await?;
        let names: Vec<_> = units.iter().map(|unit| unit.name.as_str()).collect();
        systemd.enable(&names).await?;
        let count = u32::try_from(units.len()).unwrap_or(u32::MAX);
        let restarts =
            (1..=count).map(|instance| ready::start(systemd, service, instance, Verb::Restart));
        let mut first_failure = None;
        for (instance, result) in (1..).zip(join_all(restarts).await) {
            match result {
                Ok(()) => {
                    let unit = unit_name(&service.name, instance);
                    report.step(format!("restarted {unit}"));
                    self.tell_restart(&service.name, unit);
                }
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        let surplus = self.surplus(&service.name, count)?;
        self.retire_units(service, &surplus, report).await?;
        self.wire(service, former, report).await;
        first_failure.map_or(Ok(()), Err)
    }

    /// Stops every instance; that there is none is no error.
    async fn stop_all(&self, service: &str, report: &mut Report) -> Result<(), ServiceError> {
        let units = self.deployed(service)?;
        if units.is_empty() {
            self.book.get(service)?;
            report.warn(format!("`{service}` was never started"));
        }
        self.stop_units(service, &units, report).await
    }

    /// Removes its units and its description.
    async fn erase(&self, service: &str, report: &mut Report) -> Result<(), ServiceError> {
        self.remove_all(service, report).await?;
        self.forget_source(service, report);
        if self.book.text(service)?.is_some() {
            self.book.remove(service)?;
            report.step(format!("removed {}", self.book.path(service).display()));
        } else if report.steps.is_empty() {
            return Err(self.book.unknown(service));
        }
        Ok(())
    }

    /// Stops units and keeps their files; they stay down at the next boot.
    async fn stop_units(
        &self,
        service: &str,
        units: &[Deployed],
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let limit = self.book.read(service).ok().flatten();
        let limit = limit.map_or(std::time::Duration::from_secs(5), |s| s.proxy.drain_timeout);
        let drains = units.iter().filter_map(|unit| {
            let (cluster, endpoint) =
                (unit.marker.cluster.as_ref()?, unit.marker.endpoint.as_ref()?);
            Some(self.wiring.retire(cluster, endpoint, limit))
        });
        for result in join_all(drains).await {
            if let Err(error) = result {
                tracing::debug!(service, %error, "not drained");
            }
        }
        for scope in [ServiceScope::User, ServiceScope::System] {
            let names: Vec<_> =
                units.iter().filter(|unit| unit.scope == scope).map(|u| u.unit.as_str()).collect();
            if names.is_empty() {
                continue;
            }
            let systemd = self.systemd(scope);
            systemd.disable(&names).await?;
            let stops = names.iter().map(|unit| systemd.job(Verb::Stop, unit));
            for (unit, result) in names.iter().zip(join_all(stops).await) {
                result?;
                systemd.reset_failed(unit).await?;
                report.step(format!("stopped {unit}"));
            }
        }
        if let Some(described) = self.book.read(service).ok().flatten()
            && wiring::cluster_of(&described).is_some()
            && !units.is_empty()
            && let Err(error) = self.wiring.set(&described, Vec::new(), None).await
        {
            report.warn(format!("its endpoints are still in the data plane: {error}"));
        }
        Ok(())
    }

    /// Stops units and removes their files, and the cluster with them.
    async fn remove_all(&self, service: &str, report: &mut Report) -> Result<(), ServiceError> {
        let units = self.deployed(service)?;
        self.stop_units(service, &units, report).await?;
        self.remove_files(&units).await?;
        let mut clusters: Vec<_> = units.iter().filter_map(|u| u.marker.cluster.clone()).collect();
        clusters.dedup();
        for cluster in clusters {
            match self.wiring.unset(&cluster).await {
                Ok(None) => report.step(format!("removed the cluster {cluster}")),
                Ok(Some(reason)) => report.warn(format!(
                    "the cluster {cluster} is without endpoints, and could not be removed: {reason}"
                )),
                Err(error) => {
                    report.warn(format!("the cluster {cluster} may still be there: {error}"));
                }
            }
        }
        let environment = self.around_offline(ServiceScope::User).environment_file(service);
        if let Err(error) = fs::remove_file(&environment)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            report.warn(format!("{} is still there: {error}", environment.display()));
        }
        Ok(())
    }

    /// Removes unit files, and has systemd forget them.
    pub(super) async fn remove_files(&self, units: &[Deployed]) -> Result<(), ServiceError> {
        for unit in units {
            deployed::remove(unit)?;
        }
        for scope in [ServiceScope::User, ServiceScope::System] {
            if units.iter().any(|unit| unit.scope == scope) {
                self.systemd(scope).reload().await?;
            }
        }
        Ok(())
    }

    /// Units past the number there should be.
    pub(super) fn surplus(&self, service: &str, count: u32) -> Result<Vec<Deployed>, ServiceError> {
        let mut units = self.deployed(service)?;
        units.retain(|unit| unit.marker.instance > count);
        Ok(units)
    }

    /// Drains, stops and removes instances for good.
    pub(super) async fn retire_units(
        &self,
        service: &Service,
        units: &[Deployed],
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        for unit in units {
            self.drain(service, unit, report).await;
            let systemd = self.systemd(unit.scope);
            systemd.disable(&[&unit.unit]).await?;
            systemd.job(Verb::Stop, &unit.unit).await?;
            systemd.reset_failed(&unit.unit).await?;
            report.step(format!("stopped and removed {}", unit.unit));
        }
        self.remove_files(units).await
    }

    /// Lets an instance finish its requests; without a data plane it has none to finish.
    pub(super) async fn drain(&self, service: &Service, unit: &Deployed, report: &mut Report) {
        let (Some(cluster), Some(endpoint)) = (&unit.marker.cluster, &unit.marker.endpoint) else {
            return;
        };
        match self.wiring.retire(cluster, endpoint, service.proxy.drain_timeout).await {
            Ok(0) => {}
            Ok(left) => report.warn(format!(
                "{}: {left} requests were still open after {} s and are cut off",
                unit.unit,
                service.proxy.drain_timeout.as_secs_f64()
            )),
            Err(error) => tracing::debug!(unit = unit.unit, %error, "not drained"),
        }
    }

    /// The route that the data plane was last given for it.
    pub(super) fn former_route(
        &self,
        service: &str,
    ) -> Result<Option<bs9_api::types::ClusterRoute>, ServiceError> {
        Ok(self.deployed(service)?.into_iter().find_map(|unit| unit.marker.route))
    }

    /// Makes the running instances the endpoints of the cluster.
    pub(super) async fn wire(
        &self,
        service: &Service,
        former: Option<bs9_api::types::ClusterRoute>,
        report: &mut Report,
    ) {
        if wiring::cluster_of(service).is_none() {
            return;
        }
        match self.wire_now(service, former).await {
            Ok(()) => {}
            Err(error) => report.warn(format!(
                "not fronted by the data plane: {error}; it will be when that is possible"
            )),
        }
    }

    pub(super) async fn wire_now(
        &self,
        service: &Service,
        former: Option<bs9_api::types::ClusterRoute>,
    ) -> Result<(), ServiceError> {
        let units = self.deployed(&service.name)?;
        let mut running = Vec::new();
        for unit in &units {
            if self.systemd(unit.scope).state(&unit.unit).await?.is_wanted() {
                running.push(unit);
            }
        }
        Ok(self.wiring.set(service, wiring::endpoints(running), former).await?)
    }

    async fn linger(&self, scope: ServiceScope, report: &mut Report) {
        if scope == ServiceScope::User
            && let Err(reason) = linger::ensure().await
        {
            report.warn(reason);
        }
    }
}
