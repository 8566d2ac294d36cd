//! `bs9 dbpool stats`: the pools of a running data plane.

use bs9_api::{DataPlaneClient, types::Pools};
use clap::Args;

use crate::{
    cli::Global,
    exit::Failure,
    interval::{self, Interval},
    loadbalancer::client,
    runtime,
    status::pools_table,
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  bs9 dbpool stats
  bs9 dbpool stats --watch=1s
  bs9 dbpool stats --json";

/// How often they are shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Show them anew every so often.
    #[arg(long, short, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    watch: Option<Interval>,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    runtime::block_on(async {
        interval::show(arguments.watch, global, async || show(&client, global).await).await
    })
}

async fn show(client: &DataPlaneClient, global: &Global) -> Result<(), Failure> {
    let pools: Pools = client.pools().await?;
    if global.json {
        return terminal::json(&pools);
    }
    if pools.pools.is_empty() {
        return terminal::say(
            "no pool yet: one comes into being with the first client of a database and user",
        );
    }
    terminal::say(terminal::text(&pools_table(&pools.pools)))
}
