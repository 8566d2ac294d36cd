//! The SQLite database of history and events: how it is laid out and written.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bs9_api::types::{Event, SeriesName};
use bs9_config::HistoryStore;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, params};

use super::{
    block::{Gathering, merge_step},
    level::Level,
    rollup::{Batch, Step},
};

/// Raised when the layout changes; a database of another one is set aside.
const LAYOUT: i64 = 1;
/// Pages given back to the file system at once.
const VACUUM_PAGES: u32 = 1_024;

const TABLES: &str = "
CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL, subject TEXT NOT NULL, last_at INTEGER NOT NULL);
CREATE TABLE step (key INTEGER PRIMARY KEY, points BLOB NOT NULL);
CREATE TABLE block (key INTEGER PRIMARY KEY, points BLOB NOT NULL);
CREATE TABLE event (id INTEGER PRIMARY KEY, json TEXT NOT NULL);
";

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// It was written by a version with another layout.
    #[error("it has layout {found}, this version writes {LAYOUT}")]
    Layout {
        /// The layout it has.
        found: i64,
    },
    /// The file system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl DatabaseError {
    /// Whether the file itself is of no use: it is set aside and another begun.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Layout { .. } => true,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
            Self::Io(_) => false,
        }
    }
}

/// Packs a level and a time: steps of a level lie one after another.
pub(super) fn step_key(level: Level, at: i64) -> i64 {
    ((level.index() as i64) << 56) | (at & ((1 << 56) - 1))
}

pub(super) fn step_at(key: i64) -> i64 {
    key & ((1 << 56) - 1)
}

/// Packs level, series and time: blocks of a series lie one after another. Times
/// are counted in units of 300 s, the shortest block.
pub(super) fn block_key(level: Level, series: u32, start: i64) -> i64 {
    let start = (start / 300).clamp(0, (1 << 28) - 1);
    ((level.index() as i64) << 60) | (i64::from(series) << 28) | start
}

pub(super) fn block_start(key: i64) -> i64 {
    (key & ((1 << 28) - 1)) * 300
}

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
    settings: HistoryStore,
    events_kept: usize,
    damaged_parts: u64,
}

