//! `bs9 save` and `bs9 resurrect`.

use bs9_api::types::{ResurrectServices, SaveServices, SavedServices};
use clap::Args;

use super::client;
use crate::{
    cli::Global,
    exit::{Exit, Failure},
    runtime,
    terminal::{self, BAD, FAINT, GOOD},
};

const SAVE_EXAMPLES: &str = "\
Examples:
  bs9 save                     every description, and which services run
  bs9 save api                 only this one; the others stay saved as they were

Units start at boot by themselves; this is for moving, and for when everything else is gone. The file
holds the descriptions, secrets among them, and only its owner can read it.";
const RESURRECT_EXAMPLES: &str = "\
Examples:
  bs9 resurrect                everything that was saved; what ran, runs again
  bs9 resurrect api

A description that is there wins over the one that was saved.";

/// Which services.
#[derive(Debug, Args)]
#[command(after_help = SAVE_EXAMPLES)]
pub(crate) struct SaveArguments {
    /// Only these [default: all].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Which services.
#[derive(Debug, Args)]
#[command(after_help = RESURRECT_EXAMPLES)]
pub(crate) struct ResurrectArguments {
    /// Only these [default: all that were saved].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn save(arguments: SaveArguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let wanted = SaveServices { services: arguments.names };
    let saved = runtime::block_on(async { Ok(client.save_services(&wanted).await?) })?;
    show(&saved, "saved", global)
}

pub(crate) fn resurrect(arguments: ResurrectArguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let wanted = ResurrectServices { services: arguments.names };
    let back = runtime::block_on(async { Ok(client.resurrect_services(&wanted).await?) })?;
    show(&back, "back", global)
}

fn show(saved: &SavedServices, word: &str, global: &Global) -> Result<(), Failure> {
    if global.json {
        terminal::json(saved)?;
    }
    for service in saved.services.iter().filter(|_| !global.json) {
        let state = if service.running { "running" } else { "stopped" };
        match &service.error {
            None => {
                terminal::say(format_args!("{GOOD}{word}{GOOD:#} {}, {state}", service.service))?
            }
            Some(error) => {
                terminal::say(format_args!("{BAD}error{BAD:#} {}: {error}", service.service))?;
            }
        }
        for step in &service.steps {
            terminal::say(format_args!("  {FAINT}{step}{FAINT:#}"))?;
        }
    }
    match saved.services.iter().any(|service| service.error.is_some()) {
        true => Err(Failure::silent(Exit::Error)),
        false => Ok(()),
    }
}
