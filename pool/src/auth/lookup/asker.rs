//! The thread that asks servers for users.

use std::sync::Arc;

use bs9_config::{ChannelBinding, ServerAddress, SslMode};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_postgres::{Config, Row as PostgresRow, config};

use super::{
    LookupError, Order, Question, Roles, Row, Source, Wanted, connector::Connector, place::Place,
};

/// Connections to one place: questions are short and answers are remembered.
const CONNECTIONS: usize = 2;
/// The roles that somebody is a member of, directly or not.
const ROLES: &str = "WITH RECURSIVE own (oid) AS (\
    SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1 \
    UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN own ON m.member = own.oid) \
    SELECT r.rolname::text FROM own JOIN pg_catalog.pg_roles r ON r.oid = own.oid";
/// Places that connections are kept to.
const MAX_PLACES: usize = 64;

/// Starts it; it ends when nobody can ask any more.
pub(super) fn start(questions: usize) -> Option<mpsc::Sender<Order>> {
    let (sender, inbox) = mpsc::channel(questions);
    let started =
        tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            let thread = std::thread::Builder::new().name("bs9-auth-query".to_owned());
            thread.spawn(move || runtime.block_on(serve(inbox)))
        });
    if let Err(error) = &started {
        tracing::error!(%error, "no thread for auth_query could be started");
    }
    started.ok().map(|_| sender)
}

async fn serve(mut inbox: mpsc::Receiver<Order>) {
    let mut places: Vec<(Source, Arc<Place>)> = Vec::new();
    while let Some(Order { question, answer }) = inbox.recv().await {
        let place = place_for(&mut places, &question);
        tokio::spawn(async move {
            let query = match &answer {
                Wanted::User(_) => &question.query.query,
                Wanted::Roles(_) => ROLES,
            };
            let until = Instant::now() + question.query.timeout;
            let rows = match place {
                Ok(place) => ask(&place, query, &question.name, until).await,
                Err(error) => Err(error),
            };
            match answer {
                Wanted::User(answer) => {
                    let user = rows.and_then(|rows| user(&rows, &question.name));
                    let _nobody_waits = answer.send(user);
                }
                Wanted::Roles(answer) => {
                    let _nobody_waits = answer.send(rows.and_then(|rows| roles(&rows)));
                }
            }
        });
    }
}

fn place_for(
    places: &mut Vec<(Source, Arc<Place>)>,
    question: &Question,
) -> Result<Arc<Place>, LookupError> {
    if let Some(at) = places.iter().position(|(source, _)| *source == question.source) {
        // The one used last at the end.
        places[at..].rotate_left(1);
    } else {
        if places.len() >= MAX_PLACES {
            places.remove(0);
        }
        let place = Place::new(connect(&question.source)?);
        places.push((question.source.clone(), Arc::new(place)));
    }
    let (_, place) = places.last().expect("there is one now");
    Ok(Arc::clone(place))
}

fn connect(source: &Source) -> Result<Pool, LookupError> {
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
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match &source.encryption {
        None => {
            config.ssl_mode(config::SslMode::Disable);
            Manager::from_config(config, tokio_postgres::NoTls, manager)
        }
        Some(encryption) => {
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
            Manager::from_config(config, Connector::new(Arc::clone(encryption)), manager)
        }
    };
    let pool = Pool::builder(manager).max_size(CONNECTIONS).runtime(Runtime::Tokio1);
    pool.build().map_err(|error| LookupError::Failed(error.to_string()))
}

async fn ask(
    place: &Place,
    query: &str,
    name: &str,
    until: Instant,
) -> Result<Vec<PostgresRow>, LookupError> {
    let mut rows = run(place, query, name, until).await?;
    if rows.as_ref().is_err_and(tokio_postgres::Error::is_closed) {
        // The connection had been idle, and was closed meanwhile.
        rows = run(place, query, name, until).await?;
    }
    rows.map_err(|error| LookupError::said(&error))
}

fn user(rows: &[PostgresRow], name: &str) -> Result<Option<Row>, LookupError> {
    match rows {
        [] => Ok(None),
        [row] => read(row, name),
        rows => Err(LookupError::Rows(rows.len())),
    }
}

fn roles(rows: &[PostgresRow]) -> Result<Roles, LookupError> {
    let name = |row: &PostgresRow| row.try_get::<_, &str>(0).map(Arc::from);
    let roles: Result<Roles, _> = rows.iter().map(name).collect();
    roles.map_err(|error| LookupError::Failed(with_sources(&error)))
}

impl LookupError {
    /// The server, or the way to it, says why not.
    pub(super) fn said(error: &tokio_postgres::Error) -> Self {
        Self::Failed(match error.as_db_error() {
            Some(told) => format!("{} (SQLSTATE {})", told.message(), told.code().code()),
            None if error.is_closed() => "the connection broke".to_owned(),
            None => with_sources(error),
        })
    }
}

/// What went wrong, and why.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

/// What is wrong with the answer is returned inside.
async fn run(
    place: &Place,
    query: &str,
    name: &str,
    until: Instant,
) -> Result<Result<Vec<PostgresRow>, tokio_postgres::Error>, LookupError> {
    let connection = place.connection(until).await?;
    let answer = async {
        let statement = connection.client.prepare_cached(query).await?;
        connection.client.query(&statement, &[&name]).await
    };
    timeout_at(until, answer).await.map_err(|_| LookupError::TimedOut)
}

fn read(row: &PostgresRow, name: &str) -> Result<Option<Row>, LookupError> {
    let bad = |error: tokio_postgres::Error| LookupError::Failed(with_sources(&error));
    if row.len() < 2 {
        return Err(LookupError::Failed("it gives fewer than two columns".to_owned()));
    }
    match row.try_get::<_, Option<&str>>(0).map_err(bad)? {
        None => return Ok(None),
        Some(found) if found != name => return Err(LookupError::OtherUser),
        Some(_) => {}
    }
    let password = row.try_get::<_, Option<&str>>(1).map_err(bad)?;
    let password = password.filter(|password| !password.is_empty()).map(str::to_owned);
    let ends = match row.len() {
        2 => None,
        _ => row.try_get::<_, Option<f64>>(2).map_err(bad)?,
    };
    Ok(Some(Row { password, ends }))
}
