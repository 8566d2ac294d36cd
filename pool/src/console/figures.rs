//! What is shown.

use std::{collections::BTreeMap, sync::Arc};

use bs9_api::types::PoolStatus;
use bs9_config::{Database, Postgres, ServerAddress};

use super::{answer::Value, table::TOTALS_NAMES};
use crate::{engine::ROLL_PATIENCE, pool::Pool, registry::Registry, roster::Roll};

type Rows = Vec<Vec<Value>>;

fn text(value: impl Into<String>) -> Value {
    Some(value.into())
}

fn number(value: impl TryInto<i128>) -> Value {
    value.try_into().ok().map(|value| value.to_string())
}

fn flag(value: bool) -> Value {
    number(i32::from(value))
}

fn seconds_and_micros(seconds: f64) -> [Value; 2] {
    let micros = (seconds * 1e6) as u64;
    [number(micros / 1_000_000), number(micros % 1_000_000)]
}

/// A limit; 0 is none, as PgBouncer has it.
fn limit(value: Option<usize>) -> Value {
    number(value.unwrap_or(0))
}

pub(super) fn pools(registry: &Registry) -> Rows {
    let row = |pool: PoolStatus| {
        let [wait, wait_us] = seconds_and_micros(pool.max_wait_seconds);
        vec![
            text(pool.database),
            text(pool.user),
            number(pool.clients_active),
            number(pool.clients_waiting),
            number(0),
            number(0),
            number(pool.servers_active),
            number(0),
            // Given back while a cancel request is under way.
            number(pool.servers_used),
            number(pool.servers_idle),
            number(0),
            number(pool.servers_tested),
            number(pool.servers_login),
            wait,
            wait_us,
            text(pool.pool_mode),
            None,
        ]
    };
    registry.statuses().into_iter().map(row).collect()
}

/// What a row of `SHOW CLIENTS` or `SHOW SERVERS` is made of.
struct Socket {
    kind: &'static str,
    user: String,
    database: String,
    state: String,
    address: String,
    connected_seconds: f64,
    used_seconds: f64,
    wait_seconds: f64,
    process_id: i32,
}

impl Socket {
    fn row(self, id: usize) -> Vec<Value> {
        let (address, port) = split(&self.address);
        let [wait, wait_us] = seconds_and_micros(self.wait_seconds);
        vec![
            text(self.kind),
            text(self.user),
            text(self.database),
            text("none"),
            text(self.state),
            text(address),
            number(port),
            text(""),
            number(0),
            text(instant(self.connected_seconds)),
            text(instant(self.used_seconds)),
            wait,
            wait_us,
            number(0),
            text(""),
            text(""),
            number(self.process_id),
            text(""),
            text(""),
            number(0),
            number(id),
        ]
    }
}

/// An address as it is told, apart.
fn split(address: &str) -> (&str, u16) {
    if address.starts_with("unix:") {
        return ("unix", 0);
    }
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (host.trim_start_matches('[').trim_end_matches(']'), port.parse().unwrap_or(0))
}

