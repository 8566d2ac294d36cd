//! Writing: one transaction a batch, again and again until the database has it.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    rc::Rc,
    time::Duration,
};

use bs9_api::types::Event;
use bs9_config::Retention;
use deadpool_postgres::{Object, Transaction};
use tokio::{sync::Notify, time};
use tokio_postgres::types::Type;

use super::{
    PostgresError,
    error::fits_nowhere,
    link::Link,
    schema,
    spool::{Entry, Spool},
};
use crate::store::{
    Account, Level, Point, UPKEEP_SECONDS,
    block::{Gathering, merge_step},
};

/// Before the next attempt after a failure, doubled with each.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Blocks of one statement.
const BLOCKS_AT_ONCE: usize = 1_000;

/// Takes batches out of the spool and writes them.
pub(super) struct Writer {
    link: Rc<Link>,
    keep: Retention,
    /// Tells this run from others of the same machine.
    run: i64,
    spool: Rc<RefCell<Spool>>,
    more: Rc<Notify>,
    account: Account,
    /// What is known of the database since it was last found working.
    known: Option<Known>,
    upkept_at: i64,
}

struct Known {
    host: i32,
    /// The database's numbers of series, by those that batches have.
    series: HashMap<u32, i32>,
}

impl Writer {
    pub(super) fn new(
        link: Rc<Link>,
        keep: Retention,
        run: i64,
        spool: Rc<RefCell<Spool>>,
        more: Rc<Notify>,
        account: Account,
    ) -> Self {
        Self { link, keep, run, spool, more, account, known: None, upkept_at: 0 }
    }

