//! Closed loop: which connections take part now, and which of them pause.

use std::{
    io,
    time::{Duration, Instant},
};

use mio::Registry;

use super::{TIMER, alarm::Alarm};
use crate::course::Course;

/// One thread's connections of a closed loop.
#[derive(Debug)]
pub(super) struct Crowd {
    members: Members,
    /// Lanes that do nothing, by when that ends. Each is in here once at most.
    alarm: Alarm,
}

/// How many connections take part at each moment, and which of them are this thread's: every so
/// manieth one.
#[derive(Debug, Clone)]
pub(crate) struct Members {
    /// From the start on, warm-up included.
    course: Course,
    first: usize,
    step: usize,
    /// All of them, always.
    constant: bool,
}

// === impl Members ===

impl Members {
    /// The share of thread `index` of `threads`.
    pub(crate) fn new(course: Course, index: usize, threads: usize) -> Self {
        let constant = course.is_constant();
        Self { course, first: index, step: threads, constant }
    }

    /// Whether this connection takes part then, and if not, when it does next.
    fn next_part(&self, slot: usize, at: Duration) -> Option<Duration> {
        if self.constant {
            return Some(at);
        }
        let number = self.first + slot * self.step;
        // It is in as soon as the level is nearer to it than to the one before.
        self.course.reaches(number as f64 + 0.5, at)
    }

    /// How many of `slots` connections take part from the start.
    pub(crate) fn at_start(&self, slots: usize) -> usize {
        let takes_part =
            |slot: &usize| self.next_part(*slot, Duration::ZERO) == Some(Duration::ZERO);
        (0..slots).filter(takes_part).count()
    }
}

/// What a connection that has nothing to do does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Sends its next request.
    Send,
    /// Nothing; it is woken later.
    Pause,
    /// It takes no part for a while, perhaps for ever.
    Leave,
}

// === impl Crowd ===

impl Crowd {
    pub(super) fn new(members: Members, registry: &Registry) -> io::Result<Self> {
        Ok(Self { members, alarm: Alarm::new(registry, TIMER)? })
    }

    /// What a lane of the connection `slot` does `now`, when it first pauses for `pause`.
    pub(super) fn turn(
        &mut self,
        lane: usize,
        slot: usize,
        start: Instant,
        now: Instant,
        pause: Duration,
    ) -> Turn {
        if !pause.is_zero() {
            self.alarm.sleep(lane, now + pause);
            return Turn::Pause;
        }
        let since = now.saturating_duration_since(start);
        match self.members.next_part(slot, since) {
            Some(at) if at <= since => Turn::Send,
            Some(at) => {
                // A level that is never reached for all a clock can tell.
                if let Some(at) = start.checked_add(at) {
                    self.alarm.sleep(lane, at);
                }
                Turn::Leave
            }
            None => Turn::Leave,
        }
    }

    /// A lane whose time has come.
    pub(super) fn wake(&mut self, now: Instant) -> Option<usize> {
        self.alarm.wake(now).map(|(lane, _)| lane)
    }

    /// Sets the timer for the next one. Says how long to wait at most when it is already due.
    pub(super) fn arm(&mut self, now: Instant) -> io::Result<Option<Duration>> {
        self.alarm.arm(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn connections_come_and_go_with_the_level() {
        let course = Course::new([(10 * SECOND, 0.0, 10.0), (10 * SECOND, 10.0, 0.0)]);
        let members = [0, 1].map(|index| Members::new(course.clone(), index, 2));
        let active = |at: Duration| {
            let of = |members: &Members| {
                (0..5).filter(|slot| members.next_part(*slot, at) == Some(at)).count()
            };
            members.iter().map(of).sum::<usize>()
        };
        for (at, expected) in [(0, 0), (3, 3), (10, 10), (14, 6), (20, 0)] {
            // Just behind, where a level has been reached for sure.
            let at = at * SECOND + Duration::from_nanos(1);
            assert_eq!(active(at), expected, "{at:?}");
        }
        assert_eq!(members[0].next_part(1, Duration::ZERO), Some(Duration::from_millis(2_500)));
        assert_eq!(members[1].next_part(4, 11 * SECOND), None);
        assert_eq!(members[0].at_start(5), 0);
        assert_eq!(Members::new(Course::constant(10.0), 1, 2).at_start(5), 5);
    }

    #[test]
    fn who_pauses_is_woken_and_who_does_not_sends() {
        let poll = mio::Poll::new().unwrap();
        let members = Members::new(Course::constant(2.0), 0, 1);
        let mut crowd = Crowd::new(members, poll.registry()).unwrap();
        let start = Instant::now();
        assert_eq!(crowd.turn(0, 0, start, start, Duration::ZERO), Turn::Send);
        assert_eq!(crowd.turn(1, 1, start, start, SECOND), Turn::Pause);
        assert_eq!(crowd.wake(start), None);
        assert_eq!(crowd.wake(start + SECOND), Some(1));
        assert_eq!(crowd.wake(start + SECOND), None);
    }
}
