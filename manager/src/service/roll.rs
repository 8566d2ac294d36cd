//! Rolling reloads: at every moment at least as many instances serve as before.
//!
//! One more instance, of the new description, stands in on the next free port.
//! Only when it is ready and takes traffic are the others drained, stopped and
//! started anew, each in its place; at last the stand-in is drained and goes. So
//! ports are the same before and after. Whatever fails, what served before goes on
//! serving.

use bs9_api::types::{ReloadService, ServiceOutcome};
use bs9_config::Service;

use super::{
    Deployed, Insist, ServiceError, Services,
    change::Report,
    port, ready,
    recover::{Aim, Note, Way},
    wiring,
};
use crate::{
    systemd::Verb,
    unit::{Marker, UnitText, render, unit_name},
};

impl Services {
    /// Brings a service to its description, or to an earlier one, without a gap.
    pub(crate) async fn reload(
        &self,
        service: &str,
        wanted: ReloadService,
    ) -> Result<ServiceOutcome, ServiceError> {
        let _claim = self.claim(service)?;
        let before = self.book.text(service)?.ok_or_else(|| self.book.unknown(service))?;
        let way = if self.any_running(service).await? { Way::Roll } else { Way::Start };
        let aim = Aim::Described(way);
        let mut report = Report::default();
        if wanted.back == 0 {
            let change = self.bring_to(service, aim, Insist::No, &mut report);
            self.noted(service, Note::of(aim), change).await?;
            return self.outcome(service, report).await;
        }
        let earlier = self.book.earlier(service, wanted.back)?;
        let note = Note::describing(aim, &earlier, Some(&before));
        let change = async {
            self.book.write(service, &earlier)?;
            let result = self.bring_to(service, aim, Insist::No, &mut report).await;
            if result.is_err() {
                self.book.write(service, &before)?;
            }
            result
        };
        self.noted(service, note, change).await?;
        self.outcome(service, report).await
    }

    pub(super) async fn roll(
        &self,
        service: &Service,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let result = self.roll_now(service, report).await;
        self.tell_reload(&service.name, &report.steps, result.as_ref().map(drop));
        result
    }

    async fn roll_now(&self, service: &Service, report: &mut Report) -> Result<(), ServiceError> {
        self.same_scope(service)?;
        port::check_privilege(service)?;
        let old = self.deployed(&service.name)?;
        let new = self.units_of(service).await?;
        let fronted = self.is_fronted(service, &old).await;
        self.write_environment(service)?;
        match fronted {
            Ok(cluster) => self.roll_behind(service, &cluster, &old, &new, report).await,
            Err(reason) => {
                report.warn(format!("{reason}; so each instance is down for a moment"));
                self.roll_bare(service, &old, &new, report).await
            }
        }
    }

