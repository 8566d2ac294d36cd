//! pgbench through the pool: no error, whatever the mode and the crowd.

use bs9_config::PoolMode;

use crate::postgres::{Cluster, Pooler};

fn pgbench(pooler: &Pooler, arguments: &[&str]) {
    let output = Cluster::tool("pgbench")
        .args(["-h", "127.0.0.1", "-p", &pooler.address.port().to_string(), "-U", "alice"])
        .args(["-n", "-c", "20", "-j", "2"])
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