impl Database {
    /// Opens or makes the database.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; [`is_damage`](DatabaseError::is_damage) tells what to
    /// set aside.
    pub(crate) fn open(
        path: &Path,
        settings: &HistoryStore,
        events_kept: usize,
    ) -> Result<Self, DatabaseError> {
        let mut connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -4096; PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY;",
        )?;
        let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if layout == 0 && tables == 0 {
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", LAYOUT)?;
            transaction.commit()?;
        } else if layout != LAYOUT {
            return Err(DatabaseError::Layout { found: layout });
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
            settings: settings.clone(),
            events_kept,
            damaged_parts: 0,
        })
    }

    /// A connection that only reads.
    pub(crate) fn reader(path: &Path) -> Result<Connection, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch("PRAGMA cache_size = -4096; PRAGMA busy_timeout = 2000;")?;
        Ok(connection)
    }

    /// The series there are.
    pub(crate) fn series(&self) -> Result<Vec<(u32, SeriesName)>, DatabaseError> {
        read_series(&self.connection)
    }

    /// Id of the newest event; 0 when there is none.
    pub(crate) fn last_event(&self) -> Result<u64, DatabaseError> {
        let id: Option<i64> =
            self.connection.query_row("SELECT max(id) FROM event", [], |row| row.get(0))?;
        Ok(id.and_then(|id| u64::try_from(id).ok()).unwrap_or(0))
    }

    /// Bytes in use.
    pub(crate) fn size_bytes(&self) -> Result<u64, DatabaseError> {
        let pragma = |name| self.connection.query_row(name, [], |row| row.get::<_, i64>(0));
        let pages = pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?;
        let bytes = pages.saturating_mul(pragma("PRAGMA page_size")?);
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// Parts that were found damaged while they were put together.
    pub(crate) fn damaged_parts(&self) -> u64 {
        self.damaged_parts
    }

    /// Writes a batch and what became of age with it, in one transaction.
    pub(crate) fn write(&mut self, batch: &Batch, events: &[Event]) -> Result<(), DatabaseError> {
        let transaction = self.connection.transaction()?;
        for (id, name) in &batch.series {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO series VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![id, name.name, name.subject, batch.at])?;
        }
        for event in events {
            let json = serde_json::to_string(event).map_err(io::Error::other)?;
            transaction
                .prepare_cached("INSERT OR REPLACE INTO event VALUES (?1, ?2)")?
                .execute(params![i64::try_from(event.id).unwrap_or(i64::MAX), json])?;
        }
        for step in &batch.steps {
            add_step(&transaction, step)?;
            let over = step.at + step.level.seconds();
            if over.rem_euclid(step.level.block_seconds()) == 0 {
                self.damaged_parts += build_blocks(&transaction, step.level, over)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Gives up what is too old or too much. Now and then is enough.
    pub(crate) fn upkeep(&mut self, now: i64) -> Result<(), DatabaseError> {
        let transaction = self.connection.transaction()?;
        for level in Level::ALL {
            // After the clock jumped or the manager was away, steps may be left behind.
            self.damaged_parts += build_blocks(&transaction, level, level.block_of(now))?;
            let oldest = level.block_of(now - level.keep_seconds(&self.settings.keep));
            forget_before(&transaction, level, oldest)?;
        }
        let keep = i64::try_from(self.events_kept).unwrap_or(i64::MAX);
        transaction.execute(
            "DELETE FROM event WHERE id <= (SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET ?1)",
            [keep],
        )?;
        let silent = now - Level::Hour.keep_seconds(&self.settings.keep);
        transaction.execute("DELETE FROM series WHERE last_at < ?1", [silent])?;
        transaction.commit()?;
        self.keep_to_size()?;
        Ok(())
    }

    /// Notes that these series are alive.
    pub(crate) fn touch(&mut self, ids: &[u32], now: i64) -> Result<(), DatabaseError> {
        let transaction = self.connection.transaction()?;
        for id in ids {
            transaction
                .prepare_cached("UPDATE series SET last_at = ?2 WHERE id = ?1")?
                .execute(params![id, now])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Gives up the oldest blocks of the largest level until there is room.
    fn keep_to_size(&mut self) -> Result<(), DatabaseError> {
        let limit = self.settings.size_limit_bytes;
        // A tenth of slack, so that it is not on the edge with every block.
        let target = limit - limit / 10;
        if self.size_bytes()? > limit {
            tracing::warn!(limit, "history is at its size limit; its oldest points are given up");
        } else {
            return Ok(());
        }
        for _ in 0..10_000 {
            if self.size_bytes()? <= target || !self.give_up_oldest()? {
                break;
            }
        }
        self.connection.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        Ok(())
    }

    /// `false` when nothing is left to give up.
    fn give_up_oldest(&mut self) -> Result<bool, DatabaseError> {
        let mut largest: Option<(i64, Level, i64)> = None;
        for level in Level::ALL {
            let (many, first) = self.blocks_of(level)?;
            if let Some(first) = first
                && largest.is_none_or(|(most, ..)| many > most)
            {
                largest = Some((many, level, first));
            }
        }
        let Some((_, level, oldest)) = largest else { return Ok(false) };
        let transaction = self.connection.transaction()?;
        forget_before(&transaction, level, oldest + level.block_seconds())?;
        transaction.commit()?;
        Ok(true)
    }

    /// How many blocks a level has, and when the oldest of them begins.
    fn blocks_of(&self, level: Level) -> Result<(i64, Option<i64>), DatabaseError> {
        let (low, high) = (block_key(level, 0, 0), block_key(level, u32::MAX, i64::MAX));
        let mut query = self.connection.prepare_cached(
            "SELECT count(*), min(key & 268435455) FROM block WHERE key BETWEEN ?1 AND ?2",
        )?;
        let found = query.query_row([low, high], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
        Ok((found.0, found.1.map(|start| start * 300)))
    }

    /// Where a new database of this one's kind would be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The series of a database.
pub(super) fn read_series(
    connection: &Connection,
) -> Result<Vec<(u32, SeriesName)>, DatabaseError> {
    let mut query = connection.prepare_cached("SELECT id, name, subject FROM series")?;
    let rows = query.query_map([], |row| {
        Ok((row.get(0)?, SeriesName { name: row.get(1)?, subject: row.get(2)? }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn add_step(transaction: &Transaction<'_>, step: &Step) -> Result<(), DatabaseError> {
    let key = step_key(step.level, step.at);
    let there: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT points FROM step WHERE key = ?1")?
        .query_map([key], |row| row.get(0))?
        .next()
        .transpose()?;
    let written = merge_step(there.as_deref(), &step.points);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO step VALUES (?1, ?2)")?
        .execute(params![key, written])?;
    Ok(())
}

/// Turns the steps of `level` before `end` into blocks of each series. Returns
/// how many of them were damaged, which are dropped.
fn build_blocks(
    transaction: &Transaction<'_>,
    level: Level,
    end: i64,
) -> Result<u64, DatabaseError> {
    let range = [step_key(level, 0), step_key(level, end) - 1];
    let mut gathering = Gathering::new(level);
    {
        let mut query = transaction.prepare_cached(
            "SELECT key, points FROM step WHERE key BETWEEN ?1 AND ?2 ORDER BY key",
        )?;
        let mut rows = query.query(range)?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(1)?.as_blob().unwrap_or_default();
            gathering.take(step_at(row.get(0)?), bytes);
        }
    }
    for (start, series, points) in gathering.blocks() {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO block VALUES (?1, ?2)")?
            .execute(params![block_key(level, series, start), points])?;
    }
    transaction.prepare_cached("DELETE FROM step WHERE key BETWEEN ?1 AND ?2")?.execute(range)?;
    Ok(gathering.damaged)
}

/// Deletes the blocks of `level` that begin before `start`.
fn forget_before(
    transaction: &Transaction<'_>,
    level: Level,
    start: i64,
) -> Result<(), DatabaseError> {
    let low = block_key(level, 0, 0);
    let high = block_key(level, u32::MAX, i64::MAX);
    transaction
        .prepare_cached("DELETE FROM block WHERE key BETWEEN ?1 AND ?2 AND (key & 268435455) < ?3")?
        .execute(params![low, high, start / 300])?;
    Ok(())
}

/// Copies kept of databases that were set aside.
const ASIDE_KEPT: usize = 2;

/// Moves a damaged database out of the way, with its log, and gives up older ones.
///
/// # Errors
///
/// What the file system says.
pub(crate) fn set_aside(path: &Path, now: i64) -> io::Result<PathBuf> {
    let name = |path: &Path, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let aside = name(path, &format!(".damaged-{now}"));
    fs::rename(path, &aside)?;
    for end in ["-wal", "-shm"] {
        match fs::rename(name(path, end), name(&aside, end)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let older = found_aside(path)?;
    for old in older.iter().rev().skip(ASIDE_KEPT) {
        for end in ["", "-wal", "-shm"] {
            // One that is gone already is no loss.
            let _ = fs::remove_file(name(old, end));
        }
    }
    Ok(aside)
}

/// Databases that were set aside, oldest first.
///
/// # Errors
///
/// What the file system says.
pub(crate) fn found_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{}.damaged-", name.to_string_lossy());
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(&prefix));
            rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found)
}
