//! What `/metrics` says of a pool after work that is known.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{collections::BTreeMap, net::TcpListener, process::Command};

use fixture::{
    ADMIN, DataPlane, Outcome, eventually, get,
    postgres::{Cluster, client_environment},
    tool::Tool,
    write,
};

/// Runs a PostgreSQL client in the pool of transaction mode.
fn client(data_plane: &DataPlane, program: &str, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(program);
    command.envs(client_environment(data_plane.running.address("db"), "transaction"));
    Tool::start(command.args(arguments)).outcome()
}

/// The samples of the pool of transaction mode, by name and by the labels it has besides
/// `database` and `user`.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let of_the_pool = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{')?;
        let rest = labels.strip_prefix("database=\"transaction\",user=\"app\"")?;
        let rest = rest.trim_start_matches(',').trim_end_matches('}');
        let series = if rest.is_empty() { name.to_owned() } else { format!("{name} {rest}") };
        Some((series, value.parse().ok()?))
    };
    text.lines().filter_map(of_the_pool).collect()
}

#[test]
fn known_work_is_counted_for_its_pool() {
    let cluster = Cluster::start();
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let listen = ADMIN.replace("[runtime]", &format!("listen = \"{admin}\"\n[runtime]"));
    let pools = cluster.pools(1);
    write(&folder.path().join("bs9.toml"), &format!("{listen}{pools}"));
    let data_plane = DataPlane::serve_in(folder, "bs9.toml");

    // Three queries and three transactions, one of which fails.
    let failed = client(
        &data_plane,
        "psql",
        &["-XqAt", "-c", "select 1", "-c", "select 1/0", "-c", "select 2"],
    );
    assert_eq!(failed.stdout, "1\n2\n", "{failed:?}");
    // Two more, one of which makes a table for which the client keeps its server.
    client(
        &data_plane,
        "psql",
        &[
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            "create temporary table kept (id int)",
            "-c",
            "begin; select 1; select 2; commit",
        ],
    )
    .ok();
    client(&data_plane, "psql", &["-XqAt", "-c", "select 3 from pg_sleep(0.15)"]).ok();
    // A statement that is prepared once and executed seven times.
    let script = data_plane.folder.path().join("select.sql");
    write(&script, "select 1;\n");
    client(
        &data_plane,
        "pgbench",
        &["-n", "-M", "prepared", "-c", "1", "-t", "7", "-f", script.to_str().unwrap()],
    )
    .ok();

    let stranger = |database: &str, user: &str| {
        client(&data_plane, "psql", &["-XqAt", "-d", database, "-U", user, "-c", "select 1"]);
    };
    stranger("transaction", "stranger");
    stranger("nowhere", "app");

    let wanted = [
        // Six of psql's, and pgbench's seven.
        ("bs9_pool_queries_total", 13.0),
        // That it prepared its statement was a round trip, too.
        ("bs9_pool_transactions_total", 14.0),
        ("bs9_pool_query_duration_seconds_count", 14.0),
        ("bs9_pool_transaction_duration_seconds_count", 14.0),
        ("bs9_pool_errors_total class=\"22\"", 1.0),
        ("bs9_pool_pins_total reason=\"temporary_table\"", 1.0),
        ("bs9_pool_prepared_misses_total", 1.0),
        ("bs9_pool_prepared_hits_total", 7.0),
        ("bs9_pool_server_connects_total", 1.0),
        ("bs9_pool_server_connect_failures_total", 0.0),
        ("bs9_pool_servers_closed_dirty_total", 0.0),
        ("bs9_pool_size", 1.0),
        ("bs9_pool_paused", 0.0),
        ("bs9_pool_clients state=\"active\"", 0.0),
        ("bs9_pool_clients state=\"waiting\"", 0.0),
        ("bs9_pool_servers state=\"active\"", 0.0),
        ("bs9_pool_servers state=\"idle\"", 1.0),
    ];
    let now = || samples(&get(admin, "/metrics").body);
    eventually("everybody has gone", || {
        let now = now();
        let is = |name: &str, value: f64| now.get(name) == Some(&value);
        let gone = is("bs9_pool_clients state=\"active\"", 0.0);
        (gone && is("bs9_pool_servers state=\"idle\"", 1.0)).then_some(())
    });
    let last = now();
    let found: Vec<_> = wanted.iter().map(|(name, _)| (*name, last.get(*name))).collect();
    let wanted: Vec<_> = wanted.iter().map(|(name, value)| (*name, Some(value))).collect();
    assert_eq!(found, wanted);
    let text = get(admin, "/metrics").body;
    for line in [
        // Three of psql's, and two of pgbench's, which looks first whether it gets in.
        "bs9_pool_logins_total 5",
        "bs9_pool_refused_logins_total{sqlstate=\"28P01\"} 1",
        "bs9_pool_refused_logins_total{sqlstate=\"3D000\"} 1",
        "bs9_pool_lookups_total{outcome=\"failed\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line}: {text}");
    }
    for counted in ["bs9_pool_received_bytes_total", "bs9_pool_sent_bytes_total"] {
        assert!(last[counted] > 100.0, "{last:#?}");
    }
    // The sleep is in it.
    assert!(last["bs9_pool_query_duration_seconds_sum"] >= 0.15, "{last:#?}");
}
