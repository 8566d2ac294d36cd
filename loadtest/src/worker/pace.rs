//! Who sends when: each connection as soon as it is free, or a schedule.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use mio::Registry;

use super::{
    BACKLOG_GRACE, Connection, LaneState, Stage, TIMER, Worker,
    crowd::{Crowd, Members, Turn},
    precise_timer::PreciseTimer,
};
use crate::{protocol::Protocol, rate::Arrivals};

/// One thread's share of the load.
#[derive(Debug, Clone)]
pub(crate) enum Share {
    Closed(Members),
    Open(Arrivals),
}

/// Closed or open loop.
#[derive(Debug)]
pub(super) enum Pace {
    Closed(Crowd),
    Open(Schedule),
}

/// Requests that are due, and connections that wait for them.
#[derive(Debug)]
pub(super) struct Schedule {
    arrivals: Arrivals,
    /// Lanes without a request. The one that waited longest is next, so that all of them are
    /// used.
    free: VecDeque<usize>,
    timer: PreciseTimer,
    /// What the timer is set to, counted from the start.
    armed: Option<Duration>,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(share: Share, lanes: usize, registry: &Registry) -> io::Result<Self> {
        Ok(match share {
            Share::Closed(members) => Self::Closed(Crowd::new(members, registry)?),
            Share::Open(arrivals) => Self::Open(Schedule {
                arrivals,
                free: VecDeque::with_capacity(lanes),
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
        let schedule = match self {
            Self::Closed(crowd) => return crowd.arm(now),
            Self::Open(schedule) => schedule,
        };
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
            Self::Closed(_) => false,
            Self::Open(schedule) => start + schedule.arrivals.next_due() < end,
        }
    }

    /// How many requests are due in between that nobody has sent yet.
    pub(super) fn left_between(&self, start: Instant, from: Instant, end: Instant) -> u64 {
        match self {
            Self::Closed(_) => 0,
            Self::Open(schedule) => schedule.arrivals.left_between(from - start, end - start),
        }
    }
}

// === impl Worker ===

impl<P: Protocol> Worker<'_, P> {
    /// A lane has ended a request, and pauses if that is how people are.
    pub(super) fn pause(&mut self, lane: usize, now: Instant) {
        let pause = match &self.pace {
            Pace::Closed(_) => self.picker.think_time(self.lanes[lane].request),
            Pace::Open(_) => Duration::ZERO,
        };
        self.take_turn(lane, now, pause);
    }

    /// A lane has no request: it takes the next one, or waits for it.
    pub(super) fn release(&mut self, lane: usize, now: Instant) {
        self.take_turn(lane, now, Duration::ZERO);
    }

    fn take_turn(&mut self, lane: usize, now: Instant, pause: Duration) {
        if let Pace::Open(schedule) = &mut self.pace {
            return schedule.free.push_back(lane);
        }
        let Some(start) = self.clock.map(|clock| clock.start) else { return };
        if self.is_over(now) {
            return;
        }
        let slot = self.slot(lane);
        let Pace::Closed(crowd) = &mut self.pace else { return };
        match crowd.turn(lane, slot, start, now, pause) {
            Turn::Send => self.claim(lane, now, now),
            Turn::Pause => {}
            Turn::Leave => {
                if self.connections[slot].is_idle() {
                    self.part(slot);
                }
            }
        }
    }

    /// Gives requests that are due to connections that are free.
    pub(super) fn dispatch(&mut self, now: Instant) {
        let Some(clock) = self.clock else { return };
        // Each that is woken sleeps until later, or has a request.
        while let Pace::Closed(crowd) = &mut self.pace {
            let Some(lane) = crowd.wake(now) else { return };
            self.release(lane, now);
        }
        // Each takes a free lane, so there are no more of them than lanes.
        while let Pace::Open(schedule) = &mut self.pace {
            let due = clock.start + schedule.arrivals.next_due();
            let in_schedule = clock.end.is_none_or(|end| due < end && now < end + BACKLOG_GRACE);
            let stopped = clock.stopped_at.is_some() || self.budget == Some(0);
            if due > now || !in_schedule || stopped {
                return;
            }
            let Some(lane) = schedule.free.pop_front() else { return };
            schedule.arrivals.advance();
            self.claim(lane, due, now);
        }
    }

    /// Gives a lane a request whose latency counts from `since`.
    fn claim(&mut self, lane: usize, since: Instant, now: Instant) {
        if self.is_measured(since)
            && let Some(budget) = &mut self.budget
        {
            *budget -= 1;
        }
        self.under_way += 1;
        let carried = &mut self.lanes[lane];
        (carried.state, carried.since) = (LaneState::Claimed, since);
        carried.was_returned = false;
        carried.request = self.picker.pick();
        let slot = self.slot(lane);
        match &self.connections[slot] {
            connection if connection.takes_requests() => self.send(lane, now),
            Connection { stage: Stage::Closed, .. } => self.connect(slot, now),
            // It will begin when the connection is ready, or another one.
            _ => {}
        }
    }

    /// Whether a request that began then counts, or belongs to the warm-up.
    pub(super) fn is_measured(&self, since: Instant) -> bool {
        self.clock.is_some_and(|clock| since >= clock.measure_from)
    }
}
