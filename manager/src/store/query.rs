//! Reading history back.

use std::collections::BTreeMap;

use bs9_api::types::{Event, SeriesName, SeriesPoint, SeriesPoints};
use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    block::{read_block, read_step},
    database::{DatabaseError, block_key, block_start, read_series, step_at, step_key},
    level::Level,
    point::Point,
};

/// What is asked for, complete.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) level: Level,
    /// Points that begin at or after this, seconds since 1970.
    pub(crate) from: i64,
    /// And before this.
    pub(crate) to: i64,
    /// Points at most.
    pub(crate) limit: usize,
}

/// Which series are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) name: Option<String>,
    pub(crate) subject: Option<String>,
}

impl Selection {
    pub(crate) fn holds(&self, series: &SeriesName) -> bool {
        let name = self.name.as_deref().is_none_or(|name| match name.strip_suffix('*') {
            Some(beginning) => series.name.starts_with(beginning),
            None => series.name == name,
        });
        let subject = self.subject.as_deref().is_none_or(|subject| {
            series.subject == subject
                || series.subject.strip_suffix(".service") == Some(subject)
                || series.subject.split_once('/').is_some_and(|(first, _)| first == subject)
        });
        name && subject
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) series: Vec<SeriesPoints>,
    pub(crate) truncated: bool,
    /// Parts that were damaged and left out.
    pub(crate) damaged: u64,
}

/// Reads the points of a range.
pub(crate) fn series(
    connection: &mut Connection,
    selection: &Selection,
    range: &Range,
) -> Result<Found, DatabaseError> {
    // One look at one state: a block that is built meanwhile is not missed.
    let transaction = connection.transaction()?;
    let mut names: Vec<(u32, SeriesName)> =
        read_series(&transaction)?.into_iter().filter(|(_, name)| selection.holds(name)).collect();
    names.sort_by(|a, b| a.1.cmp(&b.1));
    let mut found = Found::default();
    let mut left = range.limit;
    let mut points: BTreeMap<u32, Vec<(i64, Point)>> = BTreeMap::new();
    for (id, _) in &names {
        let of_series = blocks(&transaction, *id, range, left, &mut found)?;
        left -= of_series.len();
        points.insert(*id, of_series);
    }
    steps(&transaction, range, left, &mut points, &mut found)?;
    for (id, of) in names {
        let points = points.remove(&id).unwrap_or_default();
        if !points.is_empty() {
            found.series.push(SeriesPoints { of, points: points.into_iter().map(told).collect() });
        }
    }
    Ok(found)
}

/// Points of blocks, at most `left` of them.
fn blocks(
    connection: &Connection,
    id: u32,
    range: &Range,
    left: usize,
    found: &mut Found,
) -> Result<Vec<(i64, Point)>, DatabaseError> {
    let level = range.level;
    let mut query = connection
        .prepare_cached("SELECT key, points FROM block WHERE key BETWEEN ?1 AND ?2 ORDER BY key")?;
    let first = block_key(level, id, level.block_of(range.from));
    let last = block_key(level, id, range.to);
    let mut rows = query.query([first, last])?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        let start = block_start(row.get(0)?);
        let bytes = row.get_ref(1)?.as_blob().unwrap_or_default();
        let Some(block) = read_block(start, level.seconds(), bytes) else {
            found.damaged += 1;
            continue;
        };
        points.extend(block.into_iter().filter(|(at, _)| (range.from..range.to).contains(at)));
        if points.len() > left {
            points.truncate(left);
            found.truncated = true;
            break;
        }
    }
    Ok(points)
}

/// Points that no block holds yet.
fn steps(
    connection: &Connection,
    range: &Range,
    mut left: usize,
    points: &mut BTreeMap<u32, Vec<(i64, Point)>>,
    found: &mut Found,
) -> Result<(), DatabaseError> {
    let mut query = connection
        .prepare_cached("SELECT key, points FROM step WHERE key BETWEEN ?1 AND ?2 ORDER BY key")?;
    let keys =
        [step_key(range.level, range.from.max(0)), step_key(range.level, range.to.max(0)) - 1];
    let mut rows = query.query(keys)?;
    while let Some(row) = rows.next()? {
        let at = step_at(row.get(0)?);
        let whole = read_step(row.get_ref(1)?.as_blob().unwrap_or_default(), |series, point| {
            if let Some(points) = points.get_mut(&series) {
                if left == 0 {
                    found.truncated = true;
                } else {
                    left -= 1;
                    points.push((at, point));
                }
            }
        });
        found.damaged += u64::from(!whole);
    }
    Ok(())
}

