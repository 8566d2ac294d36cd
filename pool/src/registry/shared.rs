//! What pools share: the limits of a database and of a user, and who listens for a database.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::MAX_POOLS;
use crate::{budget::Budget, listen::Listening, pool::PoolKey};

/// What one pool shares with others.
#[derive(Clone)]
pub(crate) struct Shared {
    /// With the pools of the same database, and with those of the same user.
    pub(crate) budgets: [Arc<Budget>; 2],
    /// With the pools of the same database.
    pub(crate) listening: Arc<Listening>,
}

/// All there is of it.
#[derive(Default)]
pub(super) struct SharedByName {
    databases: FxHashMap<Arc<str>, OfDatabase>,
    users: FxHashMap<Arc<str>, Arc<Budget>>,
}

struct OfDatabase {
    budget: Arc<Budget>,
    listening: Arc<Listening>,
}

impl SharedByName {
    /// What this pool is to have, made when it is the first. What nobody has any more goes when
    /// there is much of it.
    pub(super) fn of(&mut self, key: &PoolKey) -> Shared {
        if self.databases.len() >= MAX_POOLS {
            self.databases.retain(|_, known| known.is_used());
        }
        if self.users.len() >= MAX_POOLS {
            self.users.retain(|_, budget| Arc::strong_count(budget) > 1);
        }
        let database = self
            .databases
            .entry(Arc::clone(&key.database))
            .or_insert_with(|| OfDatabase { budget: Budget::new(), listening: Arc::default() });
        let user = self.users.entry(Arc::clone(&key.user)).or_insert_with(Budget::new);
        Shared {
            budgets: [Arc::clone(&database.budget), Arc::clone(user)],
            listening: Arc::clone(&database.listening),
        }
    }
}

impl OfDatabase {
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.budget) + Arc::strong_count(&self.listening) > 2
    }
}
