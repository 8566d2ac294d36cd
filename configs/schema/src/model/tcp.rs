//! Settings of `protocol = "tcp"` listeners.

use std::{sync::Arc, time::Duration};

/// The TCP part of `[listeners.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpListener {
    /// Name of a cluster that exists.
    pub cluster: Arc<str>,
    /// A connection without a byte either way. Default 1 h.
    pub idle_timeout: Duration,
    /// Endpoints tried when one refuses the connection, after the first. Default 2.
    pub connect_attempts: u32,
}
