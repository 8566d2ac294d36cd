//! The console, as psql and drivers use it.

use bs9_wire::tag::FrontendTag;
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
        ("STATS_TOTALS", 12, 1..=1),
        ("STATS_AVERAGES", 12, 1..=1),
        ("TOTALS", 2, 22..=22),
        ("DATABASES", 17, 1..=1),
        ("USERS", 8, 5..=20),
        ("CONFIG", 4, 20..=60),
        ("LISTS", 2, 14..=14),
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
async fn operators_get_in_where_clients_do_not() {
    let pooler =
        Pooler::start(|config| config.postgres.as_mut().unwrap().max_client_connections = 1);
    let _client = pooler.connect("alice").await;
    let full = async |user: &str, database: &str| {
        let refused = pooler.connect_with(&format!("user={user} dbname={database}")).await;
        let error = refused.err().unwrap_or_else(|| panic!("{user} got in to {database}"));
        assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS), "{user} {database}");
    };
    full("bob", "app").await;
    full("mortal", "pgbouncer").await;
    let consoles = [console(&pooler, "bob").await, console(&pooler, "bob").await];
    let _third = console(&pooler, "alice").await;
    assert_eq!(show(&consoles[0], "CLIENTS").await.1.len(), 1);
    full("bob", "pgbouncer").await;
}

/// PgBouncer 1.25.2's answers (`src/admin.c`, `src/stats.c`): names in their order, each with a
/// letter for its type behind it: text, integer or numeric.
const COLUMNS: &[(&str, &str)] = &[
    ("VERSION", "version:t"),
    (
        "POOLS",
        "database:t user:t cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i \
         sv_active:i sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i \
         sv_login:i maxwait:i maxwait_us:i pool_mode:t load_balance_hosts:t",
    ),
    ("CLIENTS", SOCKETS),
    ("SERVERS", SOCKETS),
    (
        "STATS",
        "database:t total_server_assignment_count:n total_xact_count:n total_query_count:n \
         total_received:n total_sent:n total_xact_time:n total_query_time:n total_wait_time:n \
         total_client_parse_count:n total_server_parse_count:n total_bind_count:n \
         avg_server_assignment_count:n avg_xact_count:n avg_query_count:n avg_recv:n avg_sent:n \
         avg_xact_time:n avg_query_time:n avg_wait_time:n avg_client_parse_count:n \
         avg_server_parse_count:n avg_bind_count:n",
    ),
    (
        "STATS_TOTALS",
        "database:t server_assignment_count:n xact_count:n query_count:n bytes_received:n \
         bytes_sent:n xact_time:n query_time:n wait_time:n client_parse_count:n \
         server_parse_count:n bind_count:n",
    ),
    (
        "STATS_AVERAGES",
        "database:t server_assignment_count:n xact_count:n query_count:n bytes_received:n \
         bytes_sent:n xact_time:n query_time:n wait_time:n avg_client_parse_count:n \
         avg_server_parse_count:n avg_bind_count:n",
    ),
    ("TOTALS", "name:t value:n"),
    (
        "DATABASES",
        "name:t host:t port:i database:t force_user:t pool_size:i min_pool_size:i \
         reserve_pool_size:i server_lifetime:i pool_mode:t load_balance_hosts:t max_connections:i \
         current_connections:i max_client_connections:i current_client_connections:i paused:i \
         disabled:i",
    ),
    (
        "USERS",
        "name:t pool_size:t reserve_pool_size:t pool_mode:t max_user_connections:i \
         current_connections:i max_user_client_connections:i current_client_connections:i",
    ),
    ("CONFIG", "key:t value:t default:t changeable:t"),
    ("LISTS", "list:t items:i"),
    ("STATE", "key:t value:t"),
];

const SOCKETS: &str = "type:t user:t database:t replication:t state:t addr:t port:i local_addr:t \
    local_port:i connect_time:t request_time:t wait:i wait_us:i close_needed:i ptr:t link:t \
    remote_pid:i tls:t application_name:t prepared_statements:i id:i";

#[tokio::test]
async fn columns_are_those_of_pgbouncer() {
    let pooler = Pooler::start(|_| {});
    let console = console(&pooler, "bob").await;
    for (what, wanted) in COLUMNS {
        let statement = console.prepare(&format!("SHOW {what}")).await.unwrap();
        let described = |column: &tokio_postgres::Column| {
            let letter = match column.type_().name() {
                "text" => 't',
                "int4" => 'i',
                "numeric" => 'n',
                other => panic!("{what} has a column of type {other}"),
            };
            format!("{}:{letter}", column.name())
        };
        let columns: Vec<_> = statement.columns().iter().map(described).collect();
        assert_eq!(columns, wanted.split_whitespace().collect::<Vec<_>>(), "{what}");
        // Without being prepared, the same.
        let names: Vec<_> = wanted.split_whitespace().map(|one| &one[..one.len() - 2]).collect();
        assert_eq!(show(&console, what).await.0, names, "{what}");
    }
}

#[tokio::test]
async fn states_are_those_of_pgbouncer() {
    let pooler = Pooler::start(|config| {
        config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap().pool_size = 1;
    });
    let mut active = Dialogue::log_in(pooler.address, "alice", &[]);
    active.query("BEGIN");
    active.until_ready();
    let console = console(&pooler, "bob").await;
    let states = async |what| {
        let table = show(&console, what).await;
        let state = |row| cell(&table, row, "state").to_owned();
        let mut states: Vec<_> = (0..table.1.len()).map(state).collect();
        states.sort();
        states.join(" ")
    };
    assert_eq!(states("CLIENTS").await, "active");
    assert_eq!(states("SERVERS").await, "active");
    let _idle = Dialogue::log_in(pooler.address, "alice", &[]);
    let mut waiting = Dialogue::log_in(pooler.address, "alice", &[]);
    waiting.query("SELECT 1");
    let all = async || states("CLIENTS").await == "active idle waiting";
    crate::postgres::eventually_async("one of each", all).await;
    active.query("COMMIT");
    active.until_ready();
    waiting.until_ready();
    let all = async || states("CLIENTS").await == "idle idle idle";
    crate::postgres::eventually_async("nobody has a server", all).await;
    assert_eq!(states("SERVERS").await, "idle");
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
fn a_query_that_cannot_be_read_is_answered_and_the_next_one_too() {
    let pooler = Pooler::start(|_| {});
    let mut console = Dialogue::log_in_to(pooler.address, "alice", "pgbouncer");
    console.send(&Dialogue::message(FrontendTag::Query, b"SHOW\0VERSION\0"));
    assert_eq!(console.tags_until_ready(), "EZ");
    console.query("SHOW VERSION");
    assert_eq!(console.tags_until_ready(), "TDCZ");
    // In the extended protocol everything up to a Sync goes unanswered, as before.
    console.send(&Dialogue::message(FrontendTag::Parse, b"no end"));
    console.query("SHOW VERSION");
    console.send(&Dialogue::message(FrontendTag::Sync, b""));
    assert_eq!(console.tags_until_ready(), "EZ");
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
