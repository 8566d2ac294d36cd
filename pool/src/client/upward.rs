//! From the client to a server: messages are entered in the ledger and approved.

use bs9_wire::{
    encode::frontend,
    frame::{HEADER_LEN, Header},
    ledger::{Ledger, Origin, Placed, Refused, Request},
    tag::{FrontendTag, Tag as _},
};

use super::{End, passage::Passage};
use crate::prepared::{
    exchange::{Exchange, Step},
    statement::MAX_STATEMENT_BYTES,
};

/// Longest start of a conversation that is kept to be told to another server, bytes.
const MAX_KEPT: usize = 4096;
/// Bytes of it that may stay allocated while the client is idle.
const MAX_IDLE: usize = 512;

/// From the client to a server.
#[derive(Default)]
pub(super) struct Upward {
    pub(super) passage: Passage,
    /// Bytes still to come of the message approved last.
    pub(super) remaining: u32,
    /// What is read waits in the buffer, for replies to what was sent.
    pub(super) stalled: bool,
    /// Behind all that was entered, the server was told to send what it holds back.
    hurried: bool,
    /// What is read waits in the buffer, until what is approved has been written.
    pub(super) waits_for_room: bool,
    /// Something was sent to the server it has now.
    pub(super) sent: bool,
    /// The session forgets its statements: everything waits for all replies.
    forgets: Forgetting,
    /// A message that is not passed on as it is. Boxed: rare.
    handled: Option<Box<Handled>>,
    /// How the conversation with this server began, as long as it can be told to another.
    kept: Option<Vec<u8>>,
    /// Something was not passed on as it came.
    edited: bool,
    /// The pool's answers are due and not given: the server may yet turn out to be dead.
    pub(super) owes_answers: bool,
}

/// Whether the client has sent what makes its session forget its statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Forgetting {
    #[default]
    No,
    /// In a batch whose end it has not sent.
    Soon,
    /// Nothing goes on before the replies are in.
    Now,
}

/// A message that is not passed on as it is.
enum Handled {
    /// Longer than a buffer, yet to be looked into: what is here of it, and its length.
    Assembled { bytes: Vec<u8>, total: usize },
    /// Answered already: so many bytes of it are still to be dropped.
    Dropped { remaining: usize },
    /// `with` is to take the place of so many bytes of a message `rest` longer, as soon as there
    /// is room.
    Replaced { taken: usize, with: Vec<u8>, rest: usize },
}

impl Upward {
    pub(super) fn new(passage: Passage) -> Self {
        Self { passage, ..Self::default() }
    }

