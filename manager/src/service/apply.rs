//! `bs9 apply`: everything as the files say.

use std::collections::BTreeMap;

use bs9_api::types::{ApplyOutcome, ApplyServices, PlannedAction, SCHEMA, ServicePlan};
use bs9_config::Service;

use super::{
    Deployed, Insist, ServiceError, Services,
    change::Report,
    recover::{Aim, Note, Way},
};
use crate::{
    source,
    unit::{UnitText, without_secrets},
};

/// Lines that differ, of one service, that are told.
const MAX_LINES: usize = 400;

impl Services {
    /// Says what the files ask for, and does it unless it is only looked at. What
    /// fails for one service is told, and the others go on.
    pub(crate) async fn apply(&self, asked: &ApplyServices) -> Result<ApplyOutcome, ServiceError> {
        let described = self.book.names()?;
        for name in &asked.services {
            if !described.contains(name) {
                return Err(self.book.unknown(name));
            }
        }
        let mut names = self.names()?;
        if !asked.services.is_empty() {
            names.retain(|name| asked.services.contains(name));
        }
        let mut plans = Vec::new();
        for name in names {
            let plan = match self.plan(&name).await {
                Ok(None) => continue,
                Ok(Some(plan)) if asked.dry_run => plan,
                Ok(Some(plan)) => self.carry_out(plan).await,
                Err(error) => failed(&name, &error),
            };
            plans.push(plan);
        }
        Ok(ApplyOutcome {
            schema: SCHEMA,
            dry_run: asked.dry_run,
            folder: self.book.folder().display().to_string(),
            services: plans,
        })
    }

    /// What is to be done about a service; `None` when nothing is.
    async fn plan(&self, name: &str) -> Result<Option<ServicePlan>, ServiceError> {
        let units = self.deployed(name)?;
        let Some(service) = self.book.read(name)? else {
            let difference = units.iter().flat_map(|unit| difference(&unit.unit, &unit.text, ""));
            return Ok(Some(plan(name, PlannedAction::Remove, difference.collect())));
        };
        let wanted = self.units_of(&service).await?;
        let action = match units.is_empty() {
            true => PlannedAction::Create,
            false => PlannedAction::Update,
        };
        let mut lines = differences(&units, &wanted);
        if lines.is_empty() && self.environment_differs(&service) {
            lines.push("~ environment (values are not shown)".to_owned());
        }
        Ok((!lines.is_empty()).then(|| plan(name, action, lines)))
    }

    fn environment_differs(&self, service: &Service) -> bool {
        let file = self.around_offline(service.scope).environment_file(&service.name);
        let present = std::fs::read_to_string(file).ok();
        match crate::unit::secret_text(service) {
            Some(text) => present.as_ref() != Some(&text),
            None => false,
        }
    }

    async fn carry_out(&self, plan: ServicePlan) -> ServicePlan {
        let mut report = Report::default();
        let result = self.carry_out_steps(&plan, &mut report).await;
        self.tell_deploy(&plan.service, &report.steps, result.as_ref().map(drop));
        let mut steps = report.steps;
        steps.extend(report.warnings.into_iter().map(|warning| format!("warning: {warning}")));
        ServicePlan { steps, error: result.err().map(|error| in_full(&error)), ..plan }
    }

    async fn carry_out_steps(
        &self,
        plan: &ServicePlan,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let name = plan.service.as_str();
        let _claim = self.claim(name)?;
        let aim = match plan.action {
            PlannedAction::Remove => Aim::Remove,
            PlannedAction::Create => Aim::Described(Way::Start),
            _ if self.any_running(name).await? => Aim::Described(Way::Roll),
            // Somebody stopped it; a new description is no reason to start it.
            _ => Aim::Described(Way::Fit),
        };
        let change = self.bring_to(name, aim, Insist::No, report);
        self.noted(name, Note::of(aim), change).await
    }

