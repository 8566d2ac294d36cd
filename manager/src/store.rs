//! History and events on disk.
//!
//! A [`Store`] is a thread with the one SQLite connection that writes, and a
//! connection that reads for whoever asks. It takes one batch a tick. When the
//! disk is too slow batches are lost and counted; when the database is damaged it
//! is set aside and another begun. Neither stops anybody.

mod block;
mod bytes;
mod database;
mod level;
mod point;
mod query;
mod rollup;
mod sketch;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use bs9_api::types::{Catalog, Event, SCHEMA, SeriesAnswer, SeriesQuery, StoreStatus};
use bs9_config::{HistoryStore, Retention};
use jiff::Timestamp;
use rusqlite::Connection;

use database::DatabaseError;
use query::{Range, Selection};

pub(crate) use database::Database;
pub(crate) use level::Level;
pub(crate) use point::Point;
pub(crate) use rollup::{Batch, Rollup, Step};

/// Batches that wait for the disk at most.
const WAITING_BATCHES: usize = 16;
/// Points of an answer at most.
const MAX_POINTS: usize = 100_000;
/// Points a series that the finest fitting resolution may have.
const POINTS_PER_SERIES: i64 = 1_000;
/// Between two lookings after what is too old or too much.
const UPKEEP_SECONDS: i64 = 300;

/// Why history cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("history on disk is switched off (history.persist)")]
    Off,
    #[error("history on disk does not work: {0}")]
    Broken(String),
    #[error("{0}")]
    Question(String),
}

/// Somebody who is to know that a file was set aside.
pub(crate) type OnSetAside = Box<dyn Fn(&Path, &str) + Send>;

/// A handle to history on disk; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    settings: Option<HistoryStore>,
    status: Mutex<StoreStatus>,
    reader: Mutex<Option<Connection>>,
    orders: Mutex<Option<SyncSender<Order>>>,
}

enum Order {
    Write(Box<Batch>, Vec<Event>, Vec<u32>),
    /// A reader found the database damaged.
    Damaged(String),
}