    /// Ends when the spool is closed and empty, or closed and the database away.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE;
        loop {
            let taken = self.spool.borrow_mut().take();
            let Some(entry) = taken else {
                if self.spool.borrow().is_closed() {
                    return;
                }
                self.more.notified().await;
                continue;
            };
            let limit = self.link.limit();
            let written = time::timeout(limit, self.write(&entry)).await;
            match written.unwrap_or(Err(PostgresError::Late(limit))) {
                Ok(damaged) => {
                    pause = PAUSE;
                    self.note_written(damaged);
                    self.keep_up(entry.batch.at).await;
                }
                Err(error) => {
                    self.note_failure(entry, &error);
                    if self.spool.borrow().is_closed() {
                        return;
                    }
                    // What comes meanwhile does not make the database come back.
                    time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn note_written(&self, damaged: u64) {
        self.spool.borrow().tell(&self.account, 0);
        let mut status = self.account.status();
        if !status.working {
            tracing::info!(spooled = status.batches_spooled, "history is written to PostgreSQL");
        }
        status.working = true;
        status.reason = None;
        status.batches_total += 1;
        status.damaged_parts_total += damaged;
    }

    fn note_failure(&mut self, entry: Entry, error: &PostgresError) {
        // Whatever was known of the database may be gone with it.
        self.known = None;
        self.link.give_up();
        // What it will never take must not stand in the way of what follows.
        let lost = match error.is_about_content() {
            true => 1,
            false => self.spool.borrow_mut().put_back(entry),
        };
        self.spool.borrow().tell(&self.account, lost);
        let mut status = self.account.status();
        if status.working || status.reason.as_deref() != Some(&error.to_string()) {
            tracing::warn!(%error, "history waits for PostgreSQL; see history.store.postgres");
        }
        status.working = false;
        status.reason = Some(error.to_string());
    }

    /// Writes a batch. Returns how many damaged parts it met.
    async fn write(&mut self, entry: &Entry) -> Result<u64, PostgresError> {
        let mut client = self.link.client().await?;
        if self.known.is_none() {
            schema::migrate(&mut client, &self.link).await?;
            schema::maintain(&mut client, &self.link, entry.batch.at).await?;
            if self.register(&client, entry.number).await? {
                return Ok(0);
            }
        }
        self.name_series(&client, entry).await?;
        match self.write_once(&mut client, entry).await {
            Err(PostgresError::NoPartition { table, starts }) => {
                schema::cover(&mut client, &self.link, table, &starts).await?;
                self.write_once(&mut client, entry).await
            }
            written => written,
        }
    }

    /// Makes this machine known; `true` when the database has the batch already, because
    /// its commit was not heard of.
    async fn register(&mut self, client: &Object, batch: i64) -> Result<bool, PostgresError> {
        let sql = self.link.sql(
            "INSERT INTO {s}.host (name, run, batch, keep_seconds) VALUES ($1, $2, 0, $3) \
             ON CONFLICT (name) DO UPDATE SET keep_seconds = excluded.keep_seconds, seen_at = now() \
             RETURNING id, run, batch",
        );
        let row = client
            .query_typed_one(
                &sql,
                &[
                    (&self.link.host(), Type::TEXT),
                    (&self.run, Type::INT8),
                    (&schema::keep_seconds(&self.keep), Type::INT8_ARRAY),
                ],
            )
            .await?;
        let (run, last): (i64, i64) = (row.get(1), row.get(2));
        self.known = Some(Known { host: row.get(0), series: HashMap::new() });
        Ok(run == self.run && last >= batch)
    }

    /// Has a number for every series of a batch.
    async fn name_series(&mut self, client: &Object, entry: &Entry) -> Result<(), PostgresError> {
        let Some(known) = &mut self.known else { return Ok(()) };
        let used = entry.batch.steps.iter().flat_map(|step| &step.points).map(|(id, _)| *id);
        let missing: BTreeSet<u32> = used.filter(|id| !known.series.contains_key(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (mut by_name, mut names, mut subjects) = (HashMap::new(), Vec::new(), Vec::new());
        {
            let spool = self.spool.borrow();
            for id in missing {
                let Some(series) = spool.names.get(&id) else { continue };
                names.push(series.name.clone());
                subjects.push(series.subject.clone());
                by_name.insert((series.name.clone(), series.subject.clone()), id);
            }
        }
        let sql = self.link.sql(
            "INSERT INTO {s}.series (host, name, subject, last_at) \
             SELECT $1, name, subject, $2 FROM unnest($3, $4) AS given (name, subject) \
             ON CONFLICT (host, name, subject) DO UPDATE SET last_at = excluded.last_at \
             RETURNING id, name, subject",
        );
        let rows = client
            .query_typed(
                &sql,
                &[
                    (&known.host, Type::INT4),
                    (&entry.batch.at, Type::INT8),
                    (&names, Type::TEXT_ARRAY),
                    (&subjects, Type::TEXT_ARRAY),
                ],
            )
            .await?;
        for row in rows {
            if let Some(id) = by_name.get(&(row.get(1), row.get(2))) {
                known.series.insert(*id, row.get(0));
            }
        }
        Ok(())
    }

    async fn write_once(&self, client: &mut Object, entry: &Entry) -> Result<u64, PostgresError> {
        let Some(known) = &self.known else { return Ok(0) };
        let transaction = client.transaction().await?;
        let mut writing = Writing { link: &self.link, host: known.host, transaction, damaged: 0 };
        writing.sign(self.run, entry.number).await?;
        for step in &entry.batch.steps {
            // An hour is added up from its minutes, so that a restart in its middle
            // loses none of it.
            let levels: &[Level] = match step.level {
                Level::Hour => &[],
                Level::Minute => &[Level::Minute, Level::Hour],
                Level::Second => &[Level::Second],
                Level::TenSeconds => &[Level::TenSeconds],
            };
            let mut points: Vec<(u32, Point)> = Vec::with_capacity(step.points.len());
            for (id, point) in &step.points {
                if let Some(id) = known.series.get(id) {
                    points.push((id.cast_unsigned(), point.clone()));
                }
            }
            points.sort_unstable_by_key(|(id, _)| *id);
            for level in levels {
                writing.add(*level, level.floor(step.at), &points).await?;
                let over = step.at + step.level.seconds();
                if over.rem_euclid(level.block_seconds()) == 0 {
                    writing.build_blocks(*level, over).await?;
                }
            }
        }
        writing.events(&entry.events).await?;
        let live: Vec<i32> =
            entry.live.iter().filter_map(|id| known.series.get(id).copied()).collect();
        writing.touch(&live, entry.batch.at).await?;
        let Writing { transaction, damaged, .. } = writing;
        transaction.commit().await?;
        Ok(damaged)
    }

    /// Now and then: blocks of what an earlier run left, partitions, the size.
    async fn keep_up(&mut self, at: i64) {
        if at - self.upkept_at < UPKEEP_SECONDS && at >= self.upkept_at {
            return;
        }
        self.upkept_at = at;
        let limit = self.link.limit();
        let kept = time::timeout(limit, self.keep_up_now(at)).await;
        match kept.unwrap_or(Err(PostgresError::Late(limit))) {
            Ok((size, leads)) => {
                let mut status = self.account.status();
                status.size_bytes = size;
                status.maintains = leads;
            }
            Err(error) => {
                tracing::warn!(%error, "the tables of history were not seen to; it is tried again")
            }
        }
    }

    async fn keep_up_now(&self, at: i64) -> Result<(u64, bool), PostgresError> {
        let mut client = self.link.client().await?;
        let leads = schema::maintain(&mut client, &self.link, at).await?;
        if let Some(known) = &self.known {
            for level in Level::ALL {
                self.build_left(&mut client, known.host, level, level.block_of(at)).await?;
            }
        }
        Ok((schema::size_bytes(&client, &self.link).await?, leads))
    }

    /// Steps before `end` that an earlier run has not put into blocks.
    async fn build_left(
        &self,
        client: &mut Object,
        host: i32,
        level: Level,
        end: i64,
    ) -> Result<(), PostgresError> {
        let attempt = async |client: &mut Object| {
            let transaction = client.transaction().await?;
            let mut writing = Writing { link: &self.link, host, transaction, damaged: 0 };
            writing.build_blocks(level, end).await?;
            writing.transaction.commit().await?;
            Ok(())
        };
        match attempt(client).await {
            Err(PostgresError::NoPartition { table, starts }) => {
                schema::cover(client, &self.link, table, &starts).await?;
                attempt(client).await
            }
            built => built,
        }
    }
}

/// One transaction of one machine.
struct Writing<'w> {
    link: &'w Link,
    host: i32,
    transaction: Transaction<'w>,
    damaged: u64,
}

impl Writing<'_> {
    /// Leaves word of which batch this is.
    async fn sign(&self, run: i64, batch: i64) -> Result<(), PostgresError> {
        let sql = self
            .link
            .sql("UPDATE {s}.host SET run = $2, batch = $3, seen_at = now() WHERE id = $1");
        self.transaction
            .execute_typed(
                &sql,
                &[(&self.host, Type::INT4), (&run, Type::INT8), (&batch, Type::INT8)],
            )
            .await?;
        Ok(())
    }

    /// Adds points to a step.
    async fn add(
        &self,
        level: Level,
        at: i64,
        points: &[(u32, Point)],
    ) -> Result<(), PostgresError> {
        let number = level.index() as i16;
        let there = self
            .transaction
            .query_typed_opt(
                &self.link.sql(
                    "SELECT points FROM {s}.step WHERE host = $1 AND level = $2 AND at = $3 FOR UPDATE",
                ),
                &[(&self.host, Type::INT4), (&number, Type::INT2), (&at, Type::INT8)],
            )
            .await?;
        let merged = merge_step(there.as_ref().map(|row| row.get(0)), points);
        self.transaction
            .execute_typed(
                &self.link.sql(
                    "INSERT INTO {s}.step (host, level, at, points) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (host, level, at) DO UPDATE SET points = excluded.points",
                ),
                &[
                    (&self.host, Type::INT4),
                    (&number, Type::INT2),
                    (&at, Type::INT8),
                    (&merged, Type::BYTEA),
                ],
            )
            .await?;
        Ok(())
    }

    /// Turns steps of `level` before `end` into blocks of each series.
    async fn build_blocks(&mut self, level: Level, end: i64) -> Result<(), PostgresError> {
        let number = level.index() as i16;
        let of = [
            (&self.host as &(dyn tokio_postgres::types::ToSql + Sync), Type::INT4),
            (&number, Type::INT2),
            (&end, Type::INT8),
        ];
        let steps = self
            .transaction
            .query_typed(
                &self.link.sql(
                    "SELECT at, points FROM {s}.step \
                     WHERE host = $1 AND level = $2 AND at < $3 ORDER BY at",
                ),
                &of,
            )
            .await?;
        if steps.is_empty() {
            return Ok(());
        }
        let mut gathering = Gathering::new(level);
        for row in &steps {
            gathering.take(row.get(0), row.get(1));
        }
        self.damaged += gathering.damaged;
        let table = schema::blocks_of(level);
        let (mut series, mut starts, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
        for (start, id, block) in gathering.blocks() {
            series.push(id.cast_signed());
            starts.push(start);
            blocks.push(block);
        }
        let sql = self.link.sql(&format!(
            "INSERT INTO {{s}}.{table} (series, start, points) SELECT * FROM unnest($1, $2, $3) \
             ON CONFLICT (series, start) DO UPDATE SET points = excluded.points"
        ));
        let parts = series.chunks(BLOCKS_AT_ONCE).zip(starts.chunks(BLOCKS_AT_ONCE));
        for ((series, starts), blocks) in parts.zip(blocks.chunks(BLOCKS_AT_ONCE)) {
            let inserted = self
                .transaction
                .execute_typed(
                    &sql,
                    &[
                        (&series, Type::INT4_ARRAY),
                        (&starts, Type::INT8_ARRAY),
                        (&blocks, Type::BYTEA_ARRAY),
                    ],
                )
                .await;
            inserted.map_err(|error| without_partition(error, table, starts))?;
        }
        let sql = self.link.sql("DELETE FROM {s}.step WHERE host = $1 AND level = $2 AND at < $3");
        self.transaction.execute_typed(&sql, &of).await?;
        Ok(())
    }

    async fn events(&self, events: &[Event]) -> Result<(), PostgresError> {
        if events.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = events.iter().map(|event| event.id.cast_signed()).collect();
        let times: Vec<i64> = events.iter().map(|event| event.at.as_second()).collect();
        let texts: Vec<String> =
            events.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let sql = self.link.sql(
            "INSERT INTO {s}.event (host, id, at, event) \
             SELECT $1, id, at, event::json FROM unnest($2, $3, $4) AS given (id, at, event) \
             ON CONFLICT DO NOTHING",
        );
        let inserted = self
            .transaction
            .execute_typed(
                &sql,
                &[
                    (&self.host, Type::INT4),
                    (&ids, Type::INT8_ARRAY),
                    (&times, Type::INT8_ARRAY),
                    (&texts, Type::TEXT_ARRAY),
                ],
            )
            .await;
        inserted.map_err(|error| without_partition(error, schema::EVENTS, &times))?;
        Ok(())
    }

    /// Notes that these series are alive.
    async fn touch(&self, series: &[i32], at: i64) -> Result<(), PostgresError> {
        if series.is_empty() {
            return Ok(());
        }
        let sql = self.link.sql("UPDATE {s}.series SET last_at = $2 WHERE id = ANY($1)");
        self.transaction
            .execute_typed(&sql, &[(&series, Type::INT4_ARRAY), (&at, Type::INT8)])
            .await?;
        Ok(())
    }
}

fn without_partition(
    error: tokio_postgres::Error,
    table: &'static str,
    starts: &[i64],
) -> PostgresError {
    match fits_nowhere(&error) {
        true => {
            let starts: BTreeSet<i64> = starts.iter().copied().collect();
            PostgresError::NoPartition { table, starts: starts.into_iter().collect() }
        }
        false => error.into(),
    }
}
