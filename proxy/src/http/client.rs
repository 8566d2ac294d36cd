//! The client's side of a connection.

use std::{io, time::Duration};

use bs9_net::{
    Buffer, ConnectionSlot, Interrupted, ListenerId, OpenGuard, PeerAddress, Stream, Timer,
};

/// How long, and for how many bytes, a connection that is being closed still reads, so
/// that the client gets to see the response before a reset (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const MAX_LINGER_BYTES: usize = 1024 * 1024;

/// A client's connection.
pub(super) struct Client {
    pub(super) stream: Stream,
    pub(super) peer: PeerAddress,
    /// For `X-Forwarded-For`: written once, not once per request. Empty for a Unix socket.
    pub(super) address_text: String,
    pub(super) timer: Timer,
    pub(super) slot: ConnectionSlot,
    _open: OpenGuard,
}

impl Client {
    pub(super) fn new(connection: bs9_net::Connection, timer: Timer) -> Self {
        let bs9_net::Connection { stream, peer, slot, open } = connection;
        let address_text = peer.ip().map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
        Self { stream, peer, address_text, timer, slot, _open: open }
    }

    /// Where it came in.
    pub(super) fn listener(&self) -> ListenerId {
        self.slot.listener().id
    }

    /// Reads more behind what `buffer` holds; 0 is the end.
    pub(super) async fn read(&self, buffer: &mut Buffer) -> Result<io::Result<usize>, Interrupted> {
        self.timer.guard(self.stream.read(buffer)).await
    }

    /// Closes in good order: says that nothing more comes, then waits a little for
    /// the client to have read it.
    pub(super) async fn linger(&self, mut buffer: Buffer) {
        if self.stream.shutdown_write().is_err() {
            return;
        }
        self.timer.set(LINGER);
        let mut total = 0;
        while total < MAX_LINGER_BYTES {
            buffer.consume(buffer.len());
            match self.read(&mut buffer).await {
                Ok(Ok(count)) if count > 0 => total += count,
                _ => return,
            }
        }
    }
}
