//! A pool as every shard sees it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bs9_net::{CoarseInstant, PerShard};
use bs9_wire::auth::{
    Verifier,
    scram::{Passthrough, ScramKeys},
};
use tokio::sync::Notify;

use crate::{
    budget::{Budget, Share},
    cell::Cell,
    listen::Listening,
    login_queue::LoginQueue,
    plan::Plan,
    post::Post,
    prepared::statement::StatementStore,
    registry::Shared,
    settings::{KnownSettings, Parameters},
    shard::Mail,
};

/// Names a pool: the database as clients call it, and the user its servers are logged in as.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PoolKey {
    pub(crate) database: Arc<str>,
    pub(crate) user: Arc<str>,
}

/// Server connections of one (database, user), over all shards.
pub(crate) struct Pool {
    pub(crate) key: PoolKey,
    /// Only `*` matched: it goes when nobody uses it.
    pub(crate) by_fallback: bool,
    pub(crate) plan: ArcSwap<Plan>,
    /// Server connections there are, those being established included.
    open: AtomicUsize,
    /// Where its shards take turns to establish some.
    pub(crate) login_queue: Arc<LoginQueue>,
    /// What it shares with the pools of the same database, and with those of the same user.
    pub(crate) budgets: [Arc<Budget>; 2],
    /// Since when a budget has refused it a connection, on the coarse clock; 0: none has.
    hungry_since: AtomicU64,
    /// An operator has paused it.
    paused: AtomicBool,
    /// An operator lets no new clients in.
    pub(crate) disabled: AtomicBool,
    /// Told when its last server connection is gone, or need not be any more.
    empty: Notify,
    /// The way to who listens for the clients of its database.
    pub(crate) listening: Arc<Listening>,
    post: Arc<OnceLock<Post>>,
    pub(crate) cells: PerShard<Cell>,
    pub(crate) demand: PerShard<Demand>,
    /// On how many shards clients wait.
    starving: AtomicUsize,
    /// What servers said at login, to be said to clients before they have one.
    said: ArcSwapOption<Said>,
    /// Locked at logins, and when a client changes a parameter that follows it.
    known_settings: Mutex<KnownSettings>,
    /// Texts of prepared statements.
    pub(crate) statements: Arc<StatementStore>,
    /// Keys of the client that logged in last, when all we store is a verifier.
    pub(crate) passthrough: ArcSwapOption<Passthrough>,
    /// What the client that logged in last was found to have (`auth_query`), when the
    /// configuration has nothing to log in with.
    pub(crate) learned: ArcSwapOption<Verifier>,
    /// Keys derived for a server's salt, so that each further login costs no derivation.
    pub(crate) derived: ArcSwapOption<DerivedKeys>,
}

/// What the other shards look at. Written by its own shard, save `incoming`.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// Clients that wait.
    pub(crate) waiting: AtomicUsize,
    /// Server connections that are idle.
    pub(crate) idle: AtomicUsize,
    /// Server connections, whatever they do.
    pub(crate) servers: AtomicUsize,
    /// Server connections on their way from other shards.
    pub(crate) incoming: AtomicUsize,
}

/// SCRAM keys for one salt.
pub(crate) struct DerivedKeys {
    pub(crate) epoch: u64,
    pub(crate) salt: Box<[u8]>,
    pub(crate) iterations: u32,
    pub(crate) keys: ScramKeys,
}

/// The right to one server connection; given back when dropped.
pub(crate) struct Permit {
    // The pool's own count is given back before those who wait for a share are told.
    _own: Own,
    _shares: [Share; 2],
}

struct Own(Arc<Pool>);

/// What a server said at login.
struct Said {
    parameters: Arc<Parameters>,
    /// Of the plan it was reached by.
    epoch: u64,
}

/// How many connections there may be, from a client's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ceiling {
    /// As many as are kept for nobody.
    Least,
    /// The size of the pool.
    Size,
    /// And those in reserve.
    Reserve,
}

/// Why there is no connection to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPermit {
    /// The pool has as many as it may.
    Full,
    /// The pools it shares a limit with have.
    Shared,
}

