//! What is noted of a TCP connection, for its line in the access log.

use std::sync::Arc;

use bs9_net::{CoarseInstant, Connection, now};

use crate::{
    access_log::{AccessLog, Captured, Entry},
    cluster::{Endpoint, Lease},
    worker::Worker,
};

/// See the module.
#[derive(Default)]
pub(super) struct Visit {
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    /// Why it did not end in good order.
    pub(super) reason: &'static str,
    /// The name in the client's first TLS message, when it was looked at.
    pub(super) server_name: String,
    cluster: Option<Arc<str>>,
    endpoint: Option<Arc<Endpoint>>,
    tries: u32,
}

impl Visit {
    /// An endpoint is tried.
    pub(super) fn tries(&mut self, lease: &Lease) {
        self.cluster = Some(Arc::clone(&lease.cluster().cluster.config.name));
        self.endpoint = Some(Arc::clone(lease.endpoint()));
        self.tries += 1;
    }

    pub(super) fn log(
        &self,
        worker: &Worker,
        log: &AccessLog,
        connection: &Connection,
        started: CoarseInstant,
    ) {
        if !log.wants(!self.reason.is_empty(), worker.ids.next() as u32) {
            return;
        }
        let agreed = connection.stream.agreed();
        let asked = agreed.and_then(|agreed| agreed.server_name.as_deref());
        let client = connection.peer.ip().map(|ip| ip.to_canonical().to_string());
        let connected_by =
            connection.proxied.as_ref().map_or(connection.peer, |proxied| proxied.by);
        worker.desk.write(
            log,
            &Entry {
                started,
                duration: now().since(started),
                client: client.as_deref().unwrap_or_default(),
                peer: connected_by,
                captured: Captured::default(),
                protocol: "tcp",
                status: 0,
                received_bytes: self.received_bytes,
                sent_bytes: self.sent_bytes,
                upstream: self.endpoint.as_ref().map(|endpoint| &endpoint.address),
                upstream_duration: None,
                retries: self.tries.saturating_sub(1),
                route: "",
                cluster: self.cluster.as_deref().unwrap_or_default(),
                reason: self.reason,
                tls_version: agreed.map_or("", |agreed| agreed.version),
                server_name: asked.unwrap_or(&self.server_name),
            },
        );
    }
}
