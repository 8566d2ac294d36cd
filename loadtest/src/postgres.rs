//! PostgreSQL, a client's side: queries of a mix.
//!
//! Messages are told apart by their headers alone; only what decides the outcome is looked into.

use std::{sync::Arc, time::Duration};

use bs9_wire::{
    encode::frontend,
    frame::{FrameCursor, HEADER_LEN, Step},
    message::{Report, backend::TransactionStatus},
    tag::{BackendTag, FrontendTag},
};
use rand::{SeedableRng as _, rngs::SmallRng};

use crate::{
    failure::Failure,
    feed::{Feed, Feeder, Rows},
    protocol::{Beginning, Complete, Login, Protocol, Receipt, Reuse},
    script::Script,
    template::Template,
};

mod login;
mod mode;
mod statement;
mod transaction;

pub(crate) use login::Identity;
use login::LoginExchange;
pub use mode::{QueryMode, QueryModeError};
use statement::Statement;
use transaction::{Advance, Place, Transaction};

/// How much of an error is kept, in bytes.
const MAX_ERROR_BYTES: usize = 8 << 10;

/// Sends queries and checks that they succeed.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    identity: Identity,
    /// What each connection sends once after its login.
    preparation: Arc<[u8]>,
    statements: Arc<[Statement]>,
    /// Instead of statements: several of them a request.
    transaction: Option<Transaction>,
    feeder: Feeder,
    random: SmallRng,
    /// Statements of transactions that were answered.
    answered: u64,
}

/// Where a connection is.
#[derive(Debug)]
pub(crate) struct Session {
    login: LoginExchange,
    cursor: FrameCursor<BackendTag>,
    /// A header of which only the beginning is here.
    cut_header: Vec<u8>,
    /// The message the cursor is in, and what is kept of its body.
    tag: BackendTag,
    body: Vec<u8>,
    reply: Reply,
    /// Which statement is under way, and the rows its parameters come from.
    statement: usize,
    rows: Rows,
    place: Place,
    pause: Pause,
}

/// Whether a transaction pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    No,
    /// For so long, from when the event loop asks.
    Wanted(Duration),
    UnderWay,
}

/// What the reply to a query came to so far.
#[derive(Debug, Default)]
struct Reply {
    error: Option<Failure>,
    /// An error behind the reply: the server is about to close.
    last_word: Option<Failure>,
    completed: bool,
    ready: bool,
    /// Whether it leaves a transaction open.
    leaves_open: bool,
}

// === impl Postgres ===

impl Postgres {
    /// At least one query; places in them are filled from `feeds`.
    pub(crate) fn new(
        identity: Identity,
        queries: &[Template],
        mode: QueryMode,
        feeds: Arc<[Feed]>,
    ) -> Self {
        let mut preparation = Vec::new();
        let statements = (0..)
            .zip(queries)
            .map(|(number, query)| Statement::new(number, query, mode, &mut preparation))
            .collect();
        Self::made_of(identity, preparation, statements, None, feeds)
    }

    /// A script.
    pub(crate) fn with_script(identity: Identity, script: &Script, mode: QueryMode) -> Self {
        let mut preparation = Vec::new();
        let transaction = Transaction::new(script, mode, &mut preparation);
        Self::made_of(identity, preparation, Arc::new([]), Some(transaction), Arc::new([]))
    }

    fn made_of(
        identity: Identity,
        mut preparation: Vec<u8>,
        statements: Arc<[Statement]>,
        transaction: Option<Transaction>,
        feeds: Arc<[Feed]>,
    ) -> Self {
        if !preparation.is_empty() {
            frontend::sync(&mut preparation);
        }
        Self {
            identity,
            preparation: preparation.into(),
            statements,
            transaction,
            feeder: Feeder::new(feeds),
            random: SmallRng::seed_from_u64(0),
            answered: 0,
        }
    }

    /// A statement of a transaction was answered: goes on to the next one.
    fn go_on(
        &mut self,
        session: &mut Session,
        outcome: Result<(), Failure>,
        leaves_open: bool,
        out: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        let outcome = match (session.place.failed.take(), outcome) {
            // It was rolled back.
            (Some(failure), _) => Err(failure),
            (None, Err(failure)) => {
                if leaves_open {
                    session.place.failed = Some(failure);
                    transaction::roll_back(out);
                    return Ok(Receipt::More);
                }
                Err(failure)
            }
            (None, Ok(())) => {
                self.answered += 1;
                return self.advance(session, leaves_open, out);
            }
        };
        Ok(done(outcome))
    }

