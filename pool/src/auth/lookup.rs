//! Users that are not listed: `auth_query`, and what is remembered of its answers.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use bs9_api::types::{CountByReason, PoolOrder};
use bs9_config::{AuthQuery, Secret, ServerAddress};
use rustc_hash::FxHashMap;
use tokio::sync::{OnceCell, oneshot};

use super::{Tally, User};
use crate::{part::Part, tls::Encryption};

mod asker;
mod connection;
mod connector;
mod desk;
mod outcome;
mod place;

use desk::{Ages, Desk};
use outcome::Outcomes;

/// Answers remembered.
const MAX_ANSWERS: usize = 10_000;
/// Databases of which it is known how passwords are stored.
const MAX_TALLIES: usize = 1024;
/// Questions that wait for the thread that asks.
const MAX_QUESTIONS: usize = 1024;
/// How long a failure is remembered: those who come meanwhile are not made to wait for it.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// Remembers answers, over all shards; asks on a thread of its own, which starts with the
/// first question.
pub(crate) struct Lookup {
    users: Memory<Option<Found>>,
    roles: Memory<Roles>,
    /// How passwords of those who were found are stored, by database.
    found: Mutex<FxHashMap<Arc<str>, Tally>>,
    asker: OnceLock<Option<asker::Asker>>,
    pub(crate) desk: Arc<Desk>,
    outcomes: Outcomes,
}

/// Who is asked for, and where.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) name: Arc<str>,
    /// Where it is asked, by the name that operators know.
    pub(crate) database: Arc<str>,
    pub(crate) source: Source,
    pub(crate) query: AuthQuery,
}

/// Where a query is run, and as whom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    pub(crate) address: ServerAddress,
    pub(crate) dbname: Arc<str>,
    pub(crate) user: Arc<str>,
    pub(crate) password: Option<Secret>,
    pub(crate) encryption: Option<Arc<Encryption>>,
}

/// Why it is not known who there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("too many users are looked up at once")]
    Crowded,
    #[error("auth_query took too long")]
    TimedOut,
    #[error("auth_query failed: {0}")]
    Failed(String),
    #[error("auth_query gave {0} rows for one user")]
    Rows(usize),
    #[error("auth_query gave another user than it was asked for")]
    OtherUser,
    #[error("there is no thread to look users up")]
    NoThread,
    #[error("database \"{0}\" is disabled")]
    Disabled(Arc<str>),
}

/// Names of roles.
pub(crate) type Roles = Arc<[Arc<str>]>;

/// What the server said of a user.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    password: Option<String>,
    /// When it ends, seconds since 1970.
    ends: Option<f64>,
}

/// A question on its way.
struct Order {
    question: Question,
    answer: Wanted,
}

/// What is asked, and who waits for the answer.
enum Wanted {
    User(oneshot::Sender<Result<Option<Row>, LookupError>>),
    Roles(oneshot::Sender<Result<Roles, LookupError>>),
}

/// Connections are to be closed.
enum Closing {
    /// Those to one database, or to all: when they come back, or at once.
    Ordered { database: Option<Arc<str>>, kill: bool },
    /// Those that the configuration does not have so any more, when they come back.
    Changed(Arc<Part>),
}

/// Who is asked for, where, by whom and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    database: Arc<str>,
    asker: Arc<str>,
    query: Arc<str>,
    name: Arc<str>,
}

/// Answers of one kind.
struct Memory<T>(Mutex<FxHashMap<Key, Arc<Entry<T>>>>);

/// An answer, or the place for it: all who ask the same meanwhile wait for one.
struct Entry<T> {
    answer: OnceCell<Answer<T>>,
    /// What was found the last time: derived keys stay good while the password is the same.
    before: Option<T>,
}

struct Answer<T> {
    outcome: Result<T, LookupError>,
    expires: Instant,
}

#[derive(Clone)]
struct Found {
    user: Arc<User>,
    ends: Option<f64>,
}

impl Lookup {
    pub(crate) fn new() -> Self {
        Self {
            users: Memory::default(),
            roles: Memory::default(),
            found: Mutex::default(),
            asker: OnceLock::new(),
            desk: Arc::default(),
            outcomes: Outcomes::default(),
        }
    }

