//! `clusters`: which one of several a request goes to.

use bs9_config::SplitBy;

use crate::{cluster::stable_hash, http1::RequestHead, route::any_cookie};

/// Clusters that share the traffic of a route.
#[derive(Debug)]
pub(crate) struct Split {
    /// By index, with their weights.
    targets: Box<[(usize, u32)]>,
    total_weight: u32,
    by: Option<SplitBy>,
}

impl Split {
    /// Among `targets`, of which there is one at least.
    pub(crate) fn new(targets: Box<[(usize, u32)]>, by: Option<SplitBy>) -> Self {
        let total_weight = targets.iter().map(|(_, weight)| weight).sum();
        Self { targets, total_weight, by }
    }

    /// The cluster of a request; `random` gives a number below its argument.
    #[inline]
    pub(crate) fn choose(&self, head: &RequestHead<'_>, random: impl FnOnce(u32) -> u32) -> usize {
        let [(only, _)] = *self.targets else { return self.choose_among(head, random) };
        only
    }

    fn choose_among(&self, head: &RequestHead<'_>, random: impl FnOnce(u32) -> u32) -> usize {
        let of_value = self.by.as_ref().and_then(|by| value_hash(by, head));
        let mut ticket = match of_value {
            // Weights are stretches of the hash: a change of one moves few.
            Some(hash) => ((u128::from(hash) * u128::from(self.total_weight)) >> 64) as u32,
            None => random(self.total_weight),
        };
        let won = self.targets.iter().find(|(_, weight)| {
            let wins = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            wins
        });
        won.unwrap_or(&self.targets[0]).0
    }
}

fn value_hash(by: &SplitBy, head: &RequestHead<'_>) -> Option<u64> {
    match by {
        SplitBy::Header(name) => head.header(name).map(stable_hash),
        SplitBy::Cookie(name) => {
            let mut hash = None;
            any_cookie(head, name, &mut |value| {
                hash = Some(stable_hash(value));
                true
            });
            hash
        }
    }
}
