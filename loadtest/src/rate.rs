//! Open loop: how often, and when each request is due.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use crate::course::{Course, Stretch};

/// Requests a second: constant, or from one rate evenly to another over the whole run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    from: f64,
    to: f64,
}

/// The slowest and the fastest rate there is, per second.
const RANGE: std::ops::RangeInclusive<f64> = 0.001..=MAX_RATE;
/// The fastest rate there is, per second.
pub const MAX_RATE: f64 = 10_000_000.0;

/// What is due then is never sent: a century. A clock can still add it.
const NEVER: Duration = Duration::from_secs(100 * 366 * 24 * 3_600);

/// No rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a rate; write requests per second such as 1000, or 100..1000 for a ramp")]
pub struct RateError {
    text: String,
}

/// When each request of a run is due, counted from the start.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pieces: Arc<[Piece]>,
}

/// A stretch of the course, and how many requests are due before and in it.
#[derive(Debug, Clone, Copy)]
struct Piece {
    stretch: Stretch,
    before: f64,
    within: f64,
}

/// One thread's share of a schedule: every so manieth request.
#[derive(Debug, Clone)]
pub(crate) struct Arrivals {
    schedule: Schedule,
    next: u64,
    step: u64,
    next_due: Duration,
}

// === impl Rate ===

impl Rate {
    /// So many requests a second; `None` outside 0.001 to 10,000,000.
    pub fn constant(per_second: f64) -> Option<Self> {
        Self::ramp(per_second, per_second)
    }

    /// From one rate to another; `None` when one is outside 0.001 to 10,000,000.
    pub fn ramp(from: f64, to: f64) -> Option<Self> {
        (RANGE.contains(&from) && RANGE.contains(&to)).then_some(Self { from, to })
    }

    /// Whether it changes, and so needs to know how long the run is.
    pub fn is_ramp(self) -> bool {
        self.from != self.to
    }

    /// Over a run this long; a constant rate needs to know nothing of it.
    pub(crate) fn course(self, duration: Option<Duration>) -> Course {
        Course::new([(duration.unwrap_or_default(), self.from, self.to)])
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            if plain { text.parse::<f64>().ok() } else { None }
        };
        let rate = match text.split_once("..") {
            Some((from, to)) => number(from).zip(number(to)),
            None => number(text).map(|rate| (rate, rate)),
        };
        rate.and_then(|(from, to)| Self::ramp(from, to))
            .ok_or_else(|| RateError { text: text.to_owned() })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ramp() { write!(f, "{}..{}", self.from, self.to) } else { self.from.fmt(f) }
    }
}

// === impl Piece ===

impl Piece {
    /// When request `index` of the stretch is due, in seconds.
    fn due(&self, index: f64) -> f64 {
        let Stretch { begins, from, .. } = self.stretch;
        if index <= 0.0 {
            return begins;
        }
        // Requests up to t are from·t + slope·t²/2; this is the root that stays exact when the
        // slope is next to nothing.
        let root = (from * from + 2.0 * self.stretch.slope() * index).max(0.0).sqrt();
        begins + 2.0 * index / (from + root)
    }

    /// How many requests are due until then, in this piece and those before it.
    fn count(&self, seconds: f64) -> f64 {
        let Stretch { begins, from, .. } = self.stretch;
        let since = (seconds - begins).max(0.0);
        self.before + since * (from + self.stretch.slope() * since / 2.0)
    }
}

// === impl Schedule ===

impl Schedule {
    /// `course` is requests a second, from the start on.
    pub(crate) fn new(course: &Course) -> Self {
        let mut before = 0.0;
        let mut pieces: Vec<_> = course
            .stretches()
            .iter()
            .map(|&stretch| {
                let within = stretch.seconds * (stretch.from + stretch.to) / 2.0;
                let piece = Piece { stretch, before, within };
                before += within;
                piece
            })
            .collect();
        // Behind the last stretch its end holds.
        if let Some(Piece { stretch: last, .. }) = pieces.last().copied() {
            let begins = last.begins + last.seconds;
            let stretch = Stretch { begins, seconds: f64::INFINITY, from: last.to, to: last.to };
            let within = if last.to > 0.0 { f64::INFINITY } else { 0.0 };
            pieces.push(Piece { stretch, before, within });
        }
        Self { pieces: pieces.into() }
    }

    /// When request `index` is due.
    fn due(&self, index: u64) -> Duration {
        let index = index as f64;
        let piece = self.pieces.iter().find(|piece| index < piece.before + piece.within);
        let seconds = piece.map(|piece| piece.due(index - piece.before));
        let due = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        due.map_or(NEVER, |due| due.min(NEVER))
    }

    /// How many requests are due before `end`.
    fn count_before(&self, end: Duration) -> u64 {
        let seconds = end.as_secs_f64();
        let piece = self.pieces.iter().rev().find(|piece| piece.stretch.begins <= seconds);
        let estimate = piece.map_or(0.0, |piece| piece.count(seconds));
        // The estimate may be off by one where a request is due just then.
        let mut count = (estimate.ceil() as u64).saturating_sub(2);
        while self.due(count) < end {
            count += 1;
        }
        count
    }
}

// === impl Arrivals ===