    /// An order was noted for one database, or for all.
    pub(crate) fn obey(&self, order: PoolOrder, database: Option<&str>) {
        let kill = match order {
            PoolOrder::Kill => true,
            PoolOrder::Pause | PoolOrder::Disable | PoolOrder::Reconnect => false,
            PoolOrder::Enable => return,
            PoolOrder::Resume => return self.desk.resumed(),
        };
        self.close(Closing::Ordered { database: database.map(Arc::from), kill });
    }

    /// Goes by another configuration.
    pub(crate) fn follow(&self, part: &Arc<Part>) {
        if let Some(postgres) = part.postgres() {
            let (idle, life) = (postgres.server_idle_timeout, postgres.server_lifetime);
            self.desk.set_ages(Ages { idle, life });
        }
        self.close(Closing::Changed(Arc::clone(part)));
    }

    fn close(&self, closing: Closing) {
        // Before it has been started there is nothing to be closed.
        if let Some(Some(asker)) = self.asker.get() {
            let _has_ended = asker.closings.send(closing);
        }
    }

    /// Who has that name. A password that has ended is none.
    pub(crate) async fn find(&self, question: Question) -> Result<Option<Arc<User>>, LookupError> {
        let entry = self.users.entry(&question);
        let answer = entry.answer.get_or_init(|| self.ask(question, entry.before.as_ref())).await;
        let found = answer.outcome.clone()?;
        Ok(found.map(|Found { user, ends }| match has_ended(ends, SystemTime::now()) {
            false => user,
            true => Arc::new(User::found(&user.name, None)),
        }))
    }

    /// The roles that who has that name is a member of, directly or not, its own included. Those
    /// that only superusers are members of by being that are left out.
    pub(crate) async fn roles(&self, question: Question) -> Result<Roles, LookupError> {
        let entry = self.roles.entry(&question);
        let answer = entry.answer.get_or_init(|| self.ask_roles(question)).await;
        answer.outcome.clone()
    }

    async fn ask(
        &self,
        question: Question,
        before: Option<&Option<Found>>,
    ) -> Answer<Option<Found>> {
        let (name, query) = (Arc::clone(&question.name), question.query.clone());
        let database = Arc::clone(&question.database);
        let before = before.and_then(Option::as_ref).map(|found| &found.user);
        let (outcome, ttl) = match self.fetch(question, Wanted::User).await {
            Ok(Some(row)) => {
                let found = found(&name, row, before);
                self.recount(&database, before, &found.user);
                (Ok(Some(found)), query.ttl)
            }
            Ok(None) => (Ok(None), query.negative_ttl),
            Err(error) => {
                let ttl = error.ttl();
                (Err(error), ttl)
            }
        };
        self.outcomes.count(&outcome, Option::is_some);
        Answer::new(&name, outcome, ttl)
    }

    /// What became of all questions, by outcome.
    pub(crate) fn outcomes(&self) -> Vec<CountByReason> {
        self.outcomes.told()
    }

    /// How passwords of those who were found in a database are stored.
    pub(crate) fn found_in(&self, database: &str) -> Tally {
        self.tallies().get(database).cloned().unwrap_or_default()
    }

    fn recount(&self, database: &Arc<str>, before: Option<&Arc<User>>, now: &User) {
        let before = before.and_then(|user| user.verifier.as_ref());
        let mut tallies = self.tallies();
        if tallies.len() >= MAX_TALLIES && !tallies.contains_key(database) {
            tallies.clear();
        }
        let tally = tallies.entry(Arc::clone(database)).or_default();
        tally.recount(before, now.verifier.as_ref());
    }

    fn tallies(&self) -> MutexGuard<'_, FxHashMap<Arc<str>, Tally>> {
        // Nothing panics while one is half changed.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_roles(&self, question: Question) -> Answer<Roles> {
        let (name, query) = (Arc::clone(&question.name), question.query.clone());
        let (outcome, ttl) = match self.fetch(question, Wanted::Roles).await {
            Ok(roles) if roles.is_empty() => (Ok(roles), query.negative_ttl),
            Ok(roles) => (Ok(roles), query.ttl),
            Err(error) => {
                let ttl = error.ttl();
                (Err(error), ttl)
            }
        };
        self.outcomes.count(&outcome, |roles| !roles.is_empty());
        Answer::new(&name, outcome, ttl)
    }

    async fn fetch<T>(
        &self,
        question: Question,
        wanted: fn(oneshot::Sender<Result<T, LookupError>>) -> Wanted,
    ) -> Result<T, LookupError> {
        let asker = self.asker.get_or_init(|| asker::start(&self.desk, MAX_QUESTIONS));
        let asker = asker.as_ref().ok_or(LookupError::NoThread)?;
        let (answer, wait) = oneshot::channel();
        let order = Order { question, answer: wanted(answer) };
        asker.questions.try_send(order).map_err(|_| LookupError::Crowded)?;
        wait.await.map_err(|_| LookupError::NoThread)?
    }
}

