//! `bs9 apply`.

use bs9_api::types::{ApplyOutcome, ApplyServices, PlannedAction, ServicePlan};
use clap::Args;

use super::client;
use crate::{
    cli::Global,
    exit::{Exit, Failure},
    runtime,
    terminal::{self, BAD, FAINT, GOOD, NOTE, STRONG},
};

const EXAMPLES: &str = "\
Examples:
  bs9 apply --dry-run          how what runs differs from services/*.toml
  bs9 apply                    shows that, asks, and does it
  bs9 apply api web --yes      only these, without asking

Services are described in services/NAME.toml beside manager.toml (`[services] folder` names another
folder); keep it in git. What runs is rolled to its new description, what no file describes is removed,
what somebody stopped stays stopped. `bs9 check FILE --service` checks one.";

/// What is applied.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only these services [default: all, and what no file describes goes].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Show what would be done, and do nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let services = arguments.names;
    runtime::block_on(async {
        let look = ApplyServices { services: services.clone(), dry_run: true };
        if !global.json || arguments.dry_run {
            let planned = client.apply_services(&look).await?;
            show(&planned, global)?;
            if arguments.dry_run || planned.services.is_empty() {
                return failures(&planned);
            }
            if !arguments.yes && !terminal::confirm("do this?")? {
                return Err(
                    Failure::new(Exit::Error, "nothing was done").hint("--yes does not ask")
                );
            }
        } else if !arguments.yes {
            return Err(
                Failure::new(Exit::Usage, "--json does not ask").hint("add --yes or --dry-run")
            );
        }
        let done = client.apply_services(&ApplyServices { dry_run: false, ..look }).await?;
        match global.json {
            true => terminal::json(&done)?,
            false => steps(&done)?,
        }
        failures(&done)
    })
}

fn show(planned: &ApplyOutcome, global: &Global) -> Result<(), Failure> {
    if global.json {
        return terminal::json(planned);
    }
    if planned.services.is_empty() {
        return terminal::say(format_args!(
            "{GOOD}nothing to do{GOOD:#}: everything is as {} says",
            planned.folder
        ));
    }
    for plan in &planned.services {
        let (style, word) = match plan.action {
            PlannedAction::Create => (GOOD, "create"),
            PlannedAction::Update => (NOTE, "update"),
            PlannedAction::Remove => (BAD, "remove"),
        };
        terminal::say(format_args!("{style}{word}{style:#} {STRONG}{}{STRONG:#}", plan.service))?;
        for line in &plan.difference {
            terminal::say(format_args!("  {line}"))?;
        }
        error(plan)?;
    }
    Ok(())
}

fn steps(done: &ApplyOutcome) -> Result<(), Failure> {
    for plan in &done.services {
        for step in &plan.steps {
            terminal::say(format_args!("{FAINT}{}{FAINT:#}: {step}", plan.service))?;
        }
        error(plan)?;
    }
    Ok(())
}

fn error(plan: &ServicePlan) -> Result<(), Failure> {
    match &plan.error {
        Some(error) => terminal::say(format_args!("{BAD}error{BAD:#}: {}: {error}", plan.service)),
        None => Ok(()),
    }
}

/// What failed has been told; that something did is the exit code.
fn failures(outcome: &ApplyOutcome) -> Result<(), Failure> {
    match outcome.services.iter().any(|plan| plan.error.is_some()) {
        true => Err(Failure::silent(Exit::Error)),
        false => Ok(()),
    }
}