impl Arrivals {
    /// The share of thread `index` of `threads`.
    pub(crate) fn new(schedule: Schedule, index: usize, threads: usize) -> Self {
        let next = index as u64;
        let next_due = schedule.due(next);
        Self { schedule, next, step: threads as u64, next_due }
    }

    /// When the next request is due, counted from the start.
    pub(crate) fn next_due(&self) -> Duration {
        self.next_due
    }

    /// The next one is taken care of.
    pub(crate) fn advance(&mut self) {
        self.next += self.step;
        self.next_due = self.schedule.due(self.next);
    }

    /// How many of this share are due from `from` on and before `end`, and not taken care of.
    pub(crate) fn left_between(&self, from: Duration, end: Duration) -> u64 {
        let own_before = |time: Duration| {
            self.schedule.count_before(time).saturating_sub(self.next).div_ceil(self.step)
        };
        own_before(end).saturating_sub(own_before(from))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write() {
        assert_eq!("1000".parse(), Ok(Rate { from: 1_000.0, to: 1_000.0 }));
        assert_eq!("100..1000".parse(), Ok(Rate { from: 100.0, to: 1_000.0 }));
        assert_eq!("0.5".parse::<Rate>().unwrap().to_string(), "0.5");
        assert_eq!("10..5".parse::<Rate>().unwrap().to_string(), "10..5");
        for text in
            ["", "0", "-1", "1e3", "inf", "NaN", "1..", "..1", "1..0", "1..2..3", "99999999"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    fn schedule(rate: Rate, warm_up: Duration, duration: Option<Duration>) -> Schedule {
        Schedule::new(&rate.course(duration).after(warm_up))
    }

    #[test]
    fn a_constant_rate_is_even() {
        let schedule = schedule(Rate::constant(100.0).unwrap(), Duration::ZERO, None);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(250), Duration::from_millis(2_500));
        assert_eq!(schedule.count_before(Duration::from_secs(1)), 100);
    }

    #[test]
    fn a_ramp_meets_both_ends() {
        let (from, to) = (100.0, 1_000.0);
        let ten = Duration::from_secs(10);
        let schedule = schedule(Rate::ramp(from, to).unwrap(), Duration::from_secs(2), Some(ten));
        // 200 in two seconds of warm-up, then the mean of both rates for ten.
        assert_eq!(schedule.count_before(Duration::from_secs(2)), 200);
        assert_eq!(schedule.count_before(Duration::from_secs(12)), 200 + 5_500);
        let gap = |index: u64| (schedule.due(index + 1) - schedule.due(index)).as_secs_f64();
        assert!((gap(200) * from - 1.0).abs() < 0.01, "{}", gap(200));
        assert!((gap(5_690) * to - 1.0).abs() < 0.01, "{}", gap(5_690));
    }

    #[test]
    fn stages_follow_each_other() {
        let second = Duration::from_secs(1);
        let course =
            Course::new([(second, 0.0, 100.0), (second, 0.0, 0.0), (2 * second, 10.0, 10.0)]);
        let schedule = Schedule::new(&course);
        let counts = [0, 1_000, 2_000, 2_001, 3_000, 5_000]
            .map(|ms| schedule.count_before(Duration::from_millis(ms)));
        assert_eq!(counts, [0, 50, 50, 51, 60, 80]);
        assert_eq!(schedule.due(0), Duration::ZERO);
        // Half of a ramp's requests are due in the last 29 % of its time.
        assert!((schedule.due(25).as_secs_f64() - 0.5f64.sqrt()).abs() < 1e-9);
        let silence = Schedule::new(&Course::constant(0.0));
        assert_eq!((silence.due(0), silence.count_before(second)), (NEVER, 0));
    }

    #[test]
    fn shares_make_up_the_whole() {
        let schedule = schedule(Rate::constant(97.0).unwrap(), Duration::ZERO, None);
        let (second, end) = (Duration::from_secs(1), Duration::from_secs(3));
        let shares =
            (0..3).map(|index| Arrivals::new(schedule.clone(), index, 3).left_between(second, end));
        assert_eq!(shares.sum::<u64>(), 2 * 97);
        let mut share = Arrivals::new(schedule, 1, 3);
        let mut taken = 0;
        while share.next_due() < end {
            assert_eq!(share.left_between(Duration::ZERO, end), 97 - taken);
            share.advance();
            taken += 1;
        }
        assert_eq!((taken, share.left_between(Duration::ZERO, end)), (97, 0));
    }

    proptest! {
        #[test]
        fn time_never_runs_backwards_and_counts_agree(
            from in 0.01..5_000.0, to in 0.01..5_000.0, warm_up in 0.0..5.0, ramp in 0.01..20.0, index in 0u64..20_000,
        ) {
            let duration = Duration::from_secs_f64;
            let schedule = schedule(Rate::ramp(from, to).unwrap(), duration(warm_up), Some(duration(ramp)));
            let due = schedule.due(index);
            prop_assert!(due <= schedule.due(index + 1));
            let count = schedule.count_before(due + Duration::from_nanos(1));
            prop_assert!(schedule.due(count) > due);
            prop_assert!(count == 0 || schedule.due(count - 1) <= due);
        }
    }
}
