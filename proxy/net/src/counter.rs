//! Counters that one shard writes and anybody reads.
//!
//! A cell has a single writer, so counting is a plain load and store: no locked
//! instruction, no cache line that two shards fight over. Readers sum the cells.

use std::{
    ops::Index,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// A count that only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only the owning shard may call this.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`. Only the owning shard may call this.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The count now, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds one. Only the owning shard may call this.
    pub fn increment(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Takes one away. Only the owning shard may call this.
    pub fn decrement(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    /// Sets it. Only the owning shard may call this.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The number now, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One `T` for each shard, each on cache lines of its own.
#[derive(Debug)]
pub struct PerShard<T>(Box<[Padded<T>]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> PerShard<T> {
    /// For so many shards.
    pub fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Padded::default()).collect())
    }
}

impl<T> PerShard<T> {
    /// All of them, in shard order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }

    /// The sum of what `field` reads from each.
    pub fn sum(&self, field: impl Fn(&T) -> u64) -> u64 {
        // Gauges of one thing may live on two shards' cells, one of them "negative".
        self.iter().fold(0, |sum, cell| sum.wrapping_add(field(cell)))
    }
}

impl<T> Index<usize> for PerShard<T> {
    type Output = T;

    fn index(&self, shard: usize) -> &T {
        &self.0[shard].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_shards() {
        let cells: PerShard<Gauge> = PerShard::new(2);
        cells[0].increment();
        cells[0].increment();
        cells[1].decrement();
        assert_eq!(cells.sum(Gauge::get), 1);
    }
}
