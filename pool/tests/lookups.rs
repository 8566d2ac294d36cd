//! The connections that users are looked up by: how long they last, and what operators order.

use bs9_api::types::{CountByReason, OrderPools, PoolOrder, PoolServer};
use bs9_pool::LoginReport;
use tokio_postgres::error::SqlState;

use crate::postgres::{Cluster, Dialogue, Pooler, eventually};

/// A pool that looks users up as `postgres` in a database of that name, which is made anew; `more`
/// of `[postgres]`.
fn looking_up_in(database: &str, more: &str) -> Pooler {
    Cluster::shared()
        .sql(&format!("DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database}"));
    Pooler::by(&text(database, more))
}

fn config(text: &str) -> bs9_config::Config {
    Pooler::parse(Cluster::shared().path(), text)
}

/// The text of its configuration.
fn text(database: &str, more: &str) -> String {
    let cluster = Cluster::shared();
    let text = Pooler::text(cluster).replace("login_timeout = \"20s\"\n", "").replace(
        "auth = \"trust\"",
        &format!(
            "auth = \"scram-sha-256\"\nauth_user = \"postgres\"\nauth_dbname = \"{database}\"\n\
             auth_cache_ttl = \"1ms\"\nauth_cache_negative_ttl = \"1ms\"\n{more}"
        ),
    );
    let (before, users) = text.split_once("[postgres.users.").unwrap();
    let (_, behind) = users.split_once("[postgres.databases").unwrap();
    format!(
        "{before}[postgres.databases{behind}[postgres.databases.{database}]\nport = {}\n\
         [postgres.users.postgres]\n",
        cluster.port()
    )
}

/// Whether somebody who is looked up gets in.
fn log_in(pooler: &Pooler) -> Result<(), SqlState> {
    log_in_as("by_scram", pooler)
}

fn log_in_as(user: &str, pooler: &Pooler) -> Result<(), SqlState> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let settings = format!("user={user} password='{}' dbname=app", Cluster::PASSWORD);
    let client = runtime.block_on(pooler.connect_with(&settings));
    client.map(drop).map_err(|error| error.code().expect("told why").clone())
}

/// What the pool tells of its connections to that database.
fn told(pooler: &Pooler, database: &str) -> Vec<PoolServer> {
    let mut servers = pooler.servers();
    servers.retain(|server| server.database == database);
    servers
}

/// Process numbers of what the server has.
fn there_are(database: &str) -> String {
    Cluster::shared().sql(&format!(
        "SELECT string_agg(pid::text, ',') FROM pg_stat_activity
         WHERE datname = '{database}' AND application_name = 'bs9 auth_query'"
    ))
}

fn operate(pooler: &Pooler, order: PoolOrder, database: &str) {
    let database = Some(database.to_owned());
    pooler.operate(&OrderPools { order, database, timeout_seconds: Some(20.0) }).unwrap();
}

#[test]
fn they_are_told_of_and_closed_when_they_have_been_idle() {
    let database = "lookups_idle";
    let pooler = looking_up_in(database, "");
    log_in(&pooler).unwrap();
    let servers = told(&pooler, database);
    let [server] = &*servers else { panic!("{servers:?}") };
    assert_eq!((&*server.user, server.shard), ("postgres", None));
    assert_eq!(there_are(database), server.process_id.to_string());
    pooler.reload(config(&text(database, "server_idle_timeout = \"1s\"\n")));
    eventually("it is closed", || told(&pooler, database).is_empty());
    eventually("the server knows", || there_are(database).is_empty());
    Cluster::shared().sql(&format!("DROP DATABASE {database}"));
}

#[test]
fn they_are_closed_when_they_are_old_though_they_are_used() {
    let database = "lookups_old";
    let pooler = looking_up_in(database, "server_lifetime = \"1s\"\n");
    let mut seen = std::collections::BTreeSet::new();
    eventually("there has been more than one", || {
        log_in(&pooler).unwrap();
        seen.extend(told(&pooler, database).iter().map(|server| server.process_id));
        seen.len() > 1
    });
}

#[test]
fn what_becomes_of_them_and_of_logins_is_counted() {
    let database = "lookups_counted";
    let pooler = looking_up_in(database, "");
    log_in(&pooler).unwrap();
    assert_eq!(log_in_as("lookups_nobody", &pooler), Err(SqlState::INVALID_PASSWORD));
    operate(&pooler, PoolOrder::Disable, database);
    assert_eq!(log_in(&pooler), Err(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE));
    let LoginReport { admitted, refused, lookups } = pooler.logins();
    assert_eq!(admitted, 1);
    let once = |reasons: &[&str]| -> Vec<_> {
        let count = |reason: &&str| CountByReason { reason: (*reason).to_owned(), count: 1 };
        reasons.iter().map(count).collect()
    };
    assert_eq!(refused, once(&["28P01", "55000"]));
    assert_eq!(lookups, once(&["found", "unknown", "failed"]));
}

