//! Relaying between a client and the server that works for it: the hot path.
//!
//! Both directions are driven by one task, each from one buffer. A message is entered in the
//! ledger when its header is seen, and its bytes are passed on from the buffer they were read
//! into, in as many pieces as they arrive. A direction whose receiver does not read stops
//! reading its sender; the other direction goes on regardless.

use std::{
    ops::Range,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bs9_config::{PoolMode, SessionState};
use bs9_wire::{
    encode::frontend,
    frame::{HEADER_LEN, Header},
    ledger::{Condition, Ledger, Origin, Request, Verdict},
    message::{Report, backend::TransactionStatus},
    tag::BackendTag,
};

use super::{Client, End, Phase};
use crate::{
    listen::Subscription,
    local::LocalPool,
    prepared::{exchange::Exchange, names::Statements, reply::is_telling},
    server::{Server, ServerError, ServerState},
    settings::Settings,
    watch::Watch,
};

/// What a server works for a client by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) mode: PoolMode,
    /// Prepared statements it may have; 0: they are not looked into.
    pub(super) prepared: usize,
    /// What becomes of state that outlives a transaction.
    pub(super) session: SessionState,
}

/// What a message from the server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    ForClient,
    NotForClient,
    /// Statement mode, and a transaction was begun.
    RefusedTransaction,
}

/// How a server's work for a client ended.
pub(super) enum Outcome {
    /// All replies are in, and the server is outside a transaction.
    Released,
    /// The server was dead already: not one byte was sent.
    Unsent,
    /// The client's connection ends. The server may or may not be clean.
    Ended(End),
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}

impl Client {
    /// Relays until the server can be given back, or the client's connection ends.
    pub(super) async fn relay(&mut self, server: &mut Server, terms: Terms) -> Outcome {
        self.up.begin(terms.prepared > 0 && server.state.reused);
        if let Err(end) = self.scan_up(server, terms) {
            return Outcome::Ended(end);
        }
        self.enter(Phase::Busy);
        std::future::poll_fn(|cx| self.poll_relay(server, terms, cx)).await
    }

