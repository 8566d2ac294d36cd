//! A status as tables for people.

use bs9_api::types::{
    ClusterStatus, DataPlaneState, DataPlaneStatus, DataPlaneView, EndpointHealth, EndpointStatus,
    GenerationStatus, ListenerStatus, PoolStatus, ShardStall, ShardStatus, StaleCertificate,
    StoreStatus,
};
use comfy_table::{Cell, Table};
use jiff::Timestamp;

use super::Status;
use crate::{
    exit::Failure,
    service::services_table,
    terminal::{self, BAD, FAINT, GOOD, NOTE, STRONG, Verdict, number, say, verdict},
};

/// All of it.
pub(super) fn status(status: &Status) -> Result<(), Failure> {
    let who = if status.manager.is_some() { "manager" } else { "data plane" };
    say(format_args!("{FAINT}answered by the {who} at {}{FAINT:#}", status.socket.display()))?;
    if let Some(manager) = &status.manager {
        let history = &manager.history;
        say(format_args!(
            "{STRONG}manager{STRONG:#}     {GOOD}running{GOOD:#}  pid {}, {}, {} of {} points of history",
            manager.pid, manager.version, history.points, history.capacity_points
        ))?;
        for trouble in troubles(&manager.store) {
            say(format_args!("            {BAD}history on disk{BAD:#}: {trouble}"))?;
        }
    }
    match &status.data_plane.status {
        Some(found) if status.data_plane.reachable => data_plane(found, &status.data_plane)?,
        _ => unreachable_since(&status.data_plane)?,
    }
    services(status)
}

/// What is wrong with history on disk, a sentence each; none is kept where it has no kind.
fn troubles(store: &StoreStatus) -> Vec<String> {
    let mut troubles = Vec::new();
    if store.kind.is_empty() {
        return troubles;
    }
    if !store.working {
        let reason = store.reason.as_deref().unwrap_or("for an unknown reason");
        troubles.push(format!("the {} store is not written: {reason}", store.kind));
    }
    if store.batches_spooled > 0 {
        troubles.push(format!(
            "{} batches ({}) wait in memory for the database",
            store.batches_spooled,
            terminal::bytes(store.spooled_bytes)
        ));
    }
    if store.batches_lost_total > 0 {
        troubles.push(format!("{} batches could not be written", store.batches_lost_total));
    }
    if store.series_left_out > 0 {
        troubles.push(format!(
            "{} series are left out, beside {} that are kept",
            store.series_left_out, store.series
        ));
    }
    if store.damaged_parts_total > 0 {
        troubles.push(format!(
            "{} parts are damaged and left out of answers",
            store.damaged_parts_total
        ));
    }
    troubles.extend(store.set_aside.iter().map(|path| format!("damaged, and set aside: {path}")));
    troubles
}

fn services(status: &Status) -> Result<(), Failure> {
    let Some(answer) = &status.services else { return Ok(()) };
    if let Some(reason) = answer.unavailable.as_ref().filter(|_| !answer.services.is_empty()) {
        say(format_args!("{STRONG}services{STRONG:#}    {BAD}unknown{BAD:#}: {reason}"))?;
    }
    match answer.services.is_empty() {
        true => Ok(()),
        false => terminal::show("services", &services_table(&answer.services)),
    }
}

fn unreachable_since(view: &DataPlaneView) -> Result<(), Failure> {
    let reason = view.reason.as_deref().unwrap_or("it does not answer");
    say(format_args!(
        "{STRONG}data plane{STRONG:#}  {BAD}unreachable{BAD:#} since {}: {reason}",
        view.since
    ))?;
    match &view.seen_at {
        Some(seen) => say(format_args!("            last seen {seen}")),
        None => Ok(()),
    }
}

fn data_plane(status: &DataPlaneStatus, view: &DataPlaneView) -> Result<(), Failure> {
    let (style, state) = match status.state {
        DataPlaneState::Starting => (NOTE, "starting"),
        DataPlaneState::Serving => (GOOD, "serving"),
        DataPlaneState::Draining => (NOTE, "draining"),
    };
    say(format_args!(
        "{STRONG}data plane{STRONG:#}  {style}{state}{style:#}  pid {}, {}, {} shards, up {}",
        status.pid,
        status.version,
        status.shards.len(),
        terminal::seconds(status.uptime_seconds)
    ))?;
    stalls(&status.shards)?;
    generation(&status.generation)?;
    if let Some(rates) = &view.rates {
        say(format_args!(
            "{STRONG}now{STRONG:#}         {:.0} requests/s ({:.0} server errors/s), {:.0} queries/s, {:.0} accepts/s",
            rates.requests_per_second,
            rates.server_errors_per_second,
            rates.queries_per_second,
            rates.accepts_per_second
        ))?;
    }
    terminal::show("LISTENERS", &listeners(&status.listeners))?;
    if !status.clusters.is_empty() {
        terminal::show("CLUSTERS", &clusters(&status.clusters))?;
        conditions(&status.clusters)?;
    }
    if !status.pools.is_empty() {
        terminal::show("POOLS", &pools(&status.pools))?;
    }
    Ok(())
}

