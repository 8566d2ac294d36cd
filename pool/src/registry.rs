//! All pools there are.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bs9_api::types::PoolOrder;
use bs9_config::Database;
use bs9_net::CoarseInstant;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, watch};

use crate::{
    auth::Doorkeeper,
    budget::Budget,
    census::{Census, Counted},
    engine::ReloadCell,
    orders::{OrderError, Orders},
    part::{FALLBACK, Part},
    plan::{Plan, ServerUser},
    pool::{Pool, PoolKey},
    post::Post,
    prepared::statement::{MAX_TOTAL_BYTES, StatementStore},
    roster::{Roll, RollCall},
    shard::Mail,
};

mod shared;
pub(crate) mod status;

pub(crate) use shared::Shared;

use shared::SharedByName;

/// Pools there may be. Only `*` can bring about many: one for each name clients come up with.
const MAX_POOLS: usize = 10_000;

/// Shared by all shards; locked when a client of a pool new to its shard logs in, and by
/// reloads, orders and status answers.
pub(crate) struct Registry {
    pools: Mutex<FxHashMap<PoolKey, Arc<Pool>>>,
    shared: Mutex<SharedByName>,
    /// Who looks users up, and has the orders in force, which are changed while the pools are
    /// locked.
    pub(crate) door: Arc<Doorkeeper>,
    /// The part in force.
    pub(crate) part: ArcSwapOption<Part>,
    pub(crate) post: Arc<OnceLock<Post>>,
    pub(crate) reload: ReloadCell,
    since: CoarseInstant,
    clients: AtomicUsize,
    pub(crate) census: Arc<Census>,
    /// Texts of prepared statements, of all pools.
    statements: Arc<StatementStore>,
}

/// One client connection, counted until this is dropped.
pub(crate) struct ClientPermit {
    registry: Arc<Registry>,
    /// As a client of its database, user and address.
    counted: Option<Counted>,
}

