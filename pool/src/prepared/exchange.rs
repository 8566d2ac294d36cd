//! A client's messages, as the server it has at the moment is to see them.

use std::sync::{Arc, Weak};

use bs9_config::SessionState;
use bs9_wire::{
    encode::frontend,
    frame::{HEADER_LEN, Header},
    ledger::{Ledger, Origin, Refused, Request},
    message::{
        backend::TransactionStatus,
        frontend::{Bind, Parse, Target},
    },
    sqlstate::SqlState,
    tag::FrontendTag,
};

mod forget;

use super::{
    PREFIX, ServerName,
    cache::Cache,
    deallocate::{self, Forgets},
    journal::{Change, Refusal},
    names::Statements,
    statement::{Exhausted, MAX_STATEMENT_BYTES, Statement, StatementStore},
};
use crate::{cell::Cell, session, settings::Settings, watch::Watch};

/// Entries of the ledger that one message may take.
const MOST_ENTRIES: usize = 16;
/// Statements closed on the way at once; the rest has time.
const MOST_CLOSED: usize = 8;

const TOO_LONG: Refusal = Refusal {
    sqlstate: SqlState::PROGRAM_LIMIT_EXCEEDED,
    message: "a named prepared statement longer than 4 MiB cannot go through the pool",
    hint: Some("Send it as the unnamed statement."),
};
const TOO_MANY: Refusal = Refusal {
    sqlstate: SqlState::CONFIGURATION_LIMIT,
    message: "the pool's memory for prepared statements is used up",
    hint: None,
};

const NOT_ITS_OWN: Refusal = Refusal {
    sqlstate: SqlState::INVALID_STATEMENT_NAME,
    message: "a prepared statement of the pool's own cannot be deallocated",
    hint: None,
};

/// A client and its server, as far as prepared statements are concerned.
pub(crate) struct Exchange<'a> {
    pub(crate) statements: &'a mut Option<Box<Statements>>,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) cache: &'a mut Cache,
    /// Those in force on the server.
    pub(crate) settings: &'a Arc<Settings>,
    pub(crate) store: &'a Arc<StatementStore>,
    pub(crate) cell: &'a Cell,
    /// Most statements the server may have; 0: messages are not looked into.
    pub(crate) limit: usize,
    /// What becomes of state that outlives a transaction.
    pub(crate) session: SessionState,
    /// What the client asks, when slow queries are logged.
    pub(crate) watch: &'a mut Option<Box<Watch>>,
    /// The message will make the session forget its statements.
    pub(crate) forgets: bool,
    /// Something was changed that cannot be taken back.
    pub(crate) irrevocable: bool,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is none of those that are looked into, and not entered in the ledger yet.
    Pass,
    /// More of it has to be there.
    Wait,
    /// It has to wait for replies to what was sent before.
    Stall,
    /// It is entered in the ledger. `scratch` goes in place of its first `taken` bytes.
    Edited { taken: usize },
    /// Likewise, in place of all of it, which is not all there.
    Discard,
}

