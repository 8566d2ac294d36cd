//! Limits besides the pool's size, and how pools share them.

use std::{sync::Arc, time::Duration};

use bs9_api::types::PoolStatus;
use bs9_config::{Config, Database, Postgres};
use bs9_wire::startup::{ProtocolVersion, StartupParameters, startup_message};

use crate::postgres::{Cluster, Dialogue, Pooler, eventually};

fn settings(config: &mut Config) -> &mut Postgres {
    config.postgres.as_mut().unwrap()
}

fn database(config: &mut Config) -> &mut Database {
    settings(config).databases.get_mut("app").unwrap()
}

/// Server connections of all pools.
fn open(pooler: &Pooler) -> u64 {
    let open = |pool: PoolStatus| pool.servers_idle + pool.servers_active + pool.servers_login;
    pooler.statuses().into_iter().map(open).sum()
}

#[test]
fn servers_are_kept_for_nobody() {
    let pooler = Pooler::start(|config| {
        database(config).limits.min_pool_size = 3;
        settings(config).server_idle_timeout = Duration::from_millis(50);
    });
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "1");
    pooler.wait_for("alice", "three are kept", |pool| pool.servers_idle == 3);
    let pid = client.value("SELECT pg_backend_pid()");
    Cluster::shared().sql(&format!("SELECT pg_terminate_backend({pid})"));
    pooler.wait_for("alice", "it is replaced", |pool| {
        pool.servers_idle == 3 && pool.server_connects_total > 3
    });
}

#[test]
fn a_database_that_forces_a_user_is_kept_up_without_clients() {
    let pooler = Pooler::start(|config| {
        database(config).limits.min_pool_size = 2;
        database(config).user = Some("bob".into());
    });
    pooler.wait_for("bob", "two are there", |pool| pool.servers_idle == 2);
}

#[test]
fn the_reserve_is_for_those_who_have_waited() {
    let pooler = Pooler::start(|config| {
        database(config).pool_size = 1;
        database(config).limits.reserve_pool_size = 1;
        settings(config).limits.reserve_pool_delay = Duration::from_millis(300);
    });
    let mut holder = Dialogue::log_in(pooler.address, "alice", &[]);
    holder.query("BEGIN");
    holder.until_ready();
    let mut waiting = Dialogue::log_in(pooler.address, "alice", &[]);
    let before = std::time::Instant::now();
    assert_eq!(waiting.value("SELECT 'served'"), "served");
    assert!(before.elapsed() >= Duration::from_millis(300));
    pooler.wait_for("alice", "the reserve goes when nobody waits", |pool| {
        pool.servers_active + pool.servers_idle == 1
    });
    holder.query("COMMIT");
    assert_eq!(holder.tags_until_ready(), "CZ");
}

#[test]
fn clients_are_counted_by_database_user_and_address() {
    for (change, hint) in [
        (
            (|config: &mut Config| database(config).limits.max_client_connections = Some(2))
                as fn(&mut Config),
            "database",
        ),
        (
            |config| {
                let alice = settings(config).users.get_mut("alice").unwrap();
                alice.limits.max_client_connections = Some(2);
            },
            "user",
        ),
        (|config| settings(config).limits.max_address_client_connections = Some(2), "address"),
    ] {
        let pooler = Pooler::start(change);
        let first = Dialogue::log_in(pooler.address, "alice", &[]);
        let _second = Dialogue::log_in(pooler.address, "alice", &[]);
        let mut third = Dialogue::greet(pooler.address, "alice", &[]);
        let refusal = third.receive();
        assert_eq!(refusal.sqlstate(), "53300");
        assert!(String::from_utf8_lossy(&refusal.body).contains(hint), "{hint}");
        drop(first);
        pooler.wait_for("alice", "one has left", |pool| pool.clients_active == 1);
        let mut third = Dialogue::log_in(pooler.address, "alice", &[]);
        assert_eq!(third.value("SELECT 1"), "1");
    }
}

