//! How many clients there are of a database, a user and an address.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bs9_config::{Database, Postgres};
use bs9_net::PeerAddress;
use rustc_hash::FxHashMap;

/// Locked when a client has logged in, and when it leaves.
#[derive(Default)]
pub(crate) struct Census(Mutex<FxHashMap<Group, Arc<Crowd>>>);

/// Clients that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    Database(Arc<str>),
    User(Arc<str>),
    Address(IpAddr),
}

/// How many clients there are of a group. It is in the census while there is one.
struct Crowd {
    census: Arc<Census>,
    group: Group,
    /// Changed with the census locked.
    members: AtomicUsize,
}

/// A client, counted until this is dropped. Every client has one, so it is small.
pub(crate) struct Counted {
    database: Arc<Crowd>,
    user: Arc<Crowd>,
    address: Option<Arc<Crowd>>,
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
    fn lock(&self) -> MutexGuard<'_, FxHashMap<Group, Arc<Crowd>>> {
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
        let database = (
            Group::Database(Arc::clone(newcomer.name)),
            newcomer.database.limits.max_client_connections.map(Exceeded::Database),
        );
        let user = (
            Group::User(Arc::clone(newcomer.user)),
            user.max_client_connections.map(Exceeded::User),
        );
        let address = newcomer.peer.ip().map(|address| {
            let limit = postgres.limits.max_address_client_connections;
            (Group::Address(address.to_canonical()), limit.map(Exceeded::Address))
        });
        let mut crowds = self.lock();
        for (group, limit) in [&database, &user].into_iter().chain(&address) {
            let members = crowds.get(group).map_or(0, |crowd| crowd.members.load(Relaxed));
            if let Some(exceeded) = *limit
                && members >= exceeded.limit()
            {
                return Err(exceeded);
            }
        }
        let mut join = |(group, _): (Group, _)| {
            let new = || {
                let (census, group) = (Arc::clone(self), group.clone());
                Arc::new(Crowd { census, group, members: AtomicUsize::new(0) })
            };
            let crowd = Arc::clone(crowds.entry(group.clone()).or_insert_with(new));
            crowd.members.fetch_add(1, Relaxed);
            crowd
        };
        Ok(Counted { database: join(database), user: join(user), address: address.map(join) })
    }

    fn members(&self, of: &Group) -> usize {
        self.lock().get(of).map_or(0, |crowd| crowd.members.load(Relaxed))
    }

    /// Clients of a database.
    pub(crate) fn of_database(&self, name: &Arc<str>) -> usize {
        self.members(&Group::Database(Arc::clone(name)))
    }

    /// Clients of a user.
    pub(crate) fn of_user(&self, name: &Arc<str>) -> usize {
        self.members(&Group::User(Arc::clone(name)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut crowds = self.database.census.lock();
        for crowd in [&self.database, &self.user].into_iter().chain(&self.address) {
            if crowd.members.fetch_sub(1, Relaxed) == 1 {
                crowds.remove(&crowd.group);
            }
        }
    }
}

impl Exceeded {
    fn limit(self) -> usize {
        let (Self::Database(limit) | Self::User(limit) | Self::Address(limit)) = self;
        limit
    }

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
