//! A bounded memory of points in time.

use std::{collections::VecDeque, time::Duration};

use bs9_api::types::{HistoryPoint, HistoryStatus};
use bs9_config::History as HistoryConfig;
use jiff::{SignedDuration, Timestamp};

/// Points kept at most, whatever the configuration says.
const POINT_LIMIT: usize = 100_000;

/// Points of the last while, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    points: VecDeque<HistoryPoint>,
    capacity: usize,
    keep: SignedDuration,
    spacing: SignedDuration,
}

impl History {
    /// `poll_interval` is how often a point is offered.
    pub(crate) fn new(config: &HistoryConfig, poll_interval: Duration) -> Self {
        let capacity = config.keep.div_duration_f64(config.resolution).ceil();
        // Polls come a little early or late: half an interval makes no difference.
        let slack = poll_interval.min(config.resolution) / 2;
        Self {
            points: VecDeque::new(),
            // A float becomes the nearest integer there is, NaN becomes 0.
            capacity: (capacity as usize).clamp(1, POINT_LIMIT),
            keep: signed(config.keep),
            spacing: signed(config.resolution - slack),
        }
    }

    /// Keeps `point` if it is time for one, or if it says that the data plane
    /// came or went, and forgets what is too old or too much.
    pub(crate) fn offer(&mut self, point: HistoryPoint) {
        let now = point.at;
        let due = self.points.back().is_none_or(|last| {
            let passed = now.duration_since(last.at);
            // A clock that was set back makes the next point due as well.
            passed >= self.spacing || passed.is_negative() || point.reachable != last.reachable
        });
        if due {
            if self.points.len() == self.capacity {
                self.points.pop_front();
            }
            self.points.push_back(point);
        }
        while let Some(oldest) = self.points.front()
            && now.duration_since(oldest.at) > self.keep
        {
            self.points.pop_front();
        }
    }

    /// Points of the last `seconds` before `now`; of all time when `None`.
    pub(crate) fn last(&self, now: Timestamp, seconds: Option<u64>) -> Vec<HistoryPoint> {
        let from = seconds
            .and_then(|seconds| i64::try_from(seconds).ok())
            .and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok())
            .unwrap_or(Timestamp::MIN);
        self.points.iter().filter(|point| point.at >= from).cloned().collect()
    }

    pub(crate) fn status(&self) -> HistoryStatus {
        HistoryStatus {
            points: self.points.len() as u64,
            oldest_at: self.points.front().map(|point| point.at),
            capacity_points: self.capacity as u64,
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(at: Timestamp, reachable: bool) -> HistoryPoint {
        HistoryPoint {
            at,
            reachable,
            open_connections: 0,
            unhealthy_endpoints: 0,
            clients_waiting: 0,
            rates: None,
        }
    }

    fn millis(at: i64) -> Timestamp {
        Timestamp::from_millisecond(at).unwrap()
    }

    fn history(keep_seconds: u64, resolution_seconds: u64) -> History {
        let config = HistoryConfig {
            keep: Duration::from_secs(keep_seconds),
            resolution: Duration::from_secs(resolution_seconds),
            store: None,
        };
        History::new(&config, Duration::from_secs(1))
    }

    fn times(history: &History) -> Vec<i64> {
        history.points.iter().map(|point| point.at.as_millisecond()).collect()
    }

    #[test]
    fn the_default_is_900_points() {
        assert_eq!(history(900, 1).status().capacity_points, 900);
    }

    #[test]
    fn a_nonsensical_size_is_still_bounded() {
        assert_eq!(history(u64::MAX, 1).capacity, POINT_LIMIT);
        assert_eq!(history(1, 0).capacity, POINT_LIMIT);
        assert_eq!(history(0, 0).capacity, 1);
        assert_eq!(history(1, 60).capacity, 1);
    }

    #[test]
    fn polls_that_come_a_little_early_are_kept() {
        let mut history = history(60, 1);
        for at in [0, 990, 1995, 2980] {
            history.offer(point(millis(at), true));
        }
        assert_eq!(times(&history), [0, 990, 1995, 2980]);
    }

    #[test]
    fn between_two_due_points_only_comings_and_goings_are_kept() {
        let mut history = history(60, 10);
        let offers = [(0, true), (1000, true), (2000, false), (3000, false), (4000, true)];
        for (at, reachable) in offers {
            history.offer(point(millis(at), reachable));
        }
        assert_eq!(times(&history), [0, 2000, 4000]);
    }

    #[test]
    fn the_last_seconds_are_cut_off_exactly() {
        let mut history = history(60, 1);
        for at in 0..10 {
            history.offer(point(millis(at * 1000), true));
        }
        let last = |seconds| history.last(millis(9000), seconds).len();
        assert_eq!(last(None), 10);
        assert_eq!(last(Some(0)), 1);
        assert_eq!(last(Some(3)), 4);
        assert_eq!(last(Some(u64::MAX)), 10);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_or_older_than_it_should(
            keep in 0..100_u64,
            resolution in 0..20_u64,
            steps in prop::collection::vec((-2000..20_000_i64, any::<bool>()), 1..300),
        ) {
            let mut history = history(keep, resolution);
            let mut now = 1_000_000;
            for (step, reachable) in steps {
                now += step;
                history.offer(point(millis(now), reachable));
                let status = history.status();
                prop_assert!(status.points <= status.capacity_points);
                prop_assert!(history.points.capacity() <= 4 * POINT_LIMIT);
                // Where the clock was set back, older points may stand further in.
                if let Some(oldest) = status.oldest_at {
                    prop_assert!(millis(now).duration_since(oldest) <= history.keep);
                }
            }
        }

        #[test]
        fn with_a_steady_clock_everything_is_in_order(
            steps in prop::collection::vec((0..5_000_i64, any::<bool>()), 1..300),
        ) {
            let mut history = history(60, 2);
            let mut now = 0;
            for (step, reachable) in steps {
                now += step;
                history.offer(point(millis(now), reachable));
                let times = times(&history);
                prop_assert!(times.is_sorted());
                prop_assert!(times.iter().all(|at| now - at <= 60_000));
                let last = history.points.back().unwrap();
                prop_assert!(last.reachable == reachable, "the last state is never lost");
            }
        }
    }
}
