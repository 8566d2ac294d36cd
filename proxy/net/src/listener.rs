//! A listener: what is counted and limited where connections come in.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;

use crate::{
    Counter, Gauge, PerShard,
    tls::{FailureKind, ServerTls},
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
    /// Counts one more open connection, or `None` when a limit is reached.
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
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.listener.open.fetch_sub(1, Relaxed);
        self.listener.process.open.fetch_sub(1, Relaxed);
        self.listener.cells[self.shard].open.decrement();
    }
}
