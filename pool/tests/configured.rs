//! Keys of `[postgres]` as they stand in a file, and what is seen of them at a client's end.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use crate::postgres::{Cluster, Dialogue, Pooler, eventually};

/// The ordinary configuration with these lines in `[postgres]`; `database` is added to the
/// database's.
fn configured(keys: &str, database: &str) -> Pooler {
    let text = Pooler::text(Cluster::shared());
    let text = text.replacen("[postgres]\n", &format!("[postgres]\n{keys}\n"), 1);
    Pooler::by(&format!("{text}{database}\n"))
}

/// A client of `database`, or why it was turned away.
fn greet(pooler: &Pooler, user: &str, database: &str) -> Result<String, String> {
    let address = pooler.address;
    let target = format!("host=127.0.0.1 port={} user={user} dbname={database}", address.port());
    let run = Cluster::tool("psql").args(["-XqAt", "-d", &target, "-c", "SELECT 'in'"]).output();
    let run = run.expect("psql runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if run.status.success() { Ok(text(run.stdout)) } else { Err(text(run.stderr)) }
}

#[test]
fn max_database_client_connections_is_for_each_database() {
    let other = format!(
        "[postgres.databases.other]\nport = {}\ndbname = \"app\"\n\
         [postgres.databases.roomy]\nport = {}\ndbname = \"app\"\nmax_client_connections = 3",
        Cluster::shared().port(),
        Cluster::shared().port()
    );
    let pooler = configured("max_database_client_connections = 2", &other);
    let first = Dialogue::log_in(pooler.address, "alice", &[]);
    let _second = Dialogue::log_in(pooler.address, "bob", &[]);
    // Whoever it is.
    let refusal = greet(&pooler, "crowd", "app").unwrap_err();
    assert!(refusal.contains("database"), "{refusal}");
    assert_eq!(Dialogue::greet(pooler.address, "alice", &[]).receive().sqlstate(), "53300");
    for elsewhere in ["other", "roomy"] {
        assert_eq!(greet(&pooler, "crowd", elsewhere).as_deref(), Ok("in"));
    }
    drop(first);
    eventually("there is room again", || greet(&pooler, "crowd", "app").is_ok());
}

#[test]
fn max_user_client_connections_is_for_each_user() {
    let other = format!(
        "[postgres.databases.other]\nport = {}\ndbname = \"app\"\n\
         [postgres.users.alice]\nmax_client_connections = 3",
        Cluster::shared().port()
    );
    let text = Pooler::text(Cluster::shared());
    let text = text.replace("[postgres.users.alice]\n", "[postgres.users.somebody]\n");
    let text = text.replacen("[postgres]\n", "[postgres]\nmax_user_client_connections = 2\n", 1);
    let pooler = Pooler::by(&format!("{text}{other}\n"));
    let first = Dialogue::log_in(pooler.address, "bob", &[]);
    let _second = Dialogue::log_in(pooler.address, "bob", &[]);
    // Wherever it goes.
    for database in ["app", "other"] {
        let refusal = greet(&pooler, "bob", database).unwrap_err();
        assert!(refusal.contains("user"), "{refusal}");
    }
    assert_eq!(Dialogue::greet(pooler.address, "bob", &[]).receive().sqlstate(), "53300");
    // Others have room of their own, and alice more of it.
    let _crowd = [(); 2].map(|()| Dialogue::log_in(pooler.address, "crowd", &[]));
    let _alice = [(); 3].map(|()| Dialogue::log_in(pooler.address, "alice", &[]));
    assert!(greet(&pooler, "alice", "app").is_err());
    drop(first);
    eventually("there is room again", || greet(&pooler, "bob", "app").is_ok());
}

/// What a session finds that another has left: a temporary table, a prepared statement, a setting.
fn left_behind(reset_query: &str) -> (bool, bool, bool) {
    let database = "pool_mode = \"session\"\npool_size = 1";
    let pooler = configured(&format!("reset_query = \"{reset_query}\""), database);
    let mut before = Dialogue::log_in(pooler.address, "alice", &[]);
    let pid = before.value("SELECT pg_backend_pid()");
    before.query(
        "CREATE TEMPORARY TABLE left_behind (); PREPARE left_behind AS SELECT 1; \
         SET vacuum_cost_limit = 321",
    );
    assert_eq!(before.tags_until_ready(), "CCCZ");
    drop(before);
    let mut after = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(after.value("SELECT pg_backend_pid()"), pid);
    let mut holds = |question: &str| after.value(&format!("SELECT {question}")) == "t";
    (
        holds("to_regclass('pg_temp.left_behind') IS NOT NULL"),
        holds("EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'left_behind')"),
        holds("current_setting('vacuum_cost_limit') = '321'"),
    )
}

#[test]
fn reset_query_is_what_a_server_is_sent_between_two_sessions() {
    assert_eq!(left_behind("DISCARD ALL"), (false, false, false));
    assert_eq!(left_behind("DISCARD TEMP"), (false, true, true));
    assert_eq!(left_behind("DEALLOCATE ALL; RESET ALL"), (true, false, false));
}

#[test]
fn a_server_whose_reset_query_fails_is_not_used_again() {
    let pooler = configured("reset_query = \"SELECT 1/0\"", "pool_mode = \"session\"");
    let mut before = Dialogue::log_in(pooler.address, "alice", &[]);
    let pid = before.value("SELECT pg_backend_pid()");
    drop(before);
    pooler.wait_for("alice", "it is closed", |pool| pool.servers_closed_dirty_total == 1);
    let mut after = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_ne!(after.value("SELECT pg_backend_pid()"), pid);
}

/// Opens so many servers, and tells how long after that the first of them was gone.
fn first_end(jitter: f64, lifetime: Duration) -> Duration {
    let keys = format!("server_jitter = {jitter}\nserver_lifetime = \"{}s\"", lifetime.as_secs());
    let pooler = configured(&keys, "");
    let before = Instant::now();
    let mut clients = [(); 8].map(|()| Dialogue::log_in(pooler.address, "alice", &[]));
    for client in &mut clients {
        client.query("BEGIN");
        client.until_ready();
    }
    for client in &mut clients {
        client.query("COMMIT");
        client.until_ready();
    }
    assert_eq!(pooler.status("alice").server_connects_total, 8);
    eventually("the first goes", || pooler.servers().len() < 8);
    before.elapsed()
}

#[test]
fn server_jitter_ends_some_earlier_than_others() {
    let lifetime = Duration::from_secs(5);
    assert!(first_end(0.0, lifetime) >= lifetime, "without, none ends early");
    // The share that is drawn goes by the server's process: of eight, one is above a half.
    let lifetime = Duration::from_secs(15);
    assert!(first_end(1.0, lifetime) < lifetime, "with, some do");
}

/// Whether somebody can log in whose `auth_query` takes `takes`.
async fn logs_in(keys: &str, takes: f64) -> Result<(), Option<SqlState>> {
    let keys = format!(
        "{keys}\nauth_user = \"alice\"\nauth_query = \"SELECT rolname, rolpassword FROM pg_authid, \
         LATERAL pg_sleep({takes}) WHERE rolname = $1\""
    );
    let text = Pooler::text(Cluster::shared());
    let (before, behind) = text.split_once("[postgres.users.by_scram]").unwrap();
    let behind = behind.split_once("[postgres.users.by_password]").unwrap().1;
    let text = format!("{before}[postgres.users.by_password]{behind}");
    let scram = format!("auth = \"scram-sha-256\"\n{keys}");
    let text = text.replacen("auth = \"trust\"", &scram, 1);
    let pooler = Pooler::by(&text);
    let settings = format!("user=by_scram dbname=app password='{}'", Cluster::PASSWORD);
    let login = pooler.connect_with(&settings).await;
    login.map(drop).map_err(|error| error.code().cloned())
}

#[tokio::test]
async fn auth_query_timeout_is_how_long_a_lookup_may_take() {
    // Less than the five seconds that it may take otherwise, and more.
    let failed = Some(SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION);
    assert_eq!(logs_in("auth_query_timeout = \"200ms\"", 3.0).await, Err(failed));
    assert_eq!(logs_in("auth_query_timeout = \"60s\"", 5.5).await, Ok(()));
}
