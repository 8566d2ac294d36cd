//! A connection: its socket, where it is, and what is to be sent on it.

use std::time::{Duration, Instant};

use mio::net::TcpStream;

/// First pause after a connection could not be opened; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none; the next request opens it.
    Closed,
    /// It could not be opened; until the deadline it is left alone.
    Waiting,
    /// The handshake is under way.
    Connecting,
    /// The login is under way.
    LoggingIn,
    /// Requests may be sent.
    Open,
}

/// A connection that comes and goes.
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) stream: Option<TcpStream>,
    pub(super) stage: Stage,
    pub(super) session: S,
    /// What the protocol wants sent, and how much of it was.
    pub(super) out: Vec<u8>,
    pub(super) written: usize,
    /// How much of the request was sent that lies with the protocol.
    pub(super) sent: usize,
    /// Whether not all could be sent: the socket says when there is room again.
    pub(super) blocked: bool,
    /// Whether it is in line to be flushed.
    pub(super) queued: bool,
    /// Whether no further request may begin on it.
    pub(super) draining: bool,
    /// Lanes whose request is under way.
    pub(super) under_way: usize,
    /// When connecting began.
    pub(super) began: Instant,
    /// When opening it has taken too long, or the pause is over.
    pub(super) deadline: Instant,
    /// When the pause within its request is over.
    pub(super) nap_ends: Option<Instant>,
    failures_in_a_row: u32,
}

impl<S> Connection<S> {
    pub(super) fn new(session: S, now: Instant) -> Self {
        Self {
            stream: None,
            stage: Stage::Closed,
            session,
            out: Vec::new(),
            written: 0,
            sent: 0,
            blocked: false,
            queued: false,
            draining: false,
            under_way: 0,
            began: now,
            deadline: now,
            nap_ends: None,
            failures_in_a_row: 0,
        }
    }

    /// Closes the socket, if there is one. What was to be sent is not.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.stage = Stage::Closed;
        self.under_way = 0;
        self.draining = false;
        self.blocked = false;
        self.nap_ends = None;
        self.out.clear();
        (self.written, self.sent) = (0, 0);
    }

    /// Whether a request may begin on it.
    pub(super) fn takes_requests(&self) -> bool {
        self.stage == Stage::Open && !self.draining
    }

    /// Whether it is open, and no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Open && self.under_way == 0
    }

    /// It could not be opened: the pause before the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        let doublings = self.failures_in_a_row.min(16);
        self.failures_in_a_row += 1;
        (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
    }

    /// It could be opened.
    pub(super) fn forgive(&mut self) {
        self.failures_in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second() {
        let mut connection = Connection::new((), Instant::now());
        let pauses: Vec<_> = (0..9).map(|_| connection.pause().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        connection.forgive();
        assert_eq!(connection.pause(), FIRST_PAUSE);
    }
}
