//! The store of one machine: an SQLite database beside the audit log.
//!
//! A thread has the one connection that writes; whoever asks has another that reads.

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

use bs9_api::types::{Event, SeriesName, StoreStatus};
use bs9_config::HistoryStore;
use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    Account, OnSetAside, StoreError, UPKEEP_SECONDS, WAITING_BATCHES,
    database::{self, Database, DatabaseError},
    level::Level,
    point::Point,
    query::{self, Found, Range, Selection},
    rollup::{Batch, Rollup, Step},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    account: Account,
    reader: Mutex<Option<Connection>>,
    orders: Mutex<Option<SyncSender<Order>>>,
}

pub(super) enum Order {
    Write(Box<Batch>, Vec<Event>, Vec<u32>),
    /// A reader found the database damaged.
    Damaged(String),
}

/// A store that was opened, what it knows already, and its writer.
pub(super) type Opened = (Arc<Sqlite>, Rollup, u64, JoinHandle<()>);

impl Sqlite {
    /// Opens the database in `folder`, and sets it aside first when it is damaged.
    ///
    /// # Errors
    ///
    /// The file system or SQLite refuse for another reason.
    pub(super) fn open(
        folder: &Path,
        settings: &HistoryStore,
        events_kept: usize,
        now: Timestamp,
        account: &Account,
        on_set_aside: OnSetAside,
    ) -> io::Result<Opened> {
        let path = folder.join("history.db");
        let (database, rollup, last_event) =
            open_or_set_aside(&path, settings, events_kept, now, &on_set_aside)?;
        let (orders, incoming) = sync_channel(WAITING_BATCHES);
        *account.status() = StoreStatus {
            kind: "sqlite".to_owned(),
            working: true,
            size_limit_bytes: settings.size_limit_bytes,
            set_aside: shown_aside(&path),
            ..StoreStatus::default()
        };
        let store = Arc::new(Self {
            path,
            account: account.clone(),
            reader: Mutex::default(),
            orders: Mutex::new(Some(orders)),
        });
        let writer = Writer {
            shared: Arc::clone(&store),
            database: Some(database),
            settings: settings.clone(),
            events_kept,
            // The limits may have become smaller since an earlier run.
            upkept_at: 0,
            on_set_aside,
        };
        let writer = std::thread::Builder::new()
            .name("bs9-history".to_owned())
            .spawn(move || writer.run(&incoming))?;
        Ok((store, rollup, last_event, writer))
    }

    /// Hands over what a tick left. Never waits.
    pub(super) fn write(&self, batch: Batch, events: Vec<Event>, live: Vec<u32>) {
        let order = Order::Write(Box::new(batch), events, live);
        if let Some(orders) = self.orders().as_ref()
            && let Err(TrySendError::Full(_)) = orders.try_send(order)
        {
            self.status().batches_lost_total += 1;
        }
    }

    /// Takes no more; what was taken is written.
    pub(super) fn stop(&self) {
        *self.orders() = None;
    }

    pub(super) fn names(&self) -> Result<Vec<SeriesName>, StoreError> {
        let series = self.read(|connection| database::read_series(connection))?;
        Ok(series.into_iter().map(|(_, name)| name).collect())
    }

    pub(super) fn series(&self, selection: &Selection, range: &Range) -> Result<Found, StoreError> {
        self.read(|connection| query::series(connection, selection, range))
    }

    pub(super) fn events(
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
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match reader.as_mut() {
            Some(connection) => look(connection),
            None => Database::reader(&self.path).and_then(|mut connection| {
                let result = look(&mut connection);
                *reader = Some(connection);
                result
            }),
        };
        result.map_err(|error| {
            *reader = None;
            if error.is_damage()
                && let Some(orders) = self.orders().as_ref()
            {
                // When the queue is full the writer is about to find out by itself.
                let _ = orders.try_send(Order::Damaged(error.to_string()));
            }
            StoreError::Broken(error.to_string())
        })
    }

    fn status(&self) -> MutexGuard<'_, StoreStatus> {
        self.account.status()
    }

    pub(super) fn orders(&self) -> MutexGuard<'_, Option<SyncSender<Order>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A database that was opened, and what it tells.
type TakenUp = (Database, Rollup, u64);

fn open_or_set_aside(
    path: &Path,
    settings: &HistoryStore,
    events_kept: usize,
    now: Timestamp,
    on_set_aside: &OnSetAside,
) -> io::Result<TakenUp> {
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
) -> Result<TakenUp, DatabaseError> {
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
    shared: Arc<Sqlite>,
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
