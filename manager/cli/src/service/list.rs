//! `bs9 list`, and `bs9 status NAME`.

use clap::Args;

use super::{client, resolve, show};
use crate::{cli::Global, exit::Failure, runtime, terminal};

const EXAMPLES: &str = "\
Examples:
  bs9 list
  bs9 list --json | jq '.services[] | select(.state != \"running\") | .name'";

/// Nothing to choose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let answer = runtime::block_on(async { Ok(client.services().await?) })?;
    if global.json {
        return terminal::json(&answer);
    }
    if answer.services.is_empty() {
        return terminal::say("no services; `bs9 start FILE` makes one");
    }
    terminal::say(terminal::text(&show::services(&answer.services)))
}

/// Shows services closely.
///
/// # Errors
/// One of them is not there, or the manager is not.
pub(crate) async fn closely(names: &[String], global: &Global) -> Result<(), Failure> {
    let client = client(global);
    for name in resolve(&client, names).await? {
        let answer = client.service(&name).await?;
        match global.json {
            true => terminal::json(&answer)?,
            false => show::service(&answer.service)?,
        }
    }
    Ok(())
}
