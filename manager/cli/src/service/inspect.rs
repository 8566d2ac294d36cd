//! `bs9 inspect`.

use bs9_api::types::{Effect, SecurityScore, ServiceInspection};
use clap::Args;
use comfy_table::Cell;

use super::{client, show};
use crate::{
    cli::Global,
    exit::Failure,
    runtime,
    terminal::{self, BAD, FAINT, GOOD, NOTE, STRONG, Verdict, number, verdict},
};

const EXAMPLES: &str = "\
Examples:
  bs9 inspect api
  bs9 inspect api --unit       its unit file, values of the environment left out
  bs9 inspect api --all        every finding of systemd-analyze security, not the worst ten
  bs9 inspect api --json | jq .security.exposure

Declared is what the unit file says; in effect is what the kernel says about the running process.";

/// Findings that are shown unless all are asked for.
const WORST: usize = 10;

/// What is shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The service.
    name: String,
    /// Print its unit file only.
    #[arg(long)]
    unit: bool,
    /// Every finding.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let found = runtime::block_on(async { Ok(client.inspect_service(&arguments.name).await?) })?;
    if global.json {
        return terminal::json(&found);
    }
    if arguments.unit {
        return terminal::say(found.unit_text.trim_end());
    }
    show::service(&found.service)?;
    terminal::say(format_args!("\n{STRONG}unit{STRONG:#} {}", found.unit_file))?;
    security(&found, arguments.all)?;
    terminal::show("in effect", &effects(&found.effects))?;
    relaxations(&found)?;
    environment(&found)?;
    if !found.generations.is_empty() {
        terminal::say(format_args!(
            "\n{STRONG}earlier descriptions{STRONG:#}, `bs9 reload {} --back N` goes back",
            found.service.name
        ))?;
        for generation in &found.generations {
            terminal::say(format_args!("  {generation}"))?;
        }
    }
    Ok(())
}

fn security(found: &ServiceInspection, all: bool) -> Result<(), Failure> {
    let Some(SecurityScore { exposure, verdict, findings }) = &found.security else {
        let reason = found.security_unavailable.as_deref().unwrap_or("not available");
        return terminal::say(format_args!("{STRONG}security{STRONG:#} {reason}"));
    };
    let style = match *exposure {
        score if score < 4.6 => GOOD,
        score if score < 7.6 => NOTE,
        _ => BAD,
    };
    terminal::say(format_args!(
        "{STRONG}security{STRONG:#} {style}{exposure:.1} {verdict}{style:#} (0 is safe, 10 is unsafe)"
    ))?;
    let count = if all { findings.len() } else { WORST.min(findings.len()) };
    let mut table = terminal::table(["OPEN", "COSTS", "MEANS"]);
    for finding in &findings[..count] {
        table.add_row([
            Cell::new(&finding.directive),
            number(format!("{:.1}", finding.exposure)),
            Cell::new(&finding.description),
        ]);
    }
    terminal::say(terminal::text(&table))?;
    match findings.len() - count {
        0 => Ok(()),
        left => terminal::say(format_args!("{FAINT}and {left} more; --all shows them{FAINT:#}")),
    }
}

fn effects(effects: &[Effect]) -> comfy_table::Table {
    let mut table = terminal::table(["DIRECTIVE", "DECLARED", "IN EFFECT", ""]);
    for effect in effects {
        table.add_row([
            Cell::new(&effect.directive),
            Cell::new(&effect.declared),
            Cell::new(effect.effective.as_deref().unwrap_or("not running")),
            match effect.holds {
                Some(true) => verdict("holds", Verdict::Good),
                Some(false) => verdict("does not hold", Verdict::Bad),
                None => Cell::new(""),
            },
        ]);
    }
    table
}

fn relaxations(found: &ServiceInspection) -> Result<(), Failure> {
    if found.relaxations.is_empty() {
        return Ok(());
    }
    terminal::say(format_args!("\n{STRONG}not kept from{STRONG:#}"))?;
    for relaxation in &found.relaxations {
        let because = relaxation.because.as_ref().map(|why| format!(" ({why})"));
        terminal::say(format_args!(
            "  {NOTE}{}{NOTE:#}{}: {}",
            relaxation.relaxation,
            because.unwrap_or_default(),
            relaxation.cost
        ))?;
    }
    Ok(())
}

fn environment(found: &ServiceInspection) -> Result<(), Failure> {
    let mut table = terminal::table(["VARIABLE", "VALUE", "FROM"]);
    for entry in &found.environment {
        table.add_row([
            Cell::new(&entry.name),
            Cell::new(entry.value.as_deref().unwrap_or("…")),
            Cell::new(&entry.source),
        ]);
    }
    terminal::show("environment", &table)
}
