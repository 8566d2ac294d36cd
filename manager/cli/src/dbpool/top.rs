//! `bs9 dbpool top`: what the pools do now.

use std::time::Duration;

use bs9_api::types::{PoolStatus, Pools};
use clap::Args;
use comfy_table::{Cell, Table};
use serde::Serialize;

use crate::{
    cli::Global,
    exit::Failure,
    loadbalancer::client,
    terminal::{self, number},
    top::{self, rate},
};

const EXAMPLES: &str = "\
Examples:
  bs9 dbpool top
  bs9 dbpool top --interval 5s --count 3
  bs9 dbpool top --count 1 --json

Rates and times are those of the interval. Times are upper bounds: half of the transactions (P50),
or 99 of 100 (P99), took at most that long.";

/// How often, and how many.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pace: top::Pace,
}

/// What a pool did in an interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Activity {
    database: String,
    user: String,
    clients_active: u64,
    clients_waiting: u64,
    servers_active: u64,
    servers_idle: u64,
    transactions_per_second: f64,
    queries_per_second: f64,
    transaction_p50_seconds: Option<f64>,
    transaction_p99_seconds: Option<f64>,
    wait_p99_seconds: Option<f64>,
    errors: u64,
    paused: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    top::watch(&arguments.pace, global, async || client.pools().await, compare, table)
}

/// The busiest first.
fn compare(before: &Pools, now: &Pools, elapsed: Duration) -> Vec<Activity> {
    let unknown = PoolStatus::default();
    let mut activity: Vec<_> = now
        .pools
        .iter()
        .map(|pool| {
            let same = |one: &&PoolStatus| one.database == pool.database && one.user == pool.user;
            let earlier = before.pools.iter().find(same).unwrap_or(&unknown);
            activity_of(earlier, pool, elapsed)
        })
        .collect();
    activity.sort_by(|one, other| {
        let waits = other.clients_waiting.cmp(&one.clients_waiting);
        other.queries_per_second.total_cmp(&one.queries_per_second).then(waits)
    });
    activity
}

fn activity_of(before: &PoolStatus, now: &PoolStatus, elapsed: Duration) -> Activity {
    let transactions = now.transaction_times.since(&before.transaction_times);
    let errors = |pool: &PoolStatus| pool.errors_total.iter().map(|error| error.count).sum::<u64>();
    Activity {
        database: now.database.clone(),
        user: now.user.clone(),
        clients_active: now.clients_active,
        clients_waiting: now.clients_waiting,
        servers_active: now.servers_active,
        servers_idle: now.servers_idle,
        transactions_per_second: rate(before.transactions_total, now.transactions_total, elapsed),
        queries_per_second: rate(before.queries_total, now.queries_total, elapsed),
        transaction_p50_seconds: transactions.quantile(0.5),
        transaction_p99_seconds: transactions.quantile(0.99),
        wait_p99_seconds: now.wait_times.since(&before.wait_times).quantile(0.99),
        errors: errors(now).saturating_sub(errors(before)),
        paused: now.paused,
    }
}

fn table(activity: &[Activity]) -> Table {
    let mut table = terminal::table([
        "DATABASE",
        "USER",
        "CLIENTS",
        "WAITING",
        "SERVERS",
        "IDLE",
        "TX/S",
        "QUERIES/S",
        "TX P50",
        "TX P99",
        "WAIT P99",
        "ERRORS",
        "",
    ]);
    let time = |seconds: Option<f64>| seconds.map_or_else(String::new, terminal::seconds);
    for one in activity {
        table.add_row([
            Cell::new(&one.database),
            Cell::new(&one.user),
            number(one.clients_active),
            number(one.clients_waiting),
            number(one.servers_active),
            number(one.servers_idle),
            number(format!("{:.0}", one.transactions_per_second)),
            number(format!("{:.0}", one.queries_per_second)),
            number(time(one.transaction_p50_seconds)),
            number(time(one.transaction_p99_seconds)),
            number(time(one.wait_p99_seconds)),
            number(one.errors),
            Cell::new(if one.paused { "paused" } else { "" }),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(user: &str, queries_total: u64) -> PoolStatus {
        PoolStatus { user: user.to_owned(), queries_total, ..PoolStatus::default() }
    }

    #[test]
    fn the_busiest_comes_first() {
        let before = Pools::new(vec![pool("a", 100), pool("b", 10)]);
        let now = Pools::new(vec![pool("a", 110), pool("b", 50), pool("c", 5)]);
        let activity = compare(&before, &now, Duration::from_secs(2));
        let rates: Vec<_> =
            activity.iter().map(|one| (one.user.as_str(), one.queries_per_second)).collect();
        assert_eq!(rates, [("b", 20.0), ("a", 5.0), ("c", 2.5)]);
    }
}
