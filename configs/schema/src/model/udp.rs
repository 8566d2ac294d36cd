//! Settings of `protocol = "udp"` listeners.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// The UDP part of `[listeners.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpListener {
    /// Name of a cluster that exists.
    pub cluster: Arc<str>,
    /// A session without a datagram either way. Default 1 min.
    pub idle_timeout: Duration,
    /// Datagrams from the endpoint after which a session has ended; `None`: it ends when idle.
    pub max_responses: Option<NonZeroU32>,
}
