//! `bs9 loadbalancer top`: what the endpoints do now.

use std::time::Duration;

use bs9_api::types::{ClusterStatus, Clusters, EndpointStatus};
use clap::Args;
use comfy_table::{Cell, Table};
use serde::Serialize;

use super::ask::client;
use crate::{
    cli::Global,
    exit::Failure,
    status::standing,
    terminal::{self, number},
    top::{self, rate},
};

const EXAMPLES: &str = "\
Examples:
  bs9 loadbalancer top
  bs9 loadbalancer top --interval 5s --count 3
  bs9 loadbalancer top --count 1 --json

Rates are those of the interval. SHARE is an endpoint's part of what its cluster was asked in it.";

/// How often, and how many.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pace: top::Pace,
}

/// What an endpoint did in an interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Activity {
    cluster: String,
    address: String,
    standing: &'static str,
    active: u64,
    requests_per_second: f64,
    share_ratio: Option<f64>,
    failures_per_second: f64,
    connects_per_second: f64,
    idle_connections: u64,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    top::watch(&arguments.pace, global, async || client.clusters().await, compare, table)
}

/// The busiest first.
fn compare(before: &Clusters, now: &Clusters, elapsed: Duration) -> Vec<Activity> {
    let mut activity = Vec::new();
    for cluster in &now.clusters {
        let earlier = before.clusters.iter().find(|one| one.name == cluster.name);
        activity.extend(of_cluster(earlier, cluster, elapsed));
    }
    activity.sort_by(|one, other| {
        let active = other.active.cmp(&one.active);
        other.requests_per_second.total_cmp(&one.requests_per_second).then(active)
    });
    activity
}

fn of_cluster(
    before: Option<&ClusterStatus>,
    now: &ClusterStatus,
    elapsed: Duration,
) -> Vec<Activity> {
    let earlier = |endpoint: &EndpointStatus| {
        before?.endpoints.iter().find(|one| one.address == endpoint.address)
    };
    let of = |endpoint: &EndpointStatus| {
        let before = earlier(endpoint);
        let since = |count: fn(&EndpointStatus) -> u64| {
            rate(before.map_or(0, count), count(endpoint), elapsed)
        };
        Activity {
            cluster: now.name.clone(),
            address: endpoint.address.clone(),
            standing: standing(endpoint),
            active: endpoint.active,
            requests_per_second: since(|one| one.requests_total),
            share_ratio: None,
            failures_per_second: since(|one| one.failures_total),
            connects_per_second: since(|one| one.connects_total),
            idle_connections: endpoint.idle_connections,
        }
    };
    let mut activity: Vec<_> = now.endpoints.iter().map(of).collect();
    let all: f64 = activity.iter().map(|one| one.requests_per_second).sum();
    if all > 0.0 {
        activity.iter_mut().for_each(|one| one.share_ratio = Some(one.requests_per_second / all));
    }
    activity
}

fn table(activity: &[Activity]) -> Table {
    let mut table = terminal::table([
        "CLUSTER",
        "ENDPOINT",
        "HEALTH",
        "ACTIVE",
        "REQUESTS/S",
        "SHARE",
        "FAILURES/S",
        "CONNECTS/S",
        "IDLE",
    ]);
    for one in activity {
        let share = one.share_ratio.map_or_else(String::new, |r| format!("{:.0} %", r * 100.0));
        table.add_row([
            Cell::new(&one.cluster),
            Cell::new(&one.address),
            Cell::new(one.standing),
            number(one.active),
            number(format!("{:.0}", one.requests_per_second)),
            number(share),
            number(format!("{:.1}", one.failures_per_second)),
            number(format!("{:.1}", one.connects_per_second)),
            number(one.idle_connections),
        ]);
    }
    table
}
