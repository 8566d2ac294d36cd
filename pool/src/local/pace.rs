//! When to connect.

use std::{cell::Cell, time::Duration};

use bs9_net::CoarseInstant;

use crate::histogram::Histogram;

/// First and longest pause after a failed login.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(100);
pub(crate) const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Transactions after which their mean is taken anew.
const SAMPLE: u64 = 32;

/// When the next login may be tried after failures.
pub(crate) struct RetryPace {
    /// Until when none is; `None`: none has failed since one succeeded.
    until: Cell<Option<CoarseInstant>>,
    delay: Cell<Duration>,
    /// The one after a pause is under way.
    trying: Cell<bool>,
}

impl Default for RetryPace {
    fn default() -> Self {
        let delay = Cell::new(RETRY_DELAY);
        Self { until: Cell::default(), delay, trying: Cell::default() }
    }
}

impl RetryPace {
    pub(crate) fn reset(&self) {
        self.until.set(None);
        self.delay.set(RETRY_DELAY);
        self.trying.set(false);
    }

    /// Waits longer each time.
    pub(crate) fn failed(&self) {
        let delay = self.delay.get();
        self.until.set(Some(bs9_net::now().plus(delay)));
        self.delay.set((delay * 2).min(MAX_RETRY_DELAY));
        self.trying.set(false);
    }

    /// Likewise, for one of several that were tried at a time: what failed beside those that began
    /// at `began`, and was counted, failed for the same reason.
    pub(super) fn failed_since(&self, began: CoarseInstant) {
        if self.until.get().is_none_or(|until| until <= began) {
            self.failed();
        }
    }

    /// A login begins.
    pub(super) fn begin(&self) {
        self.trying.set(self.until.get().is_some());
    }

    /// Whether the one under way is to tell first if the server is there again.
    pub(super) fn is_trying(&self) -> bool {
        self.trying.get()
    }

    /// How long until the next try; `None`: now.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let left = self.until.get()?.since(bs9_net::now());
        (!left.is_zero()).then_some(left)
    }
}

/// Whether a server that is busy will come back sooner than another can be had.
///
/// A login costs milliseconds, a fork on the server, and a connection for the time to come; a
/// transaction often takes less. So the first client of a queue waits for as long as a login
/// would take before one is begun: if servers come back, the queue is empty by then. A queue that
/// lasts that long is worth connecting for.
#[derive(Default)]
pub(super) struct Expectation {
    /// How long logins have taken lately; zero: none was seen.
    login: Cell<Duration>,
    transaction: Cell<Duration>,
    /// What the histogram held when that was computed.
    seen: Cell<(u64, u64)>,
}

impl Expectation {
    /// A login has succeeded in this time.
    pub(super) fn note_login(&self, took: Duration) {
        let mean = self.login.get();
        let next = if mean.is_zero() { took } else { (mean * 3 + took) / 4 };
        self.login.set(next);
    }

    fn note_transactions(&self, times: &Histogram) {
        let (count, sum) = (times.count(), times.sum_nanoseconds());
        let (seen_count, seen_sum) = self.seen.get();
        let fresh = count.wrapping_sub(seen_count);
        if fresh >= SAMPLE || seen_count == 0 && fresh > 0 {
            self.transaction.set(Duration::from_nanos(sum.wrapping_sub(seen_sum) / fresh));
            self.seen.set((count, sum));
        }
    }

    /// How long to wait for one of the `busy` servers, with clients waiting for `waited` already
    /// without a break; `None`: not at all.
    pub(super) fn patience(
        &self,
        times: &Histogram,
        busy: u64,
        waited: Duration,
    ) -> Option<Duration> {
        self.note_transactions(times);
        let (login, transaction) = (self.login.get(), self.transaction.get());
        let comes_free = busy > 0 && !transaction.is_zero() && transaction < login;
        let left = login.saturating_sub(waited);
        (comes_free && !left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_that_fail_together_are_one_failure() {
        let pace = RetryPace::default();
        let began = bs9_net::now();
        pace.begin();
        assert!(!pace.is_trying(), "nothing has failed");
        for _ in 0..8 {
            pace.failed_since(began);
        }
        assert_eq!(pace.delay.get(), 2 * RETRY_DELAY);
        // The first behind the pause goes alone, and counts by itself; not the late ones of before.
        let again = pace.until.get().expect("a pause");
        pace.begin();
        pace.failed_since(began);
        assert!(pace.is_trying());
        pace.failed_since(again);
        assert_eq!((pace.is_trying(), pace.delay.get()), (false, 4 * RETRY_DELAY));
        pace.begin();
        pace.reset();
        assert_eq!((pace.is_trying(), pace.delay.get()), (false, RETRY_DELAY));
        assert_eq!(pace.remaining(), None);
    }

    #[test]
    fn a_server_that_comes_back_soon_is_waited_for() {
        let ms = Duration::from_millis;
        let times = Histogram::default();
        let expectation = Expectation::default();
        assert_eq!(expectation.patience(&times, 1, ms(0)), None, "nothing is known");
        expectation.note_login(ms(8));
        times.record(ms(1));
        assert_eq!(expectation.patience(&times, 1, ms(0)), Some(ms(8)));
        assert_eq!(expectation.patience(&times, 1, ms(6)), Some(ms(2)));
        assert_eq!(expectation.patience(&times, 1, ms(8)), None, "it did not come");
        assert_eq!(expectation.patience(&times, 0, ms(0)), None, "there is none");
        for _ in 0..SAMPLE {
            times.record(ms(100));
        }
        assert_eq!(expectation.patience(&times, 1, ms(0)), None, "they take too long");
    }
}