pub(super) fn told((at, point): (i64, Point)) -> SeriesPoint {
    let quantile = |q| point.sketch.as_ref().and_then(|sketch| sketch.quantile(q));
    SeriesPoint {
        at: Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH),
        min: point.min,
        max: point.max,
        sum: point.sum,
        count: point.count,
        p50: quantile(0.5),
        p95: quantile(0.95),
        p99: quantile(0.99),
    }
}

/// Events after `after`, oldest first; the newest ones when it is `None`.
pub(crate) fn events(
    connection: &Connection,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Event>, DatabaseError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let after = after.map(|after| i64::try_from(after).unwrap_or(i64::MAX));
    let mut query = connection.prepare_cached(match after {
        Some(_) => "SELECT json FROM event WHERE id > ?1 ORDER BY id LIMIT ?2",
        None => "SELECT json FROM (SELECT id, json FROM event WHERE id > ?1 ORDER BY id DESC LIMIT ?2) ORDER BY id",
    })?;
    let rows = query.query_map([after.unwrap_or(-1), limit], |row| row.get::<_, String>(0))?;
    let mut events = Vec::new();
    for json in rows {
        match serde_json::from_str(&json?) {
            Ok(event) => events.push(event),
            // Of a version that knew other kinds.
            Err(error) => tracing::debug!(%error, "an event in the store makes no sense"),
        }
    }
    Ok(events)
}

/// Points of `level` for every series since `from`, to go on where an earlier run
/// of the manager ended.
pub(crate) fn recall(
    connection: &Connection,
    level: Level,
    from: i64,
    mut take: impl FnMut(u32, i64, Point),
) -> Result<(), DatabaseError> {
    let mut query =
        connection.prepare_cached("SELECT key, points FROM step WHERE key BETWEEN ?1 AND ?2")?;
    let mut rows = query.query([step_key(level, from.max(0)), step_key(level, (1 << 56) - 1)])?;
    while let Some(row) = rows.next()? {
        let at = step_at(row.get(0)?);
        read_step(row.get_ref(1)?.as_blob().unwrap_or_default(), |series, point| {
            take(series, at, point);
        });
    }
    let mut query = connection.prepare_cached(
        "SELECT key, points FROM block WHERE key BETWEEN ?1 AND ?2 AND (key & 268435455) >= ?3",
    )?;
    let mut rows = query.query([
        block_key(level, 0, 0),
        block_key(level, u32::MAX, i64::MAX),
        level.block_of(from) / 300,
    ])?;
    while let Some(row) = rows.next()? {
        let key: i64 = row.get(0)?;
        let series = ((key >> 28) & i64::from(u32::MAX)) as u32;
        let bytes = row.get_ref(1)?.as_blob().unwrap_or_default();
        let points = read_block(block_start(key), level.seconds(), bytes).unwrap_or_default();
        for (at, point) in points.into_iter().filter(|(at, _)| *at >= from) {
            take(series, at, point);
        }
    }
    Ok(())
}

/// When the newest step of `level` begins.
pub(crate) fn last_step(
    connection: &Connection,
    level: Level,
) -> Result<Option<i64>, DatabaseError> {
    let newest: Option<i64> = connection.query_row(
        "SELECT max(key) FROM step WHERE key BETWEEN ?1 AND ?2",
        [step_key(level, 0), step_key(level, (1 << 56) - 1)],
        |row| row.get(0),
    )?;
    if let Some(key) = newest {
        return Ok(Some(step_at(key)));
    }
    // Every step is in a block by now: the last one ends the newest block.
    let newest: Option<i64> = connection.query_row(
        "SELECT max(key & 268435455) FROM block WHERE key BETWEEN ?1 AND ?2",
        [block_key(level, 0, 0), block_key(level, u32::MAX, i64::MAX)],
        |row| row.get(0),
    )?;
    Ok(newest.map(|start| start * 300 + level.block_seconds() - level.seconds()))
}
