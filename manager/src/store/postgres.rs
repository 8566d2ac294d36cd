//! The store of many machines: PostgreSQL, each manager writing its own machine's part.
//!
//! A thread has the connections. Batches go into a bounded spool and from there into
//! the database, one transaction each, so that a database that is away for a while
//! costs memory and no points. Nothing depends on a session: every statement names its
//! schema, none is prepared by name, and locks last for a transaction. So any pool may
//! stand in between, in any mode.

mod error;
mod link;
mod read;
mod schema;
mod spool;
mod tls;
mod write;

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use bs9_api::types::{Event, SeriesName, StoreStatus};
use bs9_config::{HistoryStore, PostgresStore};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, mpsc},
    task::LocalSet,
    time,
};

use super::{
    Account, StoreError, WAITING_BATCHES,
    query::{Found, Range, Selection},
    rollup::Batch,
};
use error::PostgresError;
use link::Link;
use spool::{Entry, Spool};
use write::Writer;

/// Questions that wait at most.
const WAITING_QUESTIONS: usize = 64;
/// What is still in the spool when the manager ends gets this long.
const LAST_CHANCE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Postgres {
    account: Account,
    limit: Duration,
    batches: Mutex<Option<mpsc::Sender<Entry>>>,
    questions: mpsc::Sender<Question>,
}

type Answer<T> = SyncSender<Result<T, PostgresError>>;

enum Question {
    Names(Answer<Vec<SeriesName>>),
    Series(Selection, Range, Answer<Found>),
    Events(Option<u64>, usize, Answer<Vec<Event>>),
}

impl Postgres {
    /// Starts the thread. It connects by and by: a database that is away is told in the
    /// status.
    ///
    /// # Errors
    ///
    /// The system gives no thread; the settings make no connection pool.
    pub(super) fn open(
        settings: &HistoryStore,
        to: &PostgresStore,
        now: Timestamp,
        account: &Account,
    ) -> io::Result<(Arc<Self>, JoinHandle<()>)> {
        *account.status() = StoreStatus {
            kind: "postgresql".to_owned(),
            reason: Some("not connected yet".to_owned()),
            ..StoreStatus::default()
        };
        let link = Link::new(to).map_err(io::Error::other)?;
        let (batches, incoming) = mpsc::channel(WAITING_BATCHES);
        let (questions, asked) = mpsc::channel(WAITING_QUESTIONS);
        let keeper = Keeper {
            link,
            account: account.clone(),
            keep: settings.keep,
            spool_bytes: to.spool_bytes,
            begun: now.as_microsecond(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread =
            std::thread::Builder::new().name("bs9-history".to_owned()).spawn(move || {
                LocalSet::new().block_on(&runtime, keeper.serve(incoming, asked));
            })?;
        let this = Self {
            account: account.clone(),
            // Getting a connection and using it are limited each.
            limit: to.timeout * 3,
            batches: Mutex::new(Some(batches)),
            questions,
        };
        Ok((Arc::new(this), thread))
    }

    /// Hands over what a tick left. Never waits.
    pub(super) fn write(&self, batch: Batch, events: Vec<Event>, live: Vec<u32>) {
        if let Some(batches) = self.batches().as_ref()
            && batches.try_send(Entry::new(batch, events, live)).is_err()
        {
            self.account.status().batches_lost_total += 1;
        }
    }

    /// Takes no more; what was taken is written if the database is there.
    pub(super) fn stop(&self) {
        *self.batches() = None;
    }

    pub(super) fn names(&self) -> Result<Vec<SeriesName>, StoreError> {
        self.ask(Question::Names)
    }

    pub(super) fn series(&self, selection: Selection, range: Range) -> Result<Found, StoreError> {
        self.ask(|answer| Question::Series(selection, range, answer))
    }

    pub(super) fn events(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.ask(|answer| Question::Events(after, limit, answer))
    }

    fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Question) -> Result<T, StoreError> {
        let (answer, told) = sync_channel(1);
        let broken = |reason: &str| StoreError::Broken(reason.to_owned());
        self.questions
            .try_send(question(answer))
            .map_err(|_| broken("too many questions are waiting for PostgreSQL"))?;
        let answer =
            told.recv_timeout(self.limit).map_err(|_| broken("PostgreSQL does not answer"))?;
        answer.map_err(|error| StoreError::Broken(error.to_string()))
    }

    fn batches(&self) -> MutexGuard<'_, Option<mpsc::Sender<Entry>>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What runs on the thread.
struct Keeper {
    link: Link,
    account: Account,
    keep: bs9_config::Retention,
    spool_bytes: u64,
    begun: i64,
}

impl Keeper {
    /// Ends when nobody hands over batches any more.
    async fn serve(
        self,
        mut batches: mpsc::Receiver<Entry>,
        mut questions: mpsc::Receiver<Question>,
    ) {
        let Self { link, account, keep, spool_bytes, begun } = self;
        let link = Rc::new(link);
        let spool = Rc::new(RefCell::new(Spool::new(spool_bytes)));
        let more = Rc::new(Notify::new());
        let writer = Writer::new(
            Rc::clone(&link),
            keep,
            begun,
            Rc::clone(&spool),
            Rc::clone(&more),
            account.clone(),
        );
        let writer = tokio::task::spawn_local(writer.run());
        loop {
            tokio::select! {
                entry = batches.recv() => match entry {
                    Some(entry) => {
                        let lost = spool.borrow_mut().push(entry);
                        spool.borrow().tell(&account, lost);
                        more.notify_one();
                    }
                    None => break,
                },
                Some(question) = questions.recv() => {
                    let link = Rc::clone(&link);
                    tokio::task::spawn_local(async move { answer(&link, question).await });
                }
            }
        }
        spool.borrow_mut().close();
        more.notify_one();
        if time::timeout(LAST_CHANCE, writer).await.is_err() {
            let left = spool.borrow().len();
            tracing::warn!(left, "PostgreSQL is away; what waited for it is lost");
        }
    }
}

async fn answer(link: &Link, question: Question) {
    match question {
        Question::Names(answer) => tell(answer, link, read::names(link)).await,
        Question::Series(selection, range, answer) => {
            tell(answer, link, read::series(link, &selection, &range)).await;
        }
        Question::Events(after, limit, answer) => {
            tell(answer, link, read::events(link, after, limit)).await;
        }
    }
}

async fn tell<T>(
    answer: Answer<T>,
    link: &Link,
    look: impl Future<Output = Result<T, PostgresError>>,
) {
    let limit = link.limit();
    let told = time::timeout(limit, look).await.unwrap_or(Err(PostgresError::Late(limit)));
    // Whoever asked may have given up.
    let _nobody_waits = answer.send(told);
}

#[cfg(test)]
mod tests;