    fn poll_relay(
        &mut self,
        server: &mut Server,
        terms: Terms,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome> {
        match self.pump(server, terms, cx) {
            Ok(false) => {}
            Ok(true) => return Poll::Ready(Outcome::Released),
            Err(outcome) => return Poll::Ready(outcome),
        }
        self.up.rest();
        self.down.rest();
        self.enter(self.phase_with(server));
        self.interrupted(cx).map_or(Poll::Pending, |end| Poll::Ready(Outcome::Ended(end)))
    }

    /// Moves what can be moved now, both ways. True when the server can be given back.
    fn pump(
        &mut self,
        server: &mut Server,
        terms: Terms,
        cx: &mut Context<'_>,
    ) -> Result<bool, Outcome> {
        loop {
            self.pump_down(server, terms, cx)?;
            if self.is_released(server, terms) {
                return Ok(true);
            }
            self.pump_up(server, terms, cx)?;
            let was_held = self.is_held();
            if self.answers_wait() {
                // They had waited for something to be sent, or came about just now.
                self.pump_down(server, terms, cx)?;
            }
            let goes_on = was_held && !self.is_held();
            if !goes_on && !self.is_to_ask(server, terms) {
                return Ok(self.is_released(server, terms));
            }
        }
    }

    /// Nothing is owed to either side, and neither is in the middle of a message.
    #[inline]
    fn is_released(&self, server: &Server, terms: Terms) -> bool {
        let ledger = &server.state.ledger;
        // While the server works, the ledger says so at once.
        let is_over = match ledger.condition() {
            Condition::Clean => true,
            // It is closed then; one that said goodbye does that itself, and ends the client.
            Condition::Doubtful => !ledger.is_to_be_asked() && !server.state.said_goodbye,
            Condition::InTransaction | Condition::Busy => false,
        };
        is_over
            && terms.mode != PoolMode::Session
            && self.up.is_settled()
            && self.down.passage.unread().is_empty()
            && self.down.answers.is_empty()
            && server.state.remaining == 0
    }

    fn phase_with(&self, server: &Server) -> Phase {
        let ledger = &server.state.ledger;
        if !ledger.is_empty() || self.up.passage.is_unsent() || self.down.is_unsent() {
            return Phase::Busy;
        }
        if ledger.status() != TransactionStatus::Idle {
            return Phase::IdleInTransaction;
        }
        match ledger.condition() {
            Condition::Clean | Condition::Doubtful => Phase::Idle,
            Condition::InTransaction | Condition::Busy => Phase::Busy,
        }
    }

    // === Server to client ===

    fn pump_down(
        &mut self,
        server: &mut Server,
        terms: Terms,
        cx: &mut Context<'_>,
    ) -> Result<(), Outcome> {
        loop {
            let placed =
                !self.answers_wait() || !self.is_known_alive() || self.place_answers(server, terms);
            if self.down.passage.is_unsent() && !self.write_client(cx)? {
                return Ok(());
            }
            if !placed {
                self.scan_down(server, terms)?;
                continue;
            }
            if self.is_released(server, terms) {
                return Ok(());
            }
            let buffers = self.local.shard().buffers();
            match server.stream.poll_read_pooled(cx, &mut self.down.passage.buffer, buffers) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(lost(server, ServerError::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(lost(server, error.into())),
            }
            self.scan_down(server, terms)?;
        }
    }

    /// Checks off what was read from the server and approves what is for the client.
    fn scan_down(&mut self, server: &mut Server, terms: Terms) -> Result<(), Outcome> {
        loop {
            let unread = self.down.passage.unread();
            if unread.is_empty() {
                return Ok(());
            }
            if server.state.remaining > 0 {
                let count = unread.len().min(server.state.remaining as usize);
                server.state.remaining -= count as u32;
                self.pass_down(count);
                self.down.inside = server.state.remaining > 0 && !self.down.swallows;
                if server.state.remaining > 0 {
                    return Ok(());
                }
                self.down.swallows = false;
                continue;
            }
            if self.answers_wait() && !self.place_answers(server, terms) {
                return Ok(());
            }
            let unread = self.down.passage.unread();
            let rows = server.state.ledger.leading_rows(unread);
            self.down.passage.approved += rows;
            let unread = self.down.passage.unread();
            let header = Header::<BackendTag>::parse(unread);
            let Some(header) = header.map_err(|error| lost(server, error.into()))? else {
                return Ok(());
            };
            let total = header.total_len();
            let here = unread.len().min(total);
            let whole = here == total;
            if must_be_whole(header.tag) && !whole {
                let passage = &self.down.passage;
                if !passage.is_full() || passage.is_unsent() {
                    return Ok(());
                }
            }
            let checked = self.check_off(server, terms, header.tag, HEADER_LEN..here, whole);
            match checked.map_err(|error| lost(server, error))? {
                Checked::RefusedTransaction => {
                    return Err(Outcome::Ended(End::TransactionRefused));
                }
                Checked::ForClient => self.down.swallows = false,
                Checked::NotForClient => self.down.swallows = true,
            }
            server.state.remaining = (total - here) as u32;
            self.pass_down(here);
            self.down.inside = !whole && !self.down.swallows;
        }
    }

    /// Whether the server is, as far as what the pool answers is concerned.
    #[inline]
    fn is_known_alive(&self) -> bool {
        self.up.sent || self.up.is_settled()
    }

    /// Whether the client is not read from until it has read what it was told.
    #[inline]
    fn is_held(&self) -> bool {
        self.down.is_behind() && self.is_known_alive()
    }

    #[inline]
    fn answers_wait(&self) -> bool {
        self.up.owes_answers || !self.down.answers.is_empty()
    }

    /// Has the client told what the pool answers, now that the server is known to live. False
    /// when what is approved has to be written first.
    fn place_answers(&mut self, server: &mut Server, terms: Terms) -> bool {
        if std::mem::take(&mut self.up.owes_answers) {
            let mut exchange = exchange(
                &mut self.statements,
                &mut self.watch,
                &mut server.state,
                &self.local,
                terms,
            );
            exchange.settle(&mut self.down.answers);
        }
        if self.down.answers.is_empty() {
            return true;
        }
        self.up.went_on();
        self.down.inside || self.down.place_answers()
    }

    /// Approves so many bytes of the message being received, or leaves them out.
    #[inline]
    fn pass_down(&mut self, count: usize) {
        if self.down.swallows {
            self.down.passage.leave_out(count);
        } else {
            self.down.passage.approved += count;
        }
    }

    /// Checks off the first message that is not approved yet, of whose bytes `body` are here.
    #[inline]
    fn check_off(
        &mut self,
        server: &mut Server,
        terms: Terms,
        tag: BackendTag,
        body: Range<usize>,
        whole: bool,
    ) -> Result<Checked, ServerError> {
        let state = &mut server.state;
        let body = &self.down.passage.unread()[body];
        // It is not for the client, or something else stands for it.
        let mut stood_in = false;
        let observed = match tag {
            BackendTag::ReadyForQuery => {
                let status = TransactionStatus::read(body)?;
                let observed = state.ledger.ready(status)?;
                let idle = status == TransactionStatus::Idle;
                if !idle && terms.mode == PoolMode::Statement {
                    return Ok(Checked::RefusedTransaction);
                }
                if observed.verdict == Verdict::Forward {
                    stood_in = idle && self.withholds_ready(&state.ledger, terms);
                    self.down.owes_ready |= stood_in;
                    let took = self.times.ready(self.local.cell(), idle);
                    if let Some(watch) = &mut self.watch {
                        log_slow(watch, &self.local, Duration::from_nanos(took));
                    }
                }
                observed
            }
            BackendTag::ParameterStatus => {
                // Too long for a buffer, or malformed: what the server has is not known.
                let changed = if whole { state.note_parameter(body).ok() } else { None };
                state.unfit |= changed.is_none();
                if changed == Some(true) {
                    let settings = self.local.share_settings(Settings::clone(&state.settings));
                    state.settings = Arc::clone(&settings);
                    self.settings = settings;
                }
                state.ledger.observe(tag)?
            }
            BackendTag::ErrorResponse => {
                let report = Report::read(body).ok();
                let sqlstate = report.as_ref().and_then(|report| report.sqlstate());
                self.local.cell().errors.count(sqlstate);
                state.said_goodbye |= report.is_some_and(|report| report.is_fatal());
                state.ledger.observe(tag)?
            }
            BackendTag::NotificationResponse => {
                // What it listens to anyway it hears from the shared connection.
                let hears = |known: &Subscription| known.hears(body);
                stood_in = whole && self.subscription.as_deref().is_some_and(hears);
                state.ledger.observe(tag)?
            }
            tag => state.ledger.observe(tag)?,
        };
        let telling = match tag {
            BackendTag::ErrorResponse => true,
            BackendTag::CommandComplete => is_telling(body),
            _ => false,
        };
        if telling || self.statements.as_ref().is_some_and(|known| known.awaits_replies()) {
            let mut exchange =
                exchange(&mut self.statements, &mut self.watch, state, &self.local, terms);
            stood_in |= exchange.follow_up(tag, body, observed, &mut self.down.answers);
        }
        match observed.verdict {
            Verdict::Forward | Verdict::Aside if !stood_in => Ok(Checked::ForClient),
            _ => Ok(Checked::NotForClient),
        }
    }

    /// Whether the client is told of this end of a transaction when it is settled what it listens
    /// to.
    #[inline]
    fn withholds_ready(&self, ledger: &Ledger, terms: Terms) -> bool {
        self.statements.as_ref().is_some_and(|known| known.withholds_ready())
            && terms.mode != PoolMode::Session
            && ledger.is_clean()
    }

    // === Client to server ===

    fn pump_up(
        &mut self,
        server: &mut Server,
        terms: Terms,
        cx: &mut Context<'_>,
    ) -> Result<(), Outcome> {
        loop {
            if self.up.stalled || self.up.waits_for_room {
                self.scan_up(server, terms)?;
            }
            if self.up.passage.is_unsent() && !self.write_server(server, cx)? {
                return Ok(());
            }
            if self.up.waits_for_room {
                continue;
            }
            if self.is_to_ask(server, terms) {
                self.ask(server)?;
                continue;
            }
            if self.up.stalled && self.up.hurry(&server.state.ledger) {
                continue;
            }
            if self.up.stalled || self.is_held() {
                // What else it says is not read yet, but it may have gone.
                let gone = self.stream.poll_peer_done(cx).is_ready();
                return if gone { Err(End::Gone.into()) } else { Ok(()) };
            }
            let buffers = self.local.shard().buffers();
            match self.stream.poll_read_pooled(cx, &mut self.up.passage.buffer, buffers) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Gone.into()),
                Poll::Ready(Ok(count)) => self.local.cell().received_bytes.add(count as u64),
            }
            self.up.went_on();
            self.scan_up(server, terms)?;
        }
    }

