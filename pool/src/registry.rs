//! All pools there are.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bs9_api::types::PoolStatus;
use bs9_config::Database;
use rustc_hash::FxHashMap;

use crate::{
    cell::Cell,
    part::Part,
    plan::{Plan, ServerUser},
    pool::{Pool, PoolKey},
    prepared::statement::{MAX_TOTAL_BYTES, StatementStore},
};

/// Pools there may be. Only `*` can bring about many: one for each name clients come up with.
const MAX_POOLS: usize = 10_000;

/// Shared by all shards; locked when a client of a pool new to its shard logs in, and by
/// reloads and status answers.
pub(crate) struct Registry {
    pools: Mutex<FxHashMap<PoolKey, Arc<Pool>>>,
    clients: AtomicUsize,
    /// Texts of prepared statements, of all pools.
    statements: Arc<StatementStore>,
    /// What the made-up verifiers of unknown users hang on.
    pub(crate) mock_secret: [u8; 32],
}

/// One client connection, counted until this is dropped.
pub(crate) struct ClientPermit(Arc<Registry>);

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            pools: Mutex::default(),
            clients: AtomicUsize::new(0),
            statements: StatementStore::new(MAX_TOTAL_BYTES),
            mock_secret: rand::random(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<PoolKey, Arc<Pool>>> {
        // Nothing panics while the map is half changed.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more client, unless there are `limit` already.
    pub(crate) fn admit(self: &Arc<Self>, limit: usize) -> Option<ClientPermit> {
        let room = |clients: usize| (clients < limit).then_some(clients + 1);
        let admitted = self.clients.fetch_update(Relaxed, Relaxed, room);
        admitted.ok().map(|_| ClientPermit(Arc::clone(self)))
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
        let plan = Plan::new(part, database, &key.database, user);
        let statements = Arc::clone(&self.statements);
        let pool = Pool::new(key.clone(), plan, by_fallback, part.shards, statements);
        pools.insert(key.clone(), Arc::clone(&pool));
        Some(pool)
    }

    /// Gives every pool its plan under the part now in force.
    pub(crate) fn apply(&self, part: &Part) {
        for (key, pool) in &*self.lock() {
            let before = pool.plan.load();
            let asked = part.database(&key.database);
            // A pool whose database now forces another user has no clients to come.
            let fits = asked
                .filter(|asked| asked.database.user.as_ref().is_none_or(|user| *user == key.user));
            let plan = match fits {
                None => Plan::remove(&before),
                Some(asked) => {
                    let user = ServerUser::of(part, asked.database, &key.user);
                    Plan::new(part, asked.database, &key.database, &user).succeed(&before)
                }
            };
            if plan.epoch != before.epoch {
                pool.parameters.store(None);
                pool.derived.store(None);
            }
            pool.plan.store(Arc::new(plan));
        }
    }

    /// Every pool, by name.
    pub(crate) fn statuses(&self) -> Vec<PoolStatus> {
        let mut pools: Vec<Arc<Pool>> = self.lock().values().cloned().collect();
        pools.sort_by(|one, other| one.key.cmp(&other.key));
        pools.iter().map(|pool| status(pool)).collect()
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Relaxed);
    }
}

fn status(pool: &Pool) -> PoolStatus {
    let plan = pool.plan.load();
    let sum = |field: fn(&Cell) -> u64| pool.cells.sum(field);
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    PoolStatus {
        database: pool.key.database.to_string(),
        user: pool.key.user.to_string(),
        pool_mode: plan.mode.name().to_owned(),
        clients_active: sum(|cell| cell.clients_active.get()),
        clients_waiting: sum(|cell| cell.clients_waiting.get()),
        servers_active: sum(|cell| cell.servers_active.get()),
        servers_idle: sum(|cell| cell.servers_idle.get()),
        servers_used: sum(|cell| cell.servers_used.get()),
        servers_tested: sum(|cell| cell.servers_tested.get()),
        servers_login: sum(|cell| cell.servers_login.get()),
        pool_size: plan.pool_size as u64,
        max_wait_seconds: seconds(longest_wait(pool)),
        paused: false,
        queries_total: sum(|cell| cell.queries.get()),
        transactions_total: sum(|cell| cell.transactions.get()),
        received_bytes_total: sum(|cell| cell.received_bytes.get()),
        sent_bytes_total: sum(|cell| cell.sent_bytes.get()),
        wait_seconds_total: seconds(sum(|cell| cell.wait_nanoseconds.get())),
        wait_timeouts_total: sum(|cell| cell.wait_timeouts.get()),
        server_connects_total: sum(|cell| cell.connects.get()),
        server_connect_failures_total: sum(|cell| cell.connect_failures.get()),
        servers_closed_dirty_total: sum(|cell| cell.closed_dirty.get()),
        server_handovers_total: sum(|cell| cell.handovers.get()),
        cancels_total: sum(|cell| cell.cancels.get()),
        prepared_hits_total: sum(|cell| cell.prepared_hits.get()),
        prepared_misses_total: sum(|cell| cell.prepared_misses.get()),
        prepared_evictions_total: sum(|cell| cell.prepared_evictions.get()),
    }
}

/// How long the client that has waited longest has waited, nanoseconds.
fn longest_wait(pool: &Pool) -> u64 {
    let since = pool.cells.iter().map(|cell| cell.oldest_wait_nanoseconds.get());
    let oldest = since.filter(|since| *since > 0).min();
    let now = bs9_net::refresh_clock().nanoseconds();
    oldest.map_or(0, |oldest| now.saturating_sub(oldest))
}
