//! Cancel requests find their server from any shard, and never anyone else's.

use std::time::Duration;

use bs9_wire::startup::cancel_request;
use tokio_postgres::{NoTls, error::SqlState};

use crate::postgres::{Cluster, Dialogue, Fake, Manner, Pooler, eventually};

#[tokio::test]
async fn a_running_query_is_cancelled_and_its_server_serves_on() {
    let pooler = Pooler::start(|config| {
        config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap().pool_size = 2;
    });
    // Enough for requests to arrive on other shards than their client's.
    for _ in 0..8 {
        let client = pooler.connect("alice").await;
        let token = client.cancel_token();
        let sleeping = tokio::spawn(async move {
            let error = client.simple_query("SELECT pg_sleep(600)").await.unwrap_err();
            (client, error)
        });
        let running = "SELECT count(*) FROM pg_stat_activity
                       WHERE query LIKE 'SELECT pg_sleep(600)%' AND state = 'active'";
        crate::postgres::eventually_async("the query runs", async || {
            Cluster::shared().sql(running) == "1"
        })
        .await;
        token.cancel_query(NoTls).await.unwrap();
        let (client, error) = sleeping.await.unwrap();
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
        client.simple_query("SELECT 1").await.unwrap();
    }
    let status = pooler.status("alice");
    assert_eq!((status.cancels_total, status.servers_closed_dirty_total), (8, 0));
}

#[test]
fn a_wrong_key_or_an_idle_client_cancels_nothing() {
    let pooler = Pooler::start(|config| {
        config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap().pool_size = 1;
    });
    let mut victim = Dialogue::log_in(pooler.address, "alice", &[]);
    let idle = Dialogue::log_in(pooler.address, "alice", &[]);
    assert!(victim.process_id > 0 && victim.secret.len() == 4);
    victim.query("SELECT pg_sleep(0.3)");
    pooler.wait_for("alice", "the query runs", |pool| pool.servers_active == 1);
    let wrong: Vec<u8> = victim.secret.iter().map(|byte| !byte).collect();
    for (process_id, secret) in [
        (victim.process_id, &wrong),
        (idle.process_id, &idle.secret),
        (i32::MAX, &wrong),
        (-1, &wrong),
        (0, &wrong),
    ] {
        let mut request = Vec::new();
        cancel_request(&mut request, process_id, secret);
        let mut canceller = Dialogue::open(pooler.address);
        canceller.send(&request);
        assert_eq!(canceller.next(), None);
    }
    assert_eq!(victim.tags_until_ready(), "TDCZ");
    assert_eq!(pooler.status("alice").cancels_total, 0);
}

#[tokio::test]
async fn cancels_that_come_late_hit_nobody_elses_query() {
    let pooler = Pooler::start(|config| {
        config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap().pool_size = 1;
    });
    let one = pooler.connect("alice").await;
    let other = pooler.connect("alice").await;
    let token = one.cancel_token();
    let cancels = tokio::spawn(async move {
        for _ in 0..100 {
            token.cancel_query(NoTls).await.unwrap();
        }
    });
    let innocent = tokio::spawn(async move {
        for _ in 0..300 {
            other.simple_query("SELECT 1").await.expect("nobody cancels this one");
        }
    });
    while !cancels.is_finished() {
        // This one may be hit.
        let _cancelled_or_not = one.simple_query("SELECT 1").await;
        tokio::time::sleep(Duration::from_micros(50)).await;
    }
    cancels.await.unwrap();
    innocent.await.unwrap();
}

/// Asks to cancel what a client runs; says nothing more.
fn cancel(pooler: &Pooler, client: &Dialogue) -> Dialogue {
    let mut request = Vec::new();
    cancel_request(&mut request, client.process_id, &client.secret);
    let mut canceller = Dialogue::open(pooler.address);
    canceller.send(&request);
    canceller
}

#[test]
fn a_server_is_held_back_for_the_cancel_request_to_it_alone() {
    let fake = Fake::start(|_| Manner { ignored: "run", ..Manner::default() });
    let pooler = fake.pooler();
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    client.query("run");
    eventually("the query arrives", || fake.queries() == 1);
    let first = fake.connections() - 1;
    // A request for each of two servers, one after the other, neither of which is acted on.
    let mut cancellers = Vec::new();
    for (server, queries) in [(first, 2), (first + 2, 3)] {
        cancellers.push(cancel(&pooler, &client));
        eventually("the request arrives", || fake.connections() == server + 2);
        fake.say(server, &Fake::row(server));
        assert_eq!(client.tags_until_ready(), "TDCZ");
        client.query("run");
        eventually("another server gets the next", || fake.queries() == queries);
    }
    assert_eq!(pooler.status("alice").servers_idle, 0);
    // The first one acted on makes its server free, whatever becomes of the other.
    fake.end(first + 1);
    assert_eq!(cancellers[0].next(), None);
    pooler.wait_for("alice", "the server is free", |pool| pool.servers_idle == 1);
    fake.end(first + 3);
    assert_eq!(cancellers[1].next(), None);
    pooler.wait_for("alice", "so is the other", |pool| pool.servers_idle == 2);
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
}

#[test]
fn a_server_that_a_cancel_request_may_yet_hit_serves_nobody_else() {
    // Whether the client leaves before its request was given up, or afterwards.
    for leaves_first in [true, false] {
        let fake = Fake::start(|_| Manner::default());
        let more = "pool_mode = \"session\"\n";
        let text =
            fake.text_with(more).replace("connect_timeout = \"10s\"", "connect_timeout = \"2s\"");
        let pooler = Pooler::by(&text);
        let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
        assert_eq!(client.value("SELECT"), "0");
        // The fake takes it, and does not say that it has acted on it.
        let mut canceller = cancel(&pooler, &client);
        eventually("the request arrives", || fake.connections() == 2);
        if !leaves_first {
            assert_eq!(canceller.next(), None);
        }
        drop(client);
        pooler
            .wait_for("alice", "the server is closed", |pool| pool.servers_closed_dirty_total == 1);
        let mut other = Dialogue::log_in(pooler.address, "alice", &[]);
        assert_eq!(other.value("SELECT"), "2");
    }
}
