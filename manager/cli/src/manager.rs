//! `bs9 manager`: the sidecar.

use std::path::PathBuf;

use bs9_api::AdminAddress;
use bs9_config::Process;
use bs9_manager::{Manager, ManagerError};
use bs9_net::Inherited;
use clap::Args;

use crate::{
    cli::Global,
    configuration_path,
    exit::{Exit, Failure},
    logging,
    runtime::{self, Stop},
    systemd::{self, Watchdog},
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
    let mut inherited = Inherited::from_environment();
    let mut config = match configuration_path::optional(arguments.config, Process::Manager) {
        Some(path) => bs9_config::load_manager(&path),
        None => bs9_config::parse_manager_str("defaults", ""),
    }
    .map_err(Failure::report)?;
    if let Some(socket) = &global.socket {
        config.admin.socket = Some(socket.clone());
    }
    let address = AdminAddress::of(&config.admin, Process::Manager);
    let handed = systemd::admin_sockets(&mut inherited, &address);
    let manager = Manager::bind_with(&config, handed).map_err(not_started)?;
    runtime::block_on(async {
        let mut stop = Stop::new()?;
        systemd::ready("watching the data plane");
        let stopped = async {
            let signal = stop.wait().await;
            tracing::info!(signal, "the manager ends; traffic does not notice");
            systemd::stopping("traffic does not notice");
        };
        tokio::select! {
            ended = manager.run(stopped) => ended.map_err(not_started),
            never = Watchdog::new().run() => match never {},
        }
    })
}

fn not_started(error: ManagerError) -> Failure {
    match error {
        ManagerError::Bind(error) => error.into(),
        ManagerError::State { folder, source } => {
            let what = format!("the manager cannot keep its state in {}", folder.display());
            Failure::io(what, source)
                .hint("choose another folder with state_folder in manager.toml")
        }
        other => Failure::new(Exit::System, "the manager cannot run").because(other),
    }
}
