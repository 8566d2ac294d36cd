//! What the connections of HTTP/2 count.

use bs9_api::types::{CountByReason, Http2Status};
use bs9_net::{Counter, PerShard};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client closed it, or it was reset.
    ByClient,
    /// Nothing was asked for too long.
    Idle,
    /// The data plane or the listener went.
    Drained,
    /// The client broke the protocol.
    ProtocolError,
    /// The preface was not followed by SETTINGS in time.
    HandshakeTimeout,
    /// Frames that asked for work and brought no requests.
    FrameFlood,
    /// Requests begun only to be reset.
    RapidReset,
}

impl Ending {
    const NAMES: [&'static str; 7] = [
        "by_client",
        "idle",
        "drained",
        "protocol_error",
        "handshake_timeout",
        "frame_flood",
        "rapid_reset",
    ];

    /// The stable word for metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// One shard's share.
#[derive(Debug, Default)]
pub(crate) struct Http2Cell {
    pub(super) connections: Counter,
    pub(super) requests: Counter,
    /// Requests that the client gave up.
    pub(super) resets: Counter,
    pub(super) endings: [Counter; Ending::NAMES.len()],
}

/// Adds up the shards.
pub(crate) fn status<T>(
    cells: &PerShard<T>,
    cell: impl Fn(&T) -> &Http2Cell + Copy,
) -> Option<Http2Status> {
    let connections_total = cells.sum(|one| cell(one).connections.get());
    let endings = Ending::NAMES.iter().enumerate().map(|(at, reason)| CountByReason {
        reason: (*reason).to_owned(),
        count: cells.sum(|one| cell(one).endings[at].get()),
    });
    (connections_total > 0).then(|| Http2Status {
        connections_total,
        requests_total: cells.sum(|one| cell(one).requests.get()),
        resets_total: cells.sum(|one| cell(one).resets.get()),
        endings_total: endings.filter(|ending| ending.count > 0).collect(),
    })
}
