//! Several requests, one of which is picked each time.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::threshold::Threshold;

/// What may be sent, and how often each. There is at least one.
#[derive(Debug, Clone)]
pub(crate) struct Mix {
    entries: Arc<[Entry]>,
}

/// One request of a mix.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What reports call it; a lone request has none.
    pub(crate) name: Option<String>,
    /// How often it is picked, relative to the others.
    pub(crate) weight: u32,
    /// Closed loop: how long its connection pauses behind it.
    pub(crate) think_time: Pause,
    /// What it has to keep on its own.
    pub(crate) thresholds: Vec<Threshold>,
}

/// A pause of a length between two, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

/// Picks, one thread's own. The same thread of the same plan picks the same each time.
#[derive(Debug)]
pub(crate) struct Picker {
    mix: Mix,
    total_weight: u64,
    random: SmallRng,
}

// === impl Mix ===

impl Mix {
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        Self { entries: entries.into() }
    }

    /// The same request over and over.
    pub(crate) fn lone() -> Self {
        let (think_time, thresholds) = (Pause::default(), Vec::new());
        Self::new(vec![Entry { name: None, weight: 1, think_time, thresholds }])
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

// === impl Picker ===

impl Picker {
    /// For thread `index`.
    pub(crate) fn new(mix: Mix, index: usize) -> Self {
        let total_weight = mix.entries.iter().map(|entry| u64::from(entry.weight)).sum();
        Self { mix, total_weight, random: SmallRng::seed_from_u64(index as u64) }
    }

    /// The index of the next request.
    #[inline]
    pub(crate) fn pick(&mut self) -> usize {
        if self.mix.entries.len() == 1 {
            return 0;
        }
        let mut left = self.random.random_range(0..self.total_weight);
        let found = self.mix.entries.iter().position(|entry| {
            let weight = u64::from(entry.weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        });
        found.unwrap_or_default()
    }

    /// How long to pause behind request `index` of the mix.
    pub(crate) fn think_time(&mut self, index: usize) -> Duration {
        let Pause { least, most } = self.mix.entries[index].think_time;
        if least == most { least } else { self.random.random_range(least..=most) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(weight: u32, least_ms: u64, most_ms: u64) -> Entry {
        let think_time =
            Pause { least: Duration::from_millis(least_ms), most: Duration::from_millis(most_ms) };
        Entry { name: None, weight, think_time, thresholds: Vec::new() }
    }

    #[test]
    fn picks_go_by_weight() {
        let mut picker =
            Picker::new(Mix::new(vec![entry(7, 0, 0), entry(2, 0, 0), entry(1, 0, 0)]), 3);
        let mut counts = [0u32; 3];
        for _ in 0..100_000 {
            counts[picker.pick()] += 1;
        }
        for (count, expected) in counts.into_iter().zip([70_000, 20_000, 10_000]) {
            assert!(count.abs_diff(expected) < 1_000, "{counts:?}");
        }
        let mut lone = Picker::new(Mix::lone(), 0);
        assert_eq!((lone.pick(), lone.think_time(0)), (0, Duration::ZERO));
    }

    #[test]
    fn pauses_lie_within_their_range() {
        let mut picker = Picker::new(Mix::new(vec![entry(1, 5, 5), entry(1, 10, 20)]), 0);
        assert_eq!(picker.think_time(0), Duration::from_millis(5));
        let pauses: Vec<_> = (0..1_000).map(|_| picker.think_time(1).as_millis()).collect();
        assert!(pauses.iter().all(|pause| (10..=20).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().min() != pauses.iter().max());
    }
}
