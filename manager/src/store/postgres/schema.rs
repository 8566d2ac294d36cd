//! The tables: made and changed by numbered migrations; partitions made ahead and
//! dropped when all in them is too old.
//!
//! Whoever changes tables holds an advisory lock for its transaction: a lock of the
//! session would belong to nobody behind a pool in transaction mode. Upkeep only tries
//! for it, so that of many managers one at a time does it for all.

use bs9_config::Retention;
use deadpool_postgres::{Object, Transaction};
use tokio_postgres::types::Type;

use super::{PostgresError, link::Link};
use crate::store::Level;

/// Each brings the tables from one version to the next; only ever added to.
const MIGRATIONS: &[&str] = &["
CREATE TABLE {s}.host (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    -- The manager that wrote last, and its last batch: a commit of which nobody heard is not done again.
    run bigint NOT NULL,
    batch bigint NOT NULL,
    -- Of 1 s, 10 s, 1 min and 1 h.
    keep_seconds bigint[] NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE {s}.series (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host integer NOT NULL REFERENCES {s}.host ON DELETE CASCADE,
    name text NOT NULL,
    subject text NOT NULL,
    last_at bigint NOT NULL,
    UNIQUE (host, name, subject)
);
CREATE TABLE {s}.step (
    host integer NOT NULL REFERENCES {s}.host ON DELETE CASCADE,
    level smallint NOT NULL,
    at bigint NOT NULL,
    points bytea NOT NULL,
    PRIMARY KEY (host, level, at)
);
CREATE TABLE {s}.block_1s (series integer NOT NULL, start bigint NOT NULL, points bytea NOT NULL,
    PRIMARY KEY (series, start)) PARTITION BY RANGE (start);
CREATE TABLE {s}.block_10s (LIKE {s}.block_1s INCLUDING ALL) PARTITION BY RANGE (start);
CREATE TABLE {s}.block_1m (LIKE {s}.block_1s INCLUDING ALL) PARTITION BY RANGE (start);
CREATE TABLE {s}.block_1h (LIKE {s}.block_1s INCLUDING ALL) PARTITION BY RANGE (start);
CREATE TABLE {s}.event (host integer NOT NULL, id bigint NOT NULL, at bigint NOT NULL, event json NOT NULL,
    PRIMARY KEY (host, id, at)) PARTITION BY RANGE (at);
"];

/// Partitions made ahead of the one in use.
const AHEAD: i64 = 2;
/// Nobody who writes is held up for longer by a change of the tables.
const LOCK_LIMIT: &str = "SET LOCAL lock_timeout = '3s'";
/// The table of events.
pub(super) const EVENTS: &str = "event";

/// A table in partitions by time.
struct Partitioned {
    table: &'static str,
    /// Time in one partition: whole blocks.
    span_seconds: i64,
    /// Whose retention is its own.
    level: Level,
}

const PARTITIONED: [Partitioned; 5] = [
    Partitioned { table: "block_1s", span_seconds: 3_600, level: Level::Second },
    Partitioned { table: "block_10s", span_seconds: 86_400, level: Level::TenSeconds },
    Partitioned { table: "block_1m", span_seconds: 7 * 86_400, level: Level::Minute },
    Partitioned { table: "block_1h", span_seconds: 100 * 86_400, level: Level::Hour },
    Partitioned { table: EVENTS, span_seconds: 7 * 86_400, level: Level::Minute },
];

/// The table of a level's blocks.
pub(super) fn blocks_of(level: Level) -> &'static str {
    PARTITIONED[level.index()].table
}

impl Partitioned {
    /// The beginning of the partition that holds `at`.
    fn floor(&self, at: i64) -> i64 {
        at - at.rem_euclid(self.span_seconds)
    }

    async fn make(
        &self,
        transaction: &Transaction<'_>,
        link: &Link,
        start: i64,
    ) -> Result<(), PostgresError> {
        let (table, end) = (self.table, start + self.span_seconds);
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {{s}}.{table}_{start} PARTITION OF {{s}}.{table} \
             FOR VALUES FROM ({start}) TO ({end})"
        );
        Ok(transaction.batch_execute(&link.sql(&sql)).await?)
    }
}

/// How long each level is kept, as the array in the table of hosts.
pub(super) fn keep_seconds(keep: &Retention) -> Vec<i64> {
    Level::ALL.iter().map(|level| level.keep_seconds(keep)).collect()
}

/// The lock of whoever changes the tables of this schema.
fn lock_key(link: &Link) -> String {
    format!("bs9 history in {}", link.schema())
}

async fn lock(transaction: &Transaction<'_>, link: &Link) -> Result<(), PostgresError> {
    transaction
        .query_typed(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
            &[(&lock_key(link), Type::TEXT)],
        )
        .await?;
    Ok(())
}

