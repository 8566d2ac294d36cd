//! What is measured.

use std::time::Duration;

use crate::postgres::{Dialogue, Pooler};

#[test]
fn times_and_errors_are_counted() {
    let pooler = Pooler::start(|_| {});
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    client.query("BEGIN");
    client.until_ready();
    client.value("SELECT 'x' FROM pg_sleep(0.2)");
    client.query("COMMIT");
    client.until_ready();
    for text in ["SELECT 1/0", "SELECT nothing_like_that", "SELECT FROM WHERE"] {
        client.query(text);
        assert_eq!(client.tags_until_ready(), "EZ");
    }
    let status = pooler.status("alice");
    assert_eq!(status.transaction_times.count, 4, "{status:?}");
    assert_eq!(status.query_times.count, 6);
    assert!(status.query_times.sum_seconds > 0.19, "{status:?}");
    assert!(status.transaction_times.sum_seconds >= status.query_times.sum_seconds);
    assert!(status.query_times.quantile(1.0).unwrap() >= 0.2);
    let errors: Vec<_> = status.errors_total.iter().map(|e| (e.reason.as_str(), e.count)).collect();
    assert_eq!(errors, [("22", 1), ("42", 2)]);
}

#[test]
fn waits_are_counted() {
    let pooler = Pooler::start(|config| {
        let database = config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap();
        database.pool_size = 1;
    });
    let mut holder = Dialogue::log_in(pooler.address, "alice", &[]);
    holder.query("BEGIN");
    holder.until_ready();
    let before = pooler.status("alice").wait_times.count;
    let mut waiting = Dialogue::log_in(pooler.address, "alice", &[]);
    waiting.query("SELECT 1");
    pooler.wait_for("alice", "it waits", |pool| pool.max_wait_seconds > 0.05);
    holder.query("COMMIT");
    holder.until_ready();
    waiting.until_ready();
    let status = pooler.status("alice");
    assert_eq!(status.wait_times.count, before + 1);
    assert!(status.wait_seconds_total > 0.05);
}

#[test]
fn slow_queries_are_counted_when_they_are_to_be_logged() {
    let pooler = Pooler::start(|config| {
        config.postgres.as_mut().unwrap().log.slow_query = Some(Duration::from_millis(100));
    });
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    client.value("SELECT 'quick'");
    assert_eq!(pooler.status("alice").slow_queries_total, 0);
    client.value("SELECT 'slow' FROM pg_sleep(0.15)");
    assert_eq!(pooler.status("alice").slow_queries_total, 1);
    pooler.reload(Pooler::config(crate::postgres::Cluster::shared()));
    client.value("SELECT 'slow' FROM pg_sleep(0.15)");
    assert_eq!(pooler.status("alice").slow_queries_total, 1);
}
