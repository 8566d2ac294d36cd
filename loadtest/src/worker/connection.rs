//! A connection: its socket, where it is, and the request it has claimed.

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
    /// It waits for a request.
    Idle,
    /// The request is being sent.
    Sending,
    /// The response is being received.
    Receiving,
}

/// A connection that comes and goes.
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) stream: Option<TcpStream>,
    pub(super) stage: Stage,
    pub(super) session: S,
    /// What is to be sent during login.
    pub(super) login: Vec<u8>,
    /// Bytes sent of the login or the request.
    pub(super) written: usize,
    /// The request it has claimed: when latency began to count.
    pub(super) claimed: Option<Instant>,
    /// When the request was really sent, or connecting began.
    pub(super) began: Instant,
    /// When what is under way has taken too long, or the pause is over.
    pub(super) deadline: Instant,
    failures_in_a_row: u32,
}

impl<S> Connection<S> {
    pub(super) fn new(session: S, now: Instant) -> Self {
        Self {
            stream: None,
            stage: Stage::Closed,
            session,
            login: Vec::new(),
            written: 0,
            claimed: None,
            began: now,
            deadline: now,
            failures_in_a_row: 0,
        }
    }

    /// Closes the socket, if there is one.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.stage = Stage::Closed;
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
