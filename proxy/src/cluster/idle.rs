//! Upstream connections kept for reuse: one shard's, of one endpoint.

use std::{cell::RefCell, collections::VecDeque, sync::Arc, time::Duration};

use bs9_net::{CoarseInstant, Transport, now};

use super::{Endpoint, handover::Asking};

/// A connection that was idle for so long may be about to be closed at the other end for that. A
/// request that must not be sent twice would be lost with it, so the kernel is asked.
const RESTED: Duration = Duration::from_millis(500);

/// Last in, first out: what was used last is warmest, and the surplus ages at the
/// other end.
#[derive(Debug)]
pub(super) struct IdleConnections {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) shard: usize,
    pub(super) kept: RefCell<VecDeque<Idle>>,
    pub(super) asking: Asking,
}

#[derive(Debug)]
pub(super) struct Idle {
    pub(super) stream: Transport,
    pub(super) since: CoarseInstant,
}

impl IdleConnections {
    pub(super) fn new(endpoint: Arc<Endpoint>, shard: usize) -> Self {
        Self { endpoint, shard, kept: RefCell::default(), asking: Asking::default() }
    }

    /// One that is still as it was left; those that are not are closed.
    pub(super) fn take(&self, idle_timeout: Duration) -> Option<Transport> {
        loop {
            let idle = self.kept.borrow_mut().pop_back()?;
            self.endpoint.cells[self.shard].idle.decrement();
            let rested = now().since(idle.since);
            if rested >= RESTED {
                idle.stream.suspect();
            }
            if rested < idle_timeout && idle.stream.is_quiet() {
                return Some(idle.stream);
            }
            idle.stream.finish();
        }
    }

    /// Keeps `stream`, at the cost of the oldest one when there are `most` already.
    pub(super) fn put(&self, stream: Transport, most: usize) {
        if most == 0 {
            return stream.finish();
        }
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= most {
            kept.pop_front().inspect(|idle| idle.stream.finish());
        } else {
            self.endpoint.cells[self.shard].idle.increment();
        }
        kept.push_back(Idle { stream, since: now() });
    }

    /// Closes what has been idle for too long or was closed by the endpoint.
    pub(super) fn sweep(&self, idle_timeout: Duration) {
        let mut kept = self.kept.borrow_mut();
        let before = kept.len();
        let instant = now();
        kept.retain(|idle| {
            let keep = instant.since(idle.since) < idle_timeout && idle.stream.is_quiet();
            if !keep {
                idle.stream.finish();
            }
            keep
        });
        for _ in kept.len()..before {
            self.endpoint.cells[self.shard].idle.decrement();
        }
    }
}

impl Drop for IdleConnections {
    fn drop(&mut self) {
        for idle in &*self.kept.borrow() {
            idle.stream.finish();
            self.endpoint.cells[self.shard].idle.decrement();
        }
    }
}
