//! `bs9 dbpool clients` and `servers`: who is connected.

use bs9_api::types::{PoolClient, PoolServer};
use clap::Args;
use comfy_table::Cell;

use crate::{
    cli::Global,
    exit::Failure,
    loadbalancer::client,
    runtime,
    terminal::{self, number},
};

const EXAMPLES: &str = "\
Examples:
  bs9 dbpool clients
  bs9 dbpool clients --database app --state waiting
  bs9 dbpool servers --json | jq '.servers[] | select(.state == \"active\")'";

/// Which of them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only those of this database.
    #[arg(long)]
    database: Option<String>,
    /// Only those of this user.
    #[arg(long)]
    user: Option<String>,
    /// Only those in this state.
    #[arg(long)]
    state: Option<String>,
}

impl Arguments {
    fn fits(&self, database: &str, user: &str, state: &str) -> bool {
        let is = |wanted: &Option<String>, found| wanted.as_ref().is_none_or(|one| one == found);
        is(&self.database, database) && is(&self.user, user) && is(&self.state, state)
    }
}

pub(super) fn clients(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    runtime::block_on(async {
        let mut answer = client.pool_clients().await?;
        answer.clients.retain(|one| arguments.fits(&one.database, &one.user, &one.state));
        if global.json {
            return terminal::json(&answer);
        }
        if answer.clients.is_empty() {
            return terminal::say("no client");
        }
        terminal::say(terminal::text(&clients_table(&answer.clients)))
    })
}

pub(super) fn servers(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    runtime::block_on(async {
        let mut answer = client.pool_servers().await?;
        answer.servers.retain(|one| arguments.fits(&one.database, &one.user, &one.state));
        if global.json {
            return terminal::json(&answer);
        }
        if answer.servers.is_empty() {
            return terminal::say("no server connection");
        }
        terminal::say(terminal::text(&servers_table(&answer.servers)))
    })
}

fn clients_table(clients: &[PoolClient]) -> comfy_table::Table {
    let mut table = terminal::table([
        "DATABASE",
        "USER",
        "STATE",
        "FOR",
        "ADDRESS",
        "CONNECTED",
        "SERVER PID",
        "SHARD",
    ]);
    for client in clients {
        let since = client.state_seconds.map_or_else(String::new, terminal::seconds);
        let pid = client.server_process_id.map_or_else(String::new, |pid| pid.to_string());
        table.add_row([
            Cell::new(&client.database),
            Cell::new(&client.user),
            Cell::new(&client.state),
            number(since),
            Cell::new(&client.address),
            number(terminal::seconds(client.connected_seconds)),
            number(pid),
            number(client.shard),
        ]);
    }
    table
}

fn servers_table(servers: &[PoolServer]) -> comfy_table::Table {
    let mut table = terminal::table([
        "DATABASE",
        "USER",
        "STATE",
        "PID",
        "SERVER",
        "CONNECTED",
        "LAST USED",
        "SHARD",
    ]);
    for server in servers {
        let shard = server.shard.map_or_else(String::new, |shard| shard.to_string());
        table.add_row([
            Cell::new(&server.database),
            Cell::new(&server.user),
            Cell::new(&server.state),
            number(server.process_id),
            Cell::new(&server.address),
            number(terminal::seconds(server.connected_seconds)),
            number(terminal::seconds(server.used_seconds)),
            number(shard),
        ]);
    }
    table
}
