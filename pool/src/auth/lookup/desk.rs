//! What others than the thread that asks see of lookups: where there may be any, and over which
//! connections.
//!
//! # That a pause finds everything
//!
//! A lookup is counted while the orders in force are held, so whoever notes an order afterwards
//! sees it. A connection is entered by a lookup that is counted; when the lookup ends, the
//! connection is kept only if the orders then in force leave it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bs9_api::types::PoolServer;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};

use super::{LookupError, Source};
use crate::{cell::Place, orders::Orders, roster::place_of};

/// See the module.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) orders: watch::Sender<Orders>,
    open: Mutex<Open>,
    ages: Mutex<Ages>,
    /// There are fewer lookups or connections, or somebody has resumed.
    fewer: Notify,
    /// There is one more connection.
    more: Notify,
}

#[derive(Default)]
struct Open {
    /// Lookups under way, by database.
    lookups: FxHashMap<Arc<str>, usize>,
    connections: Vec<Arc<Card>>,
}

/// How old connections become.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ages {
    pub(crate) idle: Duration,
    pub(crate) life: Duration,
}

/// A lookup, counted until this is dropped.
pub(super) struct Pass {
    desk: Arc<Desk>,
    database: Arc<str>,
}

/// A connection, as far as it is told.
pub(super) struct Card {
    database: Arc<str>,
    user: Arc<str>,
    address: String,
    process_id: AtomicI32,
    is_active: AtomicBool,
    connected: Instant,
    used: Mutex<Instant>,
}

/// A connection, told of until this is dropped.
pub(super) struct Entry {
    desk: Arc<Desk>,
    pub(super) card: Arc<Card>,
}

impl Desk {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it is half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_ages(&self, ages: Ages) {
        *self.ages.lock().unwrap_or_else(PoisonError::into_inner) = ages;
    }

    pub(super) fn ages(&self) -> Ages {
        *self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // === Lookups ===

    /// Lets a lookup begin; while the database is paused, it waits.
    pub(super) async fn admit(self: &Arc<Self>, database: &Arc<str>) -> Result<Pass, LookupError> {
        let mut news = self.orders.subscribe();
        loop {
            {
                let orders = news.borrow_and_update();
                let standing = orders.of(database);
                if standing.disabled {
                    return Err(LookupError::Disabled(Arc::clone(database)));
                }
                if !standing.paused {
                    *self.open().lookups.entry(Arc::clone(database)).or_default() += 1;
                    return Ok(Pass { desk: Arc::clone(self), database: Arc::clone(database) });
                }
            }
            news.changed().await.map_err(|_| LookupError::NoThread)?;
        }
    }

    /// Whether connections to a database may be kept.
    pub(super) fn keeps(&self, database: &str) -> bool {
        let standing = self.orders.borrow().of(database);
        !(standing.paused || standing.disabled)
    }

    // === Connections ===

    /// One is about to be made.
    pub(super) fn enter(self: &Arc<Self>, database: &Arc<str>, source: &Source) -> Entry {
        let now = Instant::now();
        let card = Arc::new(Card {
            database: Arc::clone(database),
            user: Arc::clone(&source.user),
            address: place_of(&source.address),
            process_id: AtomicI32::new(0),
            is_active: AtomicBool::new(true),
            connected: now,
            used: Mutex::new(now),
        });
        self.open().connections.push(Arc::clone(&card));
        self.more.notify_one();
        Entry { desk: Arc::clone(self), card }
    }

    pub(super) fn has_connections(&self) -> bool {
        !self.open().connections.is_empty()
    }

    /// There is a connection more than the last time.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// Every connection, as those of pools are told.
    pub(crate) fn servers(&self) -> Vec<PoolServer> {
        self.open().connections.iter().map(|card| card.told()).collect()
    }

    // === Orders ===

    /// How much of it there is to this database; `None`: to all.
    pub(crate) fn open_to(&self, database: Option<&str>) -> usize {
        let is = |known: &Arc<str>| database.is_none_or(|database| **known == *database);
        let open = self.open();
        let connections = open.connections.iter().filter(|card| is(&card.database)).count();
        let lookups = open.lookups.iter().filter(|(known, _)| is(known));
        connections.max(lookups.map(|(_, lookups)| lookups).sum())
    }

    /// Waits until there is none of it, as [`Pool::emptied`](crate::pool::Pool::emptied) does.
    pub(crate) async fn emptied(&self, database: Option<&str>) -> bool {
        loop {
            let told = self.fewer.notified();
            let mut told = std::pin::pin!(told);
            told.as_mut().enable();
            if self.open_to(database) == 0 {
                return true;
            }
            if !self.is_paused(database) {
                return false;
            }
            told.await;
        }
    }

    fn is_paused(&self, database: Option<&str>) -> bool {
        let orders = self.orders.borrow();
        database.map_or_else(|| orders.all_paused(), |database| orders.of(database).paused)
    }

    /// Has whoever waits for a pause look again.
    pub(super) fn resumed(&self) {
        self.fewer.notify_waiters();
    }
}

impl Card {
    pub(super) fn note_process(&self, process_id: i32) {
        self.process_id.store(process_id, Relaxed);
    }

    pub(super) fn note_use(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.is_active.store(true, Relaxed);
    }

    pub(super) fn note_return(&self) {
        self.is_active.store(false, Relaxed);
    }

    fn told(&self) -> PoolServer {
        let process_id = self.process_id.load(Relaxed);
        let place = match self.is_active.load(Relaxed) {
            true if process_id == 0 => Place::Login,
            true => Place::Active,
            false => Place::Idle,
        };
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        PoolServer {
            database: self.database.to_string(),
            user: self.user.to_string(),
            state: place.name().to_owned(),
            address: self.address.clone(),
            process_id,
            shard: None,
            connected_seconds: self.connected.elapsed().as_secs_f64(),
            used_seconds: used.elapsed().as_secs_f64(),
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self.desk.open();
        if let Some(lookups) = open.lookups.get_mut(&self.database) {
            *lookups -= 1;
            if *lookups == 0 {
                open.lookups.remove(&self.database);
            }
        }
        drop(open);
        self.desk.fewer.notify_waiters();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.desk.open().connections.retain(|known| !Arc::ptr_eq(known, &self.card));
        self.desk.fewer.notify_waiters();
    }
}
