//! A client connection, from its first packet to its last byte: one task on one shard.

use std::{rc::Rc, sync::Arc, task::Context};

use bs9_config::{PoolMode, Stateful};
use bs9_net::{ConnectionSlot, Interrupted, OpenGuard, Shard, Timer, Transport};
use bs9_wire::{
    encode::backend::{ErrorReport, Severity, notice_response},
    sqlstate::SqlState,
    tag::{FrontendTag, Tag as _},
};

use crate::{
    cancel::Registered,
    failure::LoginFailure,
    listen::Subscription,
    local::{LocalPool, Membership},
    prepared::names::Statements,
    registry::ClientPermit,
    server::Server,
    settings::{Asked, Settings},
    watch::Watch,
};

mod auth;
mod checkout;
mod ending;
mod greeting;
mod listening;
mod passage;
mod relay;
mod request;
mod state;
mod times;
mod upward;

pub(crate) use greeting::serve;

use ending::End;
use passage::Passage;
use relay::{Outcome, Terms};
use times::Times;
use upward::Upward;

/// Bytes of the pool's own answers that a client may have waiting and still be read from.
const MOST_ANSWERS: usize = 16 * 1024;

/// A client that is logged in.
pub(crate) struct Client {
    stream: Transport,
    local: Rc<LocalPool>,
    timer: Timer,
    phase: Phase,
    times: Times,
    /// What it asks, when slow queries are logged.
    watch: Option<Box<Watch>>,
    registered: Registered,
    /// The parameters that follow it.
    settings: Arc<Settings>,
    /// Those it began with: what a reset leads back to.
    initial: Arc<Settings>,
    /// What it asked for at login, until a server has confirmed it.
    asked: Option<Box<Asked>>,
    up: Upward,
    down: Downward,
    /// What it listens to by way of the shared connection.
    subscription: Option<Box<Subscription>>,
    /// What it has prepared, in transaction and statement mode.
    statements: Option<Box<Statements>>,
    _membership: Membership,
    _permit: ClientPermit,
    _slot: ConnectionSlot,
    _open: OpenGuard,
}

/// From a server to the client.
#[derive(Default)]
struct Downward {
    passage: Passage,
    /// The last byte approved lies inside a message: nothing may come in between.
    inside: bool,
    /// What is still to come of the message being received is not for the client.
    swallows: bool,
    /// The client is still to be told that the transaction is over.
    owes_ready: bool,
    /// What the pool answers itself, to go behind what is approved.
    answers: Vec<u8>,
}

/// What the client is doing, as far as timeouts tell a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Logging in.
    Login,
    /// Outside a transaction, everything answered.
    Idle,
    /// Inside a transaction, everything answered.
    IdleInTransaction,
    /// Waiting for a server.
    Waiting,
    /// A server works for it.
    Busy,
}

impl Client {
    /// Serves it until there is a reason to end.
    async fn work(&mut self) -> End {
        loop {
            if let Err(end) = self.request().await {
                return end;
            }
            let mut server = match self.check_out().await {
                Ok(server) => server,
                Err(end) => return end,
            };
            let terms = self.terms();
            let mode = terms.mode;
            let mut outcome = self.relay(&mut server, terms).await;
            if let Outcome::Unsent = outcome {
                // The idle connection was dead and nothing got out: another one will do.
                self.drop_unsent(server);
                server = match self.check_out().await {
                    Ok(server) => server,
                    Err(end) => return end,
                };
                outcome = self.relay(&mut server, terms).await;
            }
            match outcome {
                Outcome::Released => {
                    let effects = self.statements.as_mut().and_then(|known| known.effects.take());
                    match effects {
                        None => self.release(server),
                        // Boxed: rare, and large beside the rest of the task.
                        Some(effects) => {
                            if let Err(end) = Box::pin(self.carry_over(server, *effects)).await {
                                return end;
                            }
                        }
                    }
                }
                Outcome::Unsent => {
                    self.drop_unsent(server);
                    return End::ServerLost("no server connection could be written to".into());
                }
                Outcome::Ended(end) => {
                    self.leave(server, mode);
                    return end;
                }
            }
        }
    }

    fn drop_unsent(&mut self, server: Box<Server>) {
        tracing::debug!(pool = %self.local.name(), "a server connection was dead when it was used");
        let _settles_by_itself = self.registered.unlink();
        drop(server);
        self.up.start_over();
        if let Some(statements) = &mut self.statements {
            statements.rewind();
        }
        if let Some(watch) = &mut self.watch {
            watch.start_over();
        }
    }

