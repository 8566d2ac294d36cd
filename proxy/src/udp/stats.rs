//! What a UDP listener counts.

use bs9_net::{Counter, PerShard};

/// Counters of one listener; they outlive reloads.
#[derive(Debug)]
pub(crate) struct UdpStats(PerShard<UdpCell>);

/// One shard's share.
#[derive(Debug, Default)]
pub(crate) struct UdpCell {
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    pub(crate) lost: Counter,
    pub(crate) refused: Counter,
}

/// What a UDP listener has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UdpReport {
    /// Datagrams of clients that were taken.
    pub received: u64,
    /// Datagrams sent to clients.
    pub sent: u64,
    /// Datagrams that a socket did not take, either way.
    pub lost: u64,
    /// Datagrams that began no session: no endpoint, a limit, not an allowed address.
    pub refused: u64,
}

impl UdpStats {
    pub(crate) fn new(shards: usize) -> Self {
        Self(PerShard::new(shards))
    }

    pub(crate) fn cell(&self, shard: usize) -> &UdpCell {
        &self.0[shard]
    }

    pub(crate) fn report(&self) -> UdpReport {
        UdpReport {
            received: self.0.sum(|cell| cell.received.get()),
            sent: self.0.sum(|cell| cell.sent.get()),
            lost: self.0.sum(|cell| cell.lost.get()),
            refused: self.0.sum(|cell| cell.refused.get()),
        }
    }
}
