//! How a request ends, and what is written down about it.

use std::{io::Write as _, time::Instant};

use super::{Stage, Worker};
use crate::{
    failure::Failure,
    protocol::{Complete, Protocol, Reuse},
};

impl<P: Protocol> Worker<'_, P> {
    /// The response is all there, as expected or not.
    pub(super) fn succeed(&mut self, slot: usize, complete: Complete) {
        let now = Instant::now();
        let Complete { outcome, status, reuse } = complete;
        let connection = &mut self.connections[slot];
        let Some(since) = connection.claimed.take() else { return };
        let began = connection.began;
        if reuse == Reuse::Keep && self.order.keep_alive {
            connection.stage = Stage::Idle;
        } else {
            self.part(slot);
        }
        self.under_way -= 1;
        if !self.is_measured(since) {
            self.warmed_up += 1;
        } else {
            self.last_end = now;
            self.measured.status(status);
            match outcome {
                Ok(()) => {
                    self.measured.succeeded += 1;
                    self.measured.latency.record(now - since);
                    if self.pace.is_open() {
                        self.measured.service.record(now - began);
                    }
                }
                Err(failure) => self.measured.fail(&failure, 1),
            }
        }
        self.release(slot, now);
    }

    /// The connection is of no use any more, and its request with it.
    pub(super) fn fail(&mut self, slot: usize, failure: &Failure) {
        let now = Instant::now();
        let connection = &mut self.connections[slot];
        let was_opening = matches!(connection.stage, Stage::Connecting | Stage::LoggingIn);
        connection.close();
        let Some(since) = connection.claimed.take() else {
            // Before the start; it gets another chance with its first request.
            self.opening -= 1;
            self.opening_failures.record(failure);
            return;
        };
        self.under_way -= 1;
        if self.is_measured(since) {
            self.last_end = now;
            self.measured.fail(failure, 1);
        } else {
            self.warmed_up += 1;
        }
        if was_opening {
            // A server that is not there is not asked as fast as a core can.
            let connection = &mut self.connections[slot];
            connection.stage = Stage::Waiting;
            let pause = connection.pause();
            self.set_deadline(slot, now + pause);
        } else {
            self.release(slot, now);
        }
    }

    /// Open loop: due, but no connection was free until the end.
    pub(super) fn note_unsent(&mut self, count: u64) {
        if count > 0 {
            self.measured.fail(&Failure::Unsent, count);
        }
    }

    /// Closes a connection the way its protocol does.
    fn part(&mut self, slot: usize) {
        let farewell = self.protocol.farewell();
        let connection = &mut self.connections[slot];
        if let Some(stream) = &mut connection.stream
            && !farewell.is_empty()
        {
            // It is closed anyway.
            let _courtesy = stream.write(farewell);
        }
        connection.close();
    }

    /// Closes what is still open.
    pub(super) fn say_farewell(&mut self) {
        for slot in 0..self.connections.len() {
            if self.connections[slot].stage == Stage::Idle {
                self.part(slot);
            }
        }
    }
}
