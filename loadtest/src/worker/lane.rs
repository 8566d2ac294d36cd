//! A lane: room for one request on a connection. Most protocols have one lane a connection.

use std::time::Instant;

/// A lane, and the request it carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    pub(super) state: LaneState,
    /// Which one of the mix its request is.
    pub(super) request: usize,
    /// Whether it was sent once already, and returned unread.
    pub(super) was_returned: bool,
    /// When the latency of its request began to count.
    pub(super) since: Instant,
    /// When its request was really sent.
    pub(super) began: Instant,
    /// When its request has taken too long.
    pub(super) deadline: Instant,
}

/// Where a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneState {
    /// It has no request.
    Free,
    /// It had one that failed, and is free when the connection has rested.
    Resting,
    /// It has one, which waits for the connection.
    Claimed,
    /// Its request is under way.
    Begun,
}

impl Lane {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: LaneState::Free,
            request: 0,
            was_returned: false,
            since: now,
            began: now,
            deadline: now,
        }
    }
}
