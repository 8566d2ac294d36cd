//! Settings of `protocol = "tcp"` listeners.

use std::{sync::Arc, time::Duration};

use super::ServerName;

/// The TCP part of `[listeners.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpListener {
    /// Name of a cluster that exists; `None`: only what `sni` names is taken.
    pub cluster: Option<Arc<str>>,
    /// Where connections go by the name the client asks for.
    pub sni: Vec<SniRoute>,
    /// A connection without a byte either way. Default 1 h.
    pub idle_timeout: Duration,
    /// A connection from its beginning on; `None`: no limit.
    pub max_lifetime: Option<Duration>,
    /// Endpoints tried when one refuses the connection, after the first. Default 2.
    pub connect_attempts: u32,
}

/// One entry of `sni`: the name in the client's first TLS message decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SniRoute {
    /// At least one. Exact names come before wildcards, wherever they stand.
    pub names: Vec<ServerName>,
    /// Name of a cluster that exists.
    pub cluster: Arc<str>,
}
