//! More or fewer instances.

use bs9_api::types::{ScaleService, ServiceOutcome};

use super::{
    ServiceError, Services,
    change::Report,
    port, ready,
    recover::{Aim, Note},
};
use crate::systemd::Verb;

/// Instances of one service at most; what the description allows too.
const MAX_INSTANCES: u32 = 512;

impl Services {
    /// Runs so many instances, and says so in the description.
    pub(crate) async fn scale(
        &self,
        service: &str,
        wanted: ScaleService,
    ) -> Result<ServiceOutcome, ServiceError> {
        let _claim = self.claim(service)?;
        if !(1..=MAX_INSTANCES).contains(&wanted.instances) {
            return Err(ServiceError::Senseless(format!(
                "a service has 1 to {MAX_INSTANCES} instances; to have none, `bs9 stop {service}`"
            )));
        }
        let before = self.book.text(service)?.ok_or_else(|| self.book.unknown(service))?;
        let mut report = Report::default();
        let change = async {
            self.book.set_instances(service, wanted.instances)?;
            let result = self.scale_now(service, wanted.instances, &mut report).await;
            if result.is_err() {
                self.book.write(service, &before)?;
                self.retire_surplus(service).await?;
            }
            result
        };
        self.noted(service, Note::or_back(Aim::Scale(wanted.instances), &before), change).await?;
        self.outcome(service, report).await
    }

    /// Removes instances beyond those that are described.
    pub(super) async fn retire_surplus(&self, service: &str) -> Result<(), ServiceError> {
        let described = self.book.get(service)?;
        let surplus = self.surplus(service, self.wanted(&described))?;
        self.retire_units(&described, &surplus, &mut Report::default()).await
    }

    /// Brings up what is missing, and takes down what is too many.
    pub(super) async fn scale_now(
        &self,
        service: &str,
        count: u32,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let described = self.book.get(service)?;
        let present = self.deployed(service)?;
        if present.is_empty() || !self.any_running(service).await? {
            report.step(format!("{count} instances will run when `{service}` is started"));
            let surplus = self.surplus(service, count)?;
            return self.retire_units(&described, &surplus, report).await;
        }
        let former = self.former_route(service)?;
        let systemd = self.systemd(described.scope);
        for instance in 1..=count {
            if let Some(unit) = present.iter().find(|unit| unit.marker.instance == instance) {
                let state = systemd.state(&unit.unit).await?;
                // One that failed is no matter of how many there are.
                if state.is_enabled() && state.active() != "inactive" {
                    continue;
                }
            }
            if let Some(port) = described.port_of(instance) {
                port::check_free(described.host, port)?;
            }
            let around = self.around(described.scope).await?;
            let unit = crate::unit::render(&described, instance, &around)?;
            self.write_units(described.scope, std::slice::from_ref(&unit)).await?;
            systemd.enable(&[&unit.name]).await?;
            ready::start(systemd, &described, instance, Verb::Start).await?;
            report.step(format!("started {}", unit.name));
        }
        let surplus = self.surplus(service, count)?;
        self.retire_units(&described, &surplus, report).await?;
        self.wire(&described, former, report).await;
        if report.steps.is_empty() {
            report.step(format!("`{service}` has {count} instances already"));
        }
        Ok(())
    }
}