#[test]
fn a_client_that_waits_is_told_so_first() {
    let pooler = Pooler::start(|config| {
        database(config).pool_size = 1;
        settings(config).limits.wait_notice = Some(Duration::from_millis(100));
        settings(config).wait_timeout = Duration::from_secs(3);
    });
    let mut holder = Dialogue::log_in(pooler.address, "alice", &[]);
    holder.query("BEGIN");
    holder.until_ready();
    let mut patient = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut unlucky = Dialogue::log_in(pooler.address, "alice", &[]);
    patient.query("SELECT 'in the end'");
    let notice = patient.receive();
    assert_eq!((notice.tag, notice.sqlstate().as_str()), ('N', "00000"));
    holder.query("COMMIT");
    holder.until_ready();
    assert_eq!(patient.tags_until_ready(), "TDCZ");
    holder.query("BEGIN");
    holder.until_ready();
    unlucky.query("SELECT 1");
    assert_eq!(unlucky.receive().tag, 'N');
    assert_eq!(unlucky.receive().sqlstate(), "57014");
    assert_eq!(unlucky.next(), None);
}

#[test]
fn a_query_that_runs_too_long_is_cancelled_and_its_client_goes_on() {
    let pooler = Pooler::start(|config| {
        settings(config).limits.query_timeout = Some(Duration::from_secs(1));
    });
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    client.query("SELECT pg_sleep(30)");
    let replies = client.until_ready();
    let error = replies.iter().find(|reply| reply.tag == 'E').unwrap();
    assert_eq!(error.sqlstate(), "57014");
    assert_eq!(client.value("SELECT 'goes on'"), "goes on");
    // Short ones together may take longer.
    client.query("BEGIN");
    client.until_ready();
    for _ in 0..4 {
        assert_eq!(client.value("SELECT 'x' FROM pg_sleep(0.3)"), "x");
    }
    let status = pooler.status("alice");
    assert_eq!((status.query_timeouts_total, status.servers_closed_dirty_total), (1, 0));
}

#[test]
fn a_transaction_that_takes_too_long_ends_its_client() {
    let pooler = Pooler::start(|config| {
        settings(config).limits.transaction_timeout = Some(Duration::from_secs(1));
    });
    let mut idle = Dialogue::log_in(pooler.address, "alice", &[]);
    idle.query("BEGIN");
    idle.until_ready();
    assert_eq!(idle.receive().sqlstate(), "25P04");
    assert_eq!(idle.next(), None);
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    busy.query("SELECT 'running out of time', pg_sleep(30)");
    assert_eq!(busy.receive().sqlstate(), "25P04");
    assert_eq!(busy.next(), None);
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT ''running out of time''%'
         AND state = 'active'";
    eventually("what it ran is cancelled", || Cluster::shared().sql(running) == "0");
    let mut quick = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(quick.value("SELECT 1"), "1");
}

#[test]
fn pools_of_one_database_share_its_connections() {
    let roles = ["shared_by_many", "shared_by_one"];
    let pooler = Pooler::with_roles(&roles, |config| {
        database(config).limits.max_connections = Some(4);
    });
    let mut other = Dialogue::log_in(pooler.address, "shared_by_one", &[]);
    // One pool takes all there are, what is idle in the other included.
    let mut crowd: Vec<_> =
        (0..8).map(|_| Dialogue::log_in(pooler.address, "shared_by_many", &[])).collect();
    for client in &mut crowd[..4] {
        client.query("BEGIN");
        client.until_ready();
    }
    other.query("SELECT 'mine'");
    pooler.wait_for("shared_by_one", "it waits", |pool| pool.clients_waiting == 1);
    assert_eq!(open(&pooler), 4);
    eventually("the idle one is closed", || Cluster::shared().connections_of(&roles) == 4);
    // What comes back is passed on, though others wait in the same pool.
    crowd[7].query("SELECT 'not yet'");
    pooler.wait_for("shared_by_many", "another waits", |pool| pool.clients_waiting == 1);
    crowd[0].query("COMMIT");
    crowd[0].until_ready();
    assert_eq!(other.tags_until_ready(), "TDCZ");
    assert_eq!(crowd[7].tags_until_ready(), "TDCZ");
    assert!(open(&pooler) <= 4);
    eventually("one was closed for it", || Cluster::shared().connections_of(&roles) <= 4);
}

