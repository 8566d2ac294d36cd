//! Texts that change what outlives their transaction.

use bs9_config::Stateful;
use bs9_wire::{
    encode::frontend,
    frame::{HEADER_LEN, Header},
    ledger::{Origin, Refused, Request},
    message::{backend::TransactionStatus, frontend::Target},
    sqlstate::SqlState,
    tag::FrontendTag,
};

use super::{
    ServerName,
    exchange::{Exchange, Step},
    journal::Refusal,
    names::Statements,
};
use crate::{
    listen,
    session::{self, Effects, LongText, Reason},
};

/// A text that is not read at once, as it passes.
#[derive(Debug)]
pub(crate) struct Passing {
    text: LongText,
    /// As it is if backslashes are read otherwise by then.
    otherwise: Option<LongText>,
    asked: Asked,
}

/// What is asked with a text that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To run it, in no transaction but its own.
    Alone,
    /// To run it, in a transaction or behind something else.
    Amid,
    /// To prepare it: it is run who knows when.
    Prepared,
}

impl Passing {
    fn finish(self) -> (Asked, Option<Effects>) {
        let effects = self.text.finish();
        let effects = match self.otherwise {
            Some(otherwise) => Effects::either(effects, otherwise.finish()),
            None => effects,
        };
        (self.asked, effects)
    }
}

