//! What an event loop needs to know of a protocol: bytes out, bytes in, and when it is done.

use crate::failure::Failure;

/// One side of a protocol, without sockets and clock. A value serves all connections of a
/// thread; what belongs to one connection is its session.
pub(crate) trait Protocol: Clone + Send {
    /// What belongs to one connection. Kept over reconnects, so that its buffers are.
    type Session;

    fn session(&self) -> Self::Session;

    /// A new connection: what went before it is forgotten. A login is begun in `out`.
    fn connected(&mut self, session: &mut Self::Session, out: &mut Vec<u8>) -> Login;

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

    /// Another request begins.
    fn begin(&mut self, session: &mut Self::Session);

    /// The request that was begun.
    fn request<'a>(&'a self, session: &'a Self::Session) -> &'a [u8];

    /// Bytes that arrived since the request began; all of them are taken.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    fn receive(&mut self, session: &mut Self::Session, input: &[u8]) -> Result<Receipt, Failure>;

    /// The server closed the connection during a response. For some that is how it ends.
    ///
    /// # Errors
    /// When it came too early.
    fn ended(&mut self, session: &mut Self::Session) -> Result<Complete, Failure>;

    /// Bytes that arrived while nothing was asked.
    fn idle(&mut self, session: &mut Self::Session, input: &[u8]) -> Reuse;

    /// What is said before a connection is closed.
    fn farewell(&self) -> &'static [u8] {
        &[]
    }
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
