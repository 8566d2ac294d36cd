//! The algorithms that pick an endpoint.
//!
//! Each shard balances by itself, from cursors of its own; what has to hold over
//! all shards (how busy an endpoint is) is read from the endpoint.

use std::cell::{Cell, RefCell};

use bs9_config::Balance;

/// What a balancer has to know of a member.
pub(super) trait Candidate {
    /// Whether it may be picked at all.
    fn is_eligible(&self) -> bool;
    /// At least 1 for an eligible one.
    fn weight(&self) -> u64;
    /// Requests or connections in flight, over all shards.
    fn active(&self) -> u64;
}

/// One shard's state of one cluster's balancing.
#[derive(Debug)]
pub(super) struct Balancer {
    algorithm: Balance,
    cursor: Cell<usize>,
    /// Smooth weighted round-robin: how far each member is ahead of its share.
    credits: RefCell<Box<[i64]>>,
    random: Cell<u64>,
}

impl Balancer {
    /// `seed` differs between shards, so that they do not march in step.
    pub(super) fn new(algorithm: Balance, members: usize, seed: u64) -> Self {
        Self {
            algorithm,
            cursor: Cell::new(seed as usize % members.max(1)),
            credits: RefCell::new(vec![0; members].into_boxed_slice()),
            random: Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        }
    }

    /// The index of the member to use, or `None` when none is eligible.
    pub(super) fn pick<C: Candidate>(
        &self,
        candidates: impl Fn(usize) -> C,
        count: usize,
    ) -> Option<usize> {
        match self.algorithm {
            Balance::RoundRobin => self.next_eligible(&candidates, count),
            Balance::WeightedRoundRobin => self.smooth_weighted(&candidates, count),
            Balance::LeastConnections => self.least_connections(&candidates, count),
            Balance::P2c => self.power_of_two(&candidates, count),
            Balance::Random => self.weighted_random(&candidates, count),
        }
    }

    /// xorshift64*: plenty for spreading load, and no thread-local look-up.
    fn next_random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Uniform below `bound` (Lemire's multiplication, without the rejection step:
    /// the bias is below 2⁻³² for any cluster).
    fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next_random()) * u128::from(bound)) >> 64) as u64
    }

    fn next_eligible<C: Candidate>(
        &self,
        candidates: &impl Fn(usize) -> C,
        count: usize,
    ) -> Option<usize> {
        let start = self.cursor.get();
        let found = (0..count)
            .map(|step| (start + step) % count)
            .find(|at| candidates(*at).is_eligible())?;
        self.cursor.set((found + 1) % count);
        Some(found)
    }

    /// nginx's smooth weighted round-robin: interleaved, and exact over each cycle.
    fn smooth_weighted<C: Candidate>(
        &self,
        candidates: &impl Fn(usize) -> C,
        count: usize,
    ) -> Option<usize> {
        let mut credits = self.credits.borrow_mut();
        let mut total = 0;
        let mut best: Option<usize> = None;
        for at in 0..count {
            let candidate = candidates(at);
            if !candidate.is_eligible() {
                continue;
            }
            let weight = candidate.weight() as i64;
            total += weight;
            credits[at] += weight;
            if best.is_none_or(|best| credits[at] > credits[best]) {
                best = Some(at);
            }
        }
        credits[best?] -= total;
        best
    }

    fn least_connections<C: Candidate>(
        &self,
        candidates: &impl Fn(usize) -> C,
        count: usize,
    ) -> Option<usize> {
        // Equals take turns: the search starts behind the one picked last.
        let start = self.cursor.get();
        let mut best: Option<(usize, C)> = None;
        for at in (0..count).map(|step| (start + step) % count) {
            let candidate = candidates(at);
            if candidate.is_eligible()
                && best.as_ref().is_none_or(|(_, best)| is_less_loaded(&candidate, best))
            {
                best = Some((at, candidate));
            }
        }
        let (found, _) = best?;
        self.cursor.set((found + 1) % count);
        Some(found)
    }

    fn power_of_two<C: Candidate>(
        &self,
        candidates: &impl Fn(usize) -> C,
        count: usize,
    ) -> Option<usize> {
        let first = self.random_eligible(candidates, count)?;
        if count == 1 {
            return Some(first);
        }
        // Another one, if there is one: comparing an endpoint with itself is no choice.
        let start = first + 1 + self.below(count as u64 - 1) as usize;
        let second = (0..count)
            .map(|step| (start + step) % count)
            .find(|at| *at != first && candidates(*at).is_eligible());
        Some(match second {
            Some(second) if is_less_loaded(&candidates(second), &candidates(first)) => second,
            _ => first,
        })
    }

    fn random_eligible<C: Candidate>(
        &self,
        candidates: &impl Fn(usize) -> C,
        count: usize,
    ) -> Option<usize> {
        if count == 0 {
            return None;
        }
        let start = self.below(count as u64) as usize;
        (0..count).map(|step| (start + step) % count).find(|at| candidates(*at).is_eligible())
    }

    fn weighted_random<C: Candidate>(
        &self,
        candidates: &impl Fn(usize) -> C,
        count: usize,
    ) -> Option<usize> {
        let weight_of = |at: usize| {
            let candidate = candidates(at);
            if candidate.is_eligible() { candidate.weight() } else { 0 }
        };
        let total: u64 = (0..count).map(weight_of).sum();
        if total == 0 {
            return None;
        }
        let mut ticket = self.below(total);
        (0..count).find(|at| {
            let weight = weight_of(*at);
            let wins = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            wins
        })
    }
}

