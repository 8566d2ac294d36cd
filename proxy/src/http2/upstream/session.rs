//! A connection to an endpoint, as those who use it know it.

use std::{cell::Cell, future::poll_fn, pin::pin, rc::Rc, sync::Arc, task::Poll};

use bs9_net::{CoarseInstant, now};
use tokio::sync::Notify;

use super::fault::StreamFault;
use crate::cluster::Endpoint;

/// What the driver of a connection and the requests on it tell each other.
#[derive(Debug)]
pub(super) struct Session {
    /// Whose count of idle connections it is in, and on which shard.
    endpoint: Arc<Endpoint>,
    shard: usize,
    /// Requests under way.
    active: Cell<usize>,
    /// When a request last began or ended.
    used: Cell<CoarseInstant>,
    /// When requests began to be under way, with none before.
    busy_since: Cell<CoarseInstant>,
    /// When the endpoint was last heard; whether it ever was.
    heard: Cell<CoarseInstant>,
    spoke: Cell<bool>,
    /// The endpoint has said what it can do.
    settled: Cell<bool>,
    settling: Notify,
    ended: Cell<bool>,
    /// Why it ended, where the library does not know.
    fault: Cell<Option<StreamFault>>,
    /// Tells those who wait that a request more can be sent.
    freed: Rc<Notify>,
}

impl Session {
    pub(super) fn new(endpoint: &Arc<Endpoint>, shard: usize, freed: &Rc<Notify>) -> Rc<Self> {
        let session = Self {
            endpoint: Arc::clone(endpoint),
            shard,
            active: Cell::new(0),
            used: Cell::new(now()),
            busy_since: Cell::new(now()),
            heard: Cell::new(now()),
            spoke: Cell::new(false),
            settled: Cell::new(false),
            settling: Notify::new(),
            ended: Cell::new(false),
            fault: Cell::new(None),
            freed: Rc::clone(freed),
        };
        session.endpoint.cells[shard].idle.increment();
        Rc::new(session)
    }

    /// Bytes came from the endpoint.
    pub(super) fn hears(&self) {
        self.heard.set(now());
        self.spoke.set(true);
    }

    pub(super) fn active(&self) -> usize {
        self.active.get()
    }

    pub(super) fn used(&self) -> CoarseInstant {
        self.used.get()
    }

    pub(super) fn heard(&self) -> CoarseInstant {
        self.heard.get()
    }

    pub(super) fn busy_since(&self) -> CoarseInstant {
        self.busy_since.get()
    }

    /// A request begins.
    pub(super) fn begin(&self) {
        self.used.set(now());
        if self.active.replace(self.active.get() + 1) == 0 {
            self.busy_since.set(now());
            if !self.ended.get() {
                self.endpoint.cells[self.shard].idle.decrement();
            }
        }
    }

    /// A request has ended.
    pub(super) fn release(&self) {
        self.active.set(self.active.get() - 1);
        if self.active.get() == 0 && !self.ended.get() {
            self.endpoint.cells[self.shard].idle.increment();
        }
        self.used.set(now());
        self.freed.notify_one();
    }

    /// The connection is no more.
    pub(super) fn end(&self, fault: Option<StreamFault>) {
        if !self.ended.replace(true) && self.active.get() == 0 {
            self.endpoint.cells[self.shard].idle.decrement();
        }
        self.fault.set(fault);
        self.settle();
        self.freed.notify_waiters();
    }

    /// What the endpoint said, if anything, has been looked at: its SETTINGS come first.
    pub(super) fn looked_at(&self) {
        if self.spoke.get() {
            self.settle();
        }
    }

    fn settle(&self) {
        if !self.settled.replace(true) {
            self.settling.notify_waiters();
            self.freed.notify_waiters();
        }
    }

    /// Whether it is known what the endpoint can do.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// Waits until the endpoint has said what it can do, or is gone.
    pub(super) async fn settled(&self) {
        let mut settling = pin!(self.settling.notified());
        poll_fn(|cx| match settling.as_mut().poll(cx) {
            Poll::Pending if !self.settled.get() => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// What an error of the library means on this connection.
    pub(super) fn explain(&self, error: &h2::Error) -> StreamFault {
        match StreamFault::of(error) {
            StreamFault::Closed => self.fault.get().unwrap_or(StreamFault::Closed),
            known => known,
        }
    }
}
