//! tokio-postgres, which prepares everything by default.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use tokio_postgres::error::SqlState;

use crate::postgres::Pooler;

fn pooler(size: usize) -> Pooler {
    Pooler::start(|config| {
        config.postgres.as_mut().unwrap().databases.get_mut("app").unwrap().pool_size = size;
    })
}

#[tokio::test]
async fn many_clients_with_many_statements_get_their_own_rows() {
    let pooler = Arc::new(pooler(4));
    let clients = (0..20).map(|who| {
        let pooler = Arc::clone(&pooler);
        tokio::spawn(async move {
            let client = pooler.connect("crowd").await;
            let texts: Vec<String> =
                (0..10).map(|n| format!("SELECT $1::int * {n}, {}, $2::text", who % 3)).collect();
            let statements = try_join_all(texts.iter().map(|text| client.prepare(text)));
            let statements = statements.await.unwrap();
            for round in 0..30 {
                let word = format!("{who} {round}");
                let word = &word;
                let rows = statements.iter().map(|statement| {
                    let client = &client;
                    async move { client.query_one(statement, &[&round, word]).await }
                });
                for (n, row) in join_all(rows).await.into_iter().enumerate() {
                    let row = row.unwrap();
                    assert_eq!(row.get::<_, i32>(0), round * n as i32);
                    assert_eq!(row.get::<_, i32>(1), who % 3);
                    assert_eq!(row.get::<_, &str>(2), word);
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let status = pooler.status("crowd");
    assert_eq!(status.servers_closed_dirty_total, 0, "{status:?}");
    assert!(status.prepared_hits_total > 5000, "{status:?}");
    assert!(status.prepared_misses_total <= 4 * 40, "{status:?}");
}

#[tokio::test]
async fn errors_in_a_pipeline_hit_only_their_own() {
    let pooler = pooler(2);
    let client = pooler.connect("alice").await;
    let divide = client.prepare("SELECT 10 / $1::int").await.unwrap();
    for _ in 0..5 {
        let queries = (-3..4).map(|n| {
            let (client, divide) = (&client, &divide);
            async move { (n, client.query_one(divide, &[&n]).await) }
        });
        for (n, outcome) in join_all(queries).await {
            match outcome {
                Ok(row) => assert_eq!(row.get::<_, i32>(0), 10 / n),
                Err(error) => {
                    assert_eq!((n, error.code()), (0, Some(&SqlState::DIVISION_BY_ZERO)));
                }
            }
        }
        assert!(client.prepare("SELEKT").await.is_err());
    }
}

#[tokio::test]
async fn whoever_prepares_again_after_a_change_sees_it() {
    let pooler = pooler(4);
    let admin = pooler.connect("alice").await;
    let table = "CREATE TABLE changing_result (n int); INSERT INTO changing_result VALUES (1)";
    admin.batch_execute(&format!("DROP TABLE IF EXISTS changing_result; {table}")).await.unwrap();
    let clients = join_all((0..6).map(|_| pooler.connect("alice"))).await;
    let text = "SELECT * FROM changing_result";
    let mut statements = Vec::new();
    for client in &clients {
        let statement = client.prepare(text).await.unwrap();
        assert_eq!(client.query_one(&statement, &[]).await.unwrap().len(), 1);
        statements.push(statement);
    }
    let change = "ALTER TABLE changing_result ADD COLUMN t text DEFAULT 'new'";
    admin.batch_execute(change).await.unwrap();
    let (first, rest) = clients.split_first().unwrap();
    let error = first.query_one(&statements[0], &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED));
    let again = first.prepare(text).await.unwrap();
    assert_eq!(again.columns().len(), 2);
    assert_eq!(first.query_one(&again, &[]).await.unwrap().get::<_, &str>(1), "new");
    // The others never see a row of another form than they were told.
    for client in rest {
        let statement = client.prepare(text).await.unwrap();
        assert_eq!(statement.columns().len(), 2);
        assert_eq!(client.query_one(&statement, &[]).await.unwrap().len(), 2);
    }
    admin.batch_execute("DROP TABLE changing_result").await.unwrap();
}

#[tokio::test]
async fn a_text_prepared_behind_a_change_means_what_it_says_then() {
    let pooler = pooler(1);
    let text = "SELECT * FROM made_anew";
    let columns = async |client: &tokio_postgres::Client| {
        let statement = client.prepare(text).await.unwrap();
        let rows = client.query(&statement, &[]).await.unwrap();
        assert!(rows.iter().all(|row| row.len() == statement.columns().len()));
        statement.columns().len()
    };
    let run = async |client: &tokio_postgres::Client, sql: &str| {
        client.batch_execute(sql).await.unwrap();
    };
    let (first, second) = (pooler.connect("alice").await, pooler.connect("alice").await);
    run(&first, "DROP TABLE IF EXISTS made_anew").await;
    for made in 1..4 {
        let list: Vec<_> = (0..made).map(|n| format!("c{n} int DEFAULT 1")).collect();
        run(&first, &format!("CREATE TABLE made_anew ({})", list.join(","))).await;
        run(&first, "INSERT INTO made_anew DEFAULT VALUES").await;
        // Nobody is told that a result has changed who never saw the one before.
        assert_eq!((columns(&first).await, columns(&second).await), (made, made));
        run(&second, "BEGIN; ALTER TABLE made_anew ADD COLUMN more text").await;
        assert_eq!(columns(&second).await, made + 1);
        run(&second, "ROLLBACK").await;
        assert_eq!((columns(&first).await, columns(&second).await), (made, made));
        run(&first, "DROP TABLE made_anew").await;
    }
}

#[tokio::test]
async fn transactions_with_savepoints_and_prepared_statements() {
    let pooler = pooler(2);
    let mut client = pooler.connect("alice").await;
    client.batch_execute("CREATE TABLE IF NOT EXISTS saved_points (n int)").await.unwrap();
    let insert = client.prepare("INSERT INTO saved_points VALUES ($1)").await.unwrap();
    for round in 0..10 {
        let mut transaction = client.transaction().await.unwrap();
        transaction.execute("DELETE FROM saved_points", &[]).await.unwrap();
        transaction.execute(&insert, &[&round]).await.unwrap();
        {
            let inner = transaction.transaction().await.unwrap();
            inner.execute(&insert, &[&(round + 100)]).await.unwrap();
            assert!(inner.query("SELECT 1 / 0", &[]).await.is_err());
            inner.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        let rows = client.query("SELECT n FROM saved_points", &[]).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [round]);
    }
    client.batch_execute("DROP TABLE saved_points").await.unwrap();
}
