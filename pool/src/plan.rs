//! What one pool works by: replaced when a reload changes it.

use std::{sync::Arc, time::Duration};

use bs9_config::{Config, Database, PoolMode, Postgres, ServerAddress};
use bs9_wire::auth::Verifier;

use crate::part::{Part, User};

/// The settings of one pool.
#[derive(Debug)]
pub(crate) struct Plan {
    config: Arc<Config>,
    /// How its servers are reached; a change counts [`epoch`](Self::epoch) up.
    pub(crate) target: Target,
    /// Server connections of an older epoch are closed when they come back.
    pub(crate) epoch: u64,
    /// The configuration has no such database any more.
    pub(crate) removed: bool,
    pub(crate) mode: PoolMode,
    pub(crate) pool_size: usize,
}

/// Where servers are and who logs in to them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) address: ServerAddress,
    pub(crate) dbname: Arc<str>,
    pub(crate) user: Arc<str>,
    /// `None`: trust only, or the keys of a client that logged in.
    pub(crate) secret: Option<Verifier>,
}

impl Plan {
    /// For clients of `user` that ask for the database called `asked`.
    pub(crate) fn new(
        part: &Part,
        database: &Database,
        asked: &Arc<str>,
        user: &ServerUser,
    ) -> Self {
        Self {
            config: Arc::clone(&part.config),
            target: Target {
                address: database.address.clone(),
                dbname: database.dbname.clone().unwrap_or_else(|| Arc::clone(asked)),
                user: Arc::clone(&user.name),
                secret: user.secret.clone(),
            },
            epoch: 0,
            removed: false,
            mode: database.pool_mode,
            pool_size: database.pool_size,
        }
    }

    /// The same pool under the next configuration.
    pub(crate) fn succeed(mut self, before: &Self) -> Self {
        let same = self.target == before.target && !before.removed;
        self.epoch = if same { before.epoch } else { before.epoch + 1 };
        self
    }

    /// The same pool after its database was taken out of the configuration.
    pub(crate) fn remove(before: &Self) -> Self {
        Self {
            config: Arc::clone(&before.config),
            target: before.target.clone(),
            epoch: before.epoch + u64::from(!before.removed),
            removed: true,
            mode: before.mode,
            pool_size: before.pool_size,
        }
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        self.config.postgres.as_ref().expect("pools are planned from [postgres] alone")
    }

    /// Limit for establishing and logging in one server connection.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.postgres().connect_timeout
    }
}

/// Who a pool's server connections log in as.
pub(crate) struct ServerUser {
    pub(crate) name: Arc<str>,
    pub(crate) secret: Option<Verifier>,
}

impl ServerUser {
    /// The one the database forces, or the client's own.
    pub(crate) fn of(part: &Part, database: &Database, client: &Arc<str>) -> Self {
        let password = database.password.as_ref();
        let password = password.map(|secret| Verifier::Plain(secret.reveal().to_owned()));
        let name = database.user.as_ref().unwrap_or(client);
        let known = || part.user(name).and_then(|user: &Arc<User>| user.verifier.clone());
        Self { name: Arc::clone(name), secret: password.or_else(known) }
    }
}