#[test]
fn pools_of_one_user_share_its_connections() {
    let pooler = Pooler::with_roles(&["limited_everywhere", "unlimited"], |config| {
        let mut second = database(config).clone();
        second.name = "second".into();
        second.dbname = Some("app".into());
        let postgres = settings(config);
        postgres.databases.insert("second".into(), second);
        postgres.users.get_mut("limited_everywhere").unwrap().limits.max_connections = Some(2);
    });
    // Of another database: the limit is the user's.
    let mut other = Dialogue::open(pooler.address);
    let mut packet = Vec::new();
    let session = StartupParameters { user: "limited_everywhere", database: "second" };
    startup_message(&mut packet, ProtocolVersion::V3_0, session, []);
    other.send(&packet);
    other.until_ready();
    let mut crowd: Vec<_> =
        (0..2).map(|_| Dialogue::log_in(pooler.address, "limited_everywhere", &[])).collect();
    for client in &mut crowd {
        client.query("BEGIN");
        client.until_ready();
    }
    other.query("SELECT 'mine'");
    eventually("it waits", || {
        let mut statuses = pooler.statuses().into_iter();
        statuses.any(|pool| pool.database == "second" && pool.clients_waiting == 1)
    });
    assert_eq!(open(&pooler), 2);
    // Others are not concerned.
    let mut unlimited = Dialogue::log_in(pooler.address, "unlimited", &[]);
    assert_eq!(unlimited.value("SELECT 1"), "1");
    crowd[0].query("COMMIT");
    crowd[0].until_ready();
    assert_eq!(other.tags_until_ready(), "TDCZ");
}

#[test]
fn an_idle_connection_makes_room_for_another_pool() {
    let pooler = Pooler::start(|config| {
        let limits = &mut settings(config).limits;
        limits.database.max_connections = Some(1);
        database(config).limits.max_connections = Some(1);
    });
    for round in 0..3 {
        for user in ["alice", "bob"] {
            let mut client = Dialogue::log_in(pooler.address, user, &[]);
            assert_eq!(client.value(&format!("SELECT {round}")), round.to_string());
        }
    }
    eventually("one is left", || open(&pooler) == 1);
}

#[test]
fn two_busy_pools_take_turns_with_a_single_connection() {
    let pooler = Arc::new(Pooler::start(|config| {
        database(config).limits.max_connections = Some(1);
    }));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let workers = ["alice", "bob"].map(|user| {
        let (pooler, stop) = (Arc::clone(&pooler), Arc::clone(&stop));
        let threads = (0..3).map(move |_| {
            let (pooler, stop) = (Arc::clone(&pooler), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut client = Dialogue::log_in(pooler.address, user, &[]);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(client.value("SELECT 'x' FROM pg_sleep(0.005)"), "x");
                }
            })
        });
        threads.collect::<Vec<_>>()
    });
    for user in ["alice", "bob"] {
        pooler.wait_for(user, "it is served again and again", |pool| {
            pool.transactions_total >= 50 && pool.server_connects_total >= 3
        });
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for worker in workers.into_iter().flatten() {
        worker.join().unwrap();
    }
}

#[test]
fn many_clients_at_once_cause_no_stampede() {
    let pooler = Pooler::start(|config| {
        database(config).pool_size = 20;
        settings(config).limits.max_concurrent_logins = 2;
    });
    let mut clients: Vec<_> =
        (0..40).map(|_| Dialogue::log_in(pooler.address, "alice", &[])).collect();
    for client in &mut clients {
        client.query("SELECT pg_sleep(0.05)");
    }
    let mut most = 0;
    eventually("everyone is served", || {
        let status = pooler.status("alice");
        most = most.max(status.servers_login);
        status.transactions_total >= 40
    });
    assert!(most <= 2, "{most} logins at once");
    for client in &mut clients {
        assert_eq!(client.tags_until_ready(), "TDCZ");
    }
}

#[test]
fn short_transactions_do_not_connect_beyond_need() {
    let pooler = Pooler::start(|config| {
        database(config).pool_size = 20;
        config.runtime.shards = bs9_config::Shards::Count(std::num::NonZeroUsize::MIN);
    });
    let mut clients: Vec<_> =
        (0..4).map(|_| Dialogue::log_in(pooler.address, "alice", &[])).collect();
    for _ in 0..100 {
        for client in &mut clients {
            assert_eq!(client.value("SELECT 1"), "1");
        }
    }
    // Two at once, now and then: the second waits the moment it takes.
    for _ in 0..50 {
        for client in &mut clients[..2] {
            client.query("SELECT 1");
        }
        for client in &mut clients[..2] {
            assert_eq!(client.tags_until_ready(), "TDCZ");
        }
    }
    let status = pooler.status("alice");
    assert!(status.server_connects_total <= 3, "{status:?}");
}
