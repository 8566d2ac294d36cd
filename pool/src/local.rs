//! One shard's half of a pool: its idle server connections and its waiting clients.
//!
//! # That no waiter is forgotten
//!
//! A client waits only when its shard has no idle server. It announces itself
//! (`Demand::waiting`), then the keeper tries for a permit and looks for idle servers of other
//! shards. Whoever frees a permit or lets a server go idle first says so, then looks who waits.
//! All four accesses are sequentially consistent, so one of the two sees the other; mail does
//! the rest, and the keeper's tick would find what was still missed.

use std::{
    cell::{Cell as StdCell, RefCell},
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use bs9_net::{CoarseInstant, Shard};
use tokio::sync::Notify;

use crate::{
    cancel::Registration,
    cell::{Cell, Place},
    failure::LoginFailure,
    login_queue::LoginQueue,
    plan::Plan,
    pool::{Pool, PoolKey},
    roster::{Roll, ServerRoll},
    server::{SentServer, Server},
    settings::{Asked, Settings},
    shard::{Mail, PoolShard},
    wait::{WaitQueue, Waits as _},
    watch::Watch,
};

mod keeper;
mod pace;

use pace::Expectation;
pub(crate) use pace::{MAX_RETRY_DELAY, RETRY_DELAY, RetryPace};

/// See the module.
pub(crate) struct LocalPool {
    pub(crate) pool: Arc<Pool>,
    shard: Rc<Shard>,
    engine: usize,
    /// Whether there is anyone to share with.
    alone: bool,
    plan: RefCell<Arc<Plan>>,
    epoch: StdCell<u64>,
    /// The one used last at the end, to be used next: its caches are warm.
    #[expect(clippy::vec_box, reason = "a server moves between tasks as one pointer")]
    idle: RefCell<Vec<Box<Server>>>,
    waiters: RefCell<WaitQueue<Registration>>,
    /// How many those are, to be read while they are borrowed.
    waiting: StdCell<usize>,
    servers: StdCell<usize>,
    clients: StdCell<usize>,
    logins: StdCell<usize>,
    retry: RetryPace,
    /// The last login that failed, if none has succeeded since, and when that kept no more clients
    /// waiting.
    trouble: RefCell<Option<(Rc<LoginFailure>, CoarseInstant)>>,
    /// When a server was last closed for its age: they go one by one, not all at once.
    retired: StdCell<CoarseInstant>,
    expectation: Expectation,
    /// Where it stands in line to log in.
    line: RefCell<Option<Arc<LoginQueue>>>,
    /// Since when clients wait without a break.
    starved_since: StdCell<CoarseInstant>,
    /// The keeper will look by itself soon.
    awaits_server: StdCell<bool>,
    /// Whether it shares a limit with other pools.
    limited: StdCell<bool>,
    /// Whether queries or transactions are limited in time.
    pub(crate) timed: StdCell<bool>,
    /// Whether slow queries are logged.
    pub(crate) watches: StdCell<bool>,
    /// Its server connections.
    pub(crate) roll: ServerRoll,
    alarm: Notify,
}

/// As many clients wait as may.
pub(crate) struct TooManyWaiting {
    pub(crate) limit: usize,
}

/// Counts a client of the pool while it is connected.
pub(crate) struct Membership {
    local: Rc<LocalPool>,
}

impl LocalPool {
    /// Starts its keeper, too.
    pub(crate) fn start(pool: Arc<Pool>, home: &Rc<PoolShard>) -> Rc<Self> {
        let plan = pool.plan.load_full();
        let local = Rc::new(Self {
            alone: pool.demand.iter().count() == 1,
            shard: Rc::clone(&home.shard),
            engine: home.engine,
            epoch: StdCell::new(plan.epoch),
            plan: RefCell::new(plan),
            pool,
            idle: RefCell::default(),
            waiters: RefCell::default(),
            waiting: StdCell::new(0),
            servers: StdCell::new(0),
            clients: StdCell::new(0),
            logins: StdCell::new(0),
            retry: RetryPace::default(),
            trouble: RefCell::default(),
            retired: StdCell::new(bs9_net::now()),
            expectation: Expectation::default(),
            line: RefCell::default(),
            starved_since: StdCell::new(bs9_net::now()),
            awaits_server: StdCell::new(false),
            limited: StdCell::new(false),
            timed: StdCell::new(false),
            watches: StdCell::new(false),
            roll: ServerRoll::default(),
            alarm: Notify::new(),
        });
        local.note_plan();
        bs9_net::spawn(keeper::keep(Rc::clone(&local), Rc::downgrade(home)));
        local
    }

    pub(crate) fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    pub(crate) fn cell(&self) -> &Cell {
        &self.pool.cells[self.shard.index()]
    }

    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }

    pub(crate) fn with_plan<T>(&self, read: impl FnOnce(&Plan) -> T) -> T {
        read(&self.plan.borrow())
    }

    pub(crate) fn join(self: &Rc<Self>) -> Membership {
        self.clients.set(self.clients.get() + 1);
        self.cell().clients_active.increment();
        Membership { local: Rc::clone(self) }
    }

    // === Settings ===

    pub(crate) fn share_settings(&self, settings: Settings) -> Arc<Settings> {
        self.pool.known_settings().share(settings)
    }

    pub(crate) fn recall_settings(&self, asked: &Asked) -> Option<Arc<Settings>> {
        self.pool.known_settings().recall(asked)
    }

    pub(crate) fn learn_settings(&self, asked: Asked, settings: &Arc<Settings>) {
        self.pool.known_settings().learn(asked, settings);
    }

    // === Checking out ===

    /// An idle server, the one used last, unless others were here first.
    #[inline]
    pub(crate) fn take_idle(&self) -> Option<Box<Server>> {
        if self.waiting.get() > 0 {
            return None;
        }
        loop {
            let mut server = self.pop_idle()?;
            if server.stream.has_news() && !server.absorb_news(&mut self.shard.buffers().take()) {
                tracing::debug!(pool = %self.name(), "an idle server connection went away");
                continue;
            }
            if server.state.epoch == self.epoch.get() && server.is_fit() {
                server.seat.move_to(Place::Active);
                server.seat.card().note_use();
                return Some(server);
            }
            server.close();
        }
    }

    fn pop_idle(&self) -> Option<Box<Server>> {
        let mut idle = self.idle.borrow_mut();
        let server = idle.pop()?;
        self.demand().idle.store(idle.len(), SeqCst);
        Some(server)
    }

    /// Gets a client in line. What it waits for comes through its waiter, until [`leave_queue`].
    ///
    /// [`leave_queue`]: Self::leave_queue
    pub(crate) fn queue(&self, client: &Rc<Registration>) -> Result<(), TooManyWaiting> {
        let limit = self.with_plan(|plan| plan.postgres().max_waiting_clients);
        let everywhere: usize = self.pool.demand.iter().map(|d| d.waiting.load(SeqCst)).sum();
        if everywhere >= limit {
            return Err(TooManyWaiting { limit });
        }
        self.waiters.borrow_mut().push(client, bs9_net::now());
        self.cell().clients_waiting.increment();
        self.cell().clients_active.decrement();
        self.waiters_changed();
        // With the pool full and no server idle anywhere, one comes back by itself, or whoever
        // closes it says so: nothing for the keeper to do.
        let room = self.pool.open() < self.with_plan(|plan| plan.most_servers());
        let due = room && !self.awaits_server.get();
        if due || self.pool.idle_shards(self.shard.index()).next().is_some() {
            self.alarm.notify_one();
        }
        Ok(())
    }

    /// Gets out of line. A server that was granted and not taken goes to the next.
    pub(crate) fn leave_queue(self: &Rc<Self>, client: &Rc<Registration>) {
        if self.waiters.borrow_mut().remove(client) {
            self.no_longer_waits(client);
            self.waiters_changed();
        } else if let Some(Ok(server)) = client.waiter().take() {
            self.give_back(server);
        }
    }

    /// After the queue changed: says so.
    fn waiters_changed(&self) {
        let waiters = self.waiters.borrow();
        if self.waiting.replace(waiters.len()) == 0 {
            self.starved_since.set(bs9_net::now());
        }
        self.pool.set_waiting(self.shard.index(), waiters.len());
        let oldest = waiters.oldest().map_or(0, CoarseInstant::nanoseconds);
        self.cell().oldest_wait_nanoseconds.set(oldest);
        if self.limited.get() && waiters.len() == 0 && !self.pool.has_waiting() {
            self.pool.set_hungry(false);
        }
    }

    /// Why a client that waits has no server yet, as far as logins that failed are the reason.
    pub(crate) fn trouble_of(&self, client: &Registration) -> Option<Rc<LoginFailure>> {
        let waiter = client.waiter();
        let trouble = self.trouble.borrow();
        let concerned = trouble.as_ref().filter(|_| waiter.is_queued());
        concerned
            .filter(|(_, until)| waiter.since() <= *until)
            .map(|(failure, _)| Rc::clone(failure))
    }

    fn no_longer_waits(&self, client: &Registration) {
        let cell = self.cell();
        cell.clients_waiting.decrement();
        cell.clients_active.increment();
        let waited = bs9_net::now().since(client.waiter().since());
        cell.waits.record(waited);
    }

    // === Giving back ===

    /// Takes a server back that is no longer used: to whoever waits longest, here or on a
    /// shard that needs it more, or else to the idle ones. Closed unless provably clean.
    pub(crate) fn give_back(self: &Rc<Self>, server: Box<Server>) {
        if !server.is_fit() {
            self.close_dirty(*server);
            return;
        }
        if self.is_spent(&server) || self.limited.get() && self.pool.should_yield() {
            server.close();
            return;
        }
        let waits = self.waiting.get() > 0;
        if !self.alone
            && self.pool.starves_elsewhere(waits)
            && let Some(shard) = self.pool.needier_than(self.shard.index())
        {
            self.hand_over(*server, shard);
            return;
        }
        self.put(server);
    }

    /// A fit server for whoever waits here, or else for the idle ones. One that has just come
    /// serves here first, or it might be handed on and on without serving anyone.
    fn put(self: &Rc<Self>, mut server: Box<Server>) {
        if let Some(client) = self.pop_waiter() {
            server.seat.move_to(Place::Active);
            server.seat.card().note_use();
            client.waiter().grant(server);
            return;
        }
        if self.shard.is_draining() {
            server.close();
            return;
        }
        server.seat.move_to(Place::Idle);
        server.state.idle_since = bs9_net::now();
        {
            let mut idle = self.idle.borrow_mut();
            idle.push(server);
            self.demand().idle.store(idle.len(), SeqCst);
        }
        if !self.alone && self.pool.starves_elsewhere(false) {
            self.share_idle();
        }
        if self.limited.get() {
            self.spare_idle();
        }
    }

    /// Closes idle servers for the sake of other pools, the one used longest ago first.
    pub(crate) fn spare_idle(&self) {
        while self.pool.should_yield() {
            let server = {
                let mut idle = self.idle.borrow_mut();
                if idle.is_empty() {
                    return;
                }
                let server = idle.remove(0);
                self.demand().idle.store(idle.len(), SeqCst);
                server
            };
            server.close();
        }
    }

    fn pop_waiter(&self) -> Option<Rc<Registration>> {
        let client = self.waiters.borrow_mut().pop()?;
        self.no_longer_waits(&client);
        self.waiters_changed();
        Some(client)
    }

    /// Whether a clean server is not wanted any more.
    fn is_spent(&self, server: &Server) -> bool {
        if server.state.epoch != self.epoch.get() {
            return true;
        }
        let (soonest_end, size) = self.with_plan(|plan| (plan.soonest_end, plan.pool_size));
        let now = bs9_net::now();
        let age = now.since(server.state.created);
        let aged = age >= soonest_end && age >= self.end_of(server) && {
            let lifetime = self.with_plan(|plan| plan.postgres().server_lifetime);
            let pace = lifetime / u32::try_from(size.max(1)).unwrap_or(u32::MAX);
            let due = now.since(self.retired.get()) >= pace.min(lifetime);
            if due {
                self.retired.set(now);
            }
            due
        };
        aged || self.pool.open() > size && self.is_beyond(size)
    }

    /// Whether what there is beyond the pool's size is of no more use: the reserve is kept while
    /// clients wait.
    fn is_beyond(&self, size: usize) -> bool {
        let reserve = self.with_plan(|plan| plan.limits.reserve_pool_size);
        !self.pool.has_waiting() || self.pool.open() > size + reserve
    }

    /// Closes a server that is not provably clean.
    pub(crate) fn close_dirty(&self, server: Server) {
        self.cell().closed_dirty.increment();
        tracing::debug!(pool = %self.name(), "a server connection was not provably clean: closed");
        server.close();
    }

    // === Sharing with other shards ===

    /// Hands idle servers to shards whose clients wait.
    pub(crate) fn share_idle(self: &Rc<Self>) {
        while self.waiting.get() == 0
            && let Some(shard) = self.pool.needier_than(self.shard.index())
            && let Some(server) = self.take_idle()
        {
            self.hand_over(*server, shard);
        }
    }

    fn hand_over(self: &Rc<Self>, server: Server, shard: usize) {
        // What TLS cannot move is closed: the room it leaves is offered to who waits.
        let Some(sent) = server.send() else { return };
        let incoming = &self.pool.demand[shard].incoming;
        incoming.fetch_add(1, SeqCst);
        let sent = Box::new(Mail::Server(Box::new(sent)));
        match self.shard.mail().send(shard, self.engine, sent) {
            Ok(()) => self.cell().handovers.increment(),
            Err(_closes_it) => {
                // That shard has ended; nobody there will ever wait again.
                incoming.fetch_sub(1, SeqCst);
                self.pool.set_waiting(shard, 0);
                self.wake();
            }
        }
    }

    /// Takes a server over from another shard.
    pub(crate) fn arrive(self: &Rc<Self>, sent: SentServer) {
        self.demand().incoming.fetch_sub(1, SeqCst);
        match Server::receive(sent, self) {
            // Its plan may have changed on the way.
            Ok(server) if server.state.epoch != self.epoch.get() => server.close(),
            Ok(server) => self.put(Box::new(server)),
            Err(error) => {
                tracing::warn!(pool = %self.name(), %error, "a server connection was lost on its way between shards");
            }
        }
    }

    fn tell(&self, shard: usize, mail: Mail) {
        let _shard_has_ended = self.shard.mail().send(shard, self.engine, Box::new(mail));
    }

    // === Upkeep ===

    /// A server is gone: somebody may connect in its place.
    pub(crate) fn room_freed(&self) {
        let waits = self.waiting.get() > 0;
        if waits || (!self.alone && self.pool.starves_elsewhere(waits)) {
            self.alarm.notify_one();
        }
    }

    /// Wakes the keeper.
    pub(crate) fn wake(&self) {
        self.alarm.notify_one();
    }

    pub(crate) fn count_servers(&self, change: isize) {
        let servers = self.servers.get().saturating_add_signed(change);
        self.servers.set(servers);
        self.demand().servers.store(servers, SeqCst);
    }

    /// The pool's plan may have changed.
    pub(crate) fn plan_changed(self: &Rc<Self>) {
        let plan = self.pool.plan.load_full();
        let rebuilt = self.epoch.replace(plan.epoch) != plan.epoch;
        let size = plan.most_servers();
        *self.plan.borrow_mut() = plan;
        self.note_plan();
        if rebuilt {
            self.pool.known_settings().forget();
            self.retry.reset();
            self.trouble.take();
        }
        while rebuilt || self.pool.open() > size {
            match self.pop_idle() {
                Some(server) => server.close(),
                None => break,
            }
        }
        self.wake();
    }

    /// Takes out of the plan what is asked for often.
    fn note_plan(&self) {
        self.limited.set(self.pool.shares_limits());
        self.with_plan(|plan| {
            let limits = &plan.postgres().limits;
            let timed = limits.query_timeout.is_some() || limits.transaction_timeout.is_some();
            self.timed.set(timed);
            self.watches.set(plan.postgres().log.slow_query.is_some());
        });
    }

    /// What a client logs its slow queries with, if they are logged.
    pub(crate) fn watch(&self) -> Option<Box<Watch>> {
        self.with_plan(|plan| {
            let log = &plan.postgres().log;
            log.slow_query.map(|_| Box::new(Watch::new(log)))
        })
    }

    /// Adds its servers to the answer.
    pub(crate) fn call_roll(&self, roll: &mut Roll) {
        self.roll.call(&self.pool, self.shard.index(), roll);
    }

    /// Closes what is idle; the rest is closed as it comes back.
    pub(crate) fn drain(&self) {
        while let Some(server) = self.pop_idle() {
            server.close();
        }
    }

    fn demand(&self) -> &crate::pool::Demand {
        &self.pool.demand[self.shard.index()]
    }

    /// For logs.
    pub(crate) fn name(&self) -> &PoolKey {
        &self.pool.key
    }

    fn is_unused(&self) -> bool {
        self.clients.get() + self.servers.get() + self.waiting.get() + self.logins.get() == 0
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.local.clients.set(self.local.clients.get() - 1);
        self.local.cell().clients_active.decrement();
    }
}
