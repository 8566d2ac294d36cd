//! Open loop: how often, and when each request is due.

use std::{fmt, str::FromStr, time::Duration};

/// Requests a second: constant, or from one rate evenly to another over the whole run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    from: f64,
    to: f64,
}

/// The slowest and the fastest rate there is, per second.
const RANGE: std::ops::RangeInclusive<f64> = 0.001..=10_000_000.0;

/// No rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a rate; write requests per second such as 1000, or 100..1000 for a ramp")]
pub struct RateError {
    text: String,
}

/// When each request of a run is due, counted from the start: during warm-up at the rate the
/// measurement begins with, then constantly or along the ramp.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    rate: Rate,
    warm_up: f64,
    /// How long the ramp takes; behind it the last rate holds.
    ramp: f64,
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

    pub(crate) fn from(self) -> f64 {
        self.from
    }

    pub(crate) fn to(self) -> f64 {
        self.to
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

// === impl Schedule ===

impl Schedule {
    /// `ramp` is how long the measurement takes; a constant rate needs none.
    pub(crate) fn new(rate: Rate, warm_up: Duration, ramp: Option<Duration>) -> Self {
        let ramp = ramp.unwrap_or_default().as_secs_f64();
        Self { rate, warm_up: warm_up.as_secs_f64(), ramp }
    }

    /// When request `index` is due.
    fn due(&self, index: u64) -> Duration {
        let Rate { from, to } = self.rate;
        let before = from * self.warm_up;
        let index = index as f64;
        let seconds = if index < before {
            index / from
        } else {
            let index = index - before;
            let in_ramp = self.ramp * (from + to) / 2.0;
            let since = if index < in_ramp {
                // Requests up to t are from·t + slope·t²/2; this is the root that stays exact
                // when the slope is next to nothing.
                let slope = (to - from) / self.ramp;
                2.0 * index / (from + (from * from + 2.0 * slope * index).max(0.0).sqrt())
            } else {
                self.ramp + (index - in_ramp) / to
            };
            self.warm_up + since
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How many requests are due before `end`.
    fn count_before(&self, end: Duration) -> u64 {
        let Rate { from, to } = self.rate;
        let seconds = end.as_secs_f64();
        let in_warm_up = seconds.min(self.warm_up) * from;
        let since = (seconds - self.warm_up).max(0.0);
        let in_ramp = since.min(self.ramp);
        let slope = if self.ramp > 0.0 { (to - from) / self.ramp } else { 0.0 };
        let behind = (since - self.ramp).max(0.0) * to;
        let estimate = in_warm_up + in_ramp * (from + slope * in_ramp / 2.0) + behind;
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
        Self { schedule, next, step: threads as u64, next_due: schedule.due(next) }
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

    #[test]
    fn a_constant_rate_is_even() {
        let schedule = Schedule::new(Rate::constant(100.0).unwrap(), Duration::ZERO, None);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(250), Duration::from_millis(2_500));
        assert_eq!(schedule.count_before(Duration::from_secs(1)), 100);
    }

    #[test]
    fn a_ramp_meets_both_ends() {
        let (from, to) = (100.0, 1_000.0);
        let ten = Duration::from_secs(10);
        let schedule =
            Schedule::new(Rate::ramp(from, to).unwrap(), Duration::from_secs(2), Some(ten));
        // 200 in two seconds of warm-up, then the mean of both rates for ten.
        assert_eq!(schedule.count_before(Duration::from_secs(2)), 200);
        assert_eq!(schedule.count_before(Duration::from_secs(12)), 200 + 5_500);
        let gap = |index: u64| (schedule.due(index + 1) - schedule.due(index)).as_secs_f64();
        assert!((gap(200) * from - 1.0).abs() < 0.01, "{}", gap(200));
        assert!((gap(5_690) * to - 1.0).abs() < 0.01, "{}", gap(5_690));
    }

    #[test]
    fn shares_make_up_the_whole() {
        let schedule = Schedule::new(Rate::constant(97.0).unwrap(), Duration::ZERO, None);
        let (second, end) = (Duration::from_secs(1), Duration::from_secs(3));
        let shares =
            (0..3).map(|index| Arrivals::new(schedule, index, 3).left_between(second, end));
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
            let schedule = Schedule::new(Rate::ramp(from, to).unwrap(), duration(warm_up), Some(duration(ramp)));
            let due = schedule.due(index);
            prop_assert!(due <= schedule.due(index + 1));
            let count = schedule.count_before(due + Duration::from_nanos(1));
            prop_assert!(schedule.due(count) > due);
            prop_assert!(count == 0 || schedule.due(count - 1) <= due);
        }
    }
}
