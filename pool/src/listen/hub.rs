//! Who listens to what, for all clients of a pool on all shards: one task, on the shard of the
//! client that was first, which ends when it has had nothing to do for a while.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use bs9_net::CoarseInstant;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot};

use super::{
    Channel,
    ear::{Ear, Heard},
    for_each,
    subscription::{Mailbox, Message},
};
use crate::{
    local::{LocalPool, RetryPace},
    server::{self, ServerError},
};

/// How often it is looked whether all is well.
const TICK: Duration = Duration::from_secs(1);
/// The connection is kept for so long when nobody listens any more.
const LINGER: Duration = Duration::from_secs(10);
/// A connection on which nothing has come for so long is asked whether it is alive.
const SILENCE: Duration = Duration::from_secs(60);
/// Channels that one query is about.
const BATCH: usize = 256;
/// Notifications given out in a row.
const BURST: usize = 32;

/// The way to a pool's hub.
#[derive(Default)]
pub(crate) struct Listening {
    hub: Mutex<Option<mpsc::UnboundedSender<Order>>>,
}

/// What clients tell it. A client waits for each answer, so there are not many.
pub(super) enum Order {
    Join {
        id: u64,
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
    #[error("the server refused: {0}")]
    Refused(String),
    #[error("the server did not answer in time")]
    TimedOut,
    #[error("nobody listens any more")]
    Ended,
}

struct Hub {
    local: Rc<LocalPool>,
    orders: mpsc::UnboundedReceiver<Order>,
    clients: FxHashMap<u64, Client>,
    channels: FxHashMap<Channel, State>,
    ear: Option<Ear>,
    retry: RetryPace,
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
    /// `None`: it was sent more than it took.
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

// === impl Listening ===

impl Listening {
    /// Where orders go. Starts the hub if there is none.
    pub(super) fn hub(&self, local: &Rc<LocalPool>) -> mpsc::UnboundedSender<Order> {
        let mut hub = self.lock();
        if let Some(known) = hub.as_ref().filter(|known| !known.is_closed()) {
            return known.clone();
        }
        let (sender, orders) = mpsc::unbounded_channel();
        *hub = Some(sender.clone());
        bs9_net::spawn(Hub::new(local, orders).run());
        sender
    }

    fn lock(&self) -> MutexGuard<'_, Option<mpsc::UnboundedSender<Order>>> {
        // Nothing panics while it is half changed.
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Hub ===

impl Hub {
    fn new(local: &Rc<LocalPool>, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        Self {
            local: Rc::clone(local),
            orders,
            clients: FxHashMap::default(),
            channels: FxHashMap::default(),
            ear: None,
            retry: RetryPace::default(),
            deaf_since: None,
            unused_since: bs9_net::now(),
            refused: false,
            given_out: 0,
        }
    }

    async fn run(mut self) {
        let timer = self.local.shard().timer();
        let mut due = bs9_net::now().plus(TICK);
        loop {
            self.see_to_the_ear().await;
            let retry = self.retry.remaining().filter(|_| self.ear.is_none());
            timer.set_at(retry.map_or(due, |left| bs9_net::now().plus(left).min(due)));
            let buffers = Rc::clone(self.local.shard().buffers());
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
        if let Some(ear) = self.ear.take() {
            ear.close();
        }
    }

    /// Whether there has been no client for a while.
    fn is_unused(&self) -> bool {
        let draining = self.local.shard().is_draining();
        let lingered = bs9_net::now().since(self.unused_since) >= LINGER;
        self.clients.is_empty() && (draining || lingered)
    }

    /// Whoever comes now starts another. False when somebody has come already.
    fn end(&mut self) -> bool {
        let pool = Arc::clone(&self.local.pool);
        let mut hub = pool.listening.lock();
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
            Order::Join { id, mailbox } => {
                let client = Client { mailbox: Some(mailbox), channels: Vec::new(), waits: None };
                self.clients.insert(id, client);
            }
            Order::Listen { id, channels, done } => {
                let Some(client) = self.clients.get_mut(&id) else { return };
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
                self.forget(id, client.channels.iter());
                if self.clients.is_empty() {
                    self.unused_since = bs9_net::now();
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

    fn deliver(&mut self, channel: &[u8], message: &Message) {
        let Some(state) = self.channels.get(channel) else { return };
        let limit = self.local.with_plan(|plan| plan.postgres().limits.notification_queue);
        for id in &state.clients {
            let Some(client) = self.clients.get_mut(id) else { continue };
            let full = client.mailbox.as_ref().is_some_and(|mailbox| !mailbox.put(message, limit));
            if full {
                client.mailbox = None;
                self.local.cell().notification_overflows.increment();
                tracing::warn!(pool = %self.local.name(), "a client does not take its notifications: it is disconnected");
            }
        }
    }

    // === The connection ===

    /// Makes it when it is needed, and has it told what has changed.
    async fn see_to_the_ear(&mut self) {
        if self.ear.is_none() {
            let wanted = self.channels.values().any(|state| !state.clients.is_empty());
            let waits = self.retry.remaining().is_some() || self.local.pool.is_paused();
            if !wanted || waits {
                return;
            }
            let plan = self.local.pool.plan.load_full();
            match server::open(&self.local, &plan).await {
                Ok(stream) => self.ear = Some(Ear::new(stream, plan.epoch)),
                Err(failure) => {
                    self.retry.failed();
                    tracing::warn!(pool = %self.local.name(), error = %failure, "the listening connection cannot be made");
                    self.refuse(&Refusal::NoConnection(failure.to_string()));
                    return;
                }
            }
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
        let limit = self.local.with_plan(crate::plan::Plan::connect_timeout);
        if let Err(error) = ear.ask(&query, limit).await {
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
                        tracing::warn!(pool = %self.local.name(), why, "the server does not listen");
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
        if !deaf && let Some(since) = self.deaf_since.take() {
            self.retry.reset();
            let seconds = bs9_net::now().since(since).as_secs_f64();
            tracing::info!(pool = %self.local.name(), seconds, "the listening connection is back");
        }
    }

    fn lose(&mut self, error: &ServerError) {
        let Some(ear) = self.ear.take() else { return };
        ear.close();
        let listened = self.channels.values().any(|state| state.server == Server::Listens);
        if listened {
            self.local.cell().listener_losses.increment();
            self.deaf_since.get_or_insert_with(bs9_net::now);
            tracing::warn!(pool = %self.local.name(), %error, "the listening connection was lost: what is notified until it is back is not heard");
        }
        self.channels.retain(|_, state| {
            state.server = Server::Deaf;
            !state.clients.is_empty()
        });
        self.retry.failed();
    }

    /// Lets go of a connection that is of no more use.
    fn check_health(&mut self) {
        let (epoch, limit) = self.local.with_plan(|plan| (plan.epoch, plan.connect_timeout()));
        let Some(ear) = &mut self.ear else { return };
        if ear.asked_for() > limit {
            self.lose(&ServerError::TimedOut);
        } else if ear.epoch != epoch {
            self.lose(&ServerError::Closed);
        }
    }
}
