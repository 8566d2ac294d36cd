//! How far a thread is, for whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one thread, written by it alone, once a turn of its loop.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    succeeded: AtomicU64,
    failed: AtomicU64,
    received_bytes: AtomicU64,
}

/// What a tally, or several together, stood at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) received_bytes: u64,
}

impl Tally {
    pub(crate) fn publish(&self, count: Count) {
        self.succeeded.store(count.succeeded, Ordering::Relaxed);
        self.failed.store(count.failed, Ordering::Relaxed);
        self.received_bytes.store(count.received_bytes, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Count {
        Count {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
        }
    }
}

impl Count {
    /// What came since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            succeeded: self.succeeded.saturating_sub(earlier.succeeded),
            failed: self.failed.saturating_sub(earlier.failed),
            received_bytes: self.received_bytes.saturating_sub(earlier.received_bytes),
        }
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, count| Self {
            succeeded: sum.succeeded + count.succeeded,
            failed: sum.failed + count.failed,
            received_bytes: sum.received_bytes + count.received_bytes,
        })
    }
}
