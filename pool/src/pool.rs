//! A pool as every shard sees it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bs9_net::PerShard;
use bs9_wire::auth::scram::{Passthrough, ScramKeys};

use crate::{
    cell::Cell,
    plan::Plan,
    prepared::statement::StatementStore,
    settings::{KnownSettings, Parameters},
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
    pub(crate) cells: PerShard<Cell>,
    pub(crate) demand: PerShard<Demand>,
    /// On how many shards clients wait.
    starving: AtomicUsize,
    /// What servers said at login, to be said to clients before they have one.
    pub(crate) parameters: ArcSwapOption<Parameters>,
    /// Locked at logins, and when a client changes a parameter that follows it.
    known_settings: Mutex<KnownSettings>,
    /// Texts of prepared statements.
    pub(crate) statements: Arc<StatementStore>,
    /// Keys of the client that logged in last, when all we store is a verifier.
    pub(crate) passthrough: ArcSwapOption<Passthrough>,
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
pub(crate) struct Permit(Arc<Pool>);

impl Pool {
    pub(crate) fn new(
        key: PoolKey,
        plan: Plan,
        by_fallback: bool,
        shards: usize,
        statements: Arc<StatementStore>,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            by_fallback,
            plan: ArcSwap::from_pointee(plan),
            open: AtomicUsize::new(0),
            cells: PerShard::new(shards),
            demand: PerShard::new(shards),
            starving: AtomicUsize::new(0),
            parameters: ArcSwapOption::empty(),
            known_settings: Mutex::default(),
            statements,
            passthrough: ArcSwapOption::empty(),
            derived: ArcSwapOption::empty(),
        })
    }

    /// The right to one more server connection, unless the limit is reached.
    pub(crate) fn permit(self: &Arc<Self>) -> Option<Permit> {
        let limit = self.plan.load().pool_size;
        let room = |open: usize| (open < limit).then_some(open + 1);
        self.open.fetch_update(SeqCst, SeqCst, room).ok().map(|_| Permit(Arc::clone(self)))
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

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
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
/// has none at all, or whose clients wait clearly longer even with one more: by half again, lest
/// connections travel back and forth.
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
    let starved = other.servers == 0 && own.servers > 1;
    let theirs = other.waiting.saturating_mul(own.servers.saturating_sub(1)).saturating_mul(2);
    let ours = own.waiting.saturating_mul(other.servers + 1).saturating_mul(3);
    // With a single server between them they take turns, or one side would never be served.
    let take_turns = other.servers == 0 && own.servers == 1;
    (starved || take_turns || theirs > ours).then_some(shard)
}

#[cfg(test)]
mod tests;