    /// Takes the next steps of a transaction, up to one that takes time, or its end.
    fn advance(
        &mut self,
        session: &mut Session,
        leaves_open: bool,
        out: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        let advance = match &self.transaction {
            Some(transaction) => transaction.go_on(&mut session.place, &mut self.random, out)?,
            None => Advance::Ended,
        };
        match advance {
            Advance::Sent => return Ok(Receipt::More),
            Advance::Paused(length) => {
                session.pause(length, leaves_open);
                return Ok(Receipt::More);
            }
            Advance::Ended => {}
        }
        if leaves_open {
            let what = "it ends within a transaction; write END or COMMIT".to_owned();
            session.place.failed = Some(Failure::Script(what));
            transaction::roll_back(out);
            return Ok(Receipt::More);
        }
        Ok(done(Ok(())))
    }
}

impl Protocol for Postgres {
    type Session = Session;

    fn settle(&mut self, index: usize, threads: usize) {
        self.feeder.settle(index, threads);
        self.random = SmallRng::seed_from_u64(index as u64);
    }

    fn session(&self) -> Session {
        Session {
            login: LoginExchange::default(),
            cursor: FrameCursor::new(),
            cut_header: Vec::with_capacity(HEADER_LEN),
            tag: BackendTag::ReadyForQuery,
            body: Vec::new(),
            reply: Reply::default(),
            statement: 0,
            rows: self.feeder.no_rows(),
            place: self.transaction.as_ref().map(Transaction::place).unwrap_or_default(),
            pause: Pause::No,
        }
    }

    fn connected(&mut self, session: &mut Session, out: &mut Vec<u8>) -> Result<Login, Failure> {
        session.cursor = FrameCursor::new();
        session.cut_header.clear();
        session.login.begin(&self.identity, out);
        Ok(Login::Pending)
    }

    fn login(
        &mut self,
        session: &mut Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure> {
        session.login.receive(&mut self.identity, &self.preparation, input, out)
    }

    fn begin(
        &mut self,
        session: &mut Session,
        beginning: Beginning,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        (session.reply, session.pause) = (Reply::default(), Pause::No);
        if self.transaction.is_some() {
            session.place.begin();
            // It has a statement, so it is not over yet.
            return self.advance(session, false, out).map(|_| ());
        }
        session.statement = beginning.request;
        let statement = &self.statements[session.statement];
        self.feeder.advance(&mut session.rows, statement.used());
        statement.fill(&self.feeder, &session.rows, out);
        Ok(())
    }

    #[inline]
    fn request<'a>(&'a self, session: &'a Session) -> &'a [u8] {
        self.statements.get(session.statement).map_or(&[], Statement::fixed)
    }

    fn receive(
        &mut self,
        session: &mut Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        session.walk(input)?;
        if !session.reply.ready || session.pause != Pause::No {
            return Ok(Receipt::More);
        }
        let Reply { error, last_word, completed, leaves_open, .. } =
            std::mem::take(&mut session.reply);
        let outcome = match error {
            Some(failure) => Err(failure),
            None if completed => Ok(()),
            None => return Err(Failure::Protocol("the server is ready without having answered")),
        };
        let receipt = match &self.transaction {
            Some(_) => self.go_on(session, outcome, leaves_open, out)?,
            None => done(outcome),
        };
        match (receipt, last_word) {
            (receipt, None) => Ok(receipt),
            (Receipt::More, Some(last_word)) => Err(last_word),
            (Receipt::Complete(complete), Some(_)) => {
                Ok(Receipt::Complete(Complete { reuse: Reuse::Close, ..complete }))
            }
        }
    }

    #[inline]
    fn nap(&mut self, session: &mut Session) -> Option<Duration> {
        let Pause::Wanted(length) = session.pause else { return None };
        session.pause = Pause::UnderWay;
        Some(length)
    }

    fn resume(&mut self, session: &mut Session, out: &mut Vec<u8>) -> Result<Receipt, Failure> {
        let Reply { last_word, leaves_open, .. } = std::mem::take(&mut session.reply);
        session.pause = Pause::No;
        if let Some(last_word) = last_word {
            return Err(last_word);
        }
        self.advance(session, leaves_open, out)
    }

    fn statements(&self) -> Option<u64> {
        self.transaction.as_ref().map(|_| self.answered)
    }

    /// An error may be the server's last word (FATAL); it says more than that it closed.
    fn ended(&mut self, session: &mut Session) -> Result<Complete, Failure> {
        let reply = &mut session.reply;
        Err(reply.error.take().or(reply.last_word.take()).unwrap_or(Failure::Closed))
    }

    /// Notices, notifications and changed parameters come at any time; anything else means the
    /// end of the connection.
    fn idle(&mut self, session: &mut Session, input: &[u8], _: &mut Vec<u8>) -> Reuse {
        // As if a reply had just ended: what may follow one may come now.
        session.reply = Reply { ready: true, ..Reply::default() };
        match session.walk(input) {
            Ok(()) if session.reply.last_word.is_none() => Reuse::Keep,
            Ok(()) | Err(_) => Reuse::Close,
        }
    }

    fn farewell(&mut self, _: &mut Session, out: &mut Vec<u8>) {
        out.extend_from_slice(&[FrontendTag::Terminate as u8, 0, 0, 0, 4]);
    }
}

// === impl Session ===

impl Session {
    /// Nothing is sent for a while. What may follow a reply may come meanwhile.
    fn pause(&mut self, length: Duration, leaves_open: bool) {
        self.pause = Pause::Wanted(length);
        self.reply = Reply { ready: true, leaves_open, ..Reply::default() };
    }

