//! The console, as psql and drivers use it.

use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use crate::postgres::{Cluster, Dialogue, Pooler};

async fn console(pooler: &Pooler, user: &str) -> Client {
    pooler.connect_with(&format!("user={user} dbname=pgbouncer")).await.unwrap()
}

/// Column names and rows.
async fn show(client: &Client, what: &str) -> (Vec<String>, Vec<Vec<Option<String>>>) {
    let messages = client.simple_query(&format!("SHOW {what}")).await.unwrap();
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(described) => {
                columns = described.iter().map(|column| column.name().to_owned()).collect();
            }
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
            _ => {}
        }
    }
    (columns, rows)
}

fn cell<'a>(table: &'a (Vec<String>, Vec<Vec<Option<String>>>), row: usize, name: &str) -> &'a str {
    let at = table.0.iter().position(|column| column == name).unwrap_or_else(|| panic!("{name}"));
    table.1[row][at].as_deref().unwrap_or("")
}

#[tokio::test]
async fn everything_can_be_shown() {
    let pooler = Pooler::start(|_| {});
    let client = pooler.connect("alice").await;
    client.simple_query("SELECT 1").await.unwrap();
    let console = console(&pooler, "bob").await;
    for (what, columns, rows) in [
        ("VERSION", 1, 1..=1),
        ("POOLS", 17, 1..=1),
        ("CLIENTS", 21, 1..=1),
        ("SERVERS", 21, 1..=1),
        ("STATS", 23, 1..=1),
        ("TOTALS", 23, 1..=1),
        ("DATABASES", 17, 1..=1),
        ("USERS", 8, 5..=20),
        ("CONFIG", 4, 20..=60),
        ("LISTS", 2, 7..=7),
        ("STATE", 2, 3..=3),
    ] {
        let table = show(&console, what).await;
        assert_eq!(table.0.len(), columns, "{what}");
        assert!(rows.contains(&table.1.len()), "{what}: {:?}", table.1);
    }
    let pools = show(&console, "POOLS").await;
    assert_eq!((cell(&pools, 0, "database"), cell(&pools, 0, "user")), ("app", "alice"));
    assert_eq!((cell(&pools, 0, "cl_active"), cell(&pools, 0, "sv_idle")), ("1", "1"));
    let stats = show(&console, "stats").await;
    assert_eq!(cell(&stats, 0, "total_query_count"), "1");
    assert!(cell(&stats, 0, "total_query_time").parse::<u64>().unwrap() > 0);
    let version = show(&console, "VERSION").await;
    assert!(cell(&version, 0, "version").starts_with("PgBouncer 1.25"));
    let config = show(&console, "CONFIG").await;
    let size = config.1.iter().find(|row| row[0].as_deref() == Some("default_pool_size"));
    assert_eq!(size.unwrap()[1].as_deref(), Some("10"));
}

#[tokio::test]
async fn orders_are_given_on_the_console() {
    let pooler = Pooler::start(|_| {});
    let client = pooler.connect("alice").await;
    client.simple_query("SELECT 1").await.unwrap();
    let console = console(&pooler, "alice").await;
    console.simple_query("PAUSE app").await.unwrap();
    assert!(pooler.status("alice").paused);
    let databases = show(&console, "DATABASES").await;
    assert_eq!(cell(&databases, 0, "paused"), "1");
    console.simple_query("RESUME app; DISABLE app").await.unwrap();
    assert!(pooler.connect_with("user=alice dbname=app").await.is_err());
    console.simple_query("ENABLE app; RECONNECT app;").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    console.simple_query("KILL app").await.unwrap();
    crate::postgres::eventually_async("the client is gone", async || client.is_closed()).await;
    console.simple_query("RESUME").await.unwrap();
    let next = pooler.connect("alice").await;
    next.simple_query("SELECT 1").await.unwrap();
    console.simple_query("RELOAD").await.unwrap();
    assert_eq!(pooler.reloads_asked_for(), 1);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_clearly() {
    let pooler = Pooler::start(|_| {});
    let admin = console(&pooler, "alice").await;
    for (text, state) in [
        ("SELECT 1", SqlState::SYNTAX_ERROR),
        ("SHOW EVERYTHING", SqlState::SYNTAX_ERROR),
        ("DISABLE", SqlState::SYNTAX_ERROR),
        ("PAUSE nowhere", SqlState::UNDEFINED_DATABASE),
    ] {
        let error = admin.simple_query(text).await.unwrap_err();
        assert_eq!(error.code(), Some(&state), "{text}");
    }
    let viewer = console(&pooler, "bob").await;
    let error = viewer.simple_query("PAUSE").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    assert_eq!(show(&viewer, "POOLS").await.1.len(), 0);
    let error = pooler.connect_with("user=crowd dbname=pgbouncer").await.map(drop).unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INVALID_CATALOG_NAME));
}

#[tokio::test]
async fn the_extended_protocol_will_do() {
    let pooler = Pooler::start(|_| {});
    let _pool = pooler.connect("alice").await;
    let console = console(&pooler, "alice").await;
    let statement = console.prepare("SHOW DATABASES").await.unwrap();
    let rows = console.query(&statement, &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>("name"), "app");
    assert_eq!(rows[0].columns().len(), 17);
    let error = console.query("SHOW NOTHING", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR));
    console.execute("RECONNECT", &[]).await.unwrap();
    let rows = console.query("SHOW VERSION", &[]).await.unwrap();
    assert!(rows[0].get::<_, &str>(0).contains("bs9"));
}

#[test]
fn psql_can_use_it() {
    let pooler = Pooler::start(|_| {});
    let mut client = Dialogue::log_in(pooler.address, "alice", &[]);
    assert_eq!(client.value("SELECT 1"), "1");
    let port = pooler.address.port().to_string();
    let output = Cluster::tool("psql")
        .args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", "alice", "-d", "bs9"])
        .args(["-c", "SHOW HELP", "-c", "SHOW POOLS"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("cl_waiting") && said.contains("RECONNECT"), "{said}");
}
