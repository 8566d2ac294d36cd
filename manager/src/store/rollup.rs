//! From samples to points at every resolution.

use std::collections::{BTreeMap, HashMap};

use bs9_api::types::SeriesName;

use super::{level::Level, point::Point};

/// Series that are known, live or not, for each that may be live.
const KNOWN_PER_LIVE: usize = 10;
/// A series that was silent for so long is not live any more.
const SILENCE_SECONDS: i64 = 3_600;

/// What one tick leaves to be written.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// When, seconds since 1970.
    pub(crate) at: i64,
    /// Series that have (again) become live.
    pub(crate) series: Vec<(u32, SeriesName)>,
    /// Steps that are over, each in order of series.
    pub(crate) steps: Vec<Step>,
}

/// The points of every series within one step of a level.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) level: Level,
    pub(crate) at: i64,
    pub(crate) points: Vec<(u32, Point)>,
}

/// Adds samples up; one for the whole manager.
#[derive(Debug)]
pub(crate) struct Rollup {
    max_live: usize,
    /// Metric, then subject.
    known: HashMap<String, HashMap<String, u32>>,
    known_count: usize,
    next: u32,
    /// When each live series had its last sample.
    live: HashMap<u32, i64>,
    left_out: u64,
    fresh: Vec<(u32, SeriesName)>,
    open: [OpenStep; 4],
    /// Whether the end closes every level, or the finest only.
    ends_whole: bool,
}

#[derive(Debug, Default)]
struct OpenStep {
    at: Option<i64>,
    points: BTreeMap<u32, Point>,
}

impl Rollup {
    /// `known` are the series a store holds already.
    pub(crate) fn new(max_live: usize, known: impl IntoIterator<Item = (u32, SeriesName)>) -> Self {
        let mut rollup = Self {
            max_live,
            known: HashMap::new(),
            known_count: 0,
            next: 1,
            live: HashMap::new(),
            left_out: 0,
            fresh: Vec::new(),
            open: Default::default(),
            ends_whole: false,
        };
        for (id, SeriesName { name, subject }) in known {
            rollup.next = rollup.next.max(id.saturating_add(1));
            rollup.known_count += 1;
            rollup.known.entry(name).or_default().insert(subject, id);
        }
        rollup
    }

    /// For a store that adds up by itself what comes in parts: the end hands over what
    /// is open at every level.
    pub(crate) fn that_ends_whole(mut self) -> Self {
        self.ends_whole = true;
        self
    }

    /// Series that had a sample within the last hour.
    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    /// The live series, every ten minutes; else none: it is enough to note them now
    /// and then.
    pub(crate) fn live_ids(&self, at: i64) -> Vec<u32> {
        if at.rem_euclid(600) == 0 { self.live.keys().copied().collect() } else { Vec::new() }
    }

    /// Samples of series that are not kept, since the last [`tick`](Self::tick).
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Begins a tick: steps that are over by `at` go into the batch.
    pub(crate) fn tick(&mut self, at: i64) -> Batch {
        self.left_out = 0;
        let mut batch = Batch { at, ..Batch::default() };
        for level in Level::ALL {
            self.close_before(level, level.floor(at), &mut batch);
        }
        if at.rem_euclid(60) == 0 {
            self.live.retain(|_, last| at - *last < SILENCE_SECONDS);
        }
        batch
    }

    /// Everything that is open, as if its time were over: before the end.
    pub(crate) fn finish(&mut self, at: i64) -> Batch {
        let mut batch = self.tick(at);
        // Unless they are handed over, coarser steps are added up again from those of
        // a second at the next start.
        let levels = if self.ends_whole { &Level::ALL[..] } else { &[Level::Second] };
        for level in levels {
            self.close_before(*level, i64::MAX, &mut batch);
        }
        self.seal(&mut batch);
        batch
    }

    /// Ends a tick: what became live during it goes into the batch.
    pub(crate) fn seal(&mut self, batch: &mut Batch) {
        batch.series.append(&mut self.fresh);
    }

    fn close_before(&mut self, level: Level, floor: i64, batch: &mut Batch) {
        let open = &mut self.open[level.index()];
        // A clock that was set back ends the step as well.
        if let Some(at) = open.at.filter(|at| *at != floor) {
            let points: Vec<_> = std::mem::take(&mut open.points).into_iter().collect();
            if !points.is_empty() {
                batch.steps.push(Step { level, at, points });
            }
            open.at = None;
        }
    }

    /// Takes in a sample at `at`.
    pub(crate) fn add(&mut self, at: i64, name: &str, subject: &str, point: &Point) {
        if !(point.min.is_finite() && point.max.is_finite() && point.sum.is_finite()) {
            return;
        }
        let Some(id) = self.admit(at, name, subject) else {
            self.left_out += 1;
            return;
        };
        for level in Level::ALL {
            self.merge(level, at, id, point);
        }
    }

