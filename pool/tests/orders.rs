//! What operators order: pause, resume, reconnect, disable, enable, kill.

use std::time::Duration;

use bs9_api::types::{OrderPools, PoolOrder};

use crate::postgres::{Cluster, Dialogue, Pooler, eventually};

fn order(order: PoolOrder) -> OrderPools {
    OrderPools { order, database: Some("app".to_owned()), timeout_seconds: Some(20.0) }
}

#[test]
fn a_pause_waits_for_transactions_and_holds_back_new_ones() {
    let pooler = Pooler::start(|_| {});
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    busy.query("BEGIN");
    busy.until_ready();
    let impatient = OrderPools { timeout_seconds: Some(0.05), ..order(PoolOrder::Pause) };
    assert!(pooler.operate(&impatient).unwrap_err().contains("1 server connections"));
    assert!(pooler.status("alice").paused);
    let mut late = Dialogue::log_in(pooler.address, "alice", &[]);
    late.query("SELECT 'late'");
    pooler.wait_for("alice", "it waits", |pool| pool.clients_waiting == 1);
    assert_eq!(busy.value("SELECT 'goes on'"), "goes on");
    busy.query("COMMIT");
    assert_eq!(busy.tags_until_ready(), "CZ");
    pooler.operate(&order(PoolOrder::Pause)).unwrap();
    pooler.wait_for("alice", "no server is left", |pool| {
        (pool.servers_active, pool.servers_idle, pool.clients_waiting) == (0, 0, 1)
    });
    let all = OrderPools { database: None, ..order(PoolOrder::Resume) };
    pooler.operate(&all).unwrap();
    assert_eq!(late.tags_until_ready(), "TDCZ");
    assert_eq!(busy.value("SELECT 1"), "1");
}

#[test]
fn who_waits_for_a_pause_or_a_kill_hears_that_it_was_undone() {
    let pooler = Pooler::start(|_| {});
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    busy.query("BEGIN");
    busy.until_ready();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pooler.operate(&order(PoolOrder::Pause)));
        pooler.wait_for("alice", "it is paused", |pool| pool.paused);
        pooler.operate(&order(PoolOrder::Resume)).unwrap();
        let told = waiting.join().unwrap().unwrap_err();
        assert!(told.contains("undone by a resume while 1"), "{told}");
    });
    assert_eq!(busy.value("SELECT 'goes on'"), "goes on");
    // On the console it is the same.
    let mut console = Dialogue::log_in_to(pooler.address, "alice", "pgbouncer");
    console.query("PAUSE app");
    pooler.wait_for("alice", "it is paused again", |pool| pool.paused);
    pooler.operate(&order(PoolOrder::Resume)).unwrap();
    let told = console.until_ready();
    assert_eq!((told[0].tag, told[0].sqlstate().as_str()), ('E', "55000"));
}

#[test]
fn a_paused_pool_lets_clients_log_in_and_a_reload_changes_nothing() {
    let pooler = Pooler::start(|_| {});
    let mut first = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(first.value("SELECT 1"), "1");
    pooler.operate(&order(PoolOrder::Pause)).unwrap();
    pooler.reload(Pooler::config(Cluster::shared()));
    let mut late = Dialogue::log_in(pooler.address, "alice", &[]);
    late.query("SELECT 'late'");
    pooler.wait_for("alice", "it waits", |pool| pool.clients_waiting == 1 && pool.paused);
    pooler.operate(&order(PoolOrder::Resume)).unwrap();
    assert_eq!(late.tags_until_ready(), "TDCZ");
}

#[test]
fn reconnecting_replaces_servers_as_they_come_back() {
    let pooler = Pooler::start(|_| {});
    let mut idle = Dialogue::log_in(pooler.address, "alice", &[]);
    let before = idle.value("SELECT pg_backend_pid()");
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    busy.query("BEGIN");
    busy.until_ready();
    let during = busy.value("SELECT pg_backend_pid()");
    pooler.operate(&order(PoolOrder::Reconnect)).unwrap();
    assert_eq!(busy.value("SELECT pg_backend_pid()"), during);
    busy.query("COMMIT");
    busy.until_ready();
    eventually("the old ones are gone", || {
        let after = idle.value("SELECT pg_backend_pid()");
        after != before && after != during
    });
}

