//! A listener: what is counted and limited where connections come in.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;

use crate::{
    Counter, Gate, Gauge, PeerAddress, PerShard, Stream, time,
    tls::{Agreed, FailureKind, HandshakeFailure, ServerTls, Shown, TlsStream},
};

/// A listener's number: the same for as long as a listener of that name exists, or another
/// one that took its place and an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// What outlives a reload of a listener's settings: its number and its counters.
pub struct Listener {
    /// Its number.
    pub id: ListenerId,
    /// Its name.
    pub name: Arc<str>,
    pub(crate) engine: usize,
    pub(crate) cells: PerShard<ListenerCell>,
    pub(crate) limit: AtomicUsize,
    pub(crate) open: AtomicUsize,
    pub(crate) process: Arc<ProcessLimit>,
    /// For connections accepted from now on; `None`: plaintext.
    pub(crate) tls: ArcSwapOption<ServerTls>,
    /// Asked about connections from now on; `None`: everybody may come.
    pub(crate) gate: ArcSwapOption<Gate>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("id", &self.id).field("name", &self.name).finish()
    }
}

#[derive(Debug, Default)]
pub(crate) struct ListenerCell {
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) denied: Counter,
    pub(crate) bad_headers: Counter,
    pub(crate) open: Gauge,
    pub(crate) handshakes: Counter,
    pub(crate) resumptions: Counter,
    pub(crate) handshake_failures: [Counter; FailureKind::COUNT],
}

/// Connections over all listeners.
#[derive(Debug, Default)]
pub(crate) struct ProcessLimit {
    pub(crate) limit: AtomicUsize,
    pub(crate) open: AtomicUsize,
}

impl Listener {
    /// Asks the gate about a peer; counts the one that may not stay.
    pub(crate) fn lets_in(&self, gate: &Gate, peer: PeerAddress, shard: usize) -> bool {
        let inside = gate.lets_in(peer);
        if !inside {
            self.cells[shard].denied.increment();
            tracing::debug!(listener = &*self.name, %peer, "refused: not an allowed address");
        }
        inside
    }

    /// Counts a session of datagrams as a connection, when its client may come and no limit is
    /// reached.
    pub fn admit_session(
        self: &Arc<Self>,
        client: SocketAddr,
        shard: usize,
    ) -> Option<ConnectionSlot> {
        let gate = self.gate.load();
        if let Some(gate) = &*gate
            && !self.lets_in(gate, PeerAddress::Tcp(client), shard)
        {
            return None;
        }
        self.admit(shard)
    }

    /// Counts one more open connection or session, or `None` when a limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, shard: usize) -> Option<ConnectionSlot> {
        let cell = &self.cells[shard];
        let here = self.open.fetch_add(1, Relaxed);
        let anywhere = self.process.open.fetch_add(1, Relaxed);
        if here >= self.limit.load(Relaxed) || anywhere >= self.process.limit.load(Relaxed) {
            self.open.fetch_sub(1, Relaxed);
            self.process.open.fetch_sub(1, Relaxed);
            cell.refused.increment();
            return None;
        }
        cell.accepted.increment();
        cell.open.increment();
        Some(ConnectionSlot { listener: Arc::clone(self), shard })
    }

    /// Client connections open now.
    pub fn open_connections(&self) -> u64 {
        self.cells.sum(|cell| cell.open.get())
    }

    /// Client connections accepted since it was created.
    pub fn accepted_connections(&self) -> u64 {
        self.cells.sum(|cell| cell.accepted.get())
    }

    /// Client connections open now on one shard.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn open_connections_on(&self, shard: usize) -> u64 {
        self.cells[shard].open.get()
    }

    /// Client connections one shard accepted since the listener was created.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn accepted_connections_on(&self, shard: usize) -> u64 {
        self.cells[shard].accepted.get()
    }

    /// Whether what is accepted now shakes hands first.
    pub fn speaks_tls(&self) -> bool {
        self.tls.load().is_some()
    }

    /// TLS handshakes that succeeded.
    pub fn handshakes(&self) -> u64 {
        self.cells.sum(|cell| cell.handshakes.get())
    }

    /// Those of them that took up an earlier session.
    pub fn resumptions(&self) -> u64 {
        self.cells.sum(|cell| cell.resumptions.get())
    }

    /// TLS handshakes that failed, by [`FailureKind::NAMES`].
    pub fn handshake_failures(&self) -> [u64; FailureKind::COUNT] {
        std::array::from_fn(|kind| self.cells.sum(|cell| cell.handshake_failures[kind].get()))
    }

    /// Client connections closed because of `allow` and `deny`.
    pub fn denied_connections(&self) -> u64 {
        self.cells.sum(|cell| cell.denied.get())
    }

    /// Connections of trusted proxies closed because their PROXY header was malformed or late.
    pub fn bad_headers(&self) -> u64 {
        self.cells.sum(|cell| cell.bad_headers.get())
    }

    /// Client connections closed at accept because a limit was reached.
    pub fn refused_connections(&self) -> u64 {
        self.cells.sum(|cell| cell.refused.get())
    }
}

/// One open client connection, counted until this is dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    listener: Arc<Listener>,
    shard: usize,
}

impl ConnectionSlot {
    /// Where it came in.
    pub fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }

    /// Shakes hands with a client that asked for TLS in words of its engine's protocol
    /// ([`ShardEngine::starts_tls`](crate::ShardEngine::starts_tls)). `received` was read from
    /// the socket already, and is the beginning of the handshake. Bounded by the listener's
    /// handshake timeout, and counted.
    ///
    /// # Errors
    /// When it does not succeed; the client has been told why. `None`: the listener speaks no
    /// TLS.
    pub async fn shake_hands(
        &self,
        socket: Stream,
        received: &[u8],
        peer: PeerAddress,
    ) -> Option<Result<(TlsStream, Shown), HandshakeFailure>> {
        let tls = self.listener.tls.load_full()?;
        let shaking = tls.accept_and_show(socket, received);
        let shaken = match time::timeout(tls.handshake_timeout(), shaking).await {
            Ok(shaken) => shaken,
            Err(_) => Err(HandshakeFailure::Timeout),
        };
        self.note_handshake(shaken.as_ref().map(|(stream, _)| stream.agreed()), peer);
        Some(shaken)
    }

    /// Counts a handshake.
    pub(crate) fn note_handshake(
        &self,
        shaken: Result<&Agreed, &HandshakeFailure>,
        peer: PeerAddress,
    ) {
        let cell = &self.listener.cells[self.shard];
        match shaken {
            Ok(agreed) => {
                cell.handshakes.increment();
                if agreed.resumed {
                    cell.resumptions.increment();
                }
            }
            Err(failure) => {
                let kind = failure.kind();
                cell.handshake_failures[kind as usize].increment();
                tracing::debug!(
                    listener = &*self.listener.name, %peer, kind = kind.name(), error = %failure,
                    "a TLS handshake failed"
                );
            }
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.listener.open.fetch_sub(1, Relaxed);
        self.listener.process.open.fetch_sub(1, Relaxed);
        self.listener.cells[self.shard].open.decrement();
    }
}
