//! A server that users are looked up on, and whether it is there.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{Object, Pool, PoolError},
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use tokio_postgres::Row;

use super::{
    LookupError, Source,
    asker::with_sources,
    connection::{Connection, Connections},
    desk::{Ages, Desk},
};
use crate::{
    local::{MAX_RETRY_DELAY, RETRY_DELAY},
    part::Part,
};

/// Connections to one place: questions are short and answers are remembered.
const CONNECTIONS: usize = 2;

/// Its connections. While it is not there nobody waits for it, and it is not asked by everybody who
/// comes.
pub(super) struct Place {
    pool: Pool<Connections>,
    /// Whoever is at it stops.
    pub(super) killed: Notify,
    trouble: watch::Sender<Option<Trouble>>,
    /// As many more as there are connections in use.
    in_use: Arc<()>,
}

/// Why there was no connection the last time that one was tried.
struct Trouble {
    why: LookupError,
    /// Until then none is tried.
    until: Instant,
    delay: Duration,
    /// One is tried again. For everybody else it is as it was until that is over.
    trying: bool,
}

/// A connection in use; it goes back when dropped, if it may be used again.
pub(super) struct Checkout {
    connection: Option<Object<Connections>>,
    pool: Pool<Connections>,
    /// The server has been asked something, and has not answered yet.
    asked: bool,
    _in_use: Arc<()>,
}

impl Place {
    pub(super) fn new(
        database: &Arc<str>,
        source: &Source,
        desk: &Arc<Desk>,
    ) -> Result<Self, LookupError> {
        let connections = Connections::new(Arc::clone(database), source.clone(), Arc::clone(desk));
        let pool =
            Pool::builder(connections).max_size(CONNECTIONS).runtime(Runtime::Tokio1).build();
        Ok(Self {
            pool: pool.map_err(|error| LookupError::Failed(error.to_string()))?,
            killed: Notify::new(),
            trouble: watch::Sender::new(None),
            in_use: Arc::default(),
        })
    }

    pub(super) fn is_to(&self, database: &str, source: &Source) -> bool {
        self.pool.manager().is_to(database, source)
    }

    /// Whether this configuration has it so.
    pub(super) fn is_in(&self, part: &Part) -> bool {
        self.pool.manager().is_in(part)
    }

    pub(super) fn database(&self) -> &str {
        self.pool.manager().database()
    }

    /// Closes its connections, those that are in use when they come back, and forgets what trouble
    /// there was: whoever sees whether it is over may be stopped at it.
    pub(super) fn renew(&self) {
        self.trouble.send_replace(None);
        self.pool.manager().renew();
        let _closed = self.pool.retain(|_, _| false);
    }

    /// Closes connections that are too old, or cannot be used any more.
    pub(super) fn make_round(&self, ages: Ages) {
        let connections = self.pool.manager();
        let _closed = self.pool.retain(|connection, metrics| {
            connections.keeps(connection)
                && metrics.age() < ages.life
                && metrics.last_used() < ages.idle
        });
    }

    /// A connection, before the time `until`.
    pub(super) async fn connection(&self, until: Instant) -> Result<Checkout, LookupError> {
        let began = Instant::now();
        let again = self.begin(began)?;
        let mut news = self.trouble.subscribe();
        let failed_beside = async {
            if again {
                return std::future::pending().await;
            }
            let trouble = news.wait_for(Option::is_some).await;
            trouble.ok().and_then(|trouble| trouble.as_ref().map(|known| known.why.clone()))
        };
        let outcome = tokio::select! {
            biased;
            outcome = timeout_at(until, self.pool.get()) => outcome,
            why = failed_beside => return Err(why.unwrap_or(LookupError::NoThread)),
        };
        let why = match outcome {
            Ok(Ok(connection)) => {
                self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                connection.card.note_use();
                return Ok(Checkout {
                    connection: Some(connection),
                    pool: self.pool.clone(),
                    asked: false,
                    _in_use: Arc::clone(&self.in_use),
                });
            }
            Ok(Err(PoolError::Backend(error))) => LookupError::said(&error),
            Ok(Err(other)) => LookupError::Failed(with_sources(&other)),
            Err(_) => LookupError::TimedOut,
        };
        self.failed(began, &why);
        Err(why)
    }

    /// Whether there was trouble and this one is to see if it is over; fails while that is too early.
    fn begin(&self, now: Instant) -> Result<bool, LookupError> {
        let mut outcome = Ok(false);
        self.trouble.send_if_modified(|trouble| {
            if let Some(trouble) = trouble {
                let early = trouble.trying || now < trouble.until;
                outcome = if early { Err(trouble.why.clone()) } else { Ok(true) };
                trouble.trying |= !early;
            }
            false
        });
        outcome
    }

    /// There was no connection for one who came at `began`.
    fn failed(&self, began: Instant, why: &LookupError) {
        // Whoever has one may only have been too long about it.
        let is_there = Arc::strong_count(&self.in_use) > 1;
        self.trouble.send_modify(|trouble| {
            let delay = match trouble {
                _ if is_there => {
                    *trouble = None;
                    return;
                }
                None => RETRY_DELAY,
                // Of those that failed together one counts.
                Some(known) if began < known.until => return,
                Some(known) => (known.delay * 2).min(MAX_RETRY_DELAY),
            };
            let until = Instant::now() + delay;
            *trouble = Some(Trouble { why: why.clone(), until, delay, trying: false });
        });
    }
}

impl Checkout {
    /// What the server answers to `query` about `name`.
    pub(super) async fn ask(
        &mut self,
        query: &str,
        name: &str,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        self.asked = true;
        let client = &self.connection().client;
        let answer = async {
            let statement = client.prepare_cached(query).await?;
            client.query(&statement, &[&name]).await
        };
        let answer = answer.await;
        self.asked = false;
        answer
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it is there until this is dropped")
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        connection.card.note_return();
        if self.asked {
            connection.cancel();
        }
        if self.asked || !self.pool.manager().keeps(&connection) {
            drop(Object::take(connection));
        }
    }
}
