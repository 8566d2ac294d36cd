//! Endpoints in turn, and at random by weight.

use std::cell::{Cell, RefCell};

use super::{Random, Roster, Seat, first_from};

/// Steps times seats up to which an order is worked out ahead.
const MAX_WORK: u64 = 1 << 16;

/// Whose turn it is on this shard.
#[derive(Debug)]
pub(super) struct Turns {
    /// This shard's part of the way around at which it begins.
    start: f64,
    cursor: Cell<usize>,
    order: RefCell<Order>,
}

/// In what order the seats have their turns.
#[derive(Debug)]
enum Order {
    /// As they stand.
    Even,
    /// As written down here: one whole cycle, interleaved smoothly.
    Cycle(Box<[u32]>),
    /// Worked out with each turn, as a cycle would be too long: how far each seat is ahead of
    /// its share.
    Credits(Box<[i64]>),
    /// Not in turn: the sums of weights up to and with each seat.
    Sums(Box<[u64]>),
}

impl Turns {
    pub(super) fn new(shard: usize, shards: usize) -> Self {
        Self {
            start: shard as f64 / shards.max(1) as f64,
            cursor: Cell::new(0),
            order: RefCell::new(Order::Even),
        }
    }

    pub(super) fn cursor(&self) -> &Cell<usize> {
        &self.cursor
    }

    pub(super) fn prepare(&self, roster: &Roster) {
        let seats = &roster.seats;
        let (order, length) = if roster.even {
            (Order::Even, seats.len())
        } else {
            let divisor = seats.iter().fold(0, |divisor, seat| gcd(divisor, seat.weight)).max(1);
            let weights: Vec<i64> =
                seats.iter().map(|seat| i64::from(seat.weight / divisor)).collect();
            let total: i64 = weights.iter().sum();
            if total as u64 * seats.len() as u64 <= MAX_WORK {
                (Order::Cycle(cycle(&weights)), total as usize)
            } else {
                (Order::Credits(vec![0; seats.len()].into()), 0)
            }
        };
        self.cursor.set((length as f64 * self.start) as usize);
        *self.order.borrow_mut() = order;
    }

    pub(super) fn prepare_shares(&self, roster: &Roster) {
        let mut sum = 0;
        let sums = roster.seats.iter().map(|seat| {
            sum += u64::from(seat.weight);
            sum
        });
        *self.order.borrow_mut() = Order::Sums(sums.collect());
    }

    /// Whose turn it is, among those that fit, when all weights are the same.
    #[inline]
    pub(super) fn next_in_line(
        &self,
        seats: &[Seat],
        fits: impl Fn(&Seat) -> bool,
    ) -> Option<usize> {
        let found = first_from(seats, self.cursor.get(), fits)?;
        self.cursor.set(if found + 1 == seats.len() { 0 } else { found + 1 });
        Some(found)
    }

    /// Whose turn it is, among those that fit.
    pub(super) fn next(&self, seats: &[Seat], fits: impl Fn(&Seat) -> bool) -> Option<usize> {
        match &mut *self.order.borrow_mut() {
            Order::Even | Order::Sums(_) => self.next_in_line(seats, fits),
            Order::Cycle(cycle) => {
                let start = self.cursor.get();
                for step in 0..cycle.len() {
                    let mut at = start + step;
                    at -= if at >= cycle.len() { cycle.len() } else { 0 };
                    let seat = cycle[at] as usize;
                    if fits(&seats[seat]) {
                        self.cursor.set(if at + 1 == cycle.len() { 0 } else { at + 1 });
                        return Some(seat);
                    }
                }
                None
            }
            Order::Credits(credits) => turn(seats, credits, fits),
        }
    }

    /// Anyone, by weight.
    #[inline]
    pub(super) fn by_share(
        &self,
        seats: &[Seat],
        random: &Random,
        fits: impl Fn(&Seat) -> bool,
    ) -> Option<usize> {
        let order = self.order.borrow();
        let Order::Sums(sums) = &*order else { return first_from(seats, 0, fits) };
        let ticket = random.below(*sums.last()?);
        let drawn = sums.partition_point(|sum| *sum <= ticket);
        first_from(seats, drawn, fits)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A whole cycle of nginx's smooth weighted round-robin.
fn cycle(weights: &[i64]) -> Box<[u32]> {
    let total: i64 = weights.iter().sum();
    let mut credits = vec![0; weights.len()];
    (0..total).filter_map(|_| smooth(weights.iter().copied().enumerate(), &mut credits)).collect()
}

/// Likewise, a single turn.
fn turn(seats: &[Seat], credits: &mut [i64], fits: impl Fn(&Seat) -> bool) -> Option<usize> {
    let seats = seats.iter().enumerate().filter(|(_, seat)| fits(seat));
    let weights = seats.map(|(at, seat)| (at, i64::from(seat.weight)));
    smooth(weights, credits).map(|at| at as usize)
}

/// Everyone gets credit by weight; who has most has the turn, and pays for all.
fn smooth(weights: impl Iterator<Item = (usize, i64)>, credits: &mut [i64]) -> Option<u32> {
    let mut total = 0;
    let mut best: Option<usize> = None;
    for (at, weight) in weights {
        total += weight;
        credits[at] += weight;
        if best.is_none_or(|best| credits[at] > credits[best]) {
            best = Some(at);
        }
    }
    let best = best?;
    credits[best] -= total;
    Some(best as u32)
}