fn generation(status: &GenerationStatus) -> Result<(), Failure> {
    let sources =
        if status.sources.is_empty() { "flags".to_owned() } else { status.sources.join(", ") };
    say(format_args!("{STRONG}generation{STRONG:#}  {} from {sources}", status.generation))?;
    for change in &status.unsaved_changes {
        say(format_args!("            {NOTE}unsaved{NOTE:#}: {change}"))?;
    }
    for stale in &status.stale_certificates {
        let StaleCertificate { key, file, reason, since } = stale;
        say(format_args!(
            "            {BAD}certificate not renewed{BAD:#}: {key}: {reason}\n              \
             {file} cannot be used since {since}; what it held before is in force"
        ))?;
    }
    let Some(failure) = &status.last_failure else { return Ok(()) };
    say(format_args!("            {BAD}reload refused{BAD:#} at {}:", failure.at))?;
    for error in &failure.errors {
        let file = error.file.as_deref().unwrap_or_default();
        let place = match (error.line, error.column) {
            (Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
            _ if file.is_empty() => String::new(),
            _ => format!("{file}: "),
        };
        say(format_args!("              {place}{}", error.message))?;
    }
    Ok(())
}

fn listeners(listeners: &[ListenerStatus]) -> Table {
    let mut table = terminal::table([
        "NAME", "PROTOCOL", "ADDRESS", "OPEN", "ACCEPTED", "REQUESTS", "5XX", "SENT",
    ]);
    for listener in listeners {
        let http = listener.http.as_ref();
        let or_dash = |value: Option<String>| number(value.unwrap_or_else(|| "-".to_owned()));
        table.add_row([
            Cell::new(&listener.name),
            Cell::new(&listener.protocol),
            Cell::new(listener.addresses.join(" ")),
            number(listener.open_connections),
            number(listener.accepted_connections_total),
            or_dash(http.map(|http| http.requests_total.to_string())),
            or_dash(http.map(|http| http.responses_total[4].to_string())),
            or_dash(http.map(|http| terminal::bytes(http.sent_bytes_total))),
        ]);
    }
    table
}

/// A row for each endpoint.
pub(crate) fn clusters(clusters: &[ClusterStatus]) -> Table {
    let mut table = terminal::table([
        "CLUSTER", "BALANCE", "ENDPOINT", "WEIGHT", "HEALTH", "ACTIVE", "REQUESTS", "FAILURES",
        "MEAN", "WHY",
    ]);
    for cluster in clusters {
        if cluster.endpoints.is_empty() {
            table.add_row([
                Cell::new(&cluster.name),
                Cell::new(&cluster.balance),
                Cell::new("no endpoints"),
            ]);
        }
        for endpoint in &cluster.endpoints {
            table.add_row([
                Cell::new(&cluster.name),
                Cell::new(&cluster.balance),
                Cell::new(&endpoint.address),
                number(endpoint.weight),
                health(endpoint),
                number(endpoint.active),
                number(endpoint.requests_total),
                number(endpoint.failures_total),
                number(
                    endpoint
                        .mean_response_seconds
                        .map_or_else(|| "-".to_owned(), terminal::seconds),
                ),
                Cell::new(why(endpoint)),
            ]);
        }
    }
    table
}

/// What is out of the ordinary about whole clusters, a line each.
pub(crate) fn conditions(clusters: &[ClusterStatus]) -> Result<(), Failure> {
    for cluster in clusters {
        let name = &cluster.name;
        if cluster.panicking {
            say(format_args!(
                "{name}: {BAD}panic{BAD:#}: too few endpoints are available, so health is disregarded"
            ))?;
        }
        if cluster.waiting > 0 {
            let (waiting, requests) = (cluster.waiting, plural(cluster.waiting, "request"));
            say(format_args!(
                "{name}: {NOTE}queue{NOTE:#}: {waiting} {requests} waiting for an endpoint below its limit"
            ))?;
        }
        if let Some(allowed) = cluster.retries_allowed {
            let ClusterStatus { retries_under_way, retries_total, retries_refused_total, .. } =
                cluster;
            say(format_args!(
                "{name}: retries: {retries_under_way} of {allowed} under way, {retries_total} made, \
                 {retries_refused_total} not allowed by the budget"
            ))?;
        }
    }
    Ok(())
}

fn plural(count: u64, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

fn why(endpoint: &EndpointStatus) -> String {
    if endpoint.draining && endpoint.disabled {
        return "disabled in the configuration".to_owned();
    }
    if !endpoint.ejected {
        return endpoint.health_reason.clone().unwrap_or_default();
    }
    let left = endpoint.ejected_until.map(|until| until.duration_since(Timestamp::now()));
    match left.filter(|left| left.is_positive()) {
        Some(left) => {
            format!("failed live traffic; out for {} more", terminal::seconds(left.as_secs_f64()))
        }
        None => "failed live traffic; out until a probe succeeds".to_owned(),
    }
}

/// A line for each shard that stood still.
fn stalls(shards: &[ShardStatus]) -> Result<(), Failure> {
    for shard in shards {
        let Some(stall) = &shard.last_stall else { continue };
        let (number, total) = (shard.shard, shard.stalls_total);
        let ShardStall { place, thread, lasted_seconds } = stall;
        match lasted_seconds {
            Some(seconds) => say(format_args!(
                "            shard {number} stood still {total} {}, last for {} in {place} ({thread})",
                plural(total, "time"),
                terminal::seconds(*seconds)
            ))?,
            None => say(format_args!(
                "            {BAD}shard {number} stands still{BAD:#} in {place} ({thread}); \
                 its connections wait"
            ))?,
        }
    }
    Ok(())
}

/// Whether it takes traffic, in a word.
pub(crate) fn standing(endpoint: &EndpointStatus) -> &'static str {
    match endpoint.health {
        _ if endpoint.draining => "draining",
        _ if endpoint.ejected => "ejected",
        EndpointHealth::Healthy => "healthy",
        EndpointHealth::Unhealthy => "unhealthy",
        EndpointHealth::Unknown => "unknown",
    }
}

fn health(endpoint: &EndpointStatus) -> Cell {
    match standing(endpoint) {
        word @ "healthy" => verdict(word, Verdict::Good),
        word @ "draining" => verdict(word, Verdict::Note),
        word @ "unknown" => Cell::new(word),
        word => verdict(word, Verdict::Bad),
    }
}

/// A row for each pool.
pub(crate) fn pools(pools: &[PoolStatus]) -> Table {
    let mut table = terminal::table([
        "DATABASE",
        "USER",
        "MODE",
        "CLIENTS",
        "WAITING",
        "ACTIVE",
        "IDLE",
        "LOGIN",
        "SIZE",
        "QUERIES",
        "TRANSACTIONS",
        "MAX WAIT",
    ]);
    for pool in pools {
        let waiting = if pool.clients_waiting > 0 {
            verdict(pool.clients_waiting, Verdict::Note)
        } else {
            Cell::new(pool.clients_waiting)
        };
        table.add_row([
            Cell::new(&pool.database),
            Cell::new(&pool.user),
            if pool.paused { verdict("paused", Verdict::Note) } else { Cell::new(&pool.pool_mode) },
            number(pool.clients_active),
            waiting,
            number(pool.servers_active),
            number(pool.servers_idle),
            number(pool.servers_login),
            number(pool.pool_size),
            number(pool.queries_total),
            number(pool.transactions_total),
            number(terminal::seconds(pool.max_wait_seconds)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_a_store_is_told() {
        assert!(troubles(&StoreStatus::default()).is_empty(), "nothing is kept");
        let good = StoreStatus { kind: "sqlite".into(), working: true, ..StoreStatus::default() };
        assert!(troubles(&good).is_empty());
        let bad = StoreStatus {
            working: false,
            reason: Some("the disk is full".into()),
            batches_lost_total: 3,
            set_aside: vec!["history.damaged".into()],
            ..good
        };
        assert_eq!(
            troubles(&bad),
            [
                "the sqlite store is not written: the disk is full",
                "3 batches could not be written",
                "damaged, and set aside: history.damaged",
            ]
        );
    }
}
