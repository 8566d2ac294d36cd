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
};

use bs9_config::PoolMode;
use bs9_wire::{
    frame::{HEADER_LEN, Header},
    ledger::{Origin, Refused, Request, Verdict},
    message::{Report, backend::TransactionStatus},
    tag::{BackendTag, FrontendTag},
};

use super::{Client, End, Phase};
use crate::{
    server::{Server, ServerError},
    settings::Settings,
};

/// What a message from the server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    ForClient,
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
    pub(super) async fn relay(&mut self, server: &mut Server, mode: PoolMode) -> Outcome {
        self.up.sent = false;
        if let Err(end) = self.scan_up(server) {
            return Outcome::Ended(end);
        }
        self.enter(Phase::Busy);
        std::future::poll_fn(|cx| self.poll_relay(server, mode, cx)).await
    }

    fn poll_relay(
        &mut self,
        server: &mut Server,
        mode: PoolMode,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome> {
        match self.pump(server, mode, cx) {
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
        mode: PoolMode,
        cx: &mut Context<'_>,
    ) -> Result<bool, Outcome> {
        self.pump_down(server, mode, cx)?;
        if self.is_released(server, mode) {
            return Ok(true);
        }
        self.pump_up(server, cx)?;
        Ok(self.is_released(server, mode))
    }

    /// Nothing is owed to either side, and neither is in the middle of a message.
    #[inline]
    fn is_released(&self, server: &Server, mode: PoolMode) -> bool {
        mode != PoolMode::Session
            && self.up.approved == 0
            && self.up.remaining == 0
            && self.down.unscanned() == 0
            && server.state.remaining == 0
            && server.state.ledger.is_clean()
    }

    fn phase_with(&self, server: &Server) -> Phase {
        let ledger = &server.state.ledger;
        if !ledger.is_empty() || self.up.approved > 0 || self.down.approved > 0 {
            Phase::Busy
        } else if ledger.status() != TransactionStatus::Idle {
            Phase::IdleInTransaction
        } else if ledger.is_clean() {
            Phase::Idle
        } else {
            Phase::Busy
        }
    }

    // === Server to client ===

    fn pump_down(
        &mut self,
        server: &mut Server,
        mode: PoolMode,
        cx: &mut Context<'_>,
    ) -> Result<(), Outcome> {
        loop {
            if self.down.approved > 0 && !self.write_client(cx)? {
                return Ok(());
            }
            if self.is_released(server, mode) {
                return Ok(());
            }
            let buffers = self.local.shard().buffers();
            match server.stream.poll_read_pooled(cx, &mut self.down.buffer, buffers) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(lost(server, ServerError::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(lost(server, error.into())),
            }
            self.scan_down(server, mode)?;
        }
    }

    /// Checks off what was read from the server and approves what is for the client.
    fn scan_down(&mut self, server: &mut Server, mode: PoolMode) -> Result<(), Outcome> {
        while let Some(buffer) = &self.down.buffer {
            let unread = &buffer.filled()[self.down.approved..];
            if server.state.remaining > 0 {
                let count = unread.len().min(server.state.remaining as usize);
                server.state.remaining -= count as u32;
                self.down.approved += count;
                self.down.inside = server.state.remaining > 0;
                if self.down.inside {
                    return Ok(());
                }
                continue;
            }
            let rows = server.state.ledger.leading_rows(unread);
            self.down.approved += rows;
            let unread = &unread[rows..];
            let header = Header::<BackendTag>::parse(unread);
            let Some(header) = header.map_err(|error| lost(server, error.into()))? else {
                return Ok(());
            };
            let total = header.total_len();
            let here = unread.len().min(total);
            let whole = here == total;
            if must_be_whole(header.tag) && !whole {
                let room = buffer.len() < self.local.shard().buffers().buffer_bytes();
                if room || self.down.approved > 0 {
                    return Ok(());
                }
            }
            let checked = self.check_off(server, mode, header.tag, HEADER_LEN..here, whole);
            if checked.map_err(|error| lost(server, error))? == Checked::RefusedTransaction {
                return Err(Outcome::Ended(End::TransactionRefused));
            }
            server.state.remaining = (total - here) as u32;
            self.down.approved += here;
            self.down.inside = !whole;
        }
        Ok(())
    }

    /// Checks off the first message that is not approved yet, of whose bytes `body` are here.
    #[inline]
    fn check_off(
        &mut self,
        server: &mut Server,
        mode: PoolMode,
        tag: BackendTag,
        body: Range<usize>,
        whole: bool,
    ) -> Result<Checked, ServerError> {
        let state = &mut server.state;
        let buffer = self.down.buffer.as_ref().expect("the message is in the buffer");
        let body = &buffer.filled()[self.down.approved..][body];
        let observed = match tag {
            BackendTag::ReadyForQuery => {
                let status = TransactionStatus::read(body)?;
                let observed = state.ledger.ready(status)?;
                if status == TransactionStatus::Idle {
                    self.local.cell().transactions.increment();
                } else if mode == PoolMode::Statement {
                    return Ok(Checked::RefusedTransaction);
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
                state.said_goodbye |= Report::read(body).is_ok_and(|report| report.is_fatal());
                let observed = state.ledger.observe(tag)?;
                while state.ledger.settle().is_some() {}
                observed
            }
            tag => state.ledger.observe(tag)?,
        };
        match observed.verdict {
            Verdict::Forward | Verdict::Aside => Ok(Checked::ForClient),
            // The pool asks for itself only while no client is linked.
            Verdict::Swallow => Err(ServerError::OutOfStep),
        }
    }

    // === Client to server ===

    fn pump_up(&mut self, server: &mut Server, cx: &mut Context<'_>) -> Result<(), Outcome> {
        loop {
            if self.up.stalled {
                self.scan_up(server)?;
            }
            if self.up.approved > 0 && !self.write_server(server, cx)? {
                return Ok(());
            }
            if self.up.stalled {
                return Ok(());
            }
            let buffers = self.local.shard().buffers();
            match self.stream.poll_read_pooled(cx, &mut self.up.buffer, buffers) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Gone.into()),
                Poll::Ready(Ok(count)) => self.local.cell().received_bytes.add(count as u64),
            }
            self.scan_up(server)?;
        }
    }

    /// Writes what is approved for the server; false when it does not take all of it now.
    fn write_server(&mut self, server: &Server, cx: &mut Context<'_>) -> Result<bool, Outcome> {
        while self.up.approved > 0 {
            let buffer = self.up.buffer.as_mut().expect("approved bytes are in the buffer");
            match server.stream.poll_write(cx, &buffer.filled()[..self.up.approved]) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(count)) if count > 0 => {
                    buffer.consume(count);
                    self.up.approved -= count;
                    self.up.sent = true;
                }
                Poll::Ready(_) if !self.up.sent && server.state.reused => {
                    return Err(Outcome::Unsent);
                }
                Poll::Ready(Ok(_)) => return Err(lost(server, ServerError::Closed)),
                Poll::Ready(Err(error)) => return Err(lost(server, error.into())),
            }
        }
        Ok(true)
    }

    /// Enters what was read from the client in the ledger and approves it for the server.
    fn scan_up(&mut self, server: &mut Server) -> Result<(), End> {
        self.up.stalled = false;
        loop {
            let Some(buffer) = &self.up.buffer else { return Ok(()) };
            let unread = &buffer.filled()[self.up.approved..];
            if self.up.remaining > 0 {
                let count = unread.len().min(self.up.remaining as usize);
                self.up.remaining -= count as u32;
                self.up.approved += count;
                if self.up.remaining > 0 {
                    return Ok(());
                }
                continue;
            }
            let header = Header::<FrontendTag>::parse(unread);
            let Some(header) = header.map_err(|error| End::Protocol(error.to_string()))? else {
                return Ok(());
            };
            let first = unread.get(HEADER_LEN).copied();
            if header.tag == FrontendTag::Describe && first.is_none() && header.body_len > 0 {
                return Ok(());
            }
            let Some(request) = Request::of(header.tag, first) else {
                if header.tag == FrontendTag::Terminate {
                    return Err(End::Terminated);
                }
                return Err(End::Protocol(format!("{:?} out of place", header.tag)));
            };
            match server.state.ledger.expect(request, Origin::Client, 0) {
                Ok(_) => {}
                Err(Refused::Full(_)) => {
                    self.up.stalled = true;
                    return Ok(());
                }
                Err(refused) => return Err(End::Protocol(refused.to_string())),
            }
            if matches!(request, Request::Query | Request::Execute | Request::FunctionCall) {
                self.local.cell().queries.increment();
            }
            let here = unread.len().min(header.total_len());
            self.up.remaining = (header.total_len() - here) as u32;
            self.up.approved += here;
        }
    }
}

/// Messages that are looked into. None of them is long, as a rule.
#[inline]
fn must_be_whole(tag: BackendTag) -> bool {
    matches!(
        tag,
        BackendTag::ReadyForQuery | BackendTag::ParameterStatus | BackendTag::ErrorResponse
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
