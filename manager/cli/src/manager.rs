//! `bs9 manager`: the sidecar.

use std::path::PathBuf;

use bs9_config::Process;
use bs9_manager::{Manager, ManagerError};
use clap::Args;
use sd_notify::NotifyState;

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    logging,
    runtime::{self, Stop},
    serve::configuration_path,
};

const EXAMPLES: &str = "\
Examples:
  bs9 manager --config manager.toml
  bs9 manager                           without a configuration: every setting at its default

It watches the data plane through its admin socket and answers on a socket of its own. It can be
stopped at any moment: traffic does not notice. `bs9 status` asks it first.";

/// Where the configuration is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A file, or a folder of *.toml files [default: bs9/manager.toml or
    /// bs9/manager.d in $XDG_CONFIG_HOME, then in /etc; else no file at all].
    #[arg(long, short, value_name = "PATH")]
    config: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    logging::start(&global.log, global.log_format)?;
    let given = arguments.config.or_else(|| bs9_config::default_config_path(Process::Manager));
    let mut config = match given {
        Some(path) => bs9_config::load_manager(&configuration_path(Some(path), Process::Manager)?),
        None => bs9_config::parse_manager_str("defaults", ""),
    }
    .map_err(Failure::report)?;
    if let Some(socket) = &global.socket {
        config.admin.socket = Some(socket.clone());
    }
    let manager = Manager::bind(&config).map_err(not_started)?;
    runtime::block_on(async {
        let mut stop = Stop::new()?;
        tell(&[NotifyState::Ready, NotifyState::Status("watching the data plane")]);
        let stopped = async {
            let signal = stop.wait().await;
            tracing::info!(signal, "the manager ends; traffic does not notice");
            tell(&[NotifyState::Stopping]);
        };
        manager.run(stopped).await.map_err(not_started)
    })
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

fn not_started(error: ManagerError) -> Failure {
    match error {
        ManagerError::Bind(error) => {
            let exit = match &error {
                bs9_api::BindError::InUse { .. } => Exit::Network,
                bs9_api::BindError::Folder { source, .. }
                | bs9_api::BindError::Unix { source, .. }
                | bs9_api::BindError::Tcp { source, .. } => Exit::of_io(source),
                _ => Exit::Error,
            };
            Failure::new(exit, "the manager cannot answer its admin API")
                .because(error)
                .hint("choose another place with admin.socket or --socket PATH")
        }
        other => Failure::new(Exit::System, "the manager cannot run").because(other),
    }
}
