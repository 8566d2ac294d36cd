//! Who listens to what, for all clients of a database on all shards: one task, on the shard of
//! the client that was first, which ends when it has had nothing to do for a while.

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll, time::Duration};

use bs9_net::{CoarseInstant, Shard};
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot};

use super::{
    Channel,
    ear::{Ear, Heard},
    for_each,
    pools::Pools,
    right::Right,
    subscription::{Mailbox, Message},
    way::{Listening, Order, Refusal},
};
use crate::{
    local::RetryPace,
    pool::Pool,
    server::{self, ServerError},
};

/// How often it is looked whether all is well.
const TICK: Duration = Duration::from_secs(1);
/// The connection is kept for so long when nobody listens any more.
const LINGER: Duration = Duration::from_secs(10);
/// A connection on which nothing has come for so long is asked whether it is alive.
const SILENCE: Duration = Duration::from_secs(60);
/// How long other connections are given to make room for this one.
const PATIENCE: Duration = Duration::from_secs(1);
/// Channels that one query is about.
const BATCH: usize = 256;
/// Notifications given out in a row.
const BURST: usize = 32;

pub(super) struct Hub {
    shard: Rc<Shard>,
    listening: Arc<Listening>,
    orders: mpsc::UnboundedReceiver<Order>,
    clients: FxHashMap<u64, Client>,
    /// Those they are of.
    pools: Pools,
    /// The `client_encoding` of all of them.
    encoding: Arc<str>,
    channels: FxHashMap<Channel, State>,
    // In this order: the connection is closed before its place is given back.
    ear: Option<Ear>,
    right: Right,
    retry: RetryPace,
    /// All that was in the way last was a limit: whoever asks is told at once if it still is.
    limited: bool,
    /// What was listened to was lost with a connection.
    deaf_since: Option<CoarseInstant>,
    /// Since when there is no client.
    unused_since: CoarseInstant,
    /// The server refuses; it is asked again with the next order, or tick.
    refused: bool,
    /// Notifications in a row.
    given_out: usize,
}

struct Client {
    pool: Arc<Pool>,
    /// `None`: it was sent more than it took, or nobody listens for it any more.
    mailbox: Option<Mailbox>,
    channels: Vec<Channel>,
    waits: Option<oneshot::Sender<Result<(), Refusal>>>,
}

/// A channel that clients listen to, or did.
#[derive(Default)]
struct State {
    clients: Vec<u64>,
    server: Server,
}

/// How the server stands to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Server {
    #[default]
    Deaf,
    /// It was told to listen.
    Told,
    Listens,
    /// It was told to stop.
    ToldToStop,
}

impl Hub {
    pub(super) fn new(
        listening: &Arc<Listening>,
        shard: &Rc<Shard>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            shard: Rc::clone(shard),
            listening: Arc::clone(listening),
            orders,
            clients: FxHashMap::default(),
            pools: Pools::default(),
            encoding: Arc::default(),
            channels: FxHashMap::default(),
            ear: None,
            right: Right::default(),
            retry: RetryPace::default(),
            limited: false,
            deaf_since: None,
            unused_since: bs9_net::now(),
            refused: false,
            given_out: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let timer = self.shard.timer();
        let mut due = bs9_net::now().plus(TICK);
        loop {
            self.see_to_the_ear().await;
            let retry = self.retry.remaining().filter(|_| self.ear.is_none());
            timer.set_at(retry.map_or(due, |left| bs9_net::now().plus(left).min(due)));
            let buffers = Rc::clone(self.shard.buffers());
            let ear = &mut self.ear;
            let hear = poll_fn(|cx| match ear {
                Some(ear) => ear.poll_hear(cx, &buffers),
                None => Poll::Pending,
            });
            tokio::select! {
                biased;
                () = timer.elapsed() => {
                    self.refused = false;
                    self.check_health();
                    due = bs9_net::now().plus(TICK);
                }
                order = self.orders.recv() => {
                    if let Some(order) = order {
                        self.refused = false;
                        self.carry_out(order);
                    }
                }
                heard = hear => match heard {
                    Ok(heard) => self.take(heard),
                    Err(error) => self.lose(&error),
                },
            }
            if self.given_out >= BURST {
                // Those who are to have them get their turn.
                self.given_out = 0;
                bs9_net::yield_now().await;
            }
            if self.is_unused() && self.end() {
                break;
            }
        }
    }

    /// Whether there has been no client for a while.
    fn is_unused(&self) -> bool {
        let draining = self.shard.is_draining();
        let lingered = bs9_net::now().since(self.unused_since) >= LINGER;
        self.clients.is_empty() && (draining || lingered)
    }

    /// Whoever comes now starts another, and finds everything given back. False when somebody has
    /// come already.
    fn end(&mut self) -> bool {
        self.hang_up();
        let listening = Arc::clone(&self.listening);
        let mut hub = listening.lock();
        match self.orders.try_recv() {
            Ok(order) => {
                drop(hub);
                self.carry_out(order);
                false
            }
            Err(_) => {
                *hub = None;
                true
            }
        }
    }