    /// Takes in a point of the past, at `level` only: what an earlier run of the
    /// manager left unfinished.
    pub(crate) fn recall(&mut self, level: Level, at: i64, id: u32, point: &Point) {
        self.merge(level, at, id, point);
    }

    fn merge(&mut self, level: Level, at: i64, id: u32, point: &Point) {
        let open = &mut self.open[level.index()];
        open.at = Some(level.floor(at));
        match open.points.get_mut(&id) {
            Some(known) => known.merge(point),
            None => {
                let mut point = point.clone();
                if level == Level::Second {
                    // Quantiles of one second are of no use to anyone.
                    point.sketch = None;
                    open.points.insert(id, point);
                } else {
                    open.points.insert(id, point);
                }
            }
        }
    }

    /// The series' number, when there is room for it.
    fn admit(&mut self, at: i64, name: &str, subject: &str) -> Option<u32> {
        let known = self.known.get(name).and_then(|subjects| subjects.get(subject)).copied();
        if let Some(id) = known
            && let Some(last) = self.live.get_mut(&id)
        {
            *last = at;
            return Some(id);
        }
        if self.live.len() >= self.max_live {
            return None;
        }
        let id = match known {
            Some(id) => id,
            None if self.known_count >= self.max_live.saturating_mul(KNOWN_PER_LIVE) => {
                return None;
            }
            None => {
                let id = self.next;
                self.next = self.next.checked_add(1)?;
                self.known_count += 1;
                let subjects = self.known.entry(name.to_owned()).or_default();
                subjects.insert(subject.to_owned(), id);
                id
            }
        };
        self.live.insert(id, at);
        let name = SeriesName { name: name.to_owned(), subject: subject.to_owned() };
        self.fresh.push((id, name));
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level, a time, and the series' numbers, sums and counts.
    type Plain = (Level, i64, Vec<(u32, f64, u64)>);

    fn steps(batch: &Batch) -> Vec<Plain> {
        let points =
            |step: &Step| step.points.iter().map(|(id, p)| (*id, p.sum, p.count)).collect();
        batch.steps.iter().map(|step| (step.level, step.at, points(step))).collect()
    }

    #[test]
    fn samples_add_up_at_every_level() {
        let mut rollup = Rollup::new(10, []);
        let mut all = Vec::new();
        for at in 3_600..=7_200 {
            let mut batch = rollup.tick(at);
            rollup.add(at, "m", "a", &Point::of(1.0));
            rollup.seal(&mut batch);
            all.extend(steps(&batch));
        }
        for (level, many) in [
            (Level::Second, 3_600),
            (Level::TenSeconds, 360),
            (Level::Minute, 60),
            (Level::Hour, 1),
        ] {
            let of_level: Vec<_> = all.iter().filter(|(l, ..)| *l == level).collect();
            assert_eq!(of_level.len(), many);
            let each = level.seconds() as u64;
            for (nth, (_, at, points)) in of_level.iter().enumerate() {
                assert_eq!(*at, 3_600 + nth as i64 * level.seconds());
                assert_eq!(*points, [(1, each as f64, each)]);
            }
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_the_silent_make_way() {
        let mut rollup =
            Rollup::new(2, [(7, SeriesName { name: "m".into(), subject: "old".into() })]);
        let mut batch = rollup.tick(0);
        for subject in ["old", "b", "c"] {
            rollup.add(0, "m", subject, &Point::of(1.0));
        }
        rollup.seal(&mut batch);
        assert_eq!(rollup.left_out(), 1);
        let ids: Vec<u32> = batch.series.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [7, 8], "a known series keeps its number");
        rollup.tick(3_600);
        rollup.add(3_600, "m", "c", &Point::of(1.0));
        assert_eq!((rollup.live(), rollup.left_out()), (1, 0));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let mut rollup = Rollup::new(2, []);
        rollup.add(0, "m", "", &Point::of(f64::NAN));
        assert!(rollup.tick(10).steps.is_empty());
    }

    #[test]
    fn the_end_keeps_the_open_second() {
        let mut rollup = Rollup::new(2, []);
        rollup.add(5, "m", "", &Point::of(2.0));
        let batch = rollup.finish(5);
        assert_eq!(steps(&batch), [(Level::Second, 5, vec![(1, 2.0, 1)])]);
        assert_eq!(batch.series.len(), 1);
        let mut rollup = Rollup::new(2, []).that_ends_whole();
        rollup.add(5, "m", "", &Point::of(2.0));
        assert_eq!(rollup.finish(5).steps.len(), Level::ALL.len());
    }
}
