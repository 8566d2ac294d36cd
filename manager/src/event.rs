//! What has happened: told to whoever follows, and kept.
//!
//! The newest events are in a ring in memory; the collector hands them to the
//! store with its next batch. A follower pulls by id, so one that is slow holds
//! nobody up: what left the ring meanwhile comes from the store.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bs9_api::types::{Event, Happening};
use futures_util::{Stream, stream};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::store::Store;

/// Events in memory.
const RING: usize = 1_024;
/// Events that wait to be written, at most.
const MAX_UNWRITTEN: usize = 4_096;
/// Who may follow at once.
const MAX_FOLLOWERS: usize = 64;
/// Events read from the store at once.
const PAGE: usize = 256;

/// The door to events; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    /// Id of the newest event.
    newest: watch::Sender<u64>,
    followers: Arc<Semaphore>,
}

#[derive(Debug)]
struct Kept {
    next: u64,
    ring: VecDeque<Event>,
    unwritten: Vec<Event>,
}

impl Events {
    /// `last` is the newest event of an earlier run that is known.
    pub(crate) fn new(last: u64, now: Timestamp) -> Self {
        // Some events of a run that was killed may not have been written: the clock
        // makes sure that their numbers are not given twice. A million events a
        // second are more than there ever are; numbers stay exact in JSON.
        let clock = u64::try_from(now.as_second()).unwrap_or(0).saturating_mul(1_000_000);
        let next = clock.max(last.saturating_add(1));
        let kept = Kept { next, ring: VecDeque::with_capacity(RING), unwritten: Vec::new() };
        Self {
            shared: Arc::new(Shared {
                kept: Mutex::new(kept),
                newest: watch::Sender::new(next - 1),
                followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
            }),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every push is whole.
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has happened.
    pub(crate) fn publish(&self, what: Happening) {
        let mut kept = self.kept();
        let event = Event { id: kept.next, at: Timestamp::now(), what };
        kept.next += 1;
        if kept.ring.len() == RING {
            kept.ring.pop_front();
        }
        kept.ring.push_back(event.clone());
        if kept.unwritten.len() < MAX_UNWRITTEN {
            kept.unwritten.push(event);
        }
        let newest = kept.next - 1;
        drop(kept);
        self.shared.newest.send_replace(newest);
    }

    /// What the store does not have yet.
    pub(crate) fn take_unwritten(&self) -> Vec<Event> {
        std::mem::take(&mut self.kept().unwritten)
    }

    /// Events after `after` that are in memory; `None` when some after it are not
    /// any more.
    pub(crate) fn in_memory(&self, after: u64, limit: usize) -> Option<Vec<Event>> {
        let kept = self.kept();
        let whole = match kept.ring.front() {
            Some(oldest) => after.saturating_add(1) >= oldest.id,
            None => after.saturating_add(1) >= kept.next,
        };
        whole.then(|| {
            kept.ring.iter().filter(|event| event.id > after).take(limit).cloned().collect()
        })
    }

    /// The newest ones.
    pub(crate) fn newest(&self, limit: usize) -> Vec<Event> {
        let kept = self.kept();
        let skip = kept.ring.len().saturating_sub(limit);
        kept.ring.iter().skip(skip).cloned().collect()
    }

    /// Events after `after`, wherever they are. Blocks: not for the runtime's
    /// thread.
    pub(crate) fn page(&self, store: &Store, after: u64, limit: usize) -> Vec<Event> {
        if let Some(events) = self.in_memory(after, limit) {
            return events;
        }
        let mut events = store.events(Some(after), limit).unwrap_or_default();
        if events.len() < limit {
            // The store lags by a tick.
            let last = events.last().map_or(after, |event| event.id);
            let ring: Vec<Event> = self.kept().ring.iter().cloned().collect();
            events.extend(ring.into_iter().filter(|event| event.id > last));
            events.truncate(limit);
        }
        events
    }

    /// Follows from after `after` on, or from now on. `None` when too many follow.
    pub(crate) fn follow(
        &self,
        store: &Store,
        after: Option<u64>,
    ) -> Option<impl Stream<Item = Event> + Send + 'static> {
        let permit = Arc::clone(&self.shared.followers).try_acquire_owned().ok()?;
        let mut newest = self.shared.newest.subscribe();
        let seen = after.unwrap_or(*newest.borrow_and_update());
        let follower = Follower {
            events: self.clone(),
            store: store.clone(),
            newest,
            seen,
            waiting: VecDeque::new(),
            _permit: permit,
        };
        Some(stream::unfold(follower, async |mut follower| {
            let event = follower.next().await?;
            Some((event, follower))
        }))
    }
}

struct Follower {
    events: Events,
    store: Store,
    newest: watch::Receiver<u64>,
    seen: u64,
    waiting: VecDeque<Event>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.seen = event.id;
                return Some(event);
            }
            self.newest.borrow_and_update();
            self.waiting = match self.events.in_memory(self.seen, PAGE) {
                Some(events) => events.into(),
                None => {
                    let (events, store, seen) =
                        (self.events.clone(), self.store.clone(), self.seen);
                    let page = tokio::task::spawn_blocking(move || events.page(&store, seen, PAGE));
                    page.await.ok()?.into()
                }
            };
            if self.waiting.is_empty() {
                self.newest.changed().await.ok()?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(unit: &str) -> Happening {
        Happening::UnitGone { unit: unit.to_owned() }
    }

    #[test]
    fn numbers_grow_over_restarts_even_when_the_clock_does_not() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let first = Events::new(0, now);
        first.publish(gone("a"));
        let id = first.newest(1)[0].id;
        assert!(id < 1 << 53, "exact in JSON");
        let second = Events::new(id, Timestamp::UNIX_EPOCH);
        second.publish(gone("b"));
        assert_eq!(second.newest(1)[0].id, id + 1);
    }

    #[test]
    fn the_ring_knows_what_it_lost() {
        let events = Events::new(0, Timestamp::UNIX_EPOCH);
        assert_eq!(events.in_memory(0, 10), Some(Vec::new()));
        for _ in 0..RING + 10 {
            events.publish(gone("a"));
        }
        assert_eq!(events.in_memory(5, 10), None);
        let ids = |after| -> Vec<u64> {
            events.in_memory(after, 3).unwrap().iter().map(|event| event.id).collect()
        };
        assert_eq!(ids(10), [11, 12, 13]);
        assert_eq!(ids(RING as u64 + 9), [RING as u64 + 10]);
        assert_eq!(events.take_unwritten().len(), RING + 10);
        assert!(events.take_unwritten().is_empty());
    }
}