    fn walk(&mut self, mut input: &[u8]) -> Result<(), Failure> {
        const BROKEN: Failure = Failure::Protocol("a message has an impossible header");
        while !input.is_empty() {
            if !self.cut_header.is_empty() {
                let missing = (HEADER_LEN - self.cut_header.len()).min(input.len());
                self.cut_header.extend_from_slice(&input[..missing]);
                input = &input[missing..];
                if self.cut_header.len() == HEADER_LEN {
                    let header = std::mem::take(&mut self.cut_header);
                    let step = self.cursor.step(&header).map_err(|_| BROKEN)?;
                    if let Step::Start { header, ends, .. } = step {
                        self.start(header.tag, &[], ends)?;
                    }
                    // The same memory again.
                    self.cut_header = header;
                    self.cut_header.clear();
                }
                continue;
            }
            match self.cursor.step(input).map_err(|_| BROKEN)? {
                Step::Incomplete => {
                    self.cut_header.extend_from_slice(input);
                    return Ok(());
                }
                Step::Start { header, bytes, ends } => {
                    input = &input[bytes.len()..];
                    self.start(header.tag, &bytes[HEADER_LEN..], ends)?;
                }
                Step::Continue { bytes, ends } => {
                    input = &input[bytes.len()..];
                    self.body(bytes, ends)?;
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, tag: BackendTag, bytes: &[u8], ends: bool) -> Result<(), Failure> {
        use BackendTag as T;
        let any_time =
            matches!(tag, T::NoticeResponse | T::NotificationResponse | T::ParameterStatus);
        if self.reply.ready && !any_time && tag != T::ErrorResponse {
            return Err(Failure::Protocol("messages follow behind the reply"));
        }
        match tag {
            T::CopyInResponse | T::CopyBothResponse => {
                return Err(Failure::Protocol("the query wants to read data (COPY FROM STDIN)"));
            }
            T::Authentication | T::BackendKeyData | T::NegotiateProtocolVersion => {
                return Err(Failure::Protocol("a message of the login came in a reply"));
            }
            _ => {}
        }
        self.tag = tag;
        self.body.clear();
        self.body(bytes, ends)
    }

    fn body(&mut self, bytes: &[u8], ends: bool) -> Result<(), Failure> {
        let wanted = matches!(self.tag, BackendTag::ErrorResponse | BackendTag::ReadyForQuery);
        if wanted {
            let room = MAX_ERROR_BYTES - self.body.len();
            self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if ends { self.message() } else { Ok(()) }
    }

    /// A message is all there.
    fn message(&mut self) -> Result<(), Failure> {
        match self.tag {
            BackendTag::CommandComplete | BackendTag::EmptyQueryResponse => {
                self.reply.completed = true;
            }
            BackendTag::ErrorResponse => {
                let reply = &mut self.reply;
                let place = if reply.ready { &mut reply.last_word } else { &mut reply.error };
                place.get_or_insert_with(|| Failure::Query(error_text(&self.body)));
            }
            BackendTag::ReadyForQuery => {
                let status = TransactionStatus::read(&self.body)
                    .map_err(|_| Failure::Protocol("a ReadyForQuery is malformed"))?;
                self.reply.leaves_open = status != TransactionStatus::Idle;
                self.reply.ready = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A request has ended.
fn done(outcome: Result<(), Failure>) -> Receipt {
    Receipt::Complete(Complete { lane: 0, outcome, status: None, reuse: Reuse::Keep })
}

/// SQLSTATE and message of an ErrorResponse.
fn error_text(body: &[u8]) -> String {
    let Ok(report) = Report::read(body) else {
        return "the error is malformed or longer than 8 KiB".to_owned();
    };
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"?")).into_owned();
    format!("{} {}", text(report.sqlstate()), text(report.message()))
}

#[cfg(test)]
mod tests;
