//! Letting events gather before a loop turn, when that costs nobody much.
//!
//! A shard that wakes for every event pays a wake-up, a system call and cold caches for
//! each, and so does every process it wakes in turn. Network cards know the same problem
//! and coalesce their interrupts; a shard does so with its wake-ups: before it waits for
//! sockets it sleeps a moment, so that one turn serves what several would have. The moment
//! is a small share of what exchanges with the servers behind take anyway, and it is left
//! out unless several of them would end in it, so a few connections or a slow trickle of
//! requests are answered as fast as ever. The figures are in
//! `docs/adr/0006-coalesced-wake-ups.md`.

use std::{cell::Cell, num::NonZeroU64, time::Duration};

use crate::clock::{self, CoarseInstant};

/// Nanoseconds over which exchanges are counted before the moment is chosen anew.
const WINDOW: u64 = 4_000_000;
/// The moment is at most this share of the mean exchange: a fifth.
const SHARE: u64 = 5;
/// Nanoseconds below which sleeping saves little: servers that answer so fast are waited for.
const SHORTEST: u64 = 40_000;
/// Nanoseconds by which the kernel may be late; its default of 50 µs (prctl(2)) is as long
/// as the moment itself.
const SLACK: NonZeroU64 = NonZeroU64::new(1_000).expect("it is not zero");

thread_local! {
    static COALESCE: Coalesce = const { Coalesce::new() };
}

/// Chooses the moment by the exchanges that ended lately.
struct Coalesce {
    /// Nanoseconds; 0: never sleep.
    longest: Cell<u64>,
    /// Nanoseconds, chosen when the last window ended; 0: do not sleep.
    moment: Cell<u64>,
    /// Nanoseconds of the clock.
    window_began: Cell<u64>,
    /// Exchanges that ended in this window.
    ended: Cell<u64>,
    /// Nanoseconds they took in all.
    took: Cell<u64>,
}

impl Coalesce {
    const fn new() -> Self {
        Self {
            longest: Cell::new(0),
            moment: Cell::new(0),
            window_began: Cell::new(0),
            ended: Cell::new(0),
            took: Cell::new(0),
        }
    }

    /// An exchange ended that took so many nanoseconds. A long one counts as one that
    /// allows for the longest moment: a few that wait for minutes say nothing of the others.
    fn note(&self, took: u64) {
        self.ended.set(self.ended.get() + 1);
        self.took.set(self.took.get() + took.min(self.longest.get() * SHARE));
    }

    /// Nanoseconds to sleep now, at the time `now`.
    fn moment(&self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.window_began.get());
        if elapsed >= WINDOW {
            self.moment.set(self.choose(elapsed));
            self.window_began.set(now);
            self.ended.set(0);
            self.took.set(0);
        }
        self.moment.get()
    }

    fn choose(&self, elapsed: u64) -> u64 {
        let ended = self.ended.get();
        if ended == 0 {
            return 0;
        }
        let moment = (self.took.get() / ended / SHARE).min(self.longest.get());
        // An exchange in each moment is two events or more: its request and its answer.
        let gathers = moment.saturating_mul(ended) >= elapsed;
        if moment >= SHORTEST && gathers { moment } else { 0 }
    }
}

/// Sets the longest moment of this thread's shard; zero: its wake-ups are not coalesced.
pub(crate) fn set_longest(longest: Duration) {
    let nanoseconds = longest.as_nanos().try_into().unwrap_or(u64::MAX / SHARE);
    COALESCE.with(|coalesce| coalesce.longest.set(nanoseconds));
    if nanoseconds > 0
        && let Err(error) = rustix::thread::set_current_timer_slack(Some(SLACK))
    {
        tracing::warn!(%error, "a shard's sleeps may be longer than asked for");
    }
}

/// A server answered what was sent to it at `sent`: tells the shard how long its exchanges
/// take, which is what its wake-ups are coalesced by.
#[inline]
pub fn answered(sent: CoarseInstant) {
    COALESCE.with(|coalesce| {
        if coalesce.longest.get() > 0 {
            coalesce.note(clock::now().since(sent).as_nanos() as u64);
        }
    });
}

/// Sleeps before a wait for sockets, when that is worth it.
pub(super) fn rest() {
    let moment = COALESCE.with(|coalesce| match coalesce.longest.get() {
        0 => 0,
        _ => coalesce.moment(clock::now().nanoseconds()),
    });
    if moment > 0 {
        std::thread::sleep(Duration::from_nanos(moment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moment after one window of `per_second` exchanges of `took` microseconds each.
    fn moment(longest: u64, per_second: u64, took: u64) -> u64 {
        let coalesce = Coalesce::new();
        coalesce.longest.set(longest * 1_000);
        let window = 10_000_000;
        for _ in 0..per_second / 100 {
            coalesce.note(took * 1_000);
        }
        coalesce.moment(window) / 1_000
    }

    #[test]
    fn a_moment_is_a_fifth_of_an_exchange_and_gathers_several() {
        for (longest, per_second, took, expected) in [
            // Twenty servers that share a core.
            (150, 20_000, 600, 120),
            (150, 15_000, 1_300, 150),
            // One client, or a few, of a server nearby: each waits for its own answer alone.
            (150, 12_000, 80, 0),
            (150, 60_000, 100, 0),
            (150, 13_000, 260, 0),
            // A slow trickle.
            (150, 1_000, 20_000, 0),
            (150, 0, 0, 0),
            // Many, of a far server: never longer than allowed.
            (150, 50_000, 5_000, 150),
            (50, 100_000, 5_000, 50),
            (30, 100_000, 5_000, 0),
            (0, 50_000, 5_000, 0),
        ] {
            assert_eq!(moment(longest, per_second, took), expected, "{per_second}/s of {took} µs");
        }
    }

    #[test]
    fn a_few_that_take_long_do_not_delay_the_others() {
        let coalesce = Coalesce::new();
        coalesce.longest.set(150_000);
        for number in 0..1_000 {
            coalesce.note(if number % 100 == 0 { 30_000_000_000 } else { 100_000 });
        }
        assert_eq!(coalesce.moment(10_000_000), 0);
    }

    #[test]
    fn it_is_chosen_anew_when_the_load_changes() {
        let coalesce = Coalesce::new();
        coalesce.longest.set(150_000);
        (0..200).for_each(|_| coalesce.note(2_000_000));
        assert_eq!(coalesce.moment(WINDOW), 150_000);
        assert_eq!(coalesce.moment(WINDOW + 1), 150_000, "the window goes on");
        coalesce.note(2_000_000);
        assert_eq!(coalesce.moment(3 * WINDOW), 0, "there was next to nothing");
    }
}
