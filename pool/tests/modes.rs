//! Session, transaction and statement mode; waiting, limits and timeouts.

use std::{sync::Arc, time::Duration};

use bs9_config::{Config, PoolMode, Postgres};
use tokio_postgres::error::SqlState;

use crate::postgres::{Cluster, Dialogue, Pooler, eventually};

fn settings(config: &mut Config) -> &mut Postgres {
    config.postgres.as_mut().unwrap()
}

fn with_mode(mode: PoolMode, size: usize) -> impl FnOnce(&mut Config) {
    move |config| {
        let database = settings(config).databases.get_mut("app").unwrap();
        (database.pool_mode, database.pool_size) = (mode, size);
    }
}

#[test]
fn a_session_keeps_its_server_and_leaves_nothing_behind() {
    let pooler = Pooler::start(with_mode(PoolMode::Session, 1));
    let mut first = Dialogue::log_in(pooler.address, "alice", &[("extra_float_digits", "2")]);
    let pid = first.value("SELECT pg_backend_pid()");
    first.query("SET work_mem = '17MB'; SET TimeZone = 'Asia/Tokyo'; PREPARE p AS SELECT 1; SET SESSION AUTHORIZATION bob");
    first.until_ready();
    assert_eq!(first.parameter("TimeZone"), Some("Asia/Tokyo"));
    assert_eq!(first.value("SELECT pg_backend_pid()"), pid);
    let mut second = Dialogue::log_in(pooler.address, "alice", &[]);
    second.query("SELECT pg_backend_pid(), current_setting('work_mem'), current_setting('TimeZone'), current_user, current_setting('extra_float_digits'), (SELECT count(*) FROM pg_prepared_statements)");
    pooler.wait_for("alice", "the second waits", |pool| pool.clients_waiting == 1);
    drop(first);
    let replies = second.until_ready();
    let row = String::from_utf8_lossy(&replies[1].body).into_owned();
    assert!(row.contains(&pid), "the same server: {row:?}");
    assert!(row.contains("alice") && row.contains("4MB") && !row.contains("Tokyo"), "{row:?}");
    assert_eq!(second.value("SHOW extra_float_digits"), "1");
    assert_eq!(second.value("SELECT count(*) FROM pg_prepared_statements"), "0");
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
}

#[test]
fn an_open_transaction_dies_with_its_client() {
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let pooler = Pooler::start(with_mode(mode, 1));
        let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
        client.query("BEGIN; CREATE TABLE never_committed ()");
        client.until_ready();
        drop(client);
        let mut next = Dialogue::log_in(pooler.address, "alice", &[]);
        assert_eq!(
            next.value("SELECT count(*) FROM pg_class WHERE relname = 'never_committed'"),
            "0"
        );
        assert_eq!(pooler.status("alice").servers_closed_dirty_total, 1);
    }
}

#[test]
fn what_a_client_that_vanished_was_running_is_cancelled() {
    let pooler = Pooler::start(with_mode(PoolMode::Transaction, 1));
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    client.query("SELECT pg_sleep(3600)");
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)'";
    eventually("the query runs", || Cluster::shared().sql(running) == "1");
    drop(client);
    eventually("the query is gone", || Cluster::shared().sql(running) == "0");
    let mut next = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(next.value("SELECT 1"), "1");
}

#[test]
fn statement_mode_takes_statements_and_refuses_transactions() {
    let pooler = Pooler::start(with_mode(PoolMode::Statement, 1));
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "1");
    client.query("BEGIN; SELECT 1; COMMIT");
    assert_eq!(client.tags_until_ready(), "CTDCCZ");
    client.query("BEGIN");
    assert_eq!(client.receive().tag, 'C');
    assert_eq!(client.receive().sqlstate(), "0A000");
    assert_eq!(client.next(), None);
    let mut next = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(next.value("SELECT 1"), "1");
}

