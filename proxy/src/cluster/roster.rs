//! The endpoints that a shard picks from, made ready for its algorithm. Made anew whenever
//! something changes that decides who takes traffic, so that picking need not look.

use std::sync::Arc;

use bs9_net::CoarseInstant;

use super::{Cluster, Endpoint, selection::Selection};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Who may be picked, in the order of the cluster.
    pub(super) seats: Box<[Seat]>,
    /// All weights are the same.
    pub(super) even: bool,
    /// A weight is still growing: the roster is to be made anew soon.
    pub(super) ramping: bool,
    /// A seat's number by its place in the cluster, plus one; 0: it has none.
    seat_of: Box<[u32]>,
    /// The change it is from.
    seen: u32,
}

/// An endpoint that may be picked.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) endpoint: Arc<Endpoint>,
    /// Its place in the cluster.
    pub(super) member: usize,
    /// At least 1.
    pub(super) weight: u32,
}

impl Roster {
    pub(super) fn of(cluster: &Cluster, now: CoarseInstant) -> Self {
        // Before looking: what changes meanwhile is looked at again.
        let seen = cluster.commons.changes();
        let selection = Selection::of(cluster, now);
        let mut seat_of = vec![0; cluster.members.len()].into_boxed_slice();
        for (seat, (member, _)) in selection.members.iter().enumerate() {
            seat_of[*member] = seat as u32 + 1;
        }
        let seats: Box<[Seat]> = selection
            .members
            .iter()
            .map(|(member, weight)| Seat {
                endpoint: Arc::clone(&cluster.members[*member].endpoint),
                member: *member,
                weight: *weight,
            })
            .collect();
        let even = seats.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        Self { seats, even, ramping: selection.ramping, seat_of, seen }
    }

    /// Whether it is still so.
    #[inline]
    pub(super) fn is_current(&self, cluster: &Cluster) -> bool {
        self.seen == cluster.commons.changes()
    }

    /// The seat of a member, when it has one.
    #[inline]
    pub(super) fn seat_of(&self, member: usize) -> Option<usize> {
        self.seat_of.get(member)?.checked_sub(1).map(|seat| seat as usize)
    }
}
