//! Timeouts, without timers: deadlines that are looked at when one can have passed.

use std::time::{Duration, Instant};

use super::{Stage, Worker};
use crate::{failure::Failure, protocol::Protocol};

/// Least time between two looks at all connections; timeouts are that precise.
const GAP: Duration = Duration::from_millis(5);
/// How far ahead the next look is when nothing has a deadline.
const NOTHING_IN_SIGHT: Duration = Duration::from_secs(3_600);

impl<P: Protocol> Worker<'_, P> {
    /// What is under way on this connection has to be done by then.
    pub(super) fn set_deadline(&mut self, slot: usize, deadline: Instant) {
        self.connections[slot].deadline = deadline;
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
            let connection = &mut self.connections[slot];
            if matches!(connection.stage, Stage::Closed | Stage::Idle) {
                continue;
            }
            if connection.deadline > now {
                self.next_sweep = self.next_sweep.min(connection.deadline);
                continue;
            }
            match connection.stage {
                Stage::Closed | Stage::Idle => {}
                Stage::Waiting => {
                    connection.stage = Stage::Closed;
                    self.release(slot, now);
                }
                Stage::Connecting | Stage::LoggingIn => self.fail(slot, &Failure::ConnectTimeout),
                Stage::Sending | Stage::Receiving => self.fail(slot, &Failure::RequestTimeout),
            }
        }
        self.next_sweep = self.next_sweep.max(now + GAP);
    }
}
