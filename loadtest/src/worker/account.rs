//! How a request ends, and what is written down about it.

use std::{io::Write as _, time::Instant};

use super::{LaneState, Stage, Worker};
use crate::{
    failure::Failure,
    protocol::{Complete, Protocol, Reuse},
};

impl<P: Protocol> Worker<'_, P> {
    /// The response is all there, as expected or not.
    pub(super) fn succeed(&mut self, slot: usize, complete: Complete) {
        let now = Instant::now();
        let Complete { lane, outcome, status, reuse } = complete;
        let lane = self.lane(slot, lane);
        let carried = &mut self.lanes[lane];
        if carried.state != LaneState::Begun {
            return;
        }
        carried.state = LaneState::Free;
        let (since, began, request) = (carried.since, carried.began, carried.request);
        let connection = &mut self.connections[slot];
        connection.under_way -= 1;
        connection.draining |= reuse == Reuse::Close || !self.order.keep_alive;
        self.part_if_drained(slot);
        self.under_way -= 1;
        if !self.is_measured(since) {
            self.warmed_up += 1;
        } else {
            self.last_end = now;
            self.measured.status(status);
            match outcome {
                Ok(()) => {
                    self.measured.succeed(request, now - since);
                    if self.pace.is_open() {
                        self.measured.service.record(now - began);
                    }
                }
                Err(failure) => self.measured.fail(request, &failure),
            }
        }
        self.pause(lane, now);
        if P::MULTIPLEXED {
            self.open_if_wanted(slot, now);
        }
    }

    /// The connection is of no use any more, and the requests it carries with it.
    pub(super) fn fail(&mut self, slot: usize, failure: &Failure) {
        let now = Instant::now();
        let connection = &mut self.connections[slot];
        let was_opening = matches!(connection.stage, Stage::Connecting | Stage::LoggingIn);
        connection.close();
        if self.clock.is_none() {
            // Before the start; it gets another chance with its first request.
            self.opening -= 1;
            self.opening_failures.record(failure);
            return;
        }
        for lane in self.lanes_of(slot) {
            match self.lanes[lane].state {
                // It waits for another connection, when this one was to be closed anyway.
                LaneState::Claimed if !was_opening => {}
                LaneState::Claimed | LaneState::Begun => self.lose(lane, failure, now),
                LaneState::Free | LaneState::Resting => {}
            }
        }
        if was_opening {
            // A server that is not there is not asked as fast as a core can.
            let connection = &mut self.connections[slot];
            connection.stage = Stage::Waiting;
            let pause = connection.pause();
            self.set_deadline(slot, now + pause);
            return;
        }
        for lane in self.lanes_of(slot) {
            if self.lanes[lane].state == LaneState::Resting {
                self.lanes[lane].state = LaneState::Free;
                self.pause(lane, now);
            }
        }
        self.open_if_wanted(slot, now);
    }

    /// The request on a lane has taken too long.
    pub(super) fn expire(&mut self, slot: usize, lane: usize) {
        let own = lane - self.lanes_of(slot).start;
        let connection = &mut self.connections[slot];
        match self.protocol.abandon(&mut connection.session, own, &mut connection.out) {
            Reuse::Close => self.fail(slot, &Failure::RequestTimeout),
            Reuse::Keep => {
                let now = Instant::now();
                connection.under_way -= 1;
                self.lose(lane, &Failure::RequestTimeout, now);
                self.lanes[lane].state = LaneState::Free;
                self.queue_flush(slot);
                self.part_if_drained(slot);
                self.pause(lane, now);
                self.open_if_wanted(slot, now);
            }
        }
    }

    /// The server has not looked at a request: it is sent again, once.
    pub(super) fn give_back(&mut self, slot: usize, own: usize) {
        let lane = self.lane(slot, own);
        let carried = &mut self.lanes[lane];
        if carried.state != LaneState::Begun {
            return;
        }
        if std::mem::replace(&mut carried.was_returned, true) {
            let outcome = Err(Failure::GoAway("it has not looked at it twice"));
            let complete = Complete { lane: own, outcome, status: None, reuse: Reuse::Close };
            return self.succeed(slot, complete);
        }
        carried.state = LaneState::Claimed;
        self.connections[slot].under_way -= 1;
    }

    /// A request failed. Its lane rests until it is told otherwise.
    fn lose(&mut self, lane: usize, failure: &Failure, now: Instant) {
        let carried = &mut self.lanes[lane];
        carried.state = LaneState::Resting;
        let (since, request) = (carried.since, carried.request);
        self.under_way -= 1;
        if self.is_measured(since) {
            self.last_end = now;
            self.measured.fail(request, failure);
        } else {
            self.warmed_up += 1;
        }
    }

    /// Closes a connection that takes no further requests, when the last one has ended.
    pub(super) fn part_if_drained(&mut self, slot: usize) {
        let connection = &self.connections[slot];
        if connection.draining && connection.is_idle() {
            self.part(slot);
        }
    }

    /// Opens a connection for which requests wait.
    pub(super) fn open_if_wanted(&mut self, slot: usize, now: Instant) {
        let waits = |lane: usize| self.lanes[lane].state == LaneState::Claimed;
        if self.connections[slot].stage == Stage::Closed && self.lanes_of(slot).any(waits) {
            self.connect(slot, now);
        }
    }

    /// Closes a connection the way its protocol does.
    pub(super) fn part(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if let Some(stream) = &mut connection.stream {
            self.protocol.farewell(&mut connection.session, &mut connection.out);
            let rest = &connection.out[connection.written..];
            if !rest.is_empty() {
                // It is closed anyway.
                let _courtesy = stream.write(rest);
            }
        }
        connection.close();
    }

    /// Closes what is still open.
    pub(super) fn say_farewell(&mut self) {
        for slot in 0..self.connections.len() {
            if self.connections[slot].is_idle() {
                self.part(slot);
            }
        }
    }
}
