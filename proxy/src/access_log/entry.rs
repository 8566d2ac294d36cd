//! One line's worth of facts.

use std::time::Duration;

use bs9_config::EndpointAddress;
use bs9_net::{CoarseInstant, PeerAddress};

use super::Captured;

/// What is known of a request, connection or session that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) started: CoarseInstant,
    pub(crate) duration: Duration,
    /// Text of the client's address; empty: a unix socket's.
    pub(crate) client: &'a str,
    /// Who connected.
    pub(crate) peer: PeerAddress,
    pub(crate) captured: Captured<'a>,
    pub(crate) protocol: &'static str,
    /// 0: none.
    pub(crate) status: u16,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) upstream: Option<&'a EndpointAddress>,
    pub(crate) upstream_duration: Option<Duration>,
    pub(crate) retries: u32,
    pub(crate) route: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) reason: &'static str,
    pub(crate) tls_version: &'static str,
    pub(crate) server_name: &'a str,
}