impl Pool {
    pub(crate) fn new(
        key: PoolKey,
        plan: Plan,
        by_fallback: bool,
        shards: usize,
        statements: Arc<StatementStore>,
        shared: Shared,
        post: Arc<OnceLock<Post>>,
    ) -> Arc<Self> {
        let Shared { budgets, listening } = shared;
        let pool = Arc::new(Self {
            key,
            by_fallback,
            plan: ArcSwap::from_pointee(plan),
            open: AtomicUsize::new(0),
            login_queue: Arc::default(),
            budgets,
            hungry_since: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            disabled: AtomicBool::new(false),
            empty: Notify::new(),
            listening,
            post,
            cells: PerShard::new(shards),
            demand: PerShard::new(shards),
            starving: AtomicUsize::new(0),
            said: ArcSwapOption::empty(),
            known_settings: Mutex::default(),
            statements,
            passthrough: ArcSwapOption::empty(),
            learned: ArcSwapOption::empty(),
            derived: ArcSwapOption::empty(),
        });
        pool.budgets.iter().for_each(|budget| budget.join(&pool));
        pool
    }

    /// What servers said at login, for clients that have none yet. `None`: the next one says it. Those
    /// of an older epoch may be others, but there are no newer ones while the pool is paused.
    pub(crate) fn parameters(&self) -> Option<Arc<Parameters>> {
        let said = self.said.load_full()?;
        let is_current = said.epoch == self.plan.load().epoch || self.is_paused();
        is_current.then(|| Arc::clone(&said.parameters))
    }

    /// Keeps what a server of this `epoch` said at login.
    pub(crate) fn note_parameters(&self, parameters: Parameters, epoch: u64) {
        if self.plan.load().epoch != epoch {
            return;
        }
        let version = |parameters: &Parameters| {
            let version = parameters.get("server_version").map(<[u8]>::to_vec);
            (version, parameters.settings())
        };
        // Another server, or one whose defaults were changed.
        let before = self.said.load();
        let differs = |before: &Said| version(&before.parameters) != version(&parameters);
        if before.as_deref().is_some_and(differs) {
            self.known_settings().forget();
        }
        self.said.store(Some(Arc::new(Said { parameters: Arc::new(parameters), epoch })));
    }

    /// Servers are others from now on.
    pub(crate) fn forget_parameters(&self) {
        self.said.store(None);
    }

    /// The right to one more server connection, unless a limit is reached. When that is one it
    /// shares with other pools, it is hungry from now on.
    ///
    /// # Errors
    /// [`NoPermit`]: which limit it is.
    pub(crate) fn permit(self: &Arc<Self>, ceiling: Ceiling) -> Result<Permit, NoPermit> {
        let plan = self.plan.load();
        let limit = match ceiling {
            Ceiling::Least => plan.limits.min_pool_size.min(plan.pool_size),
            Ceiling::Size => plan.pool_size,
            Ceiling::Reserve => plan.pool_size + plan.limits.reserve_pool_size,
        };
        // What is kept for nobody would go to whoever is hungry next, and be missing here again.
        if ceiling == Ceiling::Least && self.budgets.iter().any(|b| b.is_wanted_beside(self)) {
            return Err(NoPermit::Shared);
        }
        let room = |open: usize| (open < limit).then_some(open + 1);
        if self.open.fetch_update(SeqCst, SeqCst, room).is_err() {
            if ceiling != Ceiling::Least {
                // It is its own limit that keeps clients waiting, and no shared one.
                self.set_hungry(false);
            }
            return Err(NoPermit::Full);
        }
        let own = Own(Arc::clone(self));
        if let Some(shares) = self.shares() {
            self.set_hungry(false);
            return Ok(Permit { _own: own, _shares: shares });
        }
        if ceiling == Ceiling::Least {
            return Err(NoPermit::Shared);
        }
        self.set_hungry(true);
        // Whoever gave one back before that has not seen it.
        let shares = self.shares().ok_or(NoPermit::Shared)?;
        self.set_hungry(false);
        Ok(Permit { _own: own, _shares: shares })
    }

