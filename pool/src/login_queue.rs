//! Logins at one server, of all pools whose servers are there, and logins of one pool.
//!
//! A server forks for each connection and looks up who it is; a storm of them keeps it from its
//! work, and one that has just started from its recovery. So no more log in at once than may
//! (`max_concurrent_server_logins`, and `max_concurrent_logins` of each pool), and who has to wait
//! does so in a line: each pool, on each shard, has one place in it, and gets in line again for its
//! next login.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bs9_config::ServerAddress;
use rustc_hash::FxHashMap;

use crate::pool::Pool;

/// One for each server that plans were made for.
#[derive(Debug, Default)]
pub(crate) struct LoginQueues(Mutex<FxHashMap<ServerAddress, Weak<LoginQueue>>>);

/// Of one server, or of one pool.
#[derive(Default)]
pub(crate) struct LoginQueue(Mutex<State>);

#[derive(Default)]
struct State {
    logging_in: usize,
    line: VecDeque<Place>,
}

/// Who waits in line.
struct Place {
    pool: Weak<Pool>,
    shard: usize,
}

/// The right to log in; given back when dropped.
pub(crate) struct LoginTurn(Arc<LoginQueue>);

impl LoginQueues {
    /// The one of this server, which all have who ask for it.
    pub(crate) fn of(&self, address: &ServerAddress) -> Arc<LoginQueue> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = known.get(address).and_then(Weak::upgrade) {
            return queue;
        }
        known.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::default();
        known.insert(address.clone(), Arc::downgrade(&queue));
        queue
    }
}

impl LoginQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to log in, when no more than `limit` do and nobody was here first. Else `pool` is
    /// in line, for that shard of it, and told when it is its turn; it may ask before.
    pub(crate) fn enter(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        shard: usize,
        limit: usize,
    ) -> Option<LoginTurn> {
        let mut state = self.state();
        while state.line.front().is_some_and(|first| first.pool.strong_count() == 0) {
            state.line.pop_front();
        }
        let found = state.find(pool, shard);
        let ahead = found.unwrap_or(state.line.len());
        if state.logging_in + ahead >= limit {
            if found.is_none() {
                state.line.push_back(Place { pool: Arc::downgrade(pool), shard });
            }
            return None;
        }
        state.remove(pool, shard);
        state.logging_in += 1;
        let more = state.logging_in < limit && !state.line.is_empty();
        drop(state);
        if more {
            self.call();
        }
        Some(LoginTurn(Arc::clone(self)))
    }

    /// That shard of `pool` wants to log in no more.
    pub(crate) fn leave(&self, pool: &Arc<Pool>, shard: usize) {
        if self.state().remove(pool, shard) {
            self.call();
        }
    }

    /// Tells who is first in line to ask again; who cannot be told any more is there no more.
    fn call(&self) {
        loop {
            let mut state = self.state();
            let Some(first) = state.line.front() else { return };
            let Some(pool) = first.pool.upgrade() else {
                state.line.pop_front();
                continue;
            };
            let shard = first.shard;
            // Letting go of a pool may be the end of it.
            drop(state);
            if pool.announce_turn(shard) {
                return;
            }
            self.state().remove(&pool, shard);
        }
    }
}

impl State {
    fn find(&self, pool: &Arc<Pool>, shard: usize) -> Option<usize> {
        let own = |place: &Place| place.shard == shard && place.pool.as_ptr() == Arc::as_ptr(pool);
        self.line.iter().position(own)
    }

    /// Whether it was there.
    fn remove(&mut self, pool: &Arc<Pool>, shard: usize) -> bool {
        self.find(pool, shard).and_then(|place| self.line.remove(place)).is_some()
    }
}

impl Drop for LoginTurn {
    fn drop(&mut self) {
        self.0.state().logging_in -= 1;
        self.0.call();
    }
}

impl std::fmt::Debug for LoginQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("LoginQueue")
            .field("logging_in", &state.logging_in)
            .field("line", &state.line.len())
            .finish()
    }
}
