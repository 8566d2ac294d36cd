//! Who is to be woken when.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    time::{Duration, Instant},
};

use mio::{Registry, Token};

use super::precise_timer::PreciseTimer;

/// Wakes the event loop for the earliest of those who sleep.
#[derive(Debug)]
pub(super) struct Alarm {
    /// By when their sleep ends.
    sleepers: BinaryHeap<Reverse<(Instant, usize)>>,
    timer: PreciseTimer,
    armed: Option<Instant>,
}

impl Alarm {
    /// An alarm whose events have this token. Nobody sleeps yet.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = PreciseTimer::new(registry, token)?;
        Ok(Self { sleepers: BinaryHeap::new(), timer, armed: None })
    }

    /// `who` sleeps until then.
    pub(super) fn sleep(&mut self, who: usize, until: Instant) {
        self.sleepers.push(Reverse((until, who)));
    }

    /// One whose time has come, and when it had come.
    pub(super) fn wake(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let Reverse((at, _)) = self.sleepers.peek()?;
        if *at > now {
            return None;
        }
        self.sleepers.pop().map(|Reverse((at, who))| (who, at))
    }

    /// Sets the timer for the next one. Says how long to wait at most when it is already due.
    pub(super) fn arm(&mut self, now: Instant) -> io::Result<Option<Duration>> {
        let Some(Reverse((at, _))) = self.sleepers.peek() else { return Ok(None) };
        let wait = at.saturating_duration_since(now);
        if wait.is_zero() {
            return Ok(Some(Duration::ZERO));
        }
        if self.armed != Some(*at) {
            self.timer.set(wait)?;
            self.armed = Some(*at);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sleepers_wake_in_order() {
        let poll = mio::Poll::new().unwrap();
        let mut alarm = Alarm::new(poll.registry(), Token(0)).unwrap();
        let start = Instant::now();
        assert_eq!(alarm.arm(start).unwrap(), None);
        alarm.sleep(1, start + 2 * SECOND);
        alarm.sleep(2, start + SECOND);
        assert_eq!(alarm.arm(start).unwrap(), None);
        assert_eq!(alarm.wake(start), None);
        assert_eq!(alarm.arm(start + SECOND).unwrap(), Some(Duration::ZERO));
        let woken: Vec<_> = std::iter::from_fn(|| alarm.wake(start + 3 * SECOND)).collect();
        assert_eq!(woken, [(2, start + SECOND), (1, start + 2 * SECOND)]);
    }
}
