//! The algorithms that pick an endpoint.
//!
//! Each shard balances by itself: nothing is locked, and nothing is written that another shard
//! reads, but for what an endpoint counts anyway. What that means for the whole:
//!
//! - *in turn*: a shard's turns are exact, and shards begin at different places. Over all shards
//!   an endpoint is at most one request per shard ahead of, or behind, its share; with unequal
//!   weights, two.
//! - *by load*: how many requests an endpoint has in flight is counted over all shards. Shards
//!   that pick at the very same moment may pick the same one: the difference between two
//!   endpoints is at most one request per further shard more than on a single shard.
//! - *by hash*: every shard, and every instance with the same endpoints, comes to the same.

use std::cell::Cell;

use bs9_config::Balance;

use super::roster::{Roster, Seat};
use turns::Turns;

mod load;
mod turns;

/// One shard's state of one cluster's balancing.
#[derive(Debug)]
pub(super) struct Balancer {
    algorithm: Balance,
    turns: Turns,
    random: Random,
}

/// xorshift64*: plenty for spreading load, and no thread-local look-up.
#[derive(Debug)]
struct Random(Cell<u64>);

impl Balancer {
    /// The balancer of shard number `shard` of `shards`, of which no two march in step.
    pub(super) fn new(algorithm: Balance, shard: usize, shards: usize) -> Self {
        let seed = (shard as u64 + 1).wrapping_mul(0xD134_2543_DE82_EF95);
        Self {
            algorithm,
            turns: Turns::new(shard, shards),
            random: Random(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)),
        }
    }

    /// The roster is a new one.
    pub(super) fn prepare(&self, roster: &Roster) {
        match self.algorithm {
            Balance::RoundRobin | Balance::WeightedRoundRobin => self.turns.prepare(roster),
            Balance::Random if !roster.even => self.turns.prepare_shares(roster),
            _ => {}
        }
    }

    /// The seat to use among those that `fits`, or `None` when there is none.
    #[inline]
    pub(super) fn pick(&self, roster: &Roster, fits: impl Fn(&Seat) -> bool) -> Option<usize> {
        let seats = &*roster.seats;
        match self.algorithm {
            Balance::RoundRobin | Balance::WeightedRoundRobin if roster.even => {
                self.turns.next_in_line(seats, fits)
            }
            Balance::RoundRobin | Balance::WeightedRoundRobin => self.turns.next(seats, fits),
            Balance::LeastConnections => load::least(seats, self.turns.cursor(), fits),
            Balance::P2c => load::better_of_two(seats, &self.random, fits, load::is_less_loaded),
            Balance::PeakEwma => {
                let now = bs9_net::now();
                let is_better = |one: &Seat, other: &Seat| load::is_less_costly(one, other, now);
                load::better_of_two(seats, &self.random, fits, is_better)
            }
            Balance::Random if !roster.even => self.turns.by_share(seats, &self.random, fits),
            // Whose hash says nothing goes anywhere.
            Balance::Random | Balance::Maglev | Balance::RingHash => {
                let start = self.random.below(seats.len() as u64) as usize;
                first_from(seats, start, fits)
            }
        }
    }
}

/// The first that fits, from `start` on and around.
#[inline]
fn first_from(seats: &[Seat], start: usize, fits: impl Fn(&Seat) -> bool) -> Option<usize> {
    let (before, behind) = seats.split_at_checked(start)?;
    let found = behind.iter().position(&fits).map(|at| start + at);
    found.or_else(|| before.iter().position(fits))
}

impl Random {
    #[inline]
    fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Uniform below `bound` (Lemire's multiplication, without the rejection step:
    /// the bias is below 2⁻³² for any cluster).
    #[inline]
    fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests;
