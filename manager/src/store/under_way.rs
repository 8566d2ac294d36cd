//! The newest points, whose time is not over yet: put together from finer ones.

use bs9_api::types::{SeriesPoint, SeriesPoints};
use jiff::Timestamp;

use super::{
    StoreError,
    level::Level,
    query::{Found, Range},
};

/// Adds to `found`, which `look` gave for `range`, the points that are being measured at `now`,
/// and those that have just ended and are not written yet. How latencies are spread is not
/// known of them.
pub(super) fn complete(
    found: &mut Found,
    range: &Range,
    now: i64,
    look: &mut dyn FnMut(&Range) -> Result<Found, StoreError>,
) -> Result<(), StoreError> {
    let level = range.level;
    let Some(finer) = level.finer() else { return Ok(()) };
    let from = (level.floor(now) - level.seconds()).max(range.from);
    if found.truncated || from >= range.to {
        return Ok(());
    }
    let parts = Range { level: finer, from, ..range.clone() };
    let mut fresh = look(&parts)?;
    complete(&mut fresh, &parts, now, look)?;
    found.damaged += fresh.damaged;
    found.truncated = fresh.truncated;
    let mut room =
        range.limit.saturating_sub(found.series.iter().map(|series| series.points.len()).sum());
    for SeriesPoints { of, points } in fresh.series {
        let points = gathered(points, level);
        let place = found.series.binary_search_by(|known| known.of.cmp(&of));
        let last = place.ok().and_then(|at| found.series[at].points.last()).map(|point| point.at);
        let mut new: Vec<_> =
            points.into_iter().filter(|point| last.is_none_or(|last| point.at > last)).collect();
        found.truncated |= new.len() > room;
        new.truncate(room);
        room -= new.len();
        match place {
            Ok(at) => found.series[at].points.append(&mut new),
            Err(at) if !new.is_empty() => {
                found.series.insert(at, SeriesPoints { of, points: new });
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// Points of `level` from finer ones, which come in order.
fn gathered(finer: Vec<SeriesPoint>, level: Level) -> Vec<SeriesPoint> {
    let mut points: Vec<SeriesPoint> = Vec::new();
    for part in finer {
        let at = Timestamp::from_second(level.floor(part.at.as_second())).unwrap_or(part.at);
        match points.last_mut().filter(|point| point.at == at) {
            Some(point) => {
                point.min = point.min.min(part.min);
                point.max = point.max.max(part.max);
                point.sum += part.sum;
                point.count += part.count;
            }
            None => points.push(SeriesPoint { at, p50: None, p95: None, p99: None, ..part }),
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use bs9_api::types::SeriesName;

    use super::*;

    fn point(at: i64, value: f64) -> SeriesPoint {
        SeriesPoint {
            at: Timestamp::from_second(at).unwrap(),
            min: value,
            max: value,
            sum: value,
            count: 1,
            p50: Some(value),
            p95: None,
            p99: None,
        }
    }

    fn series(name: &str, points: Vec<SeriesPoint>) -> SeriesPoints {
        SeriesPoints { of: SeriesName { name: name.into(), subject: String::new() }, points }
    }

    /// A manager that has run from 6 s to 47 s of an hour: its store has ended steps only.
    fn stored(range: &Range) -> Result<Found, StoreError> {
        let steps = |level: Level| {
            let ended = (6..47).map(|at| level.floor(at)).filter(|at| at + level.seconds() <= 47);
            let mut all: Vec<i64> = ended.collect();
            all.dedup();
            all.retain(|at| (range.from..range.to).contains(at));
            all.into_iter().map(|at| point(at, at as f64)).collect::<Vec<_>>()
        };
        let points = steps(range.level);
        let series = if points.is_empty() { Vec::new() } else { vec![series("a", points)] };
        Ok(Found { series, ..Found::default() })
    }

    fn asked(level: Level, limit: usize) -> Found {
        let range = Range { level, from: 0, to: 48, limit };
        let mut found = stored(&range).unwrap();
        complete(&mut found, &range, 47, &mut |range| stored(range)).unwrap();
        found
    }

    #[test]
    fn what_is_under_way_is_told_from_finer_points() {
        let tens = asked(Level::TenSeconds, 100);
        let times: Vec<_> = tens.series[0].points.iter().map(|p| p.at.as_second()).collect();
        assert_eq!(times, [0, 10, 20, 30, 40]);
        let newest = tens.series[0].points.last().unwrap();
        assert_eq!((newest.min, newest.max, newest.count, newest.p50), (40.0, 46.0, 7, None));
        // No minute, and no hour, has ended.
        for level in [Level::Minute, Level::Hour] {
            assert!(stored(&Range { level, from: 0, to: 48, limit: 9 }).unwrap().series.is_empty());
            let found = asked(level, 100);
            let [point] = &found.series[0].points[..] else { panic!("{found:?}") };
            assert_eq!((point.at.as_second(), point.max), (0, 46.0));
        }
        assert_eq!(asked(Level::Second, 100).series[0].points.len(), 41);
        let few = asked(Level::TenSeconds, 4);
        assert!(few.truncated && few.series[0].points.len() == 4, "{few:?}");
    }

    #[test]
    fn what_is_long_over_is_not_looked_at_again() {
        let range = Range { level: Level::Minute, from: 0, to: 600, limit: 9 };
        let mut found = Found::default();
        complete(&mut found, &range, 10_000, &mut |_| panic!("nothing is under way")).unwrap();
        assert!(found.series.is_empty());
    }
}
