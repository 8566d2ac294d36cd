//! What can go wrong with a stream to an endpoint.

use std::io;

use h2::Reason;

/// Why a stream ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamFault {
    /// REFUSED_STREAM: the endpoint has not looked at the request (RFC 9113 section 8.7).
    #[error("the endpoint refused the stream")]
    Refused,
    /// The endpoint is leaving, and the stream is above the last one that it looked at
    /// (section 6.8).
    #[error("the endpoint is leaving, and has not looked at the stream")]
    GoneAway,
    /// RST_STREAM for another reason.
    #[error("the endpoint reset the stream: {0}")]
    Reset(Reason),
    /// The endpoint broke the protocol.
    #[error("the endpoint broke the protocol: {0}")]
    Protocol(Reason),
    /// A PING was not answered.
    #[error("the endpoint did not answer a PING")]
    PingTimeout,
    /// The connection ended.
    #[error("the endpoint closed the connection")]
    Closed,
    /// HTTP/2 has no way to ask for this.
    #[error("the request cannot be said in HTTP/2")]
    Unsayable,
    /// The response's head does not fit.
    #[error("the head of the response is too large")]
    HeadTooLarge,
}

impl StreamFault {
    /// What an error of the library comes to.
    pub(super) fn of(error: &h2::Error) -> Self {
        let reason = error.reason().unwrap_or(Reason::INTERNAL_ERROR);
        if error.is_io() {
            return Self::Closed;
        }
        match (error.is_remote(), error.is_reset(), error.is_go_away()) {
            (true, true, _) if reason == Reason::REFUSED_STREAM => Self::Refused,
            (true, true, _) => Self::Reset(reason),
            (true, _, true) => Self::GoneAway,
            _ => Self::Protocol(reason),
        }
    }

    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionReset, self)
    }
}

/// The fault that a [`Lane`](super::Lane) failed with; `None`: it was something else.
pub(crate) fn fault_of(error: &io::Error) -> Option<StreamFault> {
    error.get_ref().and_then(|source| source.downcast_ref::<StreamFault>()).copied()
}
