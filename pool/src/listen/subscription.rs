//! What one client listens to by way of the listening connection, and what it has not taken yet.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bs9_wire::message::backend::Notification;
use tokio::sync::{mpsc, oneshot};

use super::{
    Channel,
    way::{Order, Refusal},
};
use crate::local::LocalPool;

/// A NotificationResponse, as the server sent it.
pub(super) type Message = Arc<[u8]>;

/// Dropping it ends it.
pub(crate) struct Subscription {
    id: u64,
    channels: BTreeSet<Channel>,
    /// Its client's `client_encoding`.
    encoding: Arc<str>,
    hub: mpsc::UnboundedSender<Order>,
    /// Where the hub's messages come from; ended by it when there were too many.
    inbox: mpsc::UnboundedReceiver<Message>,
    /// Bytes in it.
    queued: Arc<AtomicUsize>,
}

/// The end of a client's queue that the hub holds. Dropping it ends the queue.
pub(super) struct Mailbox {
    sender: mpsc::UnboundedSender<Message>,
    queued: Arc<AtomicUsize>,
}

impl Subscription {
    /// To nothing yet. The client is to hear in this `client_encoding`.
    pub(crate) fn begin(local: &LocalPool, encoding: &Arc<str>) -> Box<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Relaxed);
        let pool = Arc::clone(&local.pool);
        let hub = pool.listening.hub(local.shard());
        let (sender, inbox) = mpsc::unbounded_channel();
        let queued = Arc::<AtomicUsize>::default();
        let mailbox = Mailbox { sender, queued: Arc::clone(&queued) };
        let encoding = Arc::clone(encoding);
        let joins = Order::Join { id, pool, encoding: Arc::clone(&encoding), mailbox };
        let _hub_has_ended = hub.send(joins);
        Box::new(Self { id, channels: BTreeSet::new(), encoding, hub, inbox, queued })
    }

    pub(crate) fn encoding(&self) -> &str {
        &self.encoding
    }

    pub(crate) fn channels(&self) -> &BTreeSet<Channel> {
        &self.channels
    }

    /// Listens to these from now on, and to nothing else. Returns when the server does.
    ///
    /// # Errors
    /// [`Refusal`] when that is not so within `limit`.
    pub(crate) async fn listen(
        &mut self,
        channels: BTreeSet<Channel>,
        limit: Duration,
    ) -> Result<(), Refusal> {
        let (done, wait) = oneshot::channel();
        self.order(channels, Some(done));
        let heard = bs9_net::time::timeout(limit, wait).await;
        heard.map_err(|_| Refusal::TimedOut)?.map_err(|_| Refusal::Ended)?
    }

    /// Listens to no more than these.
    pub(crate) fn keep(&mut self, channels: BTreeSet<Channel>) {
        debug_assert!(channels.is_subset(&self.channels), "none of them is new");
        self.order(channels, None);
    }

    fn order(
        &mut self,
        channels: BTreeSet<Channel>,
        done: Option<oneshot::Sender<Result<(), Refusal>>>,
    ) {
        self.channels.clone_from(&channels);
        let channels = channels.into_iter().collect();
        let _hub_has_ended = self.hub.send(Order::Listen { id: self.id, channels, done });
    }

    /// Whether the body of a NotificationResponse is about one of its channels.
    pub(crate) fn hears(&self, body: &[u8]) -> bool {
        Notification::read(body).is_ok_and(|read| self.channels.contains(read.channel))
    }

    /// The next message for the client; `None`: there were more than are kept, or nobody listens
    /// for it any more.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let next = self.inbox.poll_recv(cx);
        if let Poll::Ready(Some(message)) = &next {
            self.queued.fetch_sub(message.len(), Relaxed);
        }
        next
    }

    /// Likewise, if there is one already.
    pub(crate) fn take(&mut self) -> Option<Message> {
        let message = self.inbox.try_recv().ok()?;
        self.queued.fetch_sub(message.len(), Relaxed);
        Some(message)
    }
}

impl Mailbox {
    /// Puts a message in, unless there would be more than `limit` bytes.
    pub(super) fn put(&self, message: &Message, limit: usize) -> bool {
        // Only the hub adds.
        let fits = self.queued.load(Relaxed) + message.len() <= limit;
        if fits {
            self.queued.fetch_add(message.len(), Relaxed);
            let _client_has_gone = self.sender.send(Arc::clone(message));
        }
        fits
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _hub_has_ended = self.hub.send(Order::Leave { id: self.id });
    }
}