impl Exchange<'_> {
    fn policy(&self, reason: Reason) -> Stateful {
        let session = &self.session;
        match reason {
            Reason::AdvisoryLock => session.advisory_locks,
            Reason::TemporaryTable => session.temporary_tables,
            Reason::HoldCursor => session.hold_cursors,
            Reason::SqlPrepared => session.sql_prepared_statements,
            Reason::Listen => session.listen,
            Reason::Setting if session.track_settings => Stateful::Pin,
            Reason::Setting => Stateful::Ignore,
        }
    }

    /// What `text` does. Unless `settled`, the server may read its strings otherwise than by the
    /// settings there are now.
    #[cold]
    pub(super) fn effects_of(&self, text: &[u8], settled: bool) -> Option<Effects> {
        let quoting = self.settings.quoting();
        if settled { Effects::of(text, quoting) } else { Effects::in_doubt(text, quoting) }
    }

    /// Why a text that does this is refused, if it is.
    #[cold]
    pub(super) fn refusal_of(&self, effects: &Effects) -> Option<Refusal> {
        let refused = |reason: &&Reason| self.policy(**reason) == Stateful::Refuse;
        let (message, hint) = match effects.pins.iter().find(refused)? {
            Reason::AdvisoryLock => (
                "session-level advisory locks are not allowed through this pool",
                "Lock for the transaction instead: pg_advisory_xact_lock.",
            ),
            Reason::TemporaryTable => (
                "temporary tables are not allowed through this pool unless they are created with ON COMMIT DROP",
                "Create it inside a transaction, with ON COMMIT DROP.",
            ),
            Reason::HoldCursor => (
                "cursors WITH HOLD are not allowed through this pool",
                "Declare it without HOLD and fetch in the same transaction.",
            ),
            Reason::SqlPrepared => (
                "PREPARE in SQL is not allowed through this pool",
                "Use prepared statements of the protocol (Parse and Bind), which your driver has: the pool keeps them apart for each client.",
            ),
            Reason::Listen => (
                "LISTEN is not allowed through this pool",
                "Listen on a connection to the server itself.",
            ),
            Reason::Setting => return None,
        };
        Some(Refusal { sqlstate: SqlState::FEATURE_NOT_SUPPORTED, message, hint: Some(hint) })
    }

    /// The server is about to run what does this. `certain`: all of it and nothing else, so that no
    /// error means that it was done. What is returned has to be run before it: then the outcome of
    /// the transaction tells.
    #[cold]
    #[must_use]
    pub(super) fn note_effects(&mut self, mut effects: Effects, certain: bool) -> Option<String> {
        let shared = self.session.listen == Stateful::Shared;
        let subscribed = self.statements.as_ref().is_some_and(|known| known.subscribed);
        if !(shared && subscribed) {
            effects.unlistened.clear();
        }
        let asks = effects.pins.contains(&Reason::Listen) || !effects.unlistened.is_empty();
        effects.listens = shared && (asks || subscribed && effects.may_recode());
        self.forgets |= effects.listens;
        let note = if certain { None } else { listen::note(&mut effects.unlistened) };
        effects.pins.retain(|reason| self.policy(*reason) == Stateful::Pin);
        if !self.session.track_settings {
            (effects.set, effects.reset, effects.reset_all) = Default::default();
        }
        if effects != Effects::default() {
            let store = self.store;
            let statements = self.statements.get_or_insert_with(|| Statements::new(store));
            statements.effects.get_or_insert_default().add(effects);
        }
        note
    }

    /// A query is about to pass that is not read at once, of which `begin` is here.
    pub(crate) fn begin_long_query(&mut self, begin: &[u8]) {
        let asked = if self.is_alone() { Asked::Alone } else { Asked::Amid };
        self.begin_long(begin, asked);
    }

    /// Likewise, a text to be prepared.
    pub(super) fn begin_long_parse(&mut self, begin: &[u8]) {
        self.begin_long(begin, Asked::Prepared);
    }

    fn begin_long(&mut self, begin: &[u8], asked: Asked) {
        let store = self.store;
        let statements = self.statements.get_or_insert_with(|| Statements::new(store));
        let quoting = self.settings.quoting();
        let text = LongText::new(quoting);
        let otherwise = (!self.ledger.is_empty()).then(|| LongText::new(quoting.otherwise()));
        statements.long = Some(Box::new(Passing { text, otherwise, asked }));
        self.read_on(begin);
    }

    /// More of it has come.
    #[inline]
    pub(crate) fn read_on(&mut self, piece: &[u8]) {
        if let Some(statements) = self.statements
            && let Some(long) = &mut statements.long
        {
            long.text.read_on(piece);
            if let Some(otherwise) = &mut long.otherwise {
                otherwise.read_on(piece);
            }
        }
    }

    /// All of it has come.
    #[inline]
    pub(crate) fn end_long(&mut self) {
        if let Some(statements) = self.statements
            && let Some(long) = statements.long.take()
            && let (asked, Some(effects)) = long.finish()
        {
            match asked {
                Asked::Alone | Asked::Amid => self.note_passed(effects, asked),
                Asked::Prepared => self.note_unkept(&effects),
            }
        }
    }

    /// Takes note of what a text does that could not be refused any more.
    #[cold]
    fn note_passed(&mut self, mut effects: Effects, asked: Asked) {
        let mut pins = effects.pins.clone();
        pins.retain(|reason| self.policy(*reason) == Stateful::Refuse);
        if asked == Asked::Amid {
            // Nothing can be run before it any more that tells whether it was rolled back: better
            // to hear too much.
            effects.unlistened.clear();
        }
        let _nothing_to_note = self.note_effects(effects, true);
        for reason in pins {
            self.pin(reason);
        }
    }

    /// A text is prepared that is not kept: whenever it is run, what it does is not seen then.
    #[cold]
    pub(super) fn note_unkept(&mut self, effects: &Effects) {
        let sets = effects.reset_all || !(effects.set.is_empty() && effects.reset.is_empty());
        let setting = sets.then_some(Reason::Setting);
        for reason in effects.pins.iter().copied().chain(setting) {
            if self.policy(reason) != Stateful::Ignore {
                self.pin(reason);
            }
        }
    }

    /// A function is called by its number.
    pub(super) fn function_call(&mut self, header: Header<FrontendTag>, message: &[u8]) -> Step {
        let Some(number) = message.get(HEADER_LEN..).and_then(<[u8]>::first_chunk) else {
            // Malformed when it is whole: the server will say so.
            return if message.len() == header.total_len() { Step::Pass } else { Step::Wait };
        };
        let reason = session::called(u32::from_be_bytes(*number));
        if let Some(reason) = reason.filter(|reason| self.policy(*reason) != Stateful::Ignore) {
            self.pin(reason);
        }
        Step::Pass
    }

    fn pin(&mut self, reason: Reason) {
        let store = self.store;
        let statements = self.statements.get_or_insert_with(|| Statements::new(store));
        statements.effects.get_or_insert_default().note_pin(reason);
    }

    /// Whether a query that is sent now is in no transaction but its own.
    pub(super) fn is_alone(&self) -> bool {
        self.ledger.is_empty() && self.ledger.status() == TransactionStatus::Idle
    }

    /// What the client listens to may change: it is served step by step.
    pub(crate) fn listens(&self) -> bool {
        self.statements.as_ref().is_some_and(|known| known.withholds_ready())
    }

    /// Has `note` run before a Query of the client.
    pub(super) fn query_after(&mut self, note: &str) -> Result<Step, Refused> {
        if let Err(step) = self.admit() {
            return Ok(step);
        }
        let _owed = self.ledger.expect(Request::Query, Origin::Pool, 0)?;
        let _owed = self.ledger.expect(Request::Query, Origin::Client, 0)?;
        self.say(|out| frontend::query(out, note));
        self.query_sent();
        Ok(Step::Edited { taken: 0 })
    }

    /// Has `note` run before a Bind of the client, which is being written. Room for it was made
    /// sure of.
    pub(super) fn bind_after(&mut self, note: &str) -> Result<(), Refused> {
        for request in
            [Request::Parse, Request::Bind, Request::Execute, Request::Close, Request::Close]
        {
            let _owed = self.ledger.expect(request, Origin::Behalf, 0)?;
        }
        let name = ServerName::new(self.cache.number());
        let name = name.as_bytes();
        self.say(|out| {
            frontend::parse(out, name, note.as_bytes(), &[]);
            frontend::bind(out, name, name);
            frontend::execute(out, name);
            frontend::close(out, Target::Portal(name));
            frontend::close(out, Target::Statement(name));
        });
        Ok(())
    }

    /// In place of a Query goes a batch that fails, so that the transaction fails, too, and as
    /// many ReadyForQuery come as were asked for.
    pub(super) fn refuse_query(
        &mut self,
        refusal: Refusal,
        length: usize,
    ) -> Result<Step, Refused> {
        if let Err(step) = self.admit() {
            return Ok(step);
        }
        self.refuse(refusal)?;
        let _owed = self.ledger.expect(Request::Sync, Origin::Client, 0)?;
        if let Some(statements) = self.statements.as_mut() {
            frontend::sync(&mut statements.scratch);
        }
        self.query_sent();
        Ok(Step::Edited { taken: length })
    }
}
