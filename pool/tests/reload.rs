//! Reloads and drains under clients.

use std::time::Duration;

use crate::postgres::{Cluster, Dialogue, Pooler};

#[test]
fn what_did_not_change_is_not_touched() {
    let pooler = Pooler::start(|_| {});
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    let pid = client.value("SELECT pg_backend_pid()");
    let mut config = Pooler::config(Cluster::shared());
    config.postgres.as_mut().unwrap().max_client_connections = 7;
    pooler.reload(config);
    assert_eq!(client.value("SELECT pg_backend_pid()"), pid);
    assert_eq!(pooler.status("alice").server_connects_total, 1);
}

#[test]
fn a_database_that_moved_gets_new_servers_once_transactions_are_over() {
    let pooler = Pooler::start(|_| {});
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut idle = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(idle.value("SELECT current_database()"), "app");
    busy.query("BEGIN");
    busy.until_ready();
    let mut config = Pooler::config(Cluster::shared());
    let database = config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap();
    database.dbname = Some("postgres".into());
    pooler.reload(config);
    assert_eq!(idle.value("SELECT current_database()"), "postgres");
    assert_eq!(busy.value("SELECT current_database()"), "app");
    busy.query("COMMIT");
    busy.until_ready();
    assert_eq!(busy.value("SELECT current_database()"), "postgres");
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
}

#[test]
fn clients_of_a_database_taken_away_are_told_at_their_next_query() {
    let pooler = Pooler::start(|_| {});
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "1");
    let mut config = Pooler::config(Cluster::shared());
    config.postgres.as_mut().unwrap().databases.clear();
    pooler.reload(config);
    pooler.wait_for("alice", "its servers are closed", |pool| pool.servers_idle == 0);
    client.query("SELECT 1");
    assert_eq!(client.receive().sqlstate(), "57P01");
    assert_eq!(client.next(), None);
    pooler.reload(Pooler::config(Cluster::shared()));
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_smaller_pool_closes_what_is_too_much_and_a_larger_one_serves_those_who_wait() {
    let pooler = Pooler::start(|_| {});
    let resize = |size| {
        let mut config = Pooler::config(Cluster::shared());
        config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap().pool_size = size;
        pooler.reload(config);
    };
    let mut clients: Vec<_> =
        (0..6).map(|_| Dialogue::log_in(pooler.address, "alice", &[])).collect();
    for client in &mut clients {
        client.query("BEGIN");
        client.until_ready();
    }
    for client in &mut clients {
        client.query("COMMIT");
        client.until_ready();
    }
    resize(2);
    pooler.wait_for("alice", "two are left", |pool| pool.servers_idle + pool.servers_active <= 2);
    for client in &mut clients {
        client.query("BEGIN");
    }
    pooler.wait_for("alice", "four wait", |pool| pool.clients_waiting == 4);
    resize(6);
    for client in &mut clients {
        assert_eq!(client.tags_until_ready(), "CZ");
    }
}

#[test]
fn a_drain_ends_the_idle_and_lets_transactions_finish() {
    let pooler = Pooler::start(|_| {});
    let mut idle = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(idle.value("SELECT 1"), "1");
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    busy.query("BEGIN");
    busy.until_ready();
    let over = pooler.drain(Duration::from_secs(20));
    assert_eq!(idle.receive().sqlstate(), "57P01");
    assert_eq!(idle.next(), None);
    assert_eq!(busy.value("SELECT 'still here'"), "still here");
    busy.query("COMMIT");
    assert_eq!(busy.tags_until_ready(), "CZ");
    assert_eq!(busy.receive().sqlstate(), "57P01");
    assert_eq!(busy.next(), None);
    over.blocking_recv().unwrap();
}

#[test]
fn a_drain_does_not_wait_beyond_its_deadline() {
    let pooler = Pooler::start(|_| {});
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    busy.query("SELECT pg_sleep(60)");
    pooler.wait_for("alice", "the query runs", |pool| pool.servers_active == 1);
    pooler.drain(Duration::from_millis(100)).blocking_recv().unwrap();
    assert_eq!(busy.next(), None);
}

#[test]
fn clients_wait_for_a_server_that_comes_back() {
    let mut cluster = Cluster::start();
    let pooler = Pooler::in_front_of(&cluster, |_| {});
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "1");
    cluster.stop();
    let mut early = Dialogue::log_in(pooler.address, "alice", &[]);
    early.query("SELECT 1");
    assert_eq!(early.receive().sqlstate(), "08001");
    cluster.start_again();
    assert_eq!(client.value("SELECT 2"), "2");
}