#[test]
fn a_pause_closes_them_and_who_has_to_be_looked_up_waits() {
    let database = "lookups_paused";
    let pooler = looking_up_in(database, "");
    let patient = text(database, "");
    let impatient = text(database, "login_timeout = \"200ms\"\n");
    log_in(&pooler).unwrap();
    assert_eq!(told(&pooler, database).len(), 1);
    for order in [PoolOrder::Pause, PoolOrder::Kill] {
        operate(&pooler, order, database);
        assert_eq!(told(&pooler, database), []);
        eventually("the server knows", || there_are(database).is_empty());
        pooler.reload(config(&impatient));
        assert_eq!(log_in(&pooler), Err(SqlState::QUERY_CANCELED));
        pooler.reload(config(&patient));
        Cluster::shared().sql(&format!("DROP DATABASE {database}; CREATE DATABASE {database}"));
        let mut late = Dialogue::greet(pooler.address, "by_scram", &[]);
        operate(&pooler, PoolOrder::Resume, database);
        assert_eq!(late.receive().tag, 'R');
        log_in(&pooler).unwrap();
    }
    // All databases are this one, too.
    let all = OrderPools { order: PoolOrder::Pause, database: None, timeout_seconds: Some(20.0) };
    pooler.operate(&all).unwrap();
    assert_eq!(told(&pooler, database), []);
}

#[test]
fn a_kill_does_not_wait_for_a_lookup() {
    let database = "lookups_killed";
    Cluster::shared().make_roles(&["lookups_dawdle"]);
    let query = "SELECT rolname, rolpassword FROM pg_authid, pg_sleep(\
                 CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'lookups_dawdle') \
                 THEN 600 ELSE 0 END) WHERE rolname = $1";
    let more = format!("auth_query = \"{query}\"\nauth_query_timeout = \"10m\"\n");
    let pooler = looking_up_in(database, &more);
    std::thread::scope(|scope| {
        let login = scope.spawn(|| log_in(&pooler));
        eventually("it is looked up", || {
            told(&pooler, database).iter().any(|server| server.state == "active")
        });
        // In use: this one waits.
        let impatient = OrderPools {
            order: PoolOrder::Pause,
            database: Some(database.to_owned()),
            timeout_seconds: Some(0.05),
        };
        let busy = pooler.operate(&impatient).unwrap_err();
        assert!(busy.contains("1 server connections"), "{busy}");
        operate(&pooler, PoolOrder::Kill, database);
        assert_eq!(told(&pooler, database), []);
        eventually("the server has stopped", || there_are(database).is_empty());
        Cluster::shared().sql("DROP ROLE lookups_dawdle");
        operate(&pooler, PoolOrder::Resume, database);
        assert_eq!(login.join().unwrap(), Ok(()));
    });
}

#[test]
fn where_nobody_new_is_let_in_nobody_is_looked_up() {
    let database = "lookups_disabled";
    let pooler = looking_up_in(database, "");
    log_in(&pooler).unwrap();
    operate(&pooler, PoolOrder::Disable, database);
    eventually("it is closed", || told(&pooler, database).is_empty());
    assert_eq!(log_in(&pooler), Err(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE));
    operate(&pooler, PoolOrder::Enable, database);
    log_in(&pooler).unwrap();
}

#[test]
fn reconnecting_replaces_them() {
    let database = "lookups_again";
    let pooler = looking_up_in(database, "");
    log_in(&pooler).unwrap();
    let before = told(&pooler, database)[0].process_id;
    operate(&pooler, PoolOrder::Reconnect, database);
    eventually("it is closed", || told(&pooler, database).is_empty());
    log_in(&pooler).unwrap();
    assert_ne!(told(&pooler, database)[0].process_id, before);
}

#[test]
fn they_are_closed_when_the_configuration_has_them_no_more() {
    let database = "lookups_moved";
    let pooler = looking_up_in(database, "");
    let first = text(database, "");
    log_in(&pooler).unwrap();
    let before = there_are(database);
    pooler.reload(config(&first));
    log_in(&pooler).unwrap();
    assert_eq!(there_are(database), before);
    let entry = format!("[postgres.databases.{database}]\n");
    pooler.reload(config(&first.replace(&entry, &format!("{entry}dbname = \"postgres\"\n"))));
    eventually("it is closed", || there_are(database).is_empty());
    Cluster::shared().sql(&format!("DROP DATABASE {database}"));
    log_in(&pooler).unwrap();
}
