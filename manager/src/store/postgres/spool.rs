//! What waits to be written: a queue with a limit in bytes, oldest given up first.

use std::collections::{HashMap, VecDeque};

use bs9_api::types::{Event, SeriesName};

use super::super::{Account, rollup::Batch};

/// Memory of one point without its sketch, about.
const POINT_BYTES: u64 = 64;
/// Memory of one event, about.
const EVENT_BYTES: u64 = 512;

/// What one tick left.
#[derive(Debug)]
pub(super) struct Entry {
    /// Grows by one with each that is handed over; 0 before.
    pub(super) number: i64,
    pub(super) batch: Batch,
    pub(super) events: Vec<Event>,
    pub(super) live: Vec<u32>,
}

impl Entry {
    pub(super) fn new(batch: Batch, events: Vec<Event>, live: Vec<u32>) -> Self {
        Self { number: 0, batch, events, live }
    }

    /// About.
    fn bytes(&self) -> u64 {
        let points = self.batch.steps.iter().flat_map(|step| &step.points);
        let points: u64 = points
            .map(|(_, point)| POINT_BYTES + point.sketch.as_ref().map_or(0, |s| s.bytes()))
            .sum();
        points + self.events.len() as u64 * EVENT_BYTES + self.live.len() as u64 * 4
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Spool {
    limit_bytes: u64,
    entries: VecDeque<Entry>,
    bytes: u64,
    last: i64,
    /// Names of series by the numbers batches have for them. They outlive batches that
    /// are given up.
    pub(super) names: HashMap<u32, SeriesName>,
    closed: bool,
}

impl Spool {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            entries: VecDeque::new(),
            bytes: 0,
            last: 0,
            names: HashMap::new(),
            closed: false,
        }
    }

    /// Takes one in; returns how many were given up for it.
    pub(super) fn push(&mut self, mut entry: Entry) -> u64 {
        self.last += 1;
        entry.number = self.last;
        self.names.extend(entry.batch.series.iter().cloned());
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        self.bound()
    }

    /// The oldest; it is put back or written.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    /// One that was taken and could not be written; returns how many were given up.
    pub(super) fn put_back(&mut self, entry: Entry) -> u64 {
        self.bytes += entry.bytes();
        self.entries.push_front(entry);
        self.bound()
    }

    fn bound(&mut self) -> u64 {
        let mut lost = 0;
        // The newest stays, whatever it takes: it is what a healthy database gets next.
        while self.bytes > self.limit_bytes && self.entries.len() > 1 {
            self.take();
            lost += 1;
        }
        lost
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// No more will come.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Tells the status how it is.
    pub(super) fn tell(&self, account: &Account, lost: u64) {
        let mut status = account.status();
        status.batches_spooled = self.entries.len() as u64;
        status.spooled_bytes = self.bytes;
        status.batches_lost_total += lost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Level, Point, Step};

    fn entry(at: i64, points: u32) -> Entry {
        let points = (0..points).map(|series| (series, Point::of(1.0))).collect();
        let step = Step { level: Level::Second, at, points };
        let name = SeriesName { name: format!("m{at}"), subject: String::new() };
        let batch = Batch { at, series: vec![(at as u32, name)], steps: vec![step] };
        Entry::new(batch, Vec::new(), Vec::new())
    }

    #[test]
    fn the_oldest_make_way_and_names_stay() {
        let mut spool = Spool::new(10 * POINT_BYTES);
        assert_eq!((1..=3).map(|at| spool.push(entry(at, 4))).sum::<u64>(), 1);
        assert_eq!((spool.len(), spool.bytes, spool.names.len()), (2, 8 * POINT_BYTES, 3));
        let oldest = spool.take().unwrap();
        assert_eq!((oldest.number, oldest.batch.at), (2, 2));
        assert_eq!(spool.push(entry(4, 4)), 0);
        assert_eq!(spool.put_back(oldest), 1, "the one put back is the oldest");
        assert_eq!(spool.take().unwrap().number, 3);
        assert_eq!(spool.push(entry(5, 100)), 1, "the newest stays");
        assert_eq!(spool.take().unwrap().number, 5);
        assert!(spool.take().is_none() && spool.bytes == 0);
    }
}
