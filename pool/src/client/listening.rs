//! What a client listens to: shared with others, or its own server's business. See
//! [`listen`](crate::listen).

use std::{
    collections::BTreeSet,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bs9_wire::{encode::backend, message::backend::TransactionStatus};

use super::{Client, End};
use crate::{
    listen::{self, Channel, Subscription},
    plan::Plan,
    server::{Listened, Server, ServerError},
    session::{Effects, Reason},
    settings::CLIENT_ENCODING,
};

/// Bytes of notifications that are written together.
const AT_ONCE: usize = 16 << 10;

impl Client {
    /// A transaction is over that may have changed what the client listens to. Sees to it that it
    /// is listened to from now on, then tells the client that the transaction is over. `pins`:
    /// why the client stays with this server, if it does; that it listens may be added.
    pub(super) async fn settle_listening(
        &mut self,
        server: &mut Server,
        effects: &Effects,
        pins: &mut Vec<Reason>,
    ) -> Result<(), End> {
        let limit = self.local.with_plan(Plan::connect_timeout);
        let Listened { channels: new, notes } = answered(server.listened(limit).await)?;
        let mut kept = self.channels();
        for unlistened in effects.unlistened.iter().chain(&notes) {
            unlistened.apply(&mut kept);
        }
        let shared = match new.is_empty() {
            true => false,
            false => pins.is_empty() && self.share(&kept, &new, limit).await,
        };
        if !shared {
            self.keep(kept);
            if pins.is_empty() && !new.is_empty() {
                pins.push(Reason::Listen);
            }
        }
        if pins.is_empty() && !(new.is_empty() && notes.is_empty()) {
            answered(server.run(listen::TIDY, limit).await)?;
        }
        if std::mem::take(&mut self.down.owes_ready) {
            let mut ready = Vec::with_capacity(6);
            backend::ready_for_query(&mut ready, TransactionStatus::Idle);
            self.down.passage.put_behind(&ready);
        }
        Ok(())
    }

    /// What the client listens to by way of the listening connection.
    fn channels(&self) -> BTreeSet<Channel> {
        self.subscription.as_ref().map_or_else(BTreeSet::new, |known| known.channels().clone())
    }

    /// Has the listening connection listen to all of this. False when it cannot.
    async fn share(&mut self, kept: &BTreeSet<Channel>, new: &[Channel], limit: Duration) -> bool {
        let Some(encoding) = self.usual_encoding() else { return false };
        let wanted = kept.iter().chain(new).cloned().collect();
        let local = &self.local;
        let begin = || Subscription::begin(local, &encoding);
        let subscription = self.subscription.get_or_insert_with(begin);
        if subscription.encoding() != &*encoding {
            return false;
        }
        if let Err(why) = subscription.listen(wanted, limit).await {
            tracing::warn!(pool = %self.local.name(), %why, "LISTEN cannot be shared");
            return false;
        }
        self.note_subscribed(true);
        true
    }

    /// The client's `client_encoding`, unless servers of its pool are known to begin with another.
    fn usual_encoding(&self) -> Option<Arc<str>> {
        let own = self.settings.reported(CLIENT_ENCODING.as_bytes())?;
        let parameters = self.local.pool.parameters();
        let usual = parameters.as_ref().map(|known| known.get(CLIENT_ENCODING));
        let same = usual.is_none_or(|usual| usual == Some(own));
        let text = same.then(|| std::str::from_utf8(own))?;
        text.ok().map(Arc::from)
    }

    /// Listens to no more than these by way of the listening connection.
    fn keep(&mut self, channels: BTreeSet<Channel>) {
        let Some(subscription) = &mut self.subscription else { return };
        if channels.is_empty() {
            self.subscription = None;
            self.note_subscribed(false);
        } else if *subscription.channels() != channels {
            subscription.keep(channels);
        }
    }

    fn note_subscribed(&mut self, is: bool) {
        if let Some(statements) = &mut self.statements {
            statements.subscribed = is;
        }
    }

    /// Has the server itself listen to all that was shared, for a client that stays with it.
    pub(super) async fn listen_there(&mut self, server: &mut Server) -> Result<(), End> {
        let Some(mut subscription) = self.subscription.take() else { return Ok(()) };
        self.note_subscribed(false);
        let limit = self.local.with_plan(Plan::connect_timeout);
        let mut query = Vec::new();
        let channels = subscription.channels().iter();
        listen::for_each(&mut query, channels.map(|channel| ("LISTEN", &**channel)));
        answered(server.run_query(&query, limit).await)?;
        while let Some(message) = subscription.take() {
            self.down.passage.put_behind(&message);
        }
        Ok(())
    }

    /// Gives the client, which is between two transactions, what it listens for.
    pub(super) fn deliver(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            if self.down.passage.is_unsent() && !self.write_client(cx)? {
                return Ok(());
            }
            let Some(subscription) = &mut self.subscription else { return Ok(()) };
            debug_assert!(!self.down.inside, "the client has been told everything");
            let mut placed = 0;
            while placed < AT_ONCE {
                let message = match subscription.poll_next(cx) {
                    Poll::Pending => break,
                    Poll::Ready(None) if self.local.pool.is_removed() => return Err(End::Removed),
                    Poll::Ready(None) => return Err(End::NotificationsMissed),
                    Poll::Ready(Some(message)) => message,
                };
                self.local.cell().notifications.increment();
                placed += message.len();
                self.down.passage.put_behind(&message);
            }
            if placed == 0 {
                return Ok(());
            }
        }
    }
}

/// What the server said to a question of the pool's own.
fn answered<T>(
    answer: Result<Result<T, crate::failure::LoginFailure>, ServerError>,
) -> Result<T, End> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(failure)) => Err(End::Setting(failure.into())),
        Err(error) => Err(End::ServerLost(error.to_string())),
    }
}