    fn shares(&self) -> Option<[Share; 2]> {
        let [database, user] = &self.budgets;
        let fair = |budget: &Budget| !budget.is_wanted_beside(self) || budget.may_take(self);
        if !(fair(database) && fair(user)) {
            return None;
        }
        let first = database.share()?;
        Some([first, user.share()?])
    }

    // === Sharing limits with other pools ===

    /// Whether any limit is shared.
    pub(crate) fn shares_limits(&self) -> bool {
        self.budgets.iter().any(|budget| budget.is_limited())
    }

    /// Whether a server that nobody uses had better be closed for the sake of another pool.
    pub(crate) fn should_yield(&self) -> bool {
        self.budgets.iter().any(|budget| {
            budget.has_too_many() || budget.is_wanted_beside(self) && budget.should_yield(self)
        })
    }

    pub(crate) fn is_hungry(&self) -> bool {
        self.hungry_since.load(SeqCst) != 0
    }

    /// For how long it has been hungry.
    pub(crate) fn hungry_for(&self, now: CoarseInstant) -> Option<Duration> {
        let since = self.hungry_since.load(SeqCst);
        (since != 0).then(|| Duration::from_nanos(now.nanoseconds().saturating_sub(since)))
    }

    /// Says whether a limit it shares keeps clients waiting.
    pub(crate) fn set_hungry(&self, is: bool) {
        let now = if is { bs9_net::now().nanoseconds().max(1) } else { 0 };
        let change = |before: u64| ((before != 0) != is).then_some(now);
        if self.hungry_since.fetch_update(SeqCst, SeqCst, change).is_ok() {
            self.budgets.iter().for_each(|budget| budget.count_hungry(is));
            if !is {
                // Others may have left it first go.
                self.budgets.iter().for_each(|budget| budget.announce_room());
            }
        }
    }

    /// Whether clients wait anywhere.
    pub(crate) fn has_waiting(&self) -> bool {
        self.starving.load(SeqCst) > 0
    }

    /// Tells the shards on which clients wait that there is a connection to be had.
    pub(crate) fn announce_room(self: &Arc<Self>) {
        for shard in self.starving_shards(usize::MAX) {
            let _may_have_ended = self.send(shard, Mail::Room(Arc::clone(self)));
        }
    }

    /// Tells a shard that it may log in now. False when it has ended.
    pub(crate) fn announce_turn(self: &Arc<Self>, shard: usize) -> bool {
        self.send(shard, Mail::Room(Arc::clone(self)))
    }

    /// Asks its shards for what they can spare, for another pool's sake.
    pub(crate) fn ask_for_spare(self: &Arc<Self>) {
        for shard in self.idle_shards(usize::MAX) {
            let _may_have_ended = self.send(shard, Mail::Spare(Arc::clone(self)));
        }
    }

    /// Has servers closed that nobody uses, where there are too many.
    pub(crate) fn make_room(self: &Arc<Self>) {
        self.ask_for_spare();
        for budget in self.budgets.iter().filter(|budget| budget.has_too_many()) {
            budget.ask_others(self);
        }
    }

    /// Whether the configuration has it no more.
    pub(crate) fn is_removed(&self) -> bool {
        self.plan.load().removed
    }