    /// The cluster whose traffic can be led around an instance, or why there is none.
    async fn is_fronted(&self, service: &Service, old: &[Deployed]) -> Result<String, String> {
        let cluster = wiring::cluster_of(service)
            .ok_or_else(|| format!("`{}` is not fronted by the data plane", service.name))?;
        if old.iter().any(|unit| unit.marker.cluster.as_deref() != Some(&cluster)) {
            return Err(format!("`{}` moves to the cluster {cluster}", service.name));
        }
        match self.wiring.cluster(&cluster).await {
            Ok(Some(_)) => Ok(cluster),
            Ok(None) => Err(format!("the data plane has no cluster {cluster}")),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn roll_behind(
        &self,
        service: &Service,
        cluster: &str,
        old: &[Deployed],
        new: &[UnitText],
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let former = old.iter().find_map(|unit| unit.marker.route.clone());
        let stand_in = self.stand_in(service, old, new).await?;
        self.begin(service, &stand_in, report).await?;
        let result = self.replace_each(service, cluster, &stand_in, old, new, report).await;
        if result.is_ok() {
            let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
            let surplus: Vec<_> = self
                .surplus(&service.name, count)?
                .into_iter()
                .filter(|unit| unit.unit != stand_in.unit.name)
                .collect();
            self.retire_units(service, &surplus, report).await?;
        }
        // The others serve again, whichever description they are of.
        self.drop_stand_in(service, &stand_in, report).await?;
        result?;
        self.wire(service, former, report).await;
        Ok(())
    }

    /// One more instance than there are, or will be.
    async fn stand_in(
        &self,
        service: &Service,
        old: &[Deployed],
        new: &[UnitText],
    ) -> Result<StandIn, ServiceError> {
        let highest = old.iter().map(|unit| unit.marker.instance).max().unwrap_or(0);
        let instance = highest.max(u32::try_from(new.len()).unwrap_or(u32::MAX)) + 1;
        let unit = render(service, instance, &self.around(service.scope).await?)?;
        let wanted =
            new.iter().filter_map(|unit| Marker::read(&unit.text)?.endpoint.map(|e| (unit, e)));
        for (unit, endpoint) in wanted {
            // A description that moves to other ports may want those of a neighbour.
            let taken = old.iter().find(|other| {
                other.marker.endpoint.as_ref() == Some(&endpoint) && other.unit != unit.name
            });
            if let Some(other) = taken {
                return Err(ServiceError::Refused(format!(
                    "{} is to have {endpoint}, which {} has now; use `bs9 restart {}`",
                    unit.name, other.unit, service.name
                )));
            }
        }
        if let Some(port) = service.port_of(instance) {
            port::check_free(service.host, port)?;
        }
        Ok(StandIn { instance, unit })
    }

    /// Starts the stand-in and gives it traffic. Nothing else has changed when that fails.
    async fn begin(
        &self,
        service: &Service,
        stand_in: &StandIn,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        self.write_units(service.scope, std::slice::from_ref(&stand_in.unit)).await?;
        let started =
            ready::start(self.systemd(service.scope), service, stand_in.instance, Verb::Start)
                .await;
        let given = match started {
            Ok(()) => self.give_traffic(&stand_in.unit).await,
            Err(error) => Err(error),
        };
        if let Err(error) = given {
            self.drop_stand_in(service, stand_in, report).await?;
            return Err(ServiceError::Refused(format!(
                "nothing was changed, what ran before goes on serving: {error}"
            )));
        }
        report.step(format!("{} stands in, ready", stand_in.unit.name));
        Ok(())
    }

    async fn replace_each(
        &self,
        service: &Service,
        cluster: &str,
        stand_in: &StandIn,
        old: &[Deployed],
        new: &[UnitText],
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        for (unit, instance) in new.iter().zip(1..) {
            let present = old.iter().find(|present| present.unit == unit.name);
            if let Some(present) = present {
                self.drain(service, present, report).await;
            }
            let result = self.replace(service, instance, unit).await;
            let Err(error) = result else {
                report.step(format!("reloaded {}", unit.name));
                continue;
            };
            let Some(present) = present else { return Err(error) };
            let back = self.put_back(service, instance, present).await;
            self.give_traffic(&present.unit_text()).await?;
            return Err(ServiceError::Refused(format!(
                "{error}\n{back}; {} of {} instances are of the new description. The \
                 stand-in {} was ready, so look at what differs between the two",
                instance - 1,
                new.len(),
                stand_in.unit.name
            )));
        }
        tracing::debug!(cluster, "every instance is of the new description");
        Ok(())
    }

    /// One instance: down, its unit replaced, up, ready, and traffic again.
    async fn replace(
        &self,
        service: &Service,
        instance: u32,
        unit: &UnitText,
    ) -> Result<(), ServiceError> {
        let systemd = self.systemd(service.scope);
        systemd.job(Verb::Stop, &unit.name).await?;
        self.write_units(service.scope, std::slice::from_ref(unit)).await?;
        systemd.enable(&[&unit.name]).await?;
        ready::start(systemd, service, instance, Verb::Start).await?;
        self.give_traffic(unit).await
    }

    /// An instance as it was before, and how that went. Its earlier description may be gone
    /// from the file, so it is asked for the sign of the new one.
    async fn put_back(&self, service: &Service, instance: u32, present: &Deployed) -> String {
        let systemd = self.systemd(present.scope);
        let unit = present.unit_text();
        let back = async {
            systemd.job(Verb::Stop, &unit.name).await?;
            self.write_units(present.scope, std::slice::from_ref(&unit)).await?;
            ready::start(systemd, service, instance, Verb::Start).await
        };
        match back.await {
            Ok(()) => format!("{} runs as before again", unit.name),
            Err(error) => {
                let unit = unit.name;
                format!(
                    "{unit} has its earlier description again, and fails with that, too: {error}"
                )
            }
        }
    }

    async fn give_traffic(&self, unit: &UnitText) -> Result<(), ServiceError> {
        let marker = Marker::read(&unit.text).unwrap_or_default();
        if let (Some(cluster), Some(endpoint)) = (&marker.cluster, &marker.endpoint) {
            self.wiring.add(cluster, endpoint).await?;
        }
        Ok(())
    }

    async fn drop_stand_in(
        &self,
        service: &Service,
        stand_in: &StandIn,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let mut units = self.deployed(&service.name)?;
        units.retain(|unit| unit.unit == stand_in.unit.name);
        for unit in &units {
            self.drain(service, unit, report).await;
            let systemd = self.systemd(unit.scope);
            systemd.job(Verb::Stop, &unit.unit).await?;
            systemd.reset_failed(&unit.unit).await?;
        }
        self.remove_files(&units).await
    }

    /// One after the other, without anybody who leads traffic around them.
    async fn roll_bare(
        &self,
        service: &Service,
        old: &[Deployed],
        new: &[UnitText],
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let former = old.iter().find_map(|unit| unit.marker.route.clone());
        let systemd = self.systemd(service.scope);
        for (unit, instance) in new.iter().zip(1..) {
            self.write_units(service.scope, std::slice::from_ref(unit)).await?;
            systemd.enable(&[&unit.name]).await?;
            let result = ready::start(systemd, service, instance, Verb::Restart).await;
            let present = old.iter().find(|present| present.unit == unit.name);
            if let (Err(error), Some(present)) = (&result, present) {
                let back = self.put_back(service, instance, present).await;
                return Err(ServiceError::Refused(format!(
                    "{error}\n{back}; those after it never changed"
                )));
            }
            result?;
            report.step(format!("reloaded {}", unit_name(&service.name, instance)));
        }
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        let surplus = self.surplus(&service.name, count)?;
        self.retire_units(service, &surplus, report).await?;
        self.wire(service, former, report).await;
        Ok(())
    }
}

/// The instance that serves while the others are replaced.
struct StandIn {
    instance: u32,
    unit: UnitText,
}
