//! A server that users are looked up on, and whether it is there.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{Object, Pool, PoolError};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{LookupError, asker::with_sources};
use crate::local::{MAX_RETRY_DELAY, RETRY_DELAY};

/// Its connections. While it is not there nobody waits for it, and it is not asked by everybody who
/// comes.
pub(super) struct Place {
    pool: Pool,
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

/// A connection in use.
pub(super) struct Connection {
    pub(super) client: Object,
    _in_use: Arc<()>,
}

impl Place {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, trouble: watch::Sender::new(None), in_use: Arc::default() }
    }

    /// A connection, before the time `until`.
    pub(super) async fn connection(&self, until: Instant) -> Result<Connection, LookupError> {
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
            Ok(Ok(client)) => {
                self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                return Ok(Connection { client, _in_use: Arc::clone(&self.in_use) });
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