    /// Brings the units of a service that is stopped to its description.
    pub(super) async fn fit(
        &self,
        service: &Service,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let units = self.units_of(service).await?;
        self.write_environment(service)?;
        self.write_units(service.scope, &units).await?;
        let count = u32::try_from(units.len()).unwrap_or(u32::MAX);
        let surplus = self.surplus(&service.name, count)?;
        self.retire_units(service, &surplus, report).await?;
        report.step(format!("`{}` is stopped, and stays so", service.name));
        Ok(())
    }
}

fn plan(service: &str, action: PlannedAction, difference: Vec<String>) -> ServicePlan {
    let service = service.to_owned();
    ServicePlan { service, action, difference, steps: Vec::new(), error: None }
}

fn failed(service: &str, error: &ServiceError) -> ServicePlan {
    let text = in_full(error);
    let plan = plan(service, PlannedAction::Update, Vec::new());
    ServicePlan { error: Some(text), ..plan }
}

/// An error with every place that it is about.
fn in_full(error: &ServiceError) -> String {
    let mut text = error.to_string();
    match error {
        ServiceError::Invalid(report) => {
            text.push('\n');
            text.push_str(report.render(false).trim_end());
        }
        ServiceError::Unsafe { findings, .. } => {
            for finding in findings {
                let place = source::Where(finding);
                text.push_str(&format!("\n{place}: {} ({})", finding.message, finding.hint));
            }
        }
        _ => {}
    }
    text
}

/// How units differ; those that differ in the same way are told once.
fn differences(present: &[Deployed], wanted: &[UnitText]) -> Vec<String> {
    let mut texts: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for unit in present {
        texts.entry(&unit.unit).or_default().0 = &unit.text;
    }
    for unit in wanted {
        texts.entry(&unit.name).or_default().1 = &unit.text;
    }
    let mut lines = Vec::new();
    for (unit, (old, new)) in texts {
        lines.extend(difference(unit, old, new));
    }
    lines.truncate(MAX_LINES);
    lines
}

/// How a unit's text changes: lines that go with `-`, those that come with `+`.
fn difference(unit: &str, old: &str, new: &str) -> Vec<String> {
    if old == new {
        return Vec::new();
    }
    let (old, new) = (without_secrets(old), without_secrets(new));
    let heading = match (old.is_empty(), new.is_empty()) {
        (true, _) => format!("+ {unit}"),
        (_, true) => format!("- {unit}"),
        _ => format!("~ {unit}"),
    };
    let mut lines = vec![heading];
    if old.is_empty() || new.is_empty() {
        return lines;
    }
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let gone = missing_from(&old, &new).into_iter().map(|line| format!("  - {line}"));
    let come = missing_from(&new, &old).into_iter().map(|line| format!("  + {line}"));
    lines.extend(gone.chain(come));
    lines
}

/// Lines of one text that the other lacks, each as often as it lacks them. In a unit
/// file order has no meaning that would be lost by this.
fn missing_from<'l>(one: &[&'l str], other: &[&str]) -> Vec<&'l str> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for line in other {
        *left.entry(line).or_default() += 1;
    }
    let lacks = |line: &&&str| match left.get_mut(**line) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => !line.trim().is_empty(),
    };
    one.iter().filter(lacks).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_goes_and_what_comes() {
        let old = "[Service]\nType=exec\nEnvironment=\"KEY=a\"\nMemoryMax=1\n";
        let new = "[Service]\nType=exec\nEnvironment=\"KEY=b\"\nMemoryMax=2\nTasksMax=3\n";
        assert_eq!(
            difference("api@1.service", old, new),
            ["~ api@1.service", "  - MemoryMax=1", "  + MemoryMax=2", "  + TasksMax=3"]
        );
        assert_eq!(difference("api@1.service", "", new), ["+ api@1.service"]);
        assert_eq!(difference("api@1.service", old, ""), ["- api@1.service"]);
        assert!(difference("api@1.service", old, old).is_empty());
    }
}
