//! pgbench through the pool: no error, whatever the mode and the crowd.

use std::os::unix::fs::PermissionsExt;

use bs9_config::PoolMode;

use crate::postgres::{Cluster, Pooler};

fn pgbench(pooler: &Pooler, arguments: &[&str]) {
    let output = Cluster::tool("pgbench")
        .args(["-h", "127.0.0.1", "-p", &pooler.address.port().to_string(), "-U", "alice"])
        .args(["-n", "-j", "2"])
        .args(if arguments.contains(&"-c") { &[][..] } else { &["-c", "20"] })
        .args(arguments)
        .arg("app")
        .output()
        .expect("pgbench runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("number of failed transactions: 0"), "{said}");
    assert!(!said.contains("error"), "{said}");
}

fn pooler(mode: PoolMode, size: usize) -> Pooler {
    Pooler::start(|config| {
        let database = config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap();
        (database.pool_mode, database.pool_size) = (mode, size);
    })
}

#[test]
fn reads_and_writes_in_transaction_mode() {
    for size in [3, 20] {
        let pooler = pooler(PoolMode::Transaction, size);
        pgbench(&pooler, &["-t", "200", "-S"]);
        pgbench(&pooler, &["-t", "200", "-S", "-M", "extended"]);
        pgbench(&pooler, &["-t", "20"]);
        pgbench(&pooler, &["-t", "20", "-M", "extended"]);
        let status = pooler.status("alice");
        assert_eq!(status.servers_closed_dirty_total, 0, "{status:?}");
        assert!(status.server_connects_total <= size as u64, "{status:?}");
    }
}

#[test]
fn a_connection_for_each_transaction() {
    let pooler = pooler(PoolMode::Transaction, 5);
    pgbench(&pooler, &["-t", "20", "-S", "-C"]);
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
}

#[test]
fn prepared_statements_in_session_mode() {
    let pooler = pooler(PoolMode::Session, 20);
    for mode in ["simple", "extended", "prepared"] {
        pgbench(&pooler, &["-t", "100", "-S", "-M", mode]);
    }
    pgbench(&pooler, &["-t", "20", "-M", "prepared"]);
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
}

/// Several statements, each a transaction: pgbench prepares them all before the first, and its
/// threads stand still meanwhile, so that clients inside transactions would wait for it.
const STATEMENTS: &str = "\
\\set aid random(1, 100000)
\\set delta random(-5000, 5000)
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
SELECT count(*) FROM pgbench_accounts WHERE aid BETWEEN :aid AND :aid + 10;
SELECT :delta::int + :aid::int;
";

fn script() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), STATEMENTS).unwrap();
    // The tool may run as the server's user.
    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o644)).unwrap();
    file
}

#[test]
fn prepared_statements_of_a_crowd_in_transaction_mode() {
    let pooler = pooler(PoolMode::Transaction, 10);
    let script = script();
    pgbench(&pooler, &["-t", "100", "-S", "-M", "prepared", "-c", "100"]);
    let file = script.path().to_str().unwrap();
    pgbench(&pooler, &["-t", "20", "-f", file, "-M", "prepared", "-c", "100"]);
    let status = pooler.status("alice");
    assert_eq!(status.servers_closed_dirty_total, 0, "{status:?}");
    assert!(status.server_connects_total <= 10, "{status:?}");
    // Each server has each statement once; everything else is a hit.
    assert!(status.prepared_misses_total <= 10 * 5, "{status:?}");
    assert!(status.prepared_hits_total >= 10_000, "{status:?}");
    assert_eq!(status.prepared_evictions_total, 0, "{status:?}");
}

#[test]
fn prepared_statements_with_room_for_few() {
    let pooler = Pooler::start(|config| {
        let postgres = config.postgres.as_mut().unwrap();
        postgres.max_prepared_statements = 2;
        postgres.databases.get_mut("app").unwrap().pool_size = 4;
    });
    let script = script();
    pgbench(&pooler, &["-t", "30", "-f", script.path().to_str().unwrap(), "-M", "prepared"]);
    let status = pooler.status("alice");
    assert_eq!(status.servers_closed_dirty_total, 0, "{status:?}");
    assert!(status.prepared_evictions_total > 100, "{status:?}");
}

#[test]
fn prepared_transactions_with_a_server_for_each() {
    let pooler = pooler(PoolMode::Transaction, 20);
    pgbench(&pooler, &["-t", "20", "-M", "prepared"]);
    let status = pooler.status("alice");
    assert_eq!(status.servers_closed_dirty_total, 0, "{status:?}");
    assert!(status.prepared_misses_total <= 20 * 7, "{status:?}");
}