impl LookupError {
    /// For how long it is remembered.
    fn ttl(&self) -> Duration {
        match self {
            Self::Disabled(_) => Duration::ZERO,
            _ => FAILURE_TTL,
        }
    }
}

impl Wanted {
    async fn nobody_waits(&mut self) {
        match self {
            Self::User(answer) => answer.closed().await,
            Self::Roles(answer) => answer.closed().await,
        }
    }
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Memory<T> {
    fn entry(&self, question: &Question) -> Arc<Entry<T>> {
        let key = Key {
            database: Arc::clone(&question.database),
            asker: Arc::clone(&question.query.user),
            query: Arc::clone(&question.query.query),
            name: Arc::clone(&question.name),
        };
        let now = Instant::now();
        let mut answers = self.lock();
        let known = answers.get(&key);
        if let Some(known) = known.filter(|known| known.is_good(now)) {
            return Arc::clone(known);
        }
        let before = known.and_then(|known| known.answer.get()?.outcome.clone().ok());
        let entry = Arc::new(Entry { answer: OnceCell::new(), before });
        if answers.len() >= MAX_ANSWERS {
            answers.retain(|_, entry| entry.is_good(now));
        }
        if answers.len() >= MAX_ANSWERS {
            // Those under way go on for who waits for them.
            answers.clear();
        }
        answers.insert(key, Arc::clone(&entry));
        entry
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Key, Arc<Entry<T>>>> {
        // Nothing panics while the map is half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Entry<T> {
    /// Whether it can be used, or waited for.
    fn is_good(&self, now: Instant) -> bool {
        self.answer.get().is_none_or(|answer| now < answer.expires)
    }
}

impl<T> Answer<T> {
    fn new(name: &str, outcome: Result<T, LookupError>, ttl: Duration) -> Self {
        if let Err(error) = &outcome {
            tracing::warn!(user = name, %error, "a user could not be looked up");
        }
        Self { outcome, expires: Instant::now() + ttl }
    }
}

fn found(name: &Arc<str>, row: Row, before: Option<&Arc<User>>) -> Found {
    use bs9_wire::auth::Verifier;
    let verifier = row.password.as_deref().and_then(|stored| {
        let parsed = Verifier::parse(stored);
        parsed
            .inspect_err(|error| {
                tracing::warn!(user = &**name, %error, "the password on the server is unusable");
            })
            .ok()
    });
    let same = before.filter(|before| before.verifier == verifier);
    let user = same.map_or_else(|| Arc::new(User::found(name, verifier)), Arc::clone);
    Found { user, ends: row.ends }
}

fn has_ended(ends: Option<f64>, now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    ends.is_some_and(|ends| ends <= now.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_ends_when_its_time_has_come() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        assert!(!has_ended(None, now));
        assert!(has_ended(Some(1000.0), now) && has_ended(Some(f64::NEG_INFINITY), now));
        assert!(!has_ended(Some(1000.5), now) && !has_ended(Some(f64::INFINITY), now));
    }

    #[test]
    fn who_is_found_again_keeps_its_keys() {
        let name: Arc<str> = "a".into();
        let row = |password: &str| Row { password: Some(password.to_owned()), ends: None };
        let first = found(&name, row("one"), None).user;
        assert!(Arc::ptr_eq(&first, &found(&name, row("one"), Some(&first)).user));
        assert!(!Arc::ptr_eq(&first, &found(&name, row("two"), Some(&first)).user));
        let unusable = found(&name, row("SCRAM-SHA-256$broken"), None).user;
        assert_eq!(unusable.verifier, None);
    }
}