    /// Whether the server could be given back, if only it were known that no more will come.
    #[inline]
    fn is_to_ask(&self, server: &Server, terms: Terms) -> bool {
        server.state.ledger.is_to_be_asked()
            && terms.mode != PoolMode::Session
            && self.up.is_settled()
    }

    /// Asks the server something of no effect: what it says until it answers is for the client.
    #[cold]
    fn ask(&mut self, server: &mut Server) -> Result<(), Outcome> {
        let state = &mut server.state;
        // A query drops it, as the pool's own do.
        state.prepared.drop_unnamed();
        let entered = state.ledger.expect(Request::Query, Origin::Pool, 0);
        let _owed = entered.map_err(|error| lost(server, error.into()))?;
        let mut question = Vec::with_capacity(HEADER_LEN + 1);
        frontend::query(&mut question, "");
        let placed = self.up.passage.replace(0, &question);
        debug_assert!(placed, "nothing else is approved");
        Ok(())
    }

    /// Writes what is approved for the server; false when it does not take all of it now.
    fn write_server(&mut self, server: &Server, cx: &mut Context<'_>) -> Result<bool, Outcome> {
        while self.up.passage.is_unsent() {
            match self.up.passage.poll_write(&server.stream, cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(count)) if count > 0 => self.up.note_sent(),
                Poll::Ready(_) if self.up.can_start_over() && server.state.reused => {
                    return Err(Outcome::Unsent);
                }
                Poll::Ready(Ok(_)) => return Err(lost(server, ServerError::Closed)),
                Poll::Ready(Err(error)) => return Err(lost(server, error.into())),
            }
        }
        Ok(true)
    }

    /// Enters what was read from the client in the ledger and approves it for the server.
    fn scan_up(&mut self, server: &mut Server, terms: Terms) -> Result<(), End> {
        let mut exchange =
            exchange(&mut self.statements, &mut self.watch, &mut server.state, &self.local, terms);
        self.up.scan(&mut exchange, &mut self.down.answers)
    }
}

