//! `bs9 loadbalancer add|remove|weight|disable|enable|reload`.

use bs9_api::{
    ClientError, DataPlaneClient,
    types::{AddEndpoint, ChangeOutcome, DrainEndpoint, RemoveEndpoint, SetWeight},
};
use clap::Args;

use super::ask::client;
use crate::{
    cli::Global,
    exit::{Exit, Failure},
    runtime,
    terminal::{self, NOTE},
};

const ADD_EXAMPLES: &str = "\
Examples:
  bs9 loadbalancer add 10.0.0.3:3000
  bs9 loadbalancer add 10.0.0.3:3000 --weight 3 --cluster api --persist";
const REMOVE_EXAMPLES: &str = "\
Examples:
  bs9 loadbalancer drain 10.0.0.3:3000      first let it finish
  bs9 loadbalancer remove 10.0.0.3:3000 --persist";
const TRAFFIC_EXAMPLES: &str = "\
Examples:
  bs9 loadbalancer disable 10.0.0.3:3000              what it has under way goes on
  bs9 loadbalancer enable 10.0.0.3:3000
  bs9 loadbalancer disable 10.0.0.3:3000 --persist    through a restart too
  bs9 loadbalancer enable 10.0.0.3:3000 --persist

Without --persist it lasts as long as the data plane does, through reloads too, unless the key
`disabled` of the endpoint has changed in the files.";
const WEIGHT_EXAMPLES: &str = "\
Examples:
  bs9 loadbalancer weight 10.0.0.3:3000 5
  bs9 loadbalancer weight 10.0.0.3:3000 0 --cluster api --persist";

/// Which cluster, and how long the change lasts.
#[derive(Debug, Args)]
struct Where {
    /// The cluster; needed when there is more than one.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Write it to the configuration file too; else a reload undoes it.
    #[arg(long)]
    persist: bool,
}

/// `add`.
#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(crate) struct AddArguments {
    /// host:port or unix:/path.
    address: String,
    /// 0 to 65535.
    #[arg(long, default_value_t = 1)]
    weight: u16,
    #[command(flatten)]
    place: Where,
}

/// `remove`.
#[derive(Debug, Args)]
#[command(after_help = REMOVE_EXAMPLES)]
pub(crate) struct RemoveArguments {
    /// As it stands in the configuration.
    address: String,
    #[command(flatten)]
    place: Where,
}

/// `disable` and `enable`.
#[derive(Debug, Args)]
#[command(after_help = TRAFFIC_EXAMPLES)]
pub(crate) struct EndpointArguments {
    /// The endpoint, as it stands in the configuration.
    address: String,
    /// The cluster; needed when there is more than one.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Write it to the configuration file too; else a restart undoes it.
    #[arg(long)]
    persist: bool,
}

/// What an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Nothing new.
    Nothing,
    /// As much as anybody.
    Again,
}

/// `weight`.
#[derive(Debug, Args)]
#[command(after_help = WEIGHT_EXAMPLES)]
pub(crate) struct WeightArguments {
    /// The endpoint, as it stands in the configuration.
    address: String,
    /// 0 to 65535; 0 takes no new traffic.
    weight: u16,
    #[command(flatten)]
    place: Where,
}

pub(super) fn add(arguments: AddArguments, global: &Global) -> Result<(), Failure> {
    let AddArguments { address, weight, place } = arguments;
    carry_out(global, place.cluster, async |client, cluster| {
        client.add_endpoint(cluster, &AddEndpoint { address, weight, persist: place.persist }).await
    })
}

pub(super) fn remove(arguments: RemoveArguments, global: &Global) -> Result<(), Failure> {
    let RemoveArguments { address, place } = arguments;
    carry_out(global, place.cluster, async |client, cluster| {
        client.remove_endpoint(cluster, &RemoveEndpoint { address, persist: place.persist }).await
    })
}

pub(super) fn weight(arguments: WeightArguments, global: &Global) -> Result<(), Failure> {
    let WeightArguments { address, weight, place } = arguments;
    carry_out(global, place.cluster, async |client, cluster| {
        client.set_weight(cluster, &SetWeight { address, weight, persist: place.persist }).await
    })
}

pub(super) fn take_traffic(
    arguments: EndpointArguments,
    traffic: Traffic,
    global: &Global,
) -> Result<(), Failure> {
    let EndpointArguments { address, cluster, persist } = arguments;
    let drain = traffic == Traffic::Nothing;
    carry_out(global, cluster, async |client, cluster| {
        client.drain_endpoint(cluster, &DrainEndpoint { address, drain, persist }).await
    })
}

pub(super) fn reload(global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let outcome = runtime::block_on(async { Ok(client.reload().await?) })?;
    show(&outcome, global)
}

fn carry_out(
    global: &Global,
    cluster: Option<String>,
    call: impl AsyncFnOnce(&DataPlaneClient, &str) -> Result<ChangeOutcome, ClientError>,
) -> Result<(), Failure> {
    let client = client(global);
    let outcome = runtime::block_on(async {
        let cluster = meant(&client, cluster).await?;
        Ok(call(&client, &cluster).await?)
    })?;
    show(&outcome, global)
}

/// The cluster that was named, or the only one there is.
pub(super) async fn meant(
    client: &DataPlaneClient,
    cluster: Option<String>,
) -> Result<String, Failure> {
    match cluster {
        Some(cluster) => Ok(cluster),
        None => only_cluster(client).await,
    }
}

async fn only_cluster(client: &DataPlaneClient) -> Result<String, Failure> {
    let names: Vec<_> =
        client.clusters().await?.clusters.into_iter().map(|cluster| cluster.name).collect();
    match names.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::new(Exit::NotFound, "the data plane has no cluster")),
        _ => Err(Failure::new(Exit::Usage, "there is more than one cluster")
            .hint(format!("name one with --cluster: {}", names.join(", ")))),
    }
}

pub(super) fn show(outcome: &ChangeOutcome, global: &Global) -> Result<(), Failure> {
    if global.json {
        return terminal::json(outcome);
    }
    if outcome.changes.is_empty() {
        terminal::say("nothing changed")?;
    }
    for change in &outcome.changes {
        terminal::say(change)?;
    }
    for warning in &outcome.warnings {
        terminal::say(format_args!("{NOTE}warning{NOTE:#}: {warning}"))?;
    }
    terminal::say(format_args!("generation {}", outcome.generation))
}
