//! What one pool works by: replaced when a reload changes it.

use std::{sync::Arc, time::Duration};

use bs9_config::{
    Config, Database, DatabaseLimits, PoolMode, Postgres, ProtocolLevel, ServerAddress,
};
use bs9_wire::auth::Verifier;

use crate::{
    auth::{User, Workshop},
    login_queue::LoginQueue,
    part::Part,
    tls::Encryption,
};

/// The settings of one pool.
#[derive(Debug, Clone)]
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
    /// Where its servers are logged in to.
    pub(crate) login_queue: Arc<LoginQueue>,
    /// Where keys are derived.
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) limits: DatabaseLimits,
    /// The youngest that a server connection is closed for its age.
    pub(crate) soonest_end: Duration,
}

/// Where servers are and who logs in to them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) address: ServerAddress,
    pub(crate) dbname: Arc<str>,
    pub(crate) user: Arc<str>,
    /// `None`: trust only, or the keys of a client that logged in.
    pub(crate) secret: Option<Verifier>,
    /// `None`: without TLS.
    pub(crate) encryption: Option<Arc<Encryption>>,
    pub(crate) max_protocol: ProtocolLevel,
}

impl Plan {
    /// For clients of `user` that ask for the database called `asked`.
    pub(crate) fn new(
        part: &Part,
        database: &Database,
        asked: &Arc<str>,
        user: &ServerUser,
    ) -> Self {
        let postgres = part.postgres().expect("pools are planned from [postgres] alone");
        let jitter = postgres.limits.server_jitter;
        Self {
            soonest_end: postgres.server_lifetime.mul_f64(1.0 - jitter),
            limits: database.limits,
            config: Arc::clone(&part.config),
            target: Target {
                address: database.address.clone(),
                dbname: database.dbname.clone().unwrap_or_else(|| Arc::clone(asked)),
                user: Arc::clone(&user.name),
                secret: user.secret.clone(),
                encryption: part.encryption(database).cloned(),
                max_protocol: database.max_protocol,
            },
            login_queue: part.door.login_queues.of(&database.address),
            workshop: Arc::clone(&part.door.workshop),
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
        let epoch = before.epoch + u64::from(!before.removed);
        Self { epoch, removed: true, ..before.clone() }
    }

    /// The same, by which every server connection there is now is closed when it comes back.
    pub(crate) fn renew(before: &Self) -> Self {
        Self { epoch: before.epoch + 1, ..before.clone() }
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        self.config.postgres.as_ref().expect("pools are planned from [postgres] alone")
    }

    /// Server connections there may be, those in reserve included.
    pub(crate) fn most_servers(&self) -> usize {
        self.pool_size + self.limits.reserve_pool_size
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
