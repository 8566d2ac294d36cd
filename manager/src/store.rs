//! History and events that last.
//!
//! A [`Store`] takes one batch a tick and answers questions. Behind it is an SQLite
//! database of this machine's own, or PostgreSQL for many machines. A place that is too
//! slow loses batches, which are counted, and holds nobody up.

mod block;
mod bytes;
mod database;
mod level;
mod point;
mod postgres;
mod query;
mod rollup;
mod sketch;
mod sqlite;
mod under_way;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use bs9_api::types::{Catalog, Event, SCHEMA, SeriesAnswer, SeriesQuery, StoreStatus};
use bs9_config::{HistoryStore, Retention};
use jiff::Timestamp;

use postgres::Postgres;
use query::{Range, Selection};
use sqlite::Sqlite;

pub(crate) use database::Database;
pub(crate) use level::Level;
pub(crate) use point::Point;
pub(crate) use rollup::{Batch, Rollup, Step};

/// Batches that wait to be taken at most.
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
    #[error("history is switched off (history.persist)")]
    Off,
    #[error("history does not work: {0}")]
    Broken(String),
    #[error("{0}")]
    Question(String),
}

/// Somebody who is to know that a file was set aside.
pub(crate) type OnSetAside = Box<dyn Fn(&Path, &str) + Send>;

/// A handle to history; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    account: Account,
    keep: Option<Retention>,
    place: Place,
}

/// Where it is kept.
#[derive(Debug, Clone)]
enum Place {
    Nowhere,
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// How the store fares; shared with whoever writes it.
#[derive(Debug, Clone, Default)]
struct Account(Arc<Mutex<StoreStatus>>);

impl Account {
    fn status(&self) -> MutexGuard<'_, StoreStatus> {
        // Counters and words: none is ever half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a store that was opened knows already.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) rollup: Rollup,
    pub(crate) last_event: u64,
    /// Ends when [`Store::stop`] was called and all is written.
    pub(crate) writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens what the settings name; an SQLite database is in `folder`, and set aside
    /// first when it is damaged. Without settings nothing is kept. A PostgreSQL that is
    /// away is no error: what is to be written waits for it.
    ///
    /// # Errors
    ///
    /// The file system or SQLite refuse; the system gives no thread.
    pub(crate) fn open(
        folder: &Path,
        settings: Option<&HistoryStore>,
        events_kept: usize,
        now: Timestamp,
        on_set_aside: OnSetAside,
    ) -> io::Result<Opened> {
        let account = Account::default();
        let Some(settings) = settings else {
            account.status().reason = Some(StoreError::Off.to_string());
            let store = Self { account, keep: None, place: Place::Nowhere };
            return Ok(Opened { store, rollup: Rollup::new(0, []), last_event: 0, writer: None });
        };
        let (place, rollup, last_event, writer) = match &settings.postgres {
            None => {
                let (sqlite, rollup, last_event, writer) =
                    Sqlite::open(folder, settings, events_kept, now, &account, on_set_aside)?;
                (Place::Sqlite(sqlite), rollup, last_event, writer)
            }
            Some(link) => {
                let (postgres, writer) = Postgres::open(settings, link, now, &account)?;
                // Its numbers of series are the database's own, and so is what an
                // earlier run left; the clock keeps the numbers of events apart.
                let rollup = Rollup::new(settings.max_series, []).that_ends_whole();
                (Place::Postgres(postgres), rollup, 0, writer)
            }
        };
        let store = Self { account, keep: Some(settings.keep), place };
        Ok(Opened { store, rollup, last_event, writer: Some(writer) })
    }

    /// Hands over what a tick left. Never waits.
    pub(crate) fn write(&self, batch: Batch, events: Vec<Event>, live: Vec<u32>) {
        match &self.place {
            Place::Nowhere => {}
            Place::Sqlite(sqlite) => sqlite.write(batch, events, live),
            Place::Postgres(postgres) => postgres.write(batch, events, live),
        }
    }

    /// Takes no more; what was taken is written.
    pub(crate) fn stop(&self) {
        match &self.place {
            Place::Nowhere => {}
            Place::Sqlite(sqlite) => sqlite.stop(),
            Place::Postgres(postgres) => postgres.stop(),
        }
    }

    pub(crate) fn status(&self) -> StoreStatus {
        self.account.status().clone()
    }

    /// Tells how many series there are, and how many there is no room for.
    pub(crate) fn note_series(&self, live: usize, left_out: u64) {
        let mut status = self.account.status();
        status.series = live as u64;
        status.series_left_out = left_out;
    }

    /// The series there are. Blocks: not for the runtime's thread.
    pub(crate) fn catalog(&self) -> Result<Catalog, StoreError> {
        let mut series = match &self.place {
            Place::Nowhere => return Err(StoreError::Off),
            Place::Sqlite(sqlite) => sqlite.names()?,
            Place::Postgres(postgres) => postgres.names()?,
        };
        series.sort();
        Ok(Catalog { schema: SCHEMA, series })
    }

    /// The points of a range. Blocks: not for the runtime's thread.
    pub(crate) fn series(
        &self,
        asked: SeriesQuery,
        now: Timestamp,
    ) -> Result<SeriesAnswer, StoreError> {
        let keep = self.keep.as_ref().ok_or(StoreError::Off)?;
        let range = range(&asked, keep, now)?;
        let selection = Selection { name: asked.name, subject: asked.subject };
        let mut look = |range: &Range| match &self.place {
            Place::Nowhere => Err(StoreError::Off),
            Place::Sqlite(sqlite) => sqlite.series(&selection, range),
            Place::Postgres(postgres) => postgres.series(selection.clone(), range.clone()),
        };
        let mut found = look(&range)?;
        // Who names a resolution wants points that will not change any more.
        if asked.resolution_seconds.is_none() {
            under_way::complete(&mut found, &range, now.as_second(), &mut look)?;
        }
        self.account.status().damaged_parts_total += found.damaged;
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
        match &self.place {
            Place::Nowhere => Err(StoreError::Off),
            Place::Sqlite(sqlite) => sqlite.events(after, limit),
            Place::Postgres(postgres) => postgres.events(after, limit),
        }
    }

    #[cfg(test)]
    fn sqlite(&self) -> &Sqlite {
        match &self.place {
            Place::Sqlite(sqlite) => sqlite,
            other => panic!("{other:?}"),
        }
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

#[cfg(test)]
mod tests;