#[tokio::test]
async fn the_limit_holds_over_all_shards_and_everyone_is_served() {
    let limited = with_mode(PoolMode::Transaction, 3);
    let pooler = Arc::new(Pooler::with_roles(&["limited"], limited));
    let clients = (0..24).map(|n| {
        let pooler = Arc::clone(&pooler);
        tokio::spawn(async move {
            let client = pooler.connect("limited").await;
            for round in 0..40 {
                let text = format!("SELECT {}", n * 1000 + round);
                let rows = client.simple_query(&text).await.unwrap();
                let tokio_postgres::SimpleQueryMessage::Row(row) = &rows[1] else { panic!() };
                assert_eq!(row.get(0), Some(&*(n * 1000 + round).to_string()));
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut most = 0;
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(Cluster::shared().connections_of(&["limited"]));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    assert!(most <= 3, "{most} connections where 3 are allowed");
    let status = pooler.status("limited");
    assert!(status.server_connects_total <= 3, "{status:?}");
    assert_eq!(status.servers_closed_dirty_total, 0);
    assert_eq!(status.clients_waiting, 0);
}

#[test]
fn a_single_server_goes_from_shard_to_shard() {
    let pooler = Pooler::start(with_mode(PoolMode::Transaction, 1));
    // The kernel spreads connections over the shards' sockets: both get some of these.
    let mut clients: Vec<_> =
        (0..32).map(|_| Dialogue::log_in(pooler.address, "alice", &[])).collect();
    for _ in 0..5 {
        for client in &mut clients {
            assert_eq!(client.value("SELECT 'idle'"), "idle");
        }
        for client in &mut clients {
            client.query("SELECT 'crowded'");
        }
        for client in &mut clients {
            assert_eq!(client.tags_until_ready(), "TDCZ");
        }
    }
    let status = pooler.status("alice");
    assert_eq!(status.server_connects_total, 1, "{status:?}");
    assert!(status.server_handovers_total > 0, "{status:?}");
    assert_eq!(status.servers_active + status.servers_idle, 1, "{status:?}");
}

#[test]
fn waiting_has_an_end_and_a_limit() {
    let pooler = Pooler::start(|config| {
        with_mode(PoolMode::Transaction, 1)(config);
        settings(config).wait_timeout = Duration::from_secs(2);
        settings(config).max_waiting_clients = 1;
    });
    let mut holder = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut waiting = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut refused = Dialogue::log_in(pooler.address, "alice", &[]);
    holder.query("BEGIN");
    holder.until_ready();
    waiting.query("SELECT 1");
    pooler.wait_for("alice", "one waits", |pool| pool.clients_waiting == 1);
    refused.query("SELECT 1");
    assert_eq!(refused.receive().sqlstate(), "53300");
    assert_eq!(waiting.receive().sqlstate(), "57014");
    assert_eq!(waiting.next(), None);
    let status = pooler.status("alice");
    assert_eq!((status.wait_timeouts_total, status.clients_waiting), (1, 0));
    assert!(status.wait_seconds_total > 0.2);
    holder.query("COMMIT");
    assert_eq!(holder.tags_until_ready(), "CZ");
}

#[test]
fn a_client_that_gives_up_waiting_is_forgotten() {
    let pooler = Pooler::start(with_mode(PoolMode::Transaction, 1));
    let mut holder = Dialogue::log_in(pooler.address, "alice", &[]);
    holder.query("BEGIN");
    holder.until_ready();
    let mut waiting = Dialogue::log_in(pooler.address, "alice", &[]);
    waiting.query("SELECT 1");
    pooler.wait_for("alice", "it waits", |pool| pool.clients_waiting == 1);
    drop(waiting);
    pooler.wait_for("alice", "nobody waits", |pool| {
        pool.clients_waiting == 0 && pool.max_wait_seconds == 0.0
    });
}

#[test]
fn idle_clients_are_told_when_their_time_is_up() {
    let pooler = Pooler::start(|config| {
        settings(config).client_idle_timeout = Some(Duration::from_millis(1_500));
        settings(config).idle_transaction_timeout = Some(Duration::from_millis(100));
    });
    let mut idle = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut stuck = Dialogue::log_in(pooler.address, "alice", &[]);
    stuck.query("BEGIN");
    stuck.until_ready();
    assert_eq!(stuck.receive().sqlstate(), "25P03");
    assert_eq!(stuck.next(), None);
    assert_eq!(idle.receive().sqlstate(), "57P05");
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(busy.value("SELECT 'awake' FROM pg_sleep(2)"), "awake");
}

#[test]
fn idle_and_old_servers_are_closed() {
    let pooler = Pooler::start(|config| {
        settings(config).server_idle_timeout = Duration::from_millis(100);
    });
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "1");
    pooler.wait_for("alice", "the idle server is closed", |pool| pool.servers_idle == 0);
    assert_eq!(client.value("SELECT 2"), "2");
    let old = Pooler::start(|config| settings(config).server_lifetime = Duration::ZERO);
    let mut client = Dialogue::log_in(old.address, "alice", &[]);
    let first = client.value("SELECT pg_backend_pid()");
    assert_ne!(client.value("SELECT pg_backend_pid()"), first);
    assert_eq!(old.status("alice").servers_closed_dirty_total, 0);
}

#[tokio::test]
async fn a_server_that_died_idle_is_replaced_unnoticed() {
    let pooler = Pooler::with_roles(&["replaced"], with_mode(PoolMode::Transaction, 2));
    let client = pooler.connect("replaced").await;
    for _ in 0..5 {
        client.simple_query("SELECT 1").await.unwrap();
        Cluster::shared().end_connections_of("replaced");
        client.simple_query("SELECT 1").await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_dies_at_work_takes_its_client_along_and_says_why() {
    let pooler = Pooler::start(with_mode(PoolMode::Transaction, 2));
    let client = pooler.connect("alice").await;
    let error = client.simple_query("SELECT pg_terminate_backend(pg_backend_pid())").await;
    assert_eq!(error.unwrap_err().code(), Some(&SqlState::ADMIN_SHUTDOWN));
    crate::postgres::eventually_async("the client is closed", async || client.is_closed()).await;
    let next = pooler.connect("alice").await;
    next.simple_query("SELECT 1").await.unwrap();
}

#[test]
fn a_timeout_of_the_servers_own_reaches_its_client_alone() {
    let pooler = Pooler::start(with_mode(PoolMode::Transaction, 1));
    let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    client.query("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '100ms'");
    client.until_ready();
    assert_eq!(client.receive().sqlstate(), "25P03");
    assert_eq!(client.next(), None);
    assert_eq!(other.value("SELECT 'served'"), "served");
}
