//! The way to who listens for the clients of a database, and what is told on it.

use std::{
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bs9_net::Shard;
use tokio::sync::{mpsc, oneshot};

use super::{Channel, hub::Hub, subscription::Mailbox};
use crate::pool::Pool;

/// The way to a database's hub: the same for the pools of all its users.
#[derive(Default)]
pub(crate) struct Listening {
    hub: Mutex<Option<mpsc::UnboundedSender<Order>>>,
}

/// What clients tell it. A client waits for each answer, so there are not many.
pub(super) enum Order {
    Join {
        id: u64,
        /// Which the client is of.
        pool: Arc<Pool>,
        /// Its `client_encoding`.
        encoding: Arc<str>,
        mailbox: Mailbox,
    },
    /// It listens to these and to nothing else.
    Listen {
        id: u64,
        channels: Vec<Channel>,
        done: Option<oneshot::Sender<Result<(), Refusal>>>,
    },
    Leave {
        id: u64,
    },
}

/// Why nobody listens for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the listening connection cannot be made: {0}")]
    NoConnection(String),
    #[error("no database is left to listen in")]
    Removed,
    #[error("the limit on server connections of the database, or of its user, is reached")]
    Limit,
    #[error("the listening connection of the database has another client_encoding")]
    Encoding,
    #[error("the server refused: {0}")]
    Refused(String),
    #[error("the server did not answer in time")]
    TimedOut,
    #[error("nobody listens any more")]
    Ended,
}

impl Listening {
    /// Where orders go. Starts the hub, on this shard, if there is none.
    pub(super) fn hub(self: &Arc<Self>, shard: &Rc<Shard>) -> mpsc::UnboundedSender<Order> {
        let mut hub = self.lock();
        if let Some(known) = hub.as_ref().filter(|known| !known.is_closed()) {
            return known.clone();
        }
        let (sender, orders) = mpsc::unbounded_channel();
        *hub = Some(sender.clone());
        bs9_net::spawn(Hub::new(self, shard, orders).run());
        sender
    }

    /// The hub, while it is decided whether it ends.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<mpsc::UnboundedSender<Order>>> {
        // Nothing panics while it is half changed.
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
