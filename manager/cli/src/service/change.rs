//! `bs9 stop`, `restart`, `reload` and `delete`.

use bs9_api::types::ReloadService;
use clap::Args;

use super::{client, report, resolve};
use crate::{
    cli::Global,
    exit::{Exit, Failure},
    runtime, terminal,
};

const STOP_EXAMPLES: &str = "\
Examples:
  bs9 stop api                 now, and at the next boot
  bs9 stop 'app-*'             all that are named so
  bs9 stop all";
const RESTART_EXAMPLES: &str = "\
Examples:
  bs9 restart api              every instance at once; `bs9 reload api` leaves no gap";
const RELOAD_EXAMPLES: &str = "\
Examples:
  bs9 reload api               new code, or a new description, without a failed request
  bs9 reload api --back 1      to the description before the present one

One more instance is started, and gets traffic when it is ready. Then the others are drained, stopped
and started anew, one by one. When the new one is never ready, the old ones go on serving, and why is
told. Without a data plane in front, each instance is down for a moment.";
const DELETE_EXAMPLES: &str = "\
Examples:
  bs9 delete api               stop it, and remove its units and its description
  bs9 delete all --yes

The description stays as services/NAME.toml.~1~, what it wrote stays in the journal.";

/// Which services.
#[derive(Debug, Args)]
#[command(after_help = STOP_EXAMPLES)]
pub(crate) struct StopArguments {
    /// Names, patterns with `*`, or `all`.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Which services.
#[derive(Debug, Args)]
#[command(after_help = RESTART_EXAMPLES)]
pub(crate) struct RestartArguments {
    /// Names, patterns with `*`, or `all`.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Which services, and to what.
#[derive(Debug, Args)]
#[command(after_help = RELOAD_EXAMPLES)]
pub(crate) struct ReloadArguments {
    /// Names, patterns with `*`, or `all`.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Go back so many generations of the description.
    #[arg(long, value_name = "N", default_value_t = 0)]
    back: u32,
}

/// Which services.
#[derive(Debug, Args)]
#[command(after_help = DELETE_EXAMPLES)]
pub(crate) struct DeleteArguments {
    /// Names, patterns with `*`, or `all`.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn stop(arguments: &StopArguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    runtime::block_on(async {
        for name in resolve(&client, &arguments.names).await? {
            report(&client.stop_service(&name).await?, global)?;
        }
        Ok(())
    })
}

pub(crate) fn restart(arguments: &RestartArguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    runtime::block_on(async {
        for name in resolve(&client, &arguments.names).await? {
            report(&client.restart_service(&name).await?, global)?;
        }
        Ok(())
    })
}

pub(crate) fn reload(arguments: &ReloadArguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let wanted = ReloadService { back: arguments.back };
    runtime::block_on(async {
        for name in resolve(&client, &arguments.names).await? {
            report(&client.reload_service(&name, &wanted).await?, global)?;
        }
        Ok(())
    })
}

pub(crate) fn delete(arguments: &DeleteArguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    runtime::block_on(async {
        let names = resolve(&client, &arguments.names).await?;
        let many = names != arguments.names;
        if many && !arguments.yes && !terminal::confirm(&format!("delete {}?", names.join(", ")))? {
            return Err(Failure::new(Exit::Error, "nothing was deleted").hint("--yes does not ask"));
        }
        for name in names {
            report(&client.delete_service(&name).await?, global)?;
        }
        Ok(())
    })
}
