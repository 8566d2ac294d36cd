//! What an event loop needs to know of a protocol: bytes out, bytes in, and when it is done.

use std::time::Duration;

use crate::failure::Failure;

/// One side of a protocol, without sockets and clock. A value serves all connections of a
/// thread; what belongs to one connection is its session.
///
/// A connection has lanes: requests it can carry at the same time. Most protocols have one.
/// Wherever there is an `out`, what is put there is sent, in its order and before
/// [`request`](Self::request).
pub(crate) trait Protocol: Clone + Send {
    /// What belongs to one connection. Kept over reconnects, so that its buffers are.
    type Session;

    /// Whether a connection may have more than one lane. Then responses come from
    /// [`completed`](Self::completed) instead of [`receive`](Self::receive).
    const MULTIPLEXED: bool = false;

    /// Told once, before anything else: which of the run's threads this is.
    fn settle(&mut self, _index: usize, _threads: usize) {}

    fn session(&self) -> Self::Session;

    /// Lanes of each connection, at least one.
    fn lanes(&self) -> usize {
        1
    }

    /// A new connection: what went before it is forgotten. A login is begun in `out`.
    ///
    /// # Errors
    /// When there is no way to begin.
    fn connected(
        &mut self,
        session: &mut Self::Session,
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure>;

    /// Bytes that arrived during login; answers go into `out`.
    ///
    /// # Errors
    /// When the login fails.
    fn login(
        &mut self,
        session: &mut Self::Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure>;

    /// Another request begins, on a lane that is free. It goes into `out`, or is what
    /// [`request`](Self::request) says from now on.
    ///
    /// # Errors
    /// When it cannot be made; the connection is closed then.
    fn begin(
        &mut self,
        session: &mut Self::Session,
        beginning: Beginning,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure>;

    /// The request that was begun, where it can be sent from where it lies.
    fn request<'a>(&'a self, _session: &'a Self::Session) -> &'a [u8] {
        &[]
    }

    /// Multiplexed: what began or was answered is about to be sent, perhaps several together.
    fn seal(&mut self, _session: &mut Self::Session, _out: &mut Vec<u8>) {}

    /// Bytes that arrived since the request began; all of them are taken.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    fn receive(
        &mut self,
        session: &mut Self::Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Receipt, Failure>;

    /// Multiplexed: a response that was completed by what was received.
    fn completed(&mut self, _session: &mut Self::Session) -> Option<Complete> {
        None
    }

    /// Multiplexed: the lane of a request that the server has not looked at, and that may be sent
    /// again on another connection.
    fn returned(&mut self, _session: &mut Self::Session) -> Option<usize> {
        None
    }

    /// Multiplexed: whether no further request may begin on this connection. It is closed when
    /// the last one that is under way has ended.
    fn is_draining(&self, _session: &Self::Session) -> bool {
        false
    }

    /// The request on a lane has taken too long: whether the connection can do without it.
    fn abandon(&mut self, _session: &mut Self::Session, _lane: usize, _out: &mut Vec<u8>) -> Reuse {
        Reuse::Close
    }

    /// The server closed the connection during a response. For some that is how it ends.
    ///
    /// # Errors
    /// When it came too early.
    fn ended(&mut self, session: &mut Self::Session) -> Result<Complete, Failure>;

    /// Bytes that arrived while nothing was asked.
    fn idle(&mut self, session: &mut Self::Session, input: &[u8], out: &mut Vec<u8>) -> Reuse;

    /// The protocol wants to pause for so long within the request that is under way: asked when a
    /// request has begun, and whenever what arrived has not ended it. The latency goes on.
    #[inline]
    fn nap(&mut self, _session: &mut Self::Session) -> Option<Duration> {
        None
    }

    /// The pause it asked for is over.
    ///
    /// # Errors
    /// When the request cannot go on; the connection is closed then.
    fn resume(
        &mut self,
        _session: &mut Self::Session,
        _out: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        Ok(Receipt::More)
    }

    /// Statements answered so far, where a request is several of them.
    fn statements(&self) -> Option<u64> {
        None
    }

    /// What is said before a connection is closed.
    fn farewell(&mut self, _session: &mut Self::Session, _out: &mut Vec<u8>) {}
}

/// What begins, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Beginning {
    /// The lane of the connection.
    pub(crate) lane: usize,
    /// Which one of the mix it is; where there is no mix it is always the first.
    pub(crate) request: usize,
}

/// How far a login is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// It goes on.
    Pending,
    /// Requests may be sent.
    Done,
}

/// How far a response is.
#[derive(Debug)]
pub(crate) enum Receipt {
    /// It goes on.
    More,
    /// It is all there.
    Complete(Complete),
}

/// A response that is all there.
#[derive(Debug)]
pub(crate) struct Complete {
    /// The lane of its request.
    pub(crate) lane: usize,
    /// Whether it is as expected.
    pub(crate) outcome: Result<(), Failure>,
    /// Its status, where there is such a thing.
    pub(crate) status: Option<u16>,
    /// What becomes of the connection.
    pub(crate) reuse: Reuse,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It takes another request.
    Keep,
    /// It does not.
    Close,
}