/// Compares load relative to weight without dividing.
fn is_less_loaded<C: Candidate>(one: &C, other: &C) -> bool {
    // +1 for the request about to be sent: an idle heavy endpoint beats an idle light one.
    (one.active() + 1) * other.weight() < (other.active() + 1) * one.weight()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy)]
    struct Fake {
        eligible: bool,
        weight: u64,
        active: u64,
    }

    impl Candidate for Fake {
        fn is_eligible(&self) -> bool {
            self.eligible
        }
        fn weight(&self) -> u64 {
            self.weight
        }
        fn active(&self) -> u64 {
            self.active
        }
    }

    const ALL: [Balance; 5] = [
        Balance::RoundRobin,
        Balance::WeightedRoundRobin,
        Balance::LeastConnections,
        Balance::P2c,
        Balance::Random,
    ];

    fn weighted(weights: &[u64]) -> Vec<Fake> {
        weights.iter().map(|weight| Fake { eligible: true, weight: *weight, active: 0 }).collect()
    }

    fn tally(algorithm: Balance, fakes: &[Fake], picks: usize) -> Vec<usize> {
        let balancer = Balancer::new(algorithm, fakes.len(), 7);
        let mut counts = vec![0; fakes.len()];
        for _ in 0..picks {
            counts[balancer.pick(|at| fakes[at], fakes.len()).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_takes_turns() {
        assert_eq!(tally(Balance::RoundRobin, &weighted(&[1, 1, 1]), 9), [3, 3, 3]);
    }

    #[test]
    fn smooth_weights_are_exact_over_a_cycle_and_interleave() {
        let fakes = weighted(&[5, 1, 1]);
        assert_eq!(tally(Balance::WeightedRoundRobin, &fakes, 7), [5, 1, 1]);
        let balancer = Balancer::new(Balance::WeightedRoundRobin, 3, 1);
        let order: Vec<_> = (0..7).map(|_| balancer.pick(|at| fakes[at], 3).unwrap()).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn least_connections_respects_load_and_weight() {
        let mut fakes = weighted(&[1, 1, 4]);
        fakes[0].active = 1;
        fakes[2].active = 3;
        // Loads after one more: 2/1, 1/1, 4/4: the last two are equal and take turns.
        assert_eq!(tally(Balance::LeastConnections, &fakes, 10)[0], 0);
    }

    #[test]
    fn random_follows_weights() {
        let counts = tally(Balance::Random, &weighted(&[3, 1]), 40_000);
        assert!((29_000..31_000).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn two_choices_avoid_the_busy_one() {
        let mut fakes = weighted(&[1, 1]);
        fakes[0].active = 100;
        let counts = tally(Balance::P2c, &fakes, 10_000);
        assert_eq!(counts[0], 0, "{counts:?}");
    }

    proptest! {
        #[test]
        fn only_eligible_members_are_picked(
            states in prop::collection::vec((any::<bool>(), 1_u64..9, 0_u64..9), 0..9),
            seed in any::<u64>(),
        ) {
            let fakes: Vec<_> = states
                .iter()
                .map(|&(eligible, weight, active)| Fake { eligible, weight, active })
                .collect();
            for algorithm in ALL {
                let balancer = Balancer::new(algorithm, fakes.len(), seed);
                for _ in 0..20 {
                    match balancer.pick(|at| fakes[at], fakes.len()) {
                        Some(at) => prop_assert!(fakes[at].eligible),
                        None => prop_assert!(fakes.iter().all(|fake| !fake.eligible)),
                    }
                }
            }
        }
    }
}
