//! `bs9 serve`: the data plane.

use std::path::PathBuf;

use bs9_config::Process;
use clap::Args;

use crate::{
    cli::Global,
    configuration_path,
    dataplane::{self, Launch, Origin},
    exit::Failure,
    logging,
};

const EXAMPLES: &str = "\
Examples:
  bs9 serve --config bs9.toml
  bs9 serve --config /etc/bs9/bs9.d     a folder: its *.toml merged in name order

While it runs:
  SIGHUP, a changed file, or `bs9 loadbalancer reload` put the files in force; a file with an
  error is refused whole and changes nothing. SIGUSR1 opens the files of access logs anew.
  SIGTERM or SIGINT finish what is open within runtime.drain_timeout and end; a second one ends
  at once.";

/// Where the configuration is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A file, or a folder of *.toml files [default: bs9/bs9.toml or bs9/bs9.d in
    /// $XDG_CONFIG_HOME, then in /etc].
    #[arg(long, short, value_name = "PATH")]
    config: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    logging::start(&global.log, global.log_format)?;
    let path = configuration_path::required(arguments.config, Process::DataPlane)?;
    let path = std::path::absolute(&path)
        .map_err(|error| Failure::io("cannot find the current folder", error))?;
    let config = bs9_config::load(&path).map_err(Failure::report)?;
    dataplane::run(
        Launch { config, origin: Origin::Files(path), socket: global.socket.clone() },
        async |_| Ok(()),
    )
}