impl Registry {
    pub(crate) fn new(door: &Arc<Doorkeeper>) -> Arc<Self> {
        Arc::new(Self {
            pools: Mutex::default(),
            shared: Mutex::default(),
            door: Arc::clone(door),
            part: ArcSwapOption::empty(),
            post: Arc::default(),
            reload: ReloadCell::new(),
            since: bs9_net::refresh_clock(),
            clients: AtomicUsize::new(0),
            census: Arc::default(),
            statements: StatementStore::new(MAX_TOTAL_BYTES),
        })
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<PoolKey, Arc<Pool>>> {
        // Nothing panics while the map is half changed.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self) -> watch::Ref<'_, Orders> {
        self.door.lookup.desk.orders.borrow()
    }

    /// Every pool, by name.
    pub(crate) fn pools(&self) -> Vec<Arc<Pool>> {
        let mut pools: Vec<Arc<Pool>> = self.lock().values().cloned().collect();
        pools.sort_by(|one, other| one.key.cmp(&other.key));
        pools
    }

    /// Counts one more client, unless there are `limit` already.
    pub(crate) fn admit(self: &Arc<Self>, limit: usize) -> Option<ClientPermit> {
        let room = |clients: usize| (clients < limit).then_some(clients + 1);
        let admitted = self.clients.fetch_update(Relaxed, Relaxed, room);
        admitted.ok().map(|_| ClientPermit { registry: Arc::clone(self), counted: None })
    }

    /// The pool for clients that ask for `key.database`, made when there is none. `None` when
    /// there are too many.
    pub(crate) fn pool(
        &self,
        part: &Part,
        key: &PoolKey,
        database: &Database,
        user: &ServerUser,
        by_fallback: bool,
    ) -> Option<Arc<Pool>> {
        let mut pools = self.lock();
        if let Some(pool) = pools.get(key) {
            return Some(Arc::clone(pool));
        }
        if pools.len() >= MAX_POOLS {
            pools.retain(|_, pool| !pool.by_fallback || Arc::strong_count(pool) > 1);
        }
        if pools.len() >= MAX_POOLS {
            return None;
        }
        let pool = self.new_pool(part, key, database, user, by_fallback);
        // The client may have come under a part that has been replaced since.
        match self.part.load_full().filter(|newest| newest.generation > part.generation) {
            Some(newest) => follow(&pool, &newest),
            None => set_limits(&pool.budgets, part, database, &key.user),
        }
        pools.insert(key.clone(), Arc::clone(&pool));
        Some(pool)
    }

    /// Its limits, which it shares, are as they were.
    fn new_pool(
        &self,
        part: &Part,
        key: &PoolKey,
        database: &Database,
        user: &ServerUser,
        by_fallback: bool,
    ) -> Arc<Pool> {
        let plan = Plan::new(part, database, &key.database, user);
        let shared = self.shared().of(key);
        let statements = Arc::clone(&self.statements);
        let post = Arc::clone(&self.post);
        let pool = Pool::new(key.clone(), plan, by_fallback, part.shards, statements, shared, post);
        let standing = self.orders().of(&key.database);
        pool.pause(standing.paused);
        pool.disabled.store(standing.disabled, SeqCst);
        pool
    }

    fn shared(&self) -> MutexGuard<'_, SharedByName> {
        // Nothing panics while the maps are half changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives every pool its plan under the part now in force, and starts those that are kept up
    /// without clients.
    pub(crate) fn apply(&self, part: &Arc<Part>) {
        self.part.store(Some(Arc::clone(part)));
        self.door.lookup.follow(part);
        let mut pools = self.lock();
        pools.values().for_each(|pool| follow(pool, part));
        let Some(postgres) = part.postgres() else { return };
        for (name, database) in &postgres.databases {
            let Some(user) = &database.user else { continue };
            if database.limits.min_pool_size == 0 || &**name == FALLBACK {
                continue;
            }
            let key = PoolKey { database: Arc::clone(name), user: Arc::clone(user) };
            let server_user = ServerUser::of(part, database, user);
            let pool = pools.entry(key.clone()).or_insert_with(|| {
                let pool = self.new_pool(part, &key, database, &server_user, false);
                set_limits(&pool.budgets, part, database, user);
                pool
            });
            if let Some(post) = self.post.get() {
                let _keeps_it = post.send(0, Mail::Plan(Arc::clone(pool)));
            }
        }
    }

    // === Orders ===

    /// Whether an operator lets no new clients into this database.
    pub(crate) fn is_disabled(&self, database: &str) -> bool {
        self.orders().of(database).disabled
    }

    /// How a database stands: paused, disabled.
    pub(crate) fn standing(&self, database: &str) -> crate::orders::Standing {
        self.orders().of(database)
    }

    /// Whether every database is paused.
    pub(crate) fn everything_paused(&self) -> bool {
        self.orders().all_paused()
    }

    /// Since the start.
    pub(crate) fn uptime(&self) -> Duration {
        bs9_net::refresh_clock().since(self.since)
    }

    /// Who is there, in order of database and user. A shard that has not answered when the wait
    /// is `given_up` is left out.
    pub(crate) async fn roll(&self, given_up: impl Future<Output = ()>) -> Roll {
        let mut roll = Roll::default();
        let Some(post) = self.post.get() else { return roll };
        let (answer, mut answers) = mpsc::unbounded_channel();
        post.send_to_all(|| Mail::Roll(RollCall { answer: answer.clone() }));
        drop(answer);
        let mut given_up = std::pin::pin!(given_up);
        loop {
            tokio::select! {
                biased;
                () = &mut given_up => break,
                part = answers.recv() => {
                    let Some(part) = part else { break };
                    roll.clients.extend(part.clients);
                    roll.servers.extend(part.servers);
                }
            }
        }
        roll.servers.extend(self.door.lookup.desk.servers());
        roll.clients
            .sort_by(|one, other| (&one.database, &one.user).cmp(&(&other.database, &other.user)));
        roll.servers
            .sort_by(|one, other| (&one.database, &one.user).cmp(&(&other.database, &other.user)));
        roll
    }

    /// Carries out an order for one database, or for all. Returns the pools it is about.
    ///
    /// # Errors
    /// [`OrderError`]; nothing has changed then.
    pub(crate) fn order(
        &self,
        order: PoolOrder,
        database: Option<&str>,
    ) -> Result<Vec<Arc<Pool>>, OrderError> {
        let pools = self.lock();
        if let Some(name) = database {
            let configured = self.part.load().as_ref().is_some_and(|p| p.database(name).is_some());
            if !configured && !pools.keys().any(|key| &*key.database == name) {
                return Err(OrderError::UnknownDatabase(name.to_owned()));
            }
        }
        let mut noted = Ok(());
        self.door.lookup.desk.orders.send_if_modified(|orders| {
            noted = orders.note(order, database);
            noted.is_ok()
        });
        noted?;
        self.door.lookup.obey(order, database);
        let orders = self.orders();
        let concerned = |key: &PoolKey| database.is_none_or(|name| *key.database == *name);
        let concerned: Vec<_> =
            pools.iter().filter(|(key, _)| concerned(key)).map(|(_, pool)| pool).collect();
        for pool in &concerned {
            let standing = orders.of(&pool.key.database);
            pool.pause(standing.paused);
            pool.disabled.store(standing.disabled, SeqCst);
            if matches!(order, PoolOrder::Pause | PoolOrder::Kill | PoolOrder::Reconnect) {
                let next = Plan::renew(&pool.plan.load());
                pool.plan.store(Arc::new(next));
            }
            pool.announce_plan();
        }
        if order == PoolOrder::Kill
            && let Some(post) = self.post.get()
        {
            let database = database.map(Arc::<str>::from);
            post.send_to_all(|| Mail::Kill(database.clone()));
        }
        Ok(concerned.into_iter().cloned().collect())
    }
}

/// Gives a pool its plan under `part`.
fn follow(pool: &Arc<Pool>, part: &Arc<Part>) {
    let key = &pool.key;
    let before = pool.plan.load();
    let asked = part.database(&key.database);
    // A pool whose database now forces another user has no clients to come.
    let fits =
        asked.filter(|asked| asked.database.user.as_ref().is_none_or(|user| *user == key.user));
    let plan = match fits {
        None => Plan::remove(&before),
        Some(asked) => {
            set_limits(&pool.budgets, part, asked.database, &key.user);
            let user = ServerUser::of(part, asked.database, &key.user);
            Plan::new(part, asked.database, &key.database, &user).succeed(&before)
        }
    };
    if plan.epoch != before.epoch {
        pool.forget_parameters();
        pool.derived.store(None);
    }
    // Keys of a client are good wherever the same verifier is; a server says if it has another.
    let same_login =
        (&plan.target.user, &plan.target.secret) == (&before.target.user, &before.target.secret);
    if plan.removed || !same_login {
        pool.passthrough.store(None);
    }
    pool.plan.store(Arc::new(plan));
}

fn set_limits(budgets: &[Arc<Budget>; 2], part: &Part, database: &Database, user: &Arc<str>) {
    let Some(postgres) = part.postgres() else { return };
    let limits = postgres.users.get(user).map_or(&postgres.limits.user, |user| &user.limits);
    budgets[0].set_limit(database.limits.max_connections);
    budgets[1].set_limit(limits.max_connections);
}

impl ClientPermit {
    /// It is counted as what it turned out to be, too.
    pub(crate) fn count_as(&mut self, counted: Counted) {
        self.counted = Some(counted);
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.counted = None;
        self.registry.clients.fetch_sub(1, Relaxed);
    }
}