#[inline]
fn exchange<'a>(
    statements: &'a mut Option<Box<Statements>>,
    watch: &'a mut Option<Box<Watch>>,
    state: &'a mut ServerState,
    local: &'a LocalPool,
    terms: Terms,
) -> Exchange<'a> {
    Exchange {
        statements,
        ledger: &mut state.ledger,
        cache: &mut state.prepared,
        settings: &state.settings,
        store: &local.pool.statements,
        cell: local.cell(),
        limit: terms.prepared,
        session: terms.session,
        watch,
        forgets: false,
        irrevocable: false,
    }
}

/// A request has been answered.
#[cold]
fn log_slow(watch: &mut Watch, local: &LocalPool, took: Duration) {
    let slow = local.with_plan(|plan| watch.answered(took, &plan.postgres().log));
    if let Some(query) = slow {
        local.cell().slow_queries.increment();
        tracing::warn!(pool = %local.name(), seconds = took.as_secs_f64(), query, "slow query");
    }
}

/// Messages that are looked into. None of them is long, as a rule.
#[inline]
fn must_be_whole(tag: BackendTag) -> bool {
    matches!(
        tag,
        BackendTag::ReadyForQuery
            | BackendTag::ParameterStatus
            | BackendTag::ErrorResponse
            | BackendTag::CommandComplete
            | BackendTag::NotificationResponse
    )
}

/// The server connection is of no more use, and the client's ends with it.
#[cold]
fn lost(server: &Server, error: ServerError) -> Outcome {
    if server.state.said_goodbye {
        return Outcome::Ended(End::ServerSaidGoodbye);
    }
    let local = server.seat.local();
    tracing::warn!(pool = %local.name(), %error, "a server connection was lost in the middle of work");
    Outcome::Ended(End::ServerLost(error.to_string()))
}
