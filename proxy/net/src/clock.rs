//! Coarse time: read once per turn of a shard's loop.
//!
//! A shard's runtime refreshes the thread's clock whenever it wakes from waiting
//! for I/O; everything that runs in that turn sees the same instant, without a
//! system call or a read of the time-stamp counter.

use std::{cell::Cell, sync::OnceLock, time::Duration, time::Instant};

/// Nanoseconds since the process first asked for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoarseInstant(u64);

impl CoarseInstant {
    /// An instant that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant `after` from this one, saturating.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        let nanoseconds = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }

    /// Time from `earlier` to this one; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds since the clock's origin.
    pub fn nanoseconds(self) -> u64 {
        self.0
    }
}

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

#[cfg(feature = "simulation")]
thread_local! {
    static STANDING: Cell<u64> = const { Cell::new(0) };
}

/// Has this thread's clock stand at `instant` until it is told otherwise: the time of a
/// simulation.
#[cfg(feature = "simulation")]
pub fn stand_at(instant: CoarseInstant) {
    STANDING.set(instant.0);
    NOW.set(instant.0);
}

fn read() -> u64 {
    #[cfg(feature = "simulation")]
    if STANDING.get() != 0 {
        return STANDING.get();
    }
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    // +1 keeps zero free for "not read yet on this thread".
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
}

/// The time of this turn of the loop.
pub fn now() -> CoarseInstant {
    let cached = NOW.get();
    if cached != 0 { CoarseInstant(cached) } else { refresh() }
}

/// Reads the real clock. The shard does this once per turn; anything else that
/// needs a precise time may.
pub fn refresh() -> CoarseInstant {
    let nanoseconds = read();
    NOW.set(nanoseconds);
    CoarseInstant(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(CoarseInstant::NEVER.plus(Duration::from_secs(1)), CoarseInstant::NEVER);
        let early = CoarseInstant(5);
        assert_eq!(early.since(CoarseInstant(9)), Duration::ZERO);
        assert_eq!(early.plus(Duration::MAX), CoarseInstant::NEVER);
    }

    #[test]
    fn stands_still_between_refreshes() {
        let first = refresh();
        assert_eq!(now(), first);
        assert!(refresh() >= first);
    }
}
