//! `bs9 loadbalancer status` and `config`.

use bs9_api::{
    DataPlaneClient, Process,
    socket::find,
    types::{ClusterStatus, GenerationStatus, SCHEMA},
};
use clap::Args;
use comfy_table::Cell;
use serde::Serialize;

use crate::{
    cli::Global,
    exit::Failure,
    interval::{self, Interval},
    runtime,
    status::{clusters_table, conditions},
    terminal::{self, NOTE, STRONG, number},
};

const EXAMPLES: &str = "\
Examples:
  bs9 loadbalancer status
  bs9 loadbalancer status --watch=1s
  bs9 loadbalancer status --json | jq '.clusters[].endpoints[] | select(.health != \"healthy\")'";

/// How often it is shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArguments {
    /// Show it anew every so often.
    #[arg(long, short, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    watch: Option<Interval>,
}

/// The data plane to ask.
pub(crate) fn client(global: &Global) -> DataPlaneClient {
    DataPlaneClient::unix(find(Process::DataPlane, global.socket.as_deref()))
}

pub(super) fn status(arguments: &StatusArguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    runtime::block_on(async {
        let show = async || {
            let answer = client.clusters().await?;
            if global.json {
                return terminal::json(&answer);
            }
            terminal::say(terminal::text(&clusters_table(&answer.clusters)))?;
            conditions(&answer.clusters)
        };
        interval::show(arguments.watch, global, show).await
    })
}

/// What is configured.
#[derive(Debug, Serialize)]
struct Configured {
    schema: u32,
    generation: GenerationStatus,
    clusters: Vec<ConfiguredCluster>,
}

#[derive(Debug, Serialize)]
struct ConfiguredCluster {
    name: String,
    balance: String,
    health_checked: bool,
    endpoints: Vec<ConfiguredEndpoint>,
}

#[derive(Debug, Serialize)]
struct ConfiguredEndpoint {
    address: String,
    weight: u16,
    disabled: bool,
}

impl From<ClusterStatus> for ConfiguredCluster {
    fn from(status: ClusterStatus) -> Self {
        let endpoints = status.endpoints.into_iter().map(|endpoint| ConfiguredEndpoint {
            address: endpoint.address,
            weight: endpoint.weight,
            disabled: endpoint.disabled,
        });
        Self {
            name: status.name,
            balance: status.balance,
            health_checked: status.health_checked,
            endpoints: endpoints.collect(),
        }
    }
}

pub(super) fn config(global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let status = runtime::block_on(async { Ok(client.status().await?) })?;
    let configured = Configured {
        schema: SCHEMA,
        generation: status.generation,
        clusters: status.clusters.into_iter().map(ConfiguredCluster::from).collect(),
    };
    if global.json {
        return terminal::json(&configured);
    }
    let generation = &configured.generation;
    let sources = if generation.sources.is_empty() {
        "flags".to_owned()
    } else {
        generation.sources.join(", ")
    };
    terminal::say(format_args!(
        "{STRONG}generation{STRONG:#} {} from {sources}",
        generation.generation
    ))?;
    for change in &generation.unsaved_changes {
        terminal::say(format_args!("{NOTE}unsaved{NOTE:#}: {change}"))?;
    }
    let yes_or_no = |yes: bool| Cell::new(if yes { "yes" } else { "no" });
    let mut table =
        terminal::table(["CLUSTER", "BALANCE", "HEALTH CHECK", "ENDPOINT", "WEIGHT", "DISABLED"]);
    for cluster in &configured.clusters {
        for endpoint in &cluster.endpoints {
            table.add_row([
                Cell::new(&cluster.name),
                Cell::new(&cluster.balance),
                yes_or_no(cluster.health_checked),
                Cell::new(&endpoint.address),
                number(endpoint.weight),
                yes_or_no(endpoint.disabled),
            ]);
        }
    }
    terminal::say(terminal::text(&table))
}