    /// What a server works for the client by, until it is given back.
    fn terms(&mut self) -> Terms {
        let (mode, limit, mut session) = self.local.with_plan(|plan| {
            let postgres = plan.postgres();
            (plan.mode, postgres.max_prepared_statements, postgres.session_state)
        });
        if self.local.watches.get() != self.watch.is_some() {
            self.watch = self.local.watch();
        }
        // What was prepared is kept up, whatever a reload says meanwhile.
        let has_some = self.statements.as_ref().is_some_and(|known| !known.is_empty());
        let limit = match mode {
            PoolMode::Session => {
                session.listen = Stateful::Ignore;
                usize::from(has_some)
            }
            _ => limit.max(usize::from(has_some)),
        };
        Terms { mode, prepared: limit, session }
    }

    /// Gives the server back: all it owed has arrived.
    fn release(&mut self, mut server: Box<Server>) {
        server.state.reused = true;
        match self.registered.unlink() {
            None => self.local.give_back(server),
            Some(cancelling) => checkout::give_back_settled(server, cancelling),
        }
    }

    /// The client is leaving: its server is given back if it is clean at once, else closed.
    fn leave(&mut self, mut server: Box<Server>, mode: PoolMode) {
        if !(self.up.is_settled() && server.is_settled()) {
            let _settles_by_itself = self.registered.unlink();
            server.state.cut_short = !self.up.is_settled();
            checkout::abandon(server);
            return;
        }
        // What its last transaction left behind nobody has looked at: it was gone before.
        let left = self.statements.as_ref().is_some_and(|known| known.effects.is_some());
        if mode != PoolMode::Session && !left {
            self.release(server);
            return;
        }
        server.state.reused = true;
        checkout::reset_and_give_back(server, self.registered.unlink(), left);
    }

    fn shard(&self) -> &Rc<Shard> {
        self.local.shard()
    }

    /// Sets the timeout that goes with `phase`.
    fn enter(&mut self, phase: Phase) {
        if self.phase == phase {
            return;
        }
        let before = std::mem::replace(&mut self.phase, phase);
        self.set_timeout(phase, before);
    }

    /// Whether time is up for what the client is doing, or a drain wants it to end.
    fn interrupted(&mut self, cx: &mut Context<'_>) -> Option<End> {
        if self.phase == Phase::Idle && self.shard().is_draining() {
            return Some(End::Draining);
        }
        if self.registered.is_killed() {
            return Some(End::Killed);
        }
        match self.timer.poll_guard(cx) {
            std::task::Poll::Pending => None,
            std::task::Poll::Ready(Interrupted::Elapsed) => {
                let end = self.time_is_up();
                if end.is_none() {
                    // The timer has been set anew; the task is to be woken when it falls due.
                    cx.waker().wake_by_ref();
                }
                end
            }
            std::task::Poll::Ready(Interrupted::Draining | Interrupted::Aborted) => {
                Some(End::Aborted)
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Whatever it waited with when its task was ended goes to the next.
        self.local.leave_queue(self.registered.waits_as());
    }
}

impl Downward {
    /// Whether the client is still to be told something.
    fn is_unsent(&self) -> bool {
        self.passage.is_unsent() || !self.answers.is_empty()
    }

    /// Whether more of the pool's answers wait for the client to read than are to be kept.
    fn is_behind(&self) -> bool {
        !self.inside && self.answers.len() + self.passage.surplus() > MOST_ANSWERS
    }

    /// Puts a notice behind what is approved, for a client that waits between two messages.
    fn tell_of_the_wait(&mut self, trouble: Option<&LoginFailure>) {
        let mut notice = Vec::new();
        let detail = trouble.map(ending::detail_of);
        let report = ErrorReport {
            severity: Severity::Notice,
            detail: detail.as_deref(),
            hint: Some("Your query runs as soon as there is one."),
            ..ErrorReport::error(SqlState::SUCCESS, "no server connection is free: waiting")
        };
        notice_response(&mut notice, &report);
        if !self.inside {
            // Without room it goes untold: the client has not taken what it was told before.
            let _told = self.passage.replace(0, &notice);
        }
    }

    fn rest(&mut self) {
        self.passage.rest();
        if self.answers.is_empty() {
            self.answers = Vec::new();
        }
    }

    /// Puts the pool's answers behind what is approved, if nothing is in the way. False when
    /// what is approved has to be written first.
    fn place_answers(&mut self) -> bool {
        if self.answers.is_empty() {
            return true;
        }
        let placed = !self.inside && self.passage.replace(0, &self.answers);
        if placed {
            self.answers.clear();
        }
        placed
    }
}

/// Whether a message means nothing outside COPY and batches: servers ignore it, too.
fn is_idle_noise(tag: FrontendTag) -> bool {
    debug_assert_eq!(FrontendTag::Flush.byte(), b'H');
    matches!(
        tag,
        FrontendTag::CopyData | FrontendTag::CopyDone | FrontendTag::CopyFail | FrontendTag::Flush
    )
}

#[cfg(test)]
mod tests;
