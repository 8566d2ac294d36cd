//! `bs9 dbpool pause`, `resume`, `reconnect`, `disable`, `enable` and `kill`.

use bs9_api::types::{OrderPools, PoolOrder};
use clap::Args;

use crate::{
    cli::Global, exit::Failure, interval::Interval, loadbalancer::client, runtime, terminal,
};

const EXAMPLES: &str = "\
Examples:
  bs9 dbpool pause app                    clients wait while the server is maintained …
  bs9 dbpool resume app                   … and go on
  bs9 dbpool reconnect app                after the server has moved
  bs9 dbpool disable app --json

What is ordered holds until it is ordered otherwise, reloads included; a new process knows nothing
of it. Without a name the order is for every database. Clients that wait longer than
postgres.wait_timeout are disconnected, in a pause, too.";

/// Which database.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The name that clients connect to. Left out: every database.
    database: Option<String>,
}

/// Which database, and how long to wait.
#[derive(Debug, Args)]
pub(crate) struct PauseArguments {
    #[command(flatten)]
    of: Arguments,
    /// How long to wait until no server connection is left. The pause is in force from the
    /// beginning, and goes on when the wait is given up.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    timeout: Interval,
}

pub(super) fn run(order: PoolOrder, arguments: Arguments, global: &Global) -> Result<(), Failure> {
    give(&OrderPools { order, database: arguments.database, timeout_seconds: None }, global)
}

pub(super) fn pause(
    order: PoolOrder,
    arguments: PauseArguments,
    global: &Global,
) -> Result<(), Failure> {
    let timeout_seconds = Some(arguments.timeout.0.as_secs_f64());
    give(&OrderPools { order, database: arguments.of.database, timeout_seconds }, global)
}

fn give(order: &OrderPools, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    runtime::block_on(async {
        let outcome = client.order_pools(order).await?;
        if global.json {
            return terminal::json(&outcome);
        }
        terminal::say(outcome.changes.join("\n"))
    })
}
