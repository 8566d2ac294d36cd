//! Who sends when: each connection as soon as it is free, or a schedule.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use mio::Registry;

use super::{BACKLOG_GRACE, Stage, TIMER, Worker, precise_timer::PreciseTimer};
use crate::{protocol::Protocol, rate::Arrivals};

/// Closed or open loop.
#[derive(Debug)]
pub(super) enum Pace {
    Closed,
    Open(Schedule),
}

/// Requests that are due, and connections that wait for them.
#[derive(Debug)]
pub(super) struct Schedule {
    arrivals: Arrivals,
    /// Connections without a request. The one that waited longest is next, so that all of them
    /// are used.
    free: VecDeque<usize>,
    timer: PreciseTimer,
    /// What the timer is set to, counted from the start.
    armed: Option<Duration>,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(
        arrivals: Option<Arrivals>,
        connections: usize,
        registry: &Registry,
    ) -> io::Result<Self> {
        Ok(match arrivals {
            None => Self::Closed,
            Some(arrivals) => Self::Open(Schedule {
                arrivals,
                free: VecDeque::with_capacity(connections),
                timer: PreciseTimer::new(registry, TIMER)?,
                armed: None,
            }),
        })
    }

    /// Whether a schedule says when requests are sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Sets the timer for the next request that is due, if a connection is free for it. Says how
    /// long to wait at most when it is already due.
    pub(super) fn arm(&mut self, start: Instant, now: Instant) -> io::Result<Option<Duration>> {
        let Self::Open(schedule) = self else { return Ok(None) };
        if schedule.free.is_empty() {
            // Nobody could send it. Whoever becomes free will look again.
            return Ok(None);
        }
        let due = schedule.arrivals.next_due();
        let wait = due.saturating_sub(now.saturating_duration_since(start));
        if wait.is_zero() {
            return Ok(Some(Duration::ZERO));
        }
        if schedule.armed != Some(due) {
            schedule.timer.set(wait)?;
            schedule.armed = Some(due);
        }
        Ok(None)
    }

    /// Whether a request is due before `end` that nobody has sent yet.
    pub(super) fn is_due_before(&self, start: Instant, end: Instant) -> bool {
        match self {
            Self::Closed => false,
            Self::Open(schedule) => start + schedule.arrivals.next_due() < end,
        }
    }

    /// How many requests are due in between that nobody has sent yet.
    pub(super) fn left_between(&self, start: Instant, from: Instant, end: Instant) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open(schedule) => schedule.arrivals.left_between(from - start, end - start),
        }
    }
}

// === impl Worker ===

impl<P: Protocol> Worker<'_, P> {
    /// A connection has no request any more: it takes the next one, or waits for it.
    pub(super) fn release(&mut self, slot: usize, now: Instant) {
        match &mut self.pace {
            Pace::Open(schedule) => schedule.free.push_back(slot),
            Pace::Closed => {
                if !self.is_over(now) {
                    self.claim(slot, now, now);
                }
            }
        }
    }

    /// Open loop: gives requests that are due to connections that are free.
    pub(super) fn dispatch(&mut self, now: Instant) {
        let Some(clock) = self.clock else { return };
        // Each takes a free connection, so there are no more of them than connections.
        while let Pace::Open(schedule) = &mut self.pace {
            let due = clock.start + schedule.arrivals.next_due();
            let in_schedule = clock.end.is_none_or(|end| due < end && now < end + BACKLOG_GRACE);
            let stopped = clock.stopped_at.is_some() || self.budget == Some(0);
            if due > now || !in_schedule || stopped {
                return;
            }
            let Some(slot) = schedule.free.pop_front() else { return };
            schedule.arrivals.advance();
            self.claim(slot, due, now);
        }
    }

    /// Gives a connection a request whose latency counts from `since`.
    fn claim(&mut self, slot: usize, since: Instant, now: Instant) {
        if self.is_measured(since)
            && let Some(budget) = &mut self.budget
        {
            *budget -= 1;
        }
        self.under_way += 1;
        let connection = &mut self.connections[slot];
        connection.claimed = Some(since);
        match connection.stage {
            Stage::Idle => self.send(slot, now),
            _ => self.connect(slot, now),
        }
    }

    /// Whether a request that began then counts, or belongs to the warm-up.
    pub(super) fn is_measured(&self, since: Instant) -> bool {
        self.clock.is_some_and(|clock| since >= clock.measure_from)
    }
}
