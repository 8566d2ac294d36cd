//! Connections that users are looked up by, as `deadpool` has them made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bs9_config::{ChannelBinding, ServerAddress, SslMode};
use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    CancelToken, Client, Config, Error, NoTls, SimpleQueryMessage, Socket, config,
    tls::MakeTlsConnect,
};

use super::{
    Source,
    connector::Connector,
    desk::{Card, Desk, Entry},
};
use crate::part::Part;

/// For a server to take a request to cancel something.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// Makes connections to one place.
pub(super) struct Connections {
    database: Arc<str>,
    source: Source,
    config: Config,
    desk: Arc<Desk>,
    /// Connections made before it last rose are closed when they come back.
    epoch: AtomicU64,
}

/// A connection.
pub(super) struct Connection {
    pub(super) client: ClientWrapper,
    pub(super) card: Arc<Card>,
    epoch: u64,
    connector: Option<Connector>,
}

/// What drives one; it is told of until that has ended.
struct Driver<C> {
    // In this order: it is closed before it is told of no more.
    connection: C,
    _entry: Entry,
}

impl Connections {
    pub(super) fn new(database: Arc<str>, source: Source, desk: Arc<Desk>) -> Self {
        let config = config_of(&source);
        Self { database, source, config, desk, epoch: AtomicU64::new(0) }
    }

    pub(super) fn is_to(&self, database: &str, source: &Source) -> bool {
        *self.database == *database && self.source == *source
    }

    pub(super) fn is_in(&self, part: &Part) -> bool {
        part.source(&self.database, &self.source.user).as_ref() == Some(&self.source)
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// Lets no connection that there is now be used again.
    pub(super) fn renew(&self) {
        self.epoch.fetch_add(1, Relaxed);
    }

    /// Whether a connection may be used again.
    pub(super) fn keeps(&self, connection: &Connection) -> bool {
        connection.epoch == self.epoch.load(Relaxed)
            && self.desk.keeps(&self.database)
            && !connection.client.is_closed()
    }

    async fn connect<T>(&self, tls: T, entry: Entry) -> Result<(Client, JoinHandle<()>), Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let (client, connection) = self.config.connect(tls).await?;
        let driver = Driver { connection, _entry: entry };
        Ok((client, tokio::spawn(driver.run())))
    }
}

impl Manager for Connections {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection, Error> {
        let epoch = self.epoch.load(Relaxed);
        let entry = self.desk.enter(&self.database, &self.source);
        let card = Arc::clone(&entry.card);
        let connector =
            self.source.encryption.as_ref().map(|known| Connector::new(Arc::clone(known)));
        let (client, driver) = match connector.clone() {
            None => self.connect(NoTls, entry).await?,
            Some(connector) => self.connect(connector, entry).await?,
        };
        // Whatever becomes of it, the connection ends with this.
        let client = ClientWrapper::new(client, driver);
        card.note_process(process_of(&client).await?);
        Ok(Connection { client, card, epoch, connector })
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        metrics: &Metrics,
    ) -> RecycleResult<Error> {
        let is_old = metrics.age() >= self.desk.ages().life;
        match self.keeps(connection) && !is_old {
            true => Ok(()),
            false => Err(RecycleError::message("it is not to be used again")),
        }
    }
}

impl<C: Future<Output = Result<(), Error>> + Unpin> Driver<C> {
    async fn run(mut self) {
        if let Err(error) = (&mut self.connection).await {
            tracing::debug!(%error, "a connection of auth_query broke");
        }
    }
}

impl Connection {
    /// Has the server stop what it is at.
    pub(super) fn cancel(&self) {
        let token = self.client.cancel_token();
        let cancelling = cancel(token, self.connector.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(CANCEL_PATIENCE, cancelling));
        }
    }
}

async fn cancel(token: CancelToken, connector: Option<Connector>) {
    let cancelled = match connector {
        None => token.cancel_query(NoTls).await,
        Some(connector) => token.cancel_query(connector).await,
    };
    if let Err(error) = cancelled {
        tracing::debug!(%error, "an auth_query could not be cancelled");
    }
}

/// The number of the server's process.
async fn process_of(client: &Client) -> Result<i32, Error> {
    let answers = client.simple_query("SELECT pg_catalog.pg_backend_pid()").await?;
    let number = answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    Ok(number.unwrap_or(0))
}

fn config_of(source: &Source) -> Config {
    let mut config = Config::new();
    config.user(&*source.user).dbname(&*source.dbname).application_name("bs9 auth_query");
    // Whatever the user's own settings are: no function or operator of anybody else's.
    config.options("-c search_path=pg_catalog,pg_temp");
    if let Some(password) = &source.password {
        config.password(password.reveal());
    }
    match &source.address {
        ServerAddress::Tcp { host, port } => config.host(&**host).port(*port),
        ServerAddress::Unix(path) => {
            let port = path.extension().and_then(|port| port.to_str()?.parse().ok());
            let folder = path.parent().unwrap_or(path);
            config.host_path(folder).port(port.unwrap_or(5432))
        }
    };
    let Some(encryption) = &source.encryption else {
        config.ssl_mode(config::SslMode::Disable);
        return config;
    };
    let said = &encryption.source;
    config.ssl_mode(match said.sslmode {
        SslMode::Allow | SslMode::Prefer => config::SslMode::Prefer,
        _ => config::SslMode::Require,
    });
    config.ssl_negotiation(match said.direct {
        true => config::SslNegotiation::Direct,
        false => config::SslNegotiation::Postgres,
    });
    config.channel_binding(match said.channel_binding {
        ChannelBinding::Disable => config::ChannelBinding::Disable,
        ChannelBinding::Prefer => config::ChannelBinding::Prefer,
        ChannelBinding::Require => config::ChannelBinding::Require,
    });
    config
}
