//! What all shards share of a cluster, for as long as a configuration names it.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU32, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
        },
    },
};

use tokio::sync::Notify;

use crate::retry::RetryBudget;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Commons {
    /// Counts up with everything that decides which endpoints take traffic.
    changes: AtomicU32,
    /// Requests that wait for an endpoint below its limit.
    waiting: AtomicUsize,
    /// Tells them that there may be one.
    freed: Notify,
    pub(crate) retries: Arc<RetryBudget>,
    /// Held while an endpoint is taken out, so that no two shards take out one too many.
    ejecting: Mutex<()>,
}

impl Commons {
    /// The number of the last change.
    #[inline]
    pub(super) fn changes(&self) -> u32 {
        self.changes.load(Acquire)
    }

    /// An endpoint takes traffic now, or does not any more.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Release);
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// An endpoint carries one request less.
    #[inline]
    pub(super) fn freed(&self) {
        // A waiter counts itself before it looks for a place the last time, and the place is
        // given up before this looks for waiters: one of the two sees the other.
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// Joins those who wait, when they are fewer than `most`.
    pub(super) fn wait(self: &Arc<Self>, most: usize) -> Option<Waiting> {
        if self.waiting.fetch_add(1, SeqCst) >= most {
            self.waiting.fetch_sub(1, SeqCst);
            return None;
        }
        Some(Waiting(Arc::clone(self)))
    }

    /// How many wait now.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    pub(super) fn ejecting(&self) -> MutexGuard<'_, ()> {
        // There is nothing behind it that a panic could leave half done.
        self.ejecting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait for an endpoint; given up when dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Commons>);

impl Waiting {
    /// Waits until an endpoint may have a place free, then asks `take`, until it gives something.
    /// Who came first is told first; who has only just come may be faster all the same.
    pub(crate) async fn until<T>(&self, take: impl Fn() -> Option<T>) -> T {
        loop {
            let mut freed = pin!(self.0.freed.notified());
            // In the line before it looks: of several places that are given up meanwhile, each
            // is told to another one.
            freed.as_mut().enable();
            if let Some(taken) = take() {
                return taken;
            }
            freed.await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}