impl Exchange<'_> {
    /// Looks into a message, of which `message` is there.
    ///
    /// # Errors
    /// [`Refused`] when it may not be sent now.
    #[inline]
    pub(crate) fn understand(
        &mut self,
        header: Header<FrontendTag>,
        message: &[u8],
    ) -> Result<Step, Refused> {
        match header.tag {
            FrontendTag::Query => self.query(header, message),
            FrontendTag::Bind => self.bind(header, message),
            FrontendTag::Parse => self.parse(header, message),
            FrontendTag::Describe | FrontendTag::Close => self.target(header, message),
            FrontendTag::Execute => self.execute(header, message),
            FrontendTag::FunctionCall => Ok(self.function_call(header, message)),
            _ => Ok(Step::Pass),
        }
    }

    /// Whether a message that uses names may be looked into now; else what to do with it.
    pub(super) fn admit(&mut self) -> Result<&mut Statements, Step> {
        // To a server that skips it means nothing; in the middle of COPY it is an error.
        if self.ledger.is_skipping() && self.ledger.is_empty() || self.ledger.awaits_copy() {
            return Err(Step::Pass);
        }
        let store = self.store;
        let statements = self.statements.get_or_insert_with(|| Statements::new(store));
        if statements.journal.is_open_before() || self.ledger.room() < MOST_ENTRIES {
            return Err(Step::Stall);
        }
        statements.scratch.clear();
        Ok(statements)
    }

    /// The client's log is told of a message that was entered in the ledger.
    #[inline]
    pub(crate) fn note_asked(&mut self, header: Header<FrontendTag>, message: &[u8]) {
        if let Some(watch) = self.watch {
            watch.note(header, message, self.statements.as_deref(), self.settings.quoting());
        }
    }

    // === Bind and Describe ===

    fn bind(&mut self, header: Header<FrontendTag>, message: &[u8]) -> Result<Step, Refused> {
        let Ok(bind) = Bind::read(&message[HEADER_LEN..]) else {
            // Malformed when it is whole: the server will say so.
            let whole = message.len() == header.total_len();
            return Ok(if whole { Step::Pass } else { Step::Wait });
        };
        if let Err(step) = self.admit() {
            return Ok(step);
        }
        let taken = HEADER_LEN + bind.portal.len() + bind.statement.len() + 2;
        let rest = header.total_len() - taken;
        let noted = self.note_use(&bind, rest)?;
        if noted == Noted::Written {
            return Ok(Step::Edited { taken });
        }
        if bind.statement.is_empty() {
            return self.use_unnamed(Request::Bind, noted == Noted::Preceded);
        }
        let number = match self.number_of(bind.statement)? {
            Named::Here(number) => number,
            Named::Unknown => 0,
            Named::Refused => return Ok(Step::Edited { taken: header.total_len() }),
        };
        let Some(statements) = self.statements.as_mut() else { return Ok(Step::Pass) };
        if number == 0 {
            if !bind.statement.starts_with(PREFIX) {
                return Ok(Step::Pass);
            }
            let name = never_known(bind.statement);
            frontend::bind_head(&mut statements.scratch, bind.portal, &name, rest);
        } else {
            let name = ServerName::new(number);
            frontend::bind_head(&mut statements.scratch, bind.portal, name.as_bytes(), rest);
        }
        let _owed = self.ledger.expect(Request::Bind, Origin::Client, number)?;
        Ok(Step::Edited { taken })
    }

    fn target(&mut self, header: Header<FrontendTag>, message: &[u8]) -> Result<Step, Refused> {
        let whole = message.len() == header.total_len();
        match message.get(HEADER_LEN) {
            Some(b'S') if whole => {}
            Some(b'S') => return Ok(Step::Wait),
            None if !whole => return Ok(Step::Wait),
            _ => return Ok(Step::Pass),
        }
        let Ok(Target::Statement(name)) = Target::read(&message[HEADER_LEN..]) else {
            return Ok(Step::Pass);
        };
        if let Err(step) = self.admit() {
            return Ok(step);
        }
        if header.tag == FrontendTag::Close {
            return self.close(name, message.len());
        }
        if name.is_empty() {
            return self.use_unnamed(Request::DescribeStatement, false);
        }
        let number = match self.number_of(name)? {
            Named::Here(number) => {
                let name = ServerName::new(number);
                self.say(|out| frontend::describe(out, Target::Statement(name.as_bytes())));
                number
            }
            Named::Unknown if name.starts_with(PREFIX) => {
                let name = never_known(name);
                self.say(|out| frontend::describe(out, Target::Statement(&name)));
                0
            }
            Named::Unknown => return Ok(Step::Pass),
            Named::Refused => return Ok(Step::Edited { taken: message.len() }),
        };
        let _owed = self.ledger.expect(Request::DescribeStatement, Origin::Client, number)?;
        Ok(Step::Edited { taken: message.len() })
    }

    /// The number of what the client calls `name`, prepared first where the server lacks it.
    #[inline]
    fn number_of(&mut self, name: &[u8]) -> Result<Named, Refused> {
        let Some(statements) = self.statements.as_mut() else { return Ok(Named::Unknown) };
        let Some(known) = statements.get(name) else { return Ok(Named::Unknown) };
        if let Some(number) = self.cache.use_one(known) {
            self.cell.prepared_hits.increment();
            return Ok(Named::Here(number));
        }
        let mut statement = Arc::clone(known);
        let context = self.settings.context();
        let unsettled = statements.is_unsettled();
        if statement.is_stale() || !statement.is_of(context) || unsettled && !statement.is_own() {
            // Prepared now, it is understood by the settings of now.
            let Ok(current) = self.store.current(unsettled, context, statement.body()) else {
                self.refuse(TOO_MANY)?;
                return Ok(Named::Refused);
            };
            statements.renew(&statement, &current);
            statement = current;
            if let Some(number) = self.cache.use_one(&statement) {
                self.cell.prepared_hits.increment();
                return Ok(Named::Here(number));
            }
        }
        self.prepare(&statement).map(Named::Here)
    }

    /// A statement is about to be run by a Bind that `rest` bytes belong to behind its names.
    #[inline]
    fn note_use(&mut self, bind: &Bind<'_>, rest: usize) -> Result<Noted, Refused> {
        let Some(statements) = self.statements.as_ref() else { return Ok(Noted::Nothing) };
        let known = if bind.statement.is_empty() {
            statements.unnamed.as_ref()
        } else {
            statements.get(bind.statement)
        };
        match known.filter(|known| known.matters()) {
            Some(known) => {
                let known = Arc::clone(known);
                self.note_telling_use(&known, bind, rest)
            }
            None if !statements.bound.is_empty() => {
                self.bind_anew(bind.portal);
                Ok(Noted::Nothing)
            }
            None => Ok(Noted::Nothing),
        }
    }

    #[cold]
    fn note_telling_use(
        &mut self,
        statement: &Statement,
        bind: &Bind<'_>,
        rest: usize,
    ) -> Result<Noted, Refused> {
        self.bind_anew(bind.portal);
        let text = statement.query();
        match deallocate::forgets(text) {
            Some(Forgets::All) => {
                self.forgets = true;
                self.note_bound(bind.portal, None);
            }
            Some(Forgets::One(name)) => return self.bind_deallocate(&name, bind.portal, rest),
            None => {}
        }
        let settled = self.ledger.is_empty() && statement.is_of(self.settings.context());
        let effects = self.effects_of(text, settled);
        let Some(note) = effects.and_then(|effects| self.note_effects(effects, false)) else {
            return Ok(Noted::Nothing);
        };
        self.bind_after(&note)?;
        Ok(Noted::Preceded)
    }

    /// Uses the unnamed statement, which the server may have of someone else.
    /// `preceded`: something was written to be run before.
    fn use_unnamed(&mut self, request: Request, preceded: bool) -> Result<Step, Refused> {
        let Some(statements) = self.statements.as_mut() else { return Ok(Step::Pass) };
        match statements.unnamed.as_ref() {
            Some(unnamed) if self.cache.unnamed_is(unnamed) && preceded => {}
            Some(unnamed) if self.cache.unnamed_is(unnamed) => return Ok(Step::Pass),
            Some(unnamed) if unnamed.is_kept() => {
                let on_server = self.cache.set_unnamed(Arc::downgrade(unnamed));
                let id = statements.journal.push(Change::UnnamedPrepared { on_server });
                let _owed = self.ledger.expect(Request::Parse, Origin::Behalf, id)?;
                frontend::parse_head(&mut statements.scratch, b"", unnamed.body().len());
                statements.scratch.extend_from_slice(unnamed.body());
                self.cell.prepared_misses.increment();
            }
            _ => {
                // It has none: neither must the server, which then says so.
                let on_server = self.cache.set_unnamed(Weak::new());
                let id = statements.journal.push(Change::UnnamedPrepared { on_server });
                let _owed = self.ledger.expect(Request::Close, Origin::Behalf, id)?;
                frontend::close(&mut statements.scratch, Target::Statement(b""));
            }
        }
        let _owed = self.ledger.expect(request, Origin::Client, 0)?;
        Ok(Step::Edited { taken: 0 })
    }

    // === Parse ===

    fn parse(&mut self, header: Header<FrontendTag>, message: &[u8]) -> Result<Step, Refused> {
        let whole = message.len() == header.total_len();
        let unnamed = match message.get(HEADER_LEN) {
            Some(first) => *first == 0,
            None if whole => return Ok(Step::Pass),
            None => return Ok(Step::Wait),
        };
        let too_long = header.total_len() > MAX_STATEMENT_BYTES;
        if !whole && !too_long {
            return Ok(Step::Wait);
        }
        if let Err(step) = self.admit() {
            return Ok(step);
        }
        if too_long && unnamed {
            self.begin_long_parse(&message[HEADER_LEN + 1..]);
            return self.parse_unnamed(None);
        }
        if too_long {
            self.refuse(TOO_LONG)?;
            return Ok(Step::Discard);
        }
        let body = &message[HEADER_LEN..];
        let Ok(parse) = Parse::read(body) else { return Ok(Step::Pass) };
        let body = &body[parse.statement.len() + 1..];
        if deallocate::may_forget(parse.query) {
            match deallocate::forgets(parse.query) {
                Some(Forgets::All) => self.forgets = true,
                Some(Forgets::One(name)) if !unnamed && name.starts_with(PREFIX) => {
                    self.refuse(NOT_ITS_OWN)?;
                    return Ok(Step::Edited { taken: message.len() });
                }
                Some(Forgets::One(name)) if name.starts_with(PREFIX) => {
                    return self.parse_deallocate(&name, body, message.len());
                }
                _ => {}
            }
        }
        if session::may_matter(parse.query)
            && let Some(effects) = self.effects_of(parse.query, self.ledger.is_empty())
            && let Some(refusal) = self.refusal_of(&effects)
        {
            self.refuse(refusal)?;
            return Ok(Step::Edited { taken: message.len() });
        }
        if unnamed {
            return self.parse_unnamed(Some(body));
        }
        self.parse_named(parse.statement, body, message.len())
    }

    /// Parse of the unnamed statement; without a text when that is not to be kept.
    fn parse_unnamed(&mut self, body: Option<&[u8]>) -> Result<Step, Refused> {
        let Some(statements) = self.statements.as_mut() else { return Ok(Step::Pass) };
        let context = self.settings.context();
        let known = statements.unnamed.as_ref();
        let mut lost = None;
        let statement = match (known, body) {
            (Some(known), Some(body)) if known.body() == body && known.is_of(context) => {
                Arc::clone(known)
            }
            (_, Some(body)) => match self.store.own(context, body) {
                Ok(statement) => statement,
                Err(Exhausted) => {
                    lost = Some(body);
                    self.store.unkept()
                }
            },
            (_, None) => self.store.unkept(),
        };
        let on_server = self.cache.set_unnamed(Arc::downgrade(&statement));
        let before = statements.unnamed.replace(statement);
        let id = statements.journal.push(Change::Unnamed { before, on_server });
        let _owed = self.ledger.expect(Request::Parse, Origin::Client, id)?;
        if let Some(body) = lost {
            let text = body.split(|byte| *byte == 0).next().unwrap_or_default();
            if let Some(effects) = self.effects_of(text, false) {
                self.note_unkept(&effects);
            }
        }
        Ok(Step::Edited { taken: 0 })
    }

    fn parse_named(&mut self, name: &[u8], body: &[u8], length: usize) -> Result<Step, Refused> {
        let unsettled = self.statements.as_ref().is_some_and(|known| known.is_unsettled());
        let Ok(statement) = self.store.current(unsettled, self.settings.context(), body) else {
            self.refuse(TOO_MANY)?;
            return Ok(Step::Edited { taken: length });
        };
        let taken = HEADER_LEN + name.len() + 1;
        let Some(statements) = self.statements.as_mut() else { return Ok(Step::Pass) };
        if let Some(known) = statements.get(name) {
            let lacked = self.cache.use_one(known).is_none();
            if lacked && self.ledger.awaits_ready() {
                // What is under way may make the session forget the name.
                return Ok(Step::Stall);
            }
            // The server checks the text, then finds the name in use.
            let named = self.number_of(name)?;
            let Named::Here(number) = named else {
                return Ok(Step::Edited { taken: length });
            };
            return self.send_parse(body, number, taken, |number| Change::Again {
                name: name.into(),
                statement,
                number,
            });
        }
        // In a failed transaction the server has to refuse it; whether one has failed that is
        // under way has to be known first.
        let failed = self.ledger.status() == TransactionStatus::Failed;
        let here = !failed && self.cache.use_one(&statement).is_some();
        if here && self.ledger.awaits_ready() {
            return Ok(Step::Stall);
        }
        if statements.insert(name, &statement).is_err() {
            self.refuse(TOO_MANY)?;
            return Ok(Step::Edited { taken: length });
        }
        if here {
            self.cell.prepared_hits.increment();
            let change = Change::Named { name: name.into(), statement, number: None };
            self.answer(Request::Parse, change)?;
            return Ok(Step::Edited { taken: length });
        }
        self.make_room()?;
        let number = self.cache.number();
        self.cache.put(&statement, number);
        self.cell.prepared_misses.increment();
        self.send_parse(body, number, taken, |number| Change::Named {
            name: name.into(),
            statement,
            number: Some(number),
        })
    }

    /// The client's Parse, under the server's name.
    fn send_parse(
        &mut self,
        body: &[u8],
        number: u32,
        taken: usize,
        change: impl FnOnce(u32) -> Change,
    ) -> Result<Step, Refused> {
        let Some(statements) = self.statements.as_mut() else { return Ok(Step::Pass) };
        let id = statements.journal.push(change(number));
        let _owed = self.ledger.expect(Request::Parse, Origin::Client, id)?;
        let name = ServerName::new(number);
        frontend::parse_head(&mut statements.scratch, name.as_bytes(), body.len());
        Ok(Step::Edited { taken })
    }

    /// Puts a Parse of the pool's own in front.
    fn prepare(&mut self, statement: &Arc<Statement>) -> Result<u32, Refused> {
        self.make_room()?;
        let number = self.cache.number();
        self.cache.put(statement, number);
        self.cell.prepared_misses.increment();
        if let Some(statements) = self.statements.as_mut() {
            let change = Change::Prepared { statement: Arc::clone(statement), number };
            let id = statements.journal.push(change);
            let _owed = self.ledger.expect(Request::Parse, Origin::Behalf, id)?;
            let name = ServerName::new(number);
            frontend::parse_head(&mut statements.scratch, name.as_bytes(), statement.body().len());
            statements.scratch.extend_from_slice(statement.body());
        }
        Ok(number)
    }

    /// Closes what is of no more use, and what was used longest ago when there is no room for
    /// one more.
    fn make_room(&mut self) -> Result<(), Refused> {
        for _ in 0..MOST_CLOSED {
            let full = self.cache.len() >= self.limit.max(1);
            let victim = if full { self.cache.evict() } else { None };
            if victim.is_some() {
                self.cell.prepared_evictions.increment();
            }
            let Some(number) = victim.or_else(|| self.cache.next_to_close()) else { break };
            let Some(statements) = self.statements.as_mut() else { break };
            let id = statements.journal.push(Change::Evicted { number });
            let _owed = self.ledger.expect(Request::Close, Origin::Behalf, id)?;
            let name = ServerName::new(number);
            frontend::close(&mut statements.scratch, Target::Statement(name.as_bytes()));
        }
        Ok(())
    }

    /// Sends what the server cannot but refuse; the client is told `refusal`.
    pub(super) fn refuse(&mut self, refusal: Refusal) -> Result<(), Refused> {
        let Some(statements) = self.statements.as_mut() else { return Ok(()) };
        let id = statements.journal.push(Change::Refused(refusal));
        let _owed = self.ledger.expect(Request::Parse, Origin::Client, id)?;
        let name = ServerName::new(self.cache.number());
        frontend::parse(&mut statements.scratch, name.as_bytes(), b"refused by the pool", &[]);
        Ok(())
    }

    /// A Sync, or what stands for one, has been sent.
    #[inline]
    pub(crate) fn batch_ended(&mut self) {
        if let Some(statements) = self.statements.as_mut() {
            statements.journal.seal();
        }
    }

    fn answer(&mut self, request: Request, change: Change) -> Result<(), Refused> {
        let Some(statements) = self.statements.as_mut() else { return Ok(()) };
        let id = statements.journal.push(change);
        let _placed = self.ledger.answer(request, id)?;
        Ok(())
    }

    pub(super) fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(statements) = self.statements.as_mut() {
            write(&mut statements.scratch);
        }
    }
}

/// What a statement that is about to be run asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noted {
    Nothing,
    /// Something was written to be run before it.
    Preceded,
    /// The Bind was written, of another statement.
    Written,
}

/// Where a name led.
enum Named {
    Here(u32),
    Unknown,
    /// It cannot be prepared; that is being told.
    Refused,
}

/// A name like those of the pool, which the client has no business with: one that no server
/// knows either.
fn never_known(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}