#[test]
fn new_defaults_reach_new_clients() {
    const USER: &str = "or_defaults";
    let pooler = Pooler::with_roles(&[USER.to_owned()], |_| {});
    let log_in = || Dialogue::log_in(pooler.address, USER, &[("application_name", "teller")]);
    let set = |value: &str| {
        Cluster::shared().sql(&format!(
            "ALTER ROLE {USER} SET TimeZone = '{value}'; ALTER ROLE {USER} SET app.zone = '{value}'"
        ));
    };
    let both = "SELECT concat_ws(' ', current_setting('TimeZone'), current_setting('app.zone'))";
    set("Asia/Tokyo");
    pooler.operate(&order(PoolOrder::Reconnect)).unwrap();
    let mut old = log_in();
    assert_eq!(old.parameter("TimeZone"), Some("Asia/Tokyo"));
    assert_eq!(old.value(both), "Asia/Tokyo Asia/Tokyo");
    set("Asia/Seoul");
    pooler.operate(&order(PoolOrder::Reconnect)).unwrap();
    let mut new = log_in();
    assert_eq!(new.parameter("TimeZone"), Some("Asia/Seoul"));
    assert_eq!(new.value(both), "Asia/Seoul Asia/Seoul");
    // It goes by what it was told.
    assert_eq!(old.value("SHOW TimeZone"), "Asia/Tokyo");
}

#[test]
fn a_disabled_database_lets_nobody_new_in() {
    let pooler = Pooler::start(|_| {});
    let mut inside = Dialogue::log_in(pooler.address, "alice", &[]);
    pooler.operate(&order(PoolOrder::Disable)).unwrap();
    assert!(pooler.status("alice").disabled);
    let mut outside = Dialogue::greet(pooler.address, "alice", &[]);
    assert_eq!(outside.receive().sqlstate(), "55000");
    assert_eq!(inside.value("SELECT 1"), "1");
    pooler.operate(&order(PoolOrder::Enable)).unwrap();
    let mut outside = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(outside.value("SELECT 1"), "1");
}

#[test]
fn killing_disconnects_everyone_and_pauses() {
    let pooler = Pooler::start(|_| {});
    let mut idle = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(idle.value("SELECT 1"), "1");
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    busy.query("SELECT pg_sleep(60)");
    pooler.wait_for("alice", "it runs", |pool| pool.servers_active == 1);
    pooler.operate(&order(PoolOrder::Kill)).unwrap();
    for client in [&mut idle, &mut busy] {
        assert_eq!(client.receive().sqlstate(), "57P01");
        assert_eq!(client.next(), None);
    }
    let mut late = Dialogue::log_in(pooler.address, "alice", &[]);
    late.query("SELECT 'late'");
    pooler.wait_for("alice", "it waits", |pool| pool.clients_waiting == 1);
    pooler.operate(&order(PoolOrder::Resume)).unwrap();
    assert_eq!(late.tags_until_ready(), "TDCZ");
}

#[test]
fn orders_are_for_databases_there_are() {
    let pooler = Pooler::start(|_| {});
    let nowhere = OrderPools { database: Some("nowhere".into()), ..order(PoolOrder::Pause) };
    assert!(pooler.operate(&nowhere).unwrap_err().contains("nowhere"));
}

#[test]
fn who_is_there() {
    let pooler = Pooler::start(|config| {
        let database = config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap();
        database.pool_size = 1;
    });
    let _idle = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut busy = Dialogue::log_in(pooler.address, "alice", &[]);
    busy.query("BEGIN");
    busy.until_ready();
    let pid: i32 = busy.value("SELECT pg_backend_pid()").parse().unwrap();
    let mut waiting = Dialogue::log_in(pooler.address, "alice", &[]);
    waiting.query("SELECT 1");
    pooler.wait_for("alice", "it waits", |pool| pool.clients_waiting == 1);
    let clients = pooler.clients();
    let states: Vec<_> = clients.iter().map(|client| client.state.as_str()).collect();
    for state in ["idle", "active", "waiting"] {
        assert_eq!(states.iter().filter(|known| **known == state).count(), 1, "{states:?}");
    }
    let active = clients.iter().find(|client| client.state == "active").unwrap();
    assert_eq!(active.server_process_id, Some(pid));
    assert!(active.address.starts_with("127.0.0.1:"), "{active:?}");
    let servers = pooler.servers();
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert_eq!((servers[0].process_id, servers[0].state.as_str()), (pid, "active"));
    busy.query("COMMIT");
    busy.until_ready();
    assert_eq!(waiting.tags_until_ready(), "TDCZ");
    let pause = Duration::from_secs(20);
    pooler.drain(pause).blocking_recv().unwrap();
}
