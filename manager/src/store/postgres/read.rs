//! Reading this machine's part back.

use std::{collections::BTreeMap, pin::pin};

use bs9_api::types::{Event, SeriesName, SeriesPoints};
use futures_util::TryStreamExt as _;
use tokio_postgres::{
    GenericClient, IsolationLevel, Row,
    types::{ToSql, Type},
};

use super::{PostgresError, link::Link, schema};
use crate::store::{
    Point,
    block::{read_block, read_step},
    query::{Found, Range, Selection, told},
};

/// The series there are.
pub(super) async fn names(link: &Link) -> Result<Vec<SeriesName>, PostgresError> {
    let client = link.client().await?;
    let all = all_series(&**client, link).await?;
    Ok(all.into_iter().map(|(_, name)| name).collect())
}

async fn all_series(
    client: &impl GenericClient,
    link: &Link,
) -> Result<Vec<(i32, SeriesName)>, PostgresError> {
    let sql = link.sql(
        "SELECT series.id, series.name, subject FROM {s}.series \
         JOIN {s}.host ON host.id = series.host WHERE host.name = $1",
    );
    let rows = client.query_typed(&sql, &[(&link.host(), Type::TEXT)]).await?;
    let name = |row: &Row| SeriesName { name: row.get(1), subject: row.get(2) };
    Ok(rows.iter().map(|row| (row.get(0), name(row))).collect())
}

/// The points of a range.
pub(super) async fn series(
    link: &Link,
    selection: &Selection,
    range: &Range,
) -> Result<Found, PostgresError> {
    let mut client = link.client().await?;
    // One look at one state: a block that is built meanwhile is not missed.
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let mut names = all_series(&*transaction, link).await?;
    names.retain(|(_, name)| selection.holds(name));
    names.sort_by(|a, b| a.1.cmp(&b.1));
    let mut looking = Looking {
        link,
        range,
        left: range.limit,
        points: names.iter().map(|(id, _)| (*id, Vec::new())).collect(),
        found: Found::default(),
    };
    looking.blocks(&*transaction).await?;
    looking.steps(&*transaction).await?;
    let Looking { mut points, mut found, .. } = looking;
    for (id, of) in names {
        let points = points.remove(&id).unwrap_or_default();
        if !points.is_empty() {
            found.series.push(SeriesPoints { of, points: points.into_iter().map(told).collect() });
        }
    }
    Ok(found)
}

struct Looking<'l> {
    link: &'l Link,
    range: &'l Range,
    /// Points there is room for.
    left: usize,
    points: BTreeMap<i32, Vec<(i64, Point)>>,
    found: Found,
}

impl Looking<'_> {
    /// Points of blocks.
    async fn blocks(&mut self, client: &impl GenericClient) -> Result<(), PostgresError> {
        let level = self.range.level;
        let ids: Vec<i32> = self.points.keys().copied().collect();
        let sql = self.link.sql(&format!(
            "SELECT series, start, points FROM {{s}}.{} \
             WHERE series = ANY($1) AND start >= $2 AND start < $3 ORDER BY series, start",
            schema::blocks_of(level)
        ));
        let first = level.block_of(self.range.from);
        let asked: [(&(dyn ToSql + Sync), Type); 3] =
            [(&ids, Type::INT4_ARRAY), (&first, Type::INT8), (&self.range.to, Type::INT8)];
        let mut rows = pin!(client.query_typed_raw(&sql, asked).await?);
        while let Some(row) = rows.try_next().await? {
            let Some(block) = read_block(row.get(1), level.seconds(), row.get(2)) else {
                self.found.damaged += 1;
                continue;
            };
            for (at, point) in block {
                self.take(row.get(0), at, point);
            }
            if self.found.truncated {
                break;
            }
        }
        Ok(())
    }

    /// Points that no block holds yet.
    async fn steps(&mut self, client: &impl GenericClient) -> Result<(), PostgresError> {
        let sql = self.link.sql(
            "SELECT at, points FROM {s}.step JOIN {s}.host ON host.id = step.host \
             WHERE host.name = $1 AND level = $2 AND at >= $3 AND at < $4 ORDER BY at",
        );
        let level = self.range.level.index() as i16;
        let asked: [(&(dyn ToSql + Sync), Type); 4] = [
            (&self.link.host(), Type::TEXT),
            (&level, Type::INT2),
            (&self.range.from, Type::INT8),
            (&self.range.to, Type::INT8),
        ];
        let mut rows = pin!(client.query_typed_raw(&sql, asked).await?);
        while let Some(row) = rows.try_next().await? {
            let at = row.get(0);
            let whole = read_step(row.get(1), |series, point| {
                self.take(series.cast_signed(), at, point);
            });
            self.found.damaged += u64::from(!whole);
        }
        Ok(())
    }

    fn take(&mut self, series: i32, at: i64, point: Point) {
        if !(self.range.from..self.range.to).contains(&at) {
            return;
        }
        if let Some(points) = self.points.get_mut(&series) {
            if self.left == 0 {
                self.found.truncated = true;
            } else {
                self.left -= 1;
                points.push((at, point));
            }
        }
    }
}

/// Events after `after`, oldest first; the newest ones when it is `None`.
pub(super) async fn events(
    link: &Link,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Event>, PostgresError> {
    let client = link.client().await?;
    let order = if after.is_some() { "ASC" } else { "DESC" };
    let sql = link.sql(&format!(
        "SELECT event::text FROM {{s}}.event JOIN {{s}}.host ON host.id = event.host \
         WHERE host.name = $1 AND event.id > $2 ORDER BY event.id {order} LIMIT $3"
    ));
    let first = after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client
        .query_typed(
            &sql,
            &[(&link.host(), Type::TEXT), (&first, Type::INT8), (&limit, Type::INT8)],
        )
        .await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        match serde_json::from_str(row.get(0)) {
            Ok(event) => events.push(event),
            // Of a version that knew other kinds.
            Err(error) => tracing::debug!(%error, "an event in the store makes no sense"),
        }
    }
    if after.is_none() {
        events.reverse();
    }
    Ok(events)
}
