//! The thread that asks servers for users.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};
use tokio_postgres::Row as PostgresRow;

use super::{
    Closing, LookupError, Order, Question, Roles, Row, Wanted,
    desk::{Ages, Desk},
    place::Place,
};

/// The roles that somebody is a member of, directly or not.
const ROLES: &str = "WITH RECURSIVE own (oid) AS (\
    SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1 \
    UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN own ON m.member = own.oid) \
    SELECT r.rolname::text FROM own JOIN pg_catalog.pg_roles r ON r.oid = own.oid";
/// Places that connections are kept to.
const MAX_PLACES: usize = 64;
/// Between two rounds among idle connections.
const TICK: Duration = Duration::from_secs(1);

/// The way to the thread.
pub(super) struct Asker {
    pub(super) questions: mpsc::Sender<Order>,
    pub(super) closings: mpsc::UnboundedSender<Closing>,
}

/// Starts it; it ends when nobody can ask any more.
pub(super) fn start(desk: &Arc<Desk>, questions: usize) -> Option<Asker> {
    let (questions, inbox) = mpsc::channel(questions);
    let (closings, orders) = mpsc::unbounded_channel();
    let desk = Arc::clone(desk);
    let started =
        tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            let thread = std::thread::Builder::new().name("bs9-auth-query".to_owned());
            thread.spawn(move || runtime.block_on(serve(desk, inbox, orders)))
        });
    if let Err(error) = &started {
        tracing::error!(%error, "no thread for auth_query could be started");
    }
    started.ok().map(|_| Asker { questions, closings })
}

async fn serve(
    desk: Arc<Desk>,
    mut inbox: mpsc::Receiver<Order>,
    mut closings: mpsc::UnboundedReceiver<Closing>,
) {
    let mut places = Places::default();
    let mut rounds = interval(TICK);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(closing) = closings.recv() => places.close(&closing),
            order = inbox.recv() => {
                let Some(order) = order else { return };
                let place = places.find(&desk, &order.question);
                tokio::spawn(carry_out(order, place, Arc::clone(&desk)));
            }
            () = desk.more() => {}
            _ = rounds.tick(), if desk.has_connections() => places.make_round(desk.ages()),
        }
    }
}

async fn carry_out(order: Order, place: Result<Arc<Place>, LookupError>, desk: Arc<Desk>) {
    let Order { question, mut answer } = order;
    let query = match &answer {
        Wanted::User(_) => &question.query.query,
        Wanted::Roles(_) => ROLES,
    };
    let rows = match place {
        Ok(place) => insist(&place, query, &question, &desk, &mut answer).await,
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
}

/// Asks, and again after a kill. While the database is paused it waits, for who waits for it.
async fn insist(
    place: &Place,
    query: &str,
    question: &Question,
    desk: &Arc<Desk>,
    answer: &mut Wanted,
) -> Result<Vec<PostgresRow>, LookupError> {
    loop {
        let _pass = tokio::select! {
            biased;
            pass = desk.admit(&question.database) => pass?,
            () = answer.nobody_waits() => return Err(LookupError::TimedOut),
        };
        let until = Instant::now() + question.query.timeout;
        tokio::select! {
            biased;
            () = place.killed.notified() => {}
            rows = ask(place, query, &question.name, until) => return rows,
        }
    }
}

/// The one used last at the end.
#[derive(Default)]
struct Places(Vec<Arc<Place>>);

impl Places {
    fn find(&mut self, desk: &Arc<Desk>, question: &Question) -> Result<Arc<Place>, LookupError> {
        let Question { database, source, .. } = question;
        let known = self.0.iter().position(|place| place.is_to(database, source));
        let place = match known {
            Some(at) => self.0.remove(at),
            None => {
                let place = Arc::new(Place::new(database, source, desk)?);
                if self.0.len() >= MAX_PLACES {
                    let unused = self.0.iter().position(|place| Arc::strong_count(place) == 1);
                    self.0.remove(unused.unwrap_or(0));
                }
                place
            }
        };
        self.0.push(Arc::clone(&place));
        Ok(place)
    }

    fn close(&mut self, closing: &Closing) {
        let (database, kill) = match closing {
            Closing::Ordered { database, kill } => (database, *kill),
            Closing::Changed(part) => {
                let gone = self.0.extract_if(.., |place| !place.is_in(part));
                return gone.for_each(|place| place.renew());
            }
        };
        let is = |place: &&Arc<Place>| {
            database.as_ref().is_none_or(|database| **database == *place.database())
        };
        for place in self.0.iter().filter(is) {
            place.renew();
            if kill {
                place.killed.notify_waiters();
            }
        }
    }

    fn make_round(&self, ages: Ages) {
        self.0.iter().for_each(|place| place.make_round(ages));
    }
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
    let mut connection = place.connection(until).await?;
    let answer = connection.ask(query, name);
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
