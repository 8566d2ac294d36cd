//! Connections to the database.

use std::{sync::Arc, time::Duration};

use bs9_config::{PostgresStore, ServerAddress};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls, config::SslMode};

use super::{PostgresError, tls::Connector};

/// After this long without a word the kernel asks whether the other end is there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Where the store is, and how it is reached.
#[derive(Debug)]
pub(super) struct Link {
    pool: Pool,
    schema: Arc<str>,
    host: Arc<str>,
    limit: Duration,
}

impl Link {
    /// Connects nowhere yet.
    pub(super) fn new(to: &PostgresStore) -> Result<Self, PostgresError> {
        let mut config = Config::new();
        config
            .user(&*to.user)
            .dbname(&*to.dbname)
            .application_name("bs9 manager")
            .connect_timeout(to.timeout)
            .tcp_user_timeout(to.timeout)
            .keepalives_idle(KEEPALIVE);
        if let Some(password) = &to.password {
            config.password(password.reveal());
        }
        match &to.address {
            ServerAddress::Tcp { host, port } => config.host(&**host).port(*port),
            ServerAddress::Unix(path) => {
                let port = path.extension().and_then(|port| port.to_str()?.parse().ok());
                config.host_path(path.parent().unwrap_or(path)).port(port.unwrap_or(5_432))
            }
        };
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &to.tls {
            None => Manager::from_config(config.ssl_mode(SslMode::Disable).clone(), NoTls, manager),
            Some(tls) => {
                let config = config.ssl_mode(SslMode::Require).clone();
                Manager::from_config(config, Connector::new(tls)?, manager)
            }
        };
        let pool = Pool::builder(manager)
            .max_size(to.connections)
            .wait_timeout(Some(to.timeout))
            .create_timeout(Some(to.timeout))
            .recycle_timeout(Some(to.timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| PostgresError::Unreachable(error.to_string()))?;
        let host = to.host_name.clone().unwrap_or_else(machine);
        Ok(Self { pool, schema: Arc::clone(&to.schema), host, limit: to.timeout })
    }

    /// A connection.
    pub(super) async fn client(&self) -> Result<Object, PostgresError> {
        Ok(self.pool.get().await?)
    }

    /// Gives up connections that may hang.
    pub(super) fn give_up(&self) {
        self.pool.retain(|_, _| false);
    }

    /// The schema of the tables; needs no quotes.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// What this machine is called in the store.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Of one transaction.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// `{s}` in `sql` is the schema.
    pub(super) fn sql(&self, sql: &str) -> String {
        sql.replace("{s}", &self.schema)
    }
}

fn machine() -> Arc<str> {
    rustix::system::uname().nodename().to_string_lossy().as_ref().into()
}