    // === Clients ===

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Join { id, pool, encoding, mailbox } => {
                if self.clients.is_empty() && self.encoding != encoding {
                    self.hang_up();
                    self.encoding = Arc::clone(&encoding);
                }
                // Others are told when they ask.
                if self.encoding == encoding {
                    self.pools.join(&pool);
                    let mailbox = Some(mailbox);
                    let client = Client { pool, mailbox, channels: Vec::new(), waits: None };
                    self.clients.insert(id, client);
                }
            }
            Order::Listen { id, channels, done } => {
                let Some(client) = self.clients.get_mut(&id) else {
                    let _gave_up = done.map(|done| done.send(Err(Refusal::Encoding)));
                    return;
                };
                for channel in &channels {
                    let state = self.channels.entry(Arc::clone(channel)).or_default();
                    if !state.clients.contains(&id) {
                        state.clients.push(id);
                    }
                }
                let before = std::mem::replace(&mut client.channels, channels);
                client.waits = done;
                let after = client.channels.clone();
                self.forget(id, before.iter().filter(|channel| !after.contains(channel)));
            }
            Order::Leave { id } => {
                let Some(client) = self.clients.remove(&id) else { return };
                self.pools.leave(&client.pool);
                self.forget(id, client.channels.iter());
                if self.clients.is_empty() {
                    self.unused_since = bs9_net::now();
                    self.deaf_since = None;
                }
            }
        }
        self.answer();
    }

    /// A client listens to these no longer.
    fn forget<'a>(&mut self, id: u64, channels: impl Iterator<Item = &'a Channel>) {
        for channel in channels {
            let Some(state) = self.channels.get_mut(channel) else { continue };
            state.clients.retain(|client| *client != id);
            if state.clients.is_empty() && state.server == Server::Deaf {
                self.channels.remove(channel);
            }
        }
    }

    /// Tells those who wait that all they want is listened to.
    fn answer(&mut self) {
        let channels = &self.channels;
        let listens = |channel: &Channel| {
            channels.get(channel).is_some_and(|state| state.server == Server::Listens)
        };
        for client in self.clients.values_mut().filter(|client| client.waits.is_some()) {
            if client.channels.iter().all(listens)
                && let Some(done) = client.waits.take()
            {
                let _gave_up = done.send(Ok(()));
            }
        }
    }

    /// Tells all who wait why they wait in vain.
    fn refuse(&mut self, why: &Refusal) {
        for client in self.clients.values_mut() {
            if let Some(done) = client.waits.take() {
                let _gave_up = done.send(Err(why.clone()));
            }
        }
    }

    /// These hear nothing any more, and are told so when they are outside of a transaction.
    fn dismiss(&mut self, which: impl Fn(&Client) -> bool) {
        for client in self.clients.values_mut().filter(|client| which(client)) {
            client.mailbox = None;
        }
    }

    fn deliver(&mut self, channel: &[u8], message: &Message) {
        let Some(state) = self.channels.get(channel) else { return };
        for id in &state.clients {
            let Some(client) = self.clients.get_mut(id) else { continue };
            let limit = client.pool.plan.load().postgres().limits.notification_queue;
            let full = client.mailbox.as_ref().is_some_and(|mailbox| !mailbox.put(message, limit));
            if full {
                client.mailbox = None;
                client.pool.cells[self.shard.index()].notification_overflows.increment();
                tracing::warn!(pool = %client.pool.key, "a client does not take its notifications: it is disconnected");
            }
        }
    }

    // === The connection ===

    /// Whether anybody listens, or would.
    fn is_wanted(&self) -> bool {
        self.channels.values().any(|state| !state.clients.is_empty())
    }

    /// Makes it when it is needed and may be made, as one pool after the other until it works.
    /// False: there is none.
    async fn connect(&mut self) -> bool {
        if !self.is_wanted() {
            self.right.give_up();
            return false;
        }
        let asked = self.limited && self.clients.values().any(|client| client.waits.is_some());
        let early = self.retry.remaining().is_some();
        if early && !asked || self.pools.are_paused() {
            return false;
        }
        let patience = if early { Duration::ZERO } else { PATIENCE };
        let began = bs9_net::now();
        let (mut limited, mut last) = (true, None);
        self.pools.begin();
        while let Some(pool) = self.pools.next() {
            let left = patience.saturating_sub(bs9_net::now().since(began));
            match self.connect_as(&pool, left).await {
                Ok(()) => {
                    self.pools.prefer(&pool);
                    self.limited = false;
                    return true;
                }
                Err(why) => {
                    limited &= why == Refusal::Limit;
                    last = Some(why);
                }
            }
            // Nobody waits for longer. The others have their turn after a pause.
            if bs9_net::now().since(began) >= pool.plan.load().connect_timeout() {
                break;
            }
            while let Ok(order) = self.orders.try_recv() {
                self.carry_out(order);
            }
        }
        if !early {
            self.retry.failed();
        }
        self.limited = limited && last.is_some();
        self.refuse(&last.unwrap_or(Refusal::Removed));
        false
    }

    async fn connect_as(&mut self, pool: &Arc<Pool>, patience: Duration) -> Result<(), Refusal> {
        if !self.right.claim(pool, patience).await {
            return Err(Refusal::Limit);
        }
        let plan = pool.plan.load_full();
        let opened = server::open(pool, &plan, self.shard.buffers(), &self.encoding).await;
        let stream = opened.map_err(|failure| {
            tracing::warn!(pool = %pool.key, error = %failure, "the listening connection cannot be made");
            Refusal::NoConnection(failure.to_string())
        })?;
        self.ear = Some(Ear::new(stream, pool, &plan));
        Ok(())
    }

    /// Has it told what has changed.
    async fn see_to_the_ear(&mut self) {
        if self.ear.is_none() && !self.connect().await {
            return;
        }
        let Some(ear) = &mut self.ear else { return };
        if ear.is_asked() || self.refused {
            return;
        }
        let mut commands = Vec::new();
        for (channel, state) in &mut self.channels {
            let command = match (state.server, state.clients.is_empty()) {
                (Server::Deaf, false) => ("LISTEN", Server::Told),
                (Server::Listens, true) => ("UNLISTEN", Server::ToldToStop),
                _ => continue,
            };
            state.server = command.1;
            commands.push((command.0, Arc::clone(channel)));
            if commands.len() == BATCH {
                break;
            }
        }
        // With no command at all, it is asked for a sign of life.
        if commands.is_empty() && ear.silent_for() < SILENCE {
            return;
        }
        let mut query = Vec::new();
        for_each(&mut query, commands.iter().map(|(command, channel)| (*command, &**channel)));
        if let Err(error) = ear.ask(&query).await {
            self.lose(&error);
        }
    }

    fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Notification { channel, message } => {
                self.given_out += 1;
                self.deliver(&channel, &message);
            }
            Heard::Done(outcome) => {
                let done = outcome.is_ok();
                self.channels.retain(|_, state| {
                    state.server = match state.server {
                        Server::Told if done => Server::Listens,
                        Server::ToldToStop if !done => Server::Listens,
                        Server::Told | Server::ToldToStop => Server::Deaf,
                        other => other,
                    };
                    !(state.clients.is_empty() && state.server == Server::Deaf)
                });
                match outcome {
                    Ok(()) => self.answer(),
                    Err(why) => {
                        let pool = self.ear.as_ref().map(|ear| tracing::field::display(&ear.key));
                        tracing::warn!(pool, why, "the server does not listen");
                        self.refused = true;
                        self.refuse(&Refusal::Refused(why));
                    }
                }
                self.note_recovery();
            }
        }
    }

    /// After a loss: whether everything is listened to again.
    fn note_recovery(&mut self) {
        let deaf = self.channels.values().any(|state| state.server != Server::Listens);
        let Some(ear) = self.ear.as_ref().filter(|_| !deaf) else { return };
        self.retry.reset();
        if let Some(since) = self.deaf_since.take() {
            let seconds = bs9_net::now().since(since).as_secs_f64();
            tracing::info!(pool = %ear.key, seconds, "the listening connection is back");
        }
    }

    fn lose(&mut self, error: &ServerError) {
        let Some(ear) = &self.ear else { return };
        if self.channels.values().any(|state| state.server == Server::Listens) {
            if let Some(pool) = ear.pool() {
                pool.cells[self.shard.index()].listener_losses.increment();
            }
            self.deaf_since.get_or_insert_with(bs9_net::now);
            tracing::warn!(pool = %ear.key, %error, "the listening connection was lost: what is notified until it is back is not heard");
        }
        self.close();
        self.retry.failed();
    }

    fn close(&mut self) {
        if let Some(ear) = self.ear.take() {
            ear.close();
        }
        self.channels.retain(|_, state| {
            state.server = Server::Deaf;
            !state.clients.is_empty()
        });
    }

    /// Lets go of the connection, and of its place.
    fn hang_up(&mut self) {
        self.close();
        self.right.give_up();
    }

    /// Lets go of what is of no more use, or better used by others.
    fn check_health(&mut self) {
        let unused = self.clients.is_empty();
        if self.right.is_the_last() || unused && self.right.is_wanted() {
            if !unused {
                tracing::warn!(
                    "a limit on server connections leaves none to listen for all clients: those that listen are disconnected"
                );
                self.dismiss(|_| true);
            }
            self.hang_up();
        }
        if self.pools.lack_one() {
            self.dismiss(|client| client.pool.is_removed());
        }
        let Some(ear) = &self.ear else { return };
        if ear.is_overdue() {
            self.lose(&ServerError::TimedOut);
        } else if ear.is_outdated() {
            self.lose(&ServerError::Closed);
        }
    }
}