/// The time so long ago, as PgBouncer writes it: in UTC.
fn instant(seconds_ago: f64) -> String {
    let ago = std::time::Duration::try_from_secs_f64(seconds_ago).unwrap_or_default();
    let since_epoch = (std::time::SystemTime::now() - ago)
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (since_epoch / 86_400, since_epoch % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The date that lies so many days after 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years that begin in March have their leap day at the end; eras of 400 of them repeat.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

async fn roll(registry: &Registry) -> Roll {
    registry.roll(bs9_net::time::sleep(ROLL_PATIENCE)).await
}

pub(super) async fn clients(registry: &Registry) -> Rows {
    let sockets = roll(registry).await.clients.into_iter().map(|client| {
        let waits = client.state == "waiting";
        Socket {
            kind: "C",
            user: client.user,
            database: client.database,
            state: client.state,
            address: client.address,
            connected_seconds: client.connected_seconds,
            used_seconds: client.state_seconds.unwrap_or(client.connected_seconds),
            wait_seconds: client.state_seconds.filter(|_| waits).unwrap_or(0.0),
            process_id: client.server_process_id.unwrap_or(0),
        }
    });
    sockets.enumerate().map(|(id, socket)| socket.row(id)).collect()
}

pub(super) async fn servers(registry: &Registry) -> Rows {
    let sockets = roll(registry).await.servers.into_iter().map(|server| Socket {
        kind: "S",
        user: server.user,
        database: server.database,
        state: server.state,
        address: server.address,
        connected_seconds: server.connected_seconds,
        used_seconds: server.used_seconds,
        wait_seconds: 0.0,
        process_id: server.process_id,
    });
    sockets.enumerate().map(|(id, socket)| socket.row(id)).collect()
}

/// What is summed over the pools of a database.
#[derive(Default)]
struct Sums {
    transactions: u64,
    assignments: u64,
    queries: u64,
    received: u64,
    sent: u64,
    transaction_micros: f64,
    query_micros: f64,
    wait_micros: f64,
    prepared_hits: u64,
    prepared_misses: u64,
}

impl Sums {
    fn add(&mut self, pool: &PoolStatus) {
        self.transactions += pool.transactions_total;
        self.assignments += pool.transaction_times.count;
        self.queries += pool.queries_total;
        self.received += pool.received_bytes_total;
        self.sent += pool.sent_bytes_total;
        self.transaction_micros += pool.transaction_times.sum_seconds * 1e6;
        self.query_micros += pool.query_times.sum_seconds * 1e6;
        self.wait_micros += pool.wait_seconds_total * 1e6;
        self.prepared_hits += pool.prepared_hits_total;
        self.prepared_misses += pool.prepared_misses_total;
    }

    fn row(&self, name: String, uptime_seconds: f64) -> Vec<Value> {
        let prepared = self.prepared_hits + self.prepared_misses;
        let rate = |total: u64| number((total as f64 / uptime_seconds) as u64);
        let mean = |micros: f64, count: u64| number((micros / count.max(1) as f64) as u64);
        vec![
            text(name),
            number(self.assignments),
            number(self.transactions),
            number(self.queries),
            number(self.received),
            number(self.sent),
            number(self.transaction_micros as u64),
            number(self.query_micros as u64),
            number(self.wait_micros as u64),
            number(prepared),
            number(self.prepared_misses),
            number(prepared),
            rate(self.assignments),
            rate(self.transactions),
            rate(self.queries),
            rate(self.received),
            rate(self.sent),
            mean(self.transaction_micros, self.transactions),
            mean(self.query_micros, self.queries),
            rate(self.wait_micros as u64),
            rate(prepared),
            rate(self.prepared_misses),
            rate(prepared),
        ]
    }
}

/// By database. The averages are over the life of the process.
pub(super) fn stats(registry: &Registry) -> Rows {
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    for pool in registry.statuses() {
        sums.entry(pool.database.clone()).or_default().add(&pool);
    }
    let uptime = uptime_seconds(registry);
    sums.into_iter().map(|(name, sums)| sums.row(name, uptime)).collect()
}

/// What is summed in [`stats`], without the averages.
pub(super) fn stats_totals(registry: &Registry) -> Rows {
    let mut rows = stats(registry);
    rows.iter_mut().for_each(|row| row.truncate(1 + TOTALS_NAMES.len()));
    rows
}

/// The averages in [`stats`].
pub(super) fn stats_averages(registry: &Registry) -> Rows {
    let mut rows = stats(registry);
    rows.iter_mut().for_each(|row| drop(row.drain(1..=TOTALS_NAMES.len())));
    rows
}

/// All databases in one, a number a row.
pub(super) fn totals(registry: &Registry) -> Rows {
    let mut sums = Sums::default();
    registry.statuses().iter().for_each(|pool| sums.add(pool));
    let values = sums.row(String::new(), uptime_seconds(registry)).into_iter().skip(1);
    let of = |prefix: &'static str| TOTALS_NAMES.iter().map(move |name| format!("{prefix}_{name}"));
    let names = of("total").chain(of("avg"));
    names.zip(values).map(|(name, value)| vec![Some(name), value]).collect()
}

fn uptime_seconds(registry: &Registry) -> f64 {
    registry.uptime().as_secs_f64().max(1.0)
}

pub(super) fn databases(registry: &Registry) -> Rows {
    let part = registry.part.load();
    let Some(postgres) = part.as_ref().and_then(|part| part.postgres()) else { return Vec::new() };
    postgres.databases.values().map(|database| one_database(registry, postgres, database)).collect()
}

fn one_database(registry: &Registry, postgres: &Postgres, database: &Database) -> Vec<Value> {
    let (host, port) = match &database.address {
        ServerAddress::Tcp { host, port } => (host.to_string(), *port),
        ServerAddress::Unix(path) => {
            let folder = path.parent().map(|folder| folder.display().to_string());
            let port = path.extension().and_then(|port| port.to_str()?.parse().ok());
            (folder.unwrap_or_default(), port.unwrap_or(0))
        }
    };
    let standing = registry.standing(&database.name);
    let pools = registry.pools();
    let own = pools.iter().filter(|pool| pool.key.database == database.name);
    vec![
        text(&*database.name),
        text(host),
        number(port),
        text(&**database.dbname.as_ref().unwrap_or(&database.name)),
        database.user.as_ref().map(ToString::to_string),
        number(database.pool_size),
        number(database.limits.min_pool_size),
        number(database.limits.reserve_pool_size),
        number(postgres.server_lifetime.as_secs()),
        text(database.pool_mode.name()),
        None,
        limit(database.limits.max_connections),
        number(connections(own, 0)),
        limit(database.limits.max_client_connections),
        number(registry.census.of_database(&database.name)),
        flag(standing.paused),
        flag(standing.disabled),
    ]
}

/// Server connections of pools that share this one of their budgets, and those that listen for
/// all clients, which count under its limit as well.
fn connections<'a>(mut pools: impl Iterator<Item = &'a Arc<Pool>>, budget: usize) -> usize {
    pools.next().map_or(0, |pool| pool.budgets[budget].open())
}

pub(super) fn users(registry: &Registry) -> Rows {
    let part = registry.part.load();
    let Some(postgres) = part.as_ref().and_then(|part| part.postgres()) else { return Vec::new() };
    let pools = registry.pools();
    let row = |user: &bs9_config::PostgresUser| {
        let own = pools.iter().filter(|pool| pool.key.user == user.name);
        vec![
            text(&*user.name),
            None,
            None,
            None,
            limit(user.limits.max_connections),
            number(connections(own, 1)),
            limit(user.limits.max_client_connections),
            number(registry.census.of_user(&user.name)),
        ]
    };
    postgres.users.values().map(row).collect()
}

/// The settings that have a name in PgBouncer, by that name.
pub(super) fn config(registry: &Registry) -> Rows {
    let part = registry.part.load();
    let Some(postgres) = part.as_ref().and_then(|part| part.postgres()) else { return Vec::new() };
    let seconds = |time: std::time::Duration| time.as_secs_f64().to_string();
    let maybe = |time: Option<std::time::Duration>| time.map_or("0".to_owned(), seconds);
    let count = |limit: Option<usize>| limit.unwrap_or(0).to_string();
    let names = |names: &[Arc<str>]| names.join(",");
    let limits = &postgres.limits;
    let rows = [
        ("admin_users", names(&postgres.console.admin_users), ""),
        ("client_idle_timeout", maybe(postgres.client_idle_timeout), "0"),
        ("client_login_timeout", seconds(postgres.login_timeout), "60"),
        ("default_pool_size", postgres.pool_size.to_string(), "20"),
        ("idle_transaction_timeout", maybe(postgres.idle_transaction_timeout), "0"),
        ("max_client_conn", postgres.max_client_connections.to_string(), "10000"),
        ("max_db_client_connections", count(limits.database.max_client_connections), "0"),
        ("max_db_connections", count(limits.database.max_connections), "0"),
        ("max_prepared_statements", postgres.max_prepared_statements.to_string(), "200"),
        ("max_user_client_connections", count(limits.user.max_client_connections), "0"),
        ("max_user_connections", count(limits.user.max_connections), "0"),
        ("min_pool_size", limits.database.min_pool_size.to_string(), "0"),
        ("pool_mode", postgres.pool_mode.name().to_owned(), "transaction"),
        ("query_timeout", maybe(limits.query_timeout), "0"),
        ("query_wait_notify", maybe(limits.wait_notice), "5"),
        ("query_wait_timeout", seconds(postgres.wait_timeout), "120"),
        ("reserve_pool_size", limits.database.reserve_pool_size.to_string(), "0"),
        ("reserve_pool_timeout", seconds(limits.reserve_pool_delay), "5"),
        ("server_connect_timeout", seconds(postgres.connect_timeout), "15"),
        ("server_idle_timeout", seconds(postgres.server_idle_timeout), "600"),
        ("server_lifetime", seconds(postgres.server_lifetime), "3600"),
        ("server_reset_query", postgres.reset_query.to_string(), "DISCARD ALL"),
        ("stats_users", names(&postgres.console.stats_users), ""),
        ("transaction_timeout", maybe(limits.transaction_timeout), "0"),
    ];
    let row = |(key, value, default): (&str, String, &str)| {
        vec![text(key), Some(value), text(default), text("yes")]
    };
    rows.into_iter().map(row).collect()
}

pub(super) async fn lists(registry: &Registry) -> Rows {
    let roll = roll(registry).await;
    let pools = registry.statuses();
    let part = registry.part.load();
    let postgres = part.as_ref().and_then(|part| part.postgres());
    let servers = |state: &str| roll.servers.iter().filter(|server| server.state == state).count();
    let free = servers("idle");
    [
        ("databases", postgres.map_or(0, |postgres| postgres.databases.len())),
        ("users", postgres.map_or(0, |postgres| postgres.users.len())),
        ("peers", 0),
        ("pools", pools.len()),
        ("peer_pools", 0),
        // Nobody is kept for later.
        ("free_clients", 0),
        ("used_clients", roll.clients.len()),
        ("login_clients", 0),
        ("free_servers", free),
        ("used_servers", roll.servers.len() - free),
        // Names are looked up by the system.
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ]
    .into_iter()
    .map(|(name, items)| vec![text(name), number(items)])
    .collect()
}

pub(super) fn state(registry: &Registry) -> Rows {
    let paused = registry.everything_paused();
    let yes = |is: bool| text(if is { "yes" } else { "no" });
    vec![
        vec![text("active"), yes(!paused)],
        vec![text("paused"), yes(paused)],
        vec![text("suspended"), yes(false)],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, wanted) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_778, (2026, 11, 21)),
        ] {
            assert_eq!(civil(days), wanted, "{days}");
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (address, wanted) in [
            ("127.0.0.1:5432", ("127.0.0.1", 5432)),
            ("[::1]:1", ("::1", 1)),
            ("db.internal:7", ("db.internal", 7)),
            ("unix:/run/x", ("unix", 0)),
        ] {
            assert_eq!(split(address), wanted);
        }
    }
}
