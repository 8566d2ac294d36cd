//! The client's side of a request.

use std::time::Duration;

use bs9_net::{Buffer, ConnectionSlot, ListenerId, OpenGuard, PeerAddress, Timer};

use crate::{duplex::Duplex, worker::Worker};

/// How long, and for how many bytes, a connection that is being closed still reads, so
/// that the client gets to see the response before a reset (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const MAX_LINGER_BYTES: usize = 1024 * 1024;

/// Where requests come from: the same for all of a connection's.
pub(crate) struct Origin {
    pub(crate) peer: PeerAddress,
    /// For `X-Forwarded-For`: written once, not once per request. Empty for a Unix socket.
    pub(crate) address_text: String,
    /// Whether the client speaks TLS.
    pub(crate) encrypted: bool,
    pub(crate) slot: ConnectionSlot,
    _open: OpenGuard,
}

impl Origin {
    pub(super) fn new(
        peer: PeerAddress,
        encrypted: bool,
        slot: ConnectionSlot,
        open: OpenGuard,
    ) -> Self {
        let address_text = peer.ip().map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
        Self { peer, address_text, encrypted, slot, _open: open }
    }

    /// Where it came in.
    pub(crate) fn listener(&self) -> ListenerId {
        self.slot.listener().id
    }

    /// Whether its listener is still in the configuration.
    pub(crate) fn is_served(&self, worker: &Worker) -> bool {
        worker.view().part.http.contains_key(&self.listener())
    }
}

/// The client's side of a request: what it is read from and answered to.
pub(crate) struct Client<'a, D> {
    pub(crate) stream: &'a D,
    pub(crate) timer: &'a Timer,
    pub(crate) origin: &'a Origin,
}

impl<D> Clone for Client<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Client<'_, D> {}

/// Closes in good order: says that nothing more comes, then waits a little for
/// the client to have read it.
pub(crate) async fn linger(stream: &impl Duplex, timer: &Timer, mut buffer: Buffer) {
    if stream.shutdown_write().is_err() {
        return;
    }
    timer.set(LINGER);
    let mut total = 0;
    while total < MAX_LINGER_BYTES {
        buffer.consume(buffer.len());
        match timer.guard(stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => total += count,
            _ => return,
        }
    }
}