/// What a store that was opened knows already.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) rollup: Rollup,
    pub(crate) last_event: u64,
    /// Ends when every [`Store::stop`] was called and all is written.
    pub(crate) writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the database in `folder`, and sets it aside first when it is damaged.
    /// Without settings nothing is kept.
    ///
    /// # Errors
    ///
    /// The file system or SQLite refuse for another reason.
    pub(crate) fn open(
        folder: &Path,
        settings: Option<&HistoryStore>,
        events_kept: usize,
        now: Timestamp,
        on_set_aside: OnSetAside,
    ) -> io::Result<Opened> {
        let path = folder.join("history.db");
        let Some(settings) = settings else {
            let status =
                StoreStatus { reason: Some(StoreError::Off.to_string()), ..StoreStatus::default() };
            let shared = Shared {
                path,
                settings: None,
                status: Mutex::new(status),
                reader: Mutex::default(),
                orders: Mutex::default(),
            };
            let store = Self { shared: Arc::new(shared) };
            return Ok(Opened { store, rollup: Rollup::new(0, []), last_event: 0, writer: None });
        };
        let (database, rollup, last_event) =
            open_or_set_aside(&path, settings, events_kept, now, &on_set_aside)?;
        let (orders, incoming) = sync_channel(WAITING_BATCHES);
        let shared = Shared {
            status: Mutex::new(StoreStatus {
                working: true,
                size_limit_bytes: settings.size_limit_bytes,
                set_aside: shown_aside(&path),
                ..StoreStatus::default()
            }),
            path,
            settings: Some(settings.clone()),
            reader: Mutex::default(),
            orders: Mutex::new(Some(orders)),
        };
        let store = Self { shared: Arc::new(shared) };
        let writer = Writer {
            shared: Arc::clone(&store.shared),
            database: Some(database),
            settings: settings.clone(),
            events_kept,
            upkept_at: now.as_second(),
            on_set_aside,
        };
        let writer = std::thread::Builder::new()
            .name("bs9-history".to_owned())
            .spawn(move || writer.run(&incoming))?;
        Ok(Opened { store, rollup, last_event, writer: Some(writer) })
    }

    /// Hands over what a tick left. Never waits.
    pub(crate) fn write(&self, batch: Batch, events: Vec<Event>, live: Vec<u32>) {
        let order = Order::Write(Box::new(batch), events, live);
        if let Some(orders) = self.shared.orders().as_ref()
            && let Err(TrySendError::Full(_)) = orders.try_send(order)
        {
            self.shared.status().batches_lost_total += 1;
        }
    }

    /// Takes no more; what was taken is written.
    pub(crate) fn stop(&self) {
        *self.shared.orders() = None;
    }

    pub(crate) fn status(&self) -> StoreStatus {
        self.shared.status().clone()
    }

    /// Tells how many series there are, and how many there is no room for.
    pub(crate) fn note_series(&self, live: usize, left_out: u64) {
        let mut status = self.shared.status();
        status.series = live as u64;
        status.series_left_out = left_out;
    }

    /// The series there are. Blocks: not for the runtime's thread.
    pub(crate) fn catalog(&self) -> Result<Catalog, StoreError> {
        let mut series: Vec<_> = self
            .read(|connection| database::read_series(connection))?
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        series.sort();
        Ok(Catalog { schema: SCHEMA, series })
    }

    /// The points of a range. Blocks: not for the runtime's thread.
    pub(crate) fn series(
        &self,
        asked: SeriesQuery,
        now: Timestamp,
    ) -> Result<SeriesAnswer, StoreError> {
        let settings = self.shared.settings.as_ref().ok_or(StoreError::Off)?;
        let range = range(&asked, &settings.keep, now)?;
        let selection = Selection { name: asked.name, subject: asked.subject };
        let found = self.read(|connection| query::series(connection, &selection, &range))?;
        self.shared.status().damaged_parts_total += found.damaged;
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(SeriesAnswer {
            schema: SCHEMA,
            resolution_seconds: range.level.seconds() as u32,
            from: time(range.from),
            to: time(range.to),
            truncated: found.truncated,
            series: found.series,
        })
    }

    /// Events that were written. Blocks: not for the runtime's thread.
    pub(crate) fn events(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(|connection| query::events(connection, after, limit))
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&mut Connection) -> Result<T, DatabaseError>,
    ) -> Result<T, StoreError> {
        if self.shared.settings.is_none() {
            return Err(StoreError::Off);
        }
        let mut reader = self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match reader.as_mut() {
            Some(connection) => look(connection),
            None => Database::reader(&self.shared.path).and_then(|mut connection| {
                let result = look(&mut connection);
                *reader = Some(connection);
                result
            }),
        };
        result.map_err(|error| {
            *reader = None;
            if error.is_damage()
                && let Some(orders) = self.shared.orders().as_ref()
            {
                // When the queue is full the writer is about to find out by itself.
                let _ = orders.try_send(Order::Damaged(error.to_string()));
            }
            StoreError::Broken(error.to_string())
        })
    }
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, StoreStatus> {
        // Counters and words: none is ever half written.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self) -> MutexGuard<'_, Option<SyncSender<Order>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The resolution and range that a question comes to.
fn range(asked: &SeriesQuery, keep: &Retention, now: Timestamp) -> Result<Range, StoreError> {
    let to = asked.to.unwrap_or(now).as_second().saturating_add(i64::from(asked.to.is_none()));
    let back = i64::try_from(asked.seconds.unwrap_or(900)).unwrap_or(i64::MAX);
    let from = asked.from.map_or_else(|| to.saturating_sub(back), Timestamp::as_second);
    if from >= to {
        return Err(StoreError::Question(
            "the range is empty: `from` is not before `to`".to_owned(),
        ));
    }
    let level = match asked.resolution_seconds {
        Some(seconds) => Level::of_seconds(seconds).ok_or_else(|| {
            StoreError::Question("resolutions are 1, 10, 60 and 3600 seconds".to_owned())
        })?,
        None => Level::ALL
            .into_iter()
            .find(|level| {
                let kept = from >= now.as_second().saturating_sub(level.keep_seconds(keep));
                kept && to.saturating_sub(from) / level.seconds() <= POINTS_PER_SERIES
            })
            .unwrap_or(Level::Hour),
    };
    let limit = asked.limit.map_or(MAX_POINTS, |limit| (limit as usize).min(MAX_POINTS));
    // A point that began before `from` and reaches into the range belongs to it.
    Ok(Range { level, from: level.floor(from.max(0)), to: to.max(0), limit })
}

/// A database that was opened, and what it tells.
type Found = (Database, Rollup, u64);

fn open_or_set_aside(
    path: &Path,
    settings: &HistoryStore,
    events_kept: usize,
    now: Timestamp,
    on_set_aside: &OnSetAside,
) -> io::Result<Found> {
    let damage = match take_up(path, settings, events_kept, now) {
        Ok(found) => return Ok(found),
        Err(error) if error.is_damage() => error.to_string(),
        Err(error) => return Err(io::Error::other(error)),
    };
    let aside = database::set_aside(path, now.as_second())?;
    tracing::error!(reason = damage, path = %aside.display(), "history was damaged; it is set aside and another begun");
    on_set_aside(&aside, &damage);
    take_up(path, settings, events_kept, now).map_err(io::Error::other)
}

fn take_up(
    path: &Path,
    settings: &HistoryStore,
    events_kept: usize,
    now: Timestamp,
) -> Result<Found, DatabaseError> {
    let mut database = Database::open(path, settings, events_kept)?;
    let rollup = go_on(&mut database, settings, now.as_second())?;
    let last_event = database.last_event()?;
    Ok((database, rollup, last_event))
}

fn shown_aside(path: &Path) -> Vec<String> {
    let found = database::found_aside(path).unwrap_or_default();
    found.into_iter().map(|path| path.display().to_string()).collect()
}

/// Adds up again what an earlier run did not finish: for each coarser level the
/// steps since the last one that was written, and the one that is open now.
fn go_on(
    database: &mut Database,
    settings: &HistoryStore,
    now: i64,
) -> Result<Rollup, DatabaseError> {
    let mut rollup = Rollup::new(settings.max_series, database.series()?);
    let connection = Database::reader(database.path())?;
    let mut open_finer: Option<(i64, BTreeMap<u32, Point>)> = None;
    for pair in Level::ALL.windows(2) {
        let [finer, level] = [pair[0], pair[1]];
        let open = level.floor(now);
        let last = query::last_step(&connection, level)?;
        let since = last.map_or(open, |at| at + level.seconds()).min(open);
        let since = since.max(now.saturating_sub(finer.keep_seconds(&settings.keep)));
        let mut steps: BTreeMap<i64, BTreeMap<u32, Point>> = BTreeMap::new();
        query::recall(&connection, finer, since, |series, at, point| {
            add(steps.entry(level.floor(at)).or_default(), series, point);
        })?;
        if let Some((at, points)) = open_finer.take() {
            let step = steps.entry(level.floor(at)).or_default();
            points.into_iter().for_each(|(series, point)| add(step, series, point));
        }
        if let Some(points) = steps.remove(&open) {
            points.iter().for_each(|(series, point)| rollup.recall(level, open, *series, point));
            open_finer = Some((open, points));
        }
        let steps = steps.into_iter().filter(|(at, _)| *at < open);
        let steps =
            steps.map(|(at, points)| Step { level, at, points: points.into_iter().collect() });
        database.write(&Batch { at: now, series: Vec::new(), steps: steps.collect() }, &[])?;
    }
    Ok(rollup)
}

fn add(points: &mut BTreeMap<u32, Point>, series: u32, point: Point) {
    match points.get_mut(&series) {
        Some(known) => known.merge(&point),
        None => {
            points.insert(series, point);
        }
    }
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    database: Option<Database>,
    settings: HistoryStore,
    events_kept: usize,
    upkept_at: i64,
    on_set_aside: OnSetAside,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Write(batch, events, live) => self.write(&batch, &events, &live),
                Order::Damaged(reason) => self.set_aside(&reason),
            }
        }
        tracing::debug!("history is written");
    }

    fn write(&mut self, batch: &Batch, events: &[Event], live: &[u32]) {
        if self.database.is_none() {
            self.reopen();
        }
        let Some(database) = &mut self.database else {
            self.shared.status().batches_lost_total += 1;
            return;
        };
        let due = batch.at - self.upkept_at >= UPKEEP_SECONDS || batch.at < self.upkept_at;
        let result = database.write(batch, events).and_then(|()| {
            if !live.is_empty() {
                database.touch(live, batch.at)?;
            }
            if due {
                self.upkept_at = batch.at;
                database.upkeep(batch.at)?;
            }
            Ok((database.size_bytes()?, database.damaged_parts()))
        });
        match result {
            Ok((size, damaged)) => {
                let mut status = self.shared.status();
                status.working = true;
                status.reason = None;
                status.batches_total += 1;
                status.size_bytes = size;
                status.damaged_parts_total = status.damaged_parts_total.max(damaged);
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &DatabaseError) {
        if error.is_damage() {
            return self.set_aside(&error.to_string());
        }
        let mut status = self.shared.status();
        if status.working {
            tracing::warn!(%error, "history cannot be written; make room or see to its folder's permissions");
        }
        status.working = false;
        status.reason = Some(error.to_string());
        status.batches_lost_total += 1;
    }

    fn set_aside(&mut self, reason: &str) {
        self.database = None;
        *self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.status().batches_lost_total += 1;
        let path = &self.shared.path;
        match database::set_aside(path, Timestamp::now().as_second()) {
            Ok(aside) => {
                tracing::error!(reason, path = %aside.display(), "history was damaged; it is set aside and another begun");
                (self.on_set_aside)(&aside, reason);
                self.shared.status().set_aside = shown_aside(path);
            }
            Err(error) => {
                tracing::error!(reason, %error, "history is damaged and cannot be set aside")
            }
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        // Gone with its folder: a new one does.
        let folder = self.shared.path.parent().map(fs::create_dir_all);
        if let Some(Err(error)) = folder {
            self.shared.status().reason = Some(error.to_string());
        }
        match Database::open(&self.shared.path, &self.settings, self.events_kept) {
            Ok(database) => self.database = Some(database),
            Err(error) => {
                let mut status = self.shared.status();
                status.working = false;
                status.reason = Some(error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests;