    // === Orders ===

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(SeqCst)
    }

    pub(crate) fn pause(&self, is: bool) {
        self.paused.store(is, SeqCst);
        if !is {
            self.empty.notify_waiters();
        }
    }

    /// Waits until it has no server connection. False: it was resumed before.
    pub(crate) async fn emptied(&self) -> bool {
        loop {
            let told = self.empty.notified();
            let mut told = std::pin::pin!(told);
            told.as_mut().enable();
            if self.open() == 0 {
                return true;
            }
            if !self.is_paused() {
                return false;
            }
            told.await;
        }
    }

    /// Has every shard look at the plan.
    pub(crate) fn announce_plan(self: &Arc<Self>) {
        if let Some(post) = self.post.get() {
            post.send_to_all(|| Mail::Plan(Arc::clone(self)));
        }
    }

    /// False when that shard has ended.
    fn send(&self, shard: usize, mail: Mail) -> bool {
        self.post.get().is_some_and(|post| post.send(shard, mail))
    }

    pub(crate) fn known_settings(&self) -> MutexGuard<'_, KnownSettings> {
        // Nothing panics while the lists are half changed.
        self.known_settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Server connections there are, on all shards.
    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// Says how many clients wait on `shard` now.
    pub(crate) fn set_waiting(&self, shard: usize, waiting: usize) {
        let before = self.demand[shard].waiting.swap(waiting, SeqCst);
        match (before, waiting) {
            (0, 1..) => drop(self.starving.fetch_add(1, SeqCst)),
            (1.., 0) => drop(self.starving.fetch_sub(1, SeqCst)),
            _ => {}
        }
    }

    /// Whether clients wait on a shard other than this one, on which some do or do not.
    pub(crate) fn starves_elsewhere(&self, here: bool) -> bool {
        self.starving.load(SeqCst) > usize::from(here)
    }

    /// The shard that should get the server connection `from` has just got back, if not itself.
    pub(crate) fn needier_than(&self, from: usize) -> Option<usize> {
        let loads: Vec<Load> = self.demand.iter().map(Demand::load).collect();
        needier_than(from, &loads)
    }

    /// Shards on which clients wait, `except` left out.
    pub(crate) fn starving_shards(&self, except: usize) -> impl Iterator<Item = usize> {
        let starves = |demand: &Demand| demand.waiting.load(SeqCst) > 0;
        self.shards_where(except, starves)
    }

    /// Shards with idle server connections, `except` left out.
    pub(crate) fn idle_shards(&self, except: usize) -> impl Iterator<Item = usize> {
        let has_idle = |demand: &Demand| demand.idle.load(SeqCst) > 0;
        self.shards_where(except, has_idle)
    }

    fn shards_where(
        &self,
        except: usize,
        wanted: impl Fn(&Demand) -> bool,
    ) -> impl Iterator<Item = usize> {
        let numbered = self.demand.iter().enumerate();
        numbered.filter(move |(shard, demand)| *shard != except && wanted(demand)).map(|(n, _)| n)
    }
}

impl std::fmt::Display for PoolKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.database, self.user)
    }
}

impl Demand {
    fn load(&self) -> Load {
        let incoming = self.incoming.load(SeqCst);
        Load {
            // A server on its way will serve one of them.
            waiting: self.waiting.load(SeqCst).saturating_sub(incoming),
            servers: self.servers.load(SeqCst) + incoming,
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, SeqCst) == 1 && self.0.is_paused() {
            self.0.empty.notify_waiters();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.is_hungry() {
            self.budgets.iter().for_each(|budget| budget.count_hungry(false));
        }
    }
}

/// How one shard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Clients that wait, and are not about to be served.
    pub(crate) waiting: usize,
    /// Server connections it has or is about to have.
    pub(crate) servers: usize,
}

/// Who should have the server connection that `from` just got back. A shard without waiters
/// gives it to the one with most of them. One with waiters parts with it only for a shard that
/// has none at all, or whose clients wait clearly longer: by half again, on the mean (geometric)
/// of how it is and how it would be with one more. So few servers are divided as evenly as they
/// can be, and none travels back and forth.
fn needier_than(from: usize, loads: &[Load]) -> Option<usize> {
    let own = loads[from];
    let others =
        || loads.iter().copied().enumerate().filter(|(n, load)| *n != from && load.waiting > 0);
    let neediest = others().max_by_key(|(_, load)| {
        // Waiters for each server it would then have, in thousandths.
        load.waiting.saturating_mul(1000) / (load.servers + 1)
    });
    let (shard, other) = neediest?;
    if own.waiting == 0 {
        return Some(shard);
    }
    let square = |count: usize| (count as u128).pow(2);
    let pairs = |fewer: usize| fewer as u128 * (fewer as u128 + 1);
    let theirs = square(other.waiting) * pairs(own.servers.saturating_sub(1)) * square(2);
    let ours = square(own.waiting) * pairs(other.servers) * square(3);
    // With a single server between them they take turns, or one side would never be served.
    let take_turns = other.servers == 0 && own.servers == 1;
    (take_turns || theirs > ours).then_some(shard)
}

#[cfg(test)]
pub(crate) mod tests;