/// Brings the tables to the version this bs9 knows.
///
/// # Errors
///
/// [`PostgresError::Newer`]: a later bs9 has changed them.
pub(super) async fn migrate(client: &mut Object, link: &Link) -> Result<(), PostgresError> {
    let transaction = client.transaction().await?;
    lock(&transaction, link).await?;
    let there = transaction
        .query_typed_one("SELECT to_regnamespace($1) IS NOT NULL", &[(&link.schema(), Type::TEXT)])
        .await?;
    // IF NOT EXISTS would ask for the right to make one even where there is one.
    if !there.get::<_, bool>(0) {
        transaction.batch_execute(&link.sql("CREATE SCHEMA {s}")).await?;
    }
    transaction
        .batch_execute(&link.sql(
            "CREATE TABLE IF NOT EXISTS {s}.migration \
             (version integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())",
        ))
        .await?;
    let found: i32 = transaction
        .query_typed_one(&link.sql("SELECT coalesce(max(version), 0) FROM {s}.migration"), &[])
        .await?
        .get(0);
    let known = MIGRATIONS.len() as i32;
    if found > known {
        return Err(PostgresError::Newer { found, known });
    }
    for (migration, version) in MIGRATIONS.iter().zip(1..).skip(found as usize) {
        let version: i32 = version;
        transaction.batch_execute(&link.sql(migration)).await?;
        transaction
            .execute_typed(
                &link.sql("INSERT INTO {s}.migration (version) VALUES ($1)"),
                &[(&version, Type::INT4)],
            )
            .await?;
        tracing::info!(version, schema = link.schema(), "the tables of history were changed");
    }
    transaction.commit().await?;
    Ok(())
}

/// Makes the partitions for what begins at these times, such as what waited for long.
pub(super) async fn cover(
    client: &mut Object,
    link: &Link,
    table: &str,
    starts: &[i64],
) -> Result<(), PostgresError> {
    let Some(partitioned) = PARTITIONED.iter().find(|one| one.table == table) else {
        return Ok(());
    };
    let transaction = client.transaction().await?;
    lock(&transaction, link).await?;
    transaction.batch_execute(LOCK_LIMIT).await?;
    for start in starts {
        partitioned.make(&transaction, link, partitioned.floor(*start)).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Makes partitions ahead and drops what every machine has kept for long enough;
/// `false` when another manager is at it.
pub(super) async fn maintain(
    client: &mut Object,
    link: &Link,
    now: i64,
) -> Result<bool, PostgresError> {
    let transaction = client.transaction().await?;
    let leads = transaction
        .query_typed_one(
            "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))",
            &[(&lock_key(link), Type::TEXT)],
        )
        .await?;
    if !leads.get::<_, bool>(0) {
        return Ok(false);
    }
    transaction.batch_execute(LOCK_LIMIT).await?;
    let keep = longest_kept(&transaction, link).await?;
    for (partitioned, keep) in PARTITIONED.iter().map(|one| (one, keep[one.level.index()])) {
        let current = partitioned.floor(now);
        for ahead in 0..=AHEAD {
            let start = current + ahead * partitioned.span_seconds;
            partitioned.make(&transaction, link, start).await?;
        }
        for start in partitions(&transaction, link, partitioned.table).await? {
            if start + partitioned.span_seconds <= now - keep {
                let sql = format!("DROP TABLE {{s}}.{}_{start}", partitioned.table);
                transaction.batch_execute(&link.sql(&sql)).await?;
            }
        }
    }
    for level in Level::ALL {
        let oldest = now - keep[level.index()];
        transaction
            .execute_typed(
                &link.sql("DELETE FROM {s}.step WHERE level = $1 AND at < $2"),
                &[(&(level.index() as i16), Type::INT2), (&oldest, Type::INT8)],
            )
            .await?;
    }
    let silent = now - keep[Level::Hour.index()];
    transaction
        .execute_typed(
            &link.sql("DELETE FROM {s}.series WHERE last_at < $1"),
            &[(&silent, Type::INT8)],
        )
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// The longest that any machine keeps each level.
async fn longest_kept(
    transaction: &Transaction<'_>,
    link: &Link,
) -> Result<[i64; 4], PostgresError> {
    let row = transaction
        .query_typed_one(
            &link.sql(
                "SELECT coalesce(max(keep_seconds[1]), $1), coalesce(max(keep_seconds[2]), $1), \
                 coalesce(max(keep_seconds[3]), $1), coalesce(max(keep_seconds[4]), $1) FROM {s}.host",
            ),
            &[(&i64::from(u32::MAX), Type::INT8)],
        )
        .await?;
    Ok(std::array::from_fn(|level| row.get(level)))
}

/// When each partition of a table begins.
async fn partitions(
    transaction: &Transaction<'_>,
    link: &Link,
    table: &str,
) -> Result<Vec<i64>, PostgresError> {
    let rows = transaction
        .query_typed(
            "SELECT part.relname::text FROM pg_catalog.pg_inherits \
             JOIN pg_catalog.pg_class AS part ON part.oid = inhrelid \
             JOIN pg_catalog.pg_class AS whole ON whole.oid = inhparent \
             WHERE whole.relname = $1 AND whole.relnamespace = to_regnamespace($2)",
            &[(&table, Type::TEXT), (&link.schema(), Type::TEXT)],
        )
        .await?;
    let start = |name: String| name.strip_prefix(table)?.strip_prefix('_')?.parse().ok();
    Ok(rows.into_iter().filter_map(|row| start(row.get(0))).collect())
}

/// Bytes of all tables of the schema, of every machine.
pub(super) async fn size_bytes(client: &Object, link: &Link) -> Result<u64, PostgresError> {
    let row = client
        .query_typed_one(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_catalog.pg_class \
             WHERE relnamespace = to_regnamespace($1) AND relkind = 'r'",
            &[(&link.schema(), Type::TEXT)],
        )
        .await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_holds_whole_blocks() {
        for (level, partitioned) in Level::ALL.iter().zip(&PARTITIONED) {
            assert_eq!(partitioned.level, *level);
            assert_eq!(partitioned.span_seconds % level.block_seconds(), 0);
            assert_eq!(partitioned.floor(1_700_000_000) % partitioned.span_seconds, 0);
        }
    }
}