    /// Whether nothing of a message is on its way.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        !self.passage.is_unsent() && self.remaining == 0 && self.handled.is_none()
    }

    pub(super) fn rest(&mut self) {
        self.passage.rest();
    }

    /// Begins with a server. One that has served others may turn out to be dead: what is sent
    /// first is then told to another.
    pub(super) fn begin(&mut self, may_be_dead: bool) {
        self.sent = false;
        self.edited = false;
        self.owes_answers = false;
        let unread = self.passage.unread();
        let simple = unread.first() == Some(&FrontendTag::Query.byte());
        let keeps = may_be_dead && !simple && unread.len() <= MAX_KEPT;
        match (&mut self.kept, keeps) {
            (Some(kept), true) => {
                kept.clear();
                kept.extend_from_slice(unread);
            }
            (kept @ None, true) => *kept = Some(unread.to_vec()),
            (kept, false) => *kept = None,
        }
    }

    /// More was read, or the client has been answered: what has been kept does not tell all any
    /// more.
    pub(super) fn went_on(&mut self) {
        if !self.sent {
            self.kept = None;
        }
    }

    /// Something went out to the server.
    #[inline]
    pub(super) fn note_sent(&mut self) {
        if !self.sent {
            self.sent = true;
            if self.kept.as_ref().is_some_and(|kept| kept.capacity() > MAX_IDLE) {
                self.kept = None;
            }
        }
    }

    /// Whether another server can be told what this one was not.
    pub(super) fn can_start_over(&self) -> bool {
        !self.sent && (!self.edited || self.kept.is_some())
    }

    /// Takes back what was entered in the ledger of a server that is gone.
    pub(super) fn start_over(&mut self) {
        if self.edited
            && let Some(kept) = self.kept.take()
        {
            self.passage.start_over(&kept);
        }
        self.passage.approved = 0;
        self.remaining = 0;
        self.stalled = false;
        self.hurried = false;
        self.waits_for_room = false;
        self.handled = None;
        self.forgets = Forgetting::No;
        self.edited = false;
        self.owes_answers = false;
    }

    /// Enters what was read from the client in the ledger and approves it for the server. What
    /// the pool answers itself goes behind `answers`.
    pub(super) fn scan(
        &mut self,
        exchange: &mut Exchange<'_>,
        answers: &mut Vec<u8>,
    ) -> Result<(), End> {
        self.stalled = false;
        self.waits_for_room = false;
        loop {
            if self.handled.is_some() && !self.go_on(exchange, answers)? {
                return Ok(());
            }
            let unread = self.passage.unread();
            if self.remaining > 0 {
                let count = unread.len().min(self.remaining as usize);
                exchange.read_on(&unread[..count]);
                self.remaining -= count as u32;
                self.passage.approved += count;
                if self.remaining > 0 {
                    return Ok(());
                }
                self.end_long(exchange);
                continue;
            }
            if unread.is_empty() {
                return Ok(());
            }
            let header = Header::<FrontendTag>::parse(unread);
            let Some(header) = header.map_err(|error| End::Protocol(error.to_string()))? else {
                return Ok(());
            };
            if self.forgets == Forgetting::Now {
                if exchange.ledger.is_empty() {
                    self.forgets =
                        if exchange.listens() { Forgetting::Soon } else { Forgetting::No };
                } else if !exchange.ledger.awaits_copy() {
                    self.stalled = true;
                    return Ok(());
                }
            }
            let long = header.total_len() > MAX_STATEMENT_BYTES && header.tag == FrontendTag::Parse;
            if long && exchange.limit > 0 && self.passage.is_unsent() {
                self.waits_for_room = true;
                return Ok(());
            }
            let here = unread.len().min(header.total_len());
            if exchange.limit > 0 {
                let step = exchange.understand(header, &unread[..here]).map_err(refused)?;
                // A query that does not fit a buffer is read as it passes.
                let stuck = self.passage.is_full() && self.passage.approved == 0;
                let passes = stuck && step == Step::Wait && header.tag == FrontendTag::Query;
                if step != Step::Pass && !passes {
                    if !self.take_step(step, header, exchange, answers)? {
                        return Ok(());
                    }
                    continue;
                }
                if passes {
                    exchange.begin_long_query(&unread[HEADER_LEN..here]);
                }
            }
            if !self.enter(header, exchange)? {
                return Ok(());
            }
            self.remaining = (header.total_len() - here) as u32;
            self.passage.approved += here;
        }
    }

    /// Enters a message that is passed on as it is. False when it has to wait.
    #[inline]
    fn enter(
        &mut self,
        header: Header<FrontendTag>,
        exchange: &mut Exchange<'_>,
    ) -> Result<bool, End> {
        let first = self.passage.unread().get(HEADER_LEN).copied();
        if header.tag == FrontendTag::Describe && first.is_none() && header.body_len > 0 {
            return Ok(false);
        }
        let Some(request) = Request::of(header.tag, first) else {
            if header.tag == FrontendTag::Terminate {
                return Err(End::Terminated);
            }
            return Err(End::Protocol(format!("{:?} out of place", header.tag)));
        };
        let placed = match exchange.ledger.expect(request, Origin::Client, 0) {
            Ok(placed) => placed,
            Err(Refused::Full(_)) => {
                self.stalled = true;
                return Ok(false);
            }
            Err(refusal) => return Err(refused(refusal)),
        };
        self.hurried = false;
        exchange.note_asked(header, self.passage.unread());
        if matches!(request, Request::Query | Request::Execute | Request::FunctionCall) {
            exchange.cell.queries.increment();
        }
        if exchange.limit > 0 && placed == Placed::Owed {
            match request {
                Request::Query => exchange.query_sent(),
                Request::Sync | Request::FunctionCall => exchange.batch_ended(),
                _ => {}
            }
            self.note(request.ends_with_ready(), exchange);
        }
        Ok(true)
    }

    /// The message approved last is all there.
    #[inline]
    fn end_long(&mut self, exchange: &mut Exchange<'_>) {
        exchange.end_long();
        if exchange.forgets {
            self.note(true, exchange);
        }
    }

    /// After a message was entered: whether what follows has to wait, and whether the
    /// conversation can still start over.
    fn note(&mut self, ended: bool, exchange: &mut Exchange<'_>) {
        if std::mem::take(&mut exchange.forgets) {
            self.forgets = Forgetting::Soon;
        }
        if ended && self.forgets == Forgetting::Soon {
            self.forgets = Forgetting::Now;
        }
        if std::mem::take(&mut exchange.irrevocable) && !self.sent {
            self.kept = None;
            self.edited = true;
        }
    }

    /// Does with a message what was found out. False when it has to wait.
    fn take_step(
        &mut self,
        step: Step,
        header: Header<FrontendTag>,
        exchange: &mut Exchange<'_>,
        answers: &mut Vec<u8>,
    ) -> Result<bool, End> {
        let total = header.total_len();
        match step {
            Step::Pass => return Ok(true),
            Step::Stall => {
                self.stalled = true;
                return Ok(false);
            }
            Step::Wait if !self.passage.is_full() || self.passage.approved > 0 => return Ok(false),
            Step::Wait if header.tag != FrontendTag::Parse => {
                return Err(End::Protocol(format!(
                    "{:?}: the names in it are too long",
                    header.tag
                )));
            }
            Step::Wait => {
                let bytes = Vec::with_capacity(total);
                self.handled = Some(Box::new(Handled::Assembled { bytes, total }));
                return Ok(true);
            }
            Step::Edited { taken } => {
                exchange.note_asked(header, self.passage.unread());
                self.edit(taken, total - taken, exchange);
                if matches!(header.tag, FrontendTag::Query | FrontendTag::Execute) {
                    exchange.cell.queries.increment();
                }
            }
            Step::Discard => {
                self.edit(0, 0, exchange);
                self.handled = Some(Box::new(Handled::Dropped { remaining: total }));
            }
        }
        self.note(header.tag == FrontendTag::Query, exchange);
        self.settle(exchange, answers);
        Ok(true)
    }

    /// Gives the answers that are due, unless the conversation may have to start over.
    fn settle(&mut self, exchange: &mut Exchange<'_>, answers: &mut Vec<u8>) {
        let front = exchange.ledger.front();
        if !front.is_some_and(|entry| entry.origin == Origin::Local) {
            return;
        }
        self.owes_answers = !self.sent && self.kept.is_some();
        if !self.owes_answers {
            exchange.settle(answers);
        }
    }

    /// Waits for replies, all that was approved having been written. The server may keep them
    /// back until a message tells it to send them: if none did, approves one and returns true.
    pub(super) fn hurry(&mut self, ledger: &Ledger) -> bool {
        if self.hurried || ledger.awaits_ready() {
            return false;
        }
        let mut flush = Vec::with_capacity(HEADER_LEN);
        frontend::flush(&mut flush);
        self.hurried = self.passage.replace(0, &flush);
        self.hurried
    }

    /// Approves what was written into the scratch in place of `taken` bytes, and `rest` further
    /// bytes of the message.
    fn edit(&mut self, taken: usize, rest: usize, exchange: &mut Exchange<'_>) {
        self.edited = true;
        self.hurried = false;
        let Some(statements) = exchange.statements.as_mut() else { return };
        if self.passage.replace(taken, &statements.scratch) {
            self.approve(rest);
        } else {
            let with = statements.scratch.clone();
            self.waits_for_room = true;
            self.handled = Some(Box::new(Handled::Replaced { taken, with, rest }));
        }
        // A long text is not worth keeping room for.
        if statements.scratch.capacity() > MAX_KEPT {
            statements.scratch = Vec::new();
        }
    }

    fn approve(&mut self, rest: usize) {
        let here = self.passage.unread().len().min(rest);
        self.passage.approved += here;
        self.remaining = (rest - here) as u32;
    }

    /// Goes on with a message that is not passed on as it is. False when something has to happen
    /// first.
    fn go_on(&mut self, exchange: &mut Exchange<'_>, answers: &mut Vec<u8>) -> Result<bool, End> {
        let Some(handled) = self.handled.take() else { return Ok(true) };
        match *handled {
            Handled::Dropped { remaining } => {
                let count = self.passage.unread().len().min(remaining);
                self.passage.leave_out(count);
                if count < remaining {
                    let remaining = remaining - count;
                    self.handled = Some(Box::new(Handled::Dropped { remaining }));
                }
                Ok(count == remaining)
            }
            Handled::Replaced { taken, with, rest } => {
                if self.passage.replace(taken, &with) {
                    self.approve(rest);
                    return Ok(true);
                }
                self.handled = Some(Box::new(Handled::Replaced { taken, with, rest }));
                self.waits_for_room = true;
                Ok(false)
            }
            Handled::Assembled { mut bytes, total } => {
                if self.passage.is_unsent() {
                    self.waits_for_room = true;
                    self.handled = Some(Box::new(Handled::Assembled { bytes, total }));
                    return Ok(false);
                }
                let unread = self.passage.unread();
                let count = unread.len().min(total - bytes.len());
                bytes.extend_from_slice(&unread[..count]);
                self.passage.leave_out(count);
                self.edited = true;
                if bytes.len() < total || !self.assembled(&bytes, exchange, answers)? {
                    self.handled = Some(Box::new(Handled::Assembled { bytes, total }));
                    return Ok(false);
                }
                Ok(true)
            }
        }
    }

    /// A long message is all here. False when it has to wait.
    fn assembled(
        &mut self,
        bytes: &[u8],
        exchange: &mut Exchange<'_>,
        answers: &mut Vec<u8>,
    ) -> Result<bool, End> {
        let header = Header::<FrontendTag>::parse(bytes);
        let Some(header) = header.map_err(|error| End::Protocol(error.to_string()))? else {
            return Ok(true);
        };
        match exchange.understand(header, bytes).map_err(refused)? {
            Step::Stall => {
                self.stalled = true;
                return Ok(false);
            }
            Step::Edited { taken } => {
                if let Some(statements) = exchange.statements.as_mut() {
                    self.passage.put_ahead(&statements.scratch);
                }
                self.passage.put_ahead(&bytes[taken..]);
            }
            Step::Pass | Step::Wait | Step::Discard => {
                let entered = exchange.ledger.expect(Request::Parse, Origin::Client, 0);
                let _placed = entered.map_err(refused)?;
                self.passage.put_ahead(bytes);
            }
        }
        self.hurried = false;
        self.note(false, exchange);
        self.settle(exchange, answers);
        Ok(true)
    }
}

fn refused(refusal: Refused) -> End {
    End::Protocol(refusal.to_string())
}

#[cfg(test)]
mod tests;
