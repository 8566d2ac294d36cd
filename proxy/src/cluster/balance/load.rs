//! Endpoints by what they carry, over all shards.

use std::{cell::Cell, sync::atomic::Ordering::Relaxed};

use bs9_net::CoarseInstant;

use super::{Random, Seat, first_from};
use crate::cluster::latency::FAILURE_PENALTY;

/// The least loaded of all. Equals take turns: the search starts behind the one picked last.
#[inline]
pub(super) fn least(
    seats: &[Seat],
    cursor: &Cell<usize>,
    fits: impl Fn(&Seat) -> bool,
) -> Option<usize> {
    let start = if cursor.get() < seats.len() { cursor.get() } else { 0 };
    let mut best: Option<usize> = None;
    for at in (start..seats.len()).chain(0..start) {
        let seat = &seats[at];
        if fits(seat) && best.is_none_or(|best| is_less_loaded(seat, &seats[best])) {
            best = Some(at);
        }
    }
    cursor.set(best? + 1);
    best
}

/// The better of two random ones.
#[inline]
pub(super) fn better_of_two(
    seats: &[Seat],
    random: &Random,
    fits: impl Fn(&Seat) -> bool,
    is_better: impl Fn(&Seat, &Seat) -> bool,
) -> Option<usize> {
    let count = seats.len();
    if count < 2 {
        return first_from(seats, 0, fits);
    }
    let first = random.below(count as u64) as usize;
    // Another one: comparing an endpoint with itself is no choice.
    let mut second = random.below(count as u64 - 1) as usize;
    second += usize::from(second >= first);
    match (fits(&seats[first]), fits(&seats[second])) {
        (true, true) if is_better(&seats[second], &seats[first]) => Some(second),
        (true, _) => Some(first),
        (false, true) => Some(second),
        (false, false) => first_from(seats, first, fits),
    }
}

/// Compares load relative to weight without dividing.
#[inline]
pub(super) fn is_less_loaded(one: &Seat, other: &Seat) -> bool {
    let active = |seat: &Seat| seat.endpoint.active.load(Relaxed) as u64;
    // +1 for the request about to be sent: an idle heavy endpoint beats an idle light one.
    (active(one) + 1) * u64::from(other.weight) < (active(other) + 1) * u64::from(one.weight)
}

/// Compares the expected waits.
#[inline]
pub(super) fn is_less_costly(one: &Seat, other: &Seat, now: CoarseInstant) -> bool {
    cost(one, now) < cost(other, now)
}

/// Expected latency times the requests that would be in flight, relative to weight.
#[inline]
fn cost(seat: &Seat, now: CoarseInstant) -> f32 {
    let endpoint = &seat.endpoint;
    let active = endpoint.active.load(Relaxed) as f32;
    let latency = if endpoint.latency.is_known() {
        endpoint.latency.expected_microseconds(now)
    } else if active == 0.0 {
        // Never tried: one request will tell.
        0.0
    } else {
        FAILURE_PENALTY.as_micros() as f32
    };
    latency * (active + 1.0) / seat.weight as f32
}
