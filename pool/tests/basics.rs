//! What any driver does: simple and extended queries, transactions, pipelines, COPY, errors.

use std::{pin::pin, sync::Arc};

use futures_util::{SinkExt as _, StreamExt as _, future::join_all};
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use crate::postgres::Pooler;

fn first(messages: &[SimpleQueryMessage]) -> &str {
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    row.expect("a row").get(0).expect("a value")
}

async fn pid(client: &Client) -> String {
    let messages = client.simple_query("SELECT pg_backend_pid()").await.unwrap();
    first(&messages).to_owned()
}

#[tokio::test]
async fn queries_of_both_kinds_return_their_rows() {
    let pooler = Pooler::start(|_| {});
    let client = pooler.connect("alice").await;
    let messages = client.simple_query("SELECT 6 * 7").await.unwrap();
    assert_eq!(first(&messages), "42");
    let types = [tokio_postgres::types::Type::INT4];
    let rows = client.query_typed("SELECT $1 + 1", &[(&41, types[0].clone())]).await.unwrap();
    assert_eq!(rows[0].get::<_, i32>(0), 42);
    let many = client.simple_query("SELECT generate_series(1, 100000)").await.unwrap();
    let rows = many.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
    assert_eq!(rows, 100_000);
    let status = pooler.status("alice");
    assert!(status.queries_total >= 3 && status.transactions_total >= 3, "{status:?}");
    assert!(status.sent_bytes_total > 100_000, "{status:?}");
}

#[tokio::test]
async fn a_transaction_keeps_its_server_and_its_end_gives_it_back() {
    let pooler = Pooler::start(|_| {});
    let one = pooler.connect("alice").await;
    let other = pooler.connect("alice").await;
    one.batch_execute("BEGIN").await.unwrap();
    let during = pid(&one).await;
    assert_ne!(pid(&other).await, during);
    assert_eq!(pid(&one).await, during);
    pooler.wait_for("alice", "one server is in use", |pool| pool.servers_active == 1);
    one.batch_execute("COMMIT").await.unwrap();
    pooler.wait_for("alice", "no server is in use", |pool| pool.servers_active == 0);
    // The server given back last is used next, by anyone of that shard.
    assert!(pooler.status("alice").servers_idle <= 2);
}

#[tokio::test]
async fn an_error_ends_its_query_and_nothing_else() {
    let pooler = Pooler::start(|_| {});
    let client = pooler.connect("alice").await;
    let error = client.simple_query("SELECT 1/0").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
    let error = client.query("SELECT nonsense", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN));
    client.batch_execute("BEGIN").await.unwrap();
    client.simple_query("SELECT 1/0").await.unwrap_err();
    let error = client.simple_query("SELECT 1").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(first(&client.simple_query("SELECT 1").await.unwrap()), "1");
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
}

#[tokio::test]
async fn copy_goes_both_ways() {
    let pooler = Pooler::start(|_| {});
    let client = pooler.connect("alice").await;
    client.batch_execute("CREATE TABLE copied (id int, text text)").await.unwrap();
    let mut sink = pin!(client.copy_in("COPY copied FROM STDIN").await.unwrap());
    let rows = 50_000;
    for start in (0..rows).step_by(1000) {
        let lines: String = (start..start + 1000).map(|n| format!("{n}\trow {n}\n")).collect();
        sink.send(bytes::Bytes::from(lines)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), rows);
    let mut out = pin!(client.copy_out("COPY copied TO STDOUT").await.unwrap());
    let mut lines = 0;
    while let Some(piece) = out.next().await {
        lines += piece.unwrap().iter().filter(|&&byte| byte == b'\n').count();
    }
    assert_eq!(lines as u64, rows);
    let mut sink = pin!(client.copy_in::<_, bytes::Bytes>("COPY copied FROM STDIN").await.unwrap());
    sink.send(bytes::Bytes::from_static(b"not a number\n")).await.unwrap();
    assert!(sink.finish().await.is_err());
    assert_eq!(first(&client.simple_query("SELECT count(*) FROM copied").await.unwrap()), "50000");
    client.batch_execute("DROP TABLE copied").await.unwrap();
}

#[tokio::test]
async fn pipelined_statements_are_answered_in_order() {
    let pooler = Pooler::start(|_| {});
    let client = Arc::new(pooler.connect("alice").await);
    let queries = (0..500).map(|n: i32| {
        let client = Arc::clone(&client);
        async move {
            if n % 50 == 7 {
                client.simple_query("SELECT 1/0").await.unwrap_err();
                return n;
            }
            let kind = tokio_postgres::types::Type::INT4;
            client.query_typed("SELECT $1", &[(&n, kind)]).await.unwrap()[0].get(0)
        }
    });
    let answers = join_all(queries).await;
    assert_eq!(answers, (0..500).collect::<Vec<i32>>());
    pooler.wait_for("alice", "no server is in use", |pool| pool.servers_active == 0);
    assert_eq!(pooler.status("alice").servers_closed_dirty_total, 0);
}

#[tokio::test]
async fn a_value_larger_than_any_buffer_passes_both_ways() {
    let pooler = Pooler::start(|_| {});
    let client = pooler.connect("alice").await;
    let long = "x".repeat(5_000_000);
    let kind = tokio_postgres::types::Type::TEXT;
    let rows = client.query_typed("SELECT $1", &[(&long, kind)]).await.unwrap();
    assert_eq!(rows[0].get::<_, String>(0), long);
}

#[tokio::test]
async fn the_unix_socket_of_a_server_serves_as_well() {
    let pooler = Pooler::start(|config| {
        let database = config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap();
        let socket = crate::postgres::Cluster::shared().socket();
        database.address = bs9_config::ServerAddress::Unix(socket);
    });
    let client = pooler.connect("alice").await;
    assert_eq!(first(&client.simple_query("SELECT 'unix'").await.unwrap()), "unix");
}
