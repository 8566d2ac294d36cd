//! `bs9 quickstart`: a complete sample of everything, in a folder of its own.
//!
//! What it starts are the same programs a person would start: a data plane, a
//! manager, and a PostgreSQL server. It owns them, shows what they do, and takes
//! everything away at the end.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::signal::unix::{self, SignalKind};

mod configuration;
mod folder;
mod guide;
mod house;
mod leftover;
mod live;
mod port;
mod postgres;

use house::House;

use crate::{
    cli::Global,
    exit::Failure,
    logging,
    runtime::{self, Stop},
    terminal,
};

/// How long anything may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  bs9 quickstart
  bs9 quickstart --folder ./sample --keep   keep configuration, logs and database afterwards

Ports are 8080 (http), 6380 (tcp), 6432 (PostgreSQL pool) and 9901 (metrics) on 127.0.0.1; those
that are taken are replaced by free ones. Ctrl-C ends everything. Even when it is killed, its
programs end with it, and the next quickstart removes the folder.";

/// Where it lives, and what stays of it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A folder for everything; must not hold anything yet [default: a new one in
    /// the folder for temporary files].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Leave the folder behind.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    // The children write logs of their own; only what goes wrong is said here.
    logging::start(if global.log == "info" { "warn" } else { &global.log }, global.log_format)?;
    runtime::block_on(async {
        let mut stop = Stop::new()?;
        let mut hangup = unix::signal(SignalKind::hangup())
            .map_err(|error| Failure::io("cannot take over a signal", error))?;
        for left in leftover::remove_all(&std::env::temp_dir()) {
            terminal::remark(format_args!(
                "removed {}, left by one that was killed",
                left.display()
            ));
        }
        let folder = folder::Folder::make(arguments.folder, arguments.keep)?;
        let mut house = House::new(folder);
        let result = tokio::select! {
            result = house.open_and_show() => result,
            _ = stop.wait() => Ok(()),
            // The terminal was closed.
            _ = hangup.recv() => Ok(()),
        };
        house.close().await;
        result
    })
}
