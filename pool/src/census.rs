//! How many clients there are of a database, a user and an address.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bs9_config::{Database, Postgres};
use bs9_net::PeerAddress;
use rustc_hash::FxHashMap;

/// Locked when a client has logged in, and when it leaves.
#[derive(Default)]
pub(crate) struct Census(Mutex<FxHashMap<Group, usize>>);

/// Clients that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    Database(Arc<str>),
    User(Arc<str>),
    Address(IpAddr),
}

/// A client, counted until this is dropped.
pub(crate) struct Counted {
    census: Arc<Census>,
    /// No longer than it is: every client has this.
    groups: Box<[Group]>,
}

/// The limit that a client would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Database(usize),
    User(usize),
    Address(usize),
}

/// Who a client is.
pub(crate) struct Newcomer<'a> {
    /// As the client called it.
    pub(crate) name: &'a Arc<str>,
    pub(crate) database: &'a Database,
    pub(crate) user: &'a Arc<str>,
    pub(crate) peer: &'a PeerAddress,
}

impl Census {
    fn lock(&self) -> MutexGuard<'_, FxHashMap<Group, usize>> {
        // Nothing panics while the map is half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more client everywhere it belongs, unless a limit is reached.
    pub(crate) fn admit(
        self: &Arc<Self>,
        postgres: &Postgres,
        newcomer: &Newcomer<'_>,
    ) -> Result<Counted, Exceeded> {
        let user = postgres.users.get(newcomer.user).map_or(&postgres.limits.user, |u| &u.limits);
        let mut wanted = vec![
            (
                Group::Database(Arc::clone(newcomer.name)),
                newcomer.database.limits.max_client_connections,
                Exceeded::Database as fn(usize) -> Exceeded,
            ),
            (Group::User(Arc::clone(newcomer.user)), user.max_client_connections, Exceeded::User),
        ];
        if let PeerAddress::Tcp(address) = newcomer.peer {
            let limit = postgres.limits.max_address_client_connections;
            wanted.push((Group::Address(address.ip().to_canonical()), limit, Exceeded::Address));
        }
        let mut counts = self.lock();
        for (group, limit, exceeded) in &wanted {
            let Some(limit) = *limit else { continue };
            if counts.get(group).copied().unwrap_or(0) >= limit {
                return Err(exceeded(limit));
            }
        }
        for (group, _, _) in &wanted {
            *counts.entry(group.clone()).or_insert(0) += 1;
        }
        drop(counts);
        let groups = wanted.into_iter().map(|(group, _, _)| group).collect();
        Ok(Counted { census: Arc::clone(self), groups })
    }

    /// Clients of a database.
    pub(crate) fn of_database(&self, name: &Arc<str>) -> usize {
        self.lock().get(&Group::Database(Arc::clone(name))).copied().unwrap_or(0)
    }

    /// Clients of a user.
    pub(crate) fn of_user(&self, name: &Arc<str>) -> usize {
        self.lock().get(&Group::User(Arc::clone(name))).copied().unwrap_or(0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.census.lock();
        for group in &*self.groups {
            let Some(count) = counts.get_mut(group) else { continue };
            *count -= 1;
            if *count == 0 {
                counts.remove(group);
            }
        }
    }
}

impl Exceeded {
    /// What the client is told.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Database(_) => "too many clients of this database already",
            Self::User(_) => "too many clients of this user already",
            Self::Address(_) => "too many clients from this address already",
        }
    }

    /// Which key to raise.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Database(_) => "Raise max_client_connections of the database.",
            Self::User(_) => "Raise max_client_connections of the user.",
            Self::Address(_) => "Raise postgres.max_address_client_connections.",
        }
    }
}
