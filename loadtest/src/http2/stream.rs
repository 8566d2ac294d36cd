//! A stream: one request and its response.

use crate::checks::Seen;

/// The stream of a lane.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) phase: Phase,
    /// Its number, while it is open.
    pub(super) id: u32,
    /// The request of the mix.
    pub(super) exchange: usize,
    /// The body, when it is another one each time.
    pub(super) filled: Vec<u8>,
    /// How much of the body was sent.
    pub(super) sent_bytes: usize,
    /// How much more of it the server takes now.
    pub(super) send_window: i64,
    /// What was received since the server was last told that there is room for it.
    pub(super) unannounced_bytes: u32,
    pub(super) interim: u8,
    pub(super) seen: Seen,
    /// The fields, while it waits for its turn.
    pub(super) block: Vec<u8>,
}

/// Where a stream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none.
    #[default]
    Closed,
    /// The server does not take another one yet.
    Waiting,
    /// The response is to come.
    Asked,
    /// Its fields were received, and this status.
    Answered(u16),
}

impl Stream {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Asked | Phase::Answered(_))
    }
}
