//! How much load there is at each moment: a level that stays, jumps or ramps from stage to stage.
//!
//! The level is requests a second in an open loop, and connections in a closed one.

use std::{sync::Arc, time::Duration};

/// A level over time, in straight stretches. Behind the last one its end holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Course {
    stretches: Arc<[Stretch]>,
}

/// A straight piece of a course.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stretch {
    /// When it begins, in seconds.
    pub(crate) begins: f64,
    /// How long it takes, in seconds.
    pub(crate) seconds: f64,
    /// The level at its beginning and at its end, neither below zero.
    pub(crate) from: f64,
    pub(crate) to: f64,
}

// === impl Stretch ===

impl Stretch {
    /// How much the level grows in a second.
    pub(crate) fn slope(&self) -> f64 {
        if self.seconds > 0.0 { (self.to - self.from) / self.seconds } else { 0.0 }
    }

    fn ends(&self) -> f64 {
        self.begins + self.seconds
    }

    /// The level so many seconds after its beginning.
    fn level(&self, since: f64) -> f64 {
        match self.seconds {
            0.0 => self.to,
            seconds => self.from + self.slope() * since.clamp(0.0, seconds),
        }
    }
}

// === impl Course ===

impl Course {
    /// Each stage in turn: how long, and the level at its beginning and its end. There is at
    /// least one.
    pub(crate) fn new(stages: impl IntoIterator<Item = (Duration, f64, f64)>) -> Self {
        let mut begins = 0.0;
        let stretches = stages.into_iter().map(|(duration, from, to)| {
            let stretch = Stretch { begins, seconds: duration.as_secs_f64(), from, to };
            begins = stretch.ends();
            stretch
        });
        Self { stretches: stretches.collect() }
    }

    /// The same level for ever.
    pub(crate) fn constant(level: f64) -> Self {
        Self::new([(Duration::ZERO, level, level)])
    }

    /// The same later: until then it stays where it begins.
    pub(crate) fn after(&self, wait: Duration) -> Self {
        let first = self.stretches.first().map_or(0.0, |stretch| stretch.from);
        let stages = self.stretches.iter().map(|s| (seconds(s.seconds), s.from, s.to));
        Self::new(std::iter::once((wait, first, first)).chain(stages))
    }

    pub(crate) fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// Whether it never changes.
    pub(crate) fn is_constant(&self) -> bool {
        let first = self.stretches.first().map_or(0.0, |stretch| stretch.from);
        self.stretches.iter().all(|stretch| stretch.from == first && stretch.to == first)
    }

    /// The highest level.
    pub(crate) fn peak(&self) -> f64 {
        self.stretches.iter().map(|stretch| stretch.from.max(stretch.to)).fold(0.0, f64::max)
    }

    /// The level then.
    pub(crate) fn level(&self, at: Duration) -> f64 {
        let at = at.as_secs_f64();
        let next = self.stretches.partition_point(|stretch| stretch.begins <= at);
        let current = next.checked_sub(1).and_then(|index| self.stretches.get(index));
        current.map_or(0.0, |stretch| stretch.level(at - stretch.begins))
    }

    /// The first moment from `at` on when the level is high enough; `None` when it never is.
    pub(crate) fn reaches(&self, level: f64, at: Duration) -> Option<Duration> {
        let now = at.as_secs_f64();
        let last = self.stretches.len().saturating_sub(1);
        self.stretches.iter().enumerate().find_map(|(index, stretch)| {
            let endless = index == last;
            if !endless && stretch.ends() <= now.max(stretch.begins) {
                return None;
            }
            let since = (now - stretch.begins).max(0.0);
            let reached = if stretch.level(since) >= level {
                since
            } else if stretch.to >= level && since < stretch.seconds {
                (level - stretch.from) / stretch.slope()
            } else {
                return None;
            };
            Some(seconds(stretch.begins + reached).max(at))
        })
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn levels_stay_ramp_and_jump() {
        let course = Course::new([
            (10 * SECOND, 0.0, 100.0),
            (5 * SECOND, 100.0, 100.0),
            (SECOND, 7.0, 7.0),
        ]);
        for (at, level) in [(0, 0.0), (5, 50.0), (10, 100.0), (14, 100.0), (15, 7.0), (99, 7.0)] {
            assert_eq!(course.level(at * SECOND), level, "{at}");
        }
        assert_eq!((course.peak(), course.is_constant()), (100.0, false));
        let later = course.after(2 * SECOND);
        assert_eq!((later.level(SECOND), later.level(7 * SECOND)), (0.0, 50.0));
        assert!(Course::constant(3.0).after(SECOND).is_constant());
    }

    #[test]
    fn a_level_is_reached_once_it_is_there() {
        let course =
            Course::new([(10 * SECOND, 0.0, 10.0), (10 * SECOND, 10.0, 0.0), (SECOND, 4.0, 4.0)]);
        for (level, at, reached) in [
            (5.0, 0, Some(5)),
            (5.0, 7, Some(7)),
            (5.0, 16, None),
            (3.0, 18, Some(20)),
            (3.0, 99, Some(99)),
            (11.0, 0, None),
        ] {
            assert_eq!(course.reaches(level, at * SECOND), reached.map(|at| at * SECOND));
        }
    }

    proptest! {
        #[test]
        fn what_is_reached_is_high_enough(
            stages in proptest::collection::vec((0u64..5_000, 0.0..50.0, 0.0..50.0), 1..6),
            level in 0.5..50.0, at in 0u64..20_000,
        ) {
            let milliseconds = Duration::from_millis;
            let course = Course::new(stages.into_iter().map(|(ms, from, to)| (milliseconds(ms), from, to)));
            let at = milliseconds(at);
            match course.reaches(level, at) {
                Some(moment) => {
                    prop_assert!(moment >= at);
                    // A moment may be cut to the nanosecond before a stage begins.
                    let level_then = course.level(moment + Duration::from_nanos(1));
                    prop_assert!(level_then >= level - 1e-3, "{:?}", moment);
                }
                None => prop_assert!(course.level(at) < level),
            }
        }
    }
}
