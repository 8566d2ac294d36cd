//! Timeouts, without timers: deadlines that are looked at when one can have passed.

use std::time::{Duration, Instant};

use super::{Lane, LaneState, Stage, Worker};
use crate::{failure::Failure, protocol::Protocol};

/// Least time between two looks at all connections; timeouts are that precise.
const GAP: Duration = Duration::from_millis(5);
/// How far ahead the next look is when nothing has a deadline.
const NOTHING_IN_SIGHT: Duration = Duration::from_secs(3_600);

impl<P: Protocol> Worker<'_, P> {
    /// This connection has to be open by then, or has rested.
    pub(super) fn set_deadline(&mut self, slot: usize, deadline: Instant) {
        self.connections[slot].deadline = deadline;
        self.next_sweep = self.next_sweep.min(deadline);
    }

    /// The request on this lane has to be done by then.
    pub(super) fn set_request_deadline(&mut self, lane: usize, deadline: Instant) {
        self.lanes[lane].deadline = deadline;
        self.next_sweep = self.next_sweep.min(deadline);
    }

    /// Ends what has taken too long, and pauses that are over.
    pub(super) fn sweep(&mut self, now: Instant) {
        if now < self.next_sweep {
            return;
        }
        // Deadlines only move away from here, so none can pass unseen before the earliest.
        self.next_sweep = now + NOTHING_IN_SIGHT;
        for slot in 0..self.connections.len() {
            let connection = &self.connections[slot];
            match connection.stage {
                Stage::Closed => {}
                Stage::Open if connection.under_way == 0 => {}
                Stage::Open => self.sweep_lanes(slot, now),
                _ if connection.deadline > now => {
                    self.next_sweep = self.next_sweep.min(connection.deadline);
                }
                Stage::Waiting => self.wake(slot, now),
                Stage::Connecting | Stage::LoggingIn => self.fail(slot, &Failure::ConnectTimeout),
            }
        }
        self.next_sweep = self.next_sweep.max(now + GAP);
    }

    fn sweep_lanes(&mut self, slot: usize, now: Instant) {
        for lane in self.lanes_of(slot) {
            let Lane { state, deadline, .. } = self.lanes[lane];
            if state != LaneState::Begun {
                continue;
            }
            if deadline > now {
                self.next_sweep = self.next_sweep.min(deadline);
            } else {
                self.expire(slot, lane);
            }
        }
    }

    /// A connection has rested, and may be opened again.
    fn wake(&mut self, slot: usize, now: Instant) {
        self.connections[slot].stage = Stage::Closed;
        for lane in self.lanes_of(slot) {
            if self.lanes[lane].state == LaneState::Resting {
                self.lanes[lane].state = LaneState::Free;
                self.release(lane, now);
            }
        }
        self.open_if_wanted(slot, now);
    }
}
